"""Figures of scores: how they spread, and how well they tell two kinds apart. PNG, as in `figures`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from peyda.evaluation.figures import COLOURS, canvas, finish, plain

Float64 = npt.NDArray[np.float64]

_BINS = 40
_GRID = "#e6e2db"
_SOFT = "#625d57"


@dataclass(frozen=True, slots=True)
class Spread:
    """Scores of one kind, as one histogram.

    Attributes:
        name: What the legend says.
        scores: `Float64[n]`, at least one.
        weights: `Float64[n]`, or None where all weigh the same.
    """

    name: str
    scores: Float64
    weights: Float64 | None = None


def draw_spreads(panels: Sequence[tuple[str, Sequence[Spread]]], path: str, *, title: str, label: str) -> None:
    """Histograms as shares of each kind, a panel for each system, on one axis of scores.

    Args:
        panels: (heading, its kinds); an empty heading where there is one panel.
        path: The PNG.
        title: Above the figure.
        label: Of the axis of scores.

    Raises:
        ConfigError: matplotlib is not installed.
        OSError: The file cannot be written.
    """
    scores = np.concatenate([one.scores for _, kinds in panels for one in kinds])
    low, high = float(scores.min()), float(scores.max())
    edges = np.linspace(low, high if high > low else low + 1.0, _BINS + 1)
    with canvas(7.4, 1.6 + 2.4 * len(panels), len(panels)) as (figure, axes):
        panes = axes if isinstance(axes, list) else [axes]
        for pane, (heading, kinds) in zip(panes, panels, strict=True):
            for at, one in enumerate(kinds):
                weights = np.ones(len(one.scores)) if one.weights is None else one.weights
                look = {"color": COLOURS[at % len(COLOURS)], "label": plain(one.name)}
                shares, _ = np.histogram(one.scores, edges, weights=weights / weights.sum())
                pane.stairs(shares, edges, fill=True, alpha=0.22, color=look["color"])
                pane.stairs(shares, edges, linewidth=1.4, **look)
            pane.set(ylabel="share", title=plain(heading))
            pane.grid(visible=True, axis="y", color=_GRID, linewidth=0.6)
            pane.set_axisbelow(True)
            pane.legend(frameon=False, fontsize=9)
        panes[-1].set_xlabel(label)
        figure.suptitle(plain(title), fontsize=12)
        finish(figure, axes, path)


def draw_roc(curves: Sequence[tuple[str, Float64, Float64, float]], path: str, *, title: str) -> None:
    """ROC curves, with the line of chance.

    Args:
        curves: (name, shares of negatives, shares of positives, area below it).
        path: The PNG.
        title: Above the figure.

    Raises:
        ConfigError: matplotlib is not installed.
        OSError: The file cannot be written.
    """
    with canvas(5.6, 5.4) as (figure, axes):
        for at, (name, negatives, positives, area) in enumerate(curves):
            label = f"{plain(name)}, area {area:.3f}"
            axes.plot(negatives, positives, color=COLOURS[at % len(COLOURS)], linewidth=1.8, label=label)
        axes.plot([0, 1], [0, 1], color=_SOFT, linestyle=":", linewidth=1, label="chance")
        axes.set(xlim=(0, 1), ylim=(0, 1.005), title=plain(title), aspect="equal")
        axes.set(xlabel="damaged translations at or above the cut", ylabel="true translations at or above the cut")
        axes.grid(visible=True, color=_GRID, linewidth=0.6)
        axes.legend(frameon=False, loc="lower right", fontsize=9)
        finish(figure, axes, path)
