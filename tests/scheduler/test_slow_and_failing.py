"""Slow tasks get a second attempt, failing executors get no more tasks, and every retry has an end."""

from __future__ import annotations

import pytest

from sparklab.errors import JobFailed, UserCodeError
from sparklab.events import facts as f
from sparklab.rdd.core import RDDCore
from sparklab.scheduler import messages as m
from sparklab.scheduler.rollback import is_indeterminate
from sparklab.scheduler.state import ExclusionLimits, Limits, SpeculationLimits
from sparklab.shuffle.spec import MapLocation, MapOutput
from tests.scheduler.test_machine import Ids, Mapped, Reduced, Source, World, lineage, removals

SPECULATING = Limits(speculation=SpeculationLimits(interval_s=0.1, multiplier=2.0, quantile=0.5, least_s=0.1))


def running(world: World) -> dict[int, int]:
    """Task -> executor, of those that were launched and have not answered."""
    return {task: launch.executor for task, (launch, _) in world.launched.items()}


def tick(world: World, now_s: float) -> None:
    world.send(m.Tick(now_s))


def one_slow_task(world: World, partitions: int = 4) -> tuple[int, int]:
    """A job of which all tasks but one have succeeded; the job, and the task that runs on."""
    job = world.submit(Mapped(Source(Ids(), partitions)))
    slow = min(world.launched)
    while set(world.launched) != {slow}:
        world.succeed(max(world.launched))
    return job, slow


def test_a_slow_task_gets_a_second_attempt_on_another_executor_and_the_first_result_wins() -> None:
    world = World(2, SPECULATING)
    job, slow = one_slow_task(world)
    tick(world, 0.15)
    assert set(world.launched) == {slow}, "0.15 s is not yet twice the median of 0.1 s"
    tick(world, 0.3)
    (second,) = set(world.launched) - {slow}
    assert running(world)[second] != running(world)[slow]
    assert [fact.speculative for fact in world.of(f.TaskStarted)][-1]

    world.succeed(second)

    assert world.finished == {job: None}
    assert world.cancelled == [slow]
    world.end(slow, m.Cancelled())
    assert not world.scheduler.tasks


def test_the_loser_that_ends_well_all_the_same_counts_for_nothing() -> None:
    world = World(2, SPECULATING)
    job = world.submit(Reduced(Source(Ids(), 3), 1))
    slow = min(world.launched)
    while set(world.launched) != {slow}:
        world.succeed(max(world.launched))
    tick(world, 0.5)
    (second,) = set(world.launched) - {slow}
    launch, task = world.launched[slow]
    shuffle = world.prepared[launch.stage].writes
    assert shuffle is not None
    world.succeed(second)
    output = MapOutput(shuffle.shuffle_id, task.partition, "file", 5, 1)

    effects = world.scheduler.handle(
        m.TaskEnded(slow, launch.executor, launch.epoch, m.Succeeded(output, b"added"), duration_s=9.0)
    )

    assert not [i for i in effects.instructions if isinstance(i, m.ApplyUpdates)]
    (ended,) = [fact for fact in effects.facts if isinstance(fact, f.TaskEnded)]
    assert (ended.status, ended.recovers) == ("cancelled", "")
    assert not [fact for fact in effects.facts if isinstance(fact, f.MapOutputStored)]
    del world.launched[slow]
    world.run()
    assert world.finished == {job: None}
    # Its file is nobody's, and goes with the shuffle all the same.
    assert removals(world, m.ShuffleForgotten(shuffle.shuffle_id)) == {(0, 0), (1, 0)}


def test_the_loser_that_fails_fails_nothing() -> None:
    world = World(2, SPECULATING)
    job = world.submit(Reduced(Source(Ids(), 3), 1))
    slow = min(world.launched)
    while set(world.launched) != {slow}:
        world.succeed(max(world.launched))
    tick(world, 0.5)
    (second,) = set(world.launched) - {slow}
    world.succeed(second)
    world.end(slow, m.UserError(ValueError("late"), "late"))
    world.run()
    assert world.finished == {job: None}


