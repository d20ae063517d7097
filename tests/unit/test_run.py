"""The Run: what counts as a task, what as recomputed, and how it reads."""

from __future__ import annotations

import dataclasses
import html.parser
from collections.abc import Iterable

import pytest

from sparklab.events import facts as f
from sparklab.events import training as t
from sparklab.events.run import Run, headline, run_of, seconds
from sparklab.events.views import Views
from tests.jupyter import sample_facts
from tests.jupyter.sample_facts import SCOPE, Story, node


def folded(records: Iterable[f.Record]) -> Views:
    views = Views()
    for record in records:
        views.fold(record)
    return views


def run(records: Iterable[f.Record], scope: str = SCOPE) -> Run:
    return run_of(folded(records), scope=scope)


def head(records: Iterable[f.Record], now_s: float | None = None) -> str:
    views = folded(records)
    return headline(views, list(views.jobs.values()), now_s=now_s)


# --- counting --------------------------------------------------------------------------------------


def test_tasks_are_the_first_attempts_of_the_plan() -> None:
    done = run(sample_facts.word_count(finished=True))
    assert (done.tasks, done.stages, done.stages_skipped) == (56, 3, 0)
    assert done.tasks_by_executor == {0: 28, 1: 28}
    assert (done.recomputed_partitions, done.recomputed_of) == (0, 56)
    assert (done.cache_hits, done.status, done.jobs) == (8, "succeeded", (1,))


def test_a_retry_is_no_further_task() -> None:
    failed = run(sample_facts.failed())
    assert failed.tasks == 10
    assert failed.status == "failed"
    assert failed.tasks_by_executor == {0: 5, 1: 4}, "attempts that succeeded"


def test_an_executor_that_held_12_of_24_cached_partitions_costs_12_of_24() -> None:
    after = run(sample_facts.killed_executor())
    assert (after.recomputed_partitions, after.recomputed_of) == (12, 24)
    assert (after.tasks, after.cache_hits) == (24, 12), "bringing back a partition belongs to the task that needs it"


def test_the_next_scope_does_not_inherit_what_was_recomputed() -> None:
    story = Story()
    story.records = sample_facts.killed_executor()
    story.add(f.ScopeOpened("next", "In [9]", ""))
    stages = (f.StageNode(9, "result", -1, 24, (4, 5), (), False, "filter"),)
    story.add(f.JobStarted(9, "next", "count", "In [9]:1", 5, "default", (), (), stages))
    story.start(9, 9, range(24)).run(9, range(24), hits=1).add(f.JobEnded(9, "succeeded", 0.1, ""))
    views = folded(story.records)
    assert run_of(views, scope="next").headline.endswith("24 tasks, 24 from cache, recomputed 0 of 24")
    assert run_of(views, scope=SCOPE).recomputed_partitions == 12


def lost_between_jobs() -> Story:
    """A shuffle of 8 maps; executor 1 dies with its 4; a second job needs them."""
    story = Story()
    lineage = (node(1, "words", "In [1]:1", 8), node(2, "reduceByKey", "In [1]:2", 3))
    maps = f.StageNode(1, "map", 5, 8, (1,), (), False, "words")
    edges = (f.RddEdge(1, 2, 5),)
    for job in (1, 2):
        result = f.StageNode(job + 1, "result", -1, 3, (2,), (1,), False, "reduceByKey")
        if job == 2:
            story.add(f.ScopeOpened("second", "In [2]", ""), f.ExecutorLost(1, 0, "killed", True, 0, 4))
            story.add(*(f.MapOutputLost(5, i, 1, 0, "executor_lost") for i in (1, 3, 5, 7)))
        scope = SCOPE if job == 1 else "second"
        story.add(f.JobStarted(job, scope, "collect", "x", 2, "default", lineage, edges, (maps, result)))
        if job == 1:
            story.start(1, 1, range(8)).run(1, range(8), shuffle=5, bytes_=10).finish(1, 1)
        else:
            story.start(1, 2, (1, 3, 5, 7)).run(1, (1, 3, 5, 7), executor=0, shuffle=5, bytes_=10, recovers="shuffle")
            story.finish(1, 2)
        story.start(job + 1, job, range(3)).run(job + 1, range(3), executor=0).finish(job + 1, job)
        story.add(f.JobEnded(job, "succeeded", 0.1, ""))
    return story


