"""The same learning through one server process: what weights on their way cost beside the kernel.

A worker reads the rows (weight, sum of squares) of a clock's keys in place, runs the kernel on them, and pushes the
changes, which go through the server in full.
With one worker that is online learning to the last digits, so the held-out loss is the same.
"""

from __future__ import annotations

import statistics
from typing import Any, NamedTuple

import numpy as np
import psutil

from sparklab import ps
from sparklab.train import batch, kernels
from sparklab.train.blocks import Rows
from sparklab.train.optimizers import AdaGrad, Penalty
from tests.benchmarks.train.clicks import Clicks
from tests.benchmarks.train.contenders import RATES, cpu_s

CLOCK_ROWS = 100_000
ALONE = 7  # passes, each from the beginning
PASSES = 25  # the system counts a server's CPU seconds in hundredths, and a pass takes it half of one


class Cost(NamedTuple):
    """CPU seconds of a pass: in this process alone, the worker's and the server's; and the scores after one pass."""

    alone_s: float
    worker_s: float
    server_s: float
    score_alone: float
    score: float


class Through:
    """Everything that is no part of what is measured: keys are localised and known to both sides, a server runs."""

    def __init__(self, clicks: Clicks) -> None:
        self._clicks = clicks
        dimension = clicks.spec.dimension
        localiser = batch.Localiser(dimension)
        self._clocks: list[tuple[ps.KeySet, Rows]] = []
        for first in range(0, clicks.count, CLOCK_ROWS):
            part = clicks.rows.part(first, min(first + CLOCK_ROWS, clicks.count))
            keys, local = localiser.localise(part.indices)
            rows = Rows(part.indptr, local, part.values, part.labels)
            self._clocks.append((ps.KeySet(np.append(keys, np.uint64(dimension))), rows))

    def __call__(self) -> Cost:
        clicks = self._clicks
        dimension, rate = clicks.spec.dimension, RATES["adagrad"]
        passes = [self._alone() for _ in range(ALONE)]
        alone_s = statistics.median(took_s for took_s, _ in passes)
        score_alone = clicks.score_of_weights(passes[-1][1].weights(rate, clicks.count))
        with ps.ParameterServer(None, num_servers=1, replicas=0) as server:
            table = server.table(
                "w", num_keys=dimension + 1, width=2, update=ps.Add(), workers=1,
                filters=[ps.KeyCaching(len(self._clocks))],
            )  # fmt: skip
            everything = ps.KeyRange(0, dimension + 1)
            table.put(everything, AdaGrad(dimension, True, Penalty()).state)
            process = psutil.Process(server.pid(0))
            with table.worker(0) as worker:
                self._pass(worker)
                score = clicks.score_of_weights(np.asarray(table.weights())[:, 0])
                before_s = _used_s(process)
                worker_s, _ = cpu_s(lambda: [self._pass(worker) for _ in range(PASSES)])
                server_s = _used_s(process) - before_s
        return Cost(alone_s, worker_s / PASSES, server_s / PASSES, score_alone, score)

    def _alone(self) -> tuple[float, AdaGrad]:
        """CPU seconds of a first pass in this process, and what has learnt in it."""
        rows = self._clicks.rows
        learner = AdaGrad(self._clicks.spec.dimension, True, Penalty())
        took_s, _ = cpu_s(lambda: learner.learn(rows, RATES["adagrad"], 0, len(rows), 0, 1))
        return took_s, learner

    def _pass(self, worker: ps.Worker) -> None:
        none, rate = np.float32(0), RATES["adagrad"]
        for keys, rows in self._clocks:
            worker.flush()  # so that the weights are read in place
            before: Any = worker.get(keys)
            state = before.copy()
            kernels.adagrad(
                rows.indptr, rows.indices, rows.values, rows.labels, state, True, rate, None, none, none,
                np.uint32(0), np.uint32(1), 0, len(rows), len(rows),
            )  # fmt: skip
            state -= before
            worker.push(keys, state, copy=False)
            worker.clock()
        worker.flush()


def _used_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