def test_a_second_attempt_is_made_once_and_again_only_when_one_was_lost() -> None:
    world = World(3, SPECULATING)
    _, slow = one_slow_task(world)
    tick(world, 1.0)
    tick(world, 2.0)
    (second,) = set(world.launched) - {slow}
    world.lose(running(world)[second])
    tick(world, 3.0)
    assert len(world.launched) == 2


def test_without_speculation_nobody_is_slow() -> None:
    world = World(2)
    _, slow = one_slow_task(world)
    tick(world, 1000.0)
    assert set(world.launched) == {slow}


def test_nobody_is_slow_before_most_of_the_stage_is_done() -> None:
    world = World(2, SPECULATING)
    world.submit(Mapped(Source(Ids(), 8)))
    before = set(world.launched)
    world.succeed(max(before))
    tick(world, 50.0)
    partitions = [task.partition for _, task in world.launched.values()]
    assert len(partitions) == len(set(partitions))


# --- exclusion ----------------------------------------------------------------------------------------------

EXCLUDING = Limits(max_task_failures=10, exclusion=ExclusionLimits(timeout_s=100.0))


def fail(world: World, task: int) -> None:
    world.end(task, m.UserError(UserCodeError("a", "b", "c"), "b"))


def test_a_partition_is_not_tried_again_where_it_failed() -> None:
    world = World(2, EXCLUDING)
    job = world.submit(Mapped(Source(Ids(), 1)))
    (first,) = world.launched
    failed_on = running(world)[first]
    fail(world, first)
    (second,) = world.launched
    assert running(world)[second] == 1 - failed_on
    world.run()
    assert world.finished == {job: None}


def test_an_executor_on_which_two_partitions_failed_gets_no_more_of_the_stage() -> None:
    world = World(2, EXCLUDING)
    job = world.submit(Mapped(Source(Ids(), 8)))
    for _ in range(2):
        fail(world, next(task for task, executor in running(world).items() if executor == 0))
    (excluded,) = world.of(f.ExecutorExcluded)
    assert (excluded.executor, excluded.failures) == (0, 2)
    while world.launched:
        assert set(running(world).values()) == {1}
        world.succeed(min(world.launched))
    assert world.finished == {job: None}


def test_failures_in_stages_that_succeeded_elsewhere_exclude_from_all_stages_for_a_time() -> None:
    world = World(2, EXCLUDING)
    world.submit(Mapped(Source(Ids(), 8)))
    for _ in range(2):
        fail(world, next(task for task, executor in running(world).items() if executor == 0))
    world.run()
    assert [fact.stage for fact in world.of(f.ExecutorExcluded)][-1] == -1

    world.submit(Mapped(Source(Ids(), 4)))
    assert set(running(world).values()) == {1}
    tick(world, 200.0)
    assert [fact.executor for fact in world.of(f.ExecutorReadmitted)] == [0]
    world.succeed(min(world.launched))
    assert 0 in running(world).values()


def on_hosts(hosts: str, limits: ExclusionLimits) -> World:
    """Executors numbered from 0, on the hosts of that name."""
    world = World(0, Limits(max_task_failures=10, exclusion=limits))
    for number, host in enumerate(hosts):
        world.epochs[number] = 0
        world.send(m.ExecutorJoined(number, 0, f"a{number}", host, 1, 1, 1, 1))
    return world


def fail_on(world: World, executor: int) -> None:
    fail(world, next(task for task, at in running(world).items() if at == executor))


