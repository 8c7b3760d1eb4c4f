"""Pieces of a report page: one file of HTML that needs nothing else. No script, no font, no network.

Pages are in English and run left to right; every text from data has its own direction and is isolated, so that a
Persian caption does not turn the words around it. Photographs and figures are inside the page as `data:` addresses.
"""

from __future__ import annotations

import base64
import html
import io
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peyda.errors import ImageRefused, StorageError

if TYPE_CHECKING:
    from PIL import Image

THUMBNAIL_PX = 200
SIGNIFICANT = 0.05
_TEXT_CHARACTERS = 300

_STYLE = """
:root { color-scheme: light dark; --paper: #faf9f7; --ink: #1d1b19; --soft: #625d57; --card: #fff; --line: #dedad3;
  --good: #2f7d6b; --bad: #b3503a; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #161514; --ink: #f0ede8; --soft: #aca59c; --card: #211f1d; --line: #3a3733; --good: #55b39c;
    --bad: #e08d76; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem clamp(1rem, 4vw, 3rem); max-width: 76rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.6 Vazirmatn, system-ui, "Noto Sans", "Noto Sans Arabic", Tahoma, sans-serif; }
h1 { margin: 0; font-size: 1.6rem; overflow-wrap: anywhere; }
h2 { margin: 2.5rem 0 .75rem; font-size: 1.2rem; overflow-wrap: anywhere; }
p, li { margin: .25rem 0; color: var(--soft); max-width: 60rem; }
strong { color: var(--ink); }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .75rem; border-bottom: 1px solid var(--line); text-align: right; font-weight: 400; }
thead th { color: var(--soft); white-space: nowrap; }
td { white-space: nowrap; }
th:first-child, .text { text-align: left; }
td.text { color: var(--soft); white-space: normal; min-width: 12rem; }
.best { font-weight: 700; }
.margin { color: var(--soft); font-size: .85em; }
.figures { display: flex; flex-wrap: wrap; gap: 1rem; }
.figures img { max-width: 100%; width: 34rem; height: auto; background: #fff; border-radius: .5rem; }
.figures img:only-child { width: 46rem; }
.cards { list-style: none; margin: .75rem 0 0; padding: 0; display: grid; gap: .9rem;
  grid-template-columns: repeat(auto-fill, minmax(min(26rem, 100%), 1fr)); }
.cards > li { background: var(--card); border: 1px solid var(--line); border-radius: .7rem; padding: .8rem;
  break-inside: avoid; }
.cards .said { display: block; color: var(--ink); font-size: 1.08rem; line-height: 1.8; overflow-wrap: anywhere; }
.cards dl { margin: 0; }
.cards dt { margin-top: .4rem; color: var(--soft); font-size: .85rem; }
.cards dd { margin: 0; }
.pictures { display: flex; gap: .4rem; margin-top: .4rem; }
.pictures figure { margin: 0; flex: 1 1 0; min-width: 0; max-width: 9rem; }
.pictures img, .gone { display: block; width: 100%; height: 6.5rem; object-fit: cover; border-radius: .3rem;
  background: var(--line); border: 3px solid transparent; }
.pictures .own img, .pictures .own .gone { border-color: var(--good); }
.pictures figcaption { font-size: .78rem; color: var(--soft); overflow-wrap: anywhere; }
.gone { display: grid; place-content: center; color: var(--soft); font-size: .8rem; }
@media (max-width: 40rem) { th, td { padding: .35rem .5rem; } }
@media print { body { padding: 0; max-width: none; } }
"""


