"""What a training run costs a job that somebody waits for: the same jobs while it is paused, and while it goes on."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any, NamedTuple

from sparklab import SparkContext
from sparklab.datasets import adclick
from sparklab.ps import ASP, BSP, SSP
from sparklab.train import SparseLogisticRegression

ROWS = 200_000
DIMENSION = 1 << 18
PARTITIONS = 8
EXECUTORS = 2
SHORT = 10  # short jobs before the sides change
PAUSE_S = 0.03  # between two short jobs, as somebody has who types
SETTLE_S = 0.3
PACE_S = 1.0
TASK_CPU_S = 0.2  # of a task of the long job

RUNS: dict[str, tuple[str, dict[str, Any]]] = {
    "ps BSP": ("ps", {"consistency": BSP()}),
    "ps SSP(4)": ("ps", {"consistency": SSP(4)}),
    "ps ASP": ("ps", {"consistency": ASP()}),
    "gradient": ("gradient", {}),
    "bismarck": ("bismarck", {}),
    "large-batch": ("large-batch", {"batch_size": 4_096}),
    "hogwild": ("hogwild", {}),
}


class Waited(NamedTuple):
    """Seconds that jobs took, medians: alone, while a run trains, while it reads its rows; its clocks a second."""

    short_alone_s: float
    short_s: float
    long_alone_s: float
    long_s: float
    reading_s: float
    first_s: float
    pace: float

    @property
    def short(self) -> float:
        """How many times its usual time a short job takes."""
        return self.short_s / self.short_alone_s

    @property
    def long(self) -> float:
        """The same of a long one."""
        return self.long_s / self.long_alone_s


def measure(rounds: int, say: Callable[[str], None]) -> Iterator[tuple[str, Waited]]:
    """By strategy, a count of 8 small cached partitions and a job of some 0.8 s beside its run; measured as asked."""
    with SparkContext(f"local[{EXECUTORS}]", "beside") as sc:
        cached = sc.parallelize(range(1_000 * PARTITIONS), PARTITIONS).cache()
        slow = sc.parallelize(range(PARTITIONS), PARTITIONS).map(_busy)
        for _ in range(SHORT):
            _timed(cached.count)
        for name, (strategy, arguments) in RUNS.items():
            say(f"beside: {name}")
            yield name, _beside(sc, strategy, arguments, rounds, cached.count, slow.count)


def _beside(
    sc: SparkContext,
    strategy: str,
    arguments: dict[str, Any],
    rounds: int,
    count: Callable[[], int],
    long_count: Callable[[], int],
) -> Waited:
    clicks = adclick(ROWS, DIMENSION).rdd(sc, PARTITIONS)
    model = SparseLogisticRegression(strategy, n_features=DIMENSION, epochs=10**6, **arguments)
    run = model.start(clicks)
    reading = [_timed(count)]
    while not run.clock:
        time.sleep(PAUSE_S)
        reading.append(_timed(count))
    short: dict[bool, list[float]] = {True: [], False: []}
    long: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(rounds):
        for training in (True, False):
            (run.resume if training else run.pause)()
            time.sleep(SETTLE_S)
            for _ in range(SHORT):
                time.sleep(PAUSE_S)
                short[training].append(_timed(count))
            long[training].append(_timed(long_count))
    run.resume()
    clock, began_s = run.clock, time.perf_counter()
    time.sleep(PACE_S)
    pace = (run.clock - clock) / (time.perf_counter() - began_s)
    run.stop()
    run.result()
    return Waited(
        *(median(times[training]) for times in (short, long) for training in (False, True)),
        median(reading), reading[0], pace,
    )  # fmt: skip


def _busy(number: int) -> float:
    end_s = time.thread_time() + TASK_CPU_S
    while time.thread_time() < end_s:
        math.factorial(200)
    return number + os.getpid()


def _timed(job: Callable[[], Any]) -> float:
    began_s = time.perf_counter()
    job()
    return time.perf_counter() - began_s
