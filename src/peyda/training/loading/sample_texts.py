"""The captions of one WebDataset sample, from its `.txt` and `.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from peyda.captions.schema import CAPTION_NAMES

_LIST_NAMES = ("captions", "sentences", "texts")
_DEPTH = 3
"""A list of records that hold lists is as deep as it gets."""


class UnreadableTexts(ValueError):
    """Not UTF-8, or not JSON."""


@dataclass(frozen=True, slots=True)
class SampleTexts:
    """Captions, and the split that a `.json` names ("" where it names none)."""

    texts: list[str]
    split: str = ""


def sample_texts(members: Mapping[str, bytes], column: str) -> SampleTexts:
    r"""The captions of a sample.

    The key `column` of `.json` comes first; where it is missing, `.txt` (a caption a line); where that is missing too,
    the keys by which others call captions ("caption", "captions", "text", …), or a list of captions.

    Args:
        members: Ending ("txt", "json") → bytes.
        column: Such as "caption_fa".

    Raises:
        UnreadableTexts: There is nothing that can be read.

    >>> sample_texts({"txt": "سگی در برف\nسگ سیاه".encode()}, "caption_fa").texts
    ['سگی در برف', 'سگ سیاه']
    >>> sample_texts({"json": b'{"captions": ["a dog", "snow"], "split": "val"}'}, "caption_fa")
    SampleTexts(texts=['a dog', 'snow'], split='val')
    """
    try:
        record = json.loads(_text(members["json"])) if "json" in members else None
    except (ValueError, RecursionError) as error:
        if "txt" not in members:
            raise UnreadableTexts(f".json cannot be read: {str(error)[:100]}") from error
        record = None
    split = record.get("split") if isinstance(record, dict) else None
    texts = _strings(record.get(column)) if isinstance(record, dict) else []
    if not texts and "txt" in members:
        try:
            texts = _strings(_text(members["txt"]).splitlines())
        except ValueError as error:
            raise UnreadableTexts(f".txt is not UTF-8: {str(error)[:100]}") from error
    return SampleTexts(texts or _strings(record), split if isinstance(split, str) else "")


def _text(data: bytes) -> str:
    return data.decode("utf-8-sig")


def _strings(value: Any, depth: int = _DEPTH) -> list[str]:
    """The captions in a JSON value: a text, a list, or a record by the first of the known names that it has."""
    if isinstance(value, str):
        text = " ".join(value.split())
        return [text] if text else []
    if not depth:
        return []
    if isinstance(value, list):
        return [text for one in value for text in _strings(one, depth - 1)]
    if isinstance(value, dict):
        for name in (*_LIST_NAMES, *CAPTION_NAMES):
            if texts := _strings(value.get(name), depth - 1):
                return texts
    return []