def document(title: str, lead: str, sections: Iterable[str]) -> Iterator[str]:
    """A whole page, in pieces.

    Args:
        title: Plain text.
        lead: HTML below the title.
        sections: HTML, as `section` gives it.
    """
    yield '<!doctype html>\n<html lang="en" dir="ltr">\n<head>\n<meta charset="utf-8">'
    yield (
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">"
    )
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{shown(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>"
    yield f"<header><h1>{isolated(title)}</h1>\n{lead}</header>\n<main>"
    yield from sections
    yield "</main>\n</body>\n</html>"


def section(heading: str, *parts: str) -> str:
    """A part of a page under a heading (plain text); `parts` are HTML."""
    return f"<section><h2>{shown(heading)}</h2>\n" + "\n".join(parts) + "\n</section>"


def paragraph(text: str) -> str:
    """Plain text as a paragraph."""
    return f"<p>{html.escape(text)}</p>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, text: Sequence[int] = ()) -> str:
    """A table; the first column names the row.

    Args:
        head: Plain text.
        rows: HTML of the cells.
        text: Columns that hold words: set to the left, and broken into lines.
    """

    def kind(at: int) -> str:
        return ' class="text"' if at in text else ""

    cells = "".join(f'<th scope="col"{kind(at)}>{html.escape(name)}</th>' for at, name in enumerate(head))
    lines = []
    for row in rows:
        first, *others = row
        body = "".join(f"<td{kind(at)}>{cell}</td>" for at, cell in enumerate(others, start=1))
        lines.append(f'<tr><th scope="row">{first}</th>{body}</tr>')
    body = "\n".join(lines)
    return f'<div class="wide"><table><thead><tr>{cells}</tr></thead><tbody>\n{body}\n</tbody></table></div>'


def shown(text: str, limit: int = _TEXT_CHARACTERS) -> str:
    """Text from data as HTML: cut, escaped, without control characters."""
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    clean = "".join(" " if unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} else char for char in cut)
    return html.escape(clean)


def isolated(text: str, limit: int = _TEXT_CHARACTERS) -> str:
    """`shown`, in a direction of its own."""
    return f'<bdi dir="auto">{shown(text, limit)}</bdi>'


def said(text: str, language: str, limit: int = _TEXT_CHARACTERS) -> str:
    """A caption as a line of its own, set in the direction of its language ("fa" from right to left)."""
    direction = "rtl" if language == "fa" else "ltr"
    return f'<span class="said" lang="{language}" dir="{direction}">{shown(text, limit)}</span>'


def with_margin(value: float, interval: Sequence[float], *, is_best: bool = False, decimals: int = 3) -> str:
    """A number with its interval: `0.512 [0.48, 0.55]`."""
    number = f"{value:.{decimals}f}"
    if is_best:
        number = f'<span class="best">{number}</span>'
    low, high = (f"{end:.{max(1, decimals - 1)}f}" for end in interval)
    return f'{number} <span class="margin">[{low}, {high}]</span>'


def left_out_pairs(run: Mapping[str, Any]) -> str:
    """How many rows of a table of captions in two languages took no part; nothing where all did."""
    counts = (
        (run["incomplete_pairs"], "rows without a caption in both languages"),
        (run["skipped_rows"], "lines of the table that are no rows"),
    )
    found = ", ".join(f"{count:,} {what}" for count, what in counts if count)
    return f"{paragraph(f'Left out: {found}.')}\n" if found else ""


def comparison_table(
    comparisons: Iterable[Mapping[str, Any]], columns: Mapping[str, Callable[[Mapping[str, Any]], str]], *,
    decimals: int = 3,
) -> str:  # fmt: skip
    """Paired tests of every two systems: their difference, its interval and p values.

    Args:
        comparisons: What `comparisons.json` holds.
        columns: Further columns, name → plain text of a line.
        decimals: Of differences.
    """

    def rows() -> Iterator[list[str]]:
        for one in comparisons:
            low, high = one["ci95"]
            yield [
                f"{isolated(one['first'])} → {isolated(one['second'])}",
                *(shown(text(one)) for text in columns.values()),
                f"{one['difference']:+.{decimals}f}",
                f"[{low:+.{decimals}f}, {high:+.{decimals}f}]",
                f"{one['p']:.4f}",
                f"{one['p_holm']:.4f}",
                "<strong>yes</strong>" if one["p_holm"] < SIGNIFICANT else "no",
            ]

    return table(("first → second", *columns, "difference", "95 %", "p", "Holm", "significant"), rows())


def figures(paths: Iterable[tuple[Path, str]]) -> str:
    """Pictures of the results (file, what it shows), inside the page; those that are not there are left out."""
    parts = []
    for path, label in paths:
        if path.is_file():
            data = base64.b64encode(path.read_bytes()).decode("ascii")
            parts.append(f'<img src="data:image/png;base64,{data}" alt="{html.escape(label)}">')
    return f'<div class="figures">{"".join(parts)}</div>' if parts else ""


def photograph(path: str) -> str:
    """A small copy of a photograph, as an `img`; words in its place where it cannot be read."""
    from peyda.images import thumbnail_jpeg

    try:
        data = base64.b64encode(thumbnail_jpeg(path, THUMBNAIL_PX)).decode("ascii")
    except (ImageRefused, StorageError):  # it went away since it was measured
        return '<span class="gone">no photograph</span>'
    return f'<img src="data:image/jpeg;base64,{data}" alt="" loading="lazy">'


def picture(image: Image.Image) -> str:
    """A photograph that is no file, as an `img`."""
    out = io.BytesIO()
    image.convert("RGB").save(out, format="JPEG", quality=85)
    data = base64.b64encode(out.getvalue()).decode("ascii")
    return f'<img src="data:image/jpeg;base64,{data}" alt="" loading="lazy">'
