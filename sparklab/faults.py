"""Injected faults, where they strike: inside a task, at a named step. ``sparklab.testing`` is the way to ask for them.

A plan travels as a local property of the job (JSON), so a job without one pays one look into a dict per task. Counts
are shared by the executors of a host through small files in the plan's folder, appended to in one write each. The
files are there from the start and none is made here: a task that outlives its injection must not put one back.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

PROPERTY: Final = "sparklab.faults"
RECORD_BYTES: Final = 64  # of one line of the log of steps: its position tells how many there were before

_SLICE_S: Final = 0.05  # a delayed task looks this often whether it was cancelled


class ExecutorStruck(BaseException):
    """In an executor that is a thread, what stands for the death of its process."""


class AnswerDropped(ConnectionResetError):
    """The answer of a task does not reach the driver: its connection breaks."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a task is: what a fault may be limited to, and what is told of one that struck."""

    executor: int
    epoch: int
    job: int
    stage: int
    partition: int
    attempt: int


class Striker:
    """Looks at each step of one task whether a fault is due, and lets it happen.

    Parameters
    ----------
    plan : str
        What :func:`sparklab.testing.inject` wrote into the job's properties.
    place : Place
    check_cancelled : callable
        Raises when the task was cancelled: a delay ends then.
    """

    def __init__(self, plan: str, place: Place, check_cancelled: Callable[[], None]) -> None:
        described: dict[str, Any] = json.loads(plan)
        self._folder = Path(described["folder"])
        self._faults: list[dict[str, Any]] = described["faults"]
        self._own_process = described["driver"] != os.getpid()
        self._place = place
        self._check_cancelled = check_cancelled

    def __call__(self, step: str, path: str) -> None:
        """The task is at `step`: what is due happens now."""
        place = self._place
        line = " ".join(map(str, (step, *asdict(place).values())))
        try:
            position = _append(self._folder / "steps", line.ljust(RECORD_BYTES - 1).encode() + b"\n") // RECORD_BYTES
            due = [fault for i, fault in enumerate(self._faults) if self._is_due(i, fault, step, path)]
            for fault in due:
                told = {"action": fault["action"], "step": step, "k": position, "pid": os.getpid(), **asdict(place)}
                _append(self._folder / "strikes", json.dumps(told).encode() + b"\n")
        except FileNotFoundError:
            return  # the injection is over, this task is a left-over of it
        for fault in due:
            self._strike(fault, step, path)

    def _is_due(self, number: int, fault: dict[str, Any], step: str, path: str) -> bool:
        if fault["step"] not in (None, step):
            return False
        needs_file = fault["action"] == "corrupt" or (fault["action"], step) == ("disk-full", "persist")
        if needs_file and not path:  # a block that stays in memory
            return False
        for name in ("executor", "partition"):
            if fault[name] not in (None, getattr(self._place, name)):
                return False
        reached = _append(self._folder / f"reached-{number}", b".") - 1
        return bool(fault["k"] <= reached < fault["k"] + fault["times"])

    def _strike(self, fault: dict[str, Any], step: str, path: str) -> None:
        match fault["action"]:
            case "kill" | "stop" if not self._own_process:
                raise ExecutorStruck
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "stop":
                # To this thread, not to the process: another thread may take a signal of the process, and this one
                # goes on meanwhile, past the step and as far as sending its answer.
                signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
            case "delay":
                until_s = time.monotonic() + fault["delay_s"]
                while (left_s := until_s - time.monotonic()) > 0:
                    self._check_cancelled()
                    threading.Event().wait(min(left_s, _SLICE_S))
            case "drop" if step == "fetch":
                raise ConnectionResetError("the connection broke (an injected fault)")
            case "drop" if step == "write":
                os.truncate(path, 0)
            case "drop":
                raise AnswerDropped("the answer was lost on its way (an injected fault)")
            case "corrupt":
                flip_byte(path)
            case "disk-full":
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path or None)


def files_of(faults: int) -> list[str]:
    """Names of the files in which steps and strikes of a plan of that many faults are counted."""
    return ["steps", "strikes", *(f"reached-{number}" for number in range(faults))]


def _append(path: Path, data: bytes) -> int:
    """`data` stands at the end of the file; its size then. One write: other processes' lines are not torn."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    try:
        os.write(fd, data)
        # After an appending write, the position of this descriptor is the end of its own data.
        return os.lseek(fd, 0, os.SEEK_CUR)
    finally:
        os.close(fd)


def flip_byte(path: str) -> None:
    """One byte in the middle of the file is another."""
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        at = os.fstat(fd).st_size // 2
        (byte,) = os.pread(fd, 1, at) or b"\0"
        os.pwrite(fd, bytes([byte ^ 0xFF]), at)
    finally:
        os.close(fd)