def test_making_a_lost_map_output_again_is_recomputed_and_no_task() -> None:
    views = folded(lost_between_jobs().records)
    first, second = run_of(views, scope=SCOPE), run_of(views, scope="second")
    assert (first.tasks, first.recomputed_partitions, first.recomputed_of) == (11, 0, 11)
    assert (second.tasks, second.recomputed_partitions, second.recomputed_of) == (3, 4, 8)
    assert (second.stages, second.stages_skipped) == (2, 0)
    assert views.jobs[2].tasks_total == 3


def test_a_recomputed_output_whose_loss_was_not_heard_of_is_no_task_either() -> None:
    records = [record for record in lost_between_jobs().records if not isinstance(record.fact, f.MapOutputLost)]
    assert run(records, "second").tasks == 3


def test_a_recovering_task_is_none_of_the_plan_while_it_runs_either() -> None:
    records = lost_between_jobs().records
    second = next(i for i, r in enumerate(records) if isinstance(r.fact, f.JobStarted) and r.fact.job == 2)
    begun = next(i for i, r in enumerate(records) if i > second and isinstance(r.fact, f.TaskStarted))
    assert run(records[: begun + 1], "second").tasks == 0


def test_a_stage_planned_as_skipped_that_had_to_run_after_all_is_not_skipped() -> None:
    story = Story()
    story.records = sample_facts.skipped_stages()[:-2]
    story.add(*(f.MapOutputLost(2, i, 1, 0, "executor_lost") for i in (1, 3)))
    story.start(5, 3, (1, 3)).run(5, (1, 3), executor=0, shuffle=2, recovers="shuffle").finish(5, 3)
    after = run(story.records)
    assert (after.stages, after.stages_skipped, after.tasks) == (3, 0, 16)
    assert (after.recomputed_partitions, after.recomputed_of) == (2, 24)


def test_outputs_lost_and_made_again_within_a_job_change_no_count_of_tasks() -> None:
    story = Story()
    story.records = sample_facts.lost_map_outputs()
    so_far = run(story.records)
    assert so_far.tasks == 24 + 4
    assert (so_far.recomputed_partitions, so_far.recomputed_of) == (5, 24)


def test_lost_cached_partitions_count_before_lost_map_outputs() -> None:
    story = Story()
    lineage = (node(1, "a", "x:1", 4), node(2, "b", "x:2", 6, "MEMORY_ONLY"))
    story.persist(2, "b", "x:2", "MEMORY_ONLY", 6)
    stages = (
        f.StageNode(1, "map", 5, 4, (1,), (), False, "a"),
        f.StageNode(2, "result", -1, 6, (2,), (1,), False, "b"),
    )
    story.add(f.JobStarted(1, SCOPE, "count", "x:3", 2, "default", lineage, (), stages))
    story.start(1, 1, (0, 1)).run(1, (0, 1), shuffle=5, recovers="shuffle")
    story.start(2, 1, range(6)).run(2, (0, 1, 2), stores=2, recovers="cache")
    again = run(story.records)
    assert (again.recomputed_partitions, again.recomputed_of) == (3, 6)


def test_a_partition_recomputed_twice_is_one_partition() -> None:
    story = Story()
    story.records = sample_facts.killed_executor()
    lineage = (node(4, "words", "In [3]:2", 24, "MEMORY_ONLY", "flatMap"),)
    stages = (f.StageNode(8, "result", -1, 24, (4,), (), False, "words"),)
    story.add(f.JobStarted(8, SCOPE, "count", "In [8]:2", 4, "default", lineage, (), stages))
    story.start(8, 8, (1,)).run(8, (1,), stores=4, recovers="cache")
    assert run(story.records).recomputed_partitions == 12


def test_a_skipped_stage_did_not_run() -> None:
    second = run(sample_facts.skipped_stages())
    assert (second.stages, second.stages_skipped, second.tasks) == (2, 1, 16)


def test_a_stage_that_a_failed_job_never_reached_is_not_skipped() -> None:
    story = Story()
    story.records = sample_facts.word_count(done=4)
    story.close(1, 0.9, "failed", "ZeroDivisionError: division by zero", 2)
    failed = run(story.records)
    assert (failed.stages, failed.stages_skipped) == (2, 0)
    assert failed.error == "ZeroDivisionError: division by zero"


