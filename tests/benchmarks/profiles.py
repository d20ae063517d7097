"""Where a row's time goes, for the rows that miss a goal: the functions of the executors, or those of the driver.

``python -m tests.benchmarks.profiles WORKLOAD MODE`` prints one profile; `apart` does so in a process of its own.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from sparklab import SparkConf, SparkContext
from tests.benchmarks import workloads
from tests.benchmarks.harness import START
from tests.benchmarks.inputs import SIZES, Sizes

OF_DRIVER: Final = (START, "tiny_jobs", "empty_partitions")  # the executors have nothing to do
_SHOWN: Final = 12
_LOOK_EVERY_S: Final = 0.001
_ROOT: Final = Path(__file__).resolve().parents[2]


def of_executors(workload_name: str, sizes: Sizes) -> list[str]:
    """A line a function, the one that took most first; blocks for one run of the workload under ``cProfile``.

    The profiler's own cost makes small functions look larger than they are, and has strings be counted in dicts.
    """
    workload = workloads.load(workload_name)
    inputs = workload.prepare(sizes)
    conf = SparkConf().setMaster("local[2]").set("spark.python.profile", "true")
    with SparkContext(conf=conf.set("sparklab.allowMultipleContexts", "true")) as sc:
        for _, work in workload.rdd(sc, sizes, inputs):
            work()
        spent_s: Counter[str] = Counter()
        collector: Any = sc.profiler_collector
        for entry in collector.profilers:
            entry[2] = True  # shown: here, and not when the context stops
            for (file, line, function), (_, _, own_s, _, _) in entry[1].stats().stats.items():
                spent_s[function if file == "~" else f"{function} ({file}:{line})"] += own_s
    return _shares(spent_s)


def of_driver(workload_name: str, sizes: Sizes) -> list[str]:
    """A line a function of the driver's threads, by how often one was found in it; those that wait are left out."""

    def start() -> None:
        with SparkContext("local[2]", "profile") as sc:
            sc.parallelize([1, 2, 3, 4], 2).count()

    if workload_name == START:
        return of_threads(start)
    with SparkContext("local[2]", "profile") as sc:
        sc.parallelize([1, 2, 3, 4], 2).count()

        def run() -> None:
            for _, work in workloads.load(workload_name).rdd(sc, sizes, {}):
                work()

        return of_threads(run)


def of_threads(work: Callable[[], object]) -> list[str]:
    """A line a function of this process, by the processor time that its threads spent while it was looked at in them.

    A thread that waits spends none; what it spent before counts where it waits when it is looked at.
    """
    found: Counter[str] = Counter()
    ended = threading.Event()

    def look() -> None:
        this = threading.current_thread()
        before_ns: dict[int, int] = {}
        while not ended.is_set():
            frames = sys._current_frames()
            for thread in threading.enumerate():
                if thread is this or thread.ident not in frames or thread.native_id is None:
                    continue
                spent_ns = _thread_cpu_ns(thread.native_id)
                code = frames[thread.ident].f_code
                file = "/".join(Path(code.co_filename).parts[-2:])
                more_ns = spent_ns - before_ns.get(thread.native_id, spent_ns)
                if more_ns > 0:  # less where the number is another thread's by now
                    found[f"{code.co_name} ({file}:{code.co_firstlineno})"] += more_ns
                before_ns[thread.native_id] = spent_ns
            time.sleep(_LOOK_EVERY_S)

    looker = threading.Thread(target=look)
    looker.start()
    try:
        work()
    finally:
        ended.set()
        looker.join()
    return _shares(found)


def _thread_cpu_ns(native_id: int) -> int:
    """What a thread has spent so far; where the system does not tell, more at each look."""
    try:
        return int(Path(f"/proc/self/task/{native_id}/schedstat").read_text().split()[0])
    except OSError:
        return time.monotonic_ns() if sys.platform != "linux" else 0


def _shares(spent: Counter[str]) -> list[str]:
    total = sum(spent.values()) or 1
    return [f"{100 * each / total:5.1f} %  {name}" for name, each in spent.most_common(_SHOWN)]


def apart(workload_name: str, mode: str, timeout_s: float = 180.0) -> list[str]:
    """The profile, made by a process of its own; one line that says why where there is none. Never raises for that."""
    command = [sys.executable, "-m", "tests.benchmarks.profiles", workload_name, mode]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, cwd=_ROOT, check=False)
    except subprocess.TimeoutExpired:
        return [f"no profile in {timeout_s:.0f} s"]
    if done.returncode:
        return [f"no profile: {(done.stderr.strip().splitlines() or ['no reason'])[-1]}"]
    return done.stdout.splitlines()


if __name__ == "__main__":
    _, _name, _mode = sys.argv
    print("\n".join((of_driver if _name in OF_DRIVER else of_executors)(_name, SIZES[_mode])))
