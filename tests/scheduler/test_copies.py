"""Copies of cached blocks in the state machine alone: made, made up for, moved off who retires, never for ever."""

from __future__ import annotations

import importlib.util
import random
from pathlib import Path
from typing import Any

import pytest

from sparklab.events import facts as f
from sparklab.scheduler import messages as m
from sparklab.scheduler.state import Limits
from sparklab.storage.level import StorageLevel

# The world that test_machine drives by hand.
_spec = importlib.util.spec_from_file_location("scheduler_world", Path(__file__).with_name("test_machine.py"))
assert _spec is not None
assert _spec.loader is not None
w = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(w)

TWICE = StorageLevel.MEMORY_ONLY_2


def cached(world: Any, partitions: int = 6, level: StorageLevel = TWICE) -> Any:
    """An RDD whose partitions were computed and stored once each."""
    return w.cached_in(world, partitions, level=level)


def where(world: Any, rdd: Any) -> dict[int, set[int]]:
    return {p: set(world.scheduler.blocks.executors(rdd._id, p)) for p in range(len(rdd.partitions))}


def copy_all(world: Any) -> int:
    count = 0
    while world.copying:
        world.copy()
        count += 1
    return count


def test_a_block_of_a_replicated_level_gets_a_second_holder_and_the_job_does_not_wait_for_it() -> None:
    world = w.World(3)
    rdd = cached(world)
    assert world.finished == {0: None}
    assert all(len(holders) == 1 for holders in where(world, rdd).values())
    assert copy_all(world) == 6
    assert all(len(holders) == 2 for holders in where(world, rdd).values())
    copies = [fact for fact in world.of(f.BlockStored) if fact.copied]
    assert sorted(fact.partition for fact in copies) == list(range(6))
    assert not any(fact.recomputed for fact in copies)
    held = [sum(e in holders for holders in where(world, rdd).values()) for e in range(3)]
    assert max(held) - min(held) <= 1, "copies are spread"


def test_a_level_of_one_copy_is_copied_nowhere() -> None:
    world = w.World(3)
    cached(world, level=StorageLevel.MEMORY_ONLY)
    assert world.copying == []


def test_an_executor_takes_in_a_bounded_number_of_copies_at_once() -> None:
    world = w.World(2)
    cached(world, 20)
    taking = [order.executor for order in world.copying]
    assert sorted(taking) == [0, 0, 1, 1]
    assert copy_all(world) == 20


def test_the_loss_of_one_copy_computes_nothing_and_the_block_is_copied_again() -> None:
    world = w.World(3)
    rdd = cached(world)
    copy_all(world)
    on_one = [p for p, holders in where(world, rdd).items() if 1 in holders]
    before = len(world.ran)
    world.lose(1)
    assert copy_all(world) == len(on_one) > 0
    assert all(len(holders) == 2 for holders in where(world, rdd).values())
    world.submit(w.Mapped(rdd))
    assert all(len(m_.tasks) for m_, _ in world.launched.values())
    world.run()
    assert not any(fact.recomputed for fact in world.of(f.BlockStored))
    assert len(world.ran) == before + 6


def test_with_one_executor_left_the_copies_wait_for_the_next_one() -> None:
    world = w.World(2)
    rdd = cached(world)
    copy_all(world)
    world.lose(1)
    assert world.copying == []
    world.join(1)
    assert copy_all(world) == 6
    assert all(len(holders) == 2 for holders in where(world, rdd).values())


def test_an_executor_without_room_is_not_asked_again() -> None:
    world = w.World(3)
    rdd = cached(world, 1)
    first = world.copy(held=False)
    second = world.copy(held=False)
    assert {first.executor, second.executor} == {0, 1, 2} - where(world, rdd)[0]
    assert world.copying == []


def test_an_eviction_of_one_copy_is_not_made_up_for() -> None:
    world = w.World(2)
    rdd = cached(world, 1)
    copy_all(world)
    world.send(m.BlocksChanged(1, 0, [m.BlockChange("removed", rdd._id, 0, "memory", 10, "evicted")]))
    assert world.copying == []


