"""A task is ended between two lines of its own, not in the midst of an import that others need, too."""

from __future__ import annotations

import contextlib
import importlib
import sys
import threading
import time
from pathlib import Path

import pytest

from sparklab.cluster import atwork
from sparklab.cluster.atwork import AtWork
from sparklab.rdd.cancellation import TaskCancelled
from tests.waiting import wait_until

MODULE = """
import sys
began, go = sys.modules["half_there_events"].events
with open(__file__) as file:
    began.set()
    while not go.wait(0.001):
        pass
whole = True
"""


def test_a_task_that_is_cancelled_while_it_imports_ends_when_the_module_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "half_there.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    began, go = threading.Event(), threading.Event()
    events = type(sys)("half_there_events")
    events.events = began, go  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "half_there_events", events)
    monkeypatch.setattr(atwork, "INTERRUPT_AFTER_S", 0.001)
    tries, ended = [0], []

    class Counted(AtWork):
        def _interrupt(self) -> None:
            tries[0] += 1
            super()._interrupt()

    at_work = Counted()

    def task() -> None:
        try:
            with at_work.interruptible(7):
                importlib.import_module("half_there")
                while True:
                    began.is_set()
        except TaskCancelled:
            ended.append(True)

    thread = threading.Thread(target=task, daemon=True)
    thread.start()
    assert began.wait(30)
    at_work.cancel([7])
    wait_until(lambda: tries[0] >= 3 or not thread.is_alive())
    go.set()
    thread.join(30)
    assert ended
    assert sys.modules.pop("half_there").whole


def test_what_a_cancelled_task_does_on_its_way_out_is_not_struck_because_of_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    importing, tries, ended = [0], [0], []
    working = threading.Event()
    monkeypatch.setattr(atwork, "INTERRUPT_AFTER_S", 0.001)
    monkeypatch.setattr(atwork, "imports", lambda thread: thread == importing[0])

    class Counted(AtWork):
        def _interrupt(self) -> None:
            super()._interrupt()
            tries[0] += 1

    at_work = Counted()

    def imports() -> None:
        importing[0] = threading.get_ident()
        with contextlib.suppress(TaskCancelled), at_work.interruptible(1):
            while True:
                time.sleep(0.001)

    def cleans_up() -> None:
        with contextlib.suppress(TaskCancelled), at_work.interruptible(2):
            try:
                while True:
                    working.set()
                    time.sleep(0.001)
            finally:
                before = tries[0]
                wait_until(lambda: tries[0] >= before + 3)
                ended.append("whole")

    threads = [threading.Thread(target=each, daemon=True) for each in (imports, cleans_up)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(at_work.tasks) == 2)
    assert working.wait(30)
    at_work.cancel([1, 2])
    threads[1].join(30)
    importing[0] = 0
    threads[0].join(30)
    assert ended == ["whole"]
    assert not any(thread.is_alive() for thread in threads)
