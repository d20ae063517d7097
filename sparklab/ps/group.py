"""One clock over several tables: their workers push to all, tick once, and one bound holds what they read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sparklab.errors import ParameterServerError
from sparklab.ps.catalog import Tables
from sparklab.ps.closing import ClosedOrAbandoned
from sparklab.ps.keys import KeySet
from sparklab.ps.movable import Movable
from sparklab.ps.request import checked_deps, never_given
from sparklab.ps.table import Table
from sparklab.ps.worker import WAIT_S, Worker

_ATTEMPTED: Final = "making a group of tables"


class TableGroup(Movable):
    """Tables of one parameter server under one clock; can be pickled where its tables can. Thread-safe.

    Invariant: all its tables have the same bound, and a worker of the group has completed the same clocks in each.

    Parameters
    ----------
    tables : sequence of Table
        With different names, of one parameter server, with the same consistency and the same number of workers.

    Source: Li et al. 2014, section 3.1 (vectors that share a key set); Ho et al. 2013 (SSP).

    Examples
    --------
    >>> w = group.table("pair-w", num_keys=100, update=ps.Add(), workers=1)
    >>> n = group.table("pair-n", num_keys=100, update=ps.Add(), workers=1)
    >>> with ps.TableGroup([w, n]).worker(0) as both:
    ...     ts = both.push([3, 7], {"pair-w": [1.0, 2.0], "pair-n": [1.0, 1.0]})
    ...     _ = both.clock()
    ...     both.get([3, 7])
    {'pair-w': array([1., 2.], dtype=float32), 'pair-n': array([1., 1.], dtype=float32)}
    """

    _GIVEN = ("tables",)
    _KIND = "a group of tables"
    _TO_SET = "set tau: group.tau = 4; parameters of an update by table: table.set(lr=0.05)"

    def __init__(self, tables: Sequence[Table]) -> None:
        if not tables:
            raise ParameterServerError(_ATTEMPTED, "no table", "give at least one")
        names = [table.name for table in tables]
        if len({id(table.session) for table in tables}) > 1 or len(set(names)) < len(names):
            raise ParameterServerError(
                _ATTEMPTED, f"tables {names}, twice or of different servers", "give each table of one server once"
            )
        for what, found in (
            ("consistency", {table.consistency for table in tables}),
            ("workers", {table.spec.workers for table in tables}),
            ("apply", {"aggregate" if table.spec.aggregate else "arrival" for table in tables}),
        ):
            if len(found) > 1:
                several = " and ".join(sorted(map(str, found)))
                raise ParameterServerError(_ATTEMPTED, f"different {what}: {several}", "make the tables alike in it")
        self.tables = Tables({table.name: table for table in tables})
        tables[0].bind(tables[1:])

    def _called(self) -> str:
        return f"the group of tables {', '.join(map(repr, self.tables))}"

    @property
    def tau(self) -> int:
        """The bound of all its tables; setting it is one change for all. Does not block. See :attr:`Table.tau`."""
        return next(iter(self.tables.values())).tau

    @tau.setter
    def tau(self, bound: int) -> None:
        first, *others = self.tables.values()
        # Groups that have a table in common have one bound.
        others += [table for name, table in first.bound_with().items() if name not in self.tables]
        first.set_bounds(bound, others)

    def worker(self, rank: int, incarnation: int | None = None) -> GroupWorker:
        """A connection for worker `rank` to all tables; see :meth:`Table.worker`. Blocks until it stands."""
        return GroupWorker(self.tables, rank, incarnation)

    def worker_lost(self, rank: int) -> None:
        """Worker `rank` is dead: no table's floor counts it. Does not block."""
        for table in self.tables.values():
            table.worker_lost(rank)

    def facts(self) -> dict[str, dict[str, Any]]:
        """What is known of each table, by name. Blocks."""
        return {name: table.facts() for name, table in self.tables.items()}

    def __reduce__(self) -> tuple[Any, ...]:
        return _group_elsewhere, (tuple(self.tables.values()),)


