"""A server process: ``python -m sparklab.cluster.ps.process``; settings on standard input, address on standard output.

It ends when standard input ends (whoever started it is gone), when the manager's connection ends, and when it is told
to. Told by SIGTERM, it asks the manager first to be relieved of its ranges.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import ssl
import sys
import threading
import time
import traceback
from typing import Any, Final

from sparklab.cluster.ps import handshake
from sparklab.cluster.ps.address import CUT_S, Address, listen_tcp, listen_unix, remove_unix, set_out, this_host
from sparklab.cluster.ps.connection import Connection, Listener
from sparklab.cluster.ps.polling import Poller
from sparklab.cluster.ps.pushring import PushRingView
from sparklab.cluster.ps.sharing import SharedMemory
from sparklab.cluster.ps.travelling import LOAD_ONLY, unloadable, unpacked, unsendable
from sparklab.cluster.ps.warming import warm
from sparklab.errors import ParameterServerError
from sparklab.ps.frames import MANAGER, Frame, Kind, Outbox
from sparklab.ps.plain import layout_to_plain
from sparklab.ps.shard import Shard
from sparklab.ps.shortcut import answer_at_once

_MOVES_FLOOR: Final = frozenset({Kind.TICK, Kind.ATTACH, Kind.DETACH})
_CHANGES_RANGES: Final = frozenset({Kind.LAYOUT, Kind.INSTALL, Kind.RESTORE, Kind.RELEASE})
BEAT_S: Final = 0.25
LAST_WORDS_S: Final = 0.25  # to tell clients why, which takes milliseconds
ARRIVE_S: Final = 2.0  # in which another server has to be reached: its host may be gone, which no answer tells
SHOW_S: Final = 10.0  # in which a peer has to show the secret: one that is silent would hold a descriptor for ever
MANAGER_S: Final = 30.0  # how long a server that nobody manages waits for its manager


class ServerProcess:
    """The shard and its sockets. One thread."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.number = int(settings["server"])
        self.poller = Poller()
        self._known = handshake.Secrets(bytes.fromhex(settings["work"]), bytes.fromhex(settings["control"]))
        self._memory = SharedMemory()
        self._shard = Shard(self.number, self._memory.allocate, resend_s=1.0)
        self._manager: Connection | None = None
        self._managed_by_s = time.monotonic() + MANAGER_S
        self._peers: dict[int, Connection] = {}
        self._clients: set[Connection] = set()
        self._strangers: dict[Connection, float] = {}  # since when
        self._addresses: dict[int, Address] = {}
        self._epoch = 0
        self._running = True
        self._leaving = False
        self._last_words = ""  # why all servers end, where they do
        self._tls = _contexts(settings.get("tls"))
        self._unreachable_s = float(settings.get("unreachable_s", CUT_S))
        listener, self._unix = listen_unix()
        Listener(self.poller, listener, None, self._accept)
        tcp = None
        if settings.get("tcp") is not None:
            made = listen_tcp(settings["tcp"])
            Listener(self.poller, made, self._tls[0], self._accept)
            tcp = (settings.get("advertised") or settings["tcp"], made.getsockname()[1])
        self.address = Address(this_host(), self._unix, tcp, self._tls[0] is not None)

    def run(self) -> None:
        """Returns when the server has been told to end, or nobody manages it."""
        next_beat = 0.0
        try:
            while self._running:
                self.poller.wait(BEAT_S)
                now_s = time.monotonic()
                if now_s >= next_beat:
                    next_beat = now_s + BEAT_S
                    self._send_all(self._shard.tick(now_s))
                    self._publish_floors()  # also of ranges that a move which was called off had closed
                    self._beat()
                    self._give_up(now_s)
                    if self._manager is None and now_s > self._managed_by_s:
                        return
        finally:
            if self._last_words:
                for client in self._clients:
                    client.send(Frame(Kind.STOP, meta={"found": self._last_words}))
            remove_unix(self._unix)

    def leave(self) -> None:
        """The manager is asked to relieve this server; from a signal handler."""
        self._leaving = True

    # --- connections ------------------------------------------------------------------------------

    def _accept(self, sock: Any) -> None:
        made = Connection(self, sock, self._known)
        if made.is_open:
            self._strangers[made] = time.monotonic()

    def opened(self, connection: Connection) -> None:
        """A peer has shown who it is."""
        self._strangers.pop(connection, None)
        served = connection.role == handshake.CLIENT  # which may well read nothing for a while, and compute
        connection.notice_cut(CUT_S if served else self._unreachable_s, unsent=not served)
        if connection.role == handshake.MANAGER_ROLE:
            self._manager = connection
            self._beat()
        elif connection.role == handshake.CLIENT:
            self._clients.add(connection)
            connection.send(self._layout_frame())

    def closed(self, connection: Connection) -> None:
        """A peer is gone."""
        self._strangers.pop(connection, None)
        self._clients.discard(connection)
        self._memory.forget(connection)
        self._shard.forget_client(connection)
        if connection is self._manager:
            self._end("the driver that made it is gone")  # and its handles and secrets with it
        if self._peers.get(connection.number) is connection:
            del self._peers[connection.number]

    def heard(self, connection: Connection, frame: Frame, borrowed: bool) -> None:
        """A frame has come."""
        if connection.role == handshake.CLIENT:
            try:
                self._serve(connection, frame, borrowed)
            except (OSError, ParameterServerError):
                raise  # the connection ends
            except Exception as error:  # whatever one worker asks, the others are served
                traceback.print_exc()
                found = f"a request that makes no sense to the server ({type(error).__name__}: {error})"
                meta = {"found": found, "do": "check its keys, its range and its arguments"}
                connection.send(frame.answer(Kind.REFUSED, meta=meta))
            return
        if borrowed:
            frame.own()
        now_s = time.monotonic()
        if connection.role == handshake.SERVER:
            self._send_all(self._exclusively(connection.number, frame, now_s))
        elif frame.kind == Kind.PEERS:
            self._addresses = {int(number): Address.of(data) for number, data in frame.meta.items()}
            for server in self._peers.keys() - self._addresses.keys():
                self._peers[server].close()  # it is dead: what waits for it to read goes with it
        elif frame.kind == Kind.BEAT:
            self._beat()
        elif frame.kind == Kind.STOP:
            self._end("it is closed" if frame.meta["closed"] else "")
        elif frame.kind == Kind.CALL:
            self._call(connection, frame, now_s)
        else:
            self._send_all(self._exclusively(MANAGER, frame, now_s))
            if frame.kind == Kind.LAYOUT:
                self._after_layout()

    def _call(self, manager: Connection, frame: Frame, now_s: float) -> None:
        """A function of the user's is asked for a value; whatever is wrong with it, this server goes on."""
        try:
            things = unpacked(frame.meta["function"])
        except (Exception, SystemExit) as error:
            manager.send(frame.answer(Kind.REFUSED, meta=unloadable(error)))
            return
        if LOAD_ONLY in frame.meta:
            manager.send(frame.answer(Kind.RESULT, meta={"part": None}))
            return
        frame.meta["function"], frame.meta["arguments"] = things
        for to, answer in self._shard.receive(MANAGER, frame, now_s):
            try:
                self._send_all([(to, answer)])
            except OSError:
                raise
            except Exception as error:
                self._send_all([(to, frame.answer(Kind.REFUSED, meta=unsendable(error)))])

    def _serve(self, connection: Connection, frame: Frame, borrowed: bool) -> None:
        """A worker's request is done, or taken in."""
        quick = answer_at_once(self._shard, frame)
        if quick is not None:
            connection.send(quick)
            return
        if borrowed:
            frame.own()
        if frame.kind == Kind.SHARE:
            self._share(connection, frame)
        elif frame.kind == Kind.RING:
            self._map_ring(connection, frame)
        else:
            outbox = self._shard.receive(connection, frame, time.monotonic())
            if frame.kind in _MOVES_FLOOR:
                self._publish_floors()  # before anybody hears that it moved
            self._send_all(outbox)

    def _end(self, last_words: str) -> None:
        if self._running:
            self._running, self._last_words = False, last_words

    def _exclusively(self, source: Any, frame: Frame, now_s: float) -> Outbox:
        """The same as the shard's `receive`, but nobody reads weights in place where `frame` may give ranges away."""
        if frame.kind not in _CHANGES_RANGES:
            return self._shard.receive(source, frame, now_s)
        with self._memory.closed(list(self._shard.tables.values())):
            outbox = self._shard.receive(source, frame, now_s)
            for table in self._shard.tables.values():
                if table.guard is None:
                    self._memory.adopt(table)
            self._publish_floors()
        return outbox

    def _publish_floors(self) -> None:
        for table in self._shard.tables.values():
            self._memory.publish(table, self._shard.layout.epoch)

    def _share(self, connection: Connection, frame: Frame) -> None:
        table = self._shard.tables.get(frame.table)
        where = self._memory.where(table, connection) if table is not None else None
        connection.send(frame.answer(Kind.SHARED, meta={"where": where}))

    def _map_ring(self, connection: Connection, frame: Frame) -> None:
        try:
            connection.ring = PushRingView([int(each) for each in frame.meta["where"]])
        except (OSError, ValueError, TypeError, KeyError):  # other namespaces, or rubbish: bodies come by socket
            connection.ring = None
        connection.send(frame.answer(Kind.SHARED, meta={"where": connection.ring is not None}))

    def _after_layout(self) -> None:
        if self._shard.layout.epoch == self._epoch:
            return
        self._epoch = self._shard.layout.epoch
        for table in self._shard.tables.values():
            try:
                warm(table)
            except Exception:  # it only spares the first push time, which will say what is wrong
                traceback.print_exc()
        told = self._layout_frame()
        for client in list(self._clients):
            client.send(told)
        self._beat()

    def _layout_frame(self) -> Frame:
        plain = layout_to_plain(self._shard.layout)
        plain["addresses"] = [[number, each.plain()] for number, each in self._addresses.items()]
        return Frame(Kind.LAYOUT, epoch=self._shard.layout.epoch, meta=plain)

    def _beat(self) -> None:
        if self._manager is not None:
            facts = self._shard.facts()
            facts["leaving"] = self._leaving
            self._manager.send(Frame(Kind.BEAT, meta=facts))

    # --- sending ----------------------------------------------------------------------------------

    def _send_all(self, outbox: Outbox) -> None:
        for dest, frame in outbox:
            if isinstance(dest, Connection):
                dest.send(frame)
            elif dest == MANAGER:
                if self._manager is not None:
                    self._manager.send(frame)
            elif isinstance(dest, int):
                peer = self._peers.get(dest) or self._connect(dest)
                if peer is not None:
                    peer.send(frame)

    def _connect(self, server: int) -> Connection | None:
        address = self._addresses.get(server)
        if address is None:
            return None
        try:
            sock, tls = set_out(address, self._tls[1])
        except OSError:
            return None  # the manager will see that it is dead, too
        made = self._peers[server] = Connection(self, sock, self._known, (self.number, server), tls)
        made.notice_cut(self._unreachable_s)
        return made

    def _give_up(self, now_s: float) -> None:
        """Connections that do not come about are gone: what was to be sent by them is sent again by others. A process
        that is stopped does not even refuse: its system accepts for it.

        So are those of peers that have not shown the secret in time.
        """
        for stranger, since_s in list(self._strangers.items()):
            if now_s - since_s > SHOW_S:
                stranger.close()
        for peer in list(self._peers.values()):
            within_s = ARRIVE_S if peer.arriving else SHOW_S
            if peer.set_out_s is not None and now_s - peer.set_out_s > within_s:
                peer.close()


def _contexts(pem: dict[str, str] | None) -> tuple[ssl.SSLContext | None, ssl.SSLContext | None]:
    from sparklab.cluster.ps.tls import context

    if pem is None:
        return None, None
    return context(pem, server=True), context(pem, server=False)


def _end_with_input() -> None:
    def watch() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 1 << 10):
                pass
        time.sleep(LAST_WORDS_S)
        os._exit(0)  # whatever the loop is doing: nothing of a server is on disk

    threading.Thread(target=watch, daemon=True, name="starter-watch").start()


def main() -> None:
    """Run one server, as standard input says."""
    line = b""
    while not line.endswith(b"\n"):
        more = os.read(0, 1 << 16)
        if not more:
            return
        line += more
    settings = json.loads(line)
    _end_with_input()
    server = ServerProcess(settings)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Stop in a notebook is not for servers
    signal.signal(signal.SIGTERM, lambda *_: server.leave())
    warm(None)
    gc.collect()
    gc.freeze()
    sys.stdout.write(json.dumps({"address": server.address.plain(), "pid": os.getpid()}) + "\n")
    sys.stdout.flush()
    server.run()
    os._exit(0)  # the watching thread is blocked in a read


if __name__ == "__main__":
    main()
