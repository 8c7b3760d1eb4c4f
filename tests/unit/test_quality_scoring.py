"""Scoring a table: what each column holds, what is worked out only once, and what an interrupted run leaves."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from peyda.captions import open_reader
from peyda.encoders.sentence import OnnxSentenceEncoder
from peyda.errors import DataError, ModelError
from peyda.quality import SIGNALS, ImageTextScorer, SimilarityScorer, score_captions
from peyda.quality.journal import ScoreJournal
from peyda.quality.vector_cache import VectorCache
from peyda.types import Float32

ROWS = [
    ("a.jpg", "0", "red", "قرمز", "x"),
    ("a.jpg", "1", "green", "قرمز", "x"),
    ("a.jpg", "2", "", "سبز", "x"),
    ("b.jpg", "0", "blue", "", "x"),
    ("b.jpg", "1", "red", "قرمز", "y"),
    ("b.jpg", "2", "yellow", "زرد", "y"),
]


class CountingEncoder:
    """A sentence encoder that remembers what it was asked, and may break down."""

    name = "counting"
    embed_dim = 3
    fingerprint = "1"

    def __init__(self, fail_after: int | None = None) -> None:
        self.asked: list[list[str]] = []
        self.fail_after = fail_after

    def encode_texts(self, texts: Sequence[str]) -> Float32:
        if self.fail_after is not None and len(self.asked) >= self.fail_after:
            raise ModelError("broken")
        self.asked.append(list(texts))
        rows = np.asarray([[len(text), 1, text.isascii()] for text in texts], np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    @property
    def texts(self) -> list[str]:
        return [text for call in self.asked for text in call]


def write(path: Path, rows: Sequence[Sequence[str]] = ROWS, extra: Sequence[str] = ()) -> Path:
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "caption_id", "caption_en", "caption_fa", "engine", *extra])
        writer.writerows(rows)
    return path


def read(path: Path) -> list[dict[str, str]]:
    with open_reader(path, duplicates="keep") as reader:
        return list(reader)


def test_similarity_of_a_real_model(tmp_path: Path, tiny_model_dir: Path) -> None:
    scorer = SimilarityScorer(OnnxSentenceEncoder(tiny_model_dir))
    summary = score_captions(write(tmp_path / "in.csv"), tmp_path / "out.csv", [scorer])
    rows = read(tmp_path / "out.csv")
    assert [(row["image"], row["caption_id"], row["engine"]) for row in rows] == [(r[0], r[1], r[4]) for r in ROWS]
    scores = [row["score_tiny"] for row in rows]
    assert scores[2] == scores[3] == "", "nothing to compare is no score, and no lost row"
    assert float(scores[0]) == float(scores[4]) == float(scores[5]) == 1
    assert float(scores[1]) < 0.5
    assert summary.rows == 6
    assert summary.scored["score_tiny"] == 4
    assert summary.means["score_tiny"] == pytest.approx((3 + float(scores[1])) / 4, abs=1e-5)


def test_signals_are_columns_of_their_own(tmp_path: Path) -> None:
    score_captions(write(tmp_path / "in.csv"), tmp_path / "out.parquet", [])
    rows = read(tmp_path / "out.parquet")
    assert {f"score_{name}" for name in SIGNALS} <= set(rows[0])
    assert float(rows[0]["score_script"]) == 1
    assert rows[3]["score_script"] == "", "an empty caption has no signals"
    score_captions(
        tmp_path / "in.csv", tmp_path / "none.csv", [SimilarityScorer(CountingEncoder())], with_signals=False
    )
    assert [name for name in read(tmp_path / "none.csv")[0] if name.startswith("score_")] == ["score_counting"]


def test_a_text_is_encoded_once_and_short_ones_first(tmp_path: Path) -> None:
    encoder = CountingEncoder()
    rows = [(f"{i}.jpg", "0", f"word {i % 7} " * (i % 5 + 1), "همان", str(i)) for i in range(9_000)]
    score_captions(write(tmp_path / "in.csv", rows), tmp_path / "out.csv", [SimilarityScorer(encoder)])
    assert len(encoder.texts) == len(set(encoder.texts)) == 36, "over the borders of chunks, too"
    for call in encoder.asked:
        assert call == sorted(call, key=len)


def test_extra_columns_pass_and_an_old_score_is_replaced(tmp_path: Path) -> None:
    rows = [(*row, "0.123", "kept as it is ✓") for row in ROWS]
    table = write(tmp_path / "t.csv", rows, ["score_counting", "note"])
    score_captions(table, table, [SimilarityScorer(CountingEncoder())], with_signals=False)
    found = read(table)
    assert {row["note"] for row in found} == {"kept as it is ✓"}
    assert "0.123" not in {row["score_counting"] for row in found}
    assert len(found) == len(ROWS)


def test_doubled_keys_are_scored_and_kept(tmp_path: Path) -> None:
    score_captions(write(tmp_path / "in.csv", [ROWS[0], ROWS[0]]), tmp_path / "out.csv", [])
    assert len(read(tmp_path / "out.csv")) == 2


def test_an_interrupted_run_goes_on_where_it_was(tmp_path: Path) -> None:
    rows = [(f"{i}.jpg", "0", f"english {i}", f"فارسی {i}", "x") for i in range(9_000)]
    source, out = write(tmp_path / "in.csv", rows), tmp_path / "out.csv"
    with pytest.raises(ModelError, match="broken"):
        score_captions(source, out, [SimilarityScorer(CountingEncoder(fail_after=2))])
    assert not out.exists()
    (journal,) = tmp_path.glob(".out.csv.score_counting.scores")
    with open(journal, "ab") as file:
        file.write(b"half an")  # a kill in the middle of an entry
    encoder = CountingEncoder()
    summary = score_captions(source, out, [SimilarityScorer(encoder)])
    assert summary.resumed == 8_192
    assert len(encoder.texts) == 2 * (9_000 - 8_192)
    assert not journal.exists()
    score_captions(source, tmp_path / "fresh.csv", [SimilarityScorer(CountingEncoder())])
    assert out.read_bytes() == (tmp_path / "fresh.csv").read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["fresh.csv", "in.csv", "out.csv"]


def test_a_journal_of_another_model_counts_for_nothing(tmp_path: Path) -> None:
    table = str(tmp_path / "t.csv")
    first = ScoreJournal(table, "score_x", "model 1")
    first.add([("a", "b")], np.asarray([0.5], np.float32))
    first.close()
    again = ScoreJournal(table, "score_x", "model 1")
    assert len(again) == 1
    scores, found = again.known([("a", "c"), ("a", "b")])
    assert found.tolist() == [False, True]
    assert scores[1] == 0.5
    again.close()
    other = ScoreJournal(table, "score_x", "model 2")
    assert len(other) == 0
    other.remove()


def test_forgetting_gives_the_same_vectors() -> None:
    encoder = CountingEncoder()
    cache = VectorCache(3, encoder.encode_texts, limit_bytes=1_000)  # three vectors a generation
    keys = [f"{'k' * (i % 11)}{i % 13}" for i in range(200)]
    for start in range(0, 200, 5):
        vectors, position = cache.rows(keys[start : start + 5])
        for key in keys[start : start + 5]:
            np.testing.assert_allclose(vectors[position[key]], CountingEncoder().encode_texts([key])[0], rtol=1e-6)


def test_images_against_their_captions(tmp_path: Path, photo_dir: Path, tiny_encoder: Any) -> None:
    (photo_dir / "broken.jpg").write_bytes(b"no photograph")
    rows = [
        ("red.jpg", "0", "", "قرمز", ""),
        ("red.jpg", "1", "", "آبی", ""),
        ("broken.jpg", "0", "", "قرمز", ""),
        ("gone.jpg", "0", "", "قرمز", ""),
        ("red.jpg", "2", "red", "", ""),
    ]
    paths = {"red.jpg": str(photo_dir / "first/red.jpg"), "broken.jpg": str(photo_dir / "broken.jpg")}
    scorer = ImageTextScorer(tiny_encoder, paths)
    summary = score_captions(write(tmp_path / "in.csv", rows), tmp_path / "out.csv", [scorer], with_signals=False)
    scores = [row["score_image_tiny"] for row in read(tmp_path / "out.csv")]
    assert float(scores[0]) > 0.9 > 0.5 > float(scores[1])
    assert scores[2:] == ["", "", ""]
    assert summary.scored == {"score_image_tiny": 2}
    assert [(Path(one.path).name, one.reason) for one in scorer.skipped] == [("broken.jpg", "not_an_image")]


def test_what_cannot_be_scored_at_all(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("image,caption_id,caption_en\na.jpg,0,red\n", encoding="utf-8")
    with pytest.raises(DataError, match="caption_fa"):
        score_captions(path, tmp_path / "out.csv", [])
    scorer = SimilarityScorer(CountingEncoder())
    with pytest.raises(ValueError, match="two scorers"):
        score_captions(write(path), tmp_path / "out.csv", [scorer, scorer])


def test_a_huge_caption_is_a_row_like_any_other(tmp_path: Path) -> None:
    encoder = CountingEncoder()
    rows = [("a.jpg", "0", "red " * 250_000, "قرمز " * 250_000, ""), ROWS[5]]
    score_captions(write(tmp_path / "in.jsonl.csv", rows), tmp_path / "out.jsonl", [SimilarityScorer(encoder)])
    assert max(map(len, encoder.texts)) <= 4_000
    found = read(tmp_path / "out.jsonl")
    assert found[0]["caption_fa"] == rows[0][3], "the caption itself is not cut"
    assert found[0]["score_counting"] != ""
