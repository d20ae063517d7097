"""The staleness laboratory at human speed: the same run, paced, with its tau and learning rate in a hand's reach."""

from __future__ import annotations

import math
import threading
import time
from typing import Final

import numpy as np

from sparklab.events.facts import bounded
from sparklab.events.training import TrainingEnded, TrainingStarted
from sparklab.ps.consistency import Consistency
from sparklab.simulate.staleness import Outcome, Run, StalenessLab
from sparklab.train.handle import Publisher, TrainingHandle
from sparklab.train.session import PUBLISH_EVERY_S, Divergence, Session

CLOCK_S: Final = 0.25


def start(
    lab: StalenessLab,
    consistency: Consistency,
    *,
    publisher: Publisher | None = None,
    clock_s: float = CLOCK_S,
    clocks: int = 100_000,
) -> TrainingHandle:
    """The laboratory runs in the background, a usual batch taking `clock_s` seconds; returns at once with its handle.

    ``handle.tau`` and ``handle.lr`` may be moved while it runs; ``handle.result()`` is an :class:`Outcome`. The
    workers are logical: between events the thread sleeps. Facts go to `publisher`, such as ``sc.bus``.

    Examples
    --------
    >>> from sparklab.ps import BSP
    >>> run = start(StalenessLab(workers=2, rows=2_000), BSP(), clock_s=0, clocks=5)
    >>> run.result(60).clocks
    5
    """
    bound = math.inf if consistency.bound < 0 else float(consistency.bound)
    label = bounded(f"laboratory, {lab.workers} workers, {lab.apply}")
    handle = TrainingHandle(label, lab.lr, bound, publisher, lab.apply == "aggregate")
    thread = threading.Thread(
        target=_live, args=(lab, consistency, handle, clock_s, clocks), name="sparklab-laboratory", daemon=True
    )
    thread.start()
    return handle


def _live(lab: StalenessLab, consistency: Consistency, handle: TrainingHandle, clock_s: float, clocks: int) -> None:
    session = Session(handle)
    began_s = time.monotonic()
    tau = int(handle.tau) if math.isfinite(handle.tau) else -1
    session.publish(
        TrainingStarted(
            handle.number,
            handle.label,
            "laboratory",
            lab.workers,
            True,
            tau,
            lab.lr,
            lab.rows,
            lab.dimension,
            handle.scope,
        )
    )
    status, error = "failed", None
    outcome: Outcome | None = None
    try:
        outcome = lab.run(consistency, clocks=clocks, on_event=_Pace(session, clock_s))
        status = "diverged" if outcome.diverged else "stopped" if session.stopping else "finished"
    except Divergence:
        status = "diverged"
    except Exception as found:
        error = found
    finally:
        loss = handle.loss if math.isfinite(handle.loss) else -1.0
        updates = handle.history[-1].updates if handle.history else 0
        said = "" if error is None else bounded(str(error).split("\n", 1)[0])
        session.publish(TrainingEnded(handle.number, status, loss, updates, time.monotonic() - began_s, said))
        handle._end(status, outcome, error)


class _Pace:
    """Holds virtual time back to real time, carries a hand's changes in and what happens out."""

    def __init__(self, session: Session, clock_s: float) -> None:
        self._session = session
        self._clock_s = clock_s
        self._due_s = time.monotonic()
        self._told = 0

    def __call__(self, run: Run, at: float) -> bool:
        session = self._session
        if run.tau != session.tau:
            run.tau = session.tau
        if run.lr != session.lr:
            run.lr = session.lr
        if self._clock_s > 0:
            run.delays = {worker: delay_s / self._clock_s for worker, delay_s in session.delays_s.items()}
        session.clocks(run.clocks, run.waiting, run.waited)
        if len(run.losses) > self._told:
            self._told = len(run.losses)
            updates = sum(run.clocks) * run.lab.batch
            session.report(run.losses[-1][1], updates, min(run.clocks), lambda: np.zeros(0))
        self._due_s += (at - run.now) * self._clock_s
        left_s = self._due_s - time.monotonic()
        if left_s < -1.0:  # it was paused, or the machine is behind: what was lost is not made up for
            self._due_s = time.monotonic()
        if left_s <= 0:
            return session.proceed()

        def moved() -> bool:
            return session.tau != run.tau

        if left_s > PUBLISH_EVERY_S and session.rest(PUBLISH_EVERY_S, moved):
            session.clocks(run.clocks, run.waiting, run.waited)  # nobody tells of those who wait while one takes long
        goes_on = session.rest(max(0.0, self._due_s - time.monotonic()), moved)
        if session.tau != run.tau:  # between two events: who may run now does not wait for the next
            left_s = max(0.0, self._due_s - time.monotonic())
            run.now = max(run.now, at - left_s / self._clock_s)
            run.tau = session.tau
            self._due_s = time.monotonic()
        return goes_on