@pytest.mark.parametrize("hosts", ["aaabb", "aaaaa"])
def test_a_node_of_which_enough_executors_are_excluded_gets_no_more_of_the_stage(hosts: str) -> None:
    world = on_hosts(hosts, ExclusionLimits(stage_tasks_per_executor=1, app_tasks_per_executor=100))
    job = world.submit(Mapped(Source(Ids(), 20)))
    fail_on(world, 0)
    fail_on(world, 1)
    told = [(fact.executor, fact.failures) for fact in world.of(f.ExecutorExcluded)]
    alone = hosts == "aaaaa"  # there is nowhere else to go
    assert told == [(0, 1), (1, 1)] + ([] if alone else [(2, 0)])
    world.succeed(next(task for task, at in running(world).items() if at == 2))
    assert (2 in running(world).values()) == alone
    world.run()
    assert world.finished == {job: None}


def test_a_node_of_which_enough_executors_are_excluded_for_the_application_is_for_its_time() -> None:
    limits = ExclusionLimits(stage_tasks_per_executor=100, app_tasks_per_executor=1, timeout_s=100.0)
    world = on_hosts("aaabb", limits)
    world.submit(Mapped(Source(Ids(), 20)))
    fail_on(world, 0)
    fail_on(world, 1)
    world.run()
    assert sorted(fact.executor for fact in world.of(f.ExecutorExcluded) if fact.stage == -1) == [0, 1, 2]
    world.submit(Mapped(Source(Ids(), 20)))
    assert set(running(world).values()) == {3, 4}
    tick(world, 200.0)
    assert sorted(fact.executor for fact in world.of(f.ExecutorReadmitted)) == [0, 1, 2]


def test_a_partition_is_tried_on_a_node_so_often_and_then_elsewhere() -> None:
    world = on_hosts("aaab", ExclusionLimits(stage_tasks_per_executor=100, attempts_per_node=2))
    job = world.submit(Mapped(Source(Ids(), 1)))
    tried = []
    while job not in world.finished and len(tried) < 9:
        ((task, executor),) = running(world).items()
        tried.append(executor)
        if executor == 3:
            world.succeed(task)
        else:
            fail(world, task)
    assert tried[-1] == 3
    assert len(tried) <= 3
    assert world.finished == {job: None}


def test_a_replaced_executor_begins_with_a_clean_slate() -> None:
    world = World(2, EXCLUDING)
    world.submit(Mapped(Source(Ids(), 8)))
    for _ in range(2):
        fail(world, next(task for task, executor in running(world).items() if executor == 0))
    world.lose(0)
    world.join(0)
    assert 0 in running(world).values()


def test_a_partition_that_may_be_tried_nowhere_fails_its_job_and_says_so() -> None:
    world = World(2, EXCLUDING)
    job = world.submit(Mapped(Source(Ids(), 1)))
    fail(world, min(world.launched))
    fail(world, min(world.launched))
    error = world.finished[job]
    assert isinstance(error, JobFailed)
    assert "excluded" in error.found


def test_without_exclusion_a_partition_may_fail_where_it_failed_before() -> None:
    world = World(1, Limits(max_task_failures=3))
    job = world.submit(Mapped(Source(Ids(), 1)))
    fail(world, min(world.launched))
    fail(world, min(world.launched))
    world.run()
    assert world.finished == {job: None}
    assert not list(world.of(f.ExecutorExcluded))


# --- bounds -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 4])
def test_a_stage_whose_attempts_all_end_in_lost_outputs_fails_after_so_many(limit: int) -> None:
    world = World(2, Limits(max_stage_attempts=limit))
    _, _, reduced = lineage()
    job = world.submit(reduced)
    attempts = 0
    while job not in world.finished:
        launch, _ = world.launched[min(world.launched)]
        inputs = world.prepared[launch.stage].inputs
        if not inputs:
            world.succeed(min(world.launched))
            continue
        attempts += 1
        at = inputs[reduced.spec.shuffle_id].locations[0]
        world.end(min(world.launched), m.FetchFailed(reduced.spec.shuffle_id, 0, at.executor, at.epoch, "gone"))
        # The others of the attempt meet the same hole: that is no further attempt.
        for other in [t for t, (one, _) in world.launched.items() if one.stage == launch.stage]:
            world.end(other, m.FetchFailed(reduced.spec.shuffle_id, 0, at.executor, at.epoch, "gone"))
    assert attempts == limit
    assert isinstance(world.finished[job], JobFailed)


