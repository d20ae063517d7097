"""HOGWILD on two threads against two runs that share nothing, and against one spinlock.

Source: Niu, Recht, Re, Wright, "HOGWILD!", NIPS'11, section 6.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from sparklab.train import locks
from sparklab.train.optimizers import AdaGrad, Penalty
from tests.benchmarks.train.clicks import Clicks
from tests.benchmarks.train.contenders import RATES

THREADS = 2


class Pace(NamedTuple):
    """Rows per second of both threads' CPU, and of the clock on the wall."""

    per_cpu_s: float
    per_wall_s: float


def _pace(clicks: Clicks, learners: list[Callable[[int, int], Any]]) -> Pace:
    bounds = [i * clicks.count // THREADS for i in range(THREADS + 1)]
    used_s = [0.0] * THREADS
    ready = threading.Barrier(THREADS)

    def work(i: int) -> None:
        ready.wait()
        began = time.thread_time()
        learners[i](bounds[i], bounds[i + 1])
        used_s[i] = time.thread_time() - began

    team = [threading.Thread(target=work, args=(i,)) for i in range(THREADS)]
    began = time.perf_counter()
    for thread in team:
        thread.start()
    for thread in team:
        thread.join()
    return Pace(clicks.count / sum(used_s), clicks.count / (time.perf_counter() - began))


def _new(clicks: Clicks) -> AdaGrad:
    return AdaGrad(clicks.spec.dimension, True, Penalty())


def _learner(clicks: Clicks, optimizer: AdaGrad) -> Callable[[int, int], Any]:
    return lambda first, last: optimizer.learn(clicks.rows, RATES["adagrad"], first, last, 0, 1)


def lock_free(clicks: Clicks) -> Pace:
    """Both threads on one state."""
    optimizer = _new(clicks)
    return _pace(clicks, [_learner(clicks, optimizer)] * THREADS)


def independent(clicks: Clicks) -> Pace:
    """Each thread on a state of its own."""
    return _pace(clicks, [_learner(clicks, _new(clicks)) for _ in range(THREADS)])


def locked(clicks: Clicks) -> Pace:
    """Both threads on one state, each row under the lock."""
    state, rows = _new(clicks).state, clicks.rows
    words = np.zeros(4, np.int64)

    def learn(first: int, last: int) -> None:
        locks.locked_adagrad(
            rows.indptr, rows.indices, rows.values, rows.labels, state, True, RATES["adagrad"], words, first, last
        )

    return _pace(clicks, [learn] * THREADS)
