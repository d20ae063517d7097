"""A task is ended between two lines of its own, not in the midst of an import that others need, too."""

from __future__ import annotations

import contextlib
import importlib
import itertools
import linecache
import sys
import threading
import time
from pathlib import Path
from typing import Any

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


def test_a_task_that_is_struck_on_any_line_of_its_way_in_or_out_leaves_nothing_behind() -> None:
    files = (atwork.__file__, contextlib.__file__)
    for struck_at in itertools.count(1):
        at_work, lines = AtWork(), 0

        def strike(frame: Any, event: str, _: Any, at_work: AtWork = at_work, struck_at: int = struck_at) -> Any:
            nonlocal lines
            ours = event == "line" and frame.f_code.co_filename in files and not at_work._lock.locked()
            # On a bare "try" the interpreter looks for nothing.
            if ours and linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip() != "try:":
                lines += 1
                if lines == struck_at and at_work.tasks:
                    sys.settrace(None)
                    at_work._cancelled.add(7)
                    at_work._interrupt()
            return strike

        def task(at_work: AtWork = at_work, strike: Any = strike) -> None:
            with contextlib.suppress(TaskCancelled):
                sys.settrace(strike)
                with at_work.interruptible(7):
                    pass
            sys.settrace(None)

        thread = threading.Thread(target=task)
        thread.start()
        thread.join(30)
        assert not thread.is_alive()
        assert (at_work.tasks, at_work._struck) == ([], set()), f"struck on line {struck_at}"
        if lines < struck_at:
            break
    assert struck_at > 10


def test_a_task_at_work_stays_cancelled_however_many_are_that_never_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atwork, "REMEMBERED", 3)
    at_work = AtWork()
    with contextlib.suppress(TaskCancelled), at_work.interruptible(1):
        at_work._cancelled.add(1)
        at_work.cancel(range(10, 20))
        at_work.cancel([20])
        with pytest.raises(TaskCancelled):
            at_work.check(1)
    with pytest.raises(TaskCancelled):
        at_work.check(20)
