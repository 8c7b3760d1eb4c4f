"""BLEU and chrF from counts: equal to sacreBLEU's; intervals and tests of corpora against everything enumerated."""

from __future__ import annotations

import doctest
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peyda.metrics import holm, overlap, separation
from peyda.metrics.corpus import corpus_difference, corpus_interval
from peyda.metrics.overlap import bleu, chrf, chrf_counts
from peyda.metrics.separation import area_draws, area_under_curve, roc_curve

_WORDS = ["مرد", "زن", "سگ", "گربه", "پسر", "می", "دود", "،", "نشسته", ".", "توپ", "آبی"]
_sentences = st.lists(st.sampled_from(_WORDS), max_size=9).map(" ".join)


def _bleu_counts(said: str, wanted: str) -> list[int]:
    from sacrebleu.metrics import BLEU

    one = BLEU(effective_order=True).sentence_score(said, [wanted])
    return [one.sys_len, one.ref_len, *one.counts, *one.totals]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(_sentences, _sentences), min_size=1, max_size=6))
def test_scores_of_summed_counts_are_sacrebleus(pairs: list[tuple[str, str]]) -> None:
    metrics = pytest.importorskip("sacrebleu.metrics")
    said, wanted = [one for one, _ in pairs], [[other for _, other in pairs]]
    characters = np.sum([chrf_counts(one, other) for one, other in pairs], axis=0)
    assert chrf(characters) == pytest.approx(metrics.CHRF().corpus_score(said, wanted).score, abs=1e-9)
    words = np.sum([_bleu_counts(one, other) for one, other in pairs], axis=0)
    assert bleu(words) == pytest.approx(metrics.BLEU().corpus_score(said, wanted).score, abs=1e-9)


def test_scores_of_several_corpora_at_once_are_those_of_each() -> None:
    rows = np.asarray([chrf_counts("سگ سفید", "سگی سفید"), chrf_counts("", "سگ"), chrf_counts("سگ", "سگ")])
    assert chrf(rows).tolist() == [float(chrf(row)) for row in rows]
    assert chrf(rows)[1:].tolist() == [0.0, pytest.approx(100.0)]


def _ratio(sums: np.ndarray) -> np.ndarray:
    """A score of two counts that is no mean over captions."""
    return np.divide(sums[..., :1], sums[..., 1:])


def test_interval_equals_all_resamples_of_a_tiny_case() -> None:
    counts, images = np.asarray([[1, 2], [3, 3], [0, 4], [2, 2]], float), np.asarray([0, 0, 1, 2])
    sums = np.asarray([[4, 5], [0, 4], [2, 2]], float)
    every = [sums[list(draw)].sum(axis=0) for draw in itertools.product(range(3), repeat=3)]
    expected = np.quantile(np.repeat([one[0] / one[1] for one in every], 1_000), [0.025, 0.975])
    found = corpus_interval(counts, images, _ratio, resamples=20_000)
    assert found.shape == (1, 2)
    assert found[0] == pytest.approx(expected, abs=0.02)


def test_p_value_equals_all_exchanges_of_a_tiny_case() -> None:
    one, other = (
        np.asarray([[1, 2], [2, 3], [0, 4], [2, 2]], float),
        np.asarray([[2, 2], [3, 3], [1, 4], [1, 2]], float),
    )
    observed = other.sum(0)[0] / other.sum(0)[1] - one.sum(0)[0] / one.sum(0)[1]
    reached = 0
    for swaps in itertools.product((False, True), repeat=4):
        taken = np.asarray(swaps)[:, None]
        a, b = np.where(taken, other, one).sum(0), np.where(taken, one, other).sum(0)
        reached += abs(b[0] / b[1] - a[0] / a[1]) >= abs(observed) - 1e-9
    found = corpus_difference(one, other, np.arange(4), _ratio, permutations=40_000)
    assert found.difference[0] == pytest.approx(observed)
    assert found.p_value[0] == pytest.approx(reached / 16, abs=0.01)


def test_systems_that_say_the_same_do_not_differ_and_the_order_only_turns_the_sign() -> None:
    rng = np.random.default_rng(0)
    one = np.column_stack([rng.integers(0, 5, 60), np.full(60, 5)]).astype(float)
    better = one + np.asarray([1.0, 0.0])
    images = np.arange(60) // 2
    same = corpus_difference(one, one, images, _ratio)
    assert (same.difference[0], same.p_value[0], same.interval[0].tolist()) == (0.0, 1.0, [0.0, 0.0])
    there, back = (corpus_difference(*pair, images, _ratio) for pair in ((one, better), (better, one)))
    assert there.difference[0] == pytest.approx(0.2)
    assert there.difference[0] == -back.difference[0]
    assert there.p_value[0] == back.p_value[0] < 0.001


@pytest.mark.parametrize("counts", [np.zeros((0, 2)), np.zeros(3), np.zeros((2, 2))])
def test_unusable_counts_are_refused(counts: np.ndarray) -> None:
    with pytest.raises(ValueError, match="counts must be"):
        corpus_interval(counts, np.zeros(3, int), _ratio)
    with pytest.raises(ValueError, match="same captions"):
        corpus_difference(np.ones((1, 2)), np.ones((1, 3)), [0], _ratio)


# --- how well scores tell two kinds apart --------------------------------------------------------------------------


def test_areas_of_draws_equal_areas_of_repeated_scores() -> None:
    rng = np.random.default_rng(1)
    high, low = rng.integers(0, 6, 12).astype(float), rng.integers(0, 5, 8).astype(float)
    owner, other = np.arange(12) % 4, np.arange(8) % 4
    found = area_draws(high, low, owner, other, images=4, resamples=25, seed=3)
    times = np.random.default_rng(3).multinomial(4, [0.25] * 4, size=25)
    expected = [area_under_curve(np.repeat(high, drawn[owner]), np.repeat(low, drawn[other])) for drawn in times]
    assert found == pytest.approx(expected)


def test_a_draw_without_one_kind_has_no_area() -> None:
    found = area_draws([1.0, 2.0], [0.0], [0, 1], [0], images=2, resamples=50)
    assert np.isnan(found).any()
    assert set(found[np.isfinite(found)]) == {1.0}
    with pytest.raises(ValueError, match="image"):
        area_draws([1.0], [0.0], [0], [1], images=1)


def test_the_area_below_a_curve_is_the_mean_of_the_kinds() -> None:
    rng = np.random.default_rng(2)
    positive, kinds = rng.normal(1, 1, 40), [rng.normal(0, 1, 30), rng.normal(0.5, 1, 7)]
    negatives, positives = roc_curve(positive, kinds)
    assert (negatives[0], positives[0], negatives[-1], positives[-1]) == (0, 0, 1, 1)
    assert (np.diff(negatives) >= 0).all()
    assert (np.diff(positives) >= 0).all()
    area = float(np.sum(np.diff(negatives) * (positives[1:] + positives[:-1]) / 2))
    assert area == pytest.approx(np.mean([area_under_curve(positive, one) for one in kinds]))
    with pytest.raises(ValueError, match="both kinds"):
        roc_curve([1.0], [[]])


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.5, 0.02, 0.9]) == pytest.approx([0.04, 1.0, 0.06, 1.0])
    assert holm([]) == []


@pytest.mark.parametrize("module", [overlap, separation])
def test_examples_in_the_modules_run(module: object) -> None:
    assert doctest.testmod(module).failed == 0  # type: ignore[arg-type]
