"""The report as one PNG: histogram with the cut, engines, reasons, and some captions. Needs the extra `measure`.

Labels are English. Engine names, file names and captions may be Persian: matplotlib 3.11 shapes them and sets them
from right to left (it lays text out with libraqm); an older one would show single letters in the wrong order, and is
refused.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from peyda.errors import ConfigError
from peyda.quality.report.facts import EngineFacts, ReportFacts, Sample

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_KEPT, _OTHER, _CUT, _INK, _SOFT = "#2f7d6b", "#c9705a", "#8a1f4b", "#1d1b19", "#625d57"
_ENGINES_SHOWN = 8
_REASONS_SHOWN = 12
_SAMPLES_SHOWN = 4
_CAPTION_CHARACTERS = 58
_FONTS = ("Vazirmatn", "Noto Sans Arabic", "Noto Naskh Arabic", "DejaVu Sans")
_SAMPLE_TITLES = ("Best scores", "Lowest scores that are kept", "Just below the cut")


def draw(facts: ReportFacts, path: str) -> None:
    """Write the PNG.

    Raises:
        ConfigError: matplotlib is not installed, or cannot shape Persian.
        OSError: The file cannot be written.
    """
    matplotlib, figure_class = _matplotlib()
    # Only families that are there: others are warned about, one by one. Tick labels are made while saving.
    with matplotlib.rc_context({"font.family": _installed(_FONTS), "font.size": 10, "text.color": _INK}):
        _figure(facts, figure_class).savefig(path, dpi=130, format="png", facecolor="white")


def _figure(facts: ReportFacts, figure_class: Any) -> Figure:
    samples = _chosen(facts)
    engines = _engines_shown(facts)
    heights = [3.2 if facts.column else 0.0, 0.45 * len(engines) + 0.8 if engines and facts.column else 0.0]
    heights += [0.3 * min(len(facts.reasons), _REASONS_SHOWN) + 0.8 if facts.reasons else 0.0, 0.34 * len(samples)]
    drawers = (_draw_histogram, _draw_engines, _draw_reasons, _draw_samples)
    panels = [(height, drawer) for height, drawer in zip(heights, drawers, strict=True) if height]
    ratios = [height for height, _ in panels] or [1.0]
    figure: Figure = figure_class(figsize=(9, sum(ratios) + 0.9), layout="constrained")
    figure.suptitle(_title(facts), fontsize=13)
    rows = figure.subplots(len(ratios), 1, height_ratios=ratios, squeeze=False)
    if not panels:
        rows[0][0].set_axis_off()
    for (_, drawer), (axes,) in zip(panels, rows, strict=False):
        drawer(axes, facts)
    return figure


def _engines_shown(facts: ReportFacts) -> Sequence[EngineFacts]:
    """Engines to compare; rows that name none stand beside those that do."""
    return facts.engines[:_ENGINES_SHOWN] if any(one.name for one in facts.engines) else ()


def _matplotlib() -> tuple[Any, Any]:
    hint = "pip install 'peyda[measure]'"
    try:
        import matplotlib
        from matplotlib import ft2font
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError("the PNG needs matplotlib, which is not installed", hint=hint) from error
    if not hasattr(ft2font, "__libraqm_version__"):
        raise ConfigError(
            f"matplotlib {matplotlib.__version__} cannot set Persian text", hint=f"{hint} (3.11 or later)"
        )
    return matplotlib, Figure


def _installed(families: tuple[str, ...]) -> list[str]:
    from matplotlib import font_manager

    known = set(font_manager.get_font_names())
    return [name for name in families if name in known]


def _title(facts: ReportFacts) -> str:
    name = ", ".join(one.replace("\\", "/").rsplit("/", 1)[-1] for one in facts.sources)
    kept = f", {facts.kept:,} kept" if facts.is_judged else ""
    return f"{_plain(name)}: {facts.rows:,} rows{kept}"


def _plain(text: str) -> str:
    """Text that matplotlib draws as it is: cut, no control characters, no formulas."""
    cut = text if len(text) <= _CAPTION_CHARACTERS else text[: _CAPTION_CHARACTERS - 1] + "…"
    clean = "".join(" " if unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp", "Co", "Cn"} else char for char in cut)
    return clean.replace("$", r"\$")


def _draw_histogram(axes: Any, facts: ReportFacts) -> None:
    widths = facts.edges[1:] - facts.edges[:-1]
    kept, other = facts.kept_counts(), facts.other_counts()
    name = "kept" if facts.is_judged else "rows"
    axes.bar(facts.edges[:-1], kept, widths * 0.92, align="edge", color=_KEPT, label=name)
    if other.any():
        axes.bar(facts.edges[:-1], other, widths * 0.92, bottom=kept, align="edge", color=_OTHER, label="rejected")
    if facts.cut is not None:
        axes.axvline(facts.cut, color=_CUT, linestyle="--", linewidth=1.6, label=f"cut {facts.cut:.3f}")
    axes.set_xlabel(facts.column)
    axes.set_ylabel("rows")
    axes.set_xlim(facts.edges[0], facts.edges[-1])  # as the engines below have it
    axes.legend(frameon=False)
    _quiet(axes)


def _draw_engines(axes: Any, facts: ReportFacts) -> None:
    """A strip for each engine: its histogram, on its own scale."""
    engines = _engines_shown(facts)
    widths = facts.edges[1:] - facts.edges[:-1]
    for at, engine in enumerate(engines):
        highest = max(1, int((engine.kept_counts + engine.other_counts).max())) / 0.85
        base = len(engines) - 1 - at
        kept = engine.kept_counts / highest
        axes.bar(facts.edges[:-1], kept, widths, bottom=base, align="edge", color=_KEPT)
        axes.bar(
            facts.edges[:-1], engine.other_counts / highest, widths, bottom=base + kept, align="edge", color=_OTHER
        )
    axes.set_yticks(
        [len(engines) - 1 - at + 0.35 for at in range(len(engines))],
        [
            f"{_plain(one.name) or 'no engine named'}\n{one.kept / one.rows:.0%} kept, median {one.median:.3f}"
            for one in engines
        ],
        fontsize=8,
    )
    if facts.cut is not None:
        axes.axvline(facts.cut, color=_CUT, linestyle="--", linewidth=1.2)
    axes.set_xlim(facts.edges[0], facts.edges[-1])
    _quiet(axes)


def _draw_reasons(axes: Any, facts: ReportFacts) -> None:
    reasons = list(facts.reasons.items())[:_REASONS_SHOWN][::-1]
    bars = axes.barh([_plain(name) for name, _ in reasons], [count for _, count in reasons], color=_OTHER)
    axes.bar_label(bars, [f" {count:,} ({count / facts.rows:.1%})" for _, count in reasons], fontsize=8)
    axes.margins(x=0.18)
    axes.set_title("rejected rows, by reason", fontsize=10, loc="left", color=_SOFT)
    _quiet(axes)


def _chosen(facts: ReportFacts) -> list[tuple[str, Sample]]:
    titles = [title for title in _SAMPLE_TITLES if title in facts.samples] or ["Kept, at random"]
    return [(title, one) for title in titles for one in list(facts.samples.get(title, ()))[:_SAMPLES_SHOWN]]


def _draw_samples(axes: Any, facts: ReportFacts) -> None:
    """Captions, Persian from the right and English from the left."""
    axes.set_axis_off()
    rows = _chosen(facts)
    axes.set(xlim=(0, 1), ylim=(-len(rows) + 0.5, 0.5))
    last = ""
    for at, (title, sample) in enumerate(rows):
        if title != last:
            axes.axhline(-at + 0.5, color="#dedad3", linewidth=1)
        last = title
        colour = _KEPT if sample.is_kept else _OTHER
        score = "–" if sample.score is None else f"{sample.score:.3f}"
        axes.text(0.0, -at, score, va="center", fontsize=8, color=colour, weight="bold")
        axes.text(0.06, -at, _plain(sample.caption_en), va="center", fontsize=7, color=_SOFT)
        axes.text(1.0, -at, _plain(sample.caption_fa), va="center", ha="right", fontsize=8.5)


def _quiet(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=_SOFT, labelcolor=_SOFT)
