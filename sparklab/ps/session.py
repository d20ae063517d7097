"""A parameter server in the hands of its user: tables are made here, servers added and removed, facts read."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from types import TracebackType
from typing import Any, Final, TypeVar

from sparklab.errors import ParameterServerError
from sparklab.ps import directory, snapshot
from sparklab.ps import updates as known_updates
from sparklab.ps.balance import Step
from sparklab.ps.catalog import Tables
from sparklab.ps.consistency import BSP, Consistency, of_bound
from sparklab.ps.consistency import checked as checked_consistency
from sparklab.ps.filters import Filter
from sparklab.ps.functions import RangeFunction
from sparklab.ps.hogwild import HOGWILD, check_hogwild
from sparklab.ps.link import Link
from sparklab.ps.manager import Manager
from sparklab.ps.movable import Movable
from sparklab.ps.settling import until_moved
from sparklab.ps.spec import TableSpec, as_filters, as_sample, checked
from sparklab.ps.table import Table
from sparklab.ps.transfer import keys_of
from sparklab.ps.updates import SGD, Update

RANGES: Final = 64  # per table, at least; more where a range would be large
RANGE_BYTES: Final = 8 << 20
SETTLE_S: Final = 60.0

_T = TypeVar("_T")


class Session(Movable, ABC):
    """What :class:`LocalGroup` and :class:`ParameterServer` have in common. Thread-safe.

    Changes (tables, bounds, servers) take effect in the order of the calls: each is a layout, which all are told.

    Source: Li et al. 2014, section 3.
    """

    _KIND = "a parameter server"
    _TO_SET = "set tau, of all tables: server.tau = 4; parameters of an update by table: table.set(lr=0.05)"

    def __init__(self) -> None:
        self._tables: dict[str, Table] = {}
        self._numbers = 0
        self._making = threading.Lock()

    # --- what a transport gives -------------------------------------------------------------------

    @abstractmethod
    def manage(self, act: Callable[[Manager], _T]) -> _T:
        """What `act` does with the manager has happened, and the servers and clients are told. Blocks."""

    @abstractmethod
    def link(self) -> Link:
        """A new client's way to the servers."""

    @abstractmethod
    def until(self, condition: Callable[[Manager], bool], timeout_s: float, attempted: str) -> None:
        """`condition` holds. Blocks; raises ParameterServerError after `timeout_s` seconds."""

    @abstractmethod
    def server_facts(self) -> dict[int, dict[str, Any]]:
        """What each server says of itself. Blocks."""

    @abstractmethod
    def call_on_servers(
        self, spec: TableSpec, function: RangeFunction, low: int, high: int | None, arguments: dict[str, Any]
    ) -> list[Any]:
        """The part of `function` of each server's rows in the range. Blocks."""

    @abstractmethod
    def add_server(self) -> int:
        """One more server takes its share of the ranges, while training goes on; returns its number. Blocks."""

    @abstractmethod
    def remove_server(self, server: int) -> None:
        """`server` has given away its ranges and is gone, while training went on. Blocks."""

    @abstractmethod
    def close(self) -> None:
        """No server is left. Idempotent. Blocks for milliseconds."""

    # --- tables -----------------------------------------------------------------------------------

    def table(
        self,
        name: str,
        *,
        num_keys: int | None = None,
        sparse: bool = False,
        width: int = 1,
        dtype: Any = "float32",
        update: Update | None = None,
        consistency: Consistency | None = None,
        apply: str = "aggregate",
        workers: int = 0,
        filters: Sequence[Filter] = (),
        sample: Any = None,
        on_nonfinite: str = "refuse",
    ) -> Table:
        """A new table, all zero, on all servers. Blocks until they know it.

        Parameters
        ----------
        name : str
            Any text, once per parameter server.
        num_keys : int, optional
            Keys are 0 to ``num_keys - 1``, each with a row (memory is taken when it is written).
        sparse : bool
            Any key of 64 bits; a row is made when a key is first pushed. With `num_keys`, keys are below that.
        width : int
            Values per key.
        dtype : dtype_like
            float32 or float64.
        update : Update, optional
            What a push does; ``SGD(lr=0.1)`` by default.
        consistency : BSP or SSP or ASP, optional
            How far ahead of the slowest worker a pull may run; BSP by default.
        apply : str
            ``"aggregate"``: the pushes of one clock are summed over all workers and applied together once all have
            completed it, in an order that does not depend on who came first (algorithm 3). ``"arrival"``: each push is
            applied when it arrives. ``"hogwild"``: the same, but unguarded where a worker is on the server's host: it
            writes a push of a :class:`KeySet` into the weights itself, without lock, count or acknowledgement (see
            :mod:`sparklab.ps.hogwild`); not with replicas.
        workers : int
            Ranks 0 to ``workers - 1`` are waited for from the start. Further ranks join when they attach.
        filters : sequence of Filter
            Applied in this order to what workers push and pull.
        sample : array_like of int, optional
            Keys as they will occur: ranges are cut so that each has as many of them.
        on_nonfinite : str
            What becomes of a push with NaN or infinity: ``"refuse"``, an error before anything is sent; ``"drop"``,
            rows that have one are left out and counted (``worker.facts()["dropped_rows"]``); ``"allow"``.

        Raises
        ------
        ParameterServerError
            The name is taken, the arguments make no table, or a server has no memory for it.
        """
        attempted = f"making table {name!r}"
        if apply not in ("aggregate", "arrival", HOGWILD):
            raise ParameterServerError(attempted, f"apply={apply!r}", 'use "aggregate", "arrival" or "hogwild"')
        if num_keys is None and not sparse:
            raise ParameterServerError(attempted, "neither num_keys nor sparse=True", "say which keys it has")
        bound = (checked_consistency(consistency, attempted) if consistency is not None else BSP()).bound
        if bound < 0 and apply == "aggregate":
            raise ParameterServerError(
                attempted, "ASP with aggregation: a worker far ahead would pile up pushes without end",
                'use apply="arrival" with ASP(), or SSP(tau)',
            )  # fmt: skip
        with self._making:
            if name in self._tables:
                raise ParameterServerError(attempted, "there is one of this name", "drop it, or use another name")
            spec = checked(
                TableSpec(
                    self._numbers, name, width, str(dtype), None if sparse else num_keys, apply == "aggregate", workers,
                    (update if update is not None else SGD(),), limit=num_keys, filters=as_filters(filters, attempted),
                    hogwild=apply == HOGWILD,
                    on_nonfinite=on_nonfinite,
                ),
                dtype,
            )  # fmt: skip
            if spec.hogwild:
                check_hogwild(spec, self.manage(lambda manager: manager.replicas), attempted)
            keys = as_sample(sample, spec)
            self._numbers += 1
            size = spec.end * width * 8 if not sparse else 0
            ranges = max(RANGES, -(-size // RANGE_BYTES))
            self.manage(lambda manager: manager.add_table(spec, bound, ranges, keys))
            made = self._tables[name] = Table(self, spec, bound)
        directory.enter(self)
        return made

    def drop(self, table: Table) -> None:
        """The table is gone, its name and memory are free. Idempotent. Blocks while pushes are under way."""
        if self._tables.get(table.name) is table:
            del self._tables[table.name]
            table.close()
            self.manage(lambda manager: manager.drop_table(table.spec.table))

    @property
    def tables(self) -> Tables:
        """The tables by name; of a name that is not there, a KeyError says which are. Does not block."""
        return Tables(self._tables)

    @property
    def tau(self) -> int | None:
        """The bound of all tables, None where it is not one. Setting it sets that of each; see :attr:`Table.tau`.

        Does not block.
        """
        bounds = {table.tau for table in self._tables.values()}
        return bounds.pop() if len(bounds) == 1 else None

    @tau.setter
    def tau(self, bound: int) -> None:
        if self._tables:
            first, *others = self._tables.values()
            first.set_bounds(bound, others)

    # --- snapshots --------------------------------------------------------------------------------

    def save(self, path: str) -> None:
        """A snapshot of all tables is complete at `path`: all that was acknowledged before the call is in it. Blocks.

        Parameters
        ----------
        path : str
            A folder, local or of any file system that fsspec knows; a snapshot that is there already is replaced when
            the new one is complete.

        Notes
        -----
        Ranges are copied one after the other while training goes on: between ranges the clocks may differ. Pushes that
        wait for their clock are not weights yet, and are not in it.
        """
        self.manage(lambda manager: manager.hold_shapes(1))  # no range is split or merged between two that are read
        try:
            snapshot.write(path, [(_description(table), self._parts(table)) for table in self._tables.values()])
        finally:
            self.manage(lambda manager: manager.hold_shapes(-1))

    def _parts(self, table: Table) -> Iterator[snapshot.Part]:
        for range_id in self.manage(lambda manager: manager.layout.tables[table.spec.table].ids):
            data = self.export_range(table.spec, range_id)
            yield snapshot.Part(keys_of(data), data["values"], tuple(data["states"]))

    def restore(self, path: str, updates: Mapping[str, Update] | None = None) -> dict[str, Table]:
        """The tables of the snapshot at `path` are here, weights and the states of their updates, by name. Blocks.

        The number of servers may be another than when it was saved. Workers begin at clock 0.

        Parameters
        ----------
        updates : mapping of str to Update, optional
            For tables with a function of a user's own, and where another update shall go on.

        Raises
        ------
        ParameterServerError
            There is no complete snapshot, it is damaged, or a table of that name exists; none of its tables is here.
        """
        made: dict[str, Table] = {}
        try:
            for description, parts in snapshot.read(path):
                self._restore(description, parts, (updates or {}).get(description["name"]), made)
        except BaseException:
            for table in made.values():  # half of a model is none
                with suppress(ParameterServerError):
                    table.drop()
            raise
        return made

    def _restore(
        self, description: Any, parts: Iterator[snapshot.Part], update: Update | None, made: dict[str, Table]
    ) -> None:
        name, update = description["name"], update or _update_of(description)
        table = made[name] = self.table(
            name,
            num_keys=description["limit"], sparse=description["sparse"], width=description["width"],
            dtype=description["dtype"], update=update, consistency=of_bound(description["tau"]),
            apply=_apply_of(description), workers=description["workers"],
            on_nonfinite=description.get("on_nonfinite", "refuse"),
        )  # fmt: skip
        if description["states"] != update.state_count:
            raise ParameterServerError(
                f"restoring table {name!r}", f"{description['states']} states, the update has {update.state_count}",
                "give the update that it was saved with",
            )  # fmt: skip
        for part in parts:
            self.load_part(table.spec, part)

    @abstractmethod
    def export_range(self, spec: TableSpec, range_id: int) -> dict[str, Any]:
        """A copy of a range, from the server that serves it. Blocks."""

    @abstractmethod
    def load_part(self, spec: TableSpec, part: snapshot.Part) -> None:
        """`part` stands in the table, on every replica. Blocks; nobody may be training."""

    # --- servers ----------------------------------------------------------------------------------

    @property
    def servers(self) -> tuple[int, ...]:
        """Numbers of the servers alive. Does not block."""
        return self.manage(lambda manager: manager.layout.servers)

    def settle(self, timeout_s: float = SETTLE_S) -> None:
        """No range moves and none is about to: replicas are complete. Blocks, at most `timeout_s` seconds.

        Raises
        ------
        ParameterServerError
            Ranges still move then, or wait for a process that writes in place and is stopped: it is named.
        """
        until_moved(self, lambda manager: manager.settled, "waiting until no range moves", timeout_s)

    def balance(self, rounds: int = 64, timeout_s: float = 60.0) -> list[Step]:
        """Servers are asked for as many keys each as can be: hot ranges were split and moved, cold ones merged. Blocks.

        What is hot is how often workers asked for keys of late, from a sample of their requests. Training goes on.

        Parameters
        ----------
        rounds : int
            Steps at most, each of which splits, moves or merges a range.

        Returns
        -------
        list of Split, Shift and Merge
            What was done.
        """
        done: list[Step] = []
        for _ in range(rounds):
            self._hear()
            self.until(lambda manager: manager.can_reshape or manager.shapes_held > 0, timeout_s, "balancing")
            step = self.manage(lambda manager: manager.balance())
            if step is None:
                break
            done.append(step)
            self.settle(timeout_s)
        return done

    def _hear(self) -> None:
        """The manager has the servers' facts of now."""
        answers = self.server_facts()
        self.manage(lambda manager: manager.facts_of.update(answers))

    def facts(self) -> dict[str, Any]:
        """What is known now, as plain data: servers, epoch, promotions, moves, and each table's facts. Blocks."""
        layout, promotions, lost, moved, moved_bytes, splits, merges = self.manage(
            lambda m: (m.layout, m.promotions, m.lost_ranges, m.moved_ranges, m.moved_bytes, m.splits, m.merges)
        )
        return {
            "epoch": layout.epoch,
            "servers": list(layout.servers),
            "promotions": promotions,
            "lost_ranges": lost,
            "moved_ranges": moved,
            "moved_bytes": moved_bytes,
            "splits": splits,
            "merges": merges,
            "tables": {name: table.facts() for name, table in self._tables.items()},
        }

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _description(table: Table) -> dict[str, Any]:
    spec, update = table.spec, table.spec.updates[-1]
    parameters = None
    if isinstance(update, known_updates.Rule):
        parameters = {field.name: getattr(update, field.name) for field in fields(update)}
    return {
        "name": spec.name,
        "limit": spec.limit,
        "sparse": spec.num_keys is None,
        "width": spec.width,
        "dtype": spec.dtype,
        "aggregate": spec.aggregate,
        "hogwild": spec.hogwild,
        "workers": spec.workers,
        "tau": table.tau,
        "on_nonfinite": spec.on_nonfinite,
        "states": update.state_count,
        "update": type(update).__name__,
        "parameters": parameters,
    }


def _apply_of(description: dict[str, Any]) -> str:
    if description.get("hogwild"):
        return HOGWILD
    return "aggregate" if description["aggregate"] else "arrival"


def _update_of(description: dict[str, Any]) -> Update:
    if description["parameters"] is None:
        raise ParameterServerError(
            f"restoring table {description['name']!r}",
            "its update is a function, which no file holds",
            f"restore(path, updates={{{description['name']!r}: the_function}})",
        )
    made: Update = getattr(known_updates, description["update"])(**description["parameters"])
    return made
