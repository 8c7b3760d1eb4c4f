"""English captions to Persian ones: engines behind one small protocol, and the resumable job that drives them.

Does not score: what a translation is worth is `peyda.quality`'s business.
"""

from __future__ import annotations

from peyda.translate.crew import Progress
from peyda.translate.job import TranslationSummary, translate_table
from peyda.translate.pace import RetryPolicy
from peyda.translate.protocol import (
    FAILURES,
    Engine,
    EngineOptions,
    Failed,
    Outcome,
    Translated,
    TranslationStopped,
)
from peyda.translate.registry import ENGINES, open_engine
from peyda.translate.rows import ERROR_COLUMN
from peyda.translate.spelling import to_persian_spelling

__all__ = [
    "ENGINES",
    "ERROR_COLUMN",
    "FAILURES",
    "Engine",
    "EngineOptions",
    "Failed",
    "Outcome",
    "Progress",
    "RetryPolicy",
    "Translated",
    "TranslationStopped",
    "TranslationSummary",
    "open_engine",
    "to_persian_spelling",
    "translate_table",
]
