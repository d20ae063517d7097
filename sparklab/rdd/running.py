"""The attempt that the calling thread works on: what functions inside a task can ask for without being handed it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from sparklab.rdd.task import TaskContext

_current: ContextVar[TaskContext | None] = ContextVar("sparklab_task", default=None)


def current_task() -> TaskContext | None:
    """The attempt that runs in this thread, None outside of tasks."""
    return _current.get()


@contextmanager
def running(task: TaskContext) -> Iterator[None]:
    """Inside, :func:`current_task` is `task`."""
    token = _current.set(task)
    try:
        yield
    finally:
        _current.reset(token)
