"""What the commands of `peyda evaluate` have in common: options, progress, numbers with their intervals, remarks."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TypeVar

import click

from peyda.cli.terminal import escaped, is_terminal, write_line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from peyda.encoders.protocol import Encoder
    from peyda.evaluation import WrittenReport

_Command = TypeVar("_Command", bound="Callable[..., Any]")


def parse_where(_context: click.Context, _option: click.Parameter, values: tuple[str, ...]) -> dict[str, list[str]]:
    """`--where COLUMN=VALUE`, repeated, as column → values."""
    where: dict[str, list[str]] = {}
    for value in values:
        name, separator, wanted = value.partition("=")
        if not separator or not name.strip():
            raise click.BadParameter(f"{value!r} is not COLUMN=VALUE, such as kind=short")
        where.setdefault(name.strip(), []).append(wanted)
    return where


def parse_numbers(_context: click.Context, _option: click.Parameter, value: str) -> list[int]:
    """Positive whole numbers with commas, in Persian digits too."""
    from peyda.persian import to_ascii_digits

    try:
        numbers = [int(part) for part in to_ascii_digits(value).replace("،", ",").split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1:
        raise click.BadParameter(f"{value!r} is not a list of positive numbers, such as 1,5,10")
    return numbers


def models_option(command: _Command) -> _Command:
    """`--model NAME|DIR`, repeatable; the parameter is `models`."""
    return click.option(
        "--model",
        "models",
        metavar="NAME|DIR",
        multiple=True,
        help="Model to measure: a name of `peyda models list`, or a model directory. Several are compared.",
    )(command)


def query_options(command: _Command) -> _Command:
    """Options of commands that ask captions: `captions`, `images`, `column`, `where`, `split`…."""
    for option in reversed(
        (
            click.option("--captions", metavar="TABLE", required=True, help="Caption table, of any known format."),
            click.option("--images", metavar="DIR", required=True, help="Directory of its photographs."),
            click.option(
                "--column", default="caption_fa", show_default=True, help="Column whose captions are the queries."
            ),
            click.option(
                "--where", metavar="COLUMN=VALUE", multiple=True, callback=parse_where, help="Rows to take as queries."
            ),
            click.option("--split", metavar="NAME", help="Only photographs of this split, in the gallery too."),
            click.option(
                "--split-table", metavar="CSV", help="Table of image and split, where TABLE has no such column."
            ),
            click.option(
                "--gallery-images",
                metavar="LIST|all",
                help="Further photographs to search among: a list, or all of DIR.",
            ),
        )
    ):
        command = option(command)
    return command


def load_encoders(models: Sequence[str]) -> list[Encoder]:
    """The models asked for, or the one that the settings name.

    Raises:
        ModelError: There is no such model.
    """
    from peyda.config import load_settings
    from peyda.encoders import load_encoder

    return [load_encoder(name) for name in dict.fromkeys(models)] or [load_encoder(load_settings().model)]


def stage_progress() -> Callable[[str, int, int], None] | None:
    """Call what it returns with a stage, how many are done, and how many there are; None where nobody watches."""
    if not is_terminal(sys.stderr):
        return None

    def show(stage: str, done: int, total: int) -> None:
        sys.stderr.write(f"\r{stage}: {done:,} of {total:,}" + ("\n" if done == total else ""))
        sys.stderr.flush()

    return show


def with_margin(value: float, interval: Sequence[float]) -> str:
    """A share and half the width of its interval."""
    return f"{value:.3f} ±{(interval[1] - interval[0]) / 2:.3f}"


def remark_written(written: WrittenReport, out: str, remarks: Sequence[str] = ()) -> None:
    """Say on stderr where the results are, what took no part, and why there are no figures where there are none."""
    reasons = f" ({', '.join(remarks)}: see run.json and skipped.jsonl)" if remarks else ""
    write_line(sys.stderr, f"written to {escaped(out)}{reasons}")
    if written.figure_problem is not None:
        write_line(sys.stderr, f"without figures: {written.figure_problem.message}")
        write_line(sys.stderr, f"  what to do: {written.figure_problem.hint}, then run this again")
