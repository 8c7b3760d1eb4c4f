"""Text from outside (paths, queries) made safe to print, in right-to-left surroundings too.

A path is data: it may hold newlines, escape sequences that would repaint the terminal, bytes that are not UTF-8, or
Persian words that drag the digits beside them to the other side. Source: Unicode Standard Annex #9 (isolates).
"""

from __future__ import annotations

import unicodedata
from typing import TextIO

FIRST_STRONG_ISOLATE = "\u2068"
POP_DIRECTIONAL_ISOLATE = "\u2069"

_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_BIDI_CONTROLS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def escaped(text: str) -> str:
    r"""One printable line: control characters, line breaks and undecodable bytes as backslash escapes.

    The half-space (U+200C) and the joiner of emoji stay: they are letters' shapes, not orders to the terminal.

    >>> escaped("a\nb\x1b[31m")
    'a\\nb\\x1b[31m'
    >>> escaped("caf\udce9.jpg")
    'caf\\xe9.jpg'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(char) for char in text)


def _shown(char: str) -> str:
    code = ord(char)
    if char in _ESCAPES:
        return _ESCAPES[char]
    if 0xDC80 <= code <= 0xDCFF:  # a byte that os.fsdecode could not read
        return f"\\x{code - 0xDC00:02x}"
    if char in _BIDI_CONTROLS or unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"}:
        return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
    return char


def isolated(text: str, stream: TextIO) -> str:
    """`escaped(text)`, isolated from the direction of its line when `stream` is a terminal.

    Piped output stays free of marks, so that another program reads the path and nothing else.
    """
    shown = escaped(text)
    if shown.isascii() or not is_terminal(stream):
        return shown
    return f"{FIRST_STRONG_ISOLATE}{shown}{POP_DIRECTIONAL_ISOLATE}"


def is_terminal(stream: TextIO) -> bool:
    """True when a person reads `stream` on a terminal; False for pipes, files and closed streams."""
    try:
        return stream.isatty()
    except ValueError:
        return False


def write_line(stream: TextIO, line: str) -> None:
    """Write one line, whatever the stream's encoding: what it cannot encode appears as an escape.

    Raises:
        BrokenPipeError: The reader went away.
    """
    try:
        stream.write(line + "\n")
    except UnicodeEncodeError:
        encoding = stream.encoding or "ascii"
        stream.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
