"""Histograms as inline SVG: they take their colours from the page, so that they are right by day and by night."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from peyda.quality.report.facts import EngineFacts, ReportFacts
from peyda.quality.report.text import shown

_WIDTH, _HEIGHT = 760, 270
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 14, 26, 46
_SMALL_WIDTH, _SMALL_HEIGHT = 340, 76
_TICKS, _SMALL_TICKS = 8, 4


def histogram(facts: ReportFacts) -> str:
    """The score histogram of all rows, with the cut."""
    kept, other = facts.kept_counts(), facts.other_counts()
    label = f"Histogram of {facts.column}: {int(kept.sum()):,} kept and {int(other.sum()):,} rejected rows"
    return _chart(facts, kept, other, label=label, is_small=False)


def engine_histogram(facts: ReportFacts, engine: EngineFacts) -> str:
    """The same for one engine, small; counts are of its own scale."""
    label = f"Histogram of {facts.column} for {engine.name or 'no engine'}"
    return _chart(facts, engine.kept_counts, engine.other_counts, label=label, is_small=True)


def _chart(
    facts: ReportFacts,
    kept: npt.NDArray[np.int64],
    other: npt.NDArray[np.int64],
    *,
    label: str,
    is_small: bool,
) -> str:
    width, height = (_SMALL_WIDTH, _SMALL_HEIGHT) if is_small else (_WIDTH, _HEIGHT)
    left, top, bottom = (12, 4, height - 20) if is_small else (_LEFT, _TOP, height - _BOTTOM)
    right = width - _RIGHT
    highest = max(1, int((kept + other).max()))
    low, high = float(facts.edges[0]), float(facts.edges[-1])

    def x(score: float) -> float:
        return left + (score - low) / (high - low) * (right - left)

    def y(count: float) -> float:
        return bottom - count / highest * (bottom - top)

    name = shown(label)
    parts = [f'<svg class="chart" viewBox="0 0 {width} {height}" role="img" direction="ltr" aria-label="{name}">']
    if not is_small:
        parts += _count_axis(highest, left, y)
    for at in range(len(kept)):
        start, end = x(float(facts.edges[at])), x(float(facts.edges[at + 1]))
        bar = max(1.0, end - start - 1)
        for css, begin, count in (("kept", 0, kept[at]), ("other", kept[at], other[at])):
            if count:
                at_y = y(float(begin + count))
                parts.append(
                    f'<rect class="{css}" x="{start:.1f}" y="{at_y:.1f}" width="{bar:.1f}"'
                    f' height="{y(float(begin)) - at_y:.1f}"/>'
                )
    parts.append(f'<line class="axis" x1="{left}" y1="{bottom}" x2="{right}" y2="{bottom}"/>')
    for tick in ticks(low, high, _SMALL_TICKS if is_small else _TICKS):
        parts.append(f'<text x="{x(tick):.1f}" y="{bottom + 16}" text-anchor="middle">{tick:g}</text>')
    if not is_small:
        middle, name = (left + width) / 2, shown(facts.column or "")
        parts.append(f'<text x="{middle:.0f}" y="{height - 6}" text-anchor="middle">{name}</text>')
    if facts.cut is not None and low <= facts.cut <= high:
        parts += _cut_line(facts.cut, x(facts.cut), top, bottom, with_label=not is_small)
    return "".join([*parts, "</svg>"])


def _count_axis(highest: int, left: int, y: Callable[[float], float]) -> Iterator[str]:
    for tick in ticks(0, highest, 4):
        if tick != int(tick):
            continue
        yield f'<line class="grid" x1="{left}" y1="{y(tick):.1f}" x2="{_WIDTH - _RIGHT}" y2="{y(tick):.1f}"/>'
        yield f'<text x="{left - 8}" y="{y(tick) + 4:.1f}" text-anchor="end">{int(tick):,}</text>'


def _cut_line(cut: float, at: float, top: int, bottom: int, *, with_label: bool) -> Iterator[str]:
    yield f'<line class="cut" x1="{at:.1f}" y1="{top - 4}" x2="{at:.1f}" y2="{bottom}"/>'
    if not with_label:
        return
    anchor, shift = ("end", -6) if at > _WIDTH * 0.8 else ("start", 6)
    yield f'<text class="cut" x="{at + shift:.1f}" y="{top - 6}" text-anchor="{anchor}">cut {cut:.3f}</text>'


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
