"""Threads carry the cell that started them, however often that was arranged."""

from __future__ import annotations

import threading
from contextvars import ContextVar

from sparklab.jupyter.threads import ScopedThreads

CELL: ContextVar[str] = ContextVar("CELL", default="")


def test_a_thread_carries_its_cell_also_where_two_shells_have_arranged_it() -> None:
    first, second = ScopedThreads(CELL), ScopedThreads(CELL)
    before = threading.Thread.start
    first.install()
    second.install()
    token = CELL.set("In [3]")
    try:
        heard: list[str] = []
        thread = threading.Thread(target=lambda: heard.append(CELL.get()))
        thread.start()
        thread.join(10)
        assert heard == ["In [3]"]
        assert "run" not in vars(thread), "or it would refer to itself"
    finally:
        CELL.reset(token)
        second.uninstall()
        first.uninstall()
    assert threading.Thread.start is before
