"""The frequent coordinates of HOGWILD threads: their copies add up, know of each other in time, learn the same."""

from __future__ import annotations

import threading
from typing import Any

import numba
import numpy as np
import pytest

from sparklab.datasets import AdClick
from sparklab.train import SparseLogisticRegression, frequent, hogwild
from sparklab.train.blocks import Rows
from sparklab.train.frequent import LONGEST_ROWS, MOST, Frequent, interval, often_in
from sparklab.train.hogwild import Team
from sparklab.train.optimizers import SGD, AdaGrad, FTRLProximal, Optimizer, Penalty

DIMENSION, ROWS = 1 << 12, 40_000
NO_WORDS = np.zeros(4, np.int64)


@pytest.fixture(scope="module")
def clicks() -> AdClick:
    return AdClick(ROWS + 20_000, DIMENSION)


@pytest.fixture(scope="module")
def rows(clicks: AdClick) -> Rows:
    made = clicks.block(0, ROWS)
    return Rows(made.indptr, made.indices, None, made.labels)


def optimizer_of(kind: Any) -> Optimizer:
    made: Optimizer = kind(DIMENSION, True, Penalty())
    return made


def test_a_threads_rows_point_to_its_own_copies_of_frequent_coordinates_alone(rows: Rows) -> None:
    keys, shares = often_in(rows)
    counts = np.bincount(rows.indices, minlength=DIMENSION)
    assert 0 < len(keys) <= MOST
    assert counts[keys[0]] >= 0.9 * counts.max()
    assert np.allclose(shares, counts[keys] / ROWS, atol=0.05)
    copies = Frequent(AdaGrad(DIMENSION, True, Penalty()).state, keys, shares, 2)
    before, half = rows.indices.copy(), int(rows.indptr[ROWS // 2])
    dealt = copies.renumber(rows, np.empty_like(rows.indices), [0, ROWS // 2, ROWS])
    assert np.array_equal(rows.indices, before)
    first, second = dealt.indices[:half], dealt.indices[half:]
    for old, new in ((before[:half], first), (before[half:], second)):
        moved = new != old
        assert np.all(new[moved] > DIMENSION)
        assert set(np.unique(old[moved])) <= set(keys.tolist())
        assert len(np.unique(new)) == len(np.unique(old))  # no two coordinates have one place
        assert moved.mean() > 0.5
    assert not set(first[first > DIMENSION]) & set(second[second > DIMENSION])


@pytest.mark.parametrize("kind", [AdaGrad, FTRLProximal])
def test_one_of_two_threads_alone_learns_what_one_without_copies_does(rows: Rows, kind: Any) -> None:
    plain, shared = optimizer_of(kind), optimizer_of(kind)
    expected = plain.learn(rows, 0.1, 0, ROWS // 2, 0, 1)
    team = Team(rows, shared, 2, True, "lock-free")
    assert team._frequent is not None
    found = team.learner(NO_WORDS, 0)(0.1, 0, ROWS // 2, 0)
    team.settle()
    assert found == pytest.approx(expected, rel=1e-4)
    assert np.allclose(shared.state, plain.state, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("kind", [AdaGrad, FTRLProximal])
def test_a_thread_that_comes_later_goes_on_from_what_others_have_learnt(rows: Rows, kind: Any) -> None:
    plain, shared = optimizer_of(kind), optimizer_of(kind)
    plain.learn(rows, 0.1, 0, ROWS // 2, 0, 1)
    expected = plain.learn(rows, 0.1, ROWS // 2, ROWS, ROWS // 2, 1)
    team = Team(rows, shared, 2, True, "lock-free")
    team.learner(NO_WORDS, 0)(0.1, 0, ROWS // 2, 0)
    found = team.learner(NO_WORDS, 1)(0.1, ROWS // 2, ROWS, ROWS // 2)
    team.settle()
    assert found == pytest.approx(expected, rel=1e-4)
    assert np.allclose(shared.state, plain.state, rtol=1e-3, atol=1e-2)


def test_what_both_threads_have_changed_adds_up(rows: Rows) -> None:
    """AdaGrad's sums of squares count the rows of both, whichever merged when."""
    optimizer = AdaGrad(DIMENSION, True, Penalty())
    team = Team(rows, optimizer, 2, True, "lock-free")
    losses = [team.learner(NO_WORDS, thread)(1e-9, *team.bounds[thread : thread + 2], 0) for thread in (0, 1)]
    team.settle()
    # At a rate of next to nothing every gradient is 1/2 in size: all weights stay 0.
    expected = 0.25 * np.bincount(rows.indices, minlength=DIMENSION) + float(AdaGrad.INITIAL)
    assert np.allclose(optimizer.state[:-1, 1], expected, rtol=1e-3)
    assert optimizer.state[-1, 1] == pytest.approx(0.25 * ROWS, rel=1e-3)
    assert sum(losses) == pytest.approx(ROWS * np.log(2), rel=1e-4)


@pytest.mark.parametrize(("begin", "size", "signed"), [(0.1, 1.0, False), (1000.0, 0.05, False), (0.0, 0.01, True)])
def test_merging_after_every_step_hardly_rounds_more_than_the_steps_and_merging_nothing_moves_nothing(
    begin: float, size: float, signed: bool
) -> None:
    rng = np.random.default_rng(1)
    count, dimension = 500, 1 << 12
    copies = Frequent(
        np.full((dimension + 1, 2), begin, np.float32), np.arange(count, dtype=np.uint32), np.full(count, 0.1), 2
    )
    shares = [copies.share(thread) for thread in (0, 1)]
    owns = [share.room.reshape(-1, 2)[share.places[2] :][: share.places[3]] for share in shares]

    def merge_in_turn(times: int) -> None:
        for turn in range(times):
            share = shares[turn % 2]
            frequent._merge(share.room, share.places, 0, share.places[3])

    plain = np.full(owns[0].shape, begin, np.float32)
    exact = plain.astype(np.float64)
    for turn in range(4000):
        share, own = shares[turn % 2], owns[turn % 2]
        drawn = rng.normal(size=own.shape) if signed else rng.random(own.shape) ** 2
        step = (size * drawn).astype(np.float32)
        own += step
        plain += step
        exact += step
        frequent._merge(share.room, share.places, 0, share.places[3])
    merge_in_turn(2)
    before = [own.copy() for own in owns]
    merge_in_turn(2000)
    for own, old in zip(owns, before, strict=True):
        assert float(np.abs(own - old).max()) <= 2 * float(np.spacing(np.abs(old).max()))
    copies.settle()
    rounded, alone = (float(np.abs(found - exact).mean()) for found in (copies.state[copies._where], plain))
    assert 0 < rounded < 2 * alone


@numba.njit(nogil=True)  # type: ignore[untyped-decorator]
def _change_and_merge(room: Any, places: Any, times: int) -> None:
    for _ in range(times):
        for row in range(places[2], places[2] + places[3]):
            room[2 * row] += 1
            room[2 * row + 1] += 2
        frequent._merge(room, places, 0, places[3])


def test_nothing_is_lost_where_many_threads_merge_at_the_same_moment() -> None:
    threads, merges, coordinates = 8, 4000, 400
    state = np.zeros((coordinates + 1, 2), np.float32)
    copies = Frequent(state, np.arange(coordinates, dtype=np.uint32), np.full(coordinates, 0.5), threads)
    together = threading.Barrier(threads)

    def learn(thread: int) -> None:
        share = copies.share(thread)
        together.wait()
        _change_and_merge(share.room, share.places, merges)

    team = [threading.Thread(target=learn, args=(thread,)) for thread in range(threads)]
    for thread in team:
        thread.start()
    for thread in team:
        thread.join()
    copies.settle()
    merged = copies.state[copies.state[:, 0] != 0]
    assert len(merged) > coordinates / 2, "nearly all have a copy"
    assert np.all(merged == (threads * merges, 2 * threads * merges))  # exact in float32


def test_the_delay_grows_with_the_root_of_the_rows_and_is_bounded() -> None:
    delays = [interval(seen, 0.1, 1.0, 2) for seen in (0, 10_000, 40_000, 160_000, 10**9)]
    assert delays == [1, 375, 750, 1500, LONGEST_ROWS // 2]
    assert interval(40_000, 0.4, 1.0, 2) == 187  # the faster the steps, the sooner
    assert interval(40_000, 0.1, 5.0, 2) == 150  # and the more frequent the coordinates
    assert interval(10_000, 0.0, 1.0, 2) == LONGEST_ROWS // 2
    assert interval(0, 0.1, 0.0, 2) == LONGEST_ROWS // 2  # no such coordinate


def test_rows_that_hardly_share_a_coordinate_are_learnt_without_copies(rows: Rows) -> None:
    dimension, apart = 1 << 20, np.random.default_rng(0)
    alone = apart.choice(dimension, (ROWS, 4)).astype(np.uint32)
    indptr = np.arange(0, 4 * ROWS + 1, 4, dtype=np.int64)
    for often in (0, 6):  # of them some once in 500 rows
        alone[: often * ROWS // 500, 0] = np.arange(often * ROWS // 500) % max(often, 1)
        apart.shuffle(alone)
        spread = Rows(indptr, alone.ravel(), None, rows.labels)
        assert len(often_in(spread)[0]) in range(often, often + 3)
        assert Team(spread, AdaGrad(dimension, True, Penalty()), 2, True, "lock-free")._frequent is None
    alone[:, 0] = 7  # one coordinate, but in every row
    in_all = Rows(indptr, alone.ravel(), None, rows.labels)
    assert Team(in_all, AdaGrad(dimension, True, Penalty()), 2, True, "lock-free")._frequent is not None


@pytest.mark.parametrize("optimizer", ["adagrad", "ftrl"])
def test_threads_with_copies_reach_what_one_thread_reaches(
    optimizer: str, clicks: AdClick, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def noted(sample: Rows) -> Any:
        made.append(often_in(sample))
        return made[-1]

    monkeypatch.setattr(hogwild, "often_in", noted)
    features, labels = clicks.csr(0, ROWS)
    held_out, _ = clicks.csr(ROWS, ROWS + 20_000)
    scores = []
    for workers in (1, 2, 8):
        model = SparseLogisticRegression(epochs=2, workers=workers, optimizer=optimizer, random_state=0)
        model.fit(features, labels)
        scores.append(clicks.score(model.predict_proba(held_out)[:, 1], ROWS, ROWS + 20_000))
    assert len(made) == 2
    assert max(scores) == pytest.approx(scores[0], abs=0.03)


def test_steps_that_do_not_shrink_and_owed_penalties_are_not_copied(rows: Rows) -> None:
    for optimizer in (SGD(DIMENSION, True, Penalty()), AdaGrad(DIMENSION, True, Penalty(l1=0.1))):
        assert Team(rows, optimizer, 2, True, "lock-free")._frequent is None
    assert Team(rows, optimizer_of(AdaGrad), 1, True, "lock-free")._frequent is None
    assert Team(rows, optimizer_of(AdaGrad), 2, True, "locked")._frequent is None
    assert not Frequent.fits((1 << 32) - 1, 2)
