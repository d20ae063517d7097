"""The ad-click generator: rows depend on (seed, number) alone, and its losses are what they are said to be."""

from __future__ import annotations

import numpy as np
import pytest

from sparklab import SparkContext
from sparklab.datasets import AdClick, adclick, bundled
from sparklab.datasets.clicks import expected_loss
from sparklab.errors import SparklabError

CLICKS = AdClick(rows=4_000, dimension=1 << 18, seed=3)


def test_a_row_is_the_same_however_the_rows_are_cut() -> None:
    whole = CLICKS.block(0, 4_000)
    for size in (1, 7, 1_000):
        parts = list(CLICKS.blocks(100, 200, size))
        start, stop = whole.indptr[100], whole.indptr[200]
        assert np.array_equal(np.concatenate([p.indices for p in parts]), whole.indices[start:stop])
        assert np.array_equal(np.concatenate([p.labels for p in parts]), whole.labels[100:200])


def test_an_rdd_of_it_holds_the_rows_whatever_the_partitions_are(sc_threads: SparkContext) -> None:
    whole = CLICKS.block(0, 4_000)
    for slices in (1, 3, 8):
        blocks = CLICKS.rdd(sc_threads, slices, block_rows=500).collect()
        assert np.array_equal(np.concatenate([indices for _, _, indices, _ in blocks]), whole.indices)
    label, (indices, values) = CLICKS.rows_rdd(sc_threads, 2).first()
    assert label == whole.labels[0]
    assert np.array_equal(indices, whole.indices[: whole.indptr[1]])
    assert values.tolist() == [1.0] * len(indices)


def test_another_seed_gives_other_rows_and_other_weights() -> None:
    other = AdClick(rows=4_000, dimension=1 << 18, seed=4)
    assert not np.array_equal(other.block(0, 50).indices, CLICKS.block(0, 50).indices)
    assert not np.array_equal(other.planted_weights(range(1_000)), CLICKS.planted_weights(range(1_000)))


def test_indices_of_a_row_ascend_and_stay_below_the_dimension() -> None:
    for bits in (8, 18, 24):
        made = AdClick(rows=500, dimension=1 << bits).block(0, 500)
        assert made.indices.max() < 1 << bits
        for start, stop in zip(made.indptr[:-1], made.indptr[1:], strict=True):
            assert np.all(np.diff(made.indices[start:stop].astype(np.int64)) > 0)


def test_rows_have_a_variable_number_of_fields() -> None:
    counts = np.diff(CLICKS.block(0, 4_000).indptr)
    assert counts.min() >= 12
    assert counts.max() <= 26
    assert abs(counts.mean() - 26 * 0.9) < 0.2
    full = AdClick(rows=1_000, dimension=1 << 24, absent=0.0).block(0, 1_000)
    assert np.diff(full.indptr).min() >= 25


def test_ranks_follow_zipfs_law() -> None:
    """Source: the distribution itself: P(k) ~ k**-1.1, chi-square over the first ranks of the largest field."""
    from sparklab.datasets import click_kernel as kernel

    size, draws = 3_000_000, 200_000
    states = np.random.default_rng(0).integers(1 << 63, size=draws, dtype=np.uint64)
    ranks = np.array([int(kernel._zipf(state, float(size), 1.1)) for state in states])
    law = np.arange(1, size + 1, dtype=np.float64) ** -1.1
    law /= law.sum()
    expected = np.append(law[:200], law[200:].sum()) * draws
    seen = np.bincount(np.minimum(ranks - 1, 200), minlength=201)
    assert ranks.min() == 1
    assert ranks.max() > 2_000_000
    assert ((seen - expected) ** 2 / expected).sum() < 270  # the 99.9 % point of chi-square with 200 degrees is 268


def test_the_probabilities_are_those_of_the_planted_weights() -> None:
    features, labels = CLICKS.csr()
    margins = features @ CLICKS.planted_weights(range(CLICKS.dimension)) + CLICKS.bias
    assert np.allclose(CLICKS.probabilities(), 1 / (1 + np.exp(-margins)))
    assert labels.mean() == pytest.approx(CLICKS.probabilities().mean(), abs=0.02)


def test_no_prediction_beats_the_bayes_loss_and_the_prior_scores_one() -> None:
    p = CLICKS.probabilities()
    assert CLICKS.score(p) == 0.0
    assert CLICKS.score(np.full(len(p), p.mean())) == pytest.approx(1.0)
    for bent in (p**1.1, np.clip(p + 0.01, 0, 1)):
        assert expected_loss(p, bent) > CLICKS.bayes_loss()
    sampled = CLICKS.csr()[1].astype(np.float64)
    observed = -np.mean(sampled * np.log(p) + (1 - sampled) * np.log1p(-p))
    assert observed == pytest.approx(CLICKS.bayes_loss(), abs=0.02)


def test_planted_weights_are_sparse_and_normal() -> None:
    weights = CLICKS.planted_weights(range(CLICKS.dimension))
    assert np.mean(weights != 0) == pytest.approx(CLICKS.density, abs=0.01)
    assert np.std(weights[weights != 0]) == pytest.approx(CLICKS.scale, rel=0.02)


@pytest.mark.parametrize("wrong", [{"dimension": 1000}, {"dimension": 1 << 25}, {"rows": -1}, {"absent": 1.0}])
def test_what_cannot_be_made_is_refused_in_three_parts(wrong: dict[str, int]) -> None:
    with pytest.raises(SparklabError, match=r"(?s)describing ad clicks.*Found: .*To do: "):
        adclick(**({"rows": 10} | wrong))  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "rows", "columns"), [("breast_cancer", 569, 30), ("digits", 1797, 64)])
def test_bundled_sets_are_two_classes_in_csr(name: str, rows: int, columns: int) -> None:
    features, labels = bundled(name)
    assert features.shape == (rows, columns)
    assert features.dtype == np.float32
    assert (features.min(), features.max()) == (0, 1)
    assert set(labels.tolist()) == {0, 1}


def test_an_unknown_bundled_set_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(SparklabError, match="breast_cancer"):
        bundled("mnist")
