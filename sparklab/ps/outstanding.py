"""The requests of a client that are not settled: which are answered, which are safe, which wait for others."""

from __future__ import annotations

from typing import Any

from sparklab.ps.frames import Kind
from sparklab.ps.request import Request


class Outstanding:
    """What a client has asked for, by timestamp, until all of it is answered and safe.

    Parameters
    ----------
    ordered : bool
        Whether frames to one server arrive in the order they were sent. If not, a tick waits for the pushes before it.
    """

    def __init__(self, ordered: bool) -> None:
        self._ordered = ordered
        self._seq = 0
        self._requests: dict[int, Request] = {}
        self._unsafe: dict[int, Request] = {}  # answered pushes and ticks that a server may still lose
        self._held_back: list[Request] = []  # until what they need is answered

    @property
    def settled(self) -> int:
        """All requests up to this one are answered and safe: none of them is ever sent again."""
        if len(self._requests) == 1 and not self._unsafe and self._seq in self._requests:
            return self._seq - 1  # the usual case, without a walk
        first = min((seq for seq, r in self._requests.items() if r.kind == Kind.PUSH), default=self._seq + 1)
        unsafe = min((seq for seq, r in self._unsafe.items() if r.kind == Kind.PUSH), default=self._seq + 1)
        return min(first, unsafe) - 1

    @property
    def unsettled(self) -> int:
        """Requests that are not answered or not safe."""
        return len(self._requests) + len(self._unsafe)

    def issued(self, ts: Any) -> bool:
        """Whether `ts` is a timestamp of this client's; 0 stands for what needed no request."""
        return hasattr(ts, "__index__") and 0 <= ts <= self._seq

    @property
    def idle(self) -> bool:
        """Whether nothing is under way: what is read now has this client's own pushes in it."""
        return not self._requests

    @property
    def pushing(self) -> bool:
        """Whether a push was not answered yet."""
        return any(r.kind == Kind.PUSH and not r.answered for r in self._requests.values())

    @property
    def unanswered_pushes(self) -> bool:
        """Whether a push or a tick was not answered yet."""
        return any(r.kind in (Kind.PUSH, Kind.TICK) and not r.answered for r in self._requests.values())

    def done(self, ts: int) -> bool:
        """Whether the request with this timestamp is answered. True for one that was taken before."""
        request = self._requests.get(ts)
        return request is None or request.answered

    def before(self, request: Request) -> tuple[int, ...]:
        """Pushes and ticks that could arrive after this tick if it were sent now: those that are held back themselves,
        and, where frames may overtake each other, all that are not answered."""
        earlier = self._held_back if self._ordered else self._requests.values()
        return tuple(r.seq for r in earlier if r.seq < request.seq and r.kind in (Kind.PUSH, Kind.TICK))
