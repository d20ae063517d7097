"""Whether there is a job that somebody waits for, as every process of the driver's machine can see it.

What runs in the background steps aside for such a job: for its first moments, in which most are over and take as long
as if nothing else ran; then for half of the time, so that what takes all cores is no more than half as long again in a
long one's way. A message would come as late as the job's own tasks, which wait for a core at each hop.
"""

from __future__ import annotations

import functools
import hashlib
import mmap
import os
import platform
import struct
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

ASIDE_S: Final = 0.05  # the longest that others step aside at once
PROPERTY: Final = "sparklab.foreground.file"  # of jobs in the background: where they look
LOOK_S: Final = 0.001

_WORDS: Final = struct.Struct("=q16s")  # how many jobs somebody waits for, on which machine
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
            os.ftruncate(descriptor, _WORDS.size)
            self._shared = mmap.mmap(descriptor, _WORDS.size)
        finally:
            os.close(descriptor)
        self._lock = threading.Lock()
        self._jobs = 0

    @contextmanager
    def job(self) -> Iterator[None]:
        """Somebody waits for a job, inside."""
        self._count(1)
        try:
            yield
        finally:
            self._count(-1)

    def _count(self, more: int) -> None:
        with self._lock:
            self._jobs += more
            _WORDS.pack_into(self._shared, 0, self._jobs, _machine())


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
                self._shared = mmap.mmap(file.fileno(), _WORDS.size, access=mmap.ACCESS_READ)
        except (OSError, ValueError):
            return

    def step(self) -> None:
        """Returns when there is no such job, or after 50 ms; at once until as much time has passed as it waited."""
        began_ns = now_ns = time.monotonic_ns()
        shared = self._shared
        if shared is None or now_ns < self._not_before_ns:
            return
        while now_ns < began_ns + _ASIDE_NS and _somebody_waits(shared):
            time.sleep(LOOK_S)
            now_ns = time.monotonic_ns()
        self._not_before_ns = 2 * now_ns - began_ns


def _somebody_waits(shared: mmap.mmap) -> bool:
    jobs, machine = _WORDS.unpack_from(shared, 0)
    # A disk that machines share does not share what is written to memory: another's number may be an old one.
    return bool(jobs) and machine == _machine()


@functools.cache
def _machine() -> bytes:
    """The same in all processes of this machine since it was started, on no other."""
    try:
        text = Path("/proc/sys/kernel/random/boot_id").read_text()
    except OSError:  # not Linux
        text = f"{platform.node()} {uuid.getnode()}"
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


@functools.lru_cache(maxsize=16)
def aside_of(path: str) -> Aside:
    """One for all that look there in this process."""
    return Aside(path)
