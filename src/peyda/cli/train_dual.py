"""`peyda train clip` with a recipe that has a `[towers]` table: any image tower with any text tower."""

from __future__ import annotations

from pathlib import Path

import click

from peyda.errors import ConfigError


def run_dual(
    recipe: Path, *, captions: Path | None, images: Path | None, data: Path | None, run: Path | None, out: Path | None
) -> None:
    """Read the recipe, train, export; `run` and `out` default to runs/NAME and RUN/model.

    Raises:
        ConfigError: The recipe is wrong, or what training needs is not installed.
        PeydaError: As `peyda.training.dual.run.train_dual`.
    """
    from peyda.training.dual import read_dual_recipe

    plan = read_dual_recipe(recipe)
    try:
        from peyda.training.dual.run import train_dual
    except ImportError as error:
        raise ConfigError(f"training needs {error.name}", hint="make setup installs what training needs") from error
    run = run or Path("runs") / plan.name
    train_dual(
        plan,
        captions=captions,
        images=images,
        data=data,
        run=run,
        out=out or run / "model",
        report=click.echo,
        progress=_progress,
    )


def _progress(what: str, done: int, total: int) -> None:
    click.echo(f"\r{what}: {done} of {total}", err=True, nl=done == total)
