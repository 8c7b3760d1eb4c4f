"""`peyda report`: look at a caption table: a page, a PNG, and samples in the terminal."""

from __future__ import annotations

import json
import shutil
import sys
from typing import TYPE_CHECKING

import click

from peyda.cli.options import json_option
from peyda.cli.row_progress import aligned, end_progress, remark_skipped, row_progress
from peyda.cli.terminal import escaped, is_terminal, isolated, write_line

if TYPE_CHECKING:
    from peyda.quality.report import ReportFacts, Sample, WrittenReport

_IN_TERMINAL = 10


@click.command()
@click.argument("sources", metavar="IN...", nargs=-1, required=True)
@click.option("--out", metavar="DIR", required=True, help="Where report.html, report.png and report.json go.")
@click.option("--images", metavar="DIR", help="Photographs of the table, shown beside the samples.")
@click.option("--by", metavar="COLUMN", help="Score of the histogram.  [default: score_mini, or the first]")
@click.option("--cut", metavar="X", type=float, help="Where to draw the cut.  [default: the lowest kept score]")
@click.option(
    "--samples", metavar="N", type=click.IntRange(0, 200), default=12, show_default=True, help="Samples of each kind."
)
@click.option("--seed", metavar="N", type=click.IntRange(0), default=0, help="Another seed, other random samples.")
@click.option("--open", "open_page", is_flag=True, help="Show the page in the browser.")
@click.option("--format", "table_format", metavar="NAME", help="Format of IN, where its ending does not say.")
@json_option
def report(
    sources: tuple[str, ...],
    out: str,
    images: str | None,
    by: str | None,
    cut: float | None,
    samples: int,
    seed: int,
    open_page: bool,
    table_format: str | None,
    as_json: bool,
) -> None:
    """Show how scores are spread, where the cut is, why rows were rejected, how engines compare, and samples.

    Several tables are reported on as one: the kept rows and the rejects that `peyda filter` wrote apart. The page
    needs no network and can be passed on. A sample of the kept rows is printed here, too.
    """
    from peyda.quality.report import collect, write_report
    from peyda.quality.report.write import to_dict

    facts = collect(sources, by=by, cut=cut, samples=samples, seed=seed, format=table_format, progress=row_progress())
    end_progress()
    written = write_report(facts, out, images=images)
    if as_json:
        write_line(sys.stdout, json.dumps(to_dict(facts)))
    else:
        for line in [*_summary(facts), "", *_sample_table(facts)]:
            write_line(sys.stdout, line)
    _remark(facts, written)
    if open_page:
        _open(written)


def _summary(facts: ReportFacts) -> list[str]:
    rows = [["verdict", "rows", "share"], ["kept", f"{facts.kept:,}", f"{facts.kept / facts.rows:.1%}"]]
    rows += [[escaped(name), f"{count:,}", f"{count / facts.rows:.1%}"] for name, count in facts.reasons.items()]
    lines = aligned(rows) if facts.is_judged else [f"{facts.rows:,} rows, not filtered yet"]
    if facts.column:
        cut = "" if facts.cut is None else f", cut {facts.cut:.3f}"
        score = next(one for one in facts.scores if one.column == facts.column)
        lines.append(f"{facts.column}: median {score.median:.3f}, 5 % below {score.p5:.3f}{cut}")
    return lines


def _sample_table(facts: ReportFacts) -> list[str]:
    """Rows of the final data. Persian stands last, so that its direction moves nothing else."""
    kept = list(facts.samples.get("Kept, at random", ()))[:_IN_TERMINAL]
    width = shutil.get_terminal_size((120, 24)).columns if is_terminal(sys.stdout) else None
    return [line for sample in kept for line in _sample_lines(sample, width)]


def _sample_lines(sample: Sample, width: int | None) -> list[str]:
    score = "    -" if sample.score is None else f"{sample.score:5.3f}"
    engine = f"  {isolated(sample.engine, sys.stdout)}" if sample.engine else ""
    lines = [f"{score}  {isolated(sample.image, sys.stdout)}{engine}"]
    captions = [one for one in (sample.caption_en, sample.caption_fa) if one]
    return lines + [f"       {isolated(_cut(one, width), sys.stdout)}" for one in captions]


def _cut(text: str, width: int | None) -> str:
    limit = 300 if width is None else max(20, width - 8)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _remark(facts: ReportFacts, written: WrittenReport) -> None:
    remark_skipped(", ".join(facts.sources), facts.skipped)
    for one in written.skipped:
        detail = f": {escaped(one.detail)}" if one.detail else ""
        write_line(sys.stderr, f"no photograph: {escaped(one.path)}: {one.reason}{detail}")
    if written.figure_problem is not None:
        write_line(sys.stderr, f"no report.png: {written.figure_problem.message}")
        write_line(sys.stderr, f"  what to do: {written.figure_problem.hint}")
    write_line(sys.stderr, f"written: {escaped(written.page)}")


def _open(written: WrittenReport) -> None:
    from pathlib import Path

    from peyda.cli.contact_sheet import open_in_browser

    if not open_in_browser(Path(written.page).resolve()):
        write_line(sys.stderr, "there is no browser here; open the page yourself")
