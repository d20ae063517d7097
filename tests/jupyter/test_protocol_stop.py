"""Stop, as a front end asks for it: SIGINT to the kernel and its process group while a cell runs."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.jupyter.kernels import Executed, Kernel, kernel

pytestmark = pytest.mark.cluster

# The goal is one second; a shared machine gets slack, and the measured time stands in the failure.
BACK_WITHIN_S = 5.0

SET_UP = """
%load_ext sparklab
%sparklab auto off
import time, threading, numpy as np
from sparklab import SparkContext
sc = SparkContext("local[2]", "stop")
kept = sc.parallelize(range(1000), 4).map(lambda x: x + 1).cache()
kept.count()
"""


@pytest.fixture(scope="module")
def stopped() -> Iterator[Kernel]:
    with kernel() as running:
        running.ok(SET_UP)
        yield running


def stop(running: Kernel, source: str) -> tuple[Executed, float]:
    """The cell `source`, stopped once a task of it runs, and the seconds from Stop to its end."""
    running.ok("_before = sc.bus.seq")
    watcher = """
def _say_when_a_task_runs(before):
    from sparklab.events.facts import TaskStarted
    while True:
        with sc.bus.lock:
            if any(stage.running for stage in sc.bus.views.stages.values()):
                break
        time.sleep(0.02)
    print("a task runs", flush=True)
threading.Thread(target=_say_when_a_task_runs, args=(_before,), daemon=True).start()
"""
    request = running.start_cell(watcher + source)
    stopped_s: list[float] = []

    def interrupt(message: dict[str, Any]) -> None:
        if message["msg_type"] == "stream" and "a task runs" in message["content"]["text"]:
            stopped_s.append(time.monotonic())
            # What a server's interrupt does: the whole process group gets the signal, executors too.
            os.killpg(os.getpgid(running.manager.provisioner.pid), signal.SIGINT)  # type: ignore[union-attr]

    executed = running.finish_cell(request, interrupt)
    return executed, time.monotonic() - stopped_s[0]


@pytest.mark.parametrize(
    ("what", "body"),
    [
        ("a running action", "lambda x: (time.sleep(0.05), x)[1]"),
        ("while True", "spin"),
        ("time.sleep", "lambda x: time.sleep(3600)"),
        ("a long NumPy call", "lambda x: float(np.linalg.svd(np.random.rand(4000, 4000))[1][0])"),
    ],
)
def test_stop_gives_the_cell_back_and_loses_nothing_untold(stopped: Kernel, what: str, body: str) -> None:
    stopped.ok("def spin(x):\n    while True:\n        pass")

    executed, back_s = stop(stopped, f"sc.parallelize(range(200), 2).map({body}).collect()")

    assert executed.status == "error"
    assert executed.content["ename"] == "JobInterrupted"
    assert back_s < BACK_WITHIN_S, f"{what}: the cell came back after {back_s:.2f} s"
    assert "\n" not in executed.traceback.strip()
    held = stopped.ok(
        "with sc.bus.lock:\n    _held = sum(info.cached_partitions for info in sc.executorInfos())\n_held"
    )
    assert held.value == "4" or "lost" in executed.traceback or "cached" in executed.traceback
    assert stopped.ok("kept.sum()", timeout_s=60).value == "500500"
    assert stopped.ok("sc.parallelize([1, 2, 3], 2).count()").value == "3"


def test_stop_in_a_cell_without_a_job_is_an_ordinary_keyboard_interrupt(stopped: Kernel) -> None:
    request = stopped.start_cell("print('here', flush=True)\ntime.sleep(60)")

    def interrupt(message: dict[str, Any]) -> None:
        if message["msg_type"] == "stream":
            stopped.manager.interrupt_kernel()

    executed = stopped.finish_cell(request, interrupt)

    assert executed.content["ename"] == "KeyboardInterrupt"
    assert stopped.ok("kept.count()").value == "1000"


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("sc.parallelize([1], 1).map(lambda x: time.sleep(3600)).count()", "JobInterrupted"),
        ("await asyncio.sleep(3600)", "CancelledError"),
    ],
)
def test_stop_is_heard_in_a_cell_with_a_top_level_await(stopped: Kernel, body: str, error: str) -> None:
    request = stopped.start_cell(f"import asyncio\nawait asyncio.sleep(0)\nprint('here', flush=True)\n{body}")
    sent_s: list[float] = []

    def interrupt(message: dict[str, Any]) -> None:
        if message["msg_type"] == "stream" and not sent_s:
            time.sleep(0.3)
            sent_s.append(time.monotonic())
            stopped.manager.interrupt_kernel()

    executed = stopped.finish_cell(request, interrupt)

    assert executed.content["ename"] == error
    assert time.monotonic() - sent_s[0] < BACK_WITHIN_S
    assert stopped.ok("import signal; signal.getsignal(signal.SIGINT) is signal.default_int_handler").value == "True"
    assert stopped.ok("sc.parallelize([1, 2, 3], 2).count()").value == "3"


def test_run_all_stops_at_an_interrupted_cell(stopped: Kernel) -> None:
    first = stopped.start_cell(
        "print('here', flush=True)\nsc.parallelize([1], 1).map(lambda x: time.sleep(60)).count()"
    )
    second = stopped.start_cell("print('must not run')")
    sent: list[bool] = []

    def interrupt(message: dict[str, Any]) -> None:
        if message["msg_type"] == "stream" and not sent:
            sent.append(True)
            time.sleep(0.3)
            stopped.manager.interrupt_kernel()

    assert stopped.finish_cell(first, interrupt).status == "error"
    assert stopped.finish_cell(second).status == "aborted"
