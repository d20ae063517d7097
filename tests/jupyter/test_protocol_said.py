"""What tasks print stands under the cell that ran them, seen as a front end sees it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.jupyter.kernels import Kernel, kernel

SET_UP = """
%load_ext sparklab
%sparklab auto off
import os, threading, time, warnings, logging
from sparklab import SparkContext
sc = SparkContext("local[2]", "said").waitUntilReady()
def say(x):
    print("record", x)
    if x == 3:
        warnings.warn("careful")
        logging.getLogger("mine").warning("logged %d", x)
    return x
def late(name, door):
    def wait(x):
        while not os.path.exists(door): time.sleep(0.01)
        print("said late by", name)
        return x
    return sc.parallelize([1], 1).map(wait).count()
"""


@pytest.fixture(scope="module")
def k() -> Iterator[Kernel]:
    with kernel() as running:
        running.ok(SET_UP)
        yield running


def streamed(executed: Any, name: str) -> str:
    return "".join(m["content"]["text"] for m in executed.of("stream") if m["content"]["name"] == name)


@pytest.mark.parametrize("first_line", ["", "%%sparklab\n", "%%sparklab -q\n"])
def test_print_warnings_and_logging_of_tasks_stand_under_their_cell_by_partition(k: Kernel, first_line: str) -> None:
    ran = k.ok(f"{first_line}sc.parallelize(range(4), 2).map(say).sum()")
    assert ran.value == "6"
    assert sorted(streamed(ran, "stdout").splitlines()) == [
        "partition 0: record 0", "partition 0: record 1", "partition 1: record 2", "partition 1: record 3",
    ]  # fmt: skip
    assert "UserWarning: careful" in streamed(ran, "stderr") or first_line, "Python warns once of a line"
    assert "partition 1: logged 3" in streamed(ran, "stderr")


def test_what_is_said_late_stands_under_the_cell_that_started_the_job(k: Kernel, tmp_path: Path) -> None:
    k.ok(f"door = {str(tmp_path / 'open')!r}")
    first = k.start_cell("thread = threading.Thread(target=late, args=('the first', door))\nthread.start()")
    k.finish_cell(first)
    second = k.start_cell("open(door, 'w').close(); late('the second', door), thread.join()")
    seen: list[dict[str, Any]] = []
    ran = k.finish_cell(second, seen=seen.append)
    assert "said late by the second" in ran.text
    assert "the first" not in ran.text
    texts = {m["parent_header"]["msg_id"]: m["content"]["text"] for m in seen if m["msg_type"] == "stream"}
    assert "said late by the first" in texts[first]


def test_a_failing_task_is_heard_too_each_attempt_by_its_number(k: Kernel) -> None:
    ran = k.run(
        "def f(x):\n    print('before the end')\n    raise ValueError(x)\nsc.parallelize([7], 1).map(f).count()"
    )
    assert ran.status == "error"
    assert "partition 0: before the end" in streamed(ran, "stdout")


def test_a_task_that_says_too_much_is_cut(k: Kernel) -> None:
    ran = k.ok("sc.parallelize(range(30), 30).map(lambda x: print('z' * 10_000)).count()")
    said = streamed(ran, "stdout")
    assert len(said) < 60_000
    assert "6,001 more characters stand in the executor's log" in said
    assert "stands in the executors' logs" in said


def test_what_a_long_task_says_is_read_while_it_runs(k: Kernel, tmp_path: Path) -> None:
    door = tmp_path / "open"
    k.ok(
        "import os\n"
        "def patient(x):\n"
        "    print('waiting'); print('half a li', end='')\n"
        f"    while not os.path.exists({str(door)!r}): time.sleep(0.01)\n"
        "    print('ne'); print('done')\n"
        "    return x"
    )
    request = k.start_cell("sc.parallelize([5], 1).map(patient).sum()")
    heard: list[str] = []

    def seen(message: dict[str, Any]) -> None:
        if message["msg_type"] == "stream":
            heard.append(message["content"]["text"])
            door.touch()

    ran = k.finish_cell(request, seen)
    assert ran.value == "5"
    assert "".join(heard) == "partition 0: waiting\npartition 0: half a line\npartition 0: done\n"
    assert heard[0] == "partition 0: waiting\n"
