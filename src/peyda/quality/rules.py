"""Rules: each looks at one caption pair and says keep, or `(False, reason)`. One class a rule.

A reason is a stable code, a key of `REASONS`. Rules that compare with the source keep a row that has none. Bounds were
set on the 14,495 native sentences that have a source: of those the rules together lose fewer than one in a hundred.

Adding a rule: a class with `reason` and `check`, a line in `REASONS` and in `default_rules`, a test of its reason, a
row in docs/data/quality.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Literal, Protocol

from peyda.quality.pair import CaptionPair
from peyda.quality.signals import (
    copy_score,
    is_arabic,
    is_latin,
    length_score,
    numbers_score,
    repetition_score,
    script_score,
    untranslated_words,
)

Verdict = Literal[True] | tuple[Literal[False], str]

FAILED = "failed"
EMPTY = "empty"
TOO_LONG = "too_long"
COPY = "copy"
NOT_PERSIAN = "not_persian"
OTHER_SCRIPT = "other_script"
UNTRANSLATED = "untranslated"
REPETITION = "repetition"
LENGTH = "length"
MISSING_NUMBER = "missing_number"
DUPLICATE_KEY = "duplicate_key"
SAME_OUTPUT = "same_output"
NO_SCORE = "no_score"
LOW_SCORE = "low_score"
BELOW_TOP = "below_top"

ERROR_COLUMNS = ("translate_error", "error")

REASONS: Mapping[str, str] = MappingProxyType(
    {
        FAILED: "the engine reported an error for this caption",
        EMPTY: "there is no Persian caption",
        TOO_LONG: "far longer than any caption",
        COPY: "the output is the English input",
        NOT_PERSIAN: "most letters are not of the Persian script",
        OTHER_SCRIPT: "letters of a third script (Cyrillic, Chinese, …)",
        UNTRANSLATED: "an English word that is no name was left in",
        REPETITION: "words repeat as they do when a model is stuck",
        LENGTH: "too short or too long for its source",
        MISSING_NUMBER: "a number of the source is not in the translation",
        DUPLICATE_KEY: "an earlier row that passes has the same image, caption_id and engine",
        SAME_OUTPUT: "many different sources have this very translation",
        NO_SCORE: "there is no score to judge it by",
        LOW_SCORE: "the score is below --min-score",
        BELOW_TOP: "the score is not among the best --top",
    }
)
"""Reason code → what it means. The order is the order in which reasons are looked for: a row has the first one."""


class Rule(Protocol):
    """One reason to reject a caption."""

    reason: ClassVar[str]

    def check(self, pair: CaptionPair) -> Verdict:
        """True to keep, or False and the reason."""


@dataclass(frozen=True, slots=True)
class FailedRule:
    """Rejects a row for which the engine left an error: `peyda translate` writes `translate_error`."""

    reason: ClassVar[str] = FAILED

    def check(self, pair: CaptionPair) -> Verdict:
        """See `Rule`."""
        has_error = any(pair.row.get(column, "").strip() for column in ERROR_COLUMNS)
        return (False, self.reason) if has_error else True


@dataclass(frozen=True, slots=True)
class EmptyRule:
    """Rejects a translation without a single letter or digit."""

    reason: ClassVar[str] = EMPTY

    def check(self, pair: CaptionPair) -> Verdict:
        """See `Rule`."""
        return True if pair.words_fa else (False, self.reason)


@dataclass(frozen=True, slots=True)
class TooLongRule:
    """Rejects what is far longer than any caption; the longest of the native ones has 140 characters."""

    reason: ClassVar[str] = TOO_LONG
    max_characters: int = 1_000

    def check(self, pair: CaptionPair) -> Verdict:
        """See `Rule`."""
        return (False, self.reason) if pair.characters_fa > self.max_characters else True


@dataclass(frozen=True, slots=True)
class CopyRule:
    """Rejects an output that is its input: a similarity score calls that perfect."""

    reason: ClassVar[str] = COPY

    def check(self, pair: CaptionPair) -> Verdict:
        """See `Rule`."""
        return True if copy_score(pair) else (False, self.reason)


@dataclass(frozen=True, slots=True)
class PersianRule:
    """Rejects a caption whose letters are mostly of another script."""

    reason: ClassVar[str] = NOT_PERSIAN
    min_share: float = 0.5

    def check(self, pair: CaptionPair) -> Verdict:
        """See `Rule`."""
        return True if script_score(pair) >= self.min_share else (False, self.reason)


@dataclass(frozen=True, slots=True)
class ScriptRule:
    """Rejects letters that are neither Arabic nor Latin: multilingual models slip into other languages."""

    reason: ClassVar[str] = OTHER_SCRIPT

    def check(self, pair: CaptionPair) -> Verdict:
        """See `Rule`."""
        if any(char.isalpha() and not is_arabic(char) and not is_latin(char) for char in pair.normal_fa):
            return False, self.reason
        return True


@dataclass(frozen=True, slots=True)
class UntranslatedRule:
    """Rejects Latin words that are no names (see `peyda.quality.signals.untranslated_words`)."""

    reason: ClassVar[str] = UNTRANSLATED
    max_words: int = 0

    def check(self, pair: CaptionPair) -> Verdict:
        """See `Rule`."""
        return True if len(untranslated_words(pair)) <= self.max_words else (False, self.reason)


@dataclass(frozen=True, slots=True)
class RepetitionRule:
    """Rejects a caption that says again what it has just said."""

    reason: ClassVar[str] = REPETITION
    min_score: float = 1.0

    def check(self, pair: CaptionPair) -> Verdict:
        """See `Rule`."""
        return True if repetition_score(pair) >= self.min_score else (False, self.reason)


@dataclass(frozen=True, slots=True)
class LengthRule:
    """Rejects half and double the usual length; one in two thousand native captions is outside."""

    reason: ClassVar[str] = LENGTH
    min_score: float = 0.55

    def check(self, pair: CaptionPair) -> Verdict:
        """See `Rule`."""
        return True if length_score(pair) >= self.min_score else (False, self.reason)


@dataclass(frozen=True, slots=True)
class NumbersRule:
    """Rejects a translation that lost a number of its source."""

    reason: ClassVar[str] = MISSING_NUMBER
    min_score: float = 1.0

    def check(self, pair: CaptionPair) -> Verdict:
        """See `Rule`."""
        return True if numbers_score(pair) >= self.min_score else (False, self.reason)


def default_rules() -> tuple[Rule, ...]:
    """All rules that judge a row by itself, in the order of `REASONS`."""
    return (
        FailedRule(),
        EmptyRule(),
        TooLongRule(),
        CopyRule(),
        PersianRule(),
        ScriptRule(),
        UntranslatedRule(),
        RepetitionRule(),
        LengthRule(),
        NumbersRule(),
    )


def judge(pair: CaptionPair, rules: tuple[Rule, ...]) -> Verdict:
    """The first objection among `rules`, or True."""
    for rule in rules:
        verdict = rule.check(pair)
        if verdict is not True:
            return verdict
    return True
