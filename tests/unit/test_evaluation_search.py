"""`evaluate_search`: the truth it measures against, recall by hand, and a small run with the real store."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from peyda.errors import DataError, GalleryNotFound
from peyda.evaluation.search_speed import (
    ENGINES,
    evaluate_search,
    exact_scores_of_best,
    make_queries,
    make_vectors,
    recall_at_k,
)
from peyda.gallery.directory import GalleryDirectory
from peyda.types import Point


def test_the_truth_equals_sorting_everything() -> None:
    points, queries = make_vectors(500, 16, seed=1), make_queries(7, 16, seed=1)
    expected = -np.sort(-(queries.astype(np.float64) @ points.astype(np.float64).T), axis=1)[:, :20]
    assert np.allclose(exact_scores_of_best(points, queries, 20), expected, atol=1e-15)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("peyda.evaluation.search_speed._BLOCK_BYTES", 3_000)
        assert np.allclose(exact_scores_of_best(points, queries, 20), expected, atol=1e-15)
    assert exact_scores_of_best(points[:5], queries, 20).shape == (7, 5)


def test_recall_by_hand() -> None:
    points = np.asarray([[1, 0], [0.8, 0.6], [0, 1], [1, 0]], np.float32)
    queries = np.asarray([[1, 0]], np.float32)
    truth = exact_scores_of_best(points, queries, 3)

    def recall(rows: list[int], k: int) -> float:
        return recall_at_k([np.asarray(rows)], points, queries, truth, k)

    assert recall([0, 3, 1], 3) == 1.0
    assert recall([3, 0], 1) == 1.0  # either of two equal points is the best
    assert recall([0, 2, 1], 3) == pytest.approx(2 / 3)
    assert recall([0, 0, 0], 3) == pytest.approx(1 / 3)  # one point three times is one point
    assert recall([2], 1) == 0.0
    assert recall([0], 3) == pytest.approx(1 / 3)


def test_made_vectors_are_unit_repeatable_and_grow_by_appending() -> None:
    points = make_vectors(5_000, 8, seed=3)
    assert np.allclose(np.linalg.norm(points, axis=1), 1, atol=1e-6)
    assert np.array_equal(points, make_vectors(5_000, 8, seed=3))
    assert not np.array_equal(points[:100], make_vectors(100, 8, seed=4))
    queries = make_queries(50, 8, seed=3)
    assert not (queries[:, None] == points[None, :1000]).all(axis=2).any()


def test_real_vectors_come_first_and_then_noisy_copies() -> None:
    real = make_vectors(40, 8, seed=5)
    few, many = make_vectors(30, 8, seed=0, real=real), make_vectors(100, 8, seed=0, real=real)
    known = {row.tobytes() for row in real}
    assert all(row.tobytes() in known for row in few)
    assert sum(row.tobytes() in known for row in many) == 40
    assert np.allclose(np.linalg.norm(many, axis=1), 1, atol=1e-6)
    assert (many[40:] @ real.T).max(axis=1).min() > 0.5


def test_both_engines_at_two_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = tmp_path / "work"
    work.mkdir()
    report = evaluate_search([300, 50], dim=16, ks=(5, 1, 100), queries=20, workdir=work)
    assert [(one["points"], one["engine"]) for one in report.metrics] == [
        (size, engine) for size in (50, 300) for engine in ENGINES
    ]
    for one in report.metrics:
        assert list(one["recall_at_k"]) == ["5", "1", "100"]
        assert one["recall_at_k"]["5"] == 1.0 if one["engine"] == "exact" else one["recall_at_k"]["5"] > 0.9
        assert one["has_index"] == (one["engine"] == "indexed")
        assert 0 < one["p50_ms"] <= one["p95_ms"]
    assert list(work.iterdir()) == []  # the stores are gone
    assert report.write(tmp_path / "out").figure_problem is None
    assert json.loads((tmp_path / "out/metrics.json").read_text()) == report.metrics
    assert (tmp_path / "out/search.png").read_bytes().startswith(b"\x89PNG")
    assert "recall@100" in (tmp_path / "out/report.html").read_text(encoding="utf-8")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert report.write(tmp_path / "out").figure_problem is not None
    assert not (tmp_path / "out/search.png").exists()


def test_a_gallery_gives_its_vectors_and_is_only_read(tmp_path: Path, tiny_encoder: Any) -> None:
    directory = GalleryDirectory.create(tmp_path / "gallery", tiny_encoder)
    with pytest.raises(DataError, match="is empty"):
        evaluate_search([10], gallery=tmp_path / "gallery", workdir=tmp_path)
    store = directory.store()
    store.upsert([Point(at, row, "/p", 0.0) for at, row in enumerate(make_vectors(30, 16, seed=0))])
    store.close()
    report = evaluate_search([20, 60], gallery=tmp_path / "gallery", dim=999, ks=[3], queries=5, workdir=tmp_path)
    assert {one["dim"] for one in report.metrics} == {16}
    assert report.run["gallery_vectors"] == 30
    assert directory.store(readonly=True).count() == 30
    with pytest.raises(GalleryNotFound):
        evaluate_search([10], gallery=tmp_path / "none")


@pytest.mark.parametrize("options", [{"sizes": []}, {"sizes": [0]}, {"ks": [0]}, {"queries": 0}, {"dim": 0}])
def test_wrong_numbers_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="positive"):
        evaluate_search(**{"sizes": [10], **options})
