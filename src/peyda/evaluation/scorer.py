"""Measuring bilingual scorers: do they find the right caption, and tell true translations from damaged ones?

Two questions. Among all Persian captions of the table, is the right one nearest to its English one (and how often the
other way round)? And for each kind of damage (`peyda.quality.damages`), what is the chance that a true pair scores
above a damaged one (area under the ROC curve)? The overall area gives each damage the same weight. Several scorers are
measured on the same captions and the same damages; intervals and tests resample whole images.

```text
OUT/
├── scores.jsonl      one line a damaged caption and scorer, with the scores of both
├── comparisons.json  paired tests between scorers (an empty list where there is one)
├── run.json          scorers, tables and filters, to do it again
├── metrics.json      a list: one object for each scorer
├── scores.png        how scores of true and damaged pairs spread (where matplotlib is installed)
├── roc.png           the ROC curves
└── report.html       all of it on a page, with the pairs that were told apart worst and best
```
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from peyda.encoders.sentence import SentenceEncoder
from peyda.errors import ConfigError, DataError, ModelError
from peyda.evaluation.hypotheses import Progress, told_apart
from peyda.evaluation.parallel import PairSource, ReferencePair, read_pairs
from peyda.evaluation.queries import dataset_name
from peyda.evaluation.report import WrittenReport
from peyda.evaluation.score_figures import Spread, draw_roc, draw_spreads
from peyda.evaluation.scorer_results import ScoredDamage, ScorerResult, areas_of, compare_scorers, interval_of
from peyda.evaluation.writing import json_text, result_folder, write_file, write_json, write_lines
from peyda.metrics import accuracy_at_k, bootstrap_ci, mrr, text_to_image_ranks
from peyda.metrics.separation import area_under_curve, roc_curve
from peyda.quality.damages import DAMAGES, swap_pairs
from peyda.types import Float32, Int64

Float64 = npt.NDArray[np.float64]

FIGURES = ("scores.png", "roc.png")
DIRECTIONS = ("english_to_persian", "persian_to_english")
_FILES = ("metrics.json", "comparisons.json", *FIGURES, "report.html")
_DECIMALS = 4
_SCORE_DECIMALS = 6  # what float32 gives; the last bits depend on the batch, and would hide ties
_QUANTILES = {"5 %": 0.05, "25 %": 0.25, "median": 0.5, "75 %": 0.75, "95 %": 0.95}
_TEXT_BATCH = 1_024


@dataclass(frozen=True)
class ScorerReport:
    """The outcome of `evaluate_scorer`.

    Attributes:
        metrics: What `metrics.json` holds: one object for each scorer.
        run: What `run.json` holds.
        comparisons: What `comparisons.json` holds.
        pairs: The captions.
        damaged: Damage → the damaged Persian of every pair, None where it does not apply.
        results: The scores of each scorer.
    """

    metrics: list[dict[str, Any]]
    run: Mapping[str, Any]
    comparisons: list[dict[str, Any]]
    pairs: list[ReferencePair] = field(repr=False)
    damaged: Mapping[str, list[str | None]] = field(repr=False)
    results: list[ScorerResult] = field(repr=False)

    def lines(self) -> Iterator[dict[str, Any]]:
        """What `scores.jsonl` holds: scorer by scorer, damage by damage."""
        for result in self.results:
            for name, one in result.damages.items():
                for row, score in zip(one.rows.tolist(), one.scores.tolist(), strict=True):
                    yield {
                        "model": result.name,
                        "damage": name,
                        "caption_en": self.pairs[row].english,
                        "caption_fa": self.pairs[row].persian,
                        "damaged": self.damaged[name][row],
                        "true_score": float(result.true[row]),
                        "damaged_score": score,
                    }

    def write(self, out: str | os.PathLike[str]) -> WrittenReport:
        """Write all files into the directory `out`; the numbers come first.

        Raises:
            StorageError: It cannot be written.
        """
        from peyda.evaluation.scorer_page import scorer_page

        problem: ConfigError | None = None
        with result_folder(out, stale=_FILES) as folder:
            write_lines(folder / "scores.jsonl", (json_text(line) for line in self.lines()))
            write_json(folder / "comparisons.json", self.comparisons)
            write_json(folder / "run.json", self.run)
            write_json(folder / "metrics.json", self.metrics)
            try:
                for name, draw in zip(FIGURES, (self._draw_scores, self._draw_roc), strict=True):
                    write_file(folder / name, draw)
            except ConfigError as error:
                problem = error
            write_lines(folder / "report.html", scorer_page(self, folder))
        return WrittenReport(folder, problem)

    def _draw_scores(self, path: str) -> None:
        panels = []
        for one in self.results:
            damaged = list(one.damages.values())
            weights = np.concatenate([np.full(len(some.scores), 1.0 / len(some.scores)) for some in damaged])
            spreads = (
                Spread("true translations", one.true),
                Spread("damaged, equal shares", np.concatenate([some.scores for some in damaged]), weights),
            )
            panels.append((one.name if len(self.results) > 1 else "", spreads))
        draw_spreads(panels, path, title=f"Scores on {self.metrics[0]['dataset']}", label="score (cosine)")

    def _draw_roc(self, path: str) -> None:
        curves = [
            (
                one.name,
                *roc_curve(one.true, [some.scores for some in one.damages.values()]),
                numbers["area_under_curve"],
            )
            for one, numbers in zip(self.results, self.metrics, strict=True)
        ]
        draw_roc(curves, path, title=f"True or damaged, {self.metrics[0]['dataset']}")


def damaged_captions(pairs: list[ReferencePair], seed: int) -> dict[str, list[str | None]]:
    """For each damage the damaged Persian of every pair; None where it does not apply."""
    rng = np.random.default_rng(seed)
    forms: dict[str, list[str | None]] = {"swapped_pair": [*swap_pairs([pair.persian for pair in pairs], rng)]}
    for name, damage in DAMAGES.items():
        made = [damage(pair.english, pair.persian, rng) for pair in pairs]
        forms[name] = [text if text != pair.persian else None for text, pair in zip(made, pairs, strict=True)]
    return forms


def evaluate_scorer(
    encoders: SentenceEncoder | Sequence[SentenceEncoder],
    source: PairSource,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> ScorerReport:
    """See the module. Ties with another caption count against the scorer.

    Args:
        encoders: The scorer, or several to compare on the same captions and damages.
        source: The captions in both languages.
        seed: Of the damages and of resampling.
        progress: Called with a stage, how many are done, and how many there are.

    Raises:
        DataError: The tables cannot be used, or give fewer than two pairs.
        ModelError: A scorer gives embeddings that are not finite.
        ValueError: No scorer.
    """
    scorers = list(encoders) if isinstance(encoders, Sequence) else [encoders]
    if not scorers:
        raise ValueError("there is no scorer to measure")
    table = read_pairs(source)
    pairs = table.pairs
    if len(pairs) < 2:
        raise DataError(f"{source.captions} gives one pair only", hint="a scorer is measured on at least two")
    _, images = np.unique([pair.image for pair in pairs], return_inverse=True)
    damaged = damaged_captions(pairs, seed)
    names = told_apart([one.name for one in scorers])
    results = [_score(name, encoder, pairs, damaged, progress) for name, encoder in zip(names, scorers, strict=True)]
    areas = [areas_of(one, images, seed) for one in results]
    dataset = dataset_name(os.fspath(source.captions), source.where or {}, source.split)
    run = {
        "scorers": [{"model": name, "fingerprint": one.fingerprint} for name, one in zip(names, scorers, strict=True)],
        **source.describe(),
        **table.counts(),
        "seed": seed,
    }
    return ScorerReport(
        metrics=[_metrics(one, drawn, dataset, images) for one, drawn in zip(results, areas, strict=True)],
        run=run,
        comparisons=compare_scorers(results, areas, images),
        pairs=pairs,
        damaged=damaged,
        results=results,
    )


def _score(
    name: str, encoder: SentenceEncoder, pairs: list[ReferencePair], damaged: Mapping[str, list[str | None]],
    progress: Progress | None,
) -> ScorerResult:  # fmt: skip
    forms = {kind: [n for n, text in enumerate(texts) if text is not None] for kind, texts in damaged.items()}
    total, done = 2 * len(pairs) + sum(map(len, forms.values())), 0

    def embed(texts: list[str]) -> Float32:
        nonlocal done
        parts = []
        for start in range(0, len(texts), _TEXT_BATCH):
            parts.append(encoder.encode_texts(texts[start : start + _TEXT_BATCH]))
            done += len(parts[-1])
            if progress is not None:
                progress(f"{name}: texts", done, total)
        vectors = np.concatenate(parts)
        if not np.isfinite(vectors).all():
            raise ModelError(f"scorer {name} gives embeddings that are not finite", hint="export the model again")
        return vectors

    english, persian = embed([pair.english for pair in pairs]), embed([pair.persian for pair in pairs])
    own = np.arange(len(pairs))
    scored = {}
    for kind, rows in forms.items():
        if rows:
            vectors = embed([damaged[kind][n] or "" for n in rows])
            scored[kind] = ScoredDamage(np.asarray(rows, np.int64), _cosines(english[rows], vectors))
    return ScorerResult(
        name,
        true=_cosines(english, persian),
        ranks={
            DIRECTIONS[0]: text_to_image_ranks(english, persian, own),
            DIRECTIONS[1]: text_to_image_ranks(persian, english, own),
        },
        damages=scored,
    )


def _cosines(one: Float32, other: Float32) -> Float64:
    """`Float64[n]`, row by row."""
    cosines = np.einsum("nd,nd->n", one.astype(np.float64), other.astype(np.float64))
    return np.asarray(np.round(cosines, _SCORE_DECIMALS))


def _metrics(result: ScorerResult, areas: Mapping[str, Float64], dataset: str, images: Int64) -> dict[str, Any]:
    damages = {name: _damage_metrics(result, name, areas[name], images) for name in result.damages}
    return {
        "model": result.name,
        "task": "scorer",
        "dataset": dataset,
        "pairs": len(images),
        "images": int(images.max()) + 1,
        **{way: _rank_metrics(ranks, images) for way, ranks in result.ranks.items()},
        "damages": damages,
        # The mean over damages is the area over a mixture of them in equal shares.
        "area_under_curve": round(result.area, _DECIMALS),
        "ci95": {"area_under_curve": interval_of(np.mean([areas[name] for name in damages], axis=0))},
        "true_score": {name: round(float(np.quantile(result.true, q)), _DECIMALS) for name, q in _QUANTILES.items()},
    }


def _rank_metrics(ranks: Int64, images: Int64) -> dict[str, Any]:
    found = np.round(bootstrap_ci(np.column_stack([ranks <= 1, 1.0 / ranks]), images), _DECIMALS).tolist()
    return {
        "accuracy_at_1": round(accuracy_at_k(ranks, 1), _DECIMALS),
        "mrr": round(mrr(ranks), _DECIMALS),
        "ci95": {"accuracy_at_1": found[0], "mrr": found[1]},
    }


def _damage_metrics(result: ScorerResult, name: str, areas: Float64, images: Int64) -> dict[str, Any]:
    one = result.damages[name]
    # The same pair with and without the damage: what a person comparing two engines sees.
    wins = (result.true[one.rows] > one.scores)[:, None]
    return {
        "pairs": len(one.rows),
        "area_under_curve": round(area_under_curve(result.true, one.scores), _DECIMALS),
        "own_pair_wins": round(float(wins.mean()), _DECIMALS),
        "ci95": {
            "area_under_curve": interval_of(areas),
            "own_pair_wins": np.round(bootstrap_ci(wins, images[one.rows])[0], _DECIMALS).tolist(),
        },
    }
