"""A thread of its own for what runs beside an executor's tasks."""

from __future__ import annotations

import concurrent.futures
import queue
import threading
from collections.abc import Callable
from typing import Any


class Lane:
    """Calls, one after the other, in one thread that begins with the first of them and keeps no process alive.

    Thread-safe.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False

    def submit(self, function: Callable[..., Any], *arguments: Any) -> concurrent.futures.Future[Any]:
        """``function(*arguments)`` runs after what was submitted before; the future has what it returns or raises.

        Raises
        ------
        ConnectionAbortedError
            The lane was closed: for who asked, the executor is gone.
        """
        answer: concurrent.futures.Future[Any] = concurrent.futures.Future()

        def call() -> None:
            if answer.set_running_or_notify_cancel():
                try:
                    answer.set_result(function(*arguments))
                except BaseException as error:
                    answer.set_exception(error)

        with self._lock:  # nothing comes behind the end
            if self._closed:
                raise ConnectionAbortedError(f"{self._name} has ended")
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            self._calls.put(call)
        return answer

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
            del call  # or what the last one was given would live until the next

    def close(self) -> None:
        """The thread ends with what was submitted; what comes later is refused. Idempotent; does not block."""
        with self._lock:
            self._closed = True
            self._calls.put(None)