def test_bytes_and_records_are_those_of_attempts_that_succeeded() -> None:
    story = Story()
    stages = (f.StageNode(1, "map", 5, 2, (1,), (), False, "a"),)
    story.add(f.JobStarted(1, SCOPE, "count", "x", 1, "default", (node(1, "a", "x", 2),), (), stages))
    story.start(1, 1, (0, 1))
    for attempt, status in enumerate(("failed", "lost", "succeeded")):
        task = story.begin(1, 0, attempt=attempt)
        story.add(f.TaskEnded(task, 1, 0, attempt, 0, 0, status, 0.1, 100, 2000, 0, 300, 40, 2, 1))
    one = run(story.records)
    assert (one.records_read, one.bytes_read, one.bytes_shuffled) == (100, 2000, 300)
    assert (one.cache_hits, one.cache_misses, one.tasks) == (2, 1, 1)
    assert one.tasks_by_executor == {0: 1}


def test_wall_time_runs_from_the_first_job_to_the_end_of_the_last() -> None:
    views = Views()
    views.fold(f.Record(1, 0.0, f.ScopeOpened("s", "In [1]", "")))
    stages = (f.StageNode(1, "result", -1, 1, (), (), False),)
    for seq, at_s, job in ((2, 10.0, 1), (3, 11.0, 2)):
        views.fold(f.Record(seq, at_s, f.JobStarted(job, "s", "count", "x", 1, "", (), (), stages)))
    views.fold(f.Record(4, 12.5, f.JobEnded(1, "succeeded", 2.5, "")))
    assert run_of(views, scope="s").wall_s == 2.5, "still running: up to the last fact"
    views.fold(f.Record(5, 14.0, f.JobEnded(2, "succeeded", 3.0, "")))
    views.fold(f.Record(6, 99.0, f.ScopeClosed("s", "ok")))
    assert run_of(views, scope="s").wall_s == 4.0
    assert run_of(views, job=2).wall_s == 3.0


@pytest.mark.parametrize(
    ("statuses", "status"),
    [(("succeeded", "failed"), "failed"), (("cancelled", "succeeded"), "cancelled"), (("failed", None), "running")],
)
def test_a_scope_is_as_well_as_its_worst_job(statuses: tuple[str | None, ...], status: str) -> None:
    views = Views()
    views.fold(f.Record(1, 0.0, f.ScopeOpened("s", "In [1]", "")))
    for job, each in enumerate(statuses):
        views.fold(f.Record(2, 0.0, f.JobStarted(job, "s", "count", "x", 1, "", (), (), ())))
        if each is not None:
            views.fold(f.Record(3, 0.0, f.JobEnded(job, each, 1.0, "")))
    assert run_of(views, scope="s").status == status


def test_a_scope_of_a_thousand_jobs_counts_all_of_them() -> None:
    loop = run(sample_facts.many_jobs(1000))
    assert (loop.tasks, loop.stages, len(loop.jobs)) == (8008, 1001, 1001)
    assert loop.jobs == tuple(range(1001))
    assert sum(loop.tasks_by_executor.values()) == 8008


def test_what_is_unknown_has_run_nothing() -> None:
    views = folded(sample_facts.plain_cell())
    for lazy in (run_of(views, scope=SCOPE), run_of(views, scope="nobody"), run_of(views, job=77)):
        assert lazy == Run()
        assert lazy.headline == "0 jobs: nothing has run (lazy)"


# --- reading ---------------------------------------------------------------------------------------


def test_a_finished_scope_in_one_sentence() -> None:
    assert head(sample_facts.killed_executor()).endswith(" s, 24 tasks, 12 from cache, recomputed 12 of 24")
    plain = dataclasses.replace(run(sample_facts.word_count(finished=True)), wall_s=1.8, cache_hits=0)
    assert plain.headline == "Done 1.8 s, 56 tasks, recomputed 0 of 56"


def test_a_running_job_in_one_sentence() -> None:
    records = sample_facts.word_count(done=14, running=2)
    started_s = next(record.time_s for record in records if isinstance(record.fact, f.JobStarted))
    assert head(records, now_s=started_s + 1.2) == "reduceByKey: stage 2 of 3, 14/24, 1.2 s"
    assert head(records).startswith("reduceByKey: stage 2 of 3, 14/24, ")


def test_a_recovering_stage_counts_what_it_has_to_bring_back() -> None:
    records = lost_between_jobs().records
    last = [i for i, r in enumerate(records) if isinstance(r.fact, f.TaskEnded) and r.fact.recovers][-2]
    assert head(records[: last + 1]).startswith("words: stage 1 of 2, 3/4, ")


