"""Measuring a bilingual scorer: does it find the right caption, and does it tell true translations from damaged ones?

Two questions. Among all Persian captions of the table, is the right one nearest to its English one (and how often the
other way round)? And for each kind of damage (`peyda.quality.damages`), what is the chance that a true pair scores
above a damaged one (area under the ROC curve)? The overall area takes equal shares of each damage.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from peyda.encoders.sentence import SentenceEncoder
from peyda.errors import DataError
from peyda.evaluation.parallel import PairSource, ReferencePair, read_pairs
from peyda.evaluation.writing import json_text, result_folder, write_json, write_lines
from peyda.metrics import accuracy_at_k, mrr, text_to_image_ranks
from peyda.metrics.separation import area_under_curve
from peyda.quality.damages import DAMAGES, swap_pairs
from peyda.types import Float32


@dataclass(frozen=True)
class ScorerReport:
    """The outcome: what `metrics.json` and `scores.jsonl` hold."""

    metrics: dict[str, Any]
    lines: list[dict[str, Any]]

    def write(self, out: str | os.PathLike[str]) -> None:
        """Write both files into the directory `out`.

        Raises:
            StorageError: It cannot be written.
        """
        with result_folder(out, stale=("metrics.json",)) as folder:
            write_lines(folder / "scores.jsonl", (json_text(line) for line in self.lines))
            write_json(folder / "metrics.json", self.metrics)


def damaged_captions(pairs: list[ReferencePair], seed: int) -> dict[str, list[str | None]]:
    """For each damage the damaged Persian of every pair; None where it does not apply."""
    rng = np.random.default_rng(seed)
    forms: dict[str, list[str | None]] = {"swapped_pair": [*swap_pairs([pair.persian for pair in pairs], rng)]}
    for name, damage in DAMAGES.items():
        made = [damage(pair.english, pair.persian, rng) for pair in pairs]
        forms[name] = [text if text != pair.persian else None for text, pair in zip(made, pairs, strict=True)]
    return forms


def evaluate_scorer(encoder: SentenceEncoder, source: PairSource, *, seed: int = 0) -> ScorerReport:
    """See the module. Ties with another caption count against the scorer.

    Raises:
        DataError: The tables cannot be used, or give fewer than two pairs.
    """
    pairs = read_pairs(source)
    if len(pairs) < 2:
        raise DataError(f"{source.captions} gives one pair only", hint="a scorer is measured on at least two")
    english = encoder.encode_texts([pair.english for pair in pairs])
    persian = encoder.encode_texts([pair.persian for pair in pairs])
    true = np.einsum("nd,nd->n", english, persian)
    own = np.arange(len(pairs))
    forth, back = text_to_image_ranks(english, persian, own), text_to_image_ranks(persian, english, own)
    damages, lines = _against_damages(encoder, pairs, english, true, seed)
    metrics = {
        "scorer": encoder.name,
        "dataset": source.describe(),
        "pairs": len(pairs),
        "english_to_persian": {"accuracy_at_1": round(accuracy_at_k(forth, 1), 4), "mrr": round(mrr(forth), 4)},
        "persian_to_english": {"accuracy_at_1": round(accuracy_at_k(back, 1), 4), "mrr": round(mrr(back), 4)},
        "damages": damages,
        "area_under_curve": _overall(damages, lines, true, seed),
        "true_score": {name: round(float(np.quantile(true, q)), 4) for name, q in _QUANTILES.items()},
    }
    return ScorerReport(metrics, lines)


_QUANTILES = {"5 %": 0.05, "25 %": 0.25, "median": 0.5, "75 %": 0.75, "95 %": 0.95}


def _against_damages(
    encoder: SentenceEncoder, pairs: list[ReferencePair], english: Float32, true: Float32, seed: int
) -> tuple[dict[str, dict[str, float]], list[dict[str, Any]]]:
    damages: dict[str, dict[str, float]] = {}
    lines: list[dict[str, Any]] = []
    for name, texts in damaged_captions(pairs, seed).items():
        rows = [n for n, text in enumerate(texts) if text is not None]
        if not rows:
            continue
        chosen = [texts[n] or "" for n in rows]
        scores = np.einsum("nd,nd->n", english[rows], encoder.encode_texts(chosen))
        damages[name] = {
            "pairs": len(rows),
            "area_under_curve": round(area_under_curve(true, scores), 4),
            # The same pair with and without the damage: what a person comparing two engines sees.
            "own_pair_wins": round(float(np.mean(true[rows] > scores)), 4),
        }
        lines += [
            {
                "damage": name,
                "caption_en": pairs[n].english,
                "caption_fa": pairs[n].persian,
                "damaged": text,
                "true_score": round(float(true[n]), 4),
                "damaged_score": round(float(score), 4),
            }
            for n, text, score in zip(rows, chosen, scores, strict=True)
        ]
    return damages, lines


def _overall(damages: dict[str, dict[str, float]], lines: list[dict[str, Any]], true: Float32, seed: int) -> float:
    """Area under the curve over equal shares of each damage, drawn at random."""
    rng = np.random.default_rng(seed)
    share = min(int(one["pairs"]) for one in damages.values())
    drawn: list[float] = []
    for name in damages:
        scores = [line["damaged_score"] for line in lines if line["damage"] == name]
        drawn += rng.choice(scores, share, replace=False).tolist()
    return round(area_under_curve(true, drawn), 4)
