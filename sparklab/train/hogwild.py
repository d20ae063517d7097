"""HOGWILD: threads update one array of weights in shared memory, without locks, in kernels that release the GIL."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Final, Literal

import numpy as np

from sparklab.train import locks
from sparklab.train.blocks import Rows
from sparklab.train.errors import TrainingInputError
from sparklab.train.frequent import FEWEST_A_ROW, FEWEST_ROWS, Frequent, often_in
from sparklab.train.optimizers import AdaGrad, Optimizer, make_optimizer
from sparklab.train.problem import Problem, Weights
from sparklab.train.session import Session

LOOK_EVERY_ROWS: Final = 16_384  # one or two milliseconds; a hand's change acts after these
REPORT_EVERY_S: Final = 0.05

Variant = Literal["lock-free", "locked", "round-robin"]


class Hogwild:
    """Threads of this process learn from their rows at the same time and overwrite each other now and then.

    With one thread this is plain online learning, row by row. `variant` is for comparison: one spinlock around each
    row, or threads that take turns.

    Lock-free threads keep copies of the frequent coordinates, which know of each other with a stated delay: see
    :mod:`sparklab.train.frequent` (AdaGrad without a penalty and FTRL, from 32,768 rows on; otherwise all is shared).

    Source: Niu, Recht, Re, Wright, "HOGWILD!", NIPS'11, algorithm 1; the variants: section 6.
    """

    def __init__(self, variant: Variant = "lock-free") -> None:
        self.name = "hogwild" if variant == "lock-free" else f"hogwild-{variant}"
        self._variant = variant

    def train(self, problem: Problem, session: Session) -> Weights:
        rows = problem.source.local(problem.positive)
        if problem.shuffle:
            rows = rows.shuffled(problem.seed)
        optimizer = make_optimizer(problem.optimizer, problem.dimension, problem.bias, problem.penalty)
        threads = max(1, min(problem.workers or os.cpu_count() or 1, len(rows)))
        if self._variant != "lock-free" and not (isinstance(optimizer, AdaGrad) and not problem.penalty):
            raise TrainingInputError(
                f"training with strategy={self.name!r}",
                f"optimizer={optimizer.name!r}" + (" and a penalty" if problem.penalty else ""),
                'compare with optimizer="adagrad" and l1=l2=0',
            )
        team = Team(rows, optimizer, threads, problem.bias, self._variant, copied=problem.shuffle)
        for _ in range(problem.epochs):
            if not team.epoch(session):
                break
        return optimizer.weights(session.lr, team.seen)


class Team:
    """Threads that share rows and an optimiser's state.

    Parameters
    ----------
    copied : bool
        Whether the indices of `rows` may be renumbered where they are.
    """

    def __init__(
        self, rows: Rows, optimizer: Optimizer, threads: int, bias: bool, variant: Variant, copied: bool = False
    ) -> None:
        self.seen = 0  # rows learnt from by all
        self.bounds = [i * len(rows) // threads for i in range(threads + 1)]
        self._frequent = _frequent(rows, optimizer, threads) if variant == "lock-free" else None
        if self._frequent is not None:
            optimizer.begin(self._frequent.state, 0)
            rows = self._frequent.renumber(rows, rows.indices if copied else np.empty_like(rows.indices), self.bounds)
        self._rows = rows
        self._optimizer = optimizer
        self._threads = threads
        self._bias = bias
        self._variant = variant
        self._lock = threading.Lock()
        self._loss = 0.0
        self._loss_rows = 0

    def epoch(self, session: Session) -> bool:
        """Every row has been learnt from once more. False where a hand has stopped it on the way."""
        words = np.zeros(2 + self._threads, np.int64)
        go_on = [True] * self._threads
        halt = threading.Event()
        errors: list[BaseException] = []

        def work(thread: int) -> None:
            try:
                go_on[thread] = self._work(session, words, thread, halt)
            except BaseException as error:
                errors.append(error)
                halt.set()
            finally:
                if self._variant == "round-robin":
                    locks.leave(words, thread, self._threads)

        team = [threading.Thread(target=work, args=(i,), name=f"sparklab-hogwild-{i}") for i in range(self._threads)]
        for thread in team:
            thread.start()
        try:
            while any(thread.is_alive() for thread in team):
                next(thread for thread in team if thread.is_alive()).join(REPORT_EVERY_S)
                self._report(session)
        finally:
            halt.set()
            for thread in team:
                thread.join()
            self.settle()
        if errors:
            raise errors[0]
        whole = all(go_on)
        self._report(session, ended=True)
        return whole

    def _work(self, session: Session, words: np.ndarray, thread: int, halt: threading.Event) -> bool:
        learn = self.learner(words, thread)
        last = self.bounds[thread + 1]
        for at in range(self.bounds[thread], last, LOOK_EVERY_ROWS):
            if halt.is_set() or not session.proceed():
                return False
            stop = min(at + LOOK_EVERY_ROWS, last)
            loss = learn(session.lr, at, stop, self.seen)
            with self._lock:
                self._loss += loss
                self._loss_rows += stop - at
                self.seen += stop - at
        return True

    def settle(self) -> None:
        """The optimiser's state has all that was learnt. No thread may be learning."""
        if self._frequent is not None:
            self._frequent.settle()

    def learner(self, words: np.ndarray, thread: int) -> Callable[[float, int, int, int], float]:
        """What learns at a rate from rows (first, last, rows seen by all before) in `thread`; returns their loss."""
        rows, state = self._rows, self._optimizer.state
        data = (rows.indptr, rows.indices, rows.values, rows.labels, state, self._bias)
        if self._variant == "locked":
            return lambda lr, first, last, seen: float(locks.locked_adagrad(*data, lr, words, first, last))
        if self._variant == "round-robin":
            return lambda lr, first, last, seen: float(
                locks.turned_adagrad(*data, lr, words, thread, self._threads, first, last)
            )
        share = None if self._frequent is None else self._frequent.share(thread)
        return lambda lr, first, last, seen: self._optimizer.learn(rows, lr, first, last, seen, self._threads, share)

    def _report(self, session: Session, ended: bool = False) -> None:
        with self._lock:
            clock, under_way = divmod(self.seen, self.bounds[-1])
            if not (under_way or ended):
                return  # the end of the pass has its last rows to tell of
            loss, count = self._loss, self._loss_rows
            self._loss, self._loss_rows = 0.0, 0
            seen = self.seen
        if count:  # stopped before another row was learnt from, a run ends with what was said
            session.report(loss / count, seen, clock, lambda: self._weights(session.lr, seen))

    def _weights(self, lr: float, seen: int) -> Weights:
        if self._frequent is not None:
            self._frequent.show()
        return self._optimizer.weights(lr, seen)


def _frequent(rows: Rows, optimizer: Optimizer, threads: int) -> Frequent | None:
    """Copies of the frequent coordinates; None where they would spare nothing or are not allowed."""
    if threads == 1 or len(rows) < FEWEST_ROWS or not optimizer.may_share:
        return None
    if not Frequent.fits(len(optimizer.state) - 1, threads):
        return None
    keys, shares = often_in(rows)
    return Frequent(optimizer.state, keys, shares, threads) if shares.sum() >= FEWEST_A_ROW else None
