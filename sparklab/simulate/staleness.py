"""The staleness laboratory: logical workers with stragglers on one core, under virtual time.

The servers, clocks, bounds and updates are the parameter server's own; the gradients are real. Only time is made up.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from sparklab.datasets import AdClick
from sparklab.errors import SparklabError
from sparklab.ps import SGD, LocalGroup
from sparklab.ps.client import Client
from sparklab.ps.consistency import Consistency, of_bound
from sparklab.ps.table import Table
from sparklab.simulate.stragglers import Stragglers
from sparklab.train import batch
from sparklab.train.blocks import Rows

DIVERGED: Final = 4.0  # times the loss of knowing nothing
_ROUNDS: Final = 3  # until a parked pull is back with the new bound, asked again and answered


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to; times are in units of a usual batch.

    Attributes
    ----------
    time_to_loss : float
        When the loss first reached the target; infinity where it never did.
    idle : float
        The share of all workers' time spent waiting for slower ones.
    clocks : int
        Completed by the slowest worker.
    losses : list of (float, float)
        (time, mean loss over all rows).
    most_lag : int
        Most clocks that a worker which read was ahead of the slowest.
    diverged : bool
    """

    time_to_loss: float
    idle: float
    clocks: int
    losses: list[tuple[float, float]] = field(repr=False)
    most_lag: int
    diverged: bool


@dataclass(frozen=True, slots=True)
class StalenessLab:
    """A training problem and a team of workers, to be run under one consistency after another.

    Parameters
    ----------
    workers : int
    batch : int
        Rows a worker takes a clock.
    lr : float
        Of plain SGD on the mean gradient of all workers' batches.
    rows, dimension, seed, absent
        Of the ad clicks; each worker has an equal share and takes its rows in order, over and over. The fewer fields
        are absent, the steeper the problem: the less staleness it bears at a given learning rate.
    stragglers : Stragglers
    apply : str
        ``aggregate``: gradients of one clock are applied together, once all workers have completed it (OSDI'14,
        algorithm 3); ``arrival``: each when it arrives.

    Examples
    --------
    >>> from sparklab.ps import BSP, SSP
    >>> lab = StalenessLab(workers=4, rows=4_000)
    >>> lab.run(SSP(4), clocks=20).idle < lab.run(BSP(), clocks=20).idle
    True

    Source: Ho et al., NIPS'13, section 5; Li et al., OSDI'14, section 5.1 and figure 13.
    """

    workers: int = 8
    batch: int = 256
    lr: float = 1.0
    rows: int = 16_384
    dimension: int = 1 << 12
    seed: int = 0
    absent: float = 0.5
    stragglers: Stragglers = field(default_factory=Stragglers)
    apply: str = "aggregate"

    def run(
        self,
        consistency: Consistency,
        *,
        target: float | None = None,
        clocks: int = 400,
        on_event: Callable[[Run, float], bool] | None = None,
    ) -> Outcome:
        """The outcome of training until the loss reaches `target`, or the slowest worker has completed `clocks`.

        Blocks. ``on_event(run, at)`` is called before each end of a batch, with its time; it may set ``run.tau`` and
        ``run.lr``, and ends the run by returning False.

        Raises
        ------
        SparklabError
            ASP with ``apply="aggregate"``: what nobody bounds cannot be aggregated.
        """
        if consistency.bound < 0 and self.apply == "aggregate":
            raise SparklabError(
                "running ASP in the staleness laboratory",
                'apply="aggregate", where a clock waits for all workers',
                'use apply="arrival"',
            )
        group = LocalGroup(num_servers=1)
        with group:
            table = group.table(
                "weights", num_keys=self.dimension + 1, update=SGD(lr=self.lr), consistency=consistency,
                apply=self.apply, workers=self.workers,
            )  # fmt: skip
            return Run(self, group, table).until(target, clocks, on_event)


