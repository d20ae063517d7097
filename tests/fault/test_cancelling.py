"""Cancelling a job or a group: the flag, then an exception in the task, then the process; the caller is told soon."""

from __future__ import annotations

import importlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sparklab import SparkConf, SparkContext
from sparklab.cluster import jobs
from sparklab.errors import JobCancelled
from sparklab.events import facts as f
from tests.waiting import wait_until

BACK_S = 5.0  # a second on a calm machine


@pytest.fixture(scope="module")
def sc() -> Iterator[SparkContext]:
    # A task deep in C code would be taken for hung no sooner than it would end.
    with SparkContext("local[2]", "cancelling", conf=SparkConf().set("spark.network.timeout", "120s")) as context:
        yield context


def bodies() -> dict[str, Callable[[int], Any]]:
    """What tasks do. Made here, so that they travel by value: importing a test module takes executors long."""

    def spin(_: int) -> int:
        while True:
            pass

    def import_endlessly(_: int) -> int:
        class Finder:
            @staticmethod
            def find_spec(name: str, *_: Any) -> None:
                while name == "endless":
                    pass

        sys.meta_path.insert(0, Finder)  # type: ignore[arg-type]
        return len(dir(importlib.import_module("endless")))

    return {
        "import": import_endlessly,
        "batches": lambda x: (time.sleep(0.02), x)[1],
        "spin": spin,
        "sleep": lambda _: time.sleep(3600),
        "deep in C": lambda _: sum(range(10**13)),
    }


def by_job(sc: SparkContext) -> None:
    (job,) = sc.statusTracker().getActiveJobsIds()
    sc.cancelJob(job)


def by_group(sc: SparkContext) -> None:
    sc.cancelJobGroup("doomed")


@pytest.mark.parametrize("cancel", [by_job, by_group])
@pytest.mark.parametrize(
    ("name", "restarts"), [("batches", False), ("spin", False), ("sleep", True), ("deep in C", True), ("import", True)]
)
def test_a_cancelled_job_ends_soon_whatever_its_tasks_do(
    sc: SparkContext,
    cancel: Callable[[SparkContext], None],
    name: str,
    restarts: bool,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    if not restarts:  # on a busy machine too, these end by themselves
        monkeypatch.setattr(jobs, "GRACE_S", 10.0)
    wait_until(lambda: all(info.alive for info in sc.executorInfos()))
    since, body = sc.bus.seq, bodies()[name]
    ended: list[BaseException] = []
    folder = str(tmp_path)

    def marked(x: int) -> Any:
        Path(folder, str(os.getpid())).touch()
        return body(x)

    def run() -> None:
        sc.setJobGroup("doomed", "to be cancelled")
        try:
            sc.parallelize(range(2000), 2).map(marked).count()
        except BaseException as error:
            ended.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    wait_until(lambda: len(list(tmp_path.iterdir())) == 2)
    began_s = time.monotonic()
    cancel(sc)
    thread.join(BACK_S)
    assert time.monotonic() - began_s < BACK_S
    assert [type(error) for error in ended] == [JobCancelled]

    def lost() -> list[f.ExecutorLost]:
        return [r.fact for r in sc.records() if r.seq > since and isinstance(r.fact, f.ExecutorLost)]

    if restarts:
        wait_until(lambda: bool(lost()))
    assert bool(lost()) == restarts
    assert {fact.reason for fact in lost()} <= {jobs.KILLED}
    assert sc.parallelize(range(10), 2).sum() == 45


def test_executors_have_a_public_number_and_pid(sc: SparkContext) -> None:
    wait_until(lambda: len(sc.statusTracker().getExecutorInfos()) == 2)
    public = [(info.executor, info.pid) for info in sc.statusTracker().getExecutorInfos()]
    assert public == [(info.executor, info.pid) for info in sc.executorInfos()]
    assert all(pid > 1 for _, pid in public)
