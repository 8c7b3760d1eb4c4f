"""The speller of a text tower: its tokenizer says how probable a word is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from peyda.errors import ModelError
from peyda.persian.lexicon import word_counts
from peyda.persian.spelling import Speller

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_UNKNOWN = 10.0  # below the least probable piece, as SentencePiece weighs an unknown character


def load_speller(tokenizer: Tokenizer, file: Path) -> Speller:
    """A speller that knows our words and, of all others, how probable a unigram tokenizer holds them to be.

    Args:
        tokenizer: The text tower's.
        file: What it was read from, a `tokenizer.json`.

    Raises:
        ModelError: It is not a unigram tokenizer.
    """
    return Speller(word_counts(), unigram_log_probability(tokenizer, file))


def unigram_log_probability(tokenizer: Tokenizer, file: Path) -> Callable[[str], float]:
    """For a word, the sum of its pieces' natural logarithms (Kudo 2018, https://aclanthology.org/P18-1007/).

    Raises:
        ModelError: As `load_speller`.
    """
    model = json.loads(file.read_text(encoding="utf-8")).get("model", {})
    if model.get("type") != "Unigram":
        raise ModelError(f"{file} is not a unigram tokenizer", hint="its config.json must not ask for spelling")
    scores = [float(score) for _, score in model["vocab"]]
    scores[model["unk_id"]] = min(scores) - _UNKNOWN

    def log_probability(word: str) -> float:
        return sum(scores[piece] for piece in tokenizer.encode(word, add_special_tokens=False).ids)

    return log_probability
