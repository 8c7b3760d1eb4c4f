"""What the commands of `peyda evaluate` have in common: options, progress, numbers with their intervals, remarks."""

from __future__ import annotations

import functools
import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from peyda.cli.row_progress import aligned
from peyda.cli.terminal import escaped, is_terminal, write_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from peyda.captions import CaptionTable
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


@dataclass(frozen=True, slots=True)
class AskedQueries:
    """Which captions are asked of which photographs, as the options say it."""

    captions: str
    images: str
    column: str
    where: dict[str, list[str]]
    split: str | None
    split_table: str | None
    gallery_images: str | None

    def read(self) -> CaptionTable:
        """The table. To be called before a model is loaded: a wrong path is said at once.

        Raises:
            DataError: It cannot be read.
        """
        from peyda.captions import read_captions

        return read_captions(self.captions, column=self.column)

    def choice(self) -> dict[str, Any]:
        """What the evaluations of queries take, by its name there."""
        return {
            "column": self.column,
            "where": self.where,
            "split": self.split,
            "split_table": self.split_table,
            "gallery_images": self.gallery_images,
        }


_QUERY_OPTIONS = (
    click.option("--captions", metavar="TABLE", required=True, help="Caption table, of any known format."),
    click.option("--images", metavar="DIR", required=True, help="Directory of its photographs."),
    click.option("--column", default="caption_fa", show_default=True, help="Column whose captions are the queries."),
    click.option(
        "--where", metavar="COLUMN=VALUE", multiple=True, callback=parse_where, help="Rows to take as queries."
    ),
    click.option("--split", metavar="NAME", help="Only photographs of this split, in the gallery too."),
    click.option("--split-table", metavar="CSV", help="Table of image and split, where TABLE has no such column."),
    click.option(
        "--gallery-images", metavar="LIST|all", help="Further photographs to search among: a list, or all of DIR."
    ),
)
_SAMPLE_OPTION = click.option(
    "--sample", metavar="N", type=click.IntRange(1), help="Draw N photographs, with all their captions.  [default: all]"
)
_PAIR_OPTIONS = (
    click.option("--captions", metavar="TABLE", required=True, help="Caption table with the Persian captions."),
    click.option("--english", metavar="TABLE", help="Table with the English captions, where TABLE has none."),
    click.option(
        "--where", metavar="COLUMN=VALUE", multiple=True, callback=parse_where, help="Rows to take; repeatable."
    ),
    click.option("--split-table", metavar="CSV", help="Table of image and split, where TABLE has no such column."),
    click.option("--split", metavar="NAME", help="Only photographs of this split."),
    click.option("--first-only", is_flag=True, help="Only the first caption of each photograph."),
)


def query_options(command: _Command) -> Callable[..., Any]:
    """Options of commands that ask captions of photographs: `asked`, an `AskedQueries`, and `sample`."""
    names = AskedQueries.__dataclass_fields__

    @functools.wraps(command)
    def gathering(**given: Any) -> Any:
        return command(asked=AskedQueries(**{name: given.pop(name) for name in names}), **given)

    return _with_options(_SAMPLE_OPTION(gathering), _QUERY_OPTIONS)


def pair_options(command: _Command) -> Callable[..., Any]:
    """Options of commands that take captions in two languages: `source`, a `PairSource`."""

    @functools.wraps(command)
    def gathering(**given: Any) -> Any:
        from peyda.evaluation.parallel import PairSource

        return command(source=PairSource(**{name: given.pop(name) for name in PairSource.__slots__}), **given)

    return _with_options(gathering, _PAIR_OPTIONS)


def _with_options(command: Callable[..., Any], options: Sequence[Callable[..., Any]]) -> Callable[..., Any]:
    for option in reversed(options):
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


def with_margin(value: float, interval: Sequence[float], decimals: int = 3) -> str:
    """A number and half the width of its interval."""
    return f"{value:.{decimals}f} ±{(interval[1] - interval[0]) / 2:.{decimals}f}"


def comparison_lines(
    comparisons: Iterable[Mapping[str, Any]], metrics: Mapping[str, str], *, title: str = "", decimals: int = 3
) -> list[str]:
    """Paired tests as a table below an empty line; nothing where there are none.

    Args:
        comparisons: What `comparisons.json` holds.
        metrics: Metric → its heading; others are left out.
        title: Of the first column.
        decimals: Of differences.
    """
    rows = [
        [
            f"{escaped(one['first'])} -> {escaped(one['second'])}",
            metrics[one["metric"]],
            f"{one['difference']:+.{decimals}f}",
            f"[{one['ci95'][0]:+.{decimals}f}, {one['ci95'][1]:+.{decimals}f}]",
            f"{one['p_holm']:.4f}",
        ]
        for one in comparisons
        if one["metric"] in metrics
    ]
    return ["", *aligned([[title, "metric", "difference", "95 %", "p (Holm)"], *rows], left=2)] if rows else []


def print_results(metrics: Sequence[Mapping[str, Any]], lines: Callable[[], Iterable[str]], *, as_json: bool) -> None:
    """The numbers on stdout: as `metrics.json` holds them, or as lines for people."""
    for line in [json.dumps(metrics)] if as_json else lines():
        write_line(sys.stdout, line)


def left_out(run: Mapping[str, Any]) -> list[str]:
    """What took no part, for `remark_written`: those counts of `run.json` that are not zero."""
    names = {
        "skipped_images": "images skipped",
        "skipped_rows": "rows of the table skipped",
        "captions_without_image": "captions without their image",
        "empty_captions": "empty captions",
        "incomplete_pairs": "rows without a caption in both languages",
    }
    return [f"{run[count]:,} {name}" for count, name in names.items() if run.get(count)]


def remark_written(written: WrittenReport, out: str, remarks: Sequence[str] = ()) -> None:
    """Say on stderr where the results are, what took no part, and why there are no figures where there are none."""
    files = "run.json and skipped.jsonl" if (written.folder / "skipped.jsonl").exists() else "run.json"
    reasons = f" ({', '.join(remarks)}: see {files})" if remarks else ""
    write_line(sys.stderr, f"written to {escaped(out)}{reasons}")
    if written.figure_problem is not None:
        write_line(sys.stderr, f"without figures: {written.figure_problem.message}")
        write_line(sys.stderr, f"  what to do: {written.figure_problem.hint}, then run this again")
