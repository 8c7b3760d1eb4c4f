"""Hits as one self-contained page of thumbnails, for `peyda search --open`.

The page asks the network for nothing: style and pictures are inside it. It lies in a directory that only this user
can read, because thumbnails of private photographs do.
"""

from __future__ import annotations

import base64
import html
import os
import tempfile
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from peyda.cli.terminal import escaped
from peyda.errors import PeydaError, StorageError
from peyda.types import Hit

MAX_PHOTOS = 300
"""Thumbnails are some 15 KB each: more would make a page that browsers choke on."""

THUMBNAIL_PX = 320

_PERSIAN_DIGITS = str.maketrans("0123456789.", "۰۱۲۳۴۵۶۷۸۹٫")

_STYLE = """
:root { color-scheme: light dark; --paper: #faf9f7; --ink: #1d1b19; --soft: #6b6660; --card: #fff; --line: #e4e0da; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #161514; --ink: #f0ede8; --soft: #a29b92; --card: #211f1d; --line: #35322f; }
}
* { box-sizing: border-box; }
body { margin: 0; padding: 2rem clamp(1rem, 4vw, 3rem); background: var(--paper); color: var(--ink);
  font: 1rem/1.7 Vazirmatn, "Noto Sans Arabic", Tahoma, system-ui, sans-serif; }
h1 { margin: 0; font-size: 1.5rem; overflow-wrap: anywhere; }
p { margin: .25rem 0 1.5rem; color: var(--soft); }
ol { list-style: none; margin: 0; padding: 0; display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(min(15rem, 100%), 1fr)); }
li { background: var(--card); border: 1px solid var(--line); border-radius: .75rem; overflow: hidden; }
a { color: inherit; text-decoration: none; display: block; height: 100%; }
a:focus-visible { outline: 3px solid #2f7d6b; outline-offset: -3px; }
img, .gone { display: block; width: 100%; height: 13rem; object-fit: cover; background: var(--line); }
.gone { display: grid; place-content: center; color: var(--soft); padding: 1rem; text-align: center; }
.facts { display: flex; justify-content: space-between; gap: 1rem; padding: .5rem .75rem 0; color: var(--soft); }
.path { display: block; padding: 0 .75rem .6rem; font-size: .8rem; direction: ltr; text-align: left;
  overflow-wrap: anywhere; }
"""


def write_contact_sheet(title: str, hits: Sequence[Hit], thumbnail: Callable[[str, int], bytes]) -> Path:
    """Write the page into a fresh private directory.

    Args:
        title: The query, or the name of the photograph that was searched like.
        hits: In the order to show; those after `MAX_PHOTOS` are left out, and the page says so.
        thumbnail: `(path, size_px) -> JPEG bytes`; a `PeydaError` or `OSError` from it leaves a marked gap.

    Returns:
        The path of the page.

    Raises:
        StorageError: The page cannot be written.
    """
    try:
        page = Path(tempfile.mkdtemp(prefix="peyda-")) / "contact-sheet.html"
        with page.open("w", encoding="utf-8") as file:
            file.writelines(_page(title, hits, thumbnail))
    except OSError as error:
        raise StorageError(
            f"the contact sheet cannot be written: {error.strerror or error}",
            hint="free some space, or point TMPDIR at a directory that has it",
        ) from error
    return page


def open_in_browser(page: Path) -> bool:
    """Show the page in the user's browser; False when there is none."""
    try:
        return webbrowser.open(page.as_uri())
    except (webbrowser.Error, OSError):
        return False


def _page(title: str, hits: Sequence[Hit], thumbnail: Callable[[str, int], bytes]) -> Iterator[str]:
    shown = hits[:MAX_PHOTOS]
    name = html.escape(escaped(title))
    count = f"{_persian(len(shown))} عکس"
    if len(hits) > len(shown):
        count += f" (از {_persian(len(hits))})"
    yield '<!doctype html>\n<html lang="fa" dir="rtl">\n<head>\n<meta charset="utf-8">\n'
    yield '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
    yield "style-src 'unsafe-inline'\">\n"
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    yield f"<title>پیدا: {name}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
    yield f'<h1><bdi dir="auto">{name}</bdi></h1>\n<p>{count}</p>\n<ol>\n'
    for hit in shown:
        yield _card(hit, thumbnail)
    yield "</ol>\n</body>\n</html>\n"


def _card(hit: Hit, thumbnail: Callable[[str, int], bytes]) -> str:
    path = html.escape(escaped(hit.path))
    try:
        picture = base64.b64encode(thumbnail(hit.path, THUMBNAIL_PX)).decode("ascii")
        shown = f'<img alt="{path}" src="data:image/jpeg;base64,{picture}">'
    except (PeydaError, OSError):
        shown = '<span class="gone">این عکس دیگر در جای خود نیست یا خوانده نمی‌شود</span>'
    return (
        f'<li><a href="{html.escape(_file_uri(hit.path))}">{shown}'
        f'<span class="facts"><span>{_persian(hit.rank)}</span><span>{_persian(f"{hit.score:.3f}")}</span></span>'
        f'<bdi class="path" dir="ltr">{path}</bdi></a></li>\n'
    )


def _file_uri(path: str) -> str:
    """`file:` address of the very bytes on disk, whether or not they are UTF-8."""
    if os.name == "nt":
        return Path(path).as_uri()
    return "file://" + quote(os.fsencode(path))


def _persian(value: object) -> str:
    return str(value).translate(_PERSIAN_DIGITS)
