"""Figures of results as PNG. Needs matplotlib (the extra `measure`) and draws without a display.

Words are English; names of models, sets and classes may be Persian, which matplotlib shapes from 3.11 on.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from peyda.errors import ConfigError

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

# Okabe and Ito's colours, which people with colour-blindness can tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_FONTS = ("Vazirmatn", "Noto Sans Arabic", "Noto Naskh Arabic", "DejaVu Sans")
_SOFT = "#625d57"
_NAME_CHARACTERS = 60
_CLASSES_NAMED = 110
_DPI = 130


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of the Acc@k figure.

    Attributes:
        name: The model.
        ks: `Int64[p]`, ascending.
        accuracy: `Float64[p]`.
        low: `Float64[p]`, lower end of the interval.
        high: `Float64[p]`, upper end.
        is_secondary: Drawn dashed and without its interval (image to text).
    """

    name: str
    ks: Int64
    accuracy: Float64
    low: Float64
    high: Float64
    is_secondary: bool = False


@contextmanager
def canvas(width: float, height: float, panels: int = 1) -> Iterator[tuple[Any, Any]]:
    """(figure, axes) with the fonts of reports; of several panels, one below the other, a list of axes.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    try:
        import matplotlib
        from matplotlib import font_manager
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError(
            "the figures need matplotlib, which is not installed", hint="pip install 'peyda[measure]'"
        ) from error
    known = set(font_manager.get_font_names())
    with matplotlib.rc_context({"font.family": [name for name in _FONTS if name in known], "font.size": 10}):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, figure.subplots() if panels == 1 else list(figure.subplots(panels, sharex=True))


def can_set_persian() -> bool:
    """Whether matplotlib is here and shapes Persian (3.11 and later, which lay text out with libraqm)."""
    try:
        from matplotlib import ft2font
    except ImportError:
        return False
    return hasattr(ft2font, "__libraqm_version__")


def draw_accuracy(curves: Sequence[Curve], path: str, *, title: str, images: int, is_log: bool) -> None:
    """Acc@k against k, linear or logarithmic, with 95 % bands and the line of chance.

    Raises:
        ConfigError: matplotlib is not installed.
        OSError: The file cannot be written.
    """
    with canvas(7.4, 5.2) as (figure, axes):
        colour_of = {name: COLOURS[at % len(COLOURS)] for at, name in enumerate(dict.fromkeys(c.name for c in curves))}
        for curve in curves:
            colour = colour_of[curve.name]
            if curve.is_secondary:
                label = f"{plain(curve.name)}, image to text"
                axes.plot(curve.ks, curve.accuracy, color=colour, linestyle="--", linewidth=1.1, label=label)
            else:
                axes.plot(
                    curve.ks, curve.accuracy, color=colour, linewidth=2, label=f"{plain(curve.name)}, text to image"
                )
                axes.fill_between(curve.ks, curve.low, curve.high, color=colour, alpha=0.16, linewidth=0)
        chance = np.unique(np.round(np.geomspace(1, max(images, 2), 200))).astype(int)
        axes.plot(chance, np.minimum(chance / images, 1), color=_SOFT, linestyle=":", linewidth=1, label="chance")
        axes.set(xlim=(1, max(images, 2)), ylim=(0, 1.01), ylabel="Acc@k", title=plain(title))
        axes.set_xlabel("k, logarithmic" if is_log else "k")
        if is_log:
            axes.set_xscale("log")
            plain_numbers(axes.xaxis)
        axes.grid(visible=True, which="both" if is_log else "major", color="#e6e2db", linewidth=0.6)
        axes.legend(frameon=False, loc="lower right" if not is_log else "upper left", fontsize=9)
        finish(figure, axes, path)


def draw_confusion(confusion: Int64, names: Sequence[str], path: str, *, title: str) -> None:
    """A confusion matrix, each row as shares of its class; classes are named up to a number that stays readable.

    Raises:
        ConfigError: matplotlib is not installed.
        OSError: The file cannot be written.
    """
    totals = confusion.sum(axis=1, keepdims=True)
    shares = np.divide(confusion, totals, out=np.zeros(confusion.shape), where=totals > 0)
    size = min(16.0, max(4.5, 0.19 * len(names) + 2.4))
    with canvas(size + 0.8, size) as (figure, axes):
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
        figure.colorbar(image, ax=axes, label="share of the class", shrink=0.7)
        axes.set(xlabel="predicted", ylabel="true", title=plain(title))
        if len(names) <= _CLASSES_NAMED:
            labels = [plain(name) for name in names]
            font = 9 if len(names) <= 20 else 6
            axes.set_xticks(range(len(names)), labels, rotation=90, fontsize=font)
            axes.set_yticks(range(len(names)), labels, fontsize=font)
        if len(names) <= 12:
            for row, column in np.ndindex(*shares.shape):
                if confusion[row, column]:
                    ink = "white" if shares[row, column] > 0.55 else "black"
                    axes.text(
                        column, row, f"{shares[row, column]:.2f}", ha="center", va="center", color=ink, fontsize=8
                    )
        finish(figure, axes, path)


def draw_bars(
    names: Sequence[str], groups: Sequence[tuple[str, Sequence[float], Sequence[Sequence[float]]]], path: str, *,
    title: str, label: str,
) -> None:  # fmt: skip
    """Horizontal bars, one for each name and group, with intervals.

    Args:
        names: From top to bottom.
        groups: (name of the group, a value for each name, its interval).
        path: The PNG.
        title: Above the figure.
        label: Of the axis of values, which runs from 0 to 1.

    Raises:
        ConfigError: matplotlib is not installed.
        OSError: The file cannot be written.
    """
    height = 0.8 / max(1, len(groups))
    with canvas(7.4, 0.34 * len(names) * max(1.0, 0.7 * len(groups)) + 1.4) as (figure, axes):
        for at, (group, values, intervals) in enumerate(groups):
            places = np.arange(len(names)) + (at - (len(groups) - 1) / 2) * height
            errors = np.asarray(
                [[value - low, high - value] for value, (low, high) in zip(values, intervals, strict=True)]
            ).T
            axes.barh(
                places, values, height * 0.92, xerr=np.maximum(errors, 0), color=COLOURS[at % len(COLOURS)],
                label=plain(group), error_kw={"ecolor": _SOFT, "elinewidth": 1},
            )  # fmt: skip
        axes.set_yticks(range(len(names)), [plain(name) for name in names])
        axes.invert_yaxis()
        axes.set(xlim=(0, 1), xlabel=label, title=plain(title))
        axes.grid(visible=True, axis="x", color="#e6e2db", linewidth=0.6)
        axes.set_axisbelow(True)
        if len(groups) > 1:
            figure.legend(loc="outside lower center", ncols=min(3, len(groups)), frameon=False, fontsize=9)
        finish(figure, axes, path)


def plain_numbers(axis: Any, *, with_minor: bool = False) -> None:
    """A logarithmic axis labelled 1, 10, 100 (formulas such as 10² need signs that fonts of text may lack)."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    numbers = FuncFormatter(lambda value, _: f"{value:,g}")
    axis.set_major_formatter(numbers)
    axis.set_minor_formatter(numbers if with_minor else NullFormatter())


def finish(figure: Any, axes: Any, path: str) -> None:
    """Quiet frame (of one panel, or of each of a list), then the file."""
    for one in axes if isinstance(axes, list) else [axes]:
        one.spines[["top", "right"]].set_visible(False)
        one.tick_params(colors=_SOFT, labelcolor=_SOFT)
    figure.savefig(path, dpi=_DPI, format="png", facecolor="white")


def plain(text: str) -> str:
    """Text that matplotlib draws as it is: cut, no control characters, no formulas."""
    cut = text if len(text) <= _NAME_CHARACTERS else text[: _NAME_CHARACTERS - 1] + "…"
    clean = "".join(" " if unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp", "Co", "Cn"} else char for char in cut)
    return clean.replace("$", r"\$")
