"""One at a time on an executor's core: tasks that come by its own socket, and whatever Dask runs in its task thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, TypeVar

_T = TypeVar("_T")


class Turns:
    """Who finds nothing at work in Dask's task thread has the core to itself until it is done. Thread-safe.

    Parameters
    ----------
    pool : concurrent.futures.Executor
        The task thread: what is submitted to it from now on waits for who is alone.
    """

    def __init__(self, pool: Executor) -> None:
        self._pool = pool
        self._changed = threading.Condition()
        self._alone = False
        self._others = 0  # in the task thread, or seceded from it
        submit: Callable[..., Future[Any]] = pool.submit

        def submit_in_turn(function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
            return submit(self._with_others, function, *arguments, **named)

        pool.submit = submit_in_turn  # type: ignore[method-assign]

    def take(self, function: Callable[..., _T], *arguments: Any) -> _T:
        """What ``function(*arguments)`` returns, run here where the task thread is idle, else there. Blocks."""
        with self._changed:
            alone = self._alone = not self._others
        if not alone:
            return self._pool.submit(function, *arguments).result()
        try:
            return function(*arguments)
        finally:
            with self._changed:
                self._alone = False
                self._changed.notify_all()

    def _with_others(self, function: Callable[..., _T], /, *arguments: Any, **named: Any) -> _T:
        with self._changed:
            self._others += 1
            while self._alone:
                self._changed.wait()
        try:
            return function(*arguments, **named)
        finally:
            with self._changed:
                self._others -= 1
