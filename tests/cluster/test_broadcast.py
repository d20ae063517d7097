"""Broadcasts: loaded once per process, read from the driver's file or sent on demand, freed."""

from __future__ import annotations

import dataclasses
import gc
import os
import pickle
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sparklab import Broadcast, SparkContext, TaskContext
from sparklab.errors import ClosureError
from tests.waiting import wait_until


@pytest.fixture(scope="module", params=["threads[2]", "local[2]"])
def sc(request: pytest.FixtureRequest) -> Iterator[SparkContext]:
    with SparkContext(request.param, "broadcast") as context:
        yield context


class Loads:
    """A value that notes in a folder each time that it is loaded."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return _load, (self.folder,)


def _load(folder: str) -> Loads:
    name = f"{os.getpid()}-{len(os.listdir(folder))}"
    Path(folder, name).touch()
    return Loads(folder)


def processes(sc: SparkContext) -> int:
    return 1 if sc.master.startswith("threads") else 2


def busy(sc: SparkContext, broadcast: Broadcast[Any]) -> None:
    """Both executors use the value, several times."""

    def used(_: int) -> int:
        _ = broadcast.value
        threading.Event().wait(0.02)
        return 0

    sc.parallelize(range(12), 12).foreach(used)


def test_tasks_read_the_value(sc: SparkContext) -> None:
    table = sc.broadcast({1: "one", 2: "two"})
    assert sc.parallelize([1, 2, 1], 3).map(lambda n: table.value[n]).collect() == ["one", "two", "one"]
    assert table.value == {1: "one", 2: "two"}


def test_the_value_is_what_it_was_when_the_broadcast_was_made(sc: SparkContext) -> None:
    value = [1]
    broadcast = sc.broadcast(value)
    value.append(2)
    assert broadcast.value == [1]
    assert sc.parallelize([0], 1).map(lambda _: broadcast.value).collect() == [[1]]


def test_a_process_loads_the_value_once_and_again_after_unpersist(sc: SparkContext, tmp_path: Path) -> None:
    broadcast = sc.broadcast(Loads(str(tmp_path)))
    assert os.listdir(tmp_path) == []
    busy(sc, broadcast)
    assert len(os.listdir(tmp_path)) == processes(sc)
    busy(sc, broadcast)
    assert len(os.listdir(tmp_path)) == processes(sc)
    broadcast.unpersist(blocking=True)
    busy(sc, broadcast)
    wait_until(lambda: len(os.listdir(tmp_path)) == 2 * processes(sc))
    assert sc.parts_sent[broadcast.travels_as.token] == 0


def test_an_executor_that_cannot_open_the_drivers_file_is_sent_the_bytes_once(sc: SparkContext) -> None:
    broadcast = sc.broadcast(list(range(1000)))
    broadcast._ref = dataclasses.replace(broadcast.travels_as, path="/nonexistent/on/another/host")
    busy(sc, broadcast)
    busy(sc, broadcast)
    assert sc.parallelize([3], 1).map(lambda n: broadcast.value[n]).collect() == [3]
    assert 1 <= sc.parts_sent[broadcast.travels_as.token] <= 2


def test_what_was_sent_and_unpersisted_in_mid_stage_is_sent_again(sc: SparkContext) -> None:
    broadcast = sc.broadcast([7])
    broadcast._ref = dataclasses.replace(broadcast.travels_as, path="/nonexistent/on/another/host")
    token = broadcast.travels_as.token

    def forgetful(_: int) -> int:
        from sparklab.pieces import held

        task = TaskContext.get()
        assert task is not None
        if task.attemptNumber() <= 1:  # the bytes come with the second attempt
            held.forget([token])
        return int(broadcast.value[0])

    assert sc.parallelize([0], 1).map(forgetful).collect() == [7]


def test_a_replaced_executor_has_the_value_too(sc: SparkContext) -> None:
    broadcast = sc.broadcast("still here")
    busy(sc, broadcast)
    sc.kill_executor(0)
    sc.kill_executor(1)
    assert set(sc.parallelize(range(4), 4).map(lambda _: broadcast.value).collect()) == {"still here"}


def test_a_destroyed_broadcast_is_refused(sc: SparkContext) -> None:
    broadcast = sc.broadcast([1])
    mapped = sc.parallelize([0], 1).map(lambda _: broadcast.value)
    mapped.count()
    broadcast.destroy(blocking=True)
    broadcast.destroy()
    with pytest.raises(ClosureError, match="after it was destroyed"):
        _ = broadcast.value
    with pytest.raises(ClosureError, match="after it was destroyed"):
        mapped.collect()
    assert not broadcast.exists


def test_a_broadcast_destroyed_under_a_running_stage_fails_it_and_does_not_hang(sc: SparkContext) -> None:
    broadcast = sc.broadcast([1])
    broadcast._ref = dataclasses.replace(broadcast.travels_as, path="/nonexistent/on/another/host")
    Path(broadcast._path or "").unlink()
    with pytest.raises(ClosureError, match="after it was destroyed"):
        sc.parallelize([0], 1).map(lambda _: broadcast.value).collect()


def test_a_value_that_cannot_be_pickled_is_refused_at_once(sc: SparkContext) -> None:
    with pytest.raises(pickle.PicklingError, match="Could not serialize broadcast"):
        sc.broadcast(threading.Lock())


def test_a_task_can_neither_unpersist_nor_destroy(sc: SparkContext) -> None:
    broadcast = sc.broadcast([1])

    def tried(_: int) -> list[str]:
        found = []
        for method in (broadcast.unpersist, broadcast.destroy):
            try:
                method()
            except RuntimeError as error:
                found.append(str(error))
        return found

    assert sc.parallelize([0], 1).flatMap(tried).collect() == [
        "Broadcast can only be unpersisted in driver",
        "Broadcast can only be destroyed in driver",
    ]


def test_the_file_goes_with_the_last_reference(sc: SparkContext) -> None:
    broadcast = sc.broadcast([1])
    path = Path(broadcast._path or "")
    mapped = sc.parallelize([0], 1).map(lambda _, kept=broadcast: kept.value)
    del broadcast
    gc.collect()
    assert path.exists()
    assert mapped.collect() == [[1]]
    del mapped
    wait_until(lambda: gc.collect() >= 0 and not path.exists())


def test_classes_of_the_main_program_can_be_broadcast(sc: SparkContext) -> None:
    class Point:
        def __init__(self, x: int) -> None:
            self.x = x

    broadcast = sc.broadcast(Point(4))
    assert sc.parallelize([0], 1).map(lambda _: broadcast.value.x).collect() == [4]
