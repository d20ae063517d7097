"""One table as one server holds it: weights, clocks, ledger, what waits for its clock, who waits for the floor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from sparklab.ps import kernels
from sparklab.ps.clocks import NEVER, ClockGroup, RangeClocks
from sparklab.ps.consistency import NO_BOUND
from sparklab.ps.filterchain import FilterChain
from sparklab.ps.frames import Frame, Peer
from sparklab.ps.functions import PAGE_ROWS, RangeFunction
from sparklab.ps.heat import KeyHeat
from sparklab.ps.keys import Array, Keys
from sparklab.ps.layout import TableLayout
from sparklab.ps.ledger import Ledger
from sparklab.ps.spec import TableSpec
from sparklab.ps.store import Allocate, DenseStore, SparseStore, Store, zeros


@dataclass(slots=True)
class HeldPush:
    """A push that waits until all workers have completed its clock."""

    client: int
    incarnation: int
    seq: int
    mask: int
    keys: Keys
    values: Array
    safe: bool = False  # a replica holds it, too
    final: int = 0  # ranges in which its worker had completed the clock when it left


@dataclass(slots=True)
class Aggregate:
    """The sum of all pushes of one clock, in the ranges `mask`, as it goes down the chain."""

    clock: int
    mask: int
    keys: Keys
    values: Array


@dataclass(slots=True)
class ParkedPull:
    """A pull that waits for the floor."""

    source: Peer
    frame: Frame
    since_s: float


class ShardTable:
    """The state of one table on one server; makes no messages."""

    def __init__(self, spec: TableSpec, allocate: Allocate = zeros) -> None:
        self.spec = spec
        self.layout = TableLayout(spec.end, (0,), (0,), ((),))
        self.failed: tuple[str, str] | None = None  # what was found, and what to do, where nothing can be applied
        self.store, self.lacks = _store_for(spec, allocate)
        if self.lacks is not None:
            self.failed = f"a server with {self.lacks[0]}", self.lacks[1]
        self.clocks = RangeClocks()
        self.ledger = Ledger()
        self.filters = FilterChain(spec.filters)
        self.fit_keys: WeakValueDictionary[int, Keys] = WeakValueDictionary()  # lists that may index the store, by id
        self.guard: Array | None = None  # counts writes to the weights, where others read them in place
        # Whether nobody writes the weights in place; from when it was asked until the next layout nobody begins to.
        self.quiet: Callable[[], bool] = lambda: True
        self.writers: Callable[[], list[int]] = list  # the processes that write them in place now
        self.held: dict[int, list[HeldPush]] = {}  # by clock
        self.parked: list[ParkedPull] = []
        self.tau = NO_BOUND
        self.bounds: dict[
            int, int
        ] = {}  # the bound in force for a worker: that of its last clock, or a wider one since
        self.gone: set[int] = set()
        self.extra: set[int] = set()
        self.joined: set[int] = set()  # of the workers counted from where the floor was, those that have not ticked
        self.headed = 0
        self.frozen = 0
        self.installed: dict[int, int] = {}  # ranges copied here that no layout gives this server yet, and their move
        self.last_moves: dict[int, int] = {}
        self.heat = KeyHeat()
        self.lags: Counter[int] = Counter()  # of answered pulls
        self.duplicates = 0
        self.applied_pushes = 0
        self.parked_total = 0
        self.waited_s = 0.0

    # --- weights ----------------------------------------------------------------------------------

    def apply(self, keys: Keys, gradients: Array, version: int | None) -> None:
        """`gradients` (a row per key) have gone through the update of that version; None: the one in force."""
        if not len(keys):
            return
        guard = self.guard
        if guard is not None:
            guard[0] += 1
        try:
            store, spec = self.store, self.spec
            update = spec.updates[-1] if version is None else spec.update(version)
            rows = store.rows_made(keys)
            update.apply(store.weights, store.states, rows, gradients)
        finally:
            if guard is not None:
                guard[0] += 1

    def read(self, keys: Keys) -> Array:
        """The weights of `keys`, a row each; 0 where a key was never pushed."""
        out = np.empty((len(keys), self.spec.width), self.store.weights.dtype)
        kernels.gather(self.store.weights, self.store.rows(keys), out)
        return out

    def read_range(self, low: int, high: int, mask: int) -> tuple[Keys, Array]:
        """The weights of the keys in [low, high) and in ranges of `mask`; keys are left out where all exist."""
        segments = self.layout.segments(mask, low, high)
        weights = self.store.weights
        if self.spec.num_keys is not None:
            parts = [weights[a:b] for a, b in segments]
            empty = np.empty((0, self.spec.width), weights.dtype)
            values = parts[0] if len(parts) == 1 else np.concatenate([empty, *parts])
            return np.empty(0, np.uint64), values
        found = [self.store.live(a, b) for a, b in segments]
        keys = np.concatenate([np.empty(0, np.uint64), *[keys for keys, _ in found]])
        rows = np.concatenate([np.empty(0, np.int64), *[rows for _, rows in found]])
        return keys, weights[rows]

    def part_of(self, function: RangeFunction, mask: int, low: int, high: int, arguments: Mapping[str, Any]) -> Any:
        """What `function` gives for the existing keys of [low, high) in ranges of `mask`."""
        if function.merged is None:
            keys, weights = zip(*self._pages(mask, low, high, self.spec.end), strict=True)
            return function.part(np.concatenate(keys), np.concatenate(weights), **arguments)
        return function.over(self._pages(mask, low, high, PAGE_ROWS), arguments)

    def _pages(self, mask: int, low: int, high: int, most: int) -> Iterator[tuple[Keys, Array]]:
        """All existing keys of [low, high) in ranges of `mask`, and their weights: `most` at a time, once at least."""
        none = True
        for a, b in self.layout.segments(mask, low, high):
            if self.spec.num_keys is not None:
                for at in range(a, b, most):
                    stop, none = min(at + most, b), False
                    yield np.arange(at, stop, dtype=np.uint64), self.store.looked_at(at, stop)
            else:
                keys, rows = self.store.live(a, b)
                for at in range(0, len(keys), most):
                    none = False
                    yield keys[at : at + most], self.store.weights[rows[at : at + most]]
        if none:
            yield np.empty(0, np.uint64), self.store.weights[:0]

    # --- aggregation ------------------------------------------------------------------------------

    def hold(self, clock: int, push: HeldPush) -> None:
        """`push` waits until all workers have completed `clock`."""
        self.held.setdefault(clock, []).append(push)

    def due(self) -> list[Aggregate]:
        """The sums of all clocks that every counted worker has completed, in order; the caller applies them.

        Pushes are added in the order of rank and number, so that the sums do not depend on who came first.
        """
        found: list[Aggregate] = []
        if not self.spec.aggregate:
            return found
        for group in list(self.clocks.groups):
            floor = group.floor if group.floor != NEVER else max(self.held, default=-1) + 1
            # Where this server is only a replica, the aggregates come from the head.
            headed = group.mask & self.headed & ~self.frozen
            if floor <= group.applied or not headed:
                continue
            if headed != group.mask:
                (group,) = self.clocks.part(headed)
            for clock in range(group.applied, floor):
                pushes = self._taken_out(clock, group)
                if pushes or clock == floor - 1:  # replicas must hear that the clock is over, also where it was empty
                    keys, sums = self.sums(pushes)
                    found.append(Aggregate(clock, group.mask, keys, sums))
            group.applied = floor
        self.clocks.join()
        return found

    def _taken_out(self, clock: int, group: ClockGroup) -> list[HeldPush]:
        waiting = self.held.get(clock)
        if not waiting:
            return []
        taken: list[HeldPush] = []
        kept: list[HeldPush] = []
        for push in waiting:
            inside = push.mask & group.mask
            if inside == push.mask:
                taken.append(push)
            elif inside:
                chosen = self.layout.chosen(push.keys, inside)
                taken.append(_part(push, inside, chosen))
                kept.append(_part(push, push.mask & ~inside, ~chosen))
            else:
                kept.append(push)
        if kept:
            self.held[clock] = kept
        else:
            del self.held[clock]
        taken.sort(key=lambda push: (push.client, push.seq))
        return taken

    def sums(self, pushes: list[HeldPush]) -> tuple[Keys, Array]:
        if not pushes:
            return np.empty(0, np.uint64), np.empty((0, self.spec.width), self.store.weights.dtype)
        if len(pushes) == 1:
            return pushes[0].keys, pushes[0].values
        most = sum(len(push.keys) for push in pushes)
        rows_of = [self.store.rows_made(push.keys) for push in pushes]
        places = self.store.places()
        rows = np.empty(most, np.int64)
        sums = np.empty((most, self.spec.width), self.store.weights.dtype)
        all_keys = np.empty(most, np.uint64)
        count = 0
        for push, own in zip(pushes, rows_of, strict=True):
            before = count
            count = kernels.accumulate(own, push.values, places, rows, sums, count)
            if count > before:  # the new rows are in the order of this push's keys
                new = places[own] > before
                all_keys[before:count] = push.keys[new]
        kernels.clear_places(places, rows[:count])
        order = np.argsort(all_keys[:count])
        return all_keys[:count][order], sums[:count][order]

    def recount(self) -> None:
        """The floor counts those that the layout says in every range: also in ranges copied from a server that was
        behind the layout. Who is new there is counted from where the floor is."""
        ranks = {*range(self.spec.workers), *self.extra} - self.gone
        for clock, pushes in self.held.items():
            for push in pushes:
                if push.client not in ranks:
                    push.final |= self.clocks.completed(push.client, clock, push.mask)
        self.joined |= self.clocks.recount(ranks)
        self.joined &= ranks

    def admit(self, client: int, incarnation: int) -> bool:
        """Frames of this incarnation are taken in. False where a later one is there; nothing changes for the same one.

        What its predecessor pushed for a clock that it did not complete is gone: the successor makes it again.
        """
        before = self.ledger.incarnation(client)
        if before == incarnation:
            return True
        if not self.ledger.open(client, incarnation):
            return False
        if before:
            for clock in list(self.held):
                self._keep_held(clock, lambda push: self._lasting(push, client, clock))  # noqa: B023
        return True

    def _lasting(self, push: HeldPush, client: int, clock: int) -> int:
        """The ranges in which `push` stays when a successor of `client` comes."""
        if push.client != client:
            return push.mask
        return self.clocks.completed(client, clock, push.mask) | push.final & push.mask

    def _keep_held(self, clock: int, lasting: Callable[[HeldPush], int]) -> None:
        """Pushes of `clock` wait on in the ranges that `lasting` gives for each."""
        kept = []
        for push in self.held[clock]:
            left = lasting(push)
            if left == push.mask:
                kept.append(push)
            elif left:
                kept.append(_part(push, left, self.layout.chosen(push.keys, left)))
        if kept:
            self.held[clock] = kept
        else:
            del self.held[clock]

    def close_client(self, frame: Frame) -> None:
        """The client of a DETACH, or of what it becomes on the way down, has gone with everything safe."""
        self.ledger.close(frame.client)
        if frame.client >= 0 and frame.clock >= 0:
            self.clocks.close(frame.client, frame.clock, frame.mask)

    # --- reading under a bound --------------------------------------------------------------------

    def rebind(self, tau: int) -> None:
        """The bound is `tau`: for workers whom it lets go on at once, for the others from their next clock on."""
        for group in self.clocks.groups:
            for client, clock in group.clocks.items():
                if clock:  # nobody waits in its first clock, and a table that is new here has no bound before this one
                    self.bounds.setdefault(client, self.tau)
        self.tau = tau
        for client, bound in self.bounds.items():
            self.bounds[client] = NO_BOUND if NO_BOUND in (bound, tau) else max(bound, tau)

    def may_read(self, frame: Frame, mask: int) -> bool:
        """Whether the floor lets this worker read now."""
        client = frame.client
        if client < 0 or client in self.gone:
            return True
        bound = self.bounds.get(client, self.tau)
        if bound == NO_BOUND:
            return True
        floor = self.clocks.floor(mask)
        return frame.clock - bound <= floor

    def note_lag(self, frame: Frame, mask: int) -> None:
        """A pull was answered: how far its worker was ahead is counted."""
        if frame.client >= 0:
            floor = self.clocks.floor(mask)
            self.lags[max(0, frame.clock - floor) if floor != NEVER else 0] += 1

    def drop(self, mask: int) -> None:
        """The ranges `mask` are not held any more."""
        for low, high in self.layout.segments(mask, 0, self.spec.end):
            self.store.drop(low, high)
        self._forget(mask, self.layout.segments(mask, 0, self.spec.end))

    def drop_range(self, mask: int, low: int, high: int) -> None:
        """The same for one range, of which the layout need not know."""
        self.store.drop(low, high)
        self.forget_range(mask, low, high)

    def forget_range(self, mask: int, low: int, high: int) -> None:
        """The same, but its weights stay."""
        self._forget(mask, [(low, high)])

    def _forget(self, mask: int, keys: Sequence[tuple[int, int]]) -> None:
        self.clocks.forget(mask)
        self.ledger.forget(mask, keys)
        for clock in list(self.held):
            self.drop_held(clock, mask)

    def drop_held(self, clock: int, mask: int) -> None:
        """Pushes of `clock` do not wait any more in the ranges `mask`."""
        if clock in self.held:
            self._keep_held(clock, lambda push: push.mask & ~mask)

    def facts(self) -> dict[str, Any]:
        """What a person would want to know, as plain data."""
        clocks: dict[int, int] = {}
        for group in self.clocks.groups:
            if group.mask & self.headed:
                for worker, clock in group.clocks.items():
                    clocks[worker] = min(clock, clocks.get(worker, clock))
        return {
            "clocks": {str(worker): clock for worker, clock in sorted(clocks.items())},
            "lags": {str(lag): count for lag, count in sorted(self.lags.items())},
            "absent": [w for w, clock in sorted(clocks.items()) if not clock and not self.ledger.incarnation(w)],
            "parked": len(self.parked),
            "parked_total": self.parked_total,
            "waited_s": self.waited_s,
            "duplicates": self.duplicates,
            "applied_pushes": self.applied_pushes,
            "ranges": self.headed.bit_count(),
            "vector_clocks": len(self.clocks.groups),
            "vector_clock_size": self.clocks.size,
            "ledger_size": self.ledger.size,
            "heat": self.heat.facts(self.layout, self.headed),
            "used_bytes": self.store.used_bytes,
            "lacks": self.lacks,
        }


def _store_for(spec: TableSpec, allocate: Allocate) -> tuple[Store, tuple[str, str] | None]:
    """The rows of a table; where there is no memory for them, one without rows, and what is to be said."""
    dtype, states = np.dtype(spec.dtype), spec.updates[-1].state_count
    if spec.num_keys is not None:
        try:
            return DenseStore(spec.num_keys, spec.width, dtype, states, allocate), None
        except (MemoryError, ValueError, OverflowError) as error:
            found = f"no memory for {spec.num_keys:,} keys with {spec.width} {spec.dtype} each ({error})"
            return SparseStore(1, dtype, 0), (found, "give fewer keys, or sparse=True")
    return SparseStore(spec.width, dtype, states), None


def _part(push: HeldPush, mask: int, chosen: Array) -> HeldPush:
    return replace(push, mask=mask, keys=push.keys[chosen], values=push.values[chosen])
