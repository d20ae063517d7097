"""``make bench-faults``: what a death costs beyond the recomputation itself, and whether 2,000 jobs leave memory flat.

An executor dies in a job over cached text, and in the reduce of a word count. The same job is measured undisturbed, and
with as many partitions dropped by hand: what the death cost on top is the time of finding out, replacing and placing.
"""

from __future__ import annotations

import argparse
import operator
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import psutil

from sparklab import SparkConf, SparkContext
from sparklab.events import facts as f
from sparklab.testing import inject, kill
from tests.waiting import wait_until

MB: Final = 1_000_000
PARTITIONS: Final = 24
GOAL_EXTRA_S: Final = 2.0
GOAL_GROWTH: Final = 1.10
WARM_UP: Final = 0.2  # of the jobs: imports, caches and pools fill up in these


def make_text(path: Path, size_mb: int) -> None:
    """`path` holds `size_mb` megabytes of log lines."""
    lines = "".join(
        f"2024-05-{i % 28 + 1:02d} host{i % 97} {'ERROR' if i % 13 == 0 else 'INFO'} request {i} took {i % 1000} ms\n"
        for i in range(20_000)
    ).encode()
    with path.open("wb") as file:
        for _ in range(size_mb * MB // len(lines) + 1):
            file.write(lines)


def timed(action: Callable[[], Any]) -> tuple[float, Any]:
    began_s = time.perf_counter()
    value = action()
    return time.perf_counter() - began_s, value


def all_alive(sc: SparkContext) -> None:
    wait_until(lambda: [info.alive for info in sc.executorInfos()] == [True, True])


def cached_query(sc: SparkContext, path: Path, rounds: int) -> tuple[list[str], float]:
    """An executor dies in the fourth job over cached lines. Lines of the table, and the extra seconds."""
    lines = sc.textFile(str(path), PARTITIONS).cache()

    def query() -> int:
        return int(lines.filter(lambda line: "ERROR" in line).count())

    load_s, right = timed(query)
    calm_s = [timed(query)[0] for _ in range(2)]
    struck_s, dropped_s, lost = [], [], 0
    for _ in range(rounds):
        all_alive(sc)
        with inject(sc, kill("result", PARTITIONS // 4)) as injection, sc.scope("struck") as scope:
            wall_s, found = timed(query)
        (strike,) = injection.strikes
        assert found == right
        struck_s.append(wall_s)
        lost = sc.run_of(scope).recomputed_partitions
        all_alive(sc)
        with sc.bus.lock:
            gone = [r for r in sc.records() if isinstance(r.fact, f.BlockRemoved)]
        parts = [
            r.fact.partition
            for r in gone
            if (r.fact.executor, r.fact.epoch) == (strike.executor, strike.epoch) and r.fact.reason == "executor_lost"
        ]
        for partition in parts:
            sc.drop_partition(lines, partition)
        wall_s, found = timed(query)
        assert found == right
        dropped_s.append(wall_s)
    extra_s = statistics.median(struck_s) - statistics.median(dropped_s)
    lines.unpersist()
    table = [
        f"load and first query               {load_s:7.2f} s",
        f"query from the cache               {statistics.median(calm_s):7.2f} s",
        f"with as many dropped by hand       {statistics.median(dropped_s):7.2f} s   ({lost} of {PARTITIONS} again)",
        f"with an executor killed in it      {statistics.median(struck_s):7.2f} s",
        f"the death itself                   {extra_s:7.2f} s   (goal below {GOAL_EXTRA_S:g} s)",
    ]
    return table, extra_s


def mid_reduce(sc: SparkContext, path: Path, rounds: int) -> tuple[list[str], float]:
    """An executor dies while it merges in the reduce of a word count. Lines of the table, and the extra seconds."""
    text = sc.textFile(str(path), PARTITIONS)

    def count_words() -> dict[str, int]:
        words = text.flatMap(str.split).map(lambda word: (word, 1)).reduceByKey(operator.add, 8)
        return dict(words.collect())

    right = count_words()
    calm_s, struck_s, work_s, lost = [], [], [], 0
    for _ in range(rounds):
        all_alive(sc)
        wall_s, found = timed(count_words)
        assert found == right
        calm_s.append(wall_s)
        since = sc.bus.seq
        with inject(sc, kill("merge", 2)) as injection:
            wall_s, found = timed(count_words)
        assert injection.strikes
        assert found == right
        struck_s.append(wall_s)
        records = [record for record in sc.records() if record.seq > since]
        facts = [record.fact for record in records]
        again = {x.map for x in facts if isinstance(x, f.MapOutputStored) and x.recomputed}
        lost = len(again)
        # The map tasks that ran again share what executors there are; so do the reduce tasks that had to begin anew.
        tasks = [x for x in facts if isinstance(x, f.TaskEnded) and x.status == "succeeded"]
        maps_s = sum(x.duration_s for x in tasks if x.recovers == "shuffle")
        began_s = {r.fact.task: r.time_s for r in records if isinstance(r.fact, f.TaskStarted)}
        ended = [(r.fact, r.time_s) for r in records if isinstance(r.fact, f.TaskEnded)]
        begun_s = sum(at_s - began_s[fact.task] for fact, at_s in ended if fact.status == "lost")
        work_s.append((maps_s + begun_s) / 2)
    repeated_s = statistics.median(work_s)
    extra_s = statistics.median(struck_s) - statistics.median(calm_s) - repeated_s
    table = [
        f"word count                         {statistics.median(calm_s):7.2f} s",
        f"what was lost again, on two        {repeated_s:7.2f} s   ({lost} of {PARTITIONS} maps)",
        f"with an executor killed in reduce  {statistics.median(struck_s):7.2f} s",
        f"the death itself                   {extra_s:7.2f} s   (goal below {GOAL_EXTRA_S:g} s)",
    ]
    return table, extra_s


def memory_of(pids: dict[str, int]) -> dict[str, float]:
    """Private megabytes of each process."""
    return {name: psutil.Process(pid).memory_full_info().uss / MB for name, pid in pids.items()}


def many_jobs(sc: SparkContext, jobs: int) -> tuple[list[str], float]:
    """`jobs` shuffle jobs in one context. Lines of the table, and how much the process grew that grew most."""

    def job(i: int) -> None:
        sums = sc.parallelize(range(1000), 4).map(lambda x: (x % 7, x + i)).reduceByKey(operator.add, 3)
        assert sums.count() == 7

    pids = {"driver": psutil.Process().pid} | {f"executor {info.executor}": info.pid for info in sc.executorInfos()}
    scheduler = getattr(sc._backend, "_cluster").scheduler_pid  # noqa: B009 - the private part of a local backend
    pids["scheduler"] = scheduler
    warm = int(jobs * WARM_UP)
    for i in range(warm):
        job(i)
    before = memory_of(pids)
    wall_s, _ = timed(lambda: [job(i) for i in range(warm, jobs)])
    after = memory_of(pids)
    left = sc._dispatcher.call(lambda s: (len(s.jobs), len(s.runs), len(s.tasks), len(s.outputs.shuffles)))
    tasks = sc._backend._client.run_on_scheduler(_scheduler_tasks)  # type: ignore[attr-defined]
    table = [f"{jobs} jobs, {1000 * wall_s / (jobs - warm):.1f} ms each"]
    for name in pids:
        grown = after[name] / before[name]
        table.append(f"{name:<20}{before[name]:8.1f} MB after {warm}, {after[name]:8.1f} MB at the end, x {grown:.3f}")
    table.append(f"left in the scheduler: {left[:3]} jobs, stages, tasks; {left[3]} shuffles; {tasks} Dask tasks")
    grew = max(after[name] / before[name] for name in pids)
    return table, grew if not any(left[:3]) and left[3] <= 1 and tasks == 0 else float("inf")


def _scheduler_tasks(dask_scheduler: Any = None) -> int:
    return len(dask_scheduler.tasks)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.faults", description=__doc__)
    parser.add_argument("--mb", type=int, default=250, help="of text (default 250)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2000, help="jobs in one context (default 2000)")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sparklab-bench-") as folder:
        path = Path(folder) / "log.txt"
        make_text(path, asked.mb)
        conf = SparkConf().set("spark.local.dir", folder)
        with SparkContext("local[2]", "bench-faults", conf=conf) as sc:
            cached, extra_cached_s = cached_query(sc, path, asked.rounds)
            print(f"\n{asked.mb} MB of text in {PARTITIONS} cached partitions on two executors", *cached, sep="\n  ")
            make_text(path, asked.mb // 5)
            reduced, extra_reduce_s = mid_reduce(sc, path, asked.rounds)
            print(f"\nword count over {asked.mb // 5} MB of it", *reduced, sep="\n  ", flush=True)
    with SparkContext("local[2]", "bench-faults") as sc:
        soak, grew = many_jobs(sc, asked.jobs)
        print("\nmemory", *soak, sep="\n  ")
    good = extra_cached_s < GOAL_EXTRA_S and extra_reduce_s < GOAL_EXTRA_S and grew < GOAL_GROWTH
    print(
        f"\nfaults: a death costs {extra_cached_s:.2f} s in a cached query and {extra_reduce_s:.2f} s in mid-reduce "
        f"(goal below {GOAL_EXTRA_S:g} s), {asked.jobs} jobs grow memory x {grew:.3f} (goal below {GOAL_GROWTH:g}): "
        f"{'met' if good else 'missed'}"
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