class _Batch:
    """A worker's rows of one clock, their keys localised beforehand: the laboratory measures staleness, not hashing."""

    def __init__(self, rows: Rows, localiser: batch.Localiser, dimension: int) -> None:
        keys, local = localiser.localise(rows.indices)
        self.keys = np.append(keys, np.uint64(dimension))  # the intercept
        self.rows = Rows(rows.indptr, local, rows.values, rows.labels)

    def gradient(self, weights: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The mean gradient at `weights`, one value a key."""
        out = np.zeros(len(weights), np.float32)
        rows = self.rows
        batch.gradient(rows.indptr, rows.indices, rows.values, rows.labels, weights, True, out, 0, len(rows))
        return out / np.float32(len(rows))


class _Worker:
    """A logical worker: reads, computes for a while, pushes, and waits where it must."""

    def __init__(self, rank: int, batches: list[_Batch], group: LocalGroup, table: Table) -> None:
        self.rank = rank
        self.batches = batches
        self.link = group.link()
        self.client = Client(table.spec.table, 1, table.spec.dtype, True, rank, rank, self.link.layout(), ordered=True)
        self.waiting_since: float | None = None
        self.waited = 0.0
        self.pull = self.client.attach()
        self.talk()
        self.client.take(self.pull)
        self.weights: Any = None

    @property
    def batch(self) -> _Batch:
        return self.batches[self.client.clock % len(self.batches)]

    def talk(self) -> None:
        """Frames have gone both ways."""
        for server, frame in self.client.drain():
            self.link.send(server, frame)
        for source, frame in self.link.receive(0):
            self.client.receive(source, frame)

    def read(self, now: float) -> None:
        """Asks for the weights of the next batch."""
        self.pull = self.client.pull(self.batch.keys)
        self.waiting_since = now
        self.talk()

    def may_begin(self, now: float) -> bool:
        """Whether the server has answered; waiting time is counted up to now."""
        if self.waiting_since is None:
            return False
        self.talk()
        if not self.client.done(self.pull):
            return False
        self.waited += now - self.waiting_since
        self.waiting_since = None
        self.weights = np.asarray(self.client.take(self.pull)).reshape(-1)
        return True

    def push(self, share: float) -> None:
        """The batch is done: its gradient is pushed, the clock goes on."""
        gradient = self.batch.gradient(self.weights) * np.float32(share)
        self.client.push(self.batch.keys, gradient.reshape(-1, 1))
        self.client.tick()
        self.talk()


class Run:
    """One run as it goes on; given to ``on_event``.

    Attributes
    ----------
    now : float
        Virtual time, in usual batches.
    losses : list of (float, float)
    delays : dict of int to float
        What workers that a hand has slowed need longer for a batch, in usual batches.
    """

    def __init__(
        self,
        lab: StalenessLab,
        group: LocalGroup,
        table: Table,
    ) -> None:
        self.lab = lab
        self.now = 0.0
        self.losses: list[tuple[float, float]] = []
        self._table = table
        self._all, shards = _data(lab)
        self._workers = [_Worker(rank, shards[rank], group, table) for rank in range(lab.workers)]
        # Pushes are summed over the workers; on arrival each is a step of its own.
        self._share = 1.0 / lab.workers
        self._lr = lab.lr
        self._floor = 0
        self._most_lag = 0
        self.delays: dict[int, float] = {}
        self._moved = False

    # --- what a hand may do -----------------------------------------------------------------------

    @property
    def tau(self) -> float:
        """The bound in force; infinity for none. Setting it lets who waits begin where the new one allows it."""
        return self._table.tau if self._table.tau >= 0 else math.inf

    @tau.setter
    def tau(self, bound: float) -> None:
        self._table.tau = int(bound) if math.isfinite(bound) else -1
        self._moved = True

    @property
    def lr(self) -> float:
        """The learning rate of the servers. Setting it acts at once."""
        return self._lr

    @lr.setter
    def lr(self, rate: float) -> None:
        self._lr = rate
        self._table.set(lr=rate)

    @property
    def clocks(self) -> list[int]:
        """Completed, worker by worker."""
        return [worker.client.clock for worker in self._workers]

    @property
    def waiting(self) -> list[bool]:
        """Whether each worker waits for slower ones."""
        return [worker.waiting_since is not None for worker in self._workers]

    @property
    def waited(self) -> list[float]:
        """The share of each worker's time spent waiting so far."""
        span = self.now or 1.0
        return [
            (w.waited + (0.0 if w.waiting_since is None else self.now - w.waiting_since)) / span for w in self._workers
        ]

    @property
    def idle(self) -> float:
        """The share of all workers' time spent waiting so far."""
        return sum(self.waited) / len(self._workers)

    def loss(self) -> float:
        """The mean log loss over all rows with the weights as the servers hold them."""
        rows, weights = self._all, np.asarray(self._table.weights()).reshape(-1)
        margins = np.empty(len(rows), np.float32)
        batch.margins(rows.indptr, rows.indices, rows.values, weights, True, margins)
        exact = margins.astype(np.float64)
        return float(np.mean(np.logaddexp(0.0, exact) - rows.labels * exact))

    # --- the loop ---------------------------------------------------------------------------------

    def until(self, target: float | None, clocks: int, on_event: Callable[[Run, float], bool] | None = None) -> Outcome:
        """The outcome; see :meth:`StalenessLab.run`."""
        busy: list[tuple[float, int]] = []
        reached = math.inf
        diverged = False
        for worker in self._workers:
            worker.read(self.now)
        self._begin(busy)
        while busy and self._floor < clocks:
            if on_event is not None and not on_event(self, busy[0][0]):
                break
            if self._moved:
                self._moved = False
                for _ in range(_ROUNDS):
                    self._begin(busy)
                continue
            self.now, rank = heapq.heappop(busy)
            worker = self._workers[rank]
            worker.push(self._share)
            worker.read(self.now)
            self._begin(busy)
            floor = min(self.clocks)
            if floor == self._floor:
                continue
            self._floor = floor
            loss = self.loss()
            self.losses.append((self.now, loss))
            diverged = not loss < DIVERGED * math.log(2)
            if target is not None and loss <= target:
                reached = self.now
            if diverged or math.isfinite(reached):
                break
        return Outcome(reached, self.idle, self._floor, self.losses, self._most_lag, diverged)

    def _begin(self, busy: list[tuple[float, int]]) -> None:
        """Every worker whose weights have come computes."""
        floor = min(self.clocks)
        for worker in self._workers:
            if worker.may_begin(self.now):
                clock = worker.client.clock
                self._most_lag = max(self._most_lag, clock - floor)
                takes = self.lab.stragglers.duration(worker.rank, clock) + self.delays.get(worker.rank, 0.0)
                heapq.heappush(busy, (self.now + takes, worker.rank))


def _data(lab: StalenessLab) -> tuple[Rows, list[list[_Batch]]]:
    """All rows, and each worker's share cut into batches."""
    made = AdClick(lab.rows, lab.dimension, lab.seed, absent=lab.absent).block(0, lab.rows)
    rows = Rows(made.indptr, made.indices, None, made.labels)
    localiser = batch.Localiser(lab.dimension)
    share = lab.rows // lab.workers
    if share < lab.batch:
        raise SparklabError(
            "setting up the staleness laboratory",
            f"{share} rows a worker, and batches of {lab.batch}",
            "give more rows, fewer workers or a smaller batch",
        )
    shards = [
        [
            _Batch(rows.part(at, at + lab.batch), localiser, lab.dimension)
            for at in range(rank * share, (rank + 1) * share - lab.batch + 1, lab.batch)
        ]
        for rank in range(lab.workers)
    ]
    return rows, shards


def compare(lab: StalenessLab, taus: Sequence[float], target: float, clocks: int = 400) -> dict[float, Outcome]:
    """The outcome for each bound, infinity for ASP. Blocks.

    Examples
    --------
    >>> sorted(compare(StalenessLab(workers=2, rows=2_000), [0, 4], target=0.6))
    [0, 4]
    """
    return {
        tau: lab.run(of_bound(int(tau) if math.isfinite(tau) else -1), target=target, clocks=clocks) for tau in taus
    }
