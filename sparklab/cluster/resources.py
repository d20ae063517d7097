"""What this process may use - a container's share, not the host's - and how executors divide it."""

from __future__ import annotations

import math
import os
import resource
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sparklab.conf import Settings

MEMORY_PER_EXECUTOR_BYTES: Final = 400 * 2**20
"""Below this an executor has too little room beside Python's own."""

_LEAST_EXECUTORS: Final = 2  # one executor shows nothing of a cluster
_EXECUTORS_SHARE: Final = 0.75  # the rest is the driver's, the scheduler's and the page cache's
_UNLIMITED_BYTES: Final = 2**60  # cgroup v1 writes "no limit" as a huge number


@dataclass(frozen=True, slots=True)
class Resources:
    """Cores and memory this process and its children may use together."""

    cores: int
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class ExecutorPlan:
    """How many executors there are and what each may use.

    Attributes
    ----------
    executors : int
        Processes of one task thread.
    memory_bytes : int
        Whole memory of one.
    cache_bytes : int
        Cached blocks that one holds before it evicts.
    work_bytes : int
        What one's operators (combining, sorting) hold before they spill.
    """

    executors: int
    memory_bytes: int
    cache_bytes: int
    work_bytes: int


def find_resources(root: Path = Path("/")) -> Resources:
    """Cores and memory of this process: the least of machine, affinity and every control group it is in.

    `root` is where ``proc`` and ``sys`` are looked for. Never fails: what cannot be read is no limit.
    """
    cores = [float(os.cpu_count() or 1)]
    if hasattr(os, "sched_getaffinity"):
        cores.append(float(len(os.sched_getaffinity(0))))
    memory = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for folder in _groups(root):
        cores.extend(_group_cores(folder))
        memory.extend(_group_memory(folder))
    return Resources(cores=max(1, math.ceil(min(cores))), memory_bytes=min(memory))


def plan_executors(resources: Resources, settings: Settings, executors: int | None = None) -> ExecutorPlan:
    """The executors to start: `executors` of them, or as many as cores and memory carry where None.

    That many is the number of cores, at least 2, and at most one per 400 MiB.
    """
    if executors is None:
        room = resources.memory_bytes // MEMORY_PER_EXECUTOR_BYTES
        executors = max(1, min(max(resources.cores, _LEAST_EXECUTORS), room))
    memory = settings.executor_memory_bytes or int(resources.memory_bytes * _EXECUTORS_SHARE / executors)
    usable = memory * settings.memory_fraction
    cache = int(usable * settings.storage_fraction)
    return ExecutorPlan(executors=executors, memory_bytes=memory, cache_bytes=cache, work_bytes=int(usable) - cache)


def room_bytes(resources: Resources | None = None) -> int:
    """Bytes of memory that this process may still take: of the machine's, and of its container's."""
    import psutil

    limit = (resources or find_resources()).memory_bytes
    return max(0, min(int(psutil.virtual_memory().available), limit - resident_bytes()))


def resident_bytes(at_least: int = 0) -> int:
    """Bytes of memory that this process holds, as Dask and the system count them; takes microseconds.

    Where they are not of interest below `at_least`: 0 if the process has never held as many, which is known without
    letting another thread in.
    """
    if at_least and _peak_bytes() < at_least:
        return 0
    try:
        # Not by a file object: each of its calls to the system lets another thread in, and waits for its turn again.
        file = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return int(os.read(file, 128).split()[1]) * os.sysconf("SC_PAGE_SIZE")
        finally:
            os.close(file)
    except OSError:  # not Linux
        import psutil

        return int(psutil.Process().memory_info().rss)


def _peak_bytes() -> int:
    """The most that this process ever held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def cpu_s(pid: int) -> float:
    """Seconds that process `pid` has spent on processors; 0 where it cannot be known."""
    import psutil

    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)


def _groups(root: Path) -> Iterator[Path]:
    """Directories of the control groups that hold this process, from its own up to the mount."""
    for line in _read(root / "proc/self/cgroup").splitlines():
        parts = line.split(":", 2)
        if len(parts) != 3:
            continue
        _, controllers, path = parts
        # v2 has one tree and no controllers in the line; v1 has a tree per controller.
        for name in controllers.split(",") if controllers else ("", "unified"):
            mount = root / "sys/fs/cgroup" / name
            # Inside a container the path is often the host's and not visible: then the mount itself is the group.
            folder = mount / path.lstrip("/")
            while True:
                if folder.is_dir():
                    yield folder
                if folder == mount or mount not in folder.parents:
                    break
                folder = folder.parent


def _group_cores(folder: Path) -> Iterator[float]:
    quota, _, period = _read(folder / "cpu.max").partition(" ")
    if not quota:
        quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
    try:
        share = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):  # "max", or no such file
        return
    if share > 0:
        yield share


def _group_memory(folder: Path) -> Iterator[int]:
    for name in ("memory.max", "memory.high", "memory.limit_in_bytes"):
        try:
            limit = int(_read(folder / name))
        except ValueError:
            continue
        if 0 < limit < _UNLIMITED_BYTES:
            yield limit


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