def test_a_damaged_copy_is_made_up_for() -> None:
    world = w.World(2)
    rdd = cached(world, 1)
    copy_all(world)
    world.send(m.BlocksChanged(1, 0, [m.BlockChange("removed", rdd._id, 0, "disk", 10, "corrupt")]))
    assert [order.executor for order in world.copying] == [1]
    assert [fact.reason for fact in world.of(f.BlockRemoved)] == ["corrupt"]


def test_unpersist_removes_every_copy_even_one_under_way() -> None:
    world = w.World(3)
    rdd = cached(world, 1)
    (order,) = world.copying
    world.send(m.RddForgotten(rdd._id))
    assert set(world.removed) == {e for e in range(3) if e == order.holders[0]}
    world.copy()
    assert world.removed[-1] == order.executor
    assert where(world, rdd) == {0: set()}


def test_a_copy_that_another_report_of_its_executor_tells_of_first_counts_as_a_copy() -> None:
    world = w.World(3)
    rdd = cached(world, 1)
    (order,) = world.copying
    world.send(m.BlocksChanged(order.executor, 0, [m.BlockChange("stored", rdd._id, 0, "memory", 10)]))
    stored = [fact for fact in world.of(f.BlockStored) if fact.executor == order.executor]
    assert [fact.copied for fact in stored] == [True]


def test_a_copy_on_an_executor_that_died_meanwhile_is_ordered_elsewhere() -> None:
    world = w.World(3)
    rdd = cached(world, 1)
    (order,) = world.copying
    world.lose(order.executor)
    assert [o.executor for o in world.copying[1:]] == [({0, 1, 2} - {order.executor, *order.holders}).pop()]
    world.copy()  # the answer of the dead one changes nothing
    assert len(where(world, rdd)[0]) == 1


def test_a_retiring_executor_gets_no_task_gives_its_blocks_away_and_is_released() -> None:
    world = w.World(3)
    rdd = cached(world, 6, StorageLevel.MEMORY_ONLY)
    world.submit(w.Source(w.Ids(), 12))
    (busy,) = [task for task, (launch, _) in world.launched.items() if launch.executor == 0]
    world.send(m.ExecutorRetiring(0, 0))
    moved = copy_all(world)
    assert moved == sum(0 in holders for holders in where(world, rdd).values()) > 0
    assert world.released == [], "it still has a task"
    world.succeed(busy)
    assert world.released == [0]
    world.run()
    ran_on_zero = [launch for launch, _ in world.launched.values() if launch.executor == 0]
    assert ran_on_zero == []
    world.lose(0)
    assert all(len(holders) == 1 for holders in where(world, rdd).values())
    before = len(world.ran)
    world.submit(rdd)
    world.run()
    assert len(world.ran) == before + 6
    assert not any(fact.recomputed for fact in world.of(f.BlockStored))
    assert world.released == [0]


def test_a_retiring_executor_whose_blocks_nobody_takes_is_released_all_the_same() -> None:
    world = w.World(2)
    cached(world, 4, StorageLevel.MEMORY_ONLY)
    world.send(m.ExecutorRetiring(1, 0))
    assert world.copying
    assert world.released == [], "its blocks are still being moved"
    while world.copying:
        world.copy(held=False)
    assert world.released == [1]


def test_tasks_do_not_wait_for_a_retiring_executor_that_holds_their_block() -> None:
    world = w.World(2)
    rdd = cached(world, 4, StorageLevel.MEMORY_ONLY)
    world.send(m.ExecutorRetiring(0, 0))
    world.submit(w.Mapped(rdd))
    assert {launch.executor for launch, _ in world.launched.values()} == {1}
    world.run()
    assert world.finished == {0: None, 1: None}


