"""Whether a job that somebody waits for began a moment ago, as every process of the driver's machine can see it.

What runs in the background steps aside for the first moments of such a job: most are over by then, and take as long as
if nothing else ran. A message would come as late as the job's own tasks, which wait for a core at each hop.
"""

from __future__ import annotations

import functools
import mmap
import os
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

ASIDE_S: Final = 0.05  # of a job's life, in which others step aside
PROPERTY: Final = "sparklab.foreground.file"  # of jobs in the background: where they look
LOOK_S: Final = 0.001

_WORD: Final = struct.Struct("=q")  # until when to step aside, in nanoseconds of the machine's monotonic clock
_ASIDE_NS: Final = int(ASIDE_S * 1e9)


class Foreground:
    """Tells others of the jobs that somebody waits for. Thread-safe.

    Parameters
    ----------
    path : Path
        A file that does not exist yet; for this user alone.
    """

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        try:
            os.ftruncate(descriptor, _WORD.size)
            self._shared = mmap.mmap(descriptor, _WORD.size)
        finally:
            os.close(descriptor)
        self._lock = threading.Lock()
        self._jobs = 0

    @contextmanager
    def job(self) -> Iterator[None]:
        """Somebody waits for a job, inside."""
        with self._lock:
            self._jobs += 1
            _WORD.pack_into(self._shared, 0, time.monotonic_ns() + _ASIDE_NS)
        try:
            yield
        finally:
            with self._lock:
                self._jobs -= 1
                if not self._jobs:
                    _WORD.pack_into(self._shared, 0, 0)


class Aside:
    """Steps aside for the jobs that a :class:`Foreground` tells of, for at most half of the time. Thread-safe.

    Parameters
    ----------
    path : str
        The foreground's file. Where there is none, as on another machine, nobody steps aside.
    """

    def __init__(self, path: str) -> None:
        self._shared: mmap.mmap | None = None
        self._not_before_ns = 0
        try:
            with open(path, "rb") as file:
                self._shared = mmap.mmap(file.fileno(), _WORD.size, access=mmap.ACCESS_READ)
        except (OSError, ValueError):
            return

    def step(self) -> None:
        """Returns when no such job is in its first moments, after 50 ms where others begin meanwhile.

        At once where as much time has not passed as it waited.
        """
        began_ns = now_ns = time.monotonic_ns()
        if self._shared is None or now_ns < self._not_before_ns:
            return
        last_ns = began_ns + _ASIDE_NS  # or one job after the other would stop it for as long as they come
        # What says more than that was written by another machine's clock.
        while now_ns < last_ns and now_ns < _WORD.unpack_from(self._shared, 0)[0] <= now_ns + _ASIDE_NS:
            time.sleep(LOOK_S)
            now_ns = time.monotonic_ns()
        self._not_before_ns = 2 * now_ns - began_ns


@functools.lru_cache(maxsize=16)
def aside_of(path: str) -> Aside:
    """One for all that look there in this process."""
    return Aside(path)
