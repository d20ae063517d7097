"""A training worker's turn, on an executor: some clocks of batches against the parameter server, then the slot is free.

What a turn needs the next time (rows cut into batches, a connection) stays in the executor's process. Where it is gone,
the next turn makes it again: rows come from the cache or from lineage, the clock from the servers.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from sparklab.errors import ParameterServerError
from sparklab.ps import KeySet, Table, Worker
from sparklab.ps.worker import WAIT_S
from sparklab.rdd.running import current_task
from sparklab.train import batch
from sparklab.train.blocks import Block, Rows, rows_of

KEPT_SHARDS: Final = 64  # of all runs in this process
PATIENCE_S: Final = 0.01  # so long a turn waits for an answer before it gives its slot to others


Filtered = dict[str, tuple[int, int]]


class Done(NamedTuple):
    """What a turn came to.

    Attributes
    ----------
    clock : int
        Completed by the worker, this turn's included.
    loss, rows : float, int
        Summed log loss of the turn's batches before they were learnt from, and how many rows.
    made : bool
        Whether the rows had to be read: at a worker's first turn, or because where they had been is gone.
    executor : int
        Which one had the turn.
    filtered : dict
        By filter, the bytes that this connection's messages had before it and after it so far.
    shard : str
        Which making of the worker's rows and connection it had: what the next turn must find.
    """

    clock: int
    loss: float
    rows: int
    made: bool
    executor: int
    filtered: Filtered
    shard: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What is the same for all turns of a run; it travels with each.

    Attributes
    ----------
    run : str
        Unique across processes.
    table : Table or LocalTable
    positive
        The label that counts as 1.
    bias : bool
    dimension : int
    batches : int
        A pass over a worker's rows, in clocks.
    clocks : int
        Of the whole run.
    share : float
        What gradients, summed over a batch, are multiplied with: see `mean`.
    turn_s : float
        How long a turn may hold its slot.
    """

    run: str
    table: Any
    positive: Any
    bias: bool
    dimension: int
    batches: int
    clocks: int
    share: float
    turn_s: float

    def turn(self, partition: int, blocks: Iterable[Block], upto: int, before: str = "") -> Done:
        """Worker `partition` takes batches while its clock is at most `upto` and the turn lasts. Blocks.

        `before` is the shard of its last turn: another one that is found here was left when the worker went elsewhere.
        """
        shard, made = _shard_of(self, partition, blocks, before)
        with shard.lock:
            loss, rows = shard.learn(self, upto)
            task = current_task()
            executor = -1 if task is None else task.executor
            return Done(shard.worker.clock_now, loss, rows, made, executor, shard.filtered(), shard.name)


class LocalTable:
    """A table of this process, as it travels between threads that pickle what they hand to each other."""

    _known: Final[dict[int, Table]] = {}

    def __init__(self, table: Table) -> None:
        self._number = id(table)
        self._known[self._number] = table

    def worker(self, rank: int) -> Worker:
        """A connection for worker `rank`."""
        return self._known[self._number].worker(rank)

    def forget(self) -> None:
        """The table may go."""
        self._known.pop(self._number, None)


