"""The arithmetic that every engine shares, and folders as filters."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from peyda.gallery.store import scoring
from peyda.gallery.store.folders import ancestor_keys, folder_bytes, folder_key, is_within
from peyda.types import ScoredId


def test_scores_do_not_depend_on_the_company_of_a_row() -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((9000, 33)).astype(np.float32)
    query = rng.standard_normal(33).astype(np.float32)
    together = scoring.exact_scores(rows, query)
    assert [float(scoring.exact_scores(rows[i : i + 1], query)[0]) for i in range(0, 9000, 450)] == [
        float(score) for score in together[::450]
    ]


def test_a_score_of_nothing_is_a_positive_zero() -> None:
    score = scoring.exact_scores(np.array([[-1e-9, 0]], dtype=np.float32), np.array([1, 0], dtype=np.float32))[0]
    assert not np.signbit(score)


def test_best_orders_by_score_and_then_id() -> None:
    ids = np.array([9, 2, 7, 4])
    assert scoring.best(ids, np.array([0.5, 0.9, 0.9, 0.5]), 3) == [
        ScoredId(2, 0.9),
        ScoredId(7, 0.9),
        ScoredId(4, 0.5),
    ]


@given(st.integers(1, 60), st.integers(1, 70), st.integers(0, 10**6), st.sampled_from([1e-8, 1e-6, 1e-3, 1.0]))
def test_contenders_hold_every_winner_of_the_exact_order(n: int, k: int, seed: int, spread: float) -> None:
    rng = np.random.default_rng(seed)
    base = rng.standard_normal(24)
    rows = base + spread * rng.standard_normal((n, 24))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    query = (base / np.linalg.norm(base)).astype(np.float32)
    approximate = np.empty(n, dtype=np.float32)
    scoring.fast_scores(rows, query, approximate)
    chosen = scoring.contenders(approximate, k, scoring.slack(query))
    winners = np.lexsort((np.arange(n), -scoring.exact_scores(rows, query)))[:k]
    assert set(winners.tolist()) <= set(chosen.tolist())


@given(st.binary(max_size=20), st.binary(max_size=20))
def test_a_folder_is_within_exactly_what_its_keywords_say(a: bytes, b: bytes) -> None:
    import os

    a, b = (folder_bytes(os.fsdecode(b"/" + name.replace(b"\0", b"x"))) for name in (a, b))
    joined = a + b
    for folder in (a, b, joined):
        for ancestor in (a, b, joined, b""):
            assert is_within(folder, ancestor) == (folder_key(ancestor) in ancestor_keys(folder))
