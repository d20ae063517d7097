"""Labels of jobs: what tasks see, who inherits them, what is cancelled by them, what the status tracker says."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sparklab import InheritableThread, SparkContext, TaskContext, inheritable_thread_target
from sparklab.errors import JobCancelled, SparklabError, UserCodeError
from tests.waiting import wait_until


@pytest.fixture(scope="module", params=["threads[2]", "local[2]"])
def sc(request: pytest.FixtureRequest) -> Iterator[SparkContext]:
    with SparkContext(request.param, "labels") as context:
        yield context


@pytest.fixture(autouse=True)
def no_labels(sc: SparkContext) -> Iterator[None]:
    with sc.labelled({}):
        yield


def test_a_task_sees_its_context_and_the_driver_sees_none(sc: SparkContext) -> None:
    def seen(index: int, _: Any) -> list[Any]:
        task = TaskContext.get()
        assert task is not None
        return [(index, task.partitionId(), task.attemptNumber(), task.stageId(), task.taskAttemptId(), task.cpus())]

    rows = sc.parallelize(range(4), 4).mapPartitionsWithIndex(seen).collect()
    assert [row[0] for row in rows] == [row[1] for row in rows] == [0, 1, 2, 3]
    assert {row[2] for row in rows} == {0}
    assert len({row[3] for row in rows}) == 1
    assert len({row[4] for row in rows}) == 4
    assert {row[5] for row in rows} == {1}
    assert TaskContext.get() is None


def test_resources_of_a_task_need_a_jvm(sc: SparkContext) -> None:
    with pytest.raises(UserCodeError, match="NotImplementedError: .* GPUs"):
        sc.parallelize([0], 1).map(lambda _: TaskContext.get().resources()).collect()


def test_local_properties_travel_with_the_job_also_to_map_stages(sc: SparkContext) -> None:
    def seen(x: int) -> tuple[str | None, int]:
        task = TaskContext.get()
        assert task is not None
        return task.getLocalProperty("who"), x

    sc.setLocalProperty("who", "me")
    sums = sc.parallelize(range(4), 2).map(seen).reduceByKey(lambda a, b: a + b)
    assert sums.collect() == [("me", 6)]
    sc.setLocalProperty("who", None)
    assert sc.getLocalProperty("who") is None
    assert sc.parallelize(range(2), 2).map(seen).collect() == [(None, 0), (None, 1)]


def in_thread(make: Callable[[Callable[[], None]], threading.Thread], sc: SparkContext) -> list[str | None]:
    found: list[str | None] = []
    thread = make(lambda: found.append(sc.getLocalProperty("who")))
    thread.start()
    thread.join()
    return found


def test_properties_belong_to_a_thread_unless_it_inherits_them(sc: SparkContext) -> None:
    sc.setLocalProperty("who", "parent")
    assert in_thread(lambda f: threading.Thread(target=f), sc) == [None]
    assert in_thread(lambda f: InheritableThread(target=f), sc) == ["parent"]
    assert in_thread(lambda f: threading.Thread(target=inheritable_thread_target(f)), sc) == ["parent"]


def test_a_thread_inherits_at_its_start_and_a_target_when_it_is_made(sc: SparkContext) -> None:
    found: list[str | None] = []

    def note() -> None:
        found.append(sc.getLocalProperty("who"))

    sc.setLocalProperty("who", "early")
    thread, target = InheritableThread(target=note), inheritable_thread_target(note)
    sc.setLocalProperty("who", "late")
    thread.start()
    thread.join()
    target()
    assert found == ["late", "early"]
    assert sc.getLocalProperty("who") == "late"


def test_tags_add_up_and_go(sc: SparkContext) -> None:
    sc.addJobTag("a")
    sc.addJobTag("b")
    sc.removeJobTag("c")
    assert sc.getJobTags() == {"a", "b"}
    sc.removeJobTag("a")
    assert sc.getJobTags() == {"b"}
    sc.clearJobTags()
    assert sc.getJobTags() == set()
    for wrong in ("", "a,b"):
        with pytest.raises(ValueError, match="tag cannot"):
            sc.addJobTag(wrong)


def endless(_: int) -> None:
    while True:
        threading.Event().wait(0.01)


def started(sc: SparkContext, label: Callable[[], None]) -> tuple[threading.Thread, list[BaseException]]:
    """A thread with a job that never ends, running."""
    errors: list[BaseException] = []

    def work() -> None:
        label()
        try:
            sc.parallelize(range(1), 1).foreach(endless)
        except JobCancelled as error:
            errors.append(error)

    before = len(sc.statusTracker().getActiveJobsIds())
    thread = threading.Thread(target=work)
    thread.start()
    wait_until(lambda: len(sc.statusTracker().getActiveJobsIds()) == before + 1)
    return thread, errors


def test_cancelling_a_group_ends_its_jobs_and_no_others(sc: SparkContext) -> None:
    mine, my_errors = started(sc, lambda: sc.setJobGroup("mine", "to be cancelled"))
    other, other_errors = started(sc, lambda: sc.setJobGroup("other", "goes on"))
    try:
        sc.cancelJobGroup("mine")
        mine.join(30)
        assert "part of cancelled job group mine" in str(my_errors[0])
        assert other.is_alive()
        (job,) = sc.statusTracker().getJobIdsForGroup("mine")
        info = sc.statusTracker().getJobInfo(job)
        assert info is not None
        assert info.status == "FAILED"
    finally:
        sc.cancelAllJobs()
        other.join(30)
    assert len(other_errors) == 1


def test_cancelling_a_tag_ends_the_jobs_that_carry_it(sc: SparkContext) -> None:
    def label() -> None:
        sc.addJobTag("slow")
        sc.addJobTag("other")

    thread, errors = started(sc, label)
    sc.cancelJobsWithTag("slo")
    assert thread.is_alive()
    sc.cancelJobsWithTag("slow")
    thread.join(30)
    assert len(errors) == 1


def test_collect_with_job_group_leaves_the_threads_own_group(sc: SparkContext) -> None:
    sc.setJobGroup("own", "own")
    assert sc.parallelize(range(3), 3).collectWithJobGroup("passing", "passing") == [0, 1, 2]
    assert sc.getLocalProperty("spark.jobGroup.id") == "own"
    assert len(sc.statusTracker().getJobIdsForGroup("passing")) == 1


def test_the_status_tracker_tells_of_jobs_stages_and_executors(sc: SparkContext) -> None:
    tracker = sc.statusTracker()
    sc.setJobGroup("tracked", "two stages")
    sc.parallelize([(i % 3, 1) for i in range(9)], 3).reduceByKey(lambda a, b: a + b, 2).collect()
    (job,) = tracker.getJobIdsForGroup("tracked")
    info = tracker.getJobInfo(job)
    assert info is not None
    assert (info.jobId, info.status, len(info.stageIds)) == (job, "SUCCEEDED", 2)
    stages = [tracker.getStageInfo(stage) for stage in info.stageIds]
    assert [(s.numTasks, s.numCompletedTasks, s.numActiveTasks, s.numFailedTasks) for s in stages if s] == [
        (3, 3, 0, 0),
        (2, 2, 0, 0),
    ]
    assert tracker.getActiveJobsIds() == tracker.getActiveStageIds() == []
    assert tracker.getJobInfo(10_000) is None
    assert tracker.getStageInfo(10_000) is None
    wait_until(lambda: len(tracker.getExecutorInfos()) == 2)  # one may have been replaced by a cancelled job's end


def test_jobs_without_a_group_are_found_by_none(sc: SparkContext) -> None:
    before = sc.statusTracker().getJobIdsForGroup()
    sc.parallelize([1], 1).count()
    assert len(sc.statusTracker().getJobIdsForGroup(None)) == len(before) + 1


def test_a_prefetched_partition_is_computed_while_the_first_is_read_under_the_same_labels(sc: SparkContext) -> None:
    sc.setJobGroup("ahead", "prefetching")
    records = sc.parallelize(range(6), 3).toLocalIterator(prefetchPartitions=True)
    assert next(records) == 0
    wait_until(lambda: len(sc.statusTracker().getJobIdsForGroup("ahead")) == 2)
    assert list(records) == [1, 2, 3, 4, 5]
    jobs = sc.bus.views.jobs
    assert len({jobs[job].plan.call_site for job in sc.statusTracker().getJobIdsForGroup("ahead")}) == 1


def test_without_prefetching_a_partition_is_computed_when_it_is_reached(sc: SparkContext) -> None:
    sc.setJobGroup("reached", "one by one")
    records = sc.parallelize(range(6), 3).toLocalIterator()
    assert next(records) == 0
    assert len(sc.statusTracker().getJobIdsForGroup("reached")) == 1


def test_a_task_context_made_by_hand_inside_a_task_is_that_tasks(sc: SparkContext) -> None:
    assert sc.parallelize(range(2), 2).map(lambda _: TaskContext().partitionId()).collect() == [0, 1]
    assert TaskContext().partitionId() is None


def test_a_context_is_refused_inside_a_task(sc: SparkContext) -> None:
    with pytest.raises(SparklabError, match=r"should only be created and accessed on the driver\."):
        sc.parallelize([0], 1).foreach(lambda _: SparkContext("threads[1]"))


def test_the_active_context_is_found_by_the_name_that_libraries_know(sc: SparkContext) -> None:
    assert SparkContext._active_spark_context is sc
