"""A parameter server inside this process: the same machines, a lock for a network. For tests and small data."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from sparklab.errors import ParameterServerError
from sparklab.ps import transfer
from sparklab.ps.absence import AbsenceWatch
from sparklab.ps.catalog import with_memory
from sparklab.ps.frames import MANAGER, Frame, Kind, Outbox, Peer
from sparklab.ps.functions import RangeFunction
from sparklab.ps.layout import Layout
from sparklab.ps.link import Link
from sparklab.ps.manager import Manager
from sparklab.ps.plain import layout_to_plain
from sparklab.ps.refusals import check_alive, check_counts, closed, lost, still_so
from sparklab.ps.session import Session
from sparklab.ps.settling import until_moved
from sparklab.ps.shard import Shard
from sparklab.ps.snapshot import Part
from sparklab.ps.spec import TableSpec
from sparklab.ps.table import Table

_T = TypeVar("_T")


class LocalGroup(Session):
    """Servers in this process, deterministic and without I/O. Everything works as with processes, but for speed.

    Thread-safe. A call blocks while another thread's is at work, and where a worker has to wait for others.

    Parameters
    ----------
    num_servers : int
    replicas : int
        Further copies of each range.

    Examples
    --------
    >>> with LocalGroup(num_servers=2) as group:
    ...     table = group.table("w", num_keys=10, update=ps.Add())
    ...     table.put([1, 8], [0.5, 2.0])
    ...     table.norm(1), group.servers
    (2.5, (0, 1))
    """

    def __init__(self, num_servers: int = 2, replicas: int = 0) -> None:
        super().__init__()
        check_counts(num_servers, replicas)
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._manager = Manager(replicas, resend_s=None)
        self._shards: dict[int, Shard] = {}
        self._links: dict[int, _LocalLink] = {}
        self._answers: dict[int, Frame] = {}
        self._next_server = 0
        self._next_link = 0
        self._closed = False
        self._absence = AbsenceWatch()
        for _ in range(num_servers):
            self.add_server()

    def manage(self, act: Callable[[Manager], _T]) -> _T:
        """What `act` does with the manager has happened, and everything that followed from it."""
        with self._lock:
            self.check_open()
            result = act(self._manager)
            self._route(MANAGER, self._manager.drain())
            return result

    def table(self, name: str, **arguments: Any) -> Table:
        """A new table; see :meth:`Session.table`. Blocks only while another call is at work."""
        return with_memory(super().table(name, **arguments), self.server_facts())

    def until(self, condition: Callable[[Manager], bool], timeout_s: float, attempted: str) -> None:
        """`condition` holds: here it does at once, or a worker's request is still on its way."""
        with self._lock:
            in_time = self._changed.wait_for(lambda: self._closed or condition(self._manager), timeout_s)
            self.check_open()
            if not in_time:
                raise still_so(attempted, timeout_s)

    def link(self) -> Link:
        """A new client's way to the servers."""
        with self._lock:
            self.check_open()
            self._next_link += 1
            made = self._links[self._next_link] = _LocalLink(self, self._next_link)
            return made

    def add_server(self) -> int:
        """One more server has its share of the ranges; its number. Blocks only while another call is at work.

        Raises
        ------
        ParameterServerError
            It is closed.
        """
        with self._lock:
            self.check_open()
            server = self._next_server
            self._next_server += 1
            self._shards[server] = Shard(server, resend_s=None)
            self.manage(lambda manager: manager.add_server(server))
            return server

    def remove_server(self, server: int) -> None:
        """`server` has given away its ranges and is gone. Blocks. Of two calls at once one may come too late.

        Raises
        ------
        ParameterServerError
            None of that number is alive, it is the last one, or it is closed.
        """
        self.manage(lambda manager: manager.remove_server(server))
        until_moved(self, lambda manager: manager.has_left(server), f"removing server {server}")
        with self._lock:
            self._shards.pop(server, None)

    def kill_server(self, server: int) -> None:
        """`server` is dead, with all it held: its replicas serve, when this returns. Blocks. For tests and lectures.

        Nobody is asked: ranges without a replica are lost, and their tables with them.

        Raises
        ------
        ParameterServerError
            None of that number is alive.
        """
        with self._lock:
            self.check_open()
            check_alive(server, self._manager.layout.servers, f"killing server {server}")
            del self._shards[server]
            self.manage(lambda manager: manager.server_lost(server))

    def server_facts(self) -> dict[int, dict[str, Any]]:
        """What each server says of itself."""
        with self._lock:
            self.check_open()
            return {server: shard.facts() for server, shard in self._shards.items()}

    def nudge(self, spec: TableSpec) -> None:
        """A worker of this table has waited for about a second: others that have never come are said, in time."""
        with self._lock:
            self._absence.look(spec, self.server_facts(), time.monotonic())

    def call_on_servers(
        self, spec: TableSpec, function: RangeFunction, low: int, high: int | None, arguments: dict[str, Any]
    ) -> list[Any]:
        """The part of `function` of each server's rows in the range."""
        with self._lock:
            self.check_open()
            end = spec.end if high is None else high
            tables = [shard.tables[spec.table] for shard in self._shards.values()]
            try:
                return [table.part_of(function, table.headed, low, end, arguments) for table in tables]
            except (Exception, SystemExit) as error:
                attempted = f"calling a function on table {spec.name!r}"
                raise ParameterServerError(attempted, *function.failed(error)) from error

    def export_range(self, spec: TableSpec, range_id: int) -> dict[str, Any]:
        """A copy of a range."""
        with self._lock:
            layout = self._manager.layout.tables[spec.table]
            chain = layout.chains[layout.position(range_id)]
            if not chain:
                raise lost(spec)
            return transfer.export(self._shards[chain[0]].tables[spec.table], range_id)

    def load_part(self, spec: TableSpec, part: Part) -> None:
        """`part` stands in the table, on every replica."""
        with self._lock:
            for shard in self._shards.values():
                transfer.load(shard.tables[spec.table], shard.server, part.keys, part.weights, part.states)

    def close(self) -> None:
        """Nothing is held any more. Does not block."""
        with self._lock:
            self._closed = True
            self._shards.clear()
            self._changed.notify_all()

    def check_open(self) -> None:
        """Raises ParameterServerError where it is closed."""
        if self._closed:
            raise closed()

    # --- the network ------------------------------------------------------------------------------

    def send(self, source: Peer, dest: Peer, frame: Frame) -> None:
        """`frame` and everything that follows from it is delivered."""
        with self._lock:
            self.check_open()
            self._route(source, [(dest, frame)])

    def _route(self, source: Peer, outbox: Outbox) -> None:
        waiting: deque[tuple[Peer, Peer, Frame]] = deque((source, dest, frame) for dest, frame in outbox)
        while waiting:
            origin, dest, frame = waiting.popleft()
            if dest is None:
                plain = layout_to_plain(self._manager.layout)
                for link in self._links.values():
                    link.put(MANAGER, Frame(Kind.LAYOUT, epoch=frame.epoch, meta=plain))
            elif dest == MANAGER:
                self._manager.receive(origin, frame, time.monotonic())
                waiting.extend((MANAGER, to, each) for to, each in self._manager.drain())
            elif isinstance(dest, int):
                shard = self._shards.get(dest)
                if shard is not None:
                    waiting.extend((dest, to, each) for to, each in shard.receive(origin, frame, time.monotonic()))
            elif isinstance(dest, _LocalLink):
                dest.put(origin, frame)
        self._changed.notify_all()

    def forget(self, number: int) -> None:
        """A client is gone."""
        with self._lock:
            self._links.pop(number, None)

    def current_layout(self) -> Layout:
        """The layout in force."""
        with self._lock:
            return self._manager.layout


class _LocalLink:
    """A queue for one client."""

    ordered = True

    def __init__(self, group: LocalGroup, number: int) -> None:
        self._group = group
        self._number = number
        self._queue: queue.SimpleQueue[tuple[Peer, Frame]] = queue.SimpleQueue()

    def layout(self) -> Layout:
        return self._group.current_layout()

    def send(self, server: int, frame: Frame) -> None:
        self._group.send(self, server, frame)

    def put(self, source: Peer, frame: Frame) -> None:
        self._queue.put((source, frame))

    def receive(self, timeout_s: float) -> list[tuple[Peer, Frame]]:
        self._group.check_open()
        found = []
        try:
            found.append(self._queue.get(timeout=timeout_s))
            while True:
                found.append(self._queue.get_nowait())
        except queue.Empty:
            pass
        return found

    def close(self) -> None:
        self._group.forget(self._number)
