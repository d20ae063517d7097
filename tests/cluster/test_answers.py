"""What goes wrong where answers are taken in ends jobs: nobody waits for tasks that will not be heard of."""

from __future__ import annotations

import concurrent.futures
import os
import pickle
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sparklab import SparkContext
from sparklab.cluster import compat, handlers, switchboard
from sparklab.cluster.answers import Answers
from sparklab.cluster.dispatch import Dispatcher, JobHandle
from sparklab.cluster.ear import Ear
from sparklab.cluster.failures import WireError
from sparklab.cluster.heartbeat import Seat
from sparklab.cluster.line import Line
from sparklab.cluster.orders import OrderBook
from sparklab.cluster.reports import ended
from sparklab.cluster.wire import StageOrder, TaskOrder, TaskReport
from sparklab.conf import BACKGROUND
from sparklab.errors import SparklabError
from sparklab.events.bus import Bus
from sparklab.rdd.task import TaskMetrics
from sparklab.scheduler import messages as m
from sparklab.scheduler.machine import Scheduler
from tests.waiting import wait_until


def result_of(job: Callable[[], Any]) -> Any:
    """What `job` returns or raises; it has 60 s."""
    answer: concurrent.futures.Future[Any] = concurrent.futures.Future()

    def run() -> None:
        try:
            answer.set_result(job())
        except BaseException as error:
            answer.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return answer.result(60)


class Leaves(Exception):
    """Ends who unpickles it."""

    def __reduce__(self) -> Any:
        return sys.exit, ()


def test_an_answer_that_is_not_understood_ends_all_of_its_tasks(caplog: pytest.LogCaptureFixture) -> None:
    fed: list[m.TaskEnded] = []
    answers = Answers(None, lambda *stimuli: fed.extend(stimuli))  # type: ignore[arg-type]
    tasks = [TaskOrder(number, 0, 0, {}) for number in (3, 4)]
    rest = answers.take(
        Seat(1, 2, "a"), StageOrder(0, 0, 0, None, None), tasks, b"no pickle", Ear(lambda _: None, [3, 4])
    )
    assert rest == []
    assert [(each.task, each.executor, each.epoch, type(each.outcome)) for each in fed] == [
        (3, 1, 2, m.Lost),
        (4, 1, 2, m.Lost),
    ]
    assert "its answer was not understood" in caplog.text


def test_an_error_that_ends_who_unpickles_it_is_told_of_as_text() -> None:
    wire = WireError(pickle.dumps(Leaves()), "Leaves", "gone", "", "", -1, None)
    told = ended(TaskReport(0, "failed", wire, 0.0, TaskMetrics(), (), ()), 0, 0, 0).outcome
    assert isinstance(told, m.UserError)
    assert "Leaves: gone" in str(told.error)


def test_whatever_is_raised_in_the_schedulers_thread_ends_jobs() -> None:
    dispatcher = Dispatcher(Scheduler(), Bus())
    try:
        with pytest.raises(SystemExit):
            dispatcher.call(lambda _: sys.exit())
        dispatcher._inbox.put(sys.exit)
        handle = JobHandle(0, 1)
        dispatcher.submit(None, handle)  # type: ignore[arg-type]
        assert handle.ended.wait(30)
        assert "defect of sparklab" in str(handle.error)
    finally:
        dispatcher.close()


@pytest.mark.parametrize("way", ["answered at once", "listened to", "by Dask"])
def test_a_defect_in_taking_an_answer_ends_the_job_and_no_later_one(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    if way == "listened to":
        monkeypatch.setattr(switchboard, "LOOK_S", 0.01)
        monkeypatch.setattr(switchboard, "HEAR_S", 0.02)
    lent: list[Any] = []
    lend = switchboard.Sent.lend
    monkeypatch.setattr(switchboard.Sent, "lend", lambda sent: lend(sent) and not lent.append(sent))

    def broken(*_: Any) -> Any:
        raise ZeroDivisionError("a defect")

    with SparkContext("local[1]", "defect") as sc:
        takes_s = 0.3 if way == "listened to" else 0.0
        slow = sc.parallelize([1], 1).map(lambda x: time.sleep(takes_s) or x)

        def collected() -> list[int]:
            if way == "by Dask":
                sc.setLocalProperty(BACKGROUND, "true")
            return slow.collect()

        with monkeypatch.context() as patched:
            patched.setattr(OrderBook, "answer", broken)
            with pytest.raises(SparklabError, match="a defect"):
                result_of(collected)
        assert lent or way != "listened to"
        assert result_of(collected) == [1]


def test_a_handler_that_fails_ends_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    call = compat.call

    async def failing(owner: Any, address: str, name: str, **arguments: Any) -> Any:
        if name == handlers.RUN_BESIDE:
            raise RecursionError("a defect")
        return await call(owner, address, name, **arguments)

    monkeypatch.setattr(compat, "call", failing)
    with SparkContext("local[1]", "handler") as sc:

        def collected() -> list[int]:
            sc.setLocalProperty(BACKGROUND, "true")
            return sc.parallelize([1], 1).collect()

        with pytest.raises(SparklabError, match="a defect"):
            result_of(collected)


def test_the_line_of_an_executor_that_left_a_fork_behind_is_closed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    lines: list[Line] = []
    make = Line.__init__

    def noted(line: Line, *arguments: Any) -> None:
        make(line, *arguments)
        lines.append(line)

    monkeypatch.setattr(Line, "__init__", noted)
    over, forked = str(tmp_path / "over"), tmp_path / "forked"

    def leaves_a_fork(x: int) -> int:
        if os.fork() == 0:
            forked.touch()
            while not os.path.exists(over):
                time.sleep(0.01)
            os._exit(0)
        return x

    with SparkContext("local[1]", "fork") as sc:
        try:
            assert sc.parallelize([1], 1).map(leaves_a_fork).collect() == [1]
            wait_until(forked.exists)
            sc.kill_executor(0)
            wait_until(lambda: lines[0].fileno() < 0)
            assert sc.parallelize([1], 1).count() == 1
        finally:
            Path(over).touch()
