"""Measuring translators on captions that have a Persian rendering: BLEU and chrF, with intervals and paired tests.

The numbers are sacreBLEU's (Post 2018, https://aclanthology.org/W18-6319) with its defaults, on texts made comparable
by three rules: Arabic ي and ك become Persian, a half-space becomes a space, a final stop goes. Several systems are
measured on the same captions; intervals and tests resample whole images (`peyda.metrics.corpus`).

```text
OUT/
├── translations.jsonl     one line a caption and system, the worst first
├── comparisons.json       paired tests between systems (an empty list where there is one)
├── run.json               systems, tables and filters, to do it again
├── metrics.json           a list: one object for each system
├── chrf_of_captions.png   how chrF spreads over captions (where matplotlib is installed)
└── report.html            all of it on a page, with the best and the worst translations
```
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from peyda.errors import ConfigError
from peyda.evaluation.hypotheses import (
    Hypotheses,
    Progress,
    TranslationTable,
    read_translations,
    told_apart,
    translate_pairs,
)
from peyda.evaluation.parallel import PairSource, ReferencePair, read_pairs
from peyda.evaluation.queries import dataset_name
from peyda.evaluation.report import WrittenReport
from peyda.evaluation.score_figures import Spread, draw_spreads
from peyda.evaluation.writing import json_text, result_folder, write_file, write_json, write_lines
from peyda.metrics.comparing import holm
from peyda.metrics.corpus import corpus_difference, corpus_interval
from peyda.metrics.overlap import BLEU_COUNTS, bleu, chrf, chrf_counts
from peyda.translate import Engine
from peyda.types import Int64

Float64 = npt.NDArray[np.float64]

FIGURE = "chrf_of_captions.png"
METRICS = ("bleu", "chrf")
_FILES = ("metrics.json", "comparisons.json", FIGURE, "report.html")
_DECIMALS = 2
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
    by_words, by_characters = _sacrebleu()
    said, wanted = [comparable(text) for text in hypotheses], [[comparable(text) for text in references]]
    score = by_words.corpus_score(said, wanted)
    return TranslationScores(
        round(float(score.score), _DECIMALS),
        round(float(by_characters.corpus_score(said, wanted).score), _DECIMALS),
        round(float(score.sys_len / max(1, score.ref_len)), 3),
        f"{by_words.get_signature()} {by_characters.get_signature()}",
    )


def _sacrebleu() -> tuple[Any, Any]:
    try:
        from sacrebleu.metrics import BLEU, CHRF
    except ImportError as error:
        raise ConfigError("measuring translations needs sacrebleu", hint="pip install 'peyda[measure]'") from error
    return BLEU(), CHRF()


def overlap_counts(hypotheses: Sequence[str], references: Sequence[str]) -> Float64:
    """`Float64[n, BLEU_COUNTS + CHRF_COUNTS]`, what the scores of every caption and of every corpus follow from.

    Raises:
        ConfigError: sacrebleu is not installed (it cuts texts into words).
    """
    _sacrebleu()
    from sacrebleu.metrics import BLEU

    words = BLEU(effective_order=True)  # only its counts are taken; without this it warns about single sentences
    rows = []
    for hypothesis, reference in zip(hypotheses, references, strict=True):
        said, wanted = comparable(hypothesis), comparable(reference)
        one = words.sentence_score(said, [wanted])
        rows.append([one.sys_len, one.ref_len, *one.counts, *one.totals, *chrf_counts(said, wanted)])
    return np.asarray(rows, np.float64)


def corpus_scores(counts: Float64) -> Float64:
    """`Float64[b, 2]`, BLEU and chrF of `Float64[b, …]` summed counts."""
    return np.stack([bleu(counts[..., :BLEU_COUNTS]), chrf(counts[..., BLEU_COUNTS:])], axis=-1)


@dataclass(frozen=True)
class TranslationReport:
    """The outcome of `evaluate_translation`.

    Attributes:
        metrics: What `metrics.json` holds: one object for each system.
        run: What `run.json` holds.
        comparisons: What `comparisons.json` holds.
        pairs: The captions.
        systems: What each system said.
        chrf_of_captions: For each system `Float64[n]`.
    """

    metrics: list[dict[str, Any]]
    run: Mapping[str, Any]
    comparisons: list[dict[str, Any]]
    pairs: list[ReferencePair] = field(repr=False)
    systems: list[Hypotheses] = field(repr=False)
    chrf_of_captions: list[Float64] = field(repr=False)

    def lines(self) -> Iterator[dict[str, Any]]:
        """What `translations.jsonl` holds: system by system, the worst first."""
        for one, numbers, scores in zip(self.systems, self.metrics, self.chrf_of_captions, strict=True):
            for at in np.argsort(scores, kind="stable").tolist():
                pair = self.pairs[at]
                yield {
                    "model": numbers["model"],
                    "image": pair.image,
                    "caption_id": pair.caption_id,
                    "caption_en": pair.english,
                    "reference": pair.persian,
                    "translation": one.texts[at],
                    "chrf": round(float(scores[at]), _DECIMALS),
                }

    def write(self, out: str | os.PathLike[str]) -> WrittenReport:
        """Write all files into the directory `out`; the numbers come first.

        Raises:
            StorageError: It cannot be written.
        """
        from peyda.evaluation.translation_page import translation_page

        problem: ConfigError | None = None
        with result_folder(out, stale=_FILES) as folder:
            write_lines(folder / "translations.jsonl", (json_text(line) for line in self.lines()))
            write_json(folder / "comparisons.json", self.comparisons)
            write_json(folder / "run.json", self.run)
            write_json(folder / "metrics.json", self.metrics)
            try:
                write_file(folder / FIGURE, self._draw)
            except ConfigError as error:
                problem = error
            write_lines(folder / "report.html", translation_page(self, folder))
        return WrittenReport(folder, problem)

    def _draw(self, path: str) -> None:
        spreads = [
            Spread(one["model"], scores) for one, scores in zip(self.metrics, self.chrf_of_captions, strict=True)
        ]
        draw_spreads(
            [("", spreads)], path, title=f"Translations of {self.metrics[0]['dataset']}", label="chrF of a caption"
        )


def evaluate_translation(
    systems: Engine | TranslationTable | Sequence[Engine | TranslationTable],
    source: PairSource,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> TranslationReport:
    """Compare what translators say to English captions with the Persian ones.

    A caption without a translation counts as an empty one.

    Args:
        systems: Engines, which translate every English caption once, and tables of translations made before.
        source: The captions in both languages.
        seed: Of resampling.
        progress: Called with a stage, how many are done, and how many there are.

    Raises:
        ConfigError: sacrebleu is not installed.
        DataError: A table cannot be used.
        EngineError: An engine refuses to go on.
        ValueError: No system.
    """
    _sacrebleu()
    asked = list(systems) if isinstance(systems, Sequence) else [systems]
    if not asked:
        raise ValueError("there is no translator to measure")
    table = read_pairs(source)
    pairs = table.pairs
    # Tables before engines: a wrong one is said before the work.
    read = {one: read_translations(one, pairs) for one in asked if isinstance(one, TranslationTable)}
    said: list[Hypotheses] = []
    for one in asked:
        said += read[one] if isinstance(one, TranslationTable) else [translate_pairs(one, pairs, progress)]
    names = told_apart([one.name for one in said])
    _, images = np.unique([pair.image for pair in pairs], return_inverse=True)
    counts = [overlap_counts(one.texts, [pair.persian for pair in pairs]) for one in said]
    of_captions = [chrf(one[:, BLEU_COUNTS:]) for one in counts]
    dataset = dataset_name(os.fspath(source.captions), source.where or {}, source.split)
    metrics = [
        _metrics(name, dataset, pairs, one, its_counts, its_captions, images, seed)
        for name, one, its_counts, its_captions in zip(names, said, counts, of_captions, strict=True)
    ]
    run = {
        "systems": [{"model": name, **one.origin} for name, one in zip(names, said, strict=True)],
        **source.describe(),
        **table.counts(),
        "seed": seed,
    }
    return TranslationReport(metrics, run, _compare(names, counts, images, seed), pairs, said, of_captions)


def _metrics(
    name: str, dataset: str, pairs: Sequence[ReferencePair], said: Hypotheses, counts: Float64, of_captions: Float64,
    images: Int64, seed: int,
) -> dict[str, Any]:  # fmt: skip
    scores = translation_scores(said.texts, [pair.persian for pair in pairs])
    interval = np.round(corpus_interval(counts, images, corpus_scores, seed=seed), _DECIMALS).tolist()
    return {
        "model": name,
        "task": "translation",
        "dataset": dataset,
        "captions": len(pairs),
        "images": int(images.max()) + 1,
        "failed": said.failed,
        "bleu": scores.bleu,
        "chrf": scores.chrf,
        "chrf_median_caption": round(float(np.median(of_captions)), _DECIMALS),
        "length_ratio": scores.length_ratio,
        "ci95": dict(zip(METRICS, interval, strict=True)),
        "signature": scores.signature,
        "captions_per_second": said.captions_per_second,
    }


def _compare(names: Sequence[str], counts: Sequence[Float64], images: Int64, seed: int) -> list[dict[str, Any]]:
    """Paired tests of every two systems, BLEU and chrF; `p_holm` is corrected for the number of pairs compared."""
    pairs = list(combinations(range(len(names)), 2))
    found = [corpus_difference(counts[a], counts[b], images, corpus_scores, seed=seed) for a, b in pairs]
    lines = []
    for at, metric in enumerate(METRICS):
        corrected = holm([float(one.p_value[at]) for one in found])
        for (a, b), one, p_holm in zip(pairs, found, corrected, strict=True):
            lines.append(
                {
                    "metric": metric,
                    "first": names[a],
                    "second": names[b],
                    "captions": len(images),
                    "difference": round(float(one.difference[at]), _DECIMALS),
                    "ci95": np.round(one.interval[at], _DECIMALS).tolist(),
                    "p": round(float(one.p_value[at]), 6),
                    "p_holm": round(p_holm, 6),
                }
            )
    return lines