class GroupWorker(ClosedOrAbandoned):
    """One worker at several tables that share its keys and its clock. Made by :meth:`TableGroup.worker`. Thread-safe.

    Timestamps of the group are numbers of its own; :meth:`wait` answers by the names of the tables. In each table its
    requests keep the order of the calls; tables have no order to each other, but for `deps` and the clock.
    """

    def __init__(self, tables: Mapping[str, Table], rank: int, incarnation: int | None = None) -> None:
        self.rank = rank
        self._workers: dict[str, Worker] = {}
        self._asked: dict[int, dict[str, int]] = {}
        self._ts = 0
        try:
            for name, table in tables.items():
                self._workers[name] = table.worker(rank, incarnation)
        except BaseException:
            self.abandon()
            raise
        # A predecessor may have died between two tables' ticks: the clock that one of them lacks is made again.
        begin = min(worker.clock_now for worker in self._workers.values())
        for worker in self._workers.values():
            worker.hold_clock(begin)

    @property
    def clock_now(self) -> int:
        """Clocks completed, in each table. Does not block."""
        return next(iter(self._workers.values())).clock_now

    def push(self, keys: Any, values: Mapping[str, Any], deps: Sequence[int] = ()) -> int:
        """`values`, by the names of tables, are on their way for the same `keys`; returns a timestamp.

        Blocks only as :meth:`Worker.push` does.

        Raises
        ------
        ParameterServerError
            A table of that name is not in the group, or keys or values do not fit it; nothing is sent then.
        """
        if not isinstance(values, Mapping):
            raise ParameterServerError(
                f"pushing to tables {list(self._workers)}",
                f"values of type {type(values).__name__}",
                f"give values by table: {{{next(iter(self._workers))!r}: ...}}",
            )
        unknown = [name for name in values if name not in self._workers]
        if unknown:
            raise ParameterServerError(
                f"pushing to tables {list(values)}", f"unknown table {unknown[0]!r}", f"use {list(self._workers)}"
            )
        shared = keys if isinstance(keys, KeySet) else KeySet(keys)
        fitting = {name: self._workers[name].prepared(shared, own) for name, own in values.items()}
        return self._remember(
            {name: self._workers[name].push_prepared(*each, self._of(name, deps)) for name, each in fitting.items()}
        )

    def pull(self, keys: Any, deps: Sequence[int] = ()) -> int:
        """The weights of `keys` in all tables are asked for; returns a timestamp, does not block."""
        shared = keys if isinstance(keys, KeySet) else KeySet(keys)
        return self._remember({name: each.pull(shared, self._of(name, deps)) for name, each in self._workers.items()})

    def wait(self, ts: int, timeout_s: float = WAIT_S) -> dict[str, Any]:
        """The answers to request `ts` by table: weights of a pull, None for a push. Blocks."""
        if not self._issued(ts):
            raise never_given(ts, f"tables {list(self._workers)}")
        asked = self._asked.pop(ts, {})
        return {name: self._workers[name].wait(own, timeout_s) for name, own in asked.items()}

    def get(self, keys: Any) -> dict[str, Any]:
        """The weights of `keys` in all tables. Blocks."""
        return self.wait(self.pull(keys))

    def clock(self) -> int:
        """This worker has completed one more clock in all tables. Does not block. Returns the clocks completed."""
        for worker in self._workers.values():
            worker.clock()
        return self.clock_now

    def flush(self, timeout_s: float = WAIT_S) -> None:
        """All pushes and clocks so far were taken in by the servers. Blocks."""
        for worker in self._workers.values():
            worker.flush(timeout_s)

    def close(self, leave: bool = True) -> None:
        """What was pushed is safe, and the connections are gone. Blocks. Idempotent. See :meth:`Worker.close`."""
        for worker in self._workers.values():
            worker.close(leave)

    def abandon(self) -> None:
        """The connections are gone, as if this process had died. Idempotent; does not block."""
        for worker in self._workers.values():
            worker.abandon()

    def _remember(self, asked: dict[str, int]) -> int:
        self._ts += 1
        self._asked[self._ts] = asked
        for ts in [ts for ts in self._asked if ts <= self._ts - _KEPT]:
            del self._asked[ts]
        return self._ts

    def _of(self, name: str, deps: Sequence[int]) -> list[int]:
        known = checked_deps(deps, self._issued, f"tables {list(self._workers)}")
        return [self._asked[ts][name] for ts in known if name in self._asked.get(ts, ())]

    def _issued(self, ts: Any) -> bool:
        return hasattr(ts, "__index__") and 0 < ts <= self._ts


_KEPT: Final = 4096  # timestamps that nobody waited for


def _group_elsewhere(tables: tuple[Table, ...]) -> TableGroup:
    group = TableGroup.__new__(TableGroup)
    group.tables = Tables({table.name: table for table in tables})
    return group
