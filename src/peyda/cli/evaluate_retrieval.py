"""`peyda evaluate retrieval`: find photographs by their captions, and captions by their photographs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from peyda.cli.evaluate_options import (
    AskedQueries,
    comparison_lines,
    left_out,
    load_encoders,
    models_option,
    parse_numbers,
    print_results,
    query_options,
    remark_written,
    stage_progress,
    with_margin,
)
from peyda.cli.options import json_option
from peyda.cli.row_progress import aligned
from peyda.cli.terminal import escaped, write_line

if TYPE_CHECKING:
    from peyda.evaluation import RetrievalReport


@click.command()
@query_options
@click.option("--k", "ks", metavar="1,5,10", default="1,5,10", callback=parse_numbers, help="The k of Acc@k.")
@click.option("--seed", metavar="N", type=click.IntRange(0), help="Of the draw.  [default: 0]")
@click.option(
    "--protocol",
    type=click.Choice(["peyda", "original"]),
    default="peyda",
    show_default=True,
    help="How to measure; `original` as the original project did, with N (1000) caption rows as the gallery.",
)
@click.option("--out", metavar="DIR", required=True, help="Where metrics.json, ranks, figures and report.html go.")
@models_option
@json_option
def retrieval(
    asked: AskedQueries,
    ks: list[int],
    sample: int | None,
    seed: int | None,
    protocol: str,
    models: tuple[str, ...],
    out: str,
    as_json: bool,
) -> None:
    """Find photographs by their captions, and captions by their photographs, and say how often it worked.

    The gallery is every distinct photograph of TABLE, plus those of --gallery-images; --where chooses the queries
    only. It may be repeated: several values of one column are alternatives, several columns must all match.

    Several --model are measured on the same queries, with a test of whether their differences are chance.
    """
    from peyda.evaluation import evaluate_retrieval

    if protocol == "original" and asked.gallery_images is not None:
        raise click.UsageError("--protocol original has no --gallery-images: its gallery is rows of TABLE")
    table = asked.read()
    report = evaluate_retrieval(
        load_encoders(models),
        table,
        asked.images,
        **asked.choice(),
        ks=ks,
        sample=sample,
        seed=seed,
        protocol="original" if protocol == "original" else "peyda",
        progress=stage_progress(),
    )
    written = report.write(out)
    print_results(report.metrics, lambda: [*_table(report.metrics), *_tests(report)], as_json=as_json)
    if protocol == "original":
        _remark_protocol(report)
    remark_written(written, out, left_out(report.run))


def _table(metrics: list[dict[str, Any]]) -> list[str]:
    """Right-aligned columns; each Acc@k with half the width of its 95 % interval."""
    first = metrics[0]
    models = list(dict.fromkeys(one["model"] for one in metrics))
    what = "caption rows" if first["protocol"] == "original" else "photographs"
    lines = [f"{escaped(', '.join(models))} on {escaped(first['dataset'])}: {first['images']:,} {what}"]
    names = [f"Acc@{k}" for k in first["accuracy_at_k"]]
    rows = [["direction", "queries", *names, "MRR", "median"]]
    for one in metrics:
        accuracies = [with_margin(value, one["ci95"]["accuracy_at_k"][k]) for k, value in one["accuracy_at_k"].items()]
        mean = with_margin(one["mrr"], one["ci95"]["mrr"])
        rows.append([one["direction"], f"{one['queries']:,}", *accuracies, mean, f"{one['median_rank']:g}"])
    if len(models) > 1:
        names_column = ["model", *(escaped(one["model"]) for one in metrics)]
        return lines + aligned([[name, *row] for name, row in zip(names_column, rows, strict=True)], left=2)
    return lines + aligned(rows)


def _tests(report: RetrievalReport) -> list[str]:
    """Acc@k of the highest k asked for and MRR of every two models, text to image."""
    k = report.run["k"][-1]
    mine = (one for one in report.comparisons if one["direction"] == "text_to_image")
    return comparison_lines(mine, {f"accuracy_at_{k}": f"Acc@{k}", "mrr": "MRR"}, title="text_to_image")


def _remark_protocol(report: RetrievalReport) -> None:
    write_line(
        sys.stderr,
        f"the original protocol: {report.run['images']:,} caption rows are the gallery, of "
        f"{report.run['distinct_images']:,} different photographs; doubles and ties count as found, so the numbers are "
        "higher than those of Peyda's own protocol and belong in no column with them",
    )
