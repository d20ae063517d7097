"""The fold: right on whole stories, total on pieces of them, and of bounded size."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparklab.events import facts as f
from sparklab.events import states
from sparklab.events.run import headline, run_of
from sparklab.events.views import KEPT_JOBS, KEPT_NOTES, KEPT_TURNS, Views
from sparklab.events.work import KEPT_SLOWEST, KEPT_TASKS
from tests.jupyter import sample_facts
from tests.jupyter.sample_facts import MIB, SCOPE, Story, node

STORIES = {
    name: getattr(sample_facts, name)
    for name in (
        "word_count", "killed_executor", "three_partitions", "failed", "cancelled", "skipped_stages",
        "lost_map_outputs", "plain_cell", "page_rank", "hostile_names",
    )
}  # fmt: skip


def folded(records: Iterable[f.Record]) -> Views:
    views = Views()
    for record in records:
        views.fold(record)
    return views


def check(views: Views) -> None:
    """The invariants that :class:`Views` states."""
    for number, executor in views.executors.items():
        held = [
            holders[number]
            for cached in views.cache.values()
            for holders in cached.blocks.values()
            if number in holders
        ]
        assert executor.cached_partitions == len(held)
        assert executor.cache_used_bytes == sum(size for tier, size in held if tier == "memory")
        assert executor.disk_used_bytes == sum(size for tier, size in held if tier != "memory")
        assert executor.running >= 0
    for shuffle in views.shuffles.values():
        assert shuffle.bytes == sum(size for _, size in shuffle.outputs.values())
        assert not shuffle.lost.keys() & shuffle.outputs.keys()
    for cached in views.cache.values():
        assert all(cached.blocks.values())
        assert not (cached.lost.keys() | cached.evicted) & cached.blocks.keys()
        assert not cached.lost.keys() & cached.evicted
        json.dumps(cached.states())
    for stage in views.stages.values():
        assert stage.running >= 0
        json.dumps(stage.states.decode("ascii"))
    for job in views.jobs.values():
        assert 0 <= job.tasks_done <= job.task_count <= job.tasks_total
        assert job.tasks_running >= 0
    for scope in views.scopes.values():
        assert set(scope.jobs) <= views.jobs.keys()
        run_of(views, scope=scope.scope)
    headline(views, list(views.jobs.values()))


@pytest.mark.parametrize("name", STORIES)
def test_every_prefix_of_a_story_folds(name: str) -> None:
    views = Views()
    for record in STORIES[name]():
        views.fold(record)
        check(views)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(STORIES)), st.randoms(use_true_random=False), st.floats(0, 1))
def test_a_story_with_gaps_told_in_any_order_folds(name: str, random: Any, kept: float) -> None:
    records = [record for record in STORIES[name]() if random.random() < kept]
    random.shuffle(records)
    check(folded(records))


SMALL = st.sampled_from([-1, 0, 1, 2, 3, 10**12])
NODES = st.sampled_from([f.RddNode(i, "a", "map", "x:1", n, "") for i, n in ((0, 3), (1, 0), (2, -4), (3, 10**12))])
STAGES = st.builds(
    f.StageNode, SMALL, st.just("map"), SMALL, SMALL, st.lists(SMALL, max_size=2).map(tuple), st.just(()), st.booleans()
)
WORDS = st.sampled_from(["", "memory", "disk", "succeeded", "failed", "lost", "evicted", "unpersisted", "shuffle"])


def any_of(kind: type[Any]) -> st.SearchStrategy[Any]:
    by_hint: dict[str, st.SearchStrategy[Any]] = {
        "int": SMALL,
        "float": st.floats(0, 5),
        "str": WORDS,
        "bool": st.booleans(),
        "tuple[int, ...]": st.lists(SMALL, max_size=3).map(tuple),
        "tuple[str, ...]": st.lists(WORDS, max_size=3).map(tuple),
        "tuple[RddNode, ...]": st.lists(NODES, max_size=2).map(tuple),
        "tuple[RddEdge, ...]": st.just(()),
        "tuple[StageNode, ...]": st.lists(STAGES, max_size=2).map(tuple),
    }
    fields = {name: by_hint[hint] for name, hint in kind.__annotations__.items()}
    if "bytes" in fields:
        fields["bytes"] = st.integers(0, 100)
    return st.builds(kind, **fields)


SIZED = [kind for kind in f.KINDS.values() if kind not in (f.JobStarted, f.RddPersisted)]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(*(any_of(kind) for kind in SIZED)), max_size=40))
def test_facts_about_the_unknown_and_the_impossible_fold(facts: list[f.Fact]) -> None:
    known = [
        f.ScopeOpened("", "In [1]", ""),
        f.RddPersisted(0, "a", "x:1", "MEMORY_ONLY", 3),
        f.JobStarted(0, "", "count", "x:1", 0, "", (f.RddNode(0, "a", "map", "x:1", 3, ""),), (),
                     (f.StageNode(0, "map", 0, 3, (0,), (), False), f.StageNode(1, "result", -1, 2, (9,), (0,), True))),
    ]  # fmt: skip
    check(folded(f.Record(i, i / 10, fact) for i, fact in enumerate([*known, *facts], 1)))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.one_of(any_of(f.JobStarted), any_of(f.JobEnded), any_of(f.StageStarted)), max_size=6))
def test_impossible_plans_fold(facts: list[f.Fact]) -> None:
    views = folded(f.Record(i, i / 10, fact) for i, fact in enumerate(facts, 1))
    assert all(len(stage.states) <= 1_000_000 for stage in views.stages.values())


def test_a_partition_goes_from_waiting_through_running_to_done() -> None:
    stage = folded(sample_facts.three_partitions()).stages[1]
    assert stage.states == b"ddr"
    assert (stage.done, stage.planned, stage.running) == (2, 3, 1)
    assert stage.executors == {0: 0, 1: 1, 2: 0}


def test_a_failing_partition_is_failed_and_what_the_job_leaves_undone_waits() -> None:
    views = folded(sample_facts.failed())
    assert views.stages[1].states.decode() == "d" * 9 + "f" + "w" * 14
    assert views.jobs[1].retries == 3
    assert views.jobs[1].failed_stage == 1


def test_partitions_that_a_job_does_not_ask_for_are_skipped() -> None:
    story = Story()
    lineage = (node(1, "parallelize", "In [1]:1", 6),)
    stages = (f.StageNode(1, "result", -1, 2, (1,), (), False, "parallelize"),)
    story.add(f.JobStarted(1, SCOPE, "take", "In [1]:1", 1, "default", lineage, (), stages))
    story.start(1, 1, (0, 1)).run(1, (0,))
    assert folded(story.records).stages[1].states == b"dwssss"


def test_a_lost_map_output_is_lost_until_it_is_recomputed() -> None:
    views = folded(sample_facts.lost_map_outputs())
    lost = [i for i in range(24) if i % 2]
    stage, shuffle = views.stages[1], views.shuffles[2]
    assert [stage.state(i) for i in lost] == ["a"] * 5 + ["r"] + ["w"] * 6
    assert shuffle.lost == dict.fromkeys(lost[5:], "with executor 1")
    assert shuffle.recomputed == set(lost[:5])
    assert all(stage.state(i) == states.DONE for i in range(0, 24, 2))


def test_the_cache_tells_tiers_copies_and_losses() -> None:
    views = folded(sample_facts.word_count())
    assert views.cache[90].states() == "mmkmmmk" + "m" * 17
    assert views.cache[91].states()[7] == "w", "evicted is not lost"
    assert (views.cache[91].evicted, views.cache[91].lost) == ({7}, {})
    assert views.cache[13].states() == "M" * 8
    assert views.cache[14].states() == "m" * 14 + "w" * 10
    assert views.cache[90].bytes("disk") == 4 * MIB


def test_an_eviction_is_a_line_for_people() -> None:
    (note,) = folded(sample_facts.word_count()).evictions
    assert note.message == "evicted links[7], 2.8 MiB, LRU"


def test_one_copy_of_two_lost_is_no_loss() -> None:
    story = Story()
    story.persist(1, "twice", "In [1]:1", "MEMORY_ONLY_2", 2).store(1, range(2), MIB, copies=2)
    story.add(f.BlockRemoved(1, 0, 0, 0, "evicted", MIB))
    cached = folded(story.records).cache[1]
    assert cached.states() == "mM"
    assert not cached.lost


def test_a_block_that_moves_to_disk_counts_once() -> None:
    story = Story()
    story.persist(1, "a", "In [1]:1", "MEMORY_AND_DISK", 1).store(1, (0,), MIB).store(1, (0,), MIB, tier="disk")
    executor = folded(story.records).executors[0]
    assert (executor.cached_partitions, executor.cache_used_bytes, executor.disk_used_bytes) == (1, 0, MIB)


def test_a_lost_executor_takes_its_blocks_and_its_successor_starts_empty() -> None:
    story = Story()
    story.persist(1, "a", "In [1]:1", "MEMORY_ONLY", 4).store(1, range(4), MIB)
    story.add(f.ExecutorLost(1, 0, "killed", True, 2, 0))
    views = folded(story.records)
    assert views.cache[1].states() == "mlml", "even before the facts about each block"
    assert not views.executors[1].alive
    story.add(*(f.BlockRemoved(1, i, 1, 0, "executor_lost", MIB) for i in (1, 3)))
    story.add(f.ExecutorAdded(1, 1, "127.0.0.1", 77, 1, MIB, MIB))
    views = folded(story.records)
    assert (views.executors[1].alive, views.executors[1].cache_used_bytes) == (True, 0)
    check(views)


def test_what_a_replaced_executor_says_changes_nothing() -> None:
    story = Story()
    story.persist(1, "a", "In [1]:1", "MEMORY_ONLY", 4)
    story.add(f.ExecutorLost(1, 0, "killed", True, 0, 0), f.ExecutorAdded(1, 1, "127.0.0.1", 77, 1, MIB, MIB))
    story.add(f.BlockStored(1, 3, 1, 1, "memory", MIB))
    before = folded(story.records)
    late = [
        f.BlockStored(1, 2, 1, 0, "memory", MIB),
        f.BlockRemoved(1, 3, 1, 0, "evicted", MIB),
        f.MapOutputStored(9, 0, 1, 0, MIB, 1),
        f.ExecutorLost(1, 0, "killed", True, 0, 0),
        f.ExecutorAdded(1, 0, "127.0.0.1", 66, 1, MIB, MIB),
    ]
    views = folded(story.add(*late).records)
    assert views.cache[1].states() == before.cache[1].states() == "wwwm"
    assert views.executors == before.executors
    assert not views.shuffles


def test_blocks_of_an_unpersisted_rdd_do_not_come_back() -> None:
    story = Story()
    story.persist(1, "a", "In [1]:1", "MEMORY_ONLY", 2).store(1, range(2), MIB)
    story.add(f.RddUnpersisted(1), f.BlockStored(1, 0, 0, 0, "memory", MIB))
    views = folded(story.records)
    assert not views.cache
    assert views.executors[0].cache_used_bytes == 0


def test_persisting_again_keeps_what_is_held() -> None:
    story = Story()
    story.persist(1, "a", "In [1]:1", "MEMORY_ONLY", 2).store(1, range(2), MIB)
    story.persist(1, "b", "In [2]:1", "MEMORY_AND_DISK", 0)
    views = folded(story.records)
    assert (views.cache[1].name, views.cache[1].level, views.cache[1].states()) == ("b", "MEMORY_AND_DISK", "mm")
    check(views)


def test_the_second_job_of_a_shuffle_leaves_the_first_jobs_stage_as_it_was() -> None:
    records = sample_facts.word_count(finished=True)
    first = folded(records)
    story = Story()
    story.records = list(records)
    stages = (
        f.StageNode(2, "map", 3, 24, (14,), (), True, "reduceByKey"),
        f.StageNode(4, "result", -1, 8, (15,), (2,), False, "join"),
    )
    story.add(
        f.JobStarted(2, SCOPE, "count", "In [4]:6", 15, "default", (node(15, "join", "In [4]:4", 8),), (), stages)
    )
    views = folded(story.records)
    assert views.stages[2] == first.stages[2]
    assert views.stages[4].status == "waiting"


def test_a_stage_at_work_for_one_job_stays_so_when_another_job_needs_it_too() -> None:
    story = Story()
    lineage = (node(1, "a", "In [1]:1", 4), node(2, "b", "In [1]:1", 2))
    shared = f.StageNode(1, "map", 5, 4, (1,), (), False, "a")

    def result(stage: int) -> f.StageNode:
        return f.StageNode(stage, "result", -1, 2, (2,), (1,), False, "b")

    story.add(f.JobStarted(1, SCOPE, "count", "In [1]:2", 2, "default", lineage, (), (shared, result(2))))
    story.start(1, 1, range(4)).run(1, (0,), shuffle=5)
    story.add(f.JobStarted(2, SCOPE, "count", "In [1]:3", 2, "default", lineage, (), (shared, result(3))))
    story.run(1, (1, 2, 3), shuffle=5)
    views = folded(story.records)
    assert (views.stages[1].job, views.stages[1].done, views.stages[1].planned) == (1, 4, 4)
    assert (views.jobs[1].task_count, views.jobs[2].task_count) == (4, 0)


def wide_stage(tasks: int) -> Story:
    story = Story()
    stages = (f.StageNode(1, "result", -1, tasks, (1,), (), False, "a"),)
    story.add(f.JobStarted(1, SCOPE, "count", "x:1", 1, "default", (node(1, "a", "x:1", tasks),), (), stages))
    story.start(1, 1, range(tasks))
    for i in range(tasks):
        task = story.begin(1, i)
        seconds = (i * 7919 % tasks) / 100
        story.add(f.TaskEnded(task, 1, i, 0, i % 2, 0, "succeeded", seconds, 1, 1, 0, 0, 0, 0, 0))
    return story


def test_a_stage_of_200_tasks_keeps_every_attempt() -> None:
    stage = folded(wide_stage(KEPT_TASKS).records).stages[1]
    assert [attempt.partition for attempt in stage.attempts] == list(range(KEPT_TASKS))
    assert stage.attempts_s == pytest.approx(sum(i / 100 for i in range(KEPT_TASKS)))


def test_a_stage_of_3000_tasks_keeps_sums_and_the_slowest() -> None:
    stage = folded(wide_stage(3000).records).stages[1]
    assert [attempt.duration_s for attempt in stage.attempts] == [i / 100 for i in range(3000 - KEPT_SLOWEST, 3000)]
    assert stage.attempts_total == 3000
    assert stage.attempts_s == pytest.approx(sum(i / 100 for i in range(3000)))
    assert len(stage.durations_s) == KEPT_TASKS


def test_a_task_counts_where_it_runs() -> None:
    story = wide_stage(4)
    stages = (f.StageNode(2, "result", -1, 3, (1,), (), False, "a"),)
    story.add(f.JobStarted(2, SCOPE, "count", "x:1", 1, "default", (node(1, "a", "x:1", 3),), (), stages))
    story.start(2, 2, range(3)).begin(2, 0)
    story.begin(2, 1)
    job = folded(story.records).jobs[2]
    assert (job.tasks_done, job.tasks_running, job.tasks_total) == (0, 2, 3)
    assert folded(story.records).executors[0].running == 1


def test_thousands_of_jobs_take_the_room_of_hundreds() -> None:
    story = Story()
    views = folded(story.records)
    loop = sample_facts.many_jobs(KEPT_JOBS * 5)
    for record in loop:
        views.fold(record)
    assert len(views.jobs) == KEPT_JOBS
    assert len(views.stages) == KEPT_JOBS
    assert len(views.rdds) <= KEPT_JOBS + 1
    assert not views._at_work
    assert len(views._drawn) <= 2 * KEPT_JOBS + 1
    assert views.jobs_total == KEPT_JOBS * 5 + 1
    run = run_of(views, scope=SCOPE)
    assert (len(run.jobs), run.tasks, run.cache_hits) == (1001, 8008, 8000)
    assert sys.getsizeof(views.scopes[SCOPE].jobs) < 4096


def test_turns_of_training_do_not_push_out_the_jobs_of_other_cells() -> None:
    story = Story()
    for job in range(KEPT_TURNS + 500):
        action = "count" if job < 3 else "train"
        stages = (f.StageNode(job, "result", -1, 1, (1,), (), False, "a"),)
        story.add(f.JobStarted(job, SCOPE, action, "x:1", 1, "", (node(1, "a", "x:1", 1),), (), stages))
        story.add(f.JobEnded(job, "succeeded", 0.1, ""))
    views = folded(story.records)
    assert sorted(views.jobs)[:3] == [0, 1, 2]
    assert len(views.jobs) == len(views.stages) == 3 + KEPT_TURNS
    assert len(run_of(views, scope=SCOPE).jobs) == KEPT_TURNS + 500
    check(views)


def test_a_nodes_rdd_stays_while_any_kept_job_draws_it() -> None:
    story = Story()
    for job in range(KEPT_JOBS + 50):
        stages = (f.StageNode(job, "result", -1, 1, (1,), (), False, "a"),)
        story.add(f.JobStarted(job, SCOPE, "count", "x:1", 1, "", (node(1, "a", "x:1", 1),), (), stages))
        story.add(f.JobEnded(job, "succeeded", 0.1, ""))
    views = folded(story.records)
    assert set(views.rdds) == {1}
    assert min(views.jobs) == 50


def test_notes_shuffles_and_caches_are_bounded() -> None:
    story = Story()
    for i in range(3000):
        story.add(f.Warned("a", str(i)), f.MapOutputStored(i, 0, 0, 0, 10, 1))
        story.persist(i, "a", "x:1", "MEMORY_ONLY", 1).store(i, (0,), 10)
        story.add(f.ScopeOpened(f"scope {i}", "In [1]", ""))
    views = folded(story.records)
    assert len(views.warnings) == KEPT_NOTES
    assert len(views.shuffles) == len(views.cache) == len(views.scopes) == 1000
    assert 2999 in views.shuffles
    assert 2999 in views.cache
    check(views)


def test_a_stopped_context_has_no_executor() -> None:
    views = folded(Story().add(f.ContextStopped("app-1")).records)
    assert views.stopped
    assert not any(executor.alive for executor in views.executors.values())


def test_a_late_second_attempt_leaves_a_done_partition_done() -> None:
    story = Story()
    story.records = sample_facts.three_partitions()
    story.tasks = 3
    late = story.begin(1, 2, attempt=1)
    story.end(3, 1, 2).end(late, 1, 2, attempt=1, status="cancelled")
    assert folded(story.records).stages[1].states[2:] == b"d"


def test_a_running_stage_has_less_done_when_outputs_of_it_are_lost() -> None:
    story = Story()
    stages = (f.StageNode(1, "map", 5, 4, (1,), (), False, "a"),)
    story.add(f.JobStarted(1, SCOPE, "count", "x:1", 1, "", (node(1, "a", "x:1", 4),), (), stages))
    story.start(1, 1, range(4)).run(1, range(3), shuffle=5)
    story.add(f.MapOutputLost(5, 1, 1, 0, "executor_lost"))
    stage = folded(story.records).stages[1]
    assert (stage.states, stage.done, stage.planned) == (b"dldw", 2, 4)
    again = folded(story.start(1, 1, (0, 1), attempt=1).records).stages[1]
    assert (again.states, again.done, again.planned) == (b"wwdw", 1, 4)


def test_an_executor_replaced_without_a_word_has_lost_its_blocks() -> None:
    story = Story()
    story.persist(1, "a", "In [1]:1", "MEMORY_ONLY", 4).store(1, range(4), MIB)
    views = folded(story.add(f.ExecutorAdded(1, 1, "127.0.0.1", 77, 1, MIB, MIB)).records)
    assert views.cache[1].states() == "mlml"
    check(views)


def test_a_partition_that_is_lost_already_stays_lost_when_its_eviction_is_heard_of_late() -> None:
    story = Story()
    story.persist(1, "a", "In [1]:1", "MEMORY_ONLY", 4).store(1, range(4), MIB)
    story.add(f.BlockRemoved(1, 2, 0, 0, "executor_lost", MIB))
    views = folded(story.add(f.BlockRemoved(1, 2, 0, 0, "evicted", MIB)).records)
    assert views.cache[1].states() == "mmlm"
    check(views)
