"""A client's way to server processes: a channel to each, opened when needed."""

from __future__ import annotations

import contextlib
import itertools
import select
import time
import weakref
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from sparklab.cluster.ps import handshake
from sparklab.cluster.ps.address import Address, this_host
from sparklab.cluster.ps.channel import SOON_S, Channel, goes_by_ring
from sparklab.cluster.ps.pushring import PushRing
from sparklab.cluster.ps.sharing import SharedView
from sparklab.errors import ParameterServerError, ServerLost
from sparklab.ps.frames import Frame, Kind, Peer
from sparklab.ps.kernels import read_shared, read_shared_all
from sparklab.ps.keys import KeySet
from sparklab.ps.layout import Layout
from sparklab.ps.plain import layout_from_plain
from sparklab.ps.spec import TableSpec

if TYPE_CHECKING:
    from sparklab.cluster.ps.remote import Handle

_DTYPES: Final = {name: np.dtype(name) for name in ("float32", "float64")}  # looked up: parsing a name takes longer
_PLANS: Final = 16  # kept with a set of keys
_serials = itertools.count()
GONE_S: Final = 10.0  # with no server in reach for so long, there is none
REFUSED_S: Final = 1.0  # the same where each host says that nobody listens there


def _nothing_known() -> None:
    """Whether the servers were closed is known to who made them alone."""


