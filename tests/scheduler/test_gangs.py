"""Barrier stages in the state machine alone: all tasks at once, counted together, run again together."""

from __future__ import annotations

import importlib.util
import random
from pathlib import Path
from typing import Any

import pytest

from sparklab.errors import JobFailed
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


def gang(tasks: int, ids: Any = None) -> Any:
    rdd = w.Mapped(w.Source(ids or w.Ids(), tasks))
    rdd.is_barrier = True
    return rdd


def running(world: Any) -> list[tuple[int, int]]:
    return sorted((launch.executor, task.partition) for launch, task in world.launched.values())


def task_of(world: Any, partition: int) -> int:
    return next(i for i, (_, task) in world.launched.items() if task.partition == partition)


def test_all_tasks_of_a_gang_start_together_and_know_each_other() -> None:
    world = w.World(3)
    job = world.submit(gang(3))
    assert running(world) == [(0, 0), (1, 1), (2, 2)]
    assert all(launch.gang == m.Gang(("a0", "a1", "a2")) for launch, _ in world.launched.values())
    world.run()
    assert world.finished == {job: None}
    assert world.values[job] == {i: ("value", i) for i in range(3)}


def test_a_gang_waits_until_there_is_an_executor_for_each_task_and_nobody_overtakes_it() -> None:
    world = w.World(2)
    ids = w.Ids()
    world.submit(w.Source(ids, 1))
    (first,) = world.launched
    world.submit(gang(2, ids))
    world.submit(w.Source(ids, 1))
    assert list(world.launched) == [first]
    world.succeed(first)
    assert running(world) == [(0, 0), (1, 1)]
    assert len({launch.stage for launch, _ in world.launched.values()}) == 1
    world.run()
    assert set(world.finished.values()) == {None}


def test_two_gangs_take_turns() -> None:
    world = w.World(2)
    ids = w.Ids()
    jobs = [world.submit(gang(2, ids)), world.submit(gang(2, ids))]
    assert {launch.job for launch, _ in world.launched.values()} == {jobs[0]}
    world.run()
    assert world.finished == dict.fromkeys(jobs)


def test_nothing_is_sent_ahead_to_an_executor_of_a_gang() -> None:
    world = w.World(3)
    ids = w.Ids()
    world.submit(gang(2, ids))
    quick = world.submit(w.Source(ids, 4))
    task = next(i for i, (launch, _) in world.launched.items() if launch.job == quick)
    launch, _ = world.launched.pop(task)
    world.send(m.TaskEnded(task, launch.executor, launch.epoch, m.Succeeded(1), duration_s=0.0001))
    assert {launch.executor for launch, _ in world.launched.values() if launch.job == quick} == {2}


@pytest.mark.parametrize("known", [0, 2])
def test_a_gang_larger_than_the_cluster_fails_at_once(known: int) -> None:
    world = w.World(2, Limits(executors=known))
    job = world.submit(gang(3))
    assert not world.launched
    error = world.finished[job]
    assert isinstance(error, JobFailed)
    assert "3 tasks" in error.found
    assert "2 executors" in error.found


def test_a_gang_too_large_fails_before_the_stages_that_it_reads() -> None:
    world = w.World(2)
    ids = w.Ids()
    rdd = w.Mapped(w.Reduced(w.Source(ids, 2), 3))
    rdd.is_barrier = True
    job = world.submit(rdd)
    assert isinstance(world.finished[job], JobFailed)
    assert not world.launched


def test_a_gang_in_a_map_stage_too_large_fails_the_job() -> None:
    world = w.World(2)
    job = world.submit(w.Reduced(gang(3), 1))
    assert isinstance(world.finished[job], JobFailed)


def test_a_gang_waits_for_the_replacement_of_an_executor_but_not_for_ever() -> None:
    world = w.World(2, Limits(executors=2, gang_wait_s=10))
    world.lose(1)
    job = world.submit(gang(2))
    world.send(m.Tick(9.0))
    assert not world.launched
    assert job not in world.finished
    world.join(1)
    assert running(world) == [(0, 0), (1, 1)]
    world.run()
    assert world.finished == {job: None}

    world.lose(1)
    second = world.submit(gang(2))
    world.send(m.Tick(12.0))
    assert second not in world.finished
    world.send(m.Tick(20.0))
    assert isinstance(world.finished[second], JobFailed)


def test_a_failed_task_has_the_whole_gang_run_again_and_earlier_values_do_not_count() -> None:
    world = w.World(2, Limits(max_task_failures=2))
    job = world.submit(gang(2))
    other = task_of(world, 1)
    world.succeed(task_of(world, 0))
    assert job not in world.values
    world.end(other, m.UserError(ValueError("no"), "ValueError: no"))
    assert running(world) == [(0, 0), (1, 1)]
    assert [fact.attempt for fact in world.of(f.StageStarted)] == [0, 1]
    world.run()
    assert world.finished == {job: None}
    assert world.values[job] == {0: ("value", 0), 1: ("value", 1)}


def test_the_others_are_stopped_first_and_nothing_starts_before_they_have_ended() -> None:
    world = w.World(3, Limits(max_task_failures=2))
    world.submit(gang(3))
    one, two, three = (task_of(world, i) for i in range(3))
    world.end(two, m.UserError(ValueError("no"), "ValueError: no"))
    assert world.cancelled == [one, three]
    assert sorted(world.launched) == [one, three]
    world.end(one, m.Cancelled())
    assert sorted(world.launched) == [three]
    world.succeed(three)  # it was faster than its cancellation
    assert running(world) == [(0, 0), (1, 1), (2, 2)]