def maps_done(world: World, rdd: RDDCore) -> int:
    """A job whose map tasks have all succeeded."""
    job = world.submit(rdd)
    while not world.prepared[world.launched[min(world.launched)][0].stage].inputs:
        world.succeed(min(world.launched))
    return job


@pytest.mark.parametrize("limit", [1, 4])
def test_files_that_go_with_their_executor_cost_one_attempt_however_many_they_are(limit: int) -> None:
    world = World(2, Limits(max_stage_attempts=limit))
    ids = Ids()
    first, second = Reduced(Source(ids, 12), 2), Reduced(Source(ids, 3), 2)
    maps_done(world, second)
    world.run()
    job = maps_done(world, first)
    held = [
        (shuffle, each)
        for shuffle, outputs in world.scheduler.outputs.shuffles.items()
        for each in outputs.locations
        if each is not None and each.executor == 1
    ]
    assert {shuffle for shuffle, _ in held} == {0, 1}
    world.facts.clear()
    world.ran.clear()
    reader = next(t for t, (launch, _) in world.launched.items() if launch.executor == 0)
    missed = next(each for shuffle, each in held if shuffle == 0)
    world.end(reader, m.FetchFailed(0, missed.output.map_index, 1, missed.epoch, "its file", all_lost=True))
    # Whatever was sent to the executor is answered by its loss, of which the scheduler has not heard yet.
    assert {(x.shuffle, x.map) for x in world.of(f.MapOutputLost)} == {(s, e.output.map_index) for s, e in held}
    world.lose(1)
    world.join(1)
    world.run()
    assert world.finished[job] is None
    of_first = [p for stage, p in world.ran if world.prepared[stage].writes is first.spec]
    assert sorted(of_first) == [e.output.map_index for s, e in held if s == 0], "each once, and none of the other's"
    assert not [p for stage, p in world.ran if world.prepared[stage].writes is second.spec]


def place(at: MapLocation) -> tuple[int, int, int, int]:
    return at.output.shuffle_id, at.output.map_index, at.executor, at.epoch


@pytest.mark.parametrize("limit", [1, 4])
def test_files_that_go_together_while_their_executors_live_cost_one_attempt(limit: int) -> None:
    world = World(2, Limits(max_stage_attempts=limit))
    reduced = Reduced(Source(Ids(), 12), 2)
    job = maps_done(world, reduced)
    gone = [place(at) for at in world.scheduler.outputs.shuffles[0].locations if at is not None and at.output.map_index]
    assert {executor for _, _, executor, _ in gone} == {0, 1}
    world.facts.clear()
    world.ran.clear()
    first, second = world.launched
    world.end(first, m.FetchFailed(*gone[0], "its file", beside=tuple(gone[1:])))
    assert {(x.map, x.executor) for x in world.of(f.MapOutputLost)} == {(each[1], each[2]) for each in gone}
    # The other reader looked as well, and is heard of when the files are there again.
    launched = world.launched.pop(second)
    while not world.prepared[world.launched[min(world.launched)][0].stage].inputs:
        world.succeed(min(world.launched))
    world.launched[second] = launched
    world.end(second, m.FetchFailed(*gone[0], "its file", beside=tuple(gone[1:])))
    assert world.scheduler.outputs.complete(0), "what was made after it was sent, it says nothing about"
    world.run()
    assert world.finished[job] is None
    assert sorted(p for stage, p in world.ran if world.prepared[stage].writes is reduced.spec) == list(range(1, 12))