@pytest.mark.parametrize("seed", range(20))
def test_random_losses_copies_and_retirements_settle(seed: int) -> None:
    chance = random.Random(seed)
    world = w.World(4, Limits(max_executor_losses=1_000))
    rdd = w.Mapped(w.Source(w.Ids(), 12))
    rdd.storage_level = TWICE
    job = world.submit(rdd)
    for _ in range(120):
        match chance.choice(["task", "task", "copy", "copy", "refuse", "lose", "join", "retire"]):
            case "task" if world.launched:
                world.succeed(chance.choice(sorted(world.launched)))
            case "copy" if world.copying:
                world.copy()
            case "refuse" if world.copying:
                world.copy(held=False)
            case "lose" if len(world.scheduler.executors) > 1:
                world.lose(chance.choice(sorted(world.scheduler.executors)))
            case "join":
                gone = sorted({0, 1, 2, 3} - world.scheduler.executors.keys())
                if gone:
                    world.join(gone[0])
            case "retire" if sum(not e.retiring for e in world.scheduler.executors.values()) > 1:
                leaving = chance.choice(sorted(world.scheduler.executors))
                world.send(m.ExecutorRetiring(leaving, world.epochs[leaving]))
    for number in sorted(world.scheduler.executors):
        if world.scheduler.executors[number].retiring:
            world.lose(number)
    for number in range(4):
        if number not in world.scheduler.executors:
            world.join(number)
    for _ in range(400):
        if world.launched:
            world.succeed(min(world.launched))
        elif world.copying:
            world.copy()
    assert world.finished == {job: None}
    assert not world.copying
    assert not world.scheduler.blocks.lacking
    for holders in where(world, rdd).values():
        assert len(holders) in (0, 2)


def shuffled(world: Any) -> tuple[Any, list[int]]:
    """An RDD whose map outputs are there, and which of them are on executor 0."""
    _, _, reduced = w.lineage()
    world.submit(reduced)
    world.run()
    locations = world.scheduler.outputs.shuffles[0].locations
    return reduced, [i for i, location in enumerate(locations) if location.executor == 0]


def test_map_outputs_move_off_a_retiring_executor_and_are_not_made_again() -> None:
    world = w.World(3)
    reduced, on_zero = shuffled(world)
    assert on_zero
    world.send(m.ExecutorRetiring(0, 0))
    assert world.released == []
    while world.moving:
        assert world.move().executor != 0
    assert world.released == [0]
    world.lose(0)
    before = len(world.ran)
    world.submit(w.Mapped(reduced))
    world.run()
    assert len(world.ran) == before + 4, "the reduce tasks alone"
    assert not any(fact.recomputed for fact in world.of(f.MapOutputStored))
    assert {location.output.path for location in world.scheduler.outputs.shuffles[0].locations} == {"file", "moved"}


def test_a_map_output_that_cannot_be_moved_is_made_again_when_it_is_needed() -> None:
    world = w.World(2)
    reduced, on_zero = shuffled(world)
    world.send(m.ExecutorRetiring(0, 0))
    while world.moving:
        world.move(moved=False)
    assert world.released == [0]
    world.lose(0)
    world.submit(w.Mapped(reduced))
    world.run()
    assert sorted(fact.map for fact in world.of(f.MapOutputStored) if fact.recomputed) == on_zero


def test_a_move_to_an_executor_that_dies_is_ordered_again_and_one_of_a_forgotten_shuffle_is_undone() -> None:
    world = w.World(3)
    shuffled(world)
    world.send(m.ExecutorRetiring(0, 0))
    first = world.moving[0]
    world.lose(first.executor)
    assert [order.executor for order in world.moving[1:] if order.source == first.source] == [3 - first.executor]
    world.move()  # the answer of the dead one changes nothing
    world.send(m.ShuffleForgotten(0))
    assert world.released == [0]
    before = len(world.forgotten)
    world.move()
    assert world.forgotten[before:] == [3 - first.executor]


def test_a_long_line_of_blocks_to_copy_costs_little_at_each_event(monkeypatch: pytest.MonkeyPatch) -> None:
    world = w.World(2)
    copies = world.scheduler._copies
    order, looked_at = copies._order, 0

    def counted(*arguments: Any) -> bool:
        nonlocal looked_at
        looked_at += 1
        return order(*arguments)

    monkeypatch.setattr(copies, "_order", counted)
    cached(world, 1_000)
    at_the_end = looked_at
    assert at_the_end <= 5_000
    assert copy_all(world) == 1_000
    assert not world.scheduler.blocks.lacking
    assert [world.scheduler.blocks.count_on(e) for e in (0, 1)] == [1_000, 1_000]
    world.send(m.RddForgotten(next(iter(world.scheduler.blocks.rdds()))))
    assert [world.scheduler.blocks.count_on(e) for e in (0, 1)] == [0, 0]
