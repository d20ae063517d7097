"""Ending a task between two lines of its user's code: an exception raised in its thread from another one."""

from __future__ import annotations

import ctypes
import sys
import time
from typing import Final

_IMPORTING: Final = "<frozen importlib"


class TaskCancelled(BaseException):
    """Raised inside a task's thread when its job was cancelled. No user code catches it by accident."""


def raise_in(thread: int) -> None:
    """TaskCancelled is raised in `thread` at its next step of Python."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(TaskCancelled))


def imports(thread: int) -> bool:
    """Whether `thread` imports a module: a module that is half there stays broken for its whole process."""
    frame = sys._current_frames().get(thread)
    while frame is not None:
        if frame.f_code.co_filename.startswith(_IMPORTING):
            return True
        frame = frame.f_back
    return False


def take_exception(thread: int) -> None:
    """No exception set for this thread is still on its way: one that came too late must not strike what runs next.

    Setting None would take it back, but leave the interpreter looking for it at every step, for good; with a profiler
    it would never get any further.
    """
    try:
        raise_in(thread)
        while True:
            time.sleep(0)
    except TaskCancelled:
        return
