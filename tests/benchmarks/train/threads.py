"""HOGWILD on two threads against two runs that share nothing, and against one spinlock.

Source: Niu, Recht, Re, Wright, "HOGWILD!", NIPS'11, section 6.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from sparklab.train.hogwild import Team, Variant
from sparklab.train.optimizers import AdaGrad, Penalty
from tests.benchmarks.train.clicks import Clicks
from tests.benchmarks.train.contenders import RATES

THREADS = 2


class Pace(NamedTuple):
    """Rows per second of both threads' CPU, and of the clock on the wall; without the seconds of making ready."""

    per_cpu_s: float
    per_wall_s: float
    ready_s: float = 0.0


def _pace(clicks: Clicks, learners: list[Callable[[], Any]], ready_s: float = 0.0) -> Pace:
    used_s = [0.0] * THREADS
    ready = threading.Barrier(THREADS)
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []

    def work(i: int) -> None:
        # A core for each: two threads that a busy machine puts on one core never wait for each other's lines.
        if len(cores) >= THREADS:
            os.sched_setaffinity(threading.get_native_id(), {cores[i]})
        ready.wait()
        began = time.thread_time()
        learners[i]()
        used_s[i] = time.thread_time() - began

    team = [threading.Thread(target=work, args=(i,)) for i in range(THREADS)]
    began = time.perf_counter()
    for thread in team:
        thread.start()
    for thread in team:
        thread.join()
    return Pace(clicks.count / sum(used_s), clicks.count / (time.perf_counter() - began), ready_s)


def _new(clicks: Clicks) -> AdaGrad:
    return AdaGrad(clicks.spec.dimension, True, Penalty())


def _together(clicks: Clicks, variant: Variant) -> Pace:
    began = time.process_time()
    team = Team(clicks.rows, _new(clicks), THREADS, True, variant)
    ready_s = time.process_time() - began
    words = np.zeros(2 + THREADS, np.int64)
    rate, bounds = RATES["adagrad"], team.bounds

    def learner(thread: int) -> Callable[[], Any]:
        learn = team.learner(words, thread)
        return lambda: learn(rate, bounds[thread], bounds[thread + 1], 0)

    return _pace(clicks, [learner(thread) for thread in range(THREADS)], ready_s)


def lock_free(clicks: Clicks) -> Pace:
    """Both threads on one state; making ready is finding the frequent coordinates and renumbering the rows."""
    return _together(clicks, "lock-free")


def independent(clicks: Clicks) -> Pace:
    """Each thread on a state of its own."""
    half = clicks.count // THREADS

    def learner(thread: int) -> Callable[[], Any]:
        optimizer, first = _new(clicks), thread * half
        return lambda: optimizer.learn(clicks.rows, RATES["adagrad"], first, first + half, 0, 1)

    return _pace(clicks, [learner(thread) for thread in range(THREADS)])


def locked(clicks: Clicks) -> Pace:
    """Both threads on one state, each row under the lock."""
    return _together(clicks, "locked")
