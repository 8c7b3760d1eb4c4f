"""Measuring translators and scorers: which pairs, comparable text, and numbers worked out by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from peyda.errors import DataError
from peyda.evaluation.parallel import PairSource, read_pairs
from peyda.evaluation.scorer import damaged_captions, evaluate_scorer
from peyda.evaluation.translation import comparable, evaluate_translation, translation_scores
from peyda.metrics.separation import area_under_curve
from peyda.quality.damages import DAMAGES, swap_pairs
from peyda.translate import Failed, Outcome, Translated

ENGLISH = "image,caption_id,caption_en\na.jpg,0,A red dog .\na.jpg,1,Two men .\nb.jpg,0,A cat .\nb.jpg,1,A boy .\n"
PERSIAN = (
    "image,kind,caption_id,caption_fa\nset/a.jpg,sentence,0,سگی قرمز\nset/a.jpg,sentence,1,دو مرد\n"
    "set/a.jpg,short,,سگ\nset/b.jpg,sentence,0,گربه‌ای\nset/b.jpg,sentence,1,پسری\n"
)


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    (tmp_path / "en.csv").write_text(ENGLISH, encoding="utf-8")
    (tmp_path / "fa.csv").write_text(PERSIAN, encoding="utf-8")
    (tmp_path / "split.csv").write_text("image,split\na.jpg,test\nb.jpg,train\n", encoding="utf-8")
    return tmp_path


def _source(tables: Path, **options: object) -> PairSource:
    return PairSource(tables / "fa.csv", tables / "en.csv", {"kind": ["sentence"]}, **options)  # type: ignore[arg-type]


def test_pairs_are_matched_by_photograph_and_caption(tables: Path) -> None:
    pairs = read_pairs(_source(tables)).pairs
    assert [(pair.english, pair.persian) for pair in pairs] == [
        ("A red dog .", "سگی قرمز"),
        ("Two men .", "دو مرد"),
        ("A cat .", "گربه‌ای"),
        ("A boy .", "پسری"),
    ]
    of_test = read_pairs(_source(tables, split_table=tables / "split.csv", split="test")).pairs
    assert [pair.image for pair in of_test] == ["set/a.jpg"] * 2
    assert [pair.english for pair in read_pairs(_source(tables, first_only=True)).pairs] == ["A red dog .", "A cat ."]


def test_no_pairs_is_an_error_that_says_what_to_do(tables: Path) -> None:
    with pytest.raises(DataError, match="no pair") as caught:
        read_pairs(PairSource(tables / "fa.csv"))
    assert "--english" in caught.value.hint
    with pytest.raises(DataError, match="no column nonsense"):
        read_pairs(PairSource(tables / "fa.csv", tables / "en.csv", {"nonsense": ["1"]}))


def test_comparable_text_differs_only_where_words_do() -> None:
    assert comparable("كتابي مي‌خواند.") == comparable("کتابی می خواند") == "کتابی می خواند"
    assert comparable("سگ، گربه") != comparable("سگ گربه")


class _Engine:
    label, identity, longest_text, batch_size, concurrency, calls_per_s = "toy", "toy", 100, 2, 1, None

    def __init__(self, answers: dict[str, str]) -> None:
        self.answers, self.asked = answers, 0

    def translate(self, texts: Sequence[str]) -> list[Outcome]:
        self.asked += len(texts)
        return [Translated(self.answers[text]) if text in self.answers else Failed("refused") for text in texts]

    def close(self) -> None: ...


def test_perfect_translations_score_100_and_failed_ones_count_as_empty(tables: Path) -> None:
    pytest.importorskip("sacrebleu")
    perfect = {pair.english: pair.persian.replace("ی", "ي") + " ." for pair in read_pairs(_source(tables)).pairs}
    report = evaluate_translation(_Engine(perfect), _source(tables))
    assert report.metrics[0]["chrf"] == 100.0
    assert report.metrics[0]["ci95"]["chrf"] == [100.0, 100.0]
    assert report.metrics[0]["failed"] == 0
    del perfect["A cat ."]
    report = evaluate_translation(_Engine(perfect), _source(tables))
    assert report.metrics[0]["failed"] == 1
    assert report.metrics[0]["chrf"] < 100
    assert next(report.lines())["caption_en"] == "A cat ."
    report.write(tables / "out")
    (metrics,) = json.loads((tables / "out/metrics.json").read_text(encoding="utf-8"))
    assert (metrics["model"], metrics["dataset"], metrics["captions"], metrics["images"]) == (
        "toy",
        "fa[kind=sentence]",
        4,
        2,
    )
    assert len((tables / "out/translations.jsonl").read_text(encoding="utf-8").splitlines()) == 4
    assert json.loads((tables / "out/comparisons.json").read_text(encoding="utf-8")) == []


def test_bleu_is_sacrebleus() -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    said, wanted = ["یک سگ در برف می دود", "مرد"], ["سگی در برف می‌دود", "مرد."]
    scores = translation_scores(said, wanted)
    expected = sacrebleu.corpus_bleu(["یک سگ در برف می دود", "مرد"], [["سگی در برف می دود", "مرد"]])
    assert scores.bleu == round(expected.score, 2)


# --- scorers -------------------------------------------------------------------------------------------------------


def test_area_under_curve_by_hand() -> None:
    assert area_under_curve([3, 2], [1, 0]) == 1.0
    assert area_under_curve([1, 1], [1, 1]) == 0.5
    assert area_under_curve([2, 0], [1, 1, 3]) == pytest.approx(2 / 6)
    with pytest.raises(ValueError, match="both kinds"):
        area_under_curve([], [1])


def test_each_damage_spoils_what_it_says() -> None:
    rng = np.random.default_rng(0)
    english, persian = "Two red dogs with a ball .", "دو سگ قرمز با توپی آبی روی چمن‌ها"
    for _ in range(50):
        dropped = DAMAGES["dropped_noun"](english, persian, rng)
        assert dropped is not None
        missing = set(persian.split()) - set(dropped.split())
        assert len(missing) == 1
        assert missing <= {"سگ", "توپی", "چمن‌ها"}
        changed = DAMAGES["number_or_colour"](english, persian, rng)
        assert changed is not None
        assert set(persian.split()) - set(changed.split()) <= {"دو", "قرمز", "آبی"}
        swapped = DAMAGES["swapped_noun"](english, persian, rng)
        assert swapped is not None
        assert len(swapped.split()) == len(persian.split())
        assert swapped != persian
        left = DAMAGES["untranslated_word"](english, persian, rng)
        assert left is not None
        assert {"two", "red", "dogs", "ball"} & set(left.split())
        repeated = DAMAGES["repeated_word"](english, persian, rng)
        assert repeated is not None
        assert len(repeated.split()) > len(persian.split())
        assert set(repeated.split()) == set(persian.split())


def test_damages_that_do_not_apply_are_none() -> None:
    rng = np.random.default_rng(0)
    assert DAMAGES["number_or_colour"]("x", "سگی می‌دود", rng) is None
    assert DAMAGES["dropped_noun"]("x", "در آن بالا", rng) is None
    assert DAMAGES["dropped_noun"]("x", "رنگ آبی", rng) is None  # «آبی» is a colour, not a water
    assert DAMAGES["untranslated_word"]("and the", "سگی می‌دود", rng) is None


def test_swapped_pairs_are_never_ones_own() -> None:
    texts = [str(n) for n in range(50)]
    for seed in range(20):
        swapped = swap_pairs(texts, np.random.default_rng(seed))
        assert sorted(swapped) == sorted(texts)
        assert all(a != b for a, b in zip(texts, swapped, strict=True))
    with pytest.raises(ValueError, match="at least two"):
        swap_pairs(["x"], np.random.default_rng(0))


class _Encoder:
    """Knows four pairs; anything else is far from all of them."""

    name, embed_dim, fingerprint = "toy", 5, "toy"

    def __init__(self, rows: dict[str, int]) -> None:
        self.rows = rows

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        out = np.zeros((len(texts), 5), np.float32)
        for n, text in enumerate(texts):
            out[n, self.rows.get(text, 4)] = 1
        return out


def test_a_perfect_scorer_and_a_blind_one(tables: Path) -> None:
    pairs = read_pairs(_source(tables)).pairs
    rows = {text: n for n, pair in enumerate(pairs) for text in (pair.english, pair.persian)}
    report = evaluate_scorer(_Encoder(rows), _source(tables))
    (metrics,) = report.metrics
    assert metrics["english_to_persian"]["accuracy_at_1"] == 1.0
    assert metrics["area_under_curve"] == 1.0
    assert metrics["damages"]["swapped_pair"] == {
        "pairs": 4,
        "area_under_curve": 1.0,
        "own_pair_wins": 1.0,
        "ci95": {"area_under_curve": [1.0, 1.0], "own_pair_wins": [1.0, 1.0]},
    }
    (blind,) = evaluate_scorer(_Encoder({}), _source(tables)).metrics
    assert blind["english_to_persian"]["accuracy_at_1"] == 0.0  # a tie is no win
    assert blind["area_under_curve"] == 0.5
    assert blind["ci95"]["area_under_curve"] == [0.5, 0.5]
    report.write(tables / "out")
    applied = sum(form is not None for forms in damaged_captions(pairs, 0).values() for form in forms)
    assert len((tables / "out/scores.jsonl").read_text(encoding="utf-8").splitlines()) == applied
