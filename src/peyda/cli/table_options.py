"""Options of verbs that read caption tables: what the file is, where its ending does not say it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from peyda.captions import ReadOptions

_Command = TypeVar("_Command", bound=Callable[..., Any])


def table_options(command: _Command) -> _Command:
    """`--format`, `--language`, `--encoding`, `--columns`; the parameters are for `read_options`."""
    for option in reversed(
        (
            click.option(
                "--format", "table_format", metavar="NAME", help="Format, where name and content do not tell."
            ),
            click.option("--language", metavar="CODE", default="", help="Language of the captions.  [default: en]"),
            click.option("--encoding", metavar="NAME", default="", help="Such as cp1256.  [default: UTF-8]"),
            click.option(
                "--columns", metavar="A,B,…", default="", help="Names of the columns of a file without a header."
            ),
        )
    ):
        command = option(command)
    return command


def read_options(chosen: Mapping[str, Any], *, images_dir: str = "") -> ReadOptions:
    """What `table_options` asked for."""
    from peyda.captions import ReadOptions

    header = tuple(name.strip() for name in chosen["columns"].split(",")) if chosen["columns"] else ()
    if len(set(header)) != len(header) or "" in header:
        raise click.BadParameter(f"{chosen['columns']!r} is not a list of different names", param_hint="--columns")
    return ReadOptions(language=chosen["language"], encoding=chosen["encoding"], header=header, images_dir=images_dir)
