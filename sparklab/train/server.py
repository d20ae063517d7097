"""Training around a parameter server: workers take turns on executor slots, the servers hold the weights."""

from __future__ import annotations

import math
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import copy_context
from typing import Any, Final, cast

import numpy as np

from sparklab import ps
from sparklab.context import SparkContext
from sparklab.errors import SparklabError
from sparklab.events.training import FilterBytes, ShardTakenOver
from sparklab.ps.consistency import Consistency
from sparklab.rdd.rdd import RDD
from sparklab.train.errors import TrainingInputError
from sparklab.train.problem import Problem, Weights
from sparklab.train.serving import Serving
from sparklab.train.session import Session
from sparklab.train.turns import Done, Filtered, LocalTable, Plan, forget, summed

CACHED_LISTS: Final = 1024
FEWEST_CLOCKS: Final = 32  # a pass: with a bound of 4, some of a clock's gradients are 4 clocks old
TURN_S: Final = 0.025  # a slot is free for others after so long
LOOK_EVERY_S: Final = 0.02
TURN_END_S: Final = 10.0  # a turn that takes longer is on an executor that has died


class Server:
    """Worker i has partition i: it pulls the weights of a batch's keys, pushes the gradient, and its clock goes on.

    A worker is no process and holds no slot: it takes turns of some 25 ms, each a small job on the executor that holds
    its rows, and while it waits for slower workers it has none. So an interactive job gets its slots at once, and a
    lost executor costs a worker no more than reading its rows again: the servers know its clock.

    Source: Li et al., OSDI'14, algorithms 1 and 3, sections 3.2, 3.4, 3.5, 5.1.
    """

    name = "ps"

    def __init__(
        self,
        consistency: Consistency | None,
        servers: int,
        replicas: int,
        filters: Sequence[ps.Filter] | None = None,
    ) -> None:
        self._consistency: Consistency = ps.SSP(4) if consistency is None else consistency
        self._servers = servers
        self._replicas = replicas
        self._filters = filters

    @property
    def tau(self) -> float:
        """The bound to begin with."""
        return math.inf if self._consistency.bound < 0 else float(self._consistency.bound)

    @property
    def aggregates(self) -> bool:
        """Whether the gradients of a clock are applied together."""
        return self._consistency.bound >= 0

    def train(self, problem: Problem, session: Session) -> Weights:
        shards = problem.source.shards(problem.workers)
        context = cast("SparkContext", shards.context)
        workers = shards.getNumPartitions()
        batches = problem.steps(workers, FEWEST_CLOCKS)
        rate = session.lr  # a hand may move it at any moment, also before the table stands
        with _servers(context, self._servers, self._replicas) as group:
            table = group.table(
                f"weights-{session.handle.number}", num_keys=problem.dimension + 1,
                update=_update(problem, rate, batches), consistency=self._consistency,
                apply="aggregate" if self.aggregates else "arrival", workers=workers,
                # A worker comes back to the same batches, so a digest can stand for the keys of each.
                filters=(ps.KeyCaching(min(batches, CACHED_LISTS)),) if self._filters is None else self._filters,
            )  # fmt: skip
            sent: Any = LocalTable(table) if isinstance(group, ps.LocalGroup) else table
            plan = Plan(
                run=uuid.uuid4().hex, table=sent, positive=problem.positive, bias=problem.bias,
                dimension=problem.dimension, batches=batches, clocks=problem.epochs * batches,
                # Gradients of a clock are summed over the workers: together they are the mean.
                share=1.0 / workers if self.aggregates else 1.0, turn_s=TURN_S,
            )  # fmt: skip
            serving = Serving(group, table)
            session.served_by(serving)
            try:
                return _Team(context, shards, plan, table, problem, session, (self.tau, rate), serving).train()
            finally:
                session.served_by(None)
                _forget(context, shards, plan.run)
                if isinstance(sent, LocalTable):
                    sent.forget()


