"""`peyda evaluate retrieval`: find photographs by their captions, and captions by their photographs."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from peyda.cli.evaluate_options import (
    load_encoders,
    models_option,
    parse_numbers,
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
@click.option(
    "--sample", metavar="N", type=click.IntRange(1), help="Draw N photographs, with all their captions.  [default: all]"
)
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
    captions: str,
    images: str,
    column: str,
    where: dict[str, list[str]],
    split: str | None,
    split_table: str | None,
    gallery_images: str | None,
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
    from peyda.captions import read_captions
    from peyda.evaluation import evaluate_retrieval

    if protocol == "original" and gallery_images is not None:
        raise click.UsageError("--protocol original has no --gallery-images: its gallery is rows of TABLE")
    table = read_captions(captions, column=column)  # before the model: a wrong path is said at once
    report = evaluate_retrieval(
        load_encoders(models),
        table,
        images,
        column=column,
        where=where,
        split=split,
        split_table=split_table,
        gallery_images=gallery_images,
        ks=ks,
        sample=sample,
        seed=seed,
        protocol="original" if protocol == "original" else "peyda",
        progress=stage_progress(),
    )
    written = report.write(out)
    if as_json:
        write_line(sys.stdout, json.dumps(report.metrics))
    else:
        for line in [*_table(report.metrics), *_tests(report)]:
            write_line(sys.stdout, line)
    if protocol == "original":
        _remark_protocol(report)
    remark_written(written, out, _remarks(report))


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
    if not report.comparisons:
        return []
    wanted = {f"accuracy_at_{report.run['k'][-1]}": f"Acc@{report.run['k'][-1]}", "mrr": "MRR"}
    rows = [
        [
            f"{escaped(one['first'])} -> {escaped(one['second'])}",
            wanted[one["metric"]],
            f"{one['difference']:+.3f}",
            f"[{one['ci95'][0]:+.3f}, {one['ci95'][1]:+.3f}]",
            f"{one['p_holm']:.4f}",
        ]
        for one in report.comparisons
        if one["direction"] == "text_to_image" and one["metric"] in wanted
    ]
    return ["", *aligned([["text_to_image", "metric", "difference", "95 %", "p (Holm)"], *rows], left=2)]


def _remark_protocol(report: RetrievalReport) -> None:
    write_line(
        sys.stderr,
        f"the original protocol: {report.run['images']:,} caption rows are the gallery, of "
        f"{report.run['distinct_images']:,} different photographs; doubles and ties count as found, so the numbers are "
        "higher than those of Peyda's own protocol and belong in no column with them",
    )


def _remarks(report: RetrievalReport) -> list[str]:
    counts = {
        "images skipped": report.run["skipped_images"],
        "rows of the table skipped": report.run["skipped_rows"],
        "captions without their image": report.run["captions_without_image"],
        "empty captions": report.run["empty_captions"],
    }
    return [f"{count:,} {name}" for name, count in counts.items() if count]
