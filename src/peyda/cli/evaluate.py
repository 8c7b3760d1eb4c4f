"""`peyda evaluate`: measure a model on captioned photographs."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from peyda.cli.options import json_option, model_option
from peyda.cli.terminal import is_terminal, write_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from peyda.evaluation import RetrievalReport


@click.group()
def evaluate() -> None:
    """Measure a model on captioned photographs."""


def _parse_where(_context: click.Context, _option: click.Parameter, values: tuple[str, ...]) -> dict[str, list[str]]:
    where: dict[str, list[str]] = {}
    for value in values:
        name, separator, wanted = value.partition("=")
        if not separator or not name.strip():
            raise click.BadParameter(f"{value!r} is not COLUMN=VALUE, such as kind=short")
        where.setdefault(name.strip(), []).append(wanted)
    return where


def _parse_ks(_context: click.Context, _option: click.Parameter, value: str) -> list[int]:
    from peyda.persian import to_ascii_digits

    try:
        ks = [int(part) for part in to_ascii_digits(value).replace("،", ",").split(",")]
    except ValueError:
        ks = []
    if not ks or min(ks) < 1:
        raise click.BadParameter(f"{value!r} is not a list of positive numbers, such as 1,5,10")
    return ks


@evaluate.command()
@click.option("--captions", metavar="TABLE", required=True, help="Caption table: CSV, TSV, JSON lines or Parquet.")
@click.option("--images", metavar="DIR", required=True, help="Directory of its photographs.")
@click.option("--column", default="caption_fa", show_default=True, help="Column whose captions are the queries.")
@click.option("--where", metavar="COLUMN=VALUE", multiple=True, callback=_parse_where, help="Rows to take as queries.")
@click.option(
    "--gallery-images", metavar="LIST|all", help="Further photographs to search among: a list, or all of DIR."
)
@click.option("--k", "ks", metavar="1,5,10", default="1,5,10", callback=_parse_ks, help="The k of Acc@k.")
@click.option("--out", metavar="DIR", required=True, help="Where metrics.json, ranks.jsonl and run.json go.")
@model_option
@json_option
def retrieval(
    captions: str,
    images: str,
    column: str,
    where: dict[str, list[str]],
    gallery_images: str | None,
    ks: list[int],
    model: str | None,
    out: str,
    as_json: bool,
) -> None:
    """Find photographs by their captions, and captions by their photographs, and say how often it worked.

    The gallery is every distinct photograph of TABLE, plus those of --gallery-images; --where chooses the queries
    only. It may be repeated: several values of one column are alternatives, several columns must all match.
    """
    from peyda.captions import read_captions
    from peyda.config import load_settings
    from peyda.encoders import load_encoder
    from peyda.evaluation import evaluate_retrieval

    table = read_captions(captions, column=column)  # before the model: a wrong path is said at once
    report = evaluate_retrieval(
        load_encoder(load_settings(model=model).model),
        table,
        images,
        column=column,
        where=where,
        gallery_images=gallery_images,
        ks=ks,
        out=out,
        progress=_progress(),
    )
    if as_json:
        write_line(sys.stdout, json.dumps(report.metrics))
    else:
        for line in _table(report.metrics):
            write_line(sys.stdout, line)
    for line in _remarks(report, out):
        write_line(sys.stderr, line)


def _progress() -> Callable[[str, int, int], None] | None:
    if not is_terminal(sys.stderr):
        return None

    def show(stage: str, done: int, total: int) -> None:
        sys.stderr.write(f"\r{stage}: {done:,} of {total:,}" + ("\n" if done == total else ""))
        sys.stderr.flush()

    return show


def _table(metrics: list[dict[str, Any]]) -> list[str]:
    """Right-aligned columns; each Acc@k with half the width of its 95 % interval."""
    first = metrics[0]
    lines = [f"{first['model']} on {first['dataset']}: {first['images']:,} photographs"]
    names = [f"Acc@{k}" for k in first["accuracy_at_k"]]
    rows = [["direction", "queries", *names, "MRR", "median"]]
    for one in metrics:
        accuracies = [_with_margin(value, one["ci95"]["accuracy_at_k"][k]) for k, value in one["accuracy_at_k"].items()]
        mean = _with_margin(one["mrr"], one["ci95"]["mrr"])
        rows.append([one["direction"], f"{one['queries']:,}", *accuracies, mean, f"{one['median_rank']:g}"])
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return lines + ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]


def _with_margin(value: float, interval: list[float]) -> str:
    return f"{value:.3f} ±{(interval[1] - interval[0]) / 2:.3f}"


def _remarks(report: RetrievalReport, out: str) -> list[str]:
    counts = {
        "images skipped": report.run["skipped_images"],
        "rows of the table skipped": report.run["skipped_rows"],
        "captions without their image": report.run["captions_without_image"],
        "empty captions": report.run["empty_captions"],
    }
    remarks = [f"{count:,} {name}" for name, count in counts.items() if count]
    reasons = f" ({', '.join(remarks)}: see skipped.jsonl)" if remarks else ""
    return [f"written to {out}{reasons}"]
