"""Measuring a translator on captions that have a Persian rendering: BLEU and chrF.

The numbers are sacreBLEU's (Post 2018, https://aclanthology.org/W18-6319) with its defaults, on texts made comparable
by three rules: Arabic ي and ك become Persian, a half-space becomes a space, a final stop goes.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from peyda.errors import ConfigError
from peyda.evaluation.parallel import PairSource, read_pairs
from peyda.evaluation.writing import json_text, result_folder, write_json, write_lines
from peyda.translate import Engine, Failed, Outcome

Progress = Callable[[str, int, int], None]

_COMPARABLE = str.maketrans({"ي": "ی", "ى": "ی", "ك": "ک", "\u200c": " "})
_FINAL_STOP = re.compile(r"[\s.۔]+$")


def comparable(text: str) -> str:
    """Text as it is compared: see the module.

    >>> comparable("مردي كتاب مي‌خواند .")
    'مردی کتاب می خواند'
    """
    return " ".join(_FINAL_STOP.sub("", text.translate(_COMPARABLE)).split())


@dataclass(frozen=True)
class TranslationScores:
    """Corpus scores, 0 to 100, and what they were computed with."""

    bleu: float
    chrf: float
    length_ratio: float
    signature: str


def translation_scores(hypotheses: Sequence[str], references: Sequence[str]) -> TranslationScores:
    """BLEU and chrF over a corpus with one reference each.

    Raises:
        ConfigError: sacrebleu is not installed.
        ValueError: No pairs, or lists of different length.
    """
    if not references or len(hypotheses) != len(references):
        raise ValueError("there must be as many translations as references, at least one")
    bleu, chrf = _metrics()
    said, wanted = [comparable(text) for text in hypotheses], [[comparable(text) for text in references]]
    score = bleu.corpus_score(said, wanted)
    return TranslationScores(
        round(float(score.score), 2),
        round(float(chrf.corpus_score(said, wanted).score), 2),
        round(float(score.sys_len / max(1, score.ref_len)), 3),
        f"{bleu.get_signature()} {chrf.get_signature()}",
    )


def sentence_chrf(hypotheses: Sequence[str], references: Sequence[str]) -> list[float]:
    """ChrF of each translation, to sort by.

    Raises:
        ConfigError: sacrebleu is not installed.
    """
    _, chrf = _metrics()
    return [
        round(float(chrf.sentence_score(comparable(text), [comparable(reference)]).score), 2)
        for text, reference in zip(hypotheses, references, strict=True)
    ]


def _metrics() -> tuple[Any, Any]:
    try:
        from sacrebleu.metrics import BLEU, CHRF
    except ImportError as error:
        raise ConfigError("measuring translations needs sacrebleu", hint="pip install 'peyda[measure]'") from error
    return BLEU(), CHRF()


@dataclass(frozen=True)
class TranslationReport:
    """The outcome: what `metrics.json` holds, and what `translations.jsonl` holds, worst first."""

    metrics: dict[str, Any]
    lines: list[dict[str, Any]] = field(default_factory=list)

    def write(self, out: str | os.PathLike[str]) -> None:
        """Write both files into the directory `out`.

        Raises:
            StorageError: It cannot be written.
        """
        with result_folder(out, stale=("metrics.json",)) as folder:
            write_lines(folder / "translations.jsonl", (json_text(line) for line in self.lines))
            write_json(folder / "metrics.json", self.metrics)


def evaluate_translation(engine: Engine, source: PairSource, *, progress: Progress | None = None) -> TranslationReport:
    """Translate every English caption once and compare with its Persian one.

    A caption that cannot be translated counts as an empty translation.

    Raises:
        ConfigError: sacrebleu is not installed.
        DataError: The tables cannot be used.
        EngineError: The engine refuses to go on.
    """
    _metrics()
    pairs = read_pairs(source)
    distinct = list(dict.fromkeys(pair.english for pair in pairs))
    began = time.perf_counter()
    outcomes = _translate(engine, distinct, progress)
    seconds = time.perf_counter() - began
    said = [_text(outcomes[pair.english]) for pair in pairs]
    references = [pair.persian for pair in pairs]
    scores = translation_scores(said, references)
    each = sentence_chrf(said, references)
    lines = [
        {
            "image": pair.image,
            "caption_id": pair.caption_id,
            "caption_en": pair.english,
            "reference": pair.persian,
            "translation": text,
            "chrf": value,
        }
        for pair, text, value in zip(pairs, said, each, strict=True)
    ]
    lines.sort(key=lambda line: float(str(line["chrf"])))
    metrics = {
        "engine": engine.label,
        "dataset": source.describe(),
        "captions": len(pairs),
        "failed": sum(isinstance(outcome, Failed) for outcome in outcomes.values()),
        "bleu": scores.bleu,
        "chrf": scores.chrf,
        "chrf_median_caption": round(float(np.median(each)), 2),
        "length_ratio": scores.length_ratio,
        "signature": scores.signature,
        "captions_per_second": round(len(distinct) / seconds, 1) if seconds else None,
    }
    return TranslationReport(metrics, lines)


def _translate(engine: Engine, texts: Sequence[str], progress: Progress | None) -> dict[str, Outcome]:
    outcomes: dict[str, Outcome] = {}
    for start in range(0, len(texts), engine.batch_size):
        batch = texts[start : start + engine.batch_size]
        sendable = [text for text in batch if len(text) <= engine.longest_text]
        outcomes |= dict.fromkeys(batch, Failed("too_long"))
        answers = engine.translate(sendable) if sendable else []
        outcomes |= zip(sendable, answers, strict=True)
        if progress:
            progress("translations", start + len(batch), len(texts))
    return outcomes


def _text(outcome: Outcome) -> str:
    return "" if isinstance(outcome, Failed) else outcome.text
