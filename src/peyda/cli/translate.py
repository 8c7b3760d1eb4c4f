"""`peyda translate`: give the captions of a table Persian translations.

Owns what a person sees of a run. Progress goes to stderr; stdout carries the summary, as text or, with `--json`, as one
object.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from peyda.cli.exit_codes import INTERRUPTED
from peyda.cli.options import json_option
from peyda.cli.terminal import escaped, is_terminal, write_line

if TYPE_CHECKING:
    from peyda.translate import Engine, Progress, TranslationSummary

_CACHE_NAME = "translations.sqlite"
_SHOWN_SKIPPED = 5


@click.command()
@click.argument("table", metavar="IN", type=click.Path())
@click.option(
    "--out", metavar="OUT", required=True, type=click.Path(), help="Table to write; its ending is its format."
)
@click.option("--engine", default="mini", show_default=True, help="Who translates: mini, google, openai, ctranslate2.")
@click.option("--column", default="caption_en", show_default=True, help="Column with the English text.")
@click.option("--model", metavar="NAME|DIR", help="openai: a model's name; ctranslate2, mini: a model directory.")
@click.option("--base-url", metavar="URL", help="openai: address of the service; google: one that forwards to it.")
@click.option("--prompt", metavar="TEXT", help="openai: further instructions to the model.")
@click.option(
    "--timeout", "timeout_s", metavar="SECONDS", type=click.FloatRange(0.1), help="Longest wait for an answer."
)
@click.option("--batch-size", metavar="N", type=click.IntRange(1, 4096), help="Texts in one call.")
@click.option("--beam-size", metavar="N", type=click.IntRange(1, 64), help="ctranslate2, mini: width of the search.")
@click.option("--device", metavar="NAME", help="ctranslate2: cpu, cuda or auto.  [default: cpu]")
@click.option("--threads", metavar="N", type=click.IntRange(1, 1024), help="ctranslate2, mini: threads.")
@click.option("--concurrency", metavar="N", type=click.IntRange(1, 256), help="Calls at a time.")
@click.option(
    "--rate",
    metavar="N",
    type=click.FloatRange(0),
    help="Calls a second at most; 0: no limit.  [default: the engine's]",
)
@click.option("--tries", metavar="N", type=click.IntRange(1, 100), default=5, show_default=True, help="Tries a text.")
@click.option(
    "--patience",
    metavar="N",
    type=click.IntRange(0),
    default=10,
    show_default=True,
    help="Stop when the service fails for N texts in a row; 0: never.",
)
@click.option(
    "--existing",
    type=click.Choice(["both", "keep", "replace"]),
    default="both",
    show_default=True,
    help="Rows with a Persian caption of another engine: keep it and add a row, keep it, or replace it.",
)
@click.option("--cache", metavar="FILE", type=click.Path(dir_okay=False), help="Translations of all runs.")
@click.option("--format", "table_format", metavar="NAME", help="Format of IN, where its ending does not say it.")
@click.option("--encoding", metavar="NAME", default="", help="Encoding of IN, such as cp1256.  [default: UTF-8]")
@json_option
def translate(table: str, out: str, engine: str, as_json: bool, **chosen: Any) -> int:
    """Translate the English captions of the table IN into Persian, and write them to OUT.

    Everything else in IN passes through unchanged. A text that fails keeps its error in the column translate_error.
    Ctrl-C, a kill or a ban lose nothing: the same command goes on from there. Nothing is translated twice, in later
    runs neither. The key of openai comes from OPENAI_API_KEY.

    \b
    Examples:
      peyda translate results.csv --out captions.parquet
      peyda translate coco.json --out coco_fa.csv --engine ctranslate2 --model models/nllb-600m
    """
    from peyda.translate import EngineOptions, open_engine

    _refuse_missing(table)
    names = ("model", "base_url", "prompt", "timeout_s", "batch_size", "beam_size", "device", "threads")
    opened = open_engine(engine, EngineOptions(**{name: chosen[name] for name in names}))
    with contextlib.closing(opened):
        summary = _run(table, out, opened, chosen)
    _print_summary(summary, out, as_json=as_json)
    if not summary.is_complete:
        write_line(sys.stderr, "Stopped. What is done is kept; to go on, run the same command again.")
        return INTERRUPTED
    return 0


def _refuse_missing(table: str) -> None:
    """A slip in the path is said before an engine is loaded."""
    from peyda.errors import DataError

    if not os.path.exists(table) and not table.startswith("hf:"):
        raise DataError(f"there is no table {table!r}", hint="check the spelling")


def _run(table: str, out: str, engine: Engine, chosen: dict[str, Any]) -> TranslationSummary:
    from peyda.captions.formats import ReadOptions
    from peyda.cli.interrupts import stopping
    from peyda.config import load_settings
    from peyda.translate import RetryPolicy, translate_table

    stop = threading.Event()
    with stopping(stop), _progress_shown() as show:
        return translate_table(
            table,
            out,
            engine,
            cache=chosen["cache"] or os.path.join(load_settings().home, _CACHE_NAME),
            column=chosen["column"],
            existing=chosen["existing"],
            format=chosen["table_format"],
            options=ReadOptions(encoding=chosen["encoding"]),
            policy=RetryPolicy(tries=chosen["tries"], patience=chosen["patience"]),
            concurrency=chosen["concurrency"],
            calls_per_s=chosen["rate"],
            progress=show,
            should_stop=stop.is_set,
        )


@contextlib.contextmanager
def _progress_shown() -> Iterator[Callable[[Progress], None]]:
    """A bar on a terminal, nothing elsewhere: a log file wants no bars."""
    if not is_terminal(sys.stderr):
        yield lambda _: None
        return
    from peyda.cli.run_progress import progress_bar

    def speed(progress: Progress) -> str:
        failed = f", {progress.failed:,} failed" if progress.failed else ""
        return f"{progress.rate:,.1f}/s{failed}"

    with progress_bar("Looking through the table", "Translating", speed) as show:
        yield show


def _print_summary(summary: TranslationSummary, out: str, *, as_json: bool) -> None:
    if as_json:
        write_line(sys.stdout, json.dumps(summary.to_dict()))
        return
    for line in summary_lines(summary, out):
        write_line(sys.stdout, line)
    for one in summary.skipped[:_SHOWN_SKIPPED]:
        write_line(sys.stderr, escaped(f"line {one.line} is no row: {one.reason}: {one.detail}"))
    if summary.skipped_count > _SHOWN_SKIPPED:
        write_line(sys.stderr, f"… and {summary.skipped_count - _SHOWN_SKIPPED:,} more lines (--json lists them)")


def summary_lines(summary: TranslationSummary, out: str) -> list[str]:
    """A run in a few sentences; only what happened is named."""
    from peyda.cli.index import duration

    texts = f"{summary.texts_sent:,} texts translated now, {summary.texts_cached:,} known from before"
    if not summary.is_complete:
        return [f"{texts} ({duration(summary.seconds)})"]
    parts = [f"{summary.translated:,} translated by {summary.engine}"]
    parts += [f"{summary.passed:,} had a Persian caption"] if summary.passed else []
    parts += [f"{summary.failed:,} failed"] if summary.failed else []
    parts += [f"{summary.duplicates:,} with a key that was there before"] if summary.duplicates else []
    lines = [
        escaped(f"{summary.rows:,} rows in {out}: {', '.join(parts)}"),
        f"{texts} ({duration(summary.seconds)})",
    ]
    if summary.reasons:
        lines.append("Failed: " + ", ".join(f"{count:,} × {reason}" for reason, count in summary.reasons.items()))
        lines.append("Why, row by row: column translate_error. The same command tries these again.")
    return lines
