"""The short way through a shard does what the long way does, or nothing."""

from __future__ import annotations

import numpy as np
import pytest

from sparklab import ps
from sparklab.ps.frames import Frame, Kind
from sparklab.ps.layout import Layout, TableLayout
from sparklab.ps.shard import Shard
from sparklab.ps.shortcut import answer_at_once
from sparklab.ps.spec import TableSpec

KEYS = 100


def shard(chains: tuple[tuple[int, ...], ...] = ((0,), (0,)), aggregate: bool = False, tau: int = -1) -> Shard:
    made = Shard(0)
    spec = TableSpec(0, "w", 1, "float32", KEYS, aggregate, 2, (ps.SGD(lr=0.5),), limit=KEYS)
    table = TableLayout(KEYS, (0, 50), (0, 1), chains)
    made.receive("manager", Frame(Kind.LAYOUT, meta=(Layout(3, {0: table}, (0, 1), taus={0: tau}), {0: spec})))
    return made


def push(seq: int, settled: int = 0, epoch: int = 3, mask: int = 3) -> Frame:
    keys = np.array([1, 60], np.uint64) if mask == 3 else np.array([1], np.uint64)
    values = np.full((len(keys), 1), seq, np.float32)
    return Frame(Kind.PUSH, 0, 0, 7, seq, 0, epoch, settled, mask, keys, values)


def pull(seq: int, clock: int = 0, epoch: int = 3) -> Frame:
    return Frame(Kind.PULL, 0, 0, 7, seq, clock, epoch, 0, 3, np.array([1, 60], np.uint64))


def told(frame: Frame) -> tuple[object, ...]:
    values = None if frame.values is None else frame.values.tobytes()
    return (*(getattr(frame, name) for name in Frame.__slots__ if name not in ("keys", "values")), values)


def test_the_short_way_answers_as_the_long_way_does_and_leaves_the_same_behind() -> None:
    short, long = shard(), shard()
    rng = np.random.default_rng(0)
    taken = 0
    for seq in range(1, 200):
        frame = push(seq, max(0, seq - 1 - int(rng.integers(3)))) if rng.random() < 0.6 else pull(seq)
        again = rng.random() < 0.2
        for each in (frame, frame) if again else (frame,):
            ((_, expected),) = long.receive("client", each)
            found = answer_at_once(short, each)
            if found is None:
                ((_, found),) = short.receive("client", each)
            else:
                taken += 1
            assert told(found) == told(expected)
    assert taken > 150
    ours, theirs = short.tables[0].facts(), long.tables[0].facts()
    assert ours == theirs
    assert ours["duplicates"] > 0
    assert short.tables[0].heat.facts(short.tables[0].layout, 3) == long.tables[0].heat.facts(long.tables[0].layout, 3)
    assert short.tables[0].store.weights.tobytes() == long.tables[0].store.weights.tobytes()


def test_a_push_that_was_taken_in_before_is_not_applied_again() -> None:
    one = shard()
    assert answer_at_once(one, push(1)) is not None
    assert answer_at_once(one, push(1)) is None
    assert answer_at_once(one, push(1, mask=1)) is None
    assert one.tables[0].applied_pushes == 1


@pytest.mark.parametrize("epoch", [2, 4])
def test_what_another_epoch_says_goes_the_long_way(epoch: int) -> None:
    one = shard()
    assert answer_at_once(one, push(1, epoch=epoch)) is None
    assert answer_at_once(one, pull(1, epoch=epoch)) is None
    assert one.tables[0].applied_pushes == 0


def test_pushes_with_replicas_frozen_ranges_lost_workers_or_a_clock_to_wait_for_go_the_long_way() -> None:
    replicated, aggregated = shard(((0, 1), (0,))), shard(aggregate=True, tau=0)
    frozen, gone = shard(), shard()
    frozen.tables[0].frozen = 1
    gone.tables[0].gone.add(0)
    for each in (replicated, aggregated, frozen, gone):
        assert answer_at_once(each, push(1)) is None
        assert not each.tables[0].store.weights.any()
        assert each.tables[0].ledger.size == 0


def unfit() -> list[tuple[list[int], object]]:
    one = np.ones((2, 1), np.float32)
    return [
        ([1, 100], one), ([1, 2**64 - 1], one), ([1, 1], one), ([2, 1], one),
        ([1, 2], one[:1]), ([1, 2], one.astype(np.float64)), ([1, 2], np.ones((2, 2), np.float32)), ([1, 2], None),
    ]  # fmt: skip


@pytest.mark.parametrize(("keys", "values"), unfit())
def test_keys_and_values_that_do_not_fit_are_refused_whoever_sends_them(keys: list[int], values: object) -> None:
    one = shard()
    frame = Frame(Kind.PUSH, 0, 0, 7, 1, 0, 3, 0, 3, np.array(keys, np.uint64), values)  # type: ignore[arg-type]
    assert answer_at_once(one, frame) is None
    ((_, refused),) = one.receive("client", frame)
    assert refused.kind == Kind.REFUSED
    assert one.tables[0].applied_pushes == 0


def test_a_long_list_of_keys_is_looked_at_again_where_another_stands_at_its_place_in_memory() -> None:
    one = Shard(0)
    spec = TableSpec(0, "w", 1, "float32", 10_000, False, 2, (ps.Add(),), limit=10_000)
    table = TableLayout(10_000, (0,), (0,), ((0,),))
    one.receive("manager", Frame(Kind.LAYOUT, meta=(Layout(3, {0: table}, (0,), taus={0: -1}), {0: spec})))
    values = np.ones((5000, 1), np.float32)
    for seq, step in enumerate((1, 3) * 20, 1):
        keys = np.arange(0, 5000 * step, step, dtype=np.uint64)  # freed after each push
        ((_, told_of),) = one.receive("client", Frame(Kind.PUSH, 0, 0, 7, seq, 0, 3, 0, 1, keys, values))
        assert told_of.kind == (Kind.DONE if step == 1 else Kind.REFUSED)
        del keys


def test_a_pull_of_keys_outside_the_table_is_refused() -> None:
    one = shard()
    frame = Frame(Kind.PULL, 0, 0, 7, 1, 0, 3, 0, 3, np.array([1, 100], np.uint64))
    assert answer_at_once(one, frame) is None
    ((_, refused),) = one.receive("client", frame)
    assert refused.kind == Kind.REFUSED


def test_a_worker_that_was_started_anew_elsewhere_is_refused() -> None:
    one = shard()
    one.tables[0].ledger.open(0, 8)
    for frame in (push(1), pull(1)):
        assert answer_at_once(one, frame) is None
        ((_, refused),) = one.receive("client", frame)
        assert refused.kind == Kind.REFUSED


def test_a_pull_that_has_to_wait_for_the_floor_goes_the_long_way() -> None:
    one = shard(tau=1)
    assert answer_at_once(one, pull(1, clock=1)) is not None
    assert answer_at_once(one, pull(2, clock=2)) is None
    assert one.receive("client", pull(2, clock=2)) == []
