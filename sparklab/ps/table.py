"""A table from outside: read and written by whoever is no worker, bound and parameters moved while workers train."""

from __future__ import annotations

import importlib
import secrets
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sparklab.errors import ParameterServerError
from sparklab.ps.absence import missing
from sparklab.ps.consistency import NO_BOUND, Consistency, of_bound
from sparklab.ps.functions import RangeFunction, function_named
from sparklab.ps.keys import Array, checked_range
from sparklab.ps.movable import Movable
from sparklab.ps.spec import TableSpec
from sparklab.ps.tablefacts import table_facts
from sparklab.ps.worker import Worker

if TYPE_CHECKING:
    from sparklab.ps.session import Session


class Table(Movable):
    """A table of a parameter server; made by ``server.table(...)``. Thread-safe; methods that ask the servers block.

    Reads and writes here belong to no worker: no bound holds them, and a write is applied when it arrives. They are
    taken in by each server in the order of the calls, one call at a time; those of workers have no order to them.
    """

    _GIVEN = ("spec",)
    _KIND = "a table"
    _TO_SET = "set tau, or parameters of the update: table.tau = 4, table.set(lr=0.05)"

    def __init__(self, session: Session, spec: TableSpec, bound: int) -> None:
        self.spec = spec
        self._session = session
        self._bound = bound
        self._lock = threading.Lock()
        self._observer: Worker | None = None
        self._bound_with: dict[str, Table] = {}  # what shares its bound, itself among them

    def _called(self) -> str:
        return f"table {self.name!r}"

    @property
    def name(self) -> str:
        """What it was called. Does not block."""
        return self.spec.name

    # --- workers ----------------------------------------------------------------------------------

    def worker(self, rank: int, incarnation: int | None = None, *, join: bool = False) -> Worker:
        """A connection for worker `rank`, to be used by one process; close it when it is done. Blocks until it stands.

        It begins at the clock at which the rank stood before. The same rank connected again, anywhere, takes over: the
        one before is refused from then on, and what it pushed for a clock it did not complete is dropped where pushes
        are aggregated (its successor pushes that clock again).

        Parameters
        ----------
        rank : int
            0 to ``workers - 1``, where the table was made with as many.
        incarnation : int, optional
            Grows from one connection of a rank to the next; the time in nanoseconds by default.
        join : bool
            A further rank: one that nobody waited for yet is waited for from now on.
        """
        attempted = f"making worker {rank} of table {self.name!r}"
        if not hasattr(rank, "__index__"):
            raise ParameterServerError(attempted, f"a rank of type {type(rank).__name__}", "give a whole number from 0")
        if rank < 0:
            raise ParameterServerError(attempted, "a negative rank", "count from 0")
        if 0 < self.spec.workers <= rank and not join:
            raise ParameterServerError(
                attempted,
                f"it was made with workers={self.spec.workers}: ranks 0 to {self.spec.workers - 1}",
                "count ranks from 0; worker(rank, join=True) has one more waited for",
            )
        nudge = getattr(self._session, "nudge", None)
        return Worker(self.spec, rank, self._session.link(), incarnation, self._slowest, nudge)

    def _slowest(self) -> str:
        """Who holds up the floor, in words; empty where only the driver could tell."""
        try:
            facts = self.facts()
        except ParameterServerError:
            return ""
        absent = missing(facts, self.spec.workers)
        floor, clocks = facts["floor"], facts["clocks"]
        ranks = [str(rank) for rank, clock in clocks.items() if clock == floor]
        return f"; still at clock {floor}: worker{'s' * (len(ranks) > 1)} {', '.join(ranks)}{absent and '; '}{absent}"

    def worker_lost(self, rank: int) -> None:
        """Worker `rank` is dead: the floor leaves it out, and it is refused if it comes back without :meth:`worker`.

        Does not block: who waits for it goes on as soon as the servers have heard.
        """
        self._session.manage(lambda manager: manager.worker_gone(self.spec.table, rank))

    # --- what can be moved while workers train ----------------------------------------------------

    @property
    def tau(self) -> int:
        """Clocks a worker may be ahead of the slowest when it reads; -1 for any number (ASP).

        Raising it lets who waits go on at once. Lowering it acts on each worker from its next clock on and rolls
        nothing back: workers that are further ahead wait until the others have come near. Refused for a table of a
        :class:`TableGroup`, whose bound is one. Does not block; of two changes the later call holds.
        """
        return self._bound

    @tau.setter
    def tau(self, bound: int) -> None:
        if len(together := self.bound_with()) > 1:
            raise ParameterServerError(
                f"setting tau of table {self.name!r} to {bound}",
                f"it has one clock and one bound with {', '.join(map(repr, together.keys() - {self.name}))}",
                f"set tau of the group: group.tau = {bound}",
            )
        self.set_bounds(bound, ())

    def bound_with(self) -> dict[str, Table]:
        """The tables, by name, that groups have put under one bound with this one, itself too. Does not block."""
        standing = getattr(self._session, "tables", {})
        return {name: table for name, table in self._bound_with.items() if standing.get(name) is table}

    def bind(self, others: Iterable[Table]) -> None:
        """This table and `others`, and what each shares a bound with, share one from now on. Does not block."""
        together = {name: each for table in (self, *others) for name, each in table.bound_with().items()}
        together |= {table.name: table for table in (self, *others)}
        for table in together.values():
            table._bound_with = together

    def set_bounds(self, bound: int, others: Sequence[Table]) -> None:
        """The bound of this table and of `others` of the same servers has been set, by one layout. Does not block."""
        if isinstance(bound, bool) or not hasattr(bound, "__index__"):
            needed = any(table.spec.aggregate for table in (self, *others))
            do = "give 0 or more: it aggregates, which needs a bound" if needed else "give a whole number; -1 for none"
            raise ParameterServerError(f"setting tau of table {self.name!r}", f"a bound of {bound!r}", do)
        taus = {}
        for table in (self, *others):
            if bound < 0 and table.spec.aggregate:
                raise ParameterServerError(
                    f"setting tau of table {table.name!r} to {bound}",
                    "it aggregates, which needs a bound",
                    "give 0 or more",
                )
        for table in (self, *others):
            table._bound = taus[table.spec.table] = max(bound, NO_BOUND)
        self._session.manage(lambda manager: manager.set_taus(taus))

    @property
    def session(self) -> Session:
        """The servers, or the way to them. Does not block."""
        return self._session

    @property
    def consistency(self) -> Consistency:
        """The consistency in force. Does not block."""
        return of_bound(self._bound)

    def set(self, **parameters: float) -> None:
        """The update goes on with other parameters, such as ``lr=0.05``, from now on. Does not block.

        A server acts on them from the push on that it takes in after it has heard; servers may hear a moment apart.

        Raises
        ------
        ParameterServerError
            It has no such parameter.
        """
        self.spec.updates[-1].changed(parameters)
        self._session.manage(lambda manager: manager.set_parameters(self.spec.table, parameters))

    # --- weights ----------------------------------------------------------------------------------

    def get(self, keys: Any) -> Array:
        """The weights of `keys` as they stand: shape (keys,), or (keys, width) where the width is not 1. Blocks."""
        weights: Array = self._ask(lambda observer: observer.get(keys))
        return weights

    def put(self, keys: Any, values: Any) -> None:
        """`values` went through the update. Blocks."""
        self._ask(lambda observer: observer.wait(observer.push(keys, values)))

    def weights(self, low: int = 0, high: int | None = None) -> Any:
        """The weights of a range as they stand; of a sparse table, the keys that exist and their rows. Blocks."""
        return self._ask(lambda observer: observer.get_range(low, self.spec.end if high is None else high))

    # --- functions over a range -------------------------------------------------------------------

    def call(self, function: str | RangeFunction, low: int = 0, high: int | None = None, **arguments: Any) -> Any:
        """The value of `function` over a range, computed by the servers; the weights do not travel. Blocks.

        Parameters
        ----------
        function : str or RangeFunction
            ``norm``, ``top_k``, ``quantile``, ``sum``, ``count``, or two functions of your own.
        low, high : int
            The range; all keys by default.

        Source: Li et al. 2014, section 3.3.
        """
        attempted = f"calling {function!r} on table {self.name!r}"
        low, high = checked_range(low, self.spec.end if high is None else high, self.spec.end, attempted)
        if isinstance(function, RangeFunction):
            parts = self._session.call_on_servers(self.spec, function, low, high, arguments)
            return function.whole(parts, **arguments)
        known = function_named(function)
        parts = self._ask(lambda observer: observer.call(function, low, high, **arguments))
        return known.whole(parts, **arguments)

    def norm(self, order: float = 2.0) -> float:
        """The norm of the weights; order 0 counts those that are not zero. Blocks."""
        return float(self.call("norm", order=order))

    def top_k(self, count: int) -> list[tuple[int, Any]]:
        """The keys with the largest absolute weights, and these weights, largest first. Blocks."""
        if isinstance(count, bool) or not hasattr(count, "__index__") or count < 0:
            raise ParameterServerError(
                f"asking table {self.name!r} for its {count!r} largest weights", "no such count", "give 0 or more"
            )
        found: list[tuple[int, Any]] = self.call("top_k", count=count)
        return found

    def quantile(self, q: float) -> float:
        """The value that a share `q` of the weights is below. Blocks.

        Exact up to 65,536 weights per server, else within 1/4096 of the rank.
        """
        if not 0 <= q <= 1:
            raise ParameterServerError(f"asking for quantile {q}", "no such share", "give 0 to 1")
        return float(self.call("quantile", q=q))

    # --- facts ------------------------------------------------------------------------------------

    def facts(self) -> dict[str, Any]:
        """Clocks, lags, parked pulls, waiting, duplicates, ranges per server: plain data, over all servers. Blocks."""
        return table_facts(self._session.server_facts(), self.spec.table, self._bound)

    def drop(self) -> None:
        """The table is gone from the servers: who waits for it is told. Blocks while pushes are under way."""
        self._session.drop(self)

    def close(self, abandon: bool = False) -> None:
        """Connections held here are closed; the table itself stays. Idempotent. Blocks.

        With `abandon` the servers are not told: they are about to end.
        """
        with self._lock:
            if self._observer is not None:
                if abandon:
                    self._observer.abandon()
                else:
                    self._observer.close()
                self._observer = None

    def __reduce__(self) -> tuple[Any, ...]:
        # In another process a table is the way to its servers; who holds them stays here.
        handle = getattr(self._session, "handle", None)
        if handle is None:
            raise ParameterServerError(
                f"sending table {self.name!r} to another process",
                "its servers are inside this process",
                "use ps.ParameterServer instead of ps.LocalGroup",
            )
        spec = self.spec if self.spec.hogwild else replace(self.spec, updates=())
        return _table_elsewhere, (handle(), spec, self._bound)

    def _ask(self, question: Callable[[Worker], Any]) -> Any:
        with self._lock:
            if self._observer is None:
                rank = -1 - secrets.randbits(62)
                self._observer = Worker(self.spec, rank, self._session.link())
            return question(self._observer)

    def __repr__(self) -> str:
        kind = "sparse" if self.spec.num_keys is None else f"{self.spec.num_keys} keys"
        return f"<Table {self.name!r} {kind} x {self.spec.width} {np.dtype(self.spec.dtype).name}>"


def _table_elsewhere(handle: Any, spec: TableSpec, bound: int) -> Table:
    session = importlib.import_module(type(handle).__module__).RemoteSession(handle)
    return Table(session, spec, bound)