def _servers(context: SparkContext, servers: int, replicas: int) -> Any:
    """A parameter server where executors can reach it."""
    if context.master.startswith("threads["):
        return ps.LocalGroup(num_servers=servers, replicas=replicas)
    return cast("Any", ps).ParameterServer(context, num_servers=servers, replicas=replicas)


def _forget(context: SparkContext, shards: RDD, run: str) -> None:
    """Executors let go of what they hold of the run; one that is gone has nothing to let go of."""
    with suppress(SparklabError):
        context.run_job(shards, lambda partition, blocks: forget(run), action="train: end")
    forget(run)


def _update(problem: Problem, lr: float, batches: int) -> Any:
    """What the servers do with a mean gradient."""
    l1, l2 = problem.penalty.l1, problem.penalty.l2
    name = ("ftrl" if problem.penalty else "adagrad") if problem.optimizer == "auto" else problem.optimizer
    if name == "ftrl":
        # The leader's penalty is that of all clocks of the run.
        clocks = problem.epochs * batches
        return ps.FTRLProximal(alpha=lr, beta=1.0, l1=l1 * clocks, l2=l2 * clocks)
    if name == "sgd":
        return ps.ProximalGradient(l1=l1, lr=lr, l2=l2) if l1 else ps.SGD(lr=lr, l2=l2)
    if name == "adagrad" and not l1:
        return ps.AdaGrad(lr=lr, l2=l2)
    raise TrainingInputError(
        f'training with strategy="ps" and optimizer={name!r}',
        "an l1 penalty" if name == "adagrad" else "no such algorithm",
        'use optimizer="ftrl" or "sgd"',
    )


