"""The canonical caption table: its columns, its key, the names that other people give them, its version.

Columns: `image, caption_id, caption_en, caption_fa, engine, score_<name>…, kept, reason, split`; the key is (image,
caption_id, engine). Only `image` must be there. Whatever else a file has passes through unchanged.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence

from peyda.errors import DataError

TABLE_VERSION = 1
"""Raised when an older Peyda would misread a table; a newer table is refused with the advice to upgrade."""

VERSION_KEY = "peyda_table_version"
"""Where the version stands: in Parquet's key-value metadata; in text formats in a column, from version 2 on."""

COLUMNS = ("image", "caption_id", "caption_en", "caption_fa", "engine", "kept", "reason", "split")
"""The columns with fixed names, in order; the `score_<name>` ones stand before `kept`."""

KEY = ("image", "caption_id", "engine")

NATIVE_KEY = "kind"
"""Tables of several kinds of captions (sentence, short) number each kind apart; where it is, it joins the key."""

IMAGE_NAMES = ("image", "image_name", "image_path", "file_name", "filename", "file")
URL_NAMES = ("url", "image_url", "coco_url", "img_url")
CAPTION_NAMES = ("caption", "comment", "sentence", "text", "title", "raw", "description")
ID_NAMES = ("caption_number", "comment_number", "sentid", "sentence_id")

LANGUAGE_NAMES = {
    "caption_en": ("en", "english", "caption_english"),
    "caption_fa": ("fa", "persian", "farsi", "caption_persian"),
}
"""Canonical column → names that parallel tables give it."""

SCORE_PREFIX = "score_"


def is_score(column: str) -> bool:
    """Whether a column holds a score (a number)."""
    return column.startswith(SCORE_PREFIX)


def ordered(columns: Iterable[str]) -> tuple[str, ...]:
    """The columns in canonical order, each once: the known ones, scores before `kept`, then the others as they came.

    >>> ordered(["kind", "split", "score_mini", "image", "caption_id"])
    ('image', 'caption_id', 'score_mini', 'split', 'kind')
    """
    given = tuple(dict.fromkeys(columns))
    scores = [name for name in given if is_score(name)]
    at = COLUMNS.index("kept")
    known = [*COLUMNS[:at], *scores, *COLUMNS[at:]]
    return (*(name for name in known if name in given), *(name for name in given if name not in known))


def key_columns(columns: Collection[str]) -> tuple[str, ...]:
    """The columns that tell the rows of a table apart."""
    return (*(name for name in KEY if name in columns), *((NATIVE_KEY,) if NATIVE_KEY in columns else ()))


def renamings(columns: Sequence[str], source: str, *, language: str | None) -> dict[str, str]:
    """File column → canonical column, where they differ.

    Args:
        columns: The columns of the file.
        source: Its name, for messages.
        language: The language of a caption column without one in its name; None leaves captions and ids as they are.

    Raises:
        DataError: No column names the image, or a URL of it.
    """
    found: dict[str, str] = {}
    image = next((name for name in IMAGE_NAMES if name in columns), None)
    if image is None and not any(name in columns for name in URL_NAMES):
        raise DataError(
            f"{source} has no column that names the image",
            hint=f"its columns: {_shown(columns)}; one of them must be called {', '.join(IMAGE_NAMES)}",
        )
    if image is not None and image != "image":
        found[image] = "image"
    if language is None:
        return found
    if "caption_id" not in columns and (one := next((name for name in ID_NAMES if name in columns), None)):
        found[one] = "caption_id"
    for canonical, names in LANGUAGE_NAMES.items():
        if canonical not in columns and (one := next((name for name in names if name in columns), None)):
            found[one] = canonical
    if not {"caption_en", "caption_fa", f"caption_{language}"} & {*columns, *found.values()}:
        caption = next((name for name in CAPTION_NAMES if name in columns), None)
        if caption is not None:
            found[caption] = f"caption_{language}"
    return found


def _shown(columns: Sequence[str]) -> str:
    """Column names for a message; those of a file without a header are whole captions."""
    return ", ".join(name if len(name) <= 40 else f"{name[:40]}…" for name in columns)


def check_version(value: str, source: str) -> None:
    """Refuse a table of a newer version; "" is a table without one.

    Raises:
        DataError: The table is newer than this Peyda, or its version is no number.
    """
    if not value.strip():
        return
    try:
        version = int(value)
    except ValueError:
        raise DataError(
            f"{source} has the table version {value!r}, which is no number", hint="write it again"
        ) from None
    if version > TABLE_VERSION:
        raise DataError(
            f"{source} was written by a newer Peyda (table version {version}; this one reads up to {TABLE_VERSION})",
            hint="pip install --upgrade peyda, or write the table again with this version",
        )


def photo_name(image: str) -> str:
    r"""The file name of an image, in composed Unicode: what identifies a photograph, wherever its folder is mounted.

    >>> photo_name("flickr8k/images/a.jpg"), photo_name("D:\\photos\\a.jpg")
    ('a.jpg', 'a.jpg')
    """
    return unicodedata.normalize("NFC", image.replace("\\", "/").rsplit("/", 1)[-1])


def row_key(row: Mapping[str, str], columns: Sequence[str]) -> tuple[str, ...]:
    """The key of a row: its values of `columns` (see `key_columns`)."""
    return tuple(row.get(name, "") for name in columns)