class _Shard:
    """A worker's rows, cut into batches with their keys localised, and its connection."""

    def __init__(self, plan: Plan, partition: int, rows: Rows) -> None:
        self.lock = threading.Lock()
        self.name = uuid.uuid4().hex
        localiser = batch.Localiser(plan.dimension)
        cuts = [i * len(rows) // plan.batches for i in range(plan.batches + 1)]
        self._batches = [_localised(rows.part(a, b), localiser, plan) for a, b in pairwise(cuts)]
        self.worker = plan.table.worker(partition)
        self._pull: int | None = None  # the request for the weights of the next batch, once it was made
        self._parked_s = 0.0
        self._closed = False

    def learn(self, plan: Plan, upto: int) -> tuple[float, int]:
        """Batches were taken; their summed loss and rows."""
        end_s = time.monotonic() + plan.turn_s
        loss, count = 0.0, 0
        worker, task = self.worker, current_task()
        while worker.clock_now < min(upto + 1, plan.clocks):
            if task is not None:
                task.step_aside()
            keys, rows = self._batches[worker.clock_now % plan.batches]
            weights = self._pulled(keys)
            if weights is None:
                break
            gradient: npt.NDArray[np.float32] = np.zeros(len(weights), np.float32)
            loss += float(
                batch.gradient(
                    rows.indptr, rows.indices, rows.values, rows.labels, weights, plan.bias, gradient, 0, len(rows)
                )
            )
            count += len(rows)
            if not np.isfinite(gradient).all():
                return float("nan"), count  # nothing that is no number goes to the servers
            if len(rows):
                worker.push(keys, gradient * np.float32(plan.share / len(rows)), copy=False)
            worker.clock()
            if time.monotonic() >= end_s:
                break
        worker.flush()
        if worker.clock_now >= plan.clocks:
            self.close(leave=True)
        return loss, count

    def _pulled(self, keys: KeySet) -> npt.NDArray[Any] | None:
        """The weights of `keys`; None where they take long.

        A server that took over from a dead one knows less of the workers' clocks than that one did, until they tell it:
        whoever waits there in a slot keeps it from the one that would have to tell.
        """
        if self._pull is None:
            self._pull = self.worker.pull(keys)
        if not self.worker.poll(self._pull, PATIENCE_S):
            self._parked_s += PATIENCE_S
            if self._parked_s < WAIT_S:
                return None
        weights = np.asarray(self.worker.wait(self._pull, 0.0))
        self._pull, self._parked_s = None, 0.0
        return weights

    def filtered(self) -> Filtered:
        """What the table's filters have made of this connection's messages so far."""
        facts = self.worker.facts()["filters"]
        return {name: (int(each["bytes_before"]), int(each["bytes_after"])) for name, each in facts.items()}

    def close(self, leave: bool) -> None:
        if not self._closed:
            self._closed = True
            self.worker.close(leave=leave)

    def abandon(self) -> None:
        """The worker goes on by another connection: the servers do not listen to this one."""
        self._closed = True
        self.worker.abandon()


def _localised(rows: Rows, localiser: batch.Localiser, plan: Plan) -> tuple[KeySet, Rows]:
    """The keys of a batch, the intercept's behind them, and the rows with positions among these for indices."""
    keys, local = localiser.localise(rows.indices)
    return KeySet(np.append(keys, np.uint64(plan.dimension))), Rows(rows.indptr, local, rows.values, rows.labels)


_shards: dict[tuple[str, int], _Shard] = {}
_lock = threading.Lock()


def _shard_of(plan: Plan, partition: int, blocks: Iterable[Block], before: str) -> tuple[_Shard, bool]:
    """The worker's shard, and whether it had to be made."""
    key = (plan.run, partition)
    with _lock:
        found = _shards.get(key)
    if found is not None:
        if found.name == before:
            return found, False
        with found.lock:
            found.abandon()
    made = _Shard(plan, partition, rows_of(blocks, plan.positive))
    with _lock:
        _shards[key] = made
        while len(_shards) > KEPT_SHARDS:
            _shards.pop(next(iter(_shards)))
    return made, True


def summed(all_of: Iterable[Filtered]) -> Filtered:
    """The bytes of several connections together, filter by filter.

    Examples
    --------
    >>> summed([{"kkt": (10, 2)}, {"kkt": (5, 1)}])
    {'kkt': (15, 3)}
    """
    total: Filtered = {}
    for each in all_of:
        for name, (before, after) in each.items():
            was = total.get(name, (0, 0))
            total[name] = (was[0] + before, was[1] + after)
    return total


def forget(run: str) -> int:
    """This process holds nothing of `run` any more; how many shards it had."""
    with _lock:
        gone = [_shards.pop(key) for key in list(_shards) if key[0] == run]
    for shard in gone:
        with shard.lock, suppress(ParameterServerError):  # one that was left is not listened to; the others leave
            shard.close(leave=True)
    return len(gone)
