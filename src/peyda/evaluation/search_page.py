"""The page of a search evaluation: the curves, and every size and engine in a table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from peyda.evaluation.page import document, figures, paragraph, section, shown, table
from peyda.evaluation.search_speed import FIGURE, SearchReport

_NOTE = (
    "“exact” scans every vector; “indexed” has an HNSW graph propose and exact scores decide. Recall is against a "
    "matrix product in float64. Times are of one query at a time on this machine, after a warm-up; they depend on "
    "what else it was doing."
)


def search_page(report: SearchReport, folder: Path) -> Iterator[str]:
    """The page, in pieces; the figure is taken from `folder` where it is there."""
    run = report.run
    vectors = "made vectors" if run["vectors"] == "made" else f"the {run['gallery_vectors']:,} vectors of a gallery"
    lead = (
        f"<p><strong>{run['queries']:,} queries</strong>, {shown(vectors)} of {run['dim']:,} numbers,"
        f" {run['cores']} cores.</p>\n{paragraph(_NOTE)}"
    )
    yield from document("Search: speed and quality", lead, _sections(report, folder))


def _sections(report: SearchReport, folder: Path) -> Iterator[str]:
    pictures = figures([(folder / FIGURE, "Latency and recall by size")])
    if pictures:
        yield section("Curves", pictures)
    ks = list(report.metrics[0]["recall_at_k"])
    rows = (
        [
            f"{one['points']:,}",
            shown(one["engine"]),
            *(f"{one['recall_at_k'][k]:.4f}" for k in ks),
            f"{one['p50_ms']:.2f}",
            f"{one['p95_ms']:.2f}",
            f"{one['queries_per_s']:,.0f}",
            f"{one['insert_s']:.1f}",
            f"{one['index_s']:.1f}",
            f"{one['bytes'] / 1e6:,.1f}",
        ]
        for one in report.metrics
    )
    head = ["photographs", "engine", *(f"recall@{k}" for k in ks), "p50 ms", "p95 ms", "queries/s", "insert s"]
    yield section("Numbers", table([*head, "index s", "MB"], rows))