def test_skipped_stages_are_not_among_those_counted() -> None:
    records = sample_facts.skipped_stages()
    cut = next(i for i, r in enumerate(records) if isinstance(r.fact, f.StageStarted) and r.fact.stage == 7)
    assert head(records[: cut + 1]).startswith("sortBy: stage 2 of 2, 0/8, ")


def test_a_job_that_waits_says_so() -> None:
    records = sample_facts.three_partitions()
    cut = next(i for i, r in enumerate(records) if isinstance(r.fact, f.JobStarted))
    assert head(records[: cut + 1]) == "collect: 1 stage waiting, 0.00 s"


def test_a_failed_and_a_cancelled_scope_say_so_first() -> None:
    failed, cancelled = head(sample_facts.failed()), head(sample_facts.cancelled())
    assert failed.startswith("Failed after ")
    assert failed.endswith(" s, 10 tasks")
    assert cancelled.startswith("Cancelled after ")
    assert "recomputed" not in cancelled


@pytest.mark.parametrize(
    ("jobs", "text"),
    [
        ((), "none"),
        ((0,), "1 (job 0)"),
        ((3, 5), "2 (jobs 3, 5)"),
        (tuple(range(1_200)), f"1,200 (jobs {', '.join(map(str, range(20)))}, ...)"),
    ],
)
def test_a_run_counts_its_jobs_and_names_their_numbers(jobs: tuple[int, ...], text: str) -> None:
    assert f"  jobs        {text}" in repr(Run(jobs=jobs)).splitlines()


def test_a_run_reads_as_lines_of_text() -> None:
    text = repr(run(sample_facts.killed_executor()))
    first, *rows = text.splitlines()
    assert first.startswith("Done ")
    assert [row.split()[0] for row in rows] == [
        "jobs", "stages", "tasks", "recomputed", "cache", "read", "shuffled", "wall",
    ]  # fmt: skip
    assert "  recomputed  12 of 24 partitions" in rows
    assert "object at 0x" not in text


class Tags(html.parser.HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.data = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.data += data


def test_names_in_a_run_are_text_and_never_markup() -> None:
    hostile = '<img src=x onerror="alert(1)">&'
    one = Run(value=hostile, jobs=(1,), status="failed", error=f"ValueError: {hostile}")
    bundle = one._repr_mimebundle_()
    seen = Tags(bundle["text/html"])
    assert seen.tags == {"p", "strong", "table", "tr", "th", "td"}
    assert hostile in seen.data
    assert bundle["text/plain"] == repr(one)


def test_a_large_value_does_not_make_a_large_run() -> None:
    one = dataclasses.replace(run(sample_facts.word_count(finished=True)), value=list(range(100_000)))
    assert len(repr(one)) < 1000
    assert len(one.value) == 100_000


def test_a_run_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Run().tasks = 3  # type: ignore[misc]


@pytest.mark.parametrize(("value_s", "text"), [(0.05, "0.05 s"), (1.84, "1.8 s"), (72.0, "72 s")])
def test_seconds_for_people(value_s: float, text: str) -> None:
    assert seconds(value_s) == text


def test_a_run_of_training_is_summed_up_in_the_run_of_its_cell() -> None:
    story: list[t.TrainingFact] = [
        t.TrainingStarted(3, "ps, SSP(4), sgd", "ps", 2, True, 4, 0.3, 100, 8, scope="cell"),
        t.WorkerClocks(3, (2, 7), (0, 1), (0, 500)),
        t.WorkerClocks(3, (6, 8), (0, 0), (100, 400)),
        t.LossReported(3, 6, 1_000, 0.5),
        t.TrainingEnded(3, "stopped", 0.4, 1_200, 2.0, ""),
    ]
    views = folded(f.Record(number, 0.1 * number, fact) for number, fact in enumerate(story, 1))
    (trained,) = run_of(views, scope="cell").training
    assert (trained.status, trained.tau, trained.most_lag, trained.idle) == ("stopped", 4, 5, 0.25)
    assert (trained.clock, trained.updates, trained.loss) == (6, 1_200, 0.4)
    text = "training 3  ps, SSP(4), sgd: stopped after 1,200 rows, loss 0.400, idle 25%, at most 5 ahead"
    assert text in repr(run_of(views, scope="cell"))
    assert run_of(views, scope="another").training == run_of(views).training == ()