def test_outputs_lost_together_on_one_host_after_the_other_count_as_executors_lost() -> None:
    world = World(3, Limits(max_stage_attempts=2))
    job = maps_done(world, Reduced(Source(Ids(), 12), 1))
    for host in range(3):
        reader = max(world.launched)
        inputs = world.prepared[world.launched[reader][0].stage].inputs[0]
        one, *others = [place(at) for at in inputs.locations if at.executor == host]
        assert others
        world.end(reader, m.FetchFailed(*one, "its file", beside=tuple(others)))
        while not world.prepared[world.launched[min(world.launched)][0].stage].inputs:
            world.succeed(min(world.launched))
    world.run()
    assert world.finished[job] is None


def test_another_stage_that_reads_what_is_lost_does_not_find_out_by_failing() -> None:
    world = World(2)
    ids = Ids()
    reduced = Reduced(Source(ids, 3), 2)
    jobs = [maps_done(world, reduced), world.submit(Mapped(reduced))]
    reader, held = next((t, launch) for t, (launch, _) in world.launched.items() if launch.executor == 0)
    at = next(each for each in world.scheduler.outputs.shuffles[0].locations if each and each.executor == 1)
    world.end(reader, m.FetchFailed(0, at.output.map_index, 1, at.epoch, "its file", all_lost=True))
    others = [run for run in world.scheduler.runs.values() if run.stage.reads and run.stage.id != held.stage]
    assert [run.waiting_for for run in others] == [{0}]
    world.run()
    assert world.finished == {job: None for job in jobs}


def test_executors_lost_one_after_the_other_do_not_use_up_a_stages_attempts_but_without_end_they_do() -> None:
    world = World(3, Limits(max_stage_attempts=2))
    _, _, reduced = lineage()
    job = maps_done(world, reduced)
    rounds = 0
    while job not in world.finished:
        if not world.prepared[world.launched[min(world.launched)][0].stage].inputs:
            world.succeed(min(world.launched))
            continue
        task, at = next(
            (task, each)
            for task, (launch, _) in sorted(world.launched.items())
            for each in world.prepared[launch.stage].inputs[0].locations
            if each.executor != launch.executor
        )
        rounds += 1
        if rounds % 2:  # the loss is known first, or the missing files
            launched = world.launched.pop(task)
            world.lose(at.executor)
            world.join(at.executor)
            world.launched[task] = launched
            world.end(task, m.FetchFailed(0, at.output.map_index, at.executor, at.epoch, "gone"))
        else:
            world.end(task, m.FetchFailed(0, at.output.map_index, at.executor, at.epoch, "gone", all_lost=True))
            world.lose(at.executor)
            world.join(at.executor)
    assert 2 * 3 <= rounds <= 2 * 2 * 3, "twice for each executor; tasks of one attempt count once"
    assert isinstance(world.finished[job], JobFailed)


def test_the_loser_that_ends_well_while_its_stage_goes_on_counts_for_nothing() -> None:
    world = World(3, SPECULATING)
    job = world.submit(Mapped(Source(Ids(), 6)))
    slow, other = sorted(world.launched)[:2]
    while set(world.launched) != {slow, other}:
        world.succeed(max(world.launched))
    tick(world, 1.0)
    second = max(t for t in world.launched if world.launched[t][1].partition == world.launched[slow][1].partition)
    assert second != slow
    world.succeed(second)
    assert world.cancelled == [slow]
    world.succeed(slow)
    assert [e.status for e in world.of(f.TaskEnded) if e.task == slow] == ["cancelled"]
    world.run()
    assert world.finished == {job: None}


def test_a_second_attempt_goes_elsewhere_although_there_is_room_where_the_first_one_is() -> None:
    world = World(0, SPECULATING)
    world.send(m.ExecutorJoined(0, 0, "a", "h", 1, 4, 1, 1))
    _, slow = one_slow_task(world)
    tick(world, 1.0)
    assert set(world.launched) == {slow}, "the only executor has it already"
    world.send(m.ExecutorJoined(1, 0, "b", "h", 1, 1, 1, 1))
    assert sorted(running(world).values()) == [0, 1]


