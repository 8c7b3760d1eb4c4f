"""Big JSON documents, an item at a time: the elements of the arrays at the top, without holding the document.

The field's annotation files (COCO, nocaps, Karpathy's) are one object of a few long arrays, hundreds of megabytes of
it; `json.load` would make gigabytes of Python objects of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import IO, Any

from peyda.errors import DataError

_CHUNK_CHARS = 1 << 20
_MOST_CHARS = 64 << 20
"""A single element longer than this is no caption record."""

_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()


def items(file: IO[str], source: str) -> Iterator[tuple[str, Any]]:
    """The elements of every array at the top of a JSON document, in file order.

    Args:
        file: The document: an object, or an array.
        source: Its name, for messages.

    Yields:
        (key, element) for each element of an array that is a member of the top object; other members come as
        (key, value); the elements of a top-level array have the key "".

    Raises:
        DataError: The text is no JSON, ends early, or is neither an object nor an array.
    """
    buffer = _Buffer(file, source)
    opening = buffer.peek()
    if opening == "[":
        yield from _elements(buffer, "")
    elif opening == "{":
        yield from _members(buffer)
    else:
        raise buffer.error("neither an object nor a list")
    if buffer.peek():
        raise buffer.error("more text after its end")


def _members(buffer: _Buffer) -> Iterator[tuple[str, Any]]:
    buffer.take("{")
    if buffer.peek() == "}":
        buffer.take("}")
        return
    while True:
        key = buffer.value()
        if not isinstance(key, str):
            raise buffer.error("a key that is no text")
        buffer.take(":")
        if buffer.peek() == "[":
            yield from _elements(buffer, key)
        else:
            yield key, buffer.value()
        if buffer.take(",}") == "}":
            return


def _elements(buffer: _Buffer, key: str) -> Iterator[tuple[str, Any]]:
    buffer.take("[")
    if buffer.peek() == "]":
        buffer.take("]")
        return
    while True:
        yield key, buffer.value()
        if buffer.take(",]") == "]":
            return


class _Buffer:
    """A window over the text, that grows until the next value is whole."""

    def __init__(self, file: IO[str], source: str) -> None:
        self._file = file
        self._source = source
        self._text = ""
        self._at = 0
        self._read = 0
        self._is_ended = False

    def error(self, what: str) -> DataError:
        where = self._read - len(self._text) + self._at
        return DataError(
            f"{self._source} is not JSON as expected: {what} (near character {where:,})",
            hint="the file may be cut short or damaged: copy or download it again",
        )

    def peek(self) -> str:
        """The next character that is no space; "" at the end."""
        while True:
            self._at = _SPACE.match(self._text, self._at).end()  # type: ignore[union-attr]  # matches always
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def take(self, expected: str) -> str:
        """The next character, which must be one of `expected`."""
        found = self.peek()
        if not found or found not in expected:
            raise self.error("it ends early" if not found else f"{found!r} where one of {expected!r} should be")
        self._at += 1
        return found

    def value(self) -> Any:
        """The next value, whole."""
        if not self.peek():
            raise self.error("it ends early")
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except RecursionError as error:
                raise self.error("nested too deep") from error
            except ValueError as error:
                if self._more():
                    continue
                raise self.error(str(error).split(":")[0]) from error
            # A number at the window's edge may go on beyond it.
            if end == len(self._text) and self._text[end - 1] in "-+.eE0123456789" and self._more():
                continue
            self._at = end
            return value

    def _more(self) -> bool:
        """Read on; double the window, so that a long value is parsed anew only a few times."""
        if self._is_ended:
            return False
        left = len(self._text) - self._at
        if left > _MOST_CHARS:
            raise self.error("one element is too long")
        chunk = self._file.read(max(_CHUNK_CHARS, left))
        self._is_ended = not chunk
        self._text = self._text[self._at :] + chunk
        self._at = 0
        self._read += len(chunk)
        return bool(chunk)
