"""The job state machine alone: stimuli in, instructions out; no cluster, no thread, no clock."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from sparklab.errors import ClusterError, JobCancelled, JobFailed, UserCodeError
from sparklab.events import facts as f
from sparklab.rdd.core import Partition, RDDCore
from sparklab.rdd.dependency import OneToOne, Range, Shuffle
from sparklab.scheduler import messages as m
from sparklab.scheduler.machine import Scheduler
from sparklab.scheduler.state import Limits
from sparklab.scheduler.waiting import batch_size
from sparklab.shuffle.spec import MapOutput, ShuffleSpec
from sparklab.storage.level import StorageLevel


class Ids:
    """As much of a context as defining RDDs needs."""

    defaultParallelism = 2  # noqa: N815

    def __init__(self) -> None:
        self._rdds = itertools.count()
        self._shuffles = itertools.count()

    def new_rdd_id(self) -> int:
        return next(self._rdds)

    def new_shuffle_id(self) -> int:
        return next(self._shuffles)

    def register(self, rdd: RDDCore) -> None:
        pass

    def run_job(self, *_: Any, **__: Any) -> list[Any]:
        raise AssertionError("the scheduler is driven by hand here")

    def rdd_persisted(self, rdd: RDDCore) -> None:
        pass

    def rdd_unpersisted(self, rdd: RDDCore, blocking: bool) -> None:
        pass


class Source(RDDCore):
    def __init__(self, ids: Ids, count: int) -> None:
        self._count = count
        super().__init__(ids, (), "source")

    def _partitions(self) -> list[Partition]:
        return [Partition(i) for i in range(self._count)]


class Mapped(RDDCore):
    def __init__(self, parent: RDDCore) -> None:
        super().__init__(parent.context, (OneToOne(parent),), "map")


class Reduced(RDDCore):
    def __init__(self, parent: RDDCore, count: int) -> None:
        self._count = count
        spec = ShuffleSpec(parent.context.new_shuffle_id(), len(parent.partitions), count, hash)
        self.spec = spec
        super().__init__(parent.context, (Shuffle(parent, spec),), "reduceByKey")

    def _partitions(self) -> list[Partition]:
        return [Partition(i) for i in range(self._count)]


class Joined(RDDCore):
    def __init__(self, left: RDDCore, right: RDDCore) -> None:
        a, b = len(left.partitions), len(right.partitions)
        self._count = a + b
        super().__init__(left.context, (Range(left, 0, 0, a), Range(right, 0, a, b)), "union")

    def _partitions(self) -> list[Partition]:
        return [Partition(i) for i in range(self._count)]


class World:
    """Plays cluster to a scheduler: keeps what was launched, answers on demand, checks invariants each time."""

    def __init__(self, executors: int = 2, limits: Limits | None = None) -> None:
        self.scheduler = Scheduler(limits)
        self.facts: list[Any] = []
        self.launched: dict[int, tuple[m.Launch, m.TaskSpec]] = {}
        self.prepared: dict[int, m.StagePrepared] = {}
        self.finished: dict[int, BaseException | None] = {}
        self.values: dict[int, dict[int, Any]] = {}
        self.cancelled: list[int] = []
        self.copying: list[m.CopyBlock] = []  # ordered and not ended
        self.forgotten: list[int] = []  # executors that were told to remove a shuffle
        self.moving: list[m.MoveOutput] = []  # ordered and not ended
        self.released: list[int] = []
        self.removed: list[int] = []  # executors that were told to remove blocks
        self.ran: list[tuple[int, int]] = []  # (stage, partition) of each task that succeeded
        self.epochs: dict[int, int] = {}
        self._jobs = itertools.count()
        for number in range(executors):
            self.join(number)

    def send(self, *stimuli: Any) -> None:
        effects = self.scheduler.handle(*stimuli)
        self.scheduler.validate()
        self.facts.extend(effects.facts)
        for i in effects.instructions:
            match i:
                case m.StagePrepared():
                    self.prepared[i.stage] = i
                case m.Launch():
                    for task in i.tasks:
                        self.launched[task.task] = (i, task)
                case m.JobFinished():
                    assert i.job not in self.finished, "a job ends once"
                    self.finished[i.job] = i.error
                case m.ResultReady():
                    assert i.position not in self.values.setdefault(i.job, {}), "a value comes once"
                    self.values[i.job][i.position] = i.value
                case m.CancelTasks():
                    self.cancelled.extend(i.tasks)
                case m.RemoveBlocks():
                    self.removed.append(i.executor)
                case m.CopyBlock():
                    self.copying.append(i)
                case m.RemoveShuffle():
                    self.forgotten.append(i.executor)
                case m.MoveOutput():
                    self.moving.append(i)
                case m.ReleaseExecutor():
                    self.released.append(i.executor)

    def join(self, number: int) -> None:
        self.epochs[number] = self.epochs.get(number, -1) + 1
        self.send(m.ExecutorJoined(number, self.epochs[number], f"a{number}", "h", 1, 1, 1, 1))

    def lose(self, number: int) -> None:
        gone = [task for task, (launch, _) in self.launched.items() if launch.executor == number]
        for task in gone:
            del self.launched[task]
        self.send(m.ExecutorGone(number, self.epochs[number], "killed"))

    def submit(
        self,
        rdd: RDDCore,
        partitions: list[int] | None = None,
        pool: str = "default",
        background: bool = False,
    ) -> int:
        job = next(self._jobs)
        chosen = list(range(len(rdd.partitions))) if partitions is None else partitions
        self.send(m.JobSubmitted(job, rdd, chosen, "count", "here:1", pool=pool, background=background))
        return job

    def succeed(self, task_id: int) -> None:
        launch, task = self.launched.pop(task_id)
        stage = self.prepared[launch.stage]
        changes = [
            m.BlockChange("stored", rdd._id, task.partition, "memory", 10, copies=rdd.storage_level.replication)
            for rdd in stage.rdds
            if rdd.storage_level != StorageLevel.NONE
            and rdd is stage.rdds[-1]
            and not self.scheduler.blocks.is_cached(rdd._id, task.partition)
        ]
        value: Any = ("value", task.partition)
        if stage.writes is not None:
            value = MapOutput(stage.writes.shuffle_id, task.partition, "file", 5, 1)
        else:
            for number, shuffle in stage.inputs.items():
                assert len(shuffle.locations) == self.scheduler.outputs.shuffles[number].spec.num_maps
        self.ran.append((launch.stage, task.partition))
        self.send(
            m.TaskEnded(task_id, launch.executor, launch.epoch, m.Succeeded(value), duration_s=0.1, changes=changes)
        )

    def copy(self, held: bool = True) -> m.CopyBlock:
        """The oldest copy that was ordered has ended."""
        order = self.copying.pop(0)
        changes = [m.BlockChange("stored", order.rdd, order.partition, "memory", 10)] if held else []
        self.send(m.CopyEnded(order.rdd, order.partition, order.executor, order.epoch, changes))
        return order

    def move(self, moved: bool = True) -> m.MoveOutput:
        """The oldest move of a map output that was ordered has ended."""
        order = self.moving.pop(0)
        output = replace(order.source.output, path="moved") if moved else None
        self.send(m.OutputMoved(order.source, order.executor, order.epoch, output))
        return order

    def end(self, task_id: int, outcome: m.Outcome) -> None:
        launch, _ = self.launched.pop(task_id)
        self.send(m.TaskEnded(task_id, launch.executor, launch.epoch, outcome))

    def run(self, choose: Callable[[list[int]], int] = min) -> None:
        while self.launched:
            self.succeed(choose(sorted(self.launched)))

    def of(self, kind: type[Any]) -> Iterator[Any]:
        return (fact for fact in self.facts if isinstance(fact, kind))


def lineage() -> tuple[Ids, RDDCore, Reduced]:
    ids = Ids()
    source = Source(ids, 3)
    return ids, source, Reduced(Mapped(source), 4)


def cached_in(
    world: World, partitions: int, ids: Ids | None = None, level: StorageLevel = StorageLevel.MEMORY_ONLY
) -> RDDCore:
    """An RDD whose partitions were computed and stored once each."""
    rdd = Mapped(Source(ids or Ids(), partitions))
    rdd.storage_level = level
    world.submit(rdd)
    world.run()
    return rdd


def test_a_job_runs_its_map_stage_before_its_result_stage() -> None:
    world = World()
    _, _, reduced = lineage()
    job = world.submit(reduced)
    world.run()
    assert world.finished == {job: None}
    assert world.ran == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (1, 3)]
    assert world.values[job] == {i: ("value", i) for i in range(4)}


def test_a_second_job_over_the_same_shuffle_skips_the_map_stage() -> None:
    world = World()
    _, _, reduced = lineage()
    world.submit(reduced)
    world.run()
    world.ran.clear()
    world.submit(Mapped(reduced))
    world.run()
    assert {stage for stage, _ in world.ran} == {2}
    second = list(world.of(f.JobStarted))[1]
    assert [s.skipped for s in second.stages] == [True, False]


def test_lost_map_output_reruns_only_that_map_task() -> None:
    world = World(3)
    _, _, reduced = lineage()
    world.submit(reduced)
    for _ in range(3):
        world.succeed(min(world.launched))
    lost = world.scheduler.outputs.shuffles[0].locations[1]
    assert lost is not None
    world.ran.clear()
    world.end(min(world.launched), m.FetchFailed(0, 1, lost.executor, lost.epoch, "gone"))
    world.run()
    assert [p for stage, p in world.ran if stage == 0] == [1]
    assert sorted(p for stage, p in world.ran if stage == 1) == [0, 1, 2, 3]
    assert [(s.map, s.recomputed) for s in world.of(f.MapOutputStored) if s.recomputed] == [(1, True)]


def test_a_stale_fetch_failure_removes_nothing() -> None:
    world = World()
    _, _, reduced = lineage()
    world.submit(reduced)
    for _ in range(3):
        world.succeed(min(world.launched))
    world.end(min(world.launched), m.FetchFailed(0, 1, 0, 99, "of another epoch"))
    assert world.scheduler.outputs.complete(0)
    world.run()
    assert world.finished == {0: None}


def test_what_a_fenced_incarnation_says_late_books_nothing() -> None:
    world = World(1)
    _, _, reduced = lineage()
    job = world.submit(reduced)
    task_id = min(world.launched)
    launch, task = world.launched[task_id]
    world.lose(0)
    world.join(0)
    seen = len(world.facts)
    output = MapOutput(reduced.spec.shuffle_id, task.partition, "file", 5, 1)
    change = m.BlockChange("stored", 7, 0, "memory", 10)
    world.send(m.TaskEnded(task_id, launch.executor, launch.epoch, m.Succeeded(output), changes=[change]))
    world.send(m.BlocksChanged(launch.executor, launch.epoch, [change]))
    assert len(world.facts) == seen
    assert world.scheduler.outputs.shuffles[reduced.spec.shuffle_id].missing() == [0, 1, 2]
    assert not world.scheduler.blocks.is_cached(7, 0)
    world.run()
    assert world.finished == {job: None}


def removals(world: World, *stimuli: Any) -> set[tuple[int, int]]:
    effects = world.scheduler.handle(*stimuli)
    return {(i.executor, i.shuffle) for i in effects.instructions if isinstance(i, m.RemoveShuffle)}


def test_a_damaged_file_of_a_map_output_goes_with_its_shuffle() -> None:
    world = World(2)
    _, _, reduced = lineage()
    shuffle = reduced.spec.shuffle_id
    world.submit(reduced, [0])
    while not world.scheduler.outputs.shuffles[shuffle].complete:
        world.succeed(min(world.launched))
    (reader,) = world.launched
    inputs = world.prepared[max(world.prepared)].inputs[shuffle].locations
    damaged = next(at for at in inputs if at.executor == 1)
    world.end(reader, m.FetchFailed(shuffle, damaged.output.map_index, 1, damaged.epoch, "digest"))
    world.run()
    made_again = world.scheduler.outputs.shuffles[shuffle].locations[damaged.output.map_index]
    assert made_again is not None
    assert made_again.executor == 0
    assert (1, shuffle) in removals(world, m.ShuffleForgotten(shuffle))


def test_what_a_running_task_may_still_cache_of_a_forgotten_rdd_is_removed_too() -> None:
    world = World(2)
    cached = Mapped(Source(Ids(), 2))
    cached.storage_level = StorageLevel.MEMORY_ONLY
    world.submit(cached)
    effects = world.scheduler.handle(m.RddForgotten(cached._id))
    told = {i.executor for i in effects.instructions if isinstance(i, m.RemoveBlocks)}
    assert told == {0, 1}


def test_a_block_that_a_task_keeps_after_its_rdd_was_forgotten_is_removed_and_not_booked() -> None:
    world = World(1)
    cached = Mapped(Source(Ids(), 1))
    cached.storage_level = StorageLevel.MEMORY_ONLY
    world.submit(cached)
    (task_id,) = world.launched
    world.send(m.RddForgotten(cached._id))
    before = len(world.removed)
    kept = [m.BlockChange("stored", cached._id, 0, "memory", 10)]
    world.send(m.TaskEnded(task_id, 0, 0, m.Succeeded(None), changes=kept))
    assert world.removed[before:] == [0]
    assert not world.scheduler.blocks.is_cached(cached._id, 0)
    cached_again = m.BlocksChanged(0, 0, kept)  # it was persisted once more, and computed by a later task
    world.send(cached_again)
    assert world.scheduler.blocks.is_cached(cached._id, 0)


def test_a_block_that_an_older_task_beside_has_kept_of_a_forgotten_rdd_is_removed_and_not_booked() -> None:
    world = World(1)
    cached = Mapped(Source(Ids(), 1))
    cached.storage_level = StorageLevel.MEMORY_ONLY
    world.submit(cached, background=True)
    world.send(m.RddForgotten(cached._id))
    count = world.submit(Source(Ids(), 1))
    (task_id,) = (task for task, (launch, _) in world.launched.items() if launch.job == count)
    before = len(world.removed)
    kept = [m.BlockChange("stored", cached._id, 0, "memory", 10)]
    world.send(m.TaskEnded(task_id, 0, 0, m.Succeeded(None), changes=kept))
    assert world.removed[before:] == [0]
    assert not world.scheduler.blocks.is_cached(cached._id, 0)


def test_a_map_output_that_comes_when_its_shuffle_is_forgotten_is_removed() -> None:
    world = World(1)
    _, _, reduced = lineage()
    shuffle = reduced.spec.shuffle_id
    job = world.submit(reduced)
    task_id = min(world.launched)
    launch, task = world.launched[task_id]
    world.send(m.JobCancelRequested(job, "stop"))
    assert removals(world, m.ShuffleForgotten(shuffle)) == set()
    late = m.TaskEnded(
        task_id, launch.executor, launch.epoch, m.Succeeded(MapOutput(shuffle, task.partition, "", 5, 1))
    )
    assert removals(world, late) == {(0, shuffle)}


def test_an_executor_lost_in_the_result_stage_reruns_its_map_outputs_alone() -> None:
    world = World()
    _, _, reduced = lineage()
    world.submit(reduced)
    for _ in range(3):
        world.succeed(min(world.launched))
    held = [i for i, at in enumerate(world.scheduler.outputs.shuffles[0].locations) if at and at.executor == 1]
    world.ran.clear()
    world.lose(1)
    world.run()
    assert sorted(p for stage, p in world.ran if stage == 0) == held
    assert world.finished == {0: None}


def test_a_cached_rdd_cuts_off_everything_above_it() -> None:
    world = World()
    _, _, reduced = lineage()
    reduced.storage_level = StorageLevel.MEMORY_ONLY
    world.submit(reduced)
    world.run()
    world.scheduler.outputs.shuffles[0].locations[:] = [None] * 3  # nobody needs them any more
    world.ran.clear()
    world.submit(Mapped(reduced))
    world.run()
    assert {stage for stage, _ in world.ran} == {2}


def test_losing_an_executor_recomputes_exactly_its_cached_partitions() -> None:
    world = World()
    ids = Ids()
    cached = cached_in(world, 24, ids)
    on_one = [p for p in range(24) if world.scheduler.blocks.executors(cached._id, p) == (1,)]
    assert len(on_one) == 12, "a cache is filled evenly"
    world.lose(1)
    world.join(1)
    world.submit(cached)
    world.run()
    again = [b.partition for b in world.of(f.BlockStored) if b.recomputed]
    assert sorted(again) == on_one


def test_tasks_run_where_their_cached_block_is() -> None:
    world = World()
    cached = cached_in(world, 8)
    where = {p: world.scheduler.blocks.executors(cached._id, p)[0] for p in range(8)}
    world.submit(Mapped(cached))
    placed = {}
    while world.launched:
        for launch, task in world.launched.values():
            placed[task.partition] = launch.executor
        world.succeed(max(world.launched))
    assert placed == where


def test_a_task_waits_for_the_executor_with_its_block_only_for_the_locality_wait() -> None:
    world = World(limits=Limits(locality_wait_s=3.0))
    cached = cached_in(world, 4)
    for p in range(4):  # all blocks on executor 0
        for e in world.scheduler.blocks.executors(cached._id, p):
            world.scheduler.blocks.remove(cached._id, p, e)
        world.scheduler.blocks.store(cached._id, p, 0, "memory", 1)
    world.submit(Mapped(cached))
    assert {launch.executor for launch, _ in world.launched.values()} == {0}
    world.send(m.Tick(2.9))
    assert {launch.executor for launch, _ in world.launched.values()} == {0}
    world.send(m.Tick(6.0))
    assert {launch.executor for launch, _ in world.launched.values()} == {0, 1}


def cached_and_read_by_zero(world: World) -> tuple[RDDCore, int, int]:
    """A cached RDD, a partition of it on executor 1, and a task on executor 0 that is about to want it."""
    cached = cached_in(world, 4)
    on_one = next(p for p in range(4) if world.scheduler.blocks.executors(cached._id, p) == (1,))
    world.submit(Source(Ids(), 2))
    return cached, on_one, next(task for task, (launch, _) in world.launched.items() if launch.executor == 0)


@pytest.mark.parametrize("answered", [True, False])
@pytest.mark.parametrize("fetch_failed", [True, False])
def test_a_copy_that_was_asked_for_in_vain_is_forgotten(answered: bool, fetch_failed: bool) -> None:
    world = World()
    cached, partition, task = cached_and_read_by_zero(world)
    launch, _ = world.launched.pop(task)
    missing = [m.BlockMissing(cached._id, partition, 1, 0, answered)]
    outcome = m.FetchFailed(-1, 0, -1, -1, "not planned") if fetch_failed else m.Succeeded("value")
    world.send(m.TaskEnded(task, launch.executor, launch.epoch, outcome, missing=missing))
    forgotten = answered or fetch_failed  # a silent executor may be busy: its copies stay known while tasks can do
    assert world.scheduler.blocks.is_cached(cached._id, partition) is not forgotten
    assert [b.reason for b in world.of(f.BlockRemoved)] == ["missing"] * forgotten
    world.send(m.RddForgotten(cached._id))
    assert 1 in world.removed, "what is not known for certain is removed as well"


@pytest.mark.parametrize("stale", ["epoch", "booked since"])
def test_a_stale_word_of_a_missing_copy_removes_nothing(stale: str) -> None:
    world = World()
    cached, partition, task = cached_and_read_by_zero(world)
    launch, _ = world.launched.pop(task)
    if stale == "booked since":
        world.send(m.BlocksChanged(1, 0, [m.BlockChange("stored", cached._id, partition, "memory", 10)]))
    missing = [m.BlockMissing(cached._id, partition, 1, 7 if stale == "epoch" else 0, True)]
    world.send(m.TaskEnded(task, launch.executor, launch.epoch, m.Succeeded("value"), missing=missing))
    assert world.scheduler.blocks.is_cached(cached._id, partition)


def test_a_user_error_fails_the_job_after_the_allowed_tries() -> None:
    world = World(1, Limits(max_task_failures=2))
    job = world.submit(Source(Ids(), 1))
    error = UserCodeError("a", "b", "c")
    world.end(min(world.launched), m.UserError(error, "b"))
    assert job not in world.finished
    world.end(min(world.launched), m.UserError(error, "b"))
    assert world.finished[job] is error
    assert [t.attempt for t in world.of(f.TaskStarted)] == [0, 1]


def test_a_lost_executor_is_not_a_failed_try_but_not_for_ever() -> None:
    world = World(1, Limits(max_task_failures=1, max_executor_losses=3))
    job = world.submit(Source(Ids(), 1))
    for _ in range(2):
        world.lose(0)
        world.join(0)
        assert job not in world.finished
    world.lose(0)
    assert isinstance(world.finished[job], JobFailed)


def test_a_cancelled_job_ends_at_once_and_its_tasks_are_told() -> None:
    world = World()
    job = world.submit(Source(Ids(), 4))
    running = sorted(world.launched)
    world.send(m.JobCancelRequested(job, "by hand"))
    assert isinstance(world.finished[job], JobCancelled)
    assert sorted(world.cancelled) == running
    for task in running:
        world.end(task, m.Cancelled())
    assert not world.scheduler.tasks
    assert not world.launched


def test_without_any_executor_the_job_fails_after_a_stated_time() -> None:
    world = World(1, Limits(no_executor_timeout_s=60))
    world.lose(0)
    job = world.submit(Source(Ids(), 1))
    world.send(m.Tick(1.0))
    world.send(m.Tick(60.0))
    assert job not in world.finished
    world.send(m.Tick(62.0))
    assert isinstance(world.finished[job], ClusterError)


def test_two_jobs_that_need_one_shuffle_make_it_once() -> None:
    world = World(1)
    _, _, reduced = lineage()
    world.submit(reduced)
    world.submit(Mapped(reduced))
    world.run()
    assert sum(stage == 0 for stage, _ in world.ran) == 3
    assert world.finished == {0: None, 1: None}


def test_cancelling_one_of_two_jobs_leaves_the_shuffle_of_the_other_alone() -> None:
    world = World(1)
    _, _, reduced = lineage()
    first = world.submit(reduced)
    second = world.submit(Mapped(reduced))
    world.send(m.JobCancelRequested(first, "by hand"))
    world.run()
    assert isinstance(world.finished[first], JobCancelled)
    assert world.finished[second] is None


def test_fair_pools_take_turns() -> None:
    world = World(2, Limits(fair=True))
    world.submit(Source(Ids(), 8), pool="a")
    world.submit(Source(Ids(), 8), pool="b")
    world.succeed(min(world.launched))
    jobs = {launch.job for launch, _ in world.launched.values()}
    assert jobs == {0, 1}


@pytest.mark.parametrize("fair", [False, True])
def test_what_somebody_waits_for_goes_before_older_jobs_in_the_background(fair: bool) -> None:
    world = World(2, Limits(fair=fair))
    behind = [world.submit(Source(Ids(), 1), background=True) for _ in range(6)]
    assert {launch.job for launch, _ in world.launched.values()} == set(behind[:2])
    count = world.submit(Source(Ids(), 6))
    for _ in range(2):
        world.succeed(min(world.launched))
    assert {launch.job for launch, _ in world.launched.values()} == {count}
    world.run()
    assert world.finished == dict.fromkeys([*behind, count])


@pytest.mark.parametrize("fair", [False, True])
def test_a_job_that_somebody_waits_for_begins_at_once_beside_tasks_of_the_background(fair: bool) -> None:
    world = World(2, Limits(fair=fair))
    behind = world.submit(Source(Ids(), 6), background=True)
    held = set(world.launched)
    assert {launch.background for launch, _ in world.launched.values()} == {True}
    count = world.submit(Source(Ids(), 4))
    mine = {task: launch for task, (launch, _) in world.launched.items() if launch.job == count}
    assert sorted(launch.executor for launch in mine.values()) == [0, 1]
    assert not any(launch.background for launch in mine.values())
    for task in mine:
        world.succeed(task)
    assert {launch.job for task, (launch, _) in world.launched.items() if task not in held} == {count}
    world.succeed(min(held))  # its place stays empty while somebody waits for the others
    assert {launch.job for task, (launch, _) in world.launched.items() if task not in held} == {count}
    world.run()
    assert world.finished == dict.fromkeys([behind, count])


def test_a_job_of_the_background_waits_for_a_slot_as_any_other() -> None:
    world = World(1)
    world.submit(Source(Ids(), 1))
    world.submit(Source(Ids(), 1), background=True)
    world.submit(Source(Ids(), 1), background=True)
    assert len(world.launched) == 1
    world.succeed(0)
    assert len(world.launched) == 1


def test_a_barrier_job_waits_until_its_executors_have_nothing_at_work_in_the_background_either() -> None:
    world = World(1)
    world.submit(Source(Ids(), 1), background=True)
    gang = Mapped(Source(Ids(), 1))
    gang.is_barrier = True
    job = world.submit(gang)
    assert [launch.gang for launch, _ in world.launched.values()] == [None]
    world.run()
    assert world.finished[job] is None


def test_a_stage_that_somebody_waits_for_too_is_not_in_the_background() -> None:
    world = World(1)
    busy = world.submit(Source(Ids(), 1), background=True)
    first = world.submit(Source(Ids(), 2), background=True)
    _, _, reduced = lineage()
    shared = world.submit(reduced, background=True)
    waited_for = world.submit(Mapped(reduced))
    world.succeed(min(world.launched))
    assert world.finished == {busy: None}
    assert {launch.stage for launch, _ in world.launched.values()}.isdisjoint(world.scheduler.jobs[first].stages)
    world.run()
    assert world.finished == dict.fromkeys([busy, first, shared, waited_for])


def test_fifo_serves_the_first_job_first() -> None:
    world = World(2)
    world.submit(Source(Ids(), 8))
    world.submit(Source(Ids(), 8))
    world.succeed(min(world.launched))
    assert {launch.job for launch, _ in world.launched.values()} == {0}


def test_tiny_tasks_are_sent_several_at_a_time() -> None:
    world = World(2)
    world.submit(Source(Ids(), 1000))
    task = min(world.launched)
    launch, _ = world.launched.pop(task)
    world.send(m.TaskEnded(task, launch.executor, launch.epoch, m.Succeeded(None), duration_s=0.0001))
    assert len(world.launched) > 32


def test_the_first_tasks_over_cached_partitions_go_several_to_the_executors_that_hold_them() -> None:
    world = World(2)
    cached = cached_in(world, 24)
    world.submit(Mapped(cached))
    holders = {task.partition: launch.executor for launch, task in world.launched.values()}
    assert len(holders) == 16, "eight to each; the others wait until it is known how long these take"
    assert all(executor in world.scheduler.blocks.executors(cached._id, p) for p, executor in holders.items())


def test_short_tasks_over_cached_partitions_go_to_their_holders_in_one_message_each() -> None:
    world = World(2)
    cached = cached_in(world, 16)
    world.submit(Mapped(cached))
    assert len(world.launched) == 16
    assert batch_size(0.02, 16, 2, at_home=True) == 8, "0.16 s of work; none of it would go elsewhere"
    assert batch_size(0.02, 16, 2) == 2, "what can go anywhere is kept for whoever is free"
    assert batch_size(0.15, 16, 2, at_home=True) == 1


def test_what_is_computed_again_is_shared_out_though_reading_the_rest_takes_next_to_nothing() -> None:
    world = World(2)
    cached = cached_in(world, 24)
    world.lose(1)
    world.join(1)
    world.submit(Mapped(cached))

    def end(duration_s: float, executor: int) -> None:
        task = min(task for task, (launch, _) in world.launched.items() if launch.executor == executor)
        launch, _ = world.launched.pop(task)
        world.send(m.TaskEnded(task, launch.executor, launch.epoch, m.Succeeded(None), duration_s=duration_s))

    for _ in range(12):
        end(0.0004, 0)  # from the cache
    again = Counter(launch.executor for launch, _ in world.launched.values())
    assert again[0] == 1, "it has read what it holds and takes its share of the rest"
    assert again[1] <= 2, "nobody knows yet how long these take"
    while world.launched:
        end(0.3, min(launch.executor for launch, _ in world.launched.values()))


def test_the_first_tasks_go_one_by_one_where_some_partition_has_to_be_computed_again() -> None:
    world = World(2)
    cached = cached_in(world, 24)
    (holder,) = world.scheduler.blocks.executors(cached._id, 0)
    lost = [m.BlockChange("removed", cached._id, 0, "", 0, "evicted")]
    world.send(m.BlocksChanged(holder, world.epochs[holder], lost))
    world.submit(Mapped(cached))
    assert len(world.launched) == 2


def test_a_union_needs_only_the_shuffle_of_the_partitions_asked_for() -> None:
    world = World()
    ids = Ids()
    plain, reduced = Source(ids, 2), Reduced(Source(ids, 3), 4)
    world.submit(Joined(plain, reduced), [0, 1])
    world.run()
    assert {stage for stage, _ in world.ran} == {1}, "the shuffle's map stage 0 was not needed"


def test_a_lineage_of_ten_thousand_steps_is_no_recursion() -> None:
    world = World()
    rdd: RDDCore = Source(Ids(), 3)
    for step in range(10_000):
        rdd = Reduced(rdd, 3) if step % 1000 == 999 else Mapped(rdd)
    job = world.submit(rdd)
    world.run()
    assert world.finished == {job: None}


@pytest.mark.parametrize("seed", range(40))
def test_random_losses_never_hang_a_job_nor_change_what_it_delivers(seed: int) -> None:
    chance = random.Random(seed)
    world = World(3, Limits(max_executor_losses=10_000, max_stage_attempts=10_000))
    ids = Ids()
    first = Reduced(Mapped(Source(ids, 3)), 3)
    if chance.random() < 0.5:
        first.storage_level = StorageLevel.MEMORY_ONLY
    second = Reduced(Mapped(first), 5)
    jobs = [world.submit(second), world.submit(Mapped(first))]
    for _ in range(2_000):
        if not world.launched:
            break
        roll = chance.random()
        if roll < 0.1 and len(world.scheduler.executors) > 1:
            number = chance.choice(sorted(world.scheduler.executors))
            world.lose(number)
            world.join(number)
        elif roll < 0.2:
            task = chance.choice(sorted(world.launched))
            launch, _ = world.launched[task]
            inputs = world.prepared[launch.stage].inputs
            if inputs:
                at = chance.choice(chance.choice(list(inputs.values())).locations)
                world.end(task, m.FetchFailed(at.output.shuffle_id, at.output.map_index, at.executor, at.epoch, "x"))
        else:
            world.succeed(chance.choice(sorted(world.launched)))
    world.run()
    assert world.finished == {job: None for job in jobs}
    assert [len(world.values[job]) for job in jobs] == [5, 3]
    assert not world.scheduler.runs
    assert not world.scheduler.tasks


def updates_applied(instructions: list[Any]) -> list[bytes]:
    return [each.updates for each in instructions if isinstance(each, m.ApplyUpdates)]


def test_updates_of_a_map_output_count_when_it_is_there_for_the_first_time() -> None:
    ids = Ids()
    reduced = Reduced(Source(ids, 1), 1)
    scheduler = Scheduler()
    seen: list[Any] = []

    def feed(*stimuli: m.Stimulus) -> list[m.Launch]:
        effects = scheduler.handle(*stimuli)
        scheduler.validate()
        seen.extend(updates_applied(effects.instructions))
        return [each for each in effects.instructions if isinstance(each, m.Launch)]

    def map_done(launch: m.Launch, updates: bytes) -> m.TaskEnded:
        output = MapOutput(reduced.spec.shuffle_id, 0, "", 1, 1)
        return m.TaskEnded(launch.tasks[0].task, launch.executor, launch.epoch, m.Succeeded(output, updates))

    feed(m.ExecutorJoined(0, 0, "", "", 0, 1, 0, 0))
    (first,) = feed(m.JobSubmitted(0, reduced, [0], "count", ""))
    feed(map_done(first, b"once"))
    feed(m.ExecutorGone(0, 0, "killed"))
    (again,) = feed(m.ExecutorJoined(0, 1, "", "", 0, 1, 0, 0))
    assert again.stage == first.stage
    (reduce,) = feed(map_done(again, b"again"))
    feed(m.TaskEnded(reduce.tasks[0].task, 0, 1, m.Succeeded("value", b"result")))
    assert seen == [b"once", b"result"]
    assert not scheduler.jobs