# --- what is not the same when computed again ---------------------------------------------------------------


def two_shuffles(indeterminate: bool) -> tuple[World, int, Reduced, Reduced]:
    """A job in its second map stage, two of whose tasks are done: first is read by second, second by the result."""
    world = World(2)
    source = Mapped(Source(Ids(), 3))
    source._indeterminate = indeterminate
    first = Reduced(source, 3)
    second = Reduced(Mapped(first), 2)
    job = world.submit(second)
    while len(world.ran) < 5:
        world.succeed(min(world.launched))
    return world, job, first, second


@pytest.mark.parametrize("indeterminate", [False, True])
def test_a_lost_map_output_that_comes_back_otherwise_undoes_all_that_read_its_shuffle(indeterminate: bool) -> None:
    world, job, first, second = two_shuffles(indeterminate)
    held = [
        at is not None and at.executor == 0 for at in world.scheduler.outputs.shuffles[first.spec.shuffle_id].locations
    ]
    before = len(world.ran)
    world.lose(0)
    world.join(0)
    world.run()
    assert world.finished == {job: None}
    of_first = sum(world.prepared[stage].writes is first.spec for stage, _ in world.ran[before:])
    of_second = sum(world.prepared[stage].writes is second.spec for stage, _ in world.ran[before:])
    assert of_first == (3 if indeterminate else sum(held))
    assert (of_second == 3) == indeterminate


def test_a_loss_undoes_what_was_made_from_it_through_several_shuffles_and_their_bounds() -> None:
    world = World(2)
    source = Mapped(Source(Ids(), 3))
    source._indeterminate = True
    first = Reduced(source, 3)
    second = Reduced(Mapped(first), 3)
    third = Reduced(Mapped(second), 2)
    job = maps_done(world, third)
    world.run()
    outputs = world.scheduler.outputs.shuffles
    outputs[second.spec.shuffle_id].bounds = [1]
    world.scheduler.outputs.remove(first.spec.shuffle_id, 0, *_place(outputs[first.spec.shuffle_id].locations[0]))
    world.scheduler._rollback.outputs_lost([first.spec.shuffle_id])
    assert [outputs[each.spec.shuffle_id].missing() for each in (first, second, third)] == [[0, 1, 2]] * 3
    assert outputs[second.spec.shuffle_id].bounds is None
    world.ran.clear()
    world.submit(third)
    world.run()
    assert [sum(world.prepared[s].writes is each.spec for s, _ in world.ran) for each in (first, second, third)] == [
        3
    ] * 3
    assert world.finished[job] is None


def _place(at: MapLocation | None) -> tuple[int, int]:
    assert at is not None
    return at.executor, at.epoch


def test_what_a_task_made_of_records_that_do_not_stand_any_more_counts_for_nothing() -> None:
    world, job, _, second = two_shuffles(True)
    (late,) = world.launched
    launch, task = world.launched.pop(late)
    world.send(m.ExecutorGone(1 - launch.executor, 0, "killed"))
    assert late in world.cancelled
    output = MapOutput(second.spec.shuffle_id, task.partition, "old", 5, 1)
    world.send(m.TaskEnded(late, launch.executor, launch.epoch, m.Succeeded(output)))
    assert world.scheduler.outputs.shuffles[second.spec.shuffle_id].locations[task.partition] is None
    world.run()
    assert world.finished == {job: None}


def test_a_checkpoint_ends_the_question_whether_an_rdd_comes_back_alike() -> None:
    source = Mapped(Source(Ids(), 3))
    source._indeterminate = True
    reduced = Reduced(source, 3)
    assert is_indeterminate(reduced)
    source._restored = object()  # type: ignore[assignment]
    assert not is_indeterminate(reduced)
