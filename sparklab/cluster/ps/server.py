"""ParameterServer: server processes on a cluster, and the manager of them in the driver."""

from __future__ import annotations

import atexit
import contextlib
import itertools
import logging
import threading
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from sparklab.cluster.ps import attendants, handshake
from sparklab.cluster.ps.address import Address
from sparklab.cluster.ps.channel import Channel
from sparklab.cluster.ps.link import SocketLink
from sparklab.cluster.ps.questions import Questions
from sparklab.cluster.ps.remote import Handle
from sparklab.cluster.ps.sampling import Sampler
from sparklab.cluster.ps.starting import Processes, starter_for
from sparklab.errors import ParameterServerError, ServerLost
from sparklab.events.facts import Fact
from sparklab.events.servers import ServerEnded, ServerStarted
from sparklab.ps.absence import AbsenceWatch
from sparklab.ps.catalog import with_memory
from sparklab.ps.frames import Frame, Kind
from sparklab.ps.link import Link
from sparklab.ps.manager import Manager
from sparklab.ps.refusals import check_alive, check_counts, check_patience, closed, still_so
from sparklab.ps.settling import until_moved
from sparklab.ps.table import Table

logger = logging.getLogger("sparklab.ps")

SILENCE_S: Final = 30.0  # a dead process is seen by its socket at once; this is for one that hangs
UNREACHABLE_S: Final = 10.0  # a host whose network answers nothing, however busy its processes are

_T = TypeVar("_T")


