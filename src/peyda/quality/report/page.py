"""The report as one page of HTML that needs nothing else: no script, no font, no network; photographs are inside it.

The page is in English and runs left to right; every text from a table has its own direction and is isolated, so that
neither a Persian engine name nor a stray control character turns the words around it.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Mapping

from peyda.quality.report.charts import engine_histogram, histogram
from peyda.quality.report.facts import EngineFacts, ReportFacts, Sample
from peyda.quality.report.style import STYLE
from peyda.quality.report.text import isolated, shown
from peyda.quality.rules import REASONS

_NAME_CHARACTERS = 120
_ENGINES_SHOWN = 40
_CHARTS_SHOWN = 12
_BARS = "bars"  # a column of bars: it has no name, and narrow screens leave it out
_BARS_HEAD = '<th scope="col" class="bars"></th>'


def page(facts: ReportFacts, photographs: Mapping[str, str]) -> Iterator[str]:
    """The page, in pieces.

    Args:
        facts: What to show.
        photographs: Image name → `data:` address of its picture; a sample without one says so.
    """
    title = ", ".join(one.replace("\\", "/").rsplit("/", 1)[-1] for one in facts.sources)
    yield '<!doctype html>\n<html lang="en" dir="ltr">\n<head>\n<meta charset="utf-8">\n'
    yield '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
    yield "style-src 'unsafe-inline'\">\n"
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    yield f"<title>Captions of {shown(title, _NAME_CHARACTERS)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
    yield f"<header><h1>Captions of {isolated(title, _NAME_CHARACTERS)}</h1>\n{_lead(facts)}</header>\n<main>\n"
    if facts.column is not None:
        yield f"<section><h2>Scores</h2>\n{histogram(facts)}\n{_legend(facts)}"
        yield f"{_score_table(facts)}</section>\n"
    if facts.reasons:
        yield f"<section><h2>Reasons</h2>\n{_reason_table(facts)}</section>\n"
    if any(engine.name for engine in facts.engines):
        yield f"<section><h2>Engines</h2>\n{_engine_table(facts)}</section>\n"
    for heading, samples in facts.samples.items():
        yield f'<section><h2>{shown(heading)}</h2>\n{_meaning(heading)}<ul class="samples">\n'
        for sample in samples:
            yield _card(sample, photographs, has_photographs=bool(photographs))
        yield "</ul></section>\n"
    yield "</main>\n</body>\n</html>\n"


def _share(count: int, of: int) -> str:
    return f"{count / of:.1%}" if of else "–"


def _lead(facts: ReportFacts) -> str:
    if not facts.is_judged:
        return f"<p>{facts.rows:,} rows, not filtered yet.</p>"
    lines = f" {len(facts.skipped):,} lines were no rows." if facts.skipped else ""
    cut = f" Cut at {facts.column} ≥ {facts.cut:.3f}." if facts.cut is not None else ""
    return (
        f"<p>{facts.rows:,} rows: <strong>{facts.kept:,} kept</strong> ({_share(facts.kept, facts.rows)}),"
        f" {facts.rows - facts.kept:,} rejected.{cut}{lines}</p>"
    )


def _legend(facts: ReportFacts) -> str:
    if not facts.is_judged:
        return ""
    return (
        '<p class="legend"><span class="swatch kept"></span>kept <span class="swatch other"></span>rejected'
        " (for the score, or for a rule)</p>\n"
    )


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"


def _table(head: tuple[str, ...], rows: Iterator[str]) -> str:
    cells = "".join(f'<th scope="col">{name}</th>' if name != _BARS else _BARS_HEAD for name in head)
    return f'<div class="wide"><table><thead><tr>{cells}</tr></thead><tbody>\n{"".join(rows)}</tbody></table></div>\n'


def _score_table(facts: ReportFacts) -> str:
    def rows() -> Iterator[str]:
        for one in facts.scores:
            values = "".join(f"<td>{_number(value)}</td>" for value in (one.mean, one.p5, one.median, one.p95))
            yield f'<tr><th scope="row">{isolated(one.column)}</th><td>{one.rows:,}</td>{values}</tr>\n'

    return _table(("score", "rows", "mean", "5 %", "median", "95 %"), rows())


def _reason_table(facts: ReportFacts) -> str:
    most = max(facts.reasons.values())

    def rows() -> Iterator[str]:
        for reason, count in facts.reasons.items():
            bar = f'<span class="bar" style="width:{100 * count / most:.1f}%"></span>'
            yield (
                f'<tr><th scope="row">{isolated(reason, _NAME_CHARACTERS)}</th><td>{count:,}</td>'
                f'<td>{_share(count, facts.rows)}</td><td class="bars">{bar}</td>'
                f'<td class="text">{html.escape(REASONS.get(reason, ""))}</td></tr>\n'
            )

    return _table(("reason", "rows", "share", _BARS, ""), rows())


def _engine_table(facts: ReportFacts) -> str:
    def row(at: int, engine: EngineFacts) -> str:
        has_chart = facts.column is not None and at < _CHARTS_SHOWN
        return (
            f'<tr><th scope="row">{isolated(engine.name or "–", _NAME_CHARACTERS)}</th><td>{engine.rows:,}</td>'
            f"<td>{engine.kept:,}</td><td>{_share(engine.kept, engine.rows)}</td><td>{_number(engine.mean)}</td>"
            f'<td>{_number(engine.median)}</td><td class="small">'
            f"{engine_histogram(facts, engine) if has_chart else ''}</td></tr>\n"
        )

    shown_ones = facts.engines[:_ENGINES_SHOWN]
    rest = len(facts.engines) - len(shown_ones)
    more = f"<p>and {rest:,} more</p>\n" if rest else ""
    rows = (row(at, engine) for at, engine in enumerate(shown_ones))
    return _table(("engine", "rows", "kept", "share", "mean", "median", ""), rows) + more


def _meaning(heading: str) -> str:
    meaning = REASONS.get(heading.removeprefix("Rejected: "))
    return f"<p>{html.escape(meaning[0].upper() + meaning[1:])}.</p>\n" if meaning else ""


def _card(sample: Sample, photographs: Mapping[str, str], *, has_photographs: bool) -> str:
    name = shown(sample.image, _NAME_CHARACTERS)
    picture = ""
    if sample.image in photographs:
        picture = f'<img src="{photographs[sample.image]}" alt="" loading="lazy">'
    elif has_photographs:
        picture = '<span class="gone">no photograph</span>'
    score = "" if sample.score is None else f'<span class="score">{sample.score:.3f}</span>'
    engine = f'<span class="engine">{isolated(sample.engine, _NAME_CHARACTERS)}</span>' if sample.engine else ""
    english = (
        f'<p class="en" lang="en" dir="ltr"><bdi>{shown(sample.caption_en)}</bdi></p>' if sample.caption_en else ""
    )
    return (
        f'<li class="{"kept" if sample.is_kept else "other"}">{picture}<div class="words">'
        f'<p class="fa" lang="fa" dir="rtl"><bdi>{shown(sample.caption_fa) or "∅"}</bdi></p>{english}'
        f'<p class="facts">{score}{engine}<bdi class="name" dir="ltr">{name}</bdi></p></div></li>\n'
    )
