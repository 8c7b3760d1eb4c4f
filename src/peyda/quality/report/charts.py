"""Histograms as inline SVG: they take their colours from the page, so that they are right by day and by night."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from peyda.quality.report.facts import EngineFacts, ReportFacts

_WIDTH, _HEIGHT = 760, 270
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 12, 26, 42
_SMALL_HEIGHT = 92
_TICKS = 8


def histogram(facts: ReportFacts) -> str:
    """The score histogram of all rows, with the cut."""
    kept, other = facts.kept_counts(), facts.other_counts()
    label = f"Histogram of {facts.column}: {int(kept.sum()):,} kept and {int(other.sum()):,} rejected rows"
    return _chart(facts, kept, other, height=_HEIGHT, label=label, with_axis=True)


def engine_histogram(facts: ReportFacts, engine: EngineFacts) -> str:
    """The same for one engine, small; counts are of its own scale."""
    label = f"Histogram of {facts.column} for {engine.name or 'no engine'}"
    return _chart(facts, engine.kept_counts, engine.other_counts, height=_SMALL_HEIGHT, label=label, with_axis=False)


def _chart(
    facts: ReportFacts,
    kept: npt.NDArray[np.int64],
    other: npt.NDArray[np.int64],
    *,
    height: int,
    label: str,
    with_axis: bool,
) -> str:
    top, bottom = (_TOP, height - _BOTTOM) if with_axis else (18, height - 20)
    left = _LEFT if with_axis else 4
    highest = max(1, int((kept + other).max()))
    low, high = float(facts.edges[0]), float(facts.edges[-1])

    def x(score: float) -> float:
        return left + (score - low) / (high - low) * (_WIDTH - _RIGHT - left)

    def y(count: float) -> float:
        return bottom - count / highest * (bottom - top)

    name = html.escape(label)
    parts = [f'<svg class="chart" viewBox="0 0 {_WIDTH} {height}" role="img" direction="ltr" aria-label="{name}">']
    if with_axis:
        parts += _count_axis(highest, left, y)
    for at in range(len(kept)):
        start, end = x(float(facts.edges[at])), x(float(facts.edges[at + 1]))
        width = max(1.0, end - start - 1)
        for css, begin, count in (("kept", 0, kept[at]), ("other", kept[at], other[at])):
            if count:
                at_y = y(float(begin + count))
                parts.append(
                    f'<rect class="{css}" x="{start:.1f}" y="{at_y:.1f}" width="{width:.1f}"'
                    f' height="{y(float(begin)) - at_y:.1f}"/>'
                )
    parts.append(f'<line class="axis" x1="{left}" y1="{bottom}" x2="{_WIDTH - _RIGHT}" y2="{bottom}"/>')
    for tick in ticks(low, high):
        parts.append(f'<text x="{x(tick):.1f}" y="{bottom + 16}" text-anchor="middle">{tick:g}</text>')
    if with_axis:
        parts.append(f'<text x="{(left + _WIDTH) / 2:.0f}" y="{height - 6}" text-anchor="middle">{facts.column}</text>')
    if facts.cut is not None and low <= facts.cut <= high:
        parts += _cut_line(facts.cut, x(facts.cut), top, bottom)
    return "".join([*parts, "</svg>"])


def _count_axis(highest: int, left: int, y: object) -> Iterator[str]:
    assert callable(y)
    for tick in ticks(0, highest, 4):
        if tick != int(tick):
            continue
        yield f'<line class="grid" x1="{left}" y1="{y(tick):.1f}" x2="{_WIDTH - _RIGHT}" y2="{y(tick):.1f}"/>'
        yield f'<text x="{left - 8}" y="{y(tick) + 4:.1f}" text-anchor="end">{int(tick):,}</text>'


def _cut_line(cut: float, at: float, top: int, bottom: int) -> Iterator[str]:
    yield f'<line class="cut" x1="{at:.1f}" y1="{top - 8}" x2="{at:.1f}" y2="{bottom}"/>'
    anchor, shift = ("end", -6) if at > _WIDTH * 0.8 else ("start", 6)
    yield f'<text class="cut" x="{at + shift:.1f}" y="{top - 2}" text-anchor="{anchor}">cut {cut:.3f}</text>'


def ticks(low: float, high: float, count: int = _TICKS) -> list[float]:
    """Round numbers from `low` to `high`, some `count` of them.

    >>> ticks(0, 1, 4)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    if not high > low:
        return [low]
    rough = (high - low) / count
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor * 1.0001 >= rough)
    if step > rough * 1.3 and step / unit == 5:
        step = unit * 2
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(at * step, 10) for at in range(first, last + 1)]