class ParameterServer(Questions):
    """Server processes of their own, beside a SparkContext or a Dask cluster. Thread-safe. Making one blocks: a second.

    Parameters
    ----------
    on : SparkContext or distributed.Client, optional
        On ``local[N]`` and ``threads[N]``, and without it, servers run on the driver's host. On a cluster that somebody
        else runs they run beside its workers (those with a Dask resource ``PS`` where there are any).
    num_servers : int
    replicas : int
        Further copies of each range, on other servers: so many deaths at once lose nothing.
    transport : str
        ``auto``: on the same host, shared memory for blocking pulls of a :class:`KeySet` from a dense table and a Unix
        socket for the rest; TCP to other hosts. ``unix`` and ``tcp`` force a socket.
    silence_s : float
        Seconds. A server that says nothing for so long (a process that hangs, or compiles a function) is taken for
        dead and ended; one that has died is noticed at once.
    unreachable_s : float
        Seconds. Servers of a host whose network answers nothing for so long are taken for dead; they end by themselves.

    Raises
    ------
    ParameterServerError
        The numbers make no group, or a process does not start.

    Notes
    -----
    Nothing is left of it when it is closed, when its context stops, or when the driver dies, however it dies: servers
    end with their standard input or with the manager's connection, and have nothing on disk.

    Source: Li et al. 2014, section 4.
    """

    def __init__(
        self, on: Any = None, num_servers: int = 2, replicas: int = 0, *, transport: str = "auto",
        silence_s: float = SILENCE_S, unreachable_s: float = UNREACHABLE_S,
    ) -> None:  # fmt: skip
        super().__init__()
        check_counts(num_servers, replicas)
        check_patience(silence_s, unreachable_s)
        if transport not in ("auto", "unix", "tcp"):
            raise ParameterServerError("making a ParameterServer", f"transport={transport!r}", "use auto, unix or tcp")
        self._context = weakref.ref(on) if hasattr(on, "bus") else None
        self._bus = getattr(on, "bus", None)
        self._starter, self._pem = starter_for(on)
        self._known = handshake.new_secrets()
        self._how = transport
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._manager = Manager(replicas, silence_s=silence_s, resend_s=1.0)
        self._unreachable_s = unreachable_s
        self._addresses: dict[int, Address] = {}
        self._voices: dict[int, attendants.Voice] = {}
        self._numbers_of_servers = itertools.count()
        self._closed = False
        self._absence = AbsenceWatch()
        self._group = next(_groups)
        self._sampler = Sampler(self._group)
        try:
            with ThreadPoolExecutor(num_servers) as pool:  # each takes about a second, most of it imports
                started = list(pool.map(lambda _: self._start_process(), range(num_servers)))
            for server in started:
                self._connect(server)
        except BaseException:
            self.close()
            raise
        attendants.tick(self)
        _open_servers.add(self)

    # --- servers ----------------------------------------------------------------------------------

    def _start_process(self) -> int:
        with self._lock:
            server = next(self._numbers_of_servers)
        assert self._known.control is not None
        settings = {
            "server": server,
            "work": self._known.work.hex(),
            "control": self._known.control.hex(),
            "tls": self._pem,
            "tcp": "127.0.0.1" if self._how == "tcp" else None,
            "unreachable_s": self._unreachable_s,
        }
        address = self._starter.start(settings)
        with self._lock:
            self._addresses[server] = address
        return server

    def _connect(self, server: int) -> None:
        from sparklab.cluster.ps.tls import context

        tls = context(self._pem, server=False) if self._pem is not None else None
        channel = Channel(
            self._addresses[server], handshake.MANAGER_ROLE, 0, self._known, "auto", tls, self._unreachable_s
        )
        with self._lock:
            self._channels[server] = channel
            self._voices[server] = attendants.Voice(self, server, channel)
            self._tell_addresses()
            self.manage(lambda manager: manager.add_server(server, time.monotonic()))
            self._publish(ServerStarted(self._group, server, self._starter.pid(server), self._manager.replicas))
        attendants.listen(self, server, channel)

    def _tell_addresses(self) -> None:
        meta = {server: address.plain() for server, address in self._addresses.items()}
        for server in list(self._channels):
            self._send(server, Frame(Kind.PEERS, meta=meta))

    def add_server(self) -> int:
        """One more server has taken its share of the ranges, while training went on; returns its number. Blocks.

        Raises
        ------
        ParameterServerError
            It is closed, the process does not start, or ranges wait for a process that writes in place and is stopped:
            the server is there then, and takes its share when that has gone on or ended.
        """
        self.check_open()
        server = -1
        try:
            server = self._start_process()
            self._connect(server)
        except BaseException:
            self._forget(server)
            self.check_open()  # what was closed meanwhile says so
            raise
        until_moved(self, lambda manager: manager.settled, f"adding server {server}")
        return server

    def remove_server(self, server: int) -> None:
        """`server` has given away its ranges and is gone, while training went on. Blocks; two calls at once are one.

        Raises
        ------
        ParameterServerError
            None of that number is alive, it is the last one, it is closed, or ranges wait for a process that writes in
            place and is stopped: the server leaves then when that has gone on or ended.
        ServerLost
            It died before it had given away ranges of which there was no replica.
        """
        attempted = f"removing server {server}"
        self.manage(lambda manager: manager.remove_server(server))
        until_moved(self, lambda manager: manager.has_left(server), attempted)
        if self._forget(server):
            self._publish(ServerEnded(self._group, server, "removed", 0, 0))
        elif self._manager.lost_with.get(server):
            raise ServerLost(attempted, "it died with ranges that nobody else has", "restore the last snapshot")

    def kill_server(self, server: int) -> None:
        """The process of `server` was ended by SIGKILL: its replicas serve. Does not block. For lectures and tests.

        Nobody is asked: ranges without a replica are lost, and their tables with them. Returns before the others know.

        Raises
        ------
        ParameterServerError
            None of that number is alive, or it runs on another host.
        """
        import os
        import signal

        attempted = f"killing server {server}"
        with self._lock:  # one that dies now keeps its process number until this has ended
            self.check_open()
            check_alive(server, self._manager.layout.servers, attempted)
            process = self._starter.pid(server)
            if process <= 0:
                raise ParameterServerError(
                    attempted, "it runs on another host", "end it where it runs, or remove_server(server)"
                )
            os.kill(process, signal.SIGKILL)

    def _forget(self, server: int, closed: bool = False) -> bool:
        """The process of `server` is gone; whether it was known until now."""
        with self._lock:
            channel, voice = self._channels.pop(server, None), self._voices.pop(server, None)
            if self._addresses.pop(server, None) is None and channel is None:
                return False  # somebody else is at it, and has to see the process end before the channel is closed
        if voice is not None:
            voice.end(Frame(Kind.STOP, meta={"closed": closed}))
        self._starter.end(server)
        if channel is not None:  # not before: a server whose heartbeat fails takes its manager for dead
            channel.close()
        return channel is not None

    # --- the manager ------------------------------------------------------------------------------

    def manage(self, act: Callable[[Manager], _T]) -> _T:
        """What `act` does with the manager has happened, and the servers are told."""
        with self._lock:
            self.check_open()
            result = act(self._manager)
            self._route()
            return result

    def _route(self) -> None:
        for dest, frame in self._manager.drain():
            if isinstance(dest, int):
                self._send(dest, frame)
        self._changed.notify_all()

    def _send(self, server: int, frame: Frame) -> None:
        if (voice := self._voices.get(server)) is not None:
            voice.say(frame)

    def heard(self, server: int, frames: list[Frame]) -> None:
        """A server has said something; in its reader's thread."""
        with self._lock:
            for frame in frames:
                if frame.seq and frame.kind in (Kind.RESULT, Kind.EXPORTED, Kind.RESTORED, Kind.STALE, Kind.REFUSED):
                    if frame.seq in self._answers:
                        self._answers[frame.seq] = frame
                else:
                    self._manager.receive(server, frame, time.monotonic())
                    if frame.kind == Kind.BEAT:
                        self._beats[server] = self._beats.get(server, 0) + 1
                        if frame.meta["leaving"] and server in self._manager.layout.servers:
                            with contextlib.suppress(ParameterServerError):
                                self._manager.remove_server(server)
            self._route()

    def lost(self, server: int, found: str = "") -> None:
        """The connection to a server has ended, or what was `found` shows that it is as good as dead."""
        with self._lock:
            if self._closed or server not in self._channels:
                return
            channel = self._channels.pop(server)
            self._voices.pop(server).hush()
            del self._addresses[server]
            self._tell_addresses()
            manager = self._manager
            promoted, lost_ranges = manager.promotions, manager.lost_ranges
            manager.server_lost(server)
            self._route()
            fact = ServerEnded(
                self._group, server, "died", manager.promotions - promoted, manager.lost_ranges - lost_ranges
            )
        self._publish(fact)
        if found:
            logger.warning("parameter server %d is taken for dead, and ended: %s", server, found)
            channel.close()
            threading.Thread(target=self._starter.end, args=(server, 0.0), daemon=True).start()
        elif last_words := self._starter.end(server):
            logger.warning("parameter server %d died:\n%s", server, last_words)

    def tick(self) -> bool:
        """What is due is done. False when the end has come."""
        context = self._context() if self._context is not None else None
        if self._context is not None and (context is None or context.state == "stopped"):
            self.close()
        with self._lock:
            if self._closed:
                return False
            now_s = time.monotonic()
            for server, silent_s in self._manager.silent(now_s):
                self.lost(server, f"it has said nothing for {silent_s:.3g} s")
            self._manager.tick(now_s)
            self._route()
            for table in self._tables.values():
                self._absence.look(table.spec, self._manager.facts_of, now_s)
        self._sample()
        return True

    # --- facts ------------------------------------------------------------------------------------

    def _publish(self, *facts: Fact) -> None:
        if self._bus is not None and facts:
            self._bus.publish(*facts)

    def _sample(self) -> None:
        if self._bus is None or not self._sampler.due(time.monotonic()):
            return
        with self._lock:
            changes = self._sampler.changes(self._manager, self._tables.values())
        self._publish(*changes)

    def until(self, condition: Callable[[Manager], bool], timeout_s: float, attempted: str) -> None:
        """`condition` holds. Blocks."""
        with self._lock:
            in_time = self._changed.wait_for(lambda: self._closed or condition(self._manager), timeout_s)
            self.check_open()
            if not in_time:
                raise still_so(attempted, timeout_s)

    # --- what tables ask --------------------------------------------------------------------------

    def table(self, name: str, **arguments: Any) -> Table:
        """A new table; see :meth:`Session.table`. Blocks until its kernels are compiled."""
        self.check_travels(f"making table {name!r}", arguments.get("update"), arguments.get("filters"))
        made = super().table(name, **arguments)
        epoch = self.manage(lambda manager: manager.layout.epoch)

        def known(manager: Manager) -> bool:
            return all(manager.facts_of.get(s, {}).get("epoch", -1) >= epoch for s in manager.layout.servers)

        self.until(known, 120.0, f"making table {name!r} on all servers")
        return with_memory(made, self.manage(lambda manager: manager.facts_of))

    def handle(self) -> Handle:
        """What another process needs to reach the servers. Does not block."""
        with self._lock:
            work = handshake.Secrets(self._known.work)
            return Handle(dict(self._addresses), work, self._how, self._how == "auto", self._pem)

    def link(self) -> Link:
        """A new client's way to the servers."""
        self.check_open()
        return SocketLink(self.handle(), addresses=self._current_addresses, check_open=self.check_open)

    def check_open(self) -> None:
        """Raises ParameterServerError where it is closed."""
        if self._closed:
            raise closed()

    def _current_addresses(self) -> dict[int, Address]:
        with self._lock:
            return dict(self._addresses)

    # --- the end ----------------------------------------------------------------------------------

    def close(self) -> None:
        """No process is left of it. Idempotent; blocks for milliseconds, and 2 s at most for one that hangs."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            tables = list(self._tables.values())
            servers = list(self._addresses)
        for table in tables:
            with contextlib.suppress(ParameterServerError):
                table.close(abandon=True)
        for server in servers:
            self._forget(server, closed=True)
        if isinstance(self._starter, Processes):
            self._starter.end_all()
        with self._lock:
            self._changed.notify_all()
        _open_servers.discard(self)

    def pid(self, server: int) -> int:
        """The process of `server`, on the driver's host; 0 where it is elsewhere. Does not block."""
        return self._starter.pid(server)

    def __repr__(self) -> str:
        return f"<ParameterServer servers={sorted(self._addresses)} tables={sorted(self._tables)}>"


_groups = itertools.count()
_open_servers: weakref.WeakSet[ParameterServer] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for each in list(_open_servers):
        with contextlib.suppress(Exception):  # the interpreter is going; each gets its chance
            each.close()
