"""What the `peyda train` commands have in common: showing progress, and saying that a library is missing."""

from __future__ import annotations

import click

from peyda.errors import ConfigError


def show_progress(what: str, done: int, total: int) -> None:
    """One line on stderr, written over until all is done."""
    click.echo(f"\r{what}: {done} of {total}", err=True, nl=done == total)


def missing(error: ImportError) -> ConfigError:
    """The error to raise where training cannot be imported."""
    return ConfigError(f"training needs {error.name}", hint="make setup installs what training needs")