def test_a_task_that_fails_too_often_fails_the_job_with_the_users_error() -> None:
    world = w.World(2)
    job = world.submit(gang(2))
    error = ValueError("no")
    world.end(task_of(world, 0), m.UserError(error, "ValueError: no"))
    assert world.finished == {job: error}
    assert world.cancelled == [1]


def test_a_lost_executor_has_the_whole_gang_run_again_also_where_its_task_had_succeeded() -> None:
    world = w.World(2, Limits(executors=2))
    job = world.submit(gang(2))
    world.succeed(task_of(world, 1))
    world.lose(1)
    world.join(1)
    assert running(world) == [(0, 0)]
    assert world.cancelled == [0]
    world.end(task_of(world, 0), m.Cancelled())
    assert running(world) == [(0, 0), (1, 1)]
    world.run()
    assert world.finished == {job: None}


def test_a_lost_map_output_has_all_of_its_gang_run_again() -> None:
    world = w.World(2, Limits(executors=2))
    ids = w.Ids()
    reduced = w.Reduced(gang(2, ids), 1)
    first = world.submit(reduced)
    world.succeed(task_of(world, 0))
    assert not world.scheduler.outputs.complete(0)
    assert not list(world.of(f.MapOutputStored))
    world.succeed(task_of(world, 1))
    assert len(list(world.of(f.MapOutputStored))) == 2
    world.end(next(iter(world.launched)), m.FetchFailed(0, 1, 1, 0, "gone"))
    assert running(world) == [(0, 0), (1, 1)]
    for partition in (0, 1):
        world.succeed(task_of(world, partition))
    assert first not in world.finished


def test_accumulator_updates_of_a_gang_count_when_all_have_succeeded_and_once() -> None:
    world = w.World(2, Limits(max_task_failures=2))
    world.submit(gang(2))
    counted: list[bytes] = []

    def end(partition: int, outcome: Any) -> None:
        task = task_of(world, partition)
        launch, _ = world.launched.pop(task)
        effects = world.scheduler.handle(m.TaskEnded(task, launch.executor, launch.epoch, outcome))
        counted.extend(i.updates for i in effects.instructions if isinstance(i, m.ApplyUpdates))
        for i in effects.instructions:
            if isinstance(i, m.Launch):
                world.launched.update({t.task: (i, t) for t in i.tasks})

    end(0, m.Succeeded(0, b"zero"))
    end(1, m.UserError(ValueError("no"), "ValueError: no"))
    assert counted == []
    end(0, m.Succeeded(0, b"zero"))
    end(1, m.Succeeded(0, b"one"))
    assert counted == [b"zero", b"one"]


def test_a_gang_is_never_computed_in_part() -> None:
    world = w.World(2)
    job = world.submit(gang(2), [0])
    assert isinstance(world.finished[job], JobFailed)
    assert "does not allow" in world.finished[job].found
    union = w.World(2)
    ids = w.Ids()
    job = union.submit(w.Joined(gang(1, ids), w.Source(ids, 1)))
    assert isinstance(union.finished[job], JobFailed)


def test_blocks_of_a_gang_are_used_where_all_are_there_and_not_where_some_are() -> None:
    world = w.World(2)
    rdd = gang(2)
    rdd.storage_level = StorageLevel.MEMORY_ONLY
    world.submit(rdd)
    assert next(iter(world.launched.values()))[0].gang.stale == (rdd._id,)
    world.run()
    world.submit(w.Mapped(rdd))
    assert next(iter(world.launched.values()))[0].gang.stale == ()
    world.run()
    world.send(m.BlocksChanged(1, 0, [m.BlockChange("removed", rdd._id, 1, "", 10, "evicted")]))
    world.submit(w.Mapped(rdd))
    assert next(iter(world.launched.values()))[0].gang.stale == (rdd._id,)


def test_a_gang_whose_tasks_never_get_to_run_is_given_up() -> None:
    world = w.World(1, Limits(max_stage_attempts=3))
    job = world.submit(gang(1))
    for _ in range(10):
        if world.launched:
            world.end(next(iter(world.launched)), m.Cancelled())
    assert isinstance(world.finished[job], JobFailed)


@pytest.mark.parametrize("seed", range(20))
def test_gangs_and_other_jobs_end_whatever_happens(seed: int) -> None:
    rng = random.Random(seed)
    world = w.World(3, Limits(max_task_failures=100, executors=3, max_executor_losses=1000, max_stage_attempts=1000))
    ids = w.Ids()
    jobs = [
        world.submit(gang(3, ids)),
        world.submit(w.Reduced(gang(2, ids), 3)),
        world.submit(w.Source(ids, 5)),
        world.submit(w.Mapped(w.Reduced(w.Source(ids, 3), 2))),
    ]
    for step in range(400):
        if not world.launched:
            break
        task = rng.choice(sorted(world.launched))
        what = rng.random() if step < 100 else 1.0
        if what < 0.2:
            world.end(task, m.UserError(ValueError("no"), "ValueError: no"))
        elif what < 0.3:
            world.end(task, m.Cancelled())
        elif what < 0.4:
            number = rng.randrange(3)
            world.lose(number)
            world.join(number)
        elif task in world.cancelled:
            world.end(task, m.Cancelled())
        else:
            launch, spec = world.launched.pop(task)
            writes = world.prepared[launch.stage].writes
            value = 1 if writes is None else m.MapOutput(writes.shuffle_id, spec.partition, "file", 5, 1)
            world.send(m.TaskEnded(task, launch.executor, launch.epoch, m.Succeeded(value)))
    assert world.finished == dict.fromkeys(jobs)