class _Team:
    """The workers of a run as the driver sees them: clocks, who may go on, losses."""

    def __init__(
        self,
        context: SparkContext,
        shards: RDD,
        plan: Plan,
        table: Any,
        problem: Problem,
        session: Session,
        made_with: tuple[float, float],
        serving: Serving,
    ) -> None:
        self._context = context
        self._shards = shards
        self._plan = plan
        self._table = table
        self._problem = problem
        self._session = session
        count = shards.getNumPartitions()
        self._changed = threading.Condition()
        self._clocks = [0] * count
        self._waiting = [False] * count
        self._waited_s = [0.0] * count
        self._began_s = time.monotonic()
        self._turns = 0
        self._busy: dict[int, int] = {}  # worker -> the number of the turn that it has
        # What the table was made with: what a hand has changed since is carried to it with the first look.
        self._bound, self._lr = made_with
        self._serving = serving
        self._filtered: dict[int, Filtered] = {}  # by worker, of its connection of the moment
        self._filtered_before: Filtered = {}  # of connections that are gone
        self._loss = 0.0
        self._loss_rows = 0
        self._rows = 0
        self._error: BaseException | None = None
        self._ended = False

    def train(self) -> Weights:
        """The weights when all workers have completed all clocks, or a hand has stopped them."""
        session = self._session
        session.on_change(self._wake)
        properties = dict(self._context.local_properties())
        threads = [
            threading.Thread(
                target=copy_context().run,  # the line and the cell that the jobs belong to
                args=(self._work, worker, properties),
                name=f"sparklab-worker-{worker}",
                daemon=True,
            )
            for worker in range(len(self._clocks))
        ]
        for thread in threads:
            thread.start()
        try:
            while any(thread.is_alive() for thread in threads):
                next(thread for thread in threads if thread.is_alive()).join(LOOK_EVERY_S)
                self._take_changes()
                self._report(last=False)
        finally:
            self._ended = True
            self._wake()
            for thread in threads:
                thread.join()
        if self._error is not None:
            raise self._error
        self._report(last=True)
        return self._weights()

    # --- one worker -------------------------------------------------------------------------------

    def _work(self, worker: int, properties: dict[str, str]) -> None:
        """Turn after turn of `worker`, in a thread of its own."""
        with self._context.labelled(properties):
            self._take_turns(worker)

    def _take_turns(self, worker: int) -> None:
        plan, shard = self._plan, ""
        while True:
            upto = self._allowed(worker)
            if upto is None:
                return
            try:
                (done,) = self._context.run_job(self._shards, _turn(plan, upto, shard), [worker], "train")
            except BaseException as error:
                with self._changed:
                    self._error = self._error or error
                    self._ended = True
                    self._busy.pop(worker, None)
                    self._changed.notify_all()
                return
            shard = done.shard
            self._account(worker, done)
            if delay_s := self._session.delays_s.get(worker, 0.0):
                self._session.rest(delay_s)  # a straggler by hand; it has no slot meanwhile

    def _allowed(self, worker: int) -> int | None:
        """The clock that `worker` may take batches up to; waits until there is one. None when it has finished."""
        with self._changed:
            while True:
                if self._ended or self._session.stopping or self._clocks[worker] >= self._plan.clocks:
                    self._waiting[worker] = False
                    return None
                floor = min(self._clocks)
                upto = self._plan.clocks if math.isinf(self._bound) else floor + int(self._bound)
                if self._clocks[worker] <= upto and not self._session.paused:
                    self._waiting[worker] = False
                    self._turns += 1
                    self._busy[worker] = self._turns
                    return self._clocks[worker] if worker in self._session.delays_s else upto
                self._waiting[worker] = not self._session.paused
                began_s = time.monotonic()
                self._changed.wait()
                if self._waiting[worker]:
                    self._waited_s[worker] += time.monotonic() - began_s

    def _account(self, worker: int, done: Done) -> None:
        with self._changed:
            taken_over = done.made and self._clocks[worker] > 0
            self._busy.pop(worker, None)
            self._clocks[worker] = done.clock
            self._loss += done.loss
            self._loss_rows += done.rows
            self._rows += done.rows
            if done.made:
                self._filtered_before = summed([self._filtered_before, self._filtered.pop(worker, {})])
            self._filtered[worker] = done.filtered
            self._changed.notify_all()
        if taken_over:
            self._session.publish(ShardTakenOver(self._session.handle.number, worker, done.executor))

    # --- the team ---------------------------------------------------------------------------------

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _take_changes(self) -> None:
        """A hand's tau and learning rate act."""
        if self._session.lr != self._lr:
            self._lr = self._session.lr
            self._table.set(**{_rate_of(self._table): self._lr})
        tau = self._session.tau
        if tau == self._bound:
            return
        bound = -1 if math.isinf(tau) else int(tau)
        if tau > self._bound:
            self._table.tau = bound
        with self._changed:
            self._bound, newest = tau, self._turns
            self._changed.notify_all()
            # A turn under the old bound must not meet a lower one at a server: it would wait there, in a slot that the
            # slower workers need.
            self._changed.wait_for(
                lambda: self._ended or all(turn > newest for turn in self._busy.values()), TURN_END_S
            )
        self._table.tau = bound

    def _report(self, last: bool) -> None:
        with self._changed:
            loss, rows, total = self._loss, self._loss_rows, self._rows
            self._loss, self._loss_rows = 0.0, 0
            clocks, waiting = list(self._clocks), list(self._waiting)
            span_s = max(time.monotonic() - self._began_s, 1e-9)
            waited = [waited_s / span_s for waited_s in self._waited_s]
            filtered = summed([self._filtered_before, *self._filtered.values()])
        self._session.clocks(clocks, waiting, waited)
        number = self._session.handle.number
        told = [] if last else self._serving.sampled(number)
        if told or last:
            self._session.publish(*told)
            if filtered:
                before, after = zip(*filtered.values(), strict=True)
                self._session.publish(FilterBytes(number, tuple(filtered), before, after))
        if rows:
            self._session.report(loss / rows, total, min(clocks), self._weights)

    def _weights(self) -> Weights:
        return np.asarray(self._table.weights(), np.float64).reshape(-1)


def _rate_of(table: Any) -> str:
    return "alpha" if isinstance(table.spec.updates[-1], ps.FTRLProximal) else "lr"


def _turn(plan: Plan, upto: int, before: str) -> Callable[[int, Any], Done]:
    return lambda partition, blocks: plan.turn(partition, blocks, upto, before)
