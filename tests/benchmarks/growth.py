"""``python -m tests.benchmarks.growth``: how cost grows with data in fixed memory, with tasks and iterations."""

from __future__ import annotations

import argparse
import dataclasses
import operator
import os
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from sparklab import SparkConf, SparkContext
from tests.benchmarks import inputs, process_tree, profiles
from tests.benchmarks.attempts import ATTEMPTS
from tests.benchmarks.inputs import FULL, QUICK, Sizes
from tests.benchmarks.verdicts import Verdict
from tests.benchmarks.workload import Workload
from tests.benchmarks.workloads.join import Join
from tests.benchmarks.workloads.word_count import WordCount

EXECUTOR_MEMORY: Final = "1g"
TIMES: Final = (1, 4, 16)
AT_MOST: Final = 1.15  # of the cost per unit at the smallest size
PARTITIONS_AT_16: Final = 64  # partitions grow with the data, so that one of them stays as large as it is


def head_of_words(n_bytes: int) -> str:
    """The first `n_bytes` of the large text, to the end of a line: the same language, less of it."""
    whole = inputs.words(FULL.word_bytes)

    def lines() -> Any:
        with open(whole, encoding="utf-8") as file:
            yield from file.readlines(n_bytes)

    return inputs.write_once(f"words-{FULL.word_bytes}-head-{n_bytes}.txt", lines)


def prepared(workload: Workload, sizes: Sizes) -> dict[str, Any]:
    if isinstance(workload, WordCount):
        return {"path": head_of_words(sizes.word_bytes)}
    return workload.prepare(sizes)


