"""Text files of tables: opened in their encoding, compressed or not, and looked into without reading them all."""

from __future__ import annotations

import codecs
import gzip
import zlib
from typing import IO, cast

_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_SNIFFED_BYTES = 65_536


def open_text(path: str, encoding: str = "") -> IO[str]:
    """A text file, gzipped or not; a byte-order mark at its start is no content.

    Args:
        path: The file.
        encoding: Its encoding; "" is UTF-8, or UTF-16 where the file begins with its mark (Excel's "Unicode text").
    """
    if not encoding:
        encoding = "utf-16" if _head(path, 2) in _UTF16_MARKS else "utf-8-sig"
    if path.lower().endswith(".gz"):
        return cast("IO[str]", gzip.open(path, "rt", encoding=encoding, newline=""))
    return open(path, encoding=encoding, newline="")


def sniff(path: str) -> str:
    """The first 64 KiB as text, for guessing a format; "" where they cannot be read (reading will say why)."""
    try:
        head = _head(path, _SNIFFED_BYTES)
    except (OSError, EOFError, zlib.error):
        return ""
    encoding = "utf-16" if head[:2] in _UTF16_MARKS else "utf-8-sig"
    return head.decode(encoding, "replace")


def first_line(path: str) -> str:
    """The first line that is not empty, without its end; "" where there is none."""
    return next((line for line in sniff(path).splitlines() if line.strip()), "")


def _head(path: str, size: int) -> bytes:
    if path.lower().endswith(".gz"):
        with gzip.open(path, "rb") as file:
            return file.read(size)
    with open(path, "rb") as raw:
        return raw.read(size)
