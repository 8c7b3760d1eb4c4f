"""A caption and its translation as signals and rules look at them: cut, normalised and split into words, once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property

from peyda.persian import normalize

MAX_CHARACTERS = 4_000
"""What is looked at of a caption: nothing anyone would write of one photograph is longer, and a million characters of
rubbish must cost no more than a long caption."""

_WORD = re.compile(r"[^\W_]+")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")


class CaptionPair:
    """One row of a caption table, seen as an English caption and its Persian translation.

    `caption_en` may be "" (Persian captions without a source), and then whatever compares the two has nothing to say.
    """

    def __init__(self, caption_en: str, caption_fa: str, row: Mapping[str, str] | None = None) -> None:
        self.row: Mapping[str, str] = {} if row is None else row
        self.characters_fa = len(caption_fa)
        self.characters_en = len(caption_en)
        self.caption_en = caption_en[:MAX_CHARACTERS].strip()
        self.caption_fa = caption_fa[:MAX_CHARACTERS].strip()

    @classmethod
    def of(cls, row: Mapping[str, str]) -> CaptionPair:
        """The pair in a row of a canonical table."""
        return cls(row.get("caption_en", ""), row.get("caption_fa", ""), row)

    @cached_property
    def normal_en(self) -> str:
        """`peyda.persian.normalize` of the English caption."""
        return normalize(self.caption_en)

    @cached_property
    def normal_fa(self) -> str:
        """`peyda.persian.normalize` of the Persian caption."""
        return normalize(self.caption_fa)

    @cached_property
    def words_en(self) -> list[str]:
        """Words and numbers of `normal_en`, in order."""
        return _words(self.normal_en)

    @cached_property
    def words_fa(self) -> list[str]:
        """Words and numbers of `normal_fa`, in order; a half-space has parted them."""
        return _words(self.normal_fa)


def _words(text: str) -> list[str]:
    """Words and numbers; 1,929 is one of them."""
    return _WORD.findall(_THOUSANDS.sub("", text) if "," in text else text)