class SocketLink:
    """One client's channels. A server that is gone is found out by its socket, a new one by a layout."""

    ordered = True

    def __init__(
        self,
        handle: Handle,
        number: int = -1,
        addresses: Callable[[], dict[int, Address]] | None = None,
        check_open: Callable[[], None] = _nothing_known,
    ) -> None:
        self._handle = handle
        self._ask_addresses = addresses  # the driver knows them; elsewhere the servers say
        self._check_owner = check_open  # raises where the servers were closed; elsewhere nobody knows
        self._number = number
        self._serial = next(_serials)
        self._addresses = dict(handle.addresses)
        self._channels: dict[int, Channel] = {}
        self._by_number: dict[int, int] = {}  # servers by descriptor
        self._polled = select.poll()
        self._asked: weakref.WeakSet[Channel] = weakref.WeakSet()  # for a ring
        self._tls = handle.tls()
        self._inbox: list[tuple[Peer, Frame]] = []
        self._alone_since_s: float | None = None
        self._refused: set[int] = set()  # servers at whose addresses nobody listens
        self._looking = False
        self._ended = ""  # what the servers said before they ended
        self._views: dict[tuple[int, int], SharedView | None] = {}

    def layout(self) -> Layout:
        """The layout in force, as the first server within reach knows it; blocks."""
        deadline = time.monotonic() + GONE_S
        while time.monotonic() < deadline:
            self._check_open()
            for server in list(self._addresses):
                channel = self._open(server)
                if channel is None:
                    continue
                for _, frame in self.receive(1.0):
                    if frame.kind == Kind.LAYOUT:
                        return layout_from_plain(frame.meta)
            if not self._channels:
                self._look_around()
        raise _nobody(self._addresses, GONE_S)

    def _open(self, server: int) -> Channel | None:
        channel = self._channels.get(server)
        if channel is not None:
            return channel
        address = self._addresses.get(server)
        if address is None:
            return None
        try:
            made = Channel(address, handshake.CLIENT, self._number, self._handle.known, self._handle.how, self._tls)
        except OSError as error:
            if isinstance(error, ConnectionRefusedError | FileNotFoundError):
                self._refused.add(server)
            return None
        self._refused.discard(server)
        made.held_up = partial(_look_on, weakref.ref(self), server)
        self._channels[server] = made
        self._by_number[made.fileno()] = server
        self._polled.register(made.fileno(), select.POLLIN)
        self._alone_since_s = None
        return made

    def send(self, server: int, frame: Frame) -> None:
        """`frame` is on its way, or lost where the server is gone: a layout will say who serves instead."""
        self._check_open()
        channel = self._open(server)
        if channel is None:
            return
        if frame.kind == Kind.PUSH and channel.ring is None and goes_by_ring(frame):
            self._share_ring(server, channel)
        try:
            channel.send(frame)
        except OSError:
            self._drop(server)

    # --- shared memory ----------------------------------------------------------------------------

    def read(self, spec: TableSpec, layout: Layout, keys: KeySet, floor: int) -> Any:
        """The weights of `keys` read in place, a row each; None where that is not possible now. Does not block.

        Source: Li et al. 2014, section 3.5: the same floor is asked for as by a pull.
        """
        self._check_open()  # the memory outlives its server
        if not self._handle.shared:
            return None
        plan = keys.plans.get((self._serial, spec.table, layout.epoch))
        if plan is None:
            plan = self._plan(spec, layout, keys)
        if len(plan) == 1:
            view = self._views.get((plan[0][0], spec.table))
            if view is None:
                return None
            one = np.empty((len(keys.keys), spec.width), view.rows.dtype)
            return one if read_shared_all(view.header, view.rows, keys.keys, one, layout.epoch, floor) else None
        out = np.empty((len(keys.keys), spec.width), _DTYPES[spec.dtype])
        for server, own, places in plan:
            view = self._views.get((server, spec.table))
            if view is None or not read_shared(view.header, view.rows, own, places, out, layout.epoch, floor):
                return None
        return out

    def write(self, spec: TableSpec, layout: Layout, keys: KeySet, rows: Any) -> bool:
        """Whether `rows` went through the update of a table in the unguarded mode, in place. Does not block.

        No server hears of it, and whoever writes the same weights at the same time may undo it in part.
        """
        self._check_open()
        if not self._handle.shared:
            return False
        plan = keys.plans.get((self._serial, spec.table, layout.epoch))
        if plan is None:
            plan = self._plan(spec, layout, keys)
        views = [self._views.get((server, spec.table)) for server, _, _ in plan]
        with contextlib.ExitStack() as held:
            for view in views:
                if view is None or not held.enter_context(view.writing(layout.epoch)):
                    return False
            for view, (_, own, places) in zip(views, plan, strict=True):
                assert view is not None
                gradients = rows if len(plan) == 1 else rows[places]
                view.update(spec.updates[-1]).apply(view.rows, (), own.view(np.int64), gradients)
        return True

    def _plan(self, spec: TableSpec, layout: Layout, keys: KeySet) -> list[Any]:
        table = layout.tables[spec.table]
        plan = []
        for server, headed in table.heads.items():
            chosen = np.nonzero(table.chosen(keys.keys, headed))[0]
            if len(chosen):
                self._map(server, spec)
                plan.append((server, np.ascontiguousarray(keys.keys[chosen]), chosen))
        if len(keys.plans) >= _PLANS:
            keys.plans.clear()
        # Of this link alone: another session has the same numbers for other servers, whose memory is not mapped here.
        keys.plans[self._serial, spec.table, layout.epoch] = plan
        return plan

    def _map(self, server: int, spec: TableSpec) -> None:
        address = self._addresses.get(server)
        if (server, spec.table) in self._views or address is None or address.host != this_host():
            return
        self._views[server, spec.table] = None
        channel = self._open(server)
        if channel is None:
            return
        with contextlib.suppress(OSError, ParameterServerError):
            where = self._shared(server, channel, Frame(Kind.SHARE, spec.table))
            if where is not None and spec.num_keys is not None:
                dtype = np.dtype(spec.dtype)
                self._views[server, spec.table] = SharedView(where, spec.num_keys, spec.width, dtype)

    def _share_ring(self, server: int, channel: Channel) -> None:
        """Large pushes go through a ring from now on, where the server can open it."""
        if channel in self._asked or not self._handle.shared or self._addresses[server].host != this_host():
            return
        self._asked.add(channel)
        with contextlib.suppress(OSError, ParameterServerError):
            ring = PushRing()
            if self._shared(server, channel, Frame(Kind.RING, meta={"where": ring.where()})):
                channel.ring = ring
            else:
                ring.close()

    def _shared(self, server: int, channel: Channel, question: Frame) -> Any:
        """What the server says to a question about memory. Blocks."""
        channel.send(question)
        while True:
            found = channel.receive()
            self._take(server, [frame for frame in found if frame.kind != Kind.SHARED])
            for frame in found:
                if frame.kind == Kind.SHARED:
                    return frame.meta["where"]

    # --- channels that break ----------------------------------------------------------------------

    def _drop(self, server: int) -> None:
        channel = self._channels.pop(server, None)
        if channel is not None:
            self._polled.unregister(channel.fileno())
            del self._by_number[channel.fileno()]
            # Its last words may say who serves now.
            with contextlib.suppress(OSError, ParameterServerError):
                while channel.ready(0.0):
                    self._take(server, channel.receive())
            channel.close()
            # Its place among those who write in place is another's now; who plans anew asks for one.
            self._views = {each: view for each, view in self._views.items() if each[0] != server}
            self._serial = next(_serials)
            if self._open(server) is not None:  # the connection broke, the server did not
                self._inbox.append((server, Frame(Kind.PEERS)))

    def look_on(self, server: int) -> None:
        """While `server` is held up, others may say that it serves no more.

        Raises
        ------
        ConnectionAbortedError
            That is so.
        """
        if self._looking:  # of two that are held up
            return
        self._looking = True
        try:
            self._check_open()
            for other, channel in list(self._channels.items()):
                if other != server and channel.ready(0.0):
                    self._read(other, Channel.receive)
            if self._ask_addresses is not None:
                self._addresses = self._ask_addresses()
        finally:
            self._looking = False
        if server not in self._addresses:
            raise ConnectionAbortedError(f"server {server} serves no more")

    def receive(self, timeout_s: float) -> list[tuple[Peer, Frame]]:
        """What has come. Blocks until something has, or `timeout_s` passed."""
        if len(self._channels) == 1 and timeout_s >= SOON_S and not self._inbox:
            ((server, channel),) = self._channels.items()
            if not channel.plain:
                self._wait(timeout_s)
            else:  # nobody needs to be asked who is ready
                self._read(server, Channel.receive_soon)
        elif self._channels:
            self._wait(timeout_s)
        found, self._inbox = self._inbox, []
        if not found:
            self._check_open()
            if not self._channels:
                self._look_around()
        return found

    def _check_open(self) -> None:
        """Raises where the servers were closed, or ended otherwise all together, as far as it is known here."""
        try:
            self._check_owner()
            if self._ended:
                raise ServerLost("asking a ParameterServer from another process", self._ended, _ANEW)
        except ParameterServerError:
            self.close()  # nobody will
            raise

    def _wait(self, timeout_s: float) -> None:
        ready = [server for server, channel in self._channels.items() if channel.has_more]
        wait_ms = 0.0 if ready or self._inbox else timeout_s * 1000
        found_ready = [self._by_number[number] for number, _ in self._polled.poll(wait_ms)]
        for server in dict.fromkeys((*ready, *found_ready)):
            self._read(server, Channel.receive)

    def _read(self, server: int, read: Callable[[Channel], list[Frame]]) -> None:
        channel = self._channels.get(server)
        if channel is None:  # gone since it was found ready
            return
        try:
            frames = read(channel)
        except OSError:
            self._drop(server)
        else:
            self._take(server, frames)

    def _take(self, server: int, frames: list[Frame]) -> None:
        for frame in frames:
            if frame.kind == Kind.STOP:
                self._ended = frame.meta["found"]
                continue
            if frame.kind == Kind.LAYOUT and "addresses" in frame.meta:
                self._learn(frame.meta["addresses"])
            self._inbox.append((server, frame))

    def _learn(self, addresses: list[Any]) -> None:
        self._addresses = {int(number): Address.of(data) for number, data in addresses}
        for server in list(self._addresses):
            self._open(server)

    def _look_around(self) -> None:
        """Nobody is connected: any server that answers brings a layout with it."""
        now_s = time.monotonic()
        if self._alone_since_s is None:
            self._alone_since_s = now_s
        if self._ask_addresses is not None:
            self._addresses = self._ask_addresses()
        for server in list(self._addresses):
            self._open(server)
        if not self._channels:
            for_s = REFUSED_S if self._refused >= self._addresses.keys() else GONE_S
            if now_s - self._alone_since_s > for_s:
                raise _nobody(self._addresses, for_s)
            time.sleep(0.02)

    def close(self) -> None:
        """All channels are gone."""
        for channel in self._channels.values():
            channel.close()
        self._channels.clear()


def _look_on(weak: weakref.ref[SocketLink], server: int) -> None:
    if (link := weak()) is not None:
        link.look_on(server)


_ANEW: Final = "make a new ParameterServer and restore the last snapshot"


def _nobody(addresses: dict[int, Address], for_s: float) -> ServerLost:
    if not addresses:
        return ServerLost("reaching a server", "none is left", _ANEW)
    return ServerLost(f"reaching one of the servers {sorted(addresses)}", f"none answered for {for_s:g} s", _ANEW)
