"""Jobs from threads belong to the cell that started the thread."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any


class ScopedThreads:
    """New threads inherit the cell they are started in.

    Before Python 3.14 a thread begins with an empty context, so the contextvars that say which cell is running are
    carried over here, and those alone. A pool's threads keep the cell in which they were started.
    """

    def __init__(self, *carried: ContextVar[Any]) -> None:
        self._carried = carried
        self._original: Callable[[threading.Thread], None] | None = None
        self._replacement: Callable[[threading.Thread], None] | None = None

    def install(self) -> None:
        """``Thread.start`` hands on the cell."""
        original = self._original = threading.Thread.start
        carried = self._carried

        @functools.wraps(original)
        def start(thread: threading.Thread) -> None:
            values = [(variable, variable.get(None)) for variable in carried]
            if any(value for _, value in values):
                run = thread.run

                def run_in_the_cell() -> None:
                    thread.__dict__.pop("run", None)  # or it would refer to itself; wrapped twice, it is gone
                    for variable, value in values:
                        variable.set(value)
                    run()

                thread.run = run_in_the_cell  # type: ignore[method-assign]
            original(thread)

        self._replacement = start
        threading.Thread.start = start  # type: ignore[method-assign, assignment]

    def uninstall(self) -> None:
        """``Thread.start`` is as it was, unless somebody else has replaced it since."""
        if threading.Thread.start is self._replacement and self._original is not None:
            threading.Thread.start = self._original  # type: ignore[method-assign, assignment]
