"""Jobs that nobody waits for hold no slot: what somebody asks meanwhile runs beside their tasks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, LocalCluster

from sparklab import SparkContext
from sparklab.cluster.atwork import AtWork
from sparklab.cluster.lane import Lane
from sparklab.conf import BACKGROUND
from sparklab.errors import JobCancelled, SparklabError
from sparklab.rdd.cancellation import TaskCancelled
from tests.waiting import wait_until


@pytest.fixture(params=["threads[1]", "local[1]", "dask"])
def sc(request: pytest.FixtureRequest) -> Iterator[SparkContext]:
    if request.param != "dask":
        with SparkContext(request.param, "beside") as context:
            yield context
        return
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0", worker_dashboard_address=":0") as own,
        Client(own, set_as_default=False) as client,
        SparkContext(client, "beside") as context,
    ):
        yield context


def holding(folder: Path) -> Callable[[Any], Any]:
    """A function of a record that says that it runs, and goes on when it may."""
    began, may_end = folder / "began", folder / "may-end"

    def hold(record: Any) -> Any:
        began.touch()
        while not may_end.exists():
            time.sleep(0.01)
        return record

    return hold


def in_background(sc: SparkContext, job: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    """`job` runs in a thread whose jobs nobody waits for; what it returns or raises is in the list."""
    found: list[Any] = []

    def work() -> None:
        with sc.labelled({BACKGROUND: "true"}):
            try:
                found.append(job())
            except SparklabError as error:
                found.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    return thread, found


def test_a_job_that_somebody_waits_for_ends_while_a_task_of_the_background_holds_on(
    sc: SparkContext, tmp_path: Path
) -> None:
    numbers = sc.parallelize(range(100), 4).cache()
    held = sc.parallelize([7], 1).map(holding(tmp_path))
    thread, found = in_background(sc, held.collect)
    try:
        wait_until((tmp_path / "began").exists)
        asked: list[Any] = []

        def ask() -> None:
            asked.append(numbers.count())
            asked.append(numbers.map(lambda x: (x % 3, 1)).reduceByKey(lambda a, b: a + b).count())

        threading.Thread(target=ask, daemon=True).start()
        wait_until(lambda: len(asked) == 2)
        assert asked == [100, 3]
        assert found == []
    finally:
        (tmp_path / "may-end").touch()
        thread.join()
    assert found == [[7]]


def test_a_cancelled_job_takes_none_of_what_runs_beside_it(sc: SparkContext, tmp_path: Path) -> None:
    held = sc.parallelize([7], 1).map(holding(tmp_path))
    thread, found = in_background(sc, held.collect)
    try:
        wait_until((tmp_path / "began").exists)
        slow = tmp_path / "slow"
        slow.mkdir()
        ended: list[BaseException] = []

        def wait_for_it() -> None:
            sc.setJobGroup("slow", "to be cancelled")
            try:
                sc.parallelize([1], 1).map(holding(slow)).count()
            except JobCancelled as error:
                ended.append(error)

        waiting = threading.Thread(target=wait_for_it)
        waiting.start()
        wait_until((slow / "began").exists)
        sc.cancelJobGroup("slow")
        waiting.join()
        assert len(ended) == 1
        assert found == []
    finally:
        (tmp_path / "may-end").touch()
        thread.join()
    assert found == [[7]]


def test_what_is_at_work_is_told_apart_when_one_task_is_interrupted() -> None:
    work = AtWork()
    go_on = threading.Event()
    ended: list[str] = []

    def run(task: int) -> None:
        try:
            with work.interruptible(task):
                while not go_on.is_set():
                    time.sleep(0.001)
            ended.append(f"{task} went on")
        except TaskCancelled:
            ended.append(f"{task} was stopped")

    threads = [threading.Thread(target=run, args=(task,)) for task in (1, 2)]
    for thread in threads:
        thread.start()
    wait_until(lambda: sorted(work.tasks) == [1, 2])
    work.cancel([1])
    threads[0].join()
    assert work.tasks == [2]
    go_on.set()
    threads[1].join()
    assert ended == ["1 was stopped", "2 went on"]


@pytest.mark.parametrize("begun", [True, False])
def test_a_call_that_comes_after_the_end_of_a_lane_is_refused_and_not_waited_for(begun: bool) -> None:
    lane = Lane("tests")
    if begun:
        assert lane.submit(int, "7").result(30) == 7
    lane.close()
    with pytest.raises(ConnectionAbortedError, match="tests has ended"):
        lane.submit(int, "8")
    lane.close()


def test_a_lane_runs_calls_in_their_order_and_hands_on_what_they_raise() -> None:
    lane = Lane("tests")
    ran: list[int] = []
    answers = [lane.submit(ran.append, number) for number in range(20)]
    failing = lane.submit(int, "x")
    last = lane.submit(len, ran)
    lane.close()
    assert last.result(30) == 20
    assert ran == list(range(20))
    assert [answer.result(30) for answer in answers] == [None] * 20
    with suppress(ValueError):
        failing.result(30)
        raise AssertionError("it raised nothing")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_what_breaks_the_thread_of_a_lane_is_told_as_of_any_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(threading, "excepthook", lambda found: told.append(f"{found.thread.name}: {found.exc_value}"))
    lane = Lane("tests")
    ran: list[int] = []

    def broken() -> None:
        raise ValueError("no lane")

    lane.put(lambda: ran.append(1))
    lane.put(broken)
    lane.put(lambda: ran.append(2))
    lane.join(30)

    assert (told, ran) == (["tests: no lane"], [1])
