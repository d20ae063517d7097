"""What clients, servers and the manager say to each other: one shape for all, whatever carries it."""

from __future__ import annotations

from collections.abc import Hashable
from enum import IntEnum
from typing import Any, Final, TypeAlias

from sparklab.ps.keys import NO_KEYS, Array, Keys

Peer: TypeAlias = Hashable  # a server's number, MANAGER, or whatever stands for a client's connection
MANAGER: Final = "manager"


class Kind(IntEnum):
    """What a frame says."""

    # a client asks
    ATTACH = 1  # meta: {"table": name}; the answer names the table's shape and the worker's clock
    PULL = 2
    PULL_RANGE = 3  # meta: {"low", "high"}
    PUSH = 4
    TICK = 5  # the worker has completed `clock` clocks
    CALL = 6  # meta: {"function", "arguments"}: a function over a range that returns a value
    DETACH = 7  # the client goes; all it pushed shall be safe. `clock` < 0: it does not come back, the floor forgets it
    SHARE = 8  # where is the memory of the table's weights?
    RING = 9  # meta: {"where"}: the memory through which this client sends the bodies of large pushes
    # a server answers
    ATTACHED = 20
    VALUES = 21
    RECEIVED = 22  # taken in, and sent again by the client if this server dies before it is applied
    DONE = 23  # applied and replicated
    RESULT = 24
    STALE = 25  # meta: the layout; nothing was done
    REFUSED = 26  # meta: {"found", "do"}
    MISSED = 27  # meta: what a filter lacks; nothing was done
    SHARED = 28  # meta: {"where"}
    # servers among themselves
    FORWARD = 40
    FORWARDED = 41
    INSTALL = 42  # a range with all that belongs to it
    INSTALLED = 43
    # the manager and a server
    LAYOUT = 60  # meta: (Layout, specs)
    MOVE = 61  # meta: {"table", "range", "to"}: freeze the range, send it
    MOVED = 62
    RELEASE = 63  # unfreeze
    BEAT = 64  # meta: facts
    EXPORT = 65  # meta: {"table"}: the ranges for a snapshot
    EXPORTED = 66
    RESTORE = 67
    RESTORED = 68
    GONE = 69  # server to manager: a worker has left
    JOINS = 70  # server to manager: a worker attaches that the floor does not count
    PEERS = 71  # meta: the addresses of all servers
    STOP = 72


class Operation(IntEnum):
    """What a FORWARD frame carries down the chain."""

    PUSH = 1
    TICK = 2
    AGGREGATE = 3
    HOLD = 4  # a push that waits for its clock: kept, not applied
    CLOSE = 5  # a client has gone with all acknowledged


class Frame:
    """One message.

    Attributes
    ----------
    kind : Kind
    table : int
    client : int
        A worker's rank, or a negative number for a client that is no worker.
    incarnation : int
        Grows each time the client starts anew.
    seq : int
        Number of the request among those of its client.
    clock : int
    epoch : int
        Of the layout that the sender knows.
    settled : int
        The client's requests up to this one were answered by all.
    mask : int
        Ranges, as bits.
    link : int
        Number of a FORWARD on its way between two servers in one epoch.
    version : int
        Which of the table's updates applies.
    operation : int
    keys, values : arrays
        `values` has a row per key.
    lent : bool
        The arrays stand in memory that the sender wants back: who keeps them for long makes them its :meth:`own`.
    meta : dict or other plain data
    """

    __slots__ = (
        "client", "clock", "epoch", "incarnation", "keys", "kind", "lent", "link", "mask", "meta", "operation", "seq",
        "settled", "table", "values", "version",
    )  # fmt: skip

    def __init__(
        self,
        kind: int,
        table: int = 0,
        client: int = 0,
        incarnation: int = 0,
        seq: int = 0,
        clock: int = 0,
        epoch: int = 0,
        settled: int = 0,
        mask: int = 0,
        keys: Keys = NO_KEYS,
        values: Array | None = None,
        meta: Any = None,
        link: int = 0,
        version: int = 0,
        operation: int = 0,
    ) -> None:
        self.kind = kind
        self.table = table
        self.client = client
        self.incarnation = incarnation
        self.seq = seq
        self.clock = clock
        self.epoch = epoch
        self.settled = settled
        self.mask = mask
        self.keys = keys
        self.values = values
        self.meta = meta
        self.link = link
        self.version = version
        self.operation = operation
        self.lent = False

    def answer(self, kind: int, **more: Any) -> Frame:
        """A frame to whoever sent this one, about the same request."""
        return Frame(
            kind, self.table, self.client, self.incarnation, self.seq, epoch=self.epoch, mask=self.mask, **more
        )

    def own(self) -> None:
        """The arrays are the frame's own, whatever becomes of the buffer that they were views of."""
        if len(self.keys):
            self.keys = self.keys.copy()
        if self.values is not None:
            self.values = self.values.copy()
        self.lent = False

    def copy(self, **changed: Any) -> Frame:
        """The same frame with other values of some attributes."""
        made = Frame(self.kind)
        for name in Frame.__slots__:
            setattr(made, name, changed[name] if name in changed else getattr(self, name))
        return made

    def __repr__(self) -> str:
        return (
            f"<{Kind(self.kind).name} table={self.table} client={self.client} seq={self.seq} clock={self.clock} "
            f"epoch={self.epoch} mask={self.mask:#x} keys={len(self.keys)} meta={self.meta!r:.60}>"
        )


Outbox: TypeAlias = list[tuple[Peer, Frame]]
