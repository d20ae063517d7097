"""What a tree of processes has used: CPU seconds with the reaped children's, and the peak of its memory."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class Reading:
    """CPU seconds of a whole tree, and its processes' peaks of resident memory since the last reset, the root's first.

    `peak_bytes`, their sum, is an upper bound (they need not fall together) and 0 where the system does not tell.
    """

    cpu_s: float
    peaks_bytes: tuple[int, ...]

    @property
    def peak_bytes(self) -> int:
        return sum(self.peaks_bytes)


def read(pid: int) -> Reading:
    """The tree under `pid` as it is now: processes that live, and what they have reaped."""
    cpu_s = 0.0
    peaks_bytes = []
    for process in _tree(pid):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue  # it ended between the listing and here; its parent counts it once it has reaped it
        cpu_s += _own_cpu_s(process.pid, times.user + times.system)
        cpu_s += getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
        peaks_bytes.append(_peak_bytes(process.pid))
    return Reading(cpu_s, tuple(peaks_bytes))


def reset_peaks(pid: int) -> None:
    """The peaks of the tree under `pid` count from now, where the system can do that."""
    for process in _tree(pid):
        try:
            with open(f"/proc/{process.pid}/clear_refs", "w") as file:
                file.write("5")
        except OSError:
            pass  # not Linux, or the process has ended


def end(pid: int) -> None:
    """No process of the tree under `pid` runs any more."""
    processes = _tree(pid)
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            pass  # it ended by itself
    psutil.wait_procs(processes, timeout=10)


def adopt_orphans() -> None:
    """Grandchildren whose parent ends become this process's children, so that the tree stays whole (Linux)."""
    if sys.platform == "linux":
        import ctypes

        set_child_subreaper = 36
        ctypes.CDLL(None).prctl(set_child_subreaper, 1, 0, 0, 0)


def _tree(pid: int) -> list[psutil.Process]:
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _own_cpu_s(pid: int, in_ticks_s: float) -> float:
    """CPU seconds of one process to the nanosecond where its clock can be read, else as given."""
    if sys.platform != "linux":
        return in_ticks_s
    process_clock = (~pid << 3) | 2  # clock_getcpuclockid(3)
    try:
        return time.clock_gettime(process_clock)
    except OSError:
        return in_ticks_s


def _peak_bytes(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/status") as file:
            for line in file:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass  # not Linux, or the process has ended
    return 0