def data(say: Callable[[str], None], rounds: int) -> list[str]:
    """CPU seconds of the tree per unit of data, at 1, 4 and 16 times the data."""
    say("| | data | CPU s | CPU s per unit | against 1x | peak MiB |")
    say("|---|---|---|---|---|---|")
    late = []
    conf = SparkConf().setMaster("local[2]").set("spark.executor.memory", EXECUTOR_MEMORY)
    with SparkContext(conf=conf) as sc:
        sc.parallelize([1], 2).count()
        for workload in (WordCount(), Join()):
            first = None
            warm = dataclasses.replace(QUICK, join_records=FULL.join_records // TIMES[-1])
            for _, work in workload.rdd(sc, warm, prepared(workload, warm)):
                work()  # the first time is nobody's: imports, machine code, fresh memory
            for times in TIMES:
                part = times / TIMES[-1]
                sizes = dataclasses.replace(
                    FULL,
                    word_bytes=int(FULL.word_bytes * part),
                    join_records=int(FULL.join_records * part),
                    partitions=max(2, int(PARTITIONS_AT_16 * part)),
                )
                inputs_of = prepared(workload, sizes)
                spent = []
                process_tree.reset_peaks(os.getpid())
                for _ in range(rounds):
                    for _, work in workload.rdd(sc, sizes, inputs_of):
                        before_s = process_tree.read(os.getpid()).cpu_s
                        work()
                        spent.append(process_tree.read(os.getpid()).cpu_s - before_s)
                cpu_s = statistics.median(spent)
                first = first or cpu_s
                against = cpu_s / times / first
                peak = process_tree.read(os.getpid()).peak_bytes >> 20
                line = f"| {workload.name} | {times}x | {cpu_s:.2f} | {cpu_s / times:.3f} | {against:.2f} | {peak} |"
                say(line)
                if against > AT_MOST:
                    late.append(f"{workload.name}: at {times}x {against:.2f} times the cost per unit, goal {AT_MOST}")
    return late


def tasks(say: Callable[[str], None], counts: tuple[int, ...] = (1_000, 5_000, 20_000)) -> list[str]:
    """CPU of the driver per task in one job of so many tasks."""
    say("")
    say("| tasks of one job | driver CPU us per task | wall us per task |")
    say("|---|---|---|")
    per_task = []
    with SparkContext("local[2]", "growth") as sc:
        sc.parallelize([1], 2).count()
        for count in counts:
            rdd = sc.parallelize([], count)
            rdd.getNumPartitions()
            cpu_s, wall_s = time.process_time(), time.perf_counter()
            rdd.count()
            cpu_s, wall_s = time.process_time() - cpu_s, time.perf_counter() - wall_s
            per_task.append(cpu_s / count)
            say(f"| {count} | {cpu_s / count * 1e6:.0f} | {wall_s / count * 1e6:.0f} |")
    if per_task[-1] > AT_MOST * per_task[0]:
        return [f"tasks: {per_task[-1] / per_task[0]:.2f} times the driver's cost per task, goal {AT_MOST}"]
    return []


def iterations(say: Callable[[str], None], count: int = 1_000) -> list[str]:
    """CPU of the driver for an iteration over cached points, at the beginning and at the end of many."""
    with SparkContext("local[2]", "growth") as sc:
        points = sc.parallelize(range(1_000), 4).cache()
        weight = 0.0
        spent = []
        for _ in range(count):
            began_s = time.process_time()
            weight += 1e-6 * points.map(lambda x, w=weight: x - w).sum()
            spent.append(time.process_time() - began_s)
    tenth = count // 10
    first, last = (statistics.median(some) * 1e3 for some in (spent[tenth : 2 * tenth], spent[-tenth:]))
    say("")
    say(f"{count} iterations: driver CPU of one {first:.2f} ms in the second tenth, {last:.2f} ms in the last.")
    return [f"iterations: {last / first:.2f} times, goal {AT_MOST}"] if last > AT_MOST * first else []


def _step(ranks: Any) -> Any:
    """One iteration with a shuffle: every key hands its value on."""
    return ranks.map(lambda kv: ((kv[0] * 7 + 1) % 400, kv[1] + 1)).reduceByKey(operator.add, 4)


def _next(values: Any) -> Any:
    """One iteration without a shuffle."""
    return values.map(lambda kv: (kv[0], kv[1] + 1))


def checkpoints(say: Callable[[str], None], count: int = 1_000, every: int = 10) -> list[str]:
    """CPU of all processes for an iteration over the RDD that the last one cached, with a checkpoint now and then.

    Medians over blocks of `every` iterations, each of which ends with a checkpoint: a machine that is busy for a while
    moves few of them.
    """
    missed = []
    tenth = count // every // 10
    say("")
    say(f"{count} iterations, a checkpoint every {every}; CPU of all processes for one of them:")
    say("")
    say("| | ms, second tenth | ms, last tenth | ratio |")
    say("|---|---|---|---|")
    for name, step in (("narrow", _next), ("with a shuffle", _step)):
        with SparkContext("local[2]", "growth") as sc, tempfile.TemporaryDirectory() as folder:
            sc.setCheckpointDir(folder)
            current = sc.parallelize([(key, 0) for key in range(400)], 4).cache()
            current.count()
            spent_ms = []
            for _ in range(count // every):
                before_s = process_tree.read(os.getpid()).cpu_s
                for i in range(every):
                    following = step(current).cache()
                    if i == every - 1:
                        following.checkpoint()
                    following.count()
                    current.unpersist()
                    current = following
                spent_ms.append((process_tree.read(os.getpid()).cpu_s - before_s) / every * 1e3)
        first_ms, last_ms = statistics.median(spent_ms[tenth : 2 * tenth]), statistics.median(spent_ms[-tenth:])
        say(f"| {name} | {first_ms:.2f} | {last_ms:.2f} | {last_ms / first_ms:.2f} |")
        if last_ms > AT_MOST * first_ms:
            missed.append(f"checkpoints, {name}: {last_ms / first_ms:.2f} times, goal {AT_MOST}")
    return missed


class _Part(NamedTuple):
    """One table: how many goals it has, how it is measured, and what its profile is of where it misses one."""

    name: str
    goals: int
    measured: Callable[[Callable[[str], None]], list[str]]
    profiled: Callable[[], list[str]]


def _silent(line: str) -> None:
    pass


def _parts(rounds: int) -> tuple[_Part, ...]:
    def of_data() -> list[str]:
        return [*profiles.apart("word_count", "medium"), "", *profiles.apart("join", "medium")]

    return (
        _Part("data", 2 * (len(TIMES) - 1), lambda say: data(say, rounds), of_data),
        _Part("tasks", 1, tasks, lambda: profiles.of_threads(lambda: tasks(_silent, (5_000,)))),
        _Part("iterations", 1, iterations, lambda: profiles.of_threads(lambda: iterations(_silent, 200))),
        _Part("checkpoints", 2, checkpoints, lambda: profiles.of_threads(lambda: checkpoints(_silent, 250))),
    )


def main(arguments: list[str] | None = None) -> int:
    """Measure all four; the tables stand in the report folder as they come. 0 where all goals are reached.

    What misses a goal has the functions at work below it, and why as far as is known; what fails costs no other table.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.growth", description=__doc__)
    parser.add_argument("--out", default="out", metavar="FOLDER", help="where the report goes (default out)")
    parser.add_argument("--rounds", type=int, default=3, help="of each size (default 3)")
    asked = parser.parse_args(arguments)
    folder = Path(asked.out)
    folder.mkdir(parents=True, exist_ok=True)
    lines: list[str] = []

    def say(line: str) -> None:
        lines.append(line)
        print(line, flush=True)
        (folder / "bench-growth.md").write_text("\n".join([*lines, ""]), encoding="utf-8")

    say(f"# Growth, executors of {EXECUTOR_MEMORY}")
    say("")
    parts = _parts(asked.rounds)
    missed: list[str] = []
    failures: list[str] = []
    for part in parts:
        try:
            short = part.measured(say)
            if short:
                say("")
                say("\n".join(f"- goal missed: {each}" for each in short))
                if attempts := ATTEMPTS.get(("growth", part.name)):
                    say(f"  Why it falls short: {attempts}")
                say("")
                say("\n".join(f"    {line}" for line in part.profiled()))
            missed += short
        except Exception:  # whatever one of them meets must not lose the others
            failures.append(f"growth, {part.name}: {traceback.format_exc().splitlines()[-1]}")
            say(f"- FAILED: {failures[-1]}\n{traceback.format_exc()}")
        say("")
    found = Verdict("growth", sum(part.goals for part in parts), tuple(missed), tuple(failures))
    say(found.line())
    found.write(folder)
    return found.code


if __name__ == "__main__":
    sys.exit(main())
