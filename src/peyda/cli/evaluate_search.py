"""`peyda evaluate search`: recall and latency of the vector engine at a size."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from peyda.cli.evaluate_options import parse_numbers, remark_written, stage_progress
from peyda.cli.options import json_option
from peyda.cli.row_progress import aligned
from peyda.cli.terminal import write_line

if TYPE_CHECKING:
    from peyda.evaluation.search_speed import SearchReport


@click.command()
@click.option("--size", "sizes", metavar="N,…", default="1000,10000", show_default=True, callback=parse_numbers,
              help="Numbers of photographs.")  # fmt: skip
@click.option("--gallery", metavar="DIR", help="Take the vectors of this gallery.  [default: made ones]")
@click.option("--dim", metavar="N", type=click.IntRange(1, 8192), default=512, show_default=True,
              help="Length of made vectors.")  # fmt: skip
@click.option("--k", "ks", metavar="10,…", default="10,1,100", show_default=True, callback=parse_numbers,
              help="The k of recall@k; the first is timed.")  # fmt: skip
@click.option("--queries", metavar="N", type=click.IntRange(1), default=200, show_default=True, help="How many to ask.")
@click.option("--seed", metavar="N", type=click.IntRange(0), default=0, help="Of vectors and queries.  [default: 0]")
@click.option("--out", metavar="DIR", required=True, help="Where metrics.json, the figure and report.html go.")
@json_option
def search(
    sizes: list[int],
    gallery: str | None,
    dim: int,
    ks: list[int],
    queries: int,
    seed: int,
    out: str,
    as_json: bool,
) -> None:
    """Search stores of several sizes, and compare what is found, and how fast, with exact search.

    The stores are made inside --out (4 bytes for each of N x dim numbers, the index about as much again) and removed
    afterwards. A gallery is only read.
    """
    from peyda.evaluation.search_speed import evaluate_search
    from peyda.evaluation.writing import result_folder

    with result_folder(out) as folder:
        report = evaluate_search(
            sizes,
            gallery=gallery,
            dim=dim,
            ks=ks,
            queries=queries,
            seed=seed,
            workdir=folder,
            progress=stage_progress(),
        )
    written = report.write(out)
    if as_json:
        write_line(sys.stdout, json.dumps(report.metrics))
    else:
        for line in _table(report):
            write_line(sys.stdout, line)
    remark_written(written, out)


def _table(report: SearchReport) -> list[str]:
    ks = list(report.metrics[0]["recall_at_k"])
    rows = [["engine", "photographs", *(f"recall@{k}" for k in ks), "p50 ms", "p95 ms", "queries/s", "index s", "MB"]]
    rows += [
        [
            one["engine"],
            f"{one['points']:,}",
            *(f"{one['recall_at_k'][k]:.4f}" for k in ks),
            f"{one['p50_ms']:.2f}",
            f"{one['p95_ms']:.2f}",
            f"{one['queries_per_s']:,.0f}",
            f"{one['index_s']:.1f}",
            f"{one['bytes'] / 1e6:,.1f}",
        ]
        for one in report.metrics
    ]
    return aligned(rows)
