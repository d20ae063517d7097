"""A thread of its own for calls that take their turns: an executor's tasks, and what runs beside them."""

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

    def put(self, call: Callable[[], None]) -> bool:
        """`call` runs after what was put before, False where the lane has ended.

        What it raises ends the thread, as in any other.
        """
        with self._lock:  # nothing comes behind the end
            if self._closed:
                return False
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            self._calls.put(call)
            return True

    def submit(self, function: Callable[..., Any], *arguments: Any) -> concurrent.futures.Future[Any]:
        """``function(*arguments)`` runs after what was put before; the future has what it returns or raises.

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

        if not self.put(call):
            raise ConnectionAbortedError(f"{self._name} has ended")
        return answer

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
            del call  # or what the last one was given would live until the next

    def close(self) -> None:
        """The thread ends with what was put before; what comes later is refused. Idempotent; does not block."""
        with self._lock:
            self._closed = True
            self._calls.put(None)

    def join(self, timeout_s: float) -> None:
        """The thread has ended, or `timeout_s` are over."""
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join(timeout_s)
