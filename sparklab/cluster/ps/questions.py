"""What the driver asks its servers, and waits for: facts, functions over ranges, copies of ranges."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from abc import abstractmethod
from typing import Any, Final

from sparklab.cluster.ps.channel import Channel
from sparklab.cluster.ps.travelling import LOAD_ONLY, packed
from sparklab.errors import ParameterServerError
from sparklab.ps.frames import Frame, Kind
from sparklab.ps.functions import RangeFunction
from sparklab.ps.manager import Manager
from sparklab.ps.refusals import lost
from sparklab.ps.session import Session
from sparklab.ps.snapshot import Part
from sparklab.ps.spec import TableSpec
from sparklab.ps.updates import UserUpdate

ASK_S: Final = 30.0


class Questions(Session):
    """The part of :class:`ParameterServer` that asks by the manager's connections. Thread-safe; all of it blocks."""

    _lock: threading.RLock
    _changed: threading.Condition
    _manager: Manager

    def __init__(self) -> None:
        super().__init__()
        self._channels: dict[int, Channel] = {}
        self._requests = itertools.count(1)
        self._answers: dict[int, Frame | None] = {}
        self._beats: dict[int, int] = {}

    @abstractmethod
    def _send(self, server: int, frame: Frame) -> None:
        """`frame` is on its way to a server, or lost where that is gone."""

    def server_facts(self) -> dict[int, dict[str, Any]]:
        """What each server says of itself now."""
        with self._lock:
            self.manage(lambda _: None)  # says so where it is closed
            before = {server: self._beats.get(server, 0) for server in self._channels}
            for server in before:
                self._send(server, Frame(Kind.BEAT))

            def heard(manager: Manager) -> bool:
                return all(self._beats.get(s, 0) > n for s, n in before.items() if s in manager.layout.servers)

            self.until(heard, ASK_S, "asking the servers for facts")
            return dict(self._manager.facts_of)

    def call_on_servers(
        self, spec: TableSpec, function: RangeFunction, low: int, high: int | None, arguments: dict[str, Any]
    ) -> list[Any]:
        """The part of `function` of each server's rows in the range."""
        end = spec.end if high is None else high
        attempted = f"calling a function on table {spec.name!r}"
        meta = {"function": packed(attempted, function, arguments), "low": low, "high": end}
        while True:
            servers = self.manage(lambda manager: manager.servers_of(spec.table))
            answers = [self.ask(server, Frame(Kind.CALL, spec.table, meta=meta)) for server in servers]
            if all(answer.kind != Kind.STALE for answer in answers):
                break
        for answer in answers:
            if answer.kind == Kind.REFUSED:
                raise ParameterServerError(attempted, answer.meta["found"], answer.meta["do"])
        return [answer.meta["part"] for answer in answers]

    def check_travels(self, attempted: str, update: Any, filters: Any) -> None:
        """Every server can load these, where they are a user's own. Blocks while they are asked.

        Raises
        ------
        ParameterServerError
            One cannot be sent, or not be loaded there.
        """
        things = [update, *(filters if isinstance(filters, list | tuple) else [filters])]
        own = [each for each in things if isinstance(each, UserUpdate) or _is_users(each)]
        if not own:
            return
        data = packed(attempted, *own)
        for server in self.servers:
            answer = self.ask(server, Frame(Kind.CALL, meta={"function": data, LOAD_ONLY: True}))
            if answer.kind == Kind.REFUSED:
                raise ParameterServerError(attempted, f"on server {server}, {answer.meta['found']}", answer.meta["do"])

    def export_range(self, spec: TableSpec, range_id: int) -> dict[str, Any]:
        """A copy of a range, from the server that serves it."""
        deadline = time.monotonic() + ASK_S
        while True:
            layout = self.manage(lambda manager: manager.layout.tables[spec.table])
            chain = layout.chains[layout.position(range_id)]
            if not chain:
                raise lost(spec)
            with contextlib.suppress(ParameterServerError):
                answer = self.ask(chain[0], Frame(Kind.EXPORT, spec.table, meta={"range": range_id}))
                if answer.meta["data"] is not None:
                    data: dict[str, Any] = answer.meta["data"]
                    return data
            if time.monotonic() > deadline:  # it moves again and again
                raise ParameterServerError(f"copying table {spec.name!r}", "its ranges do not rest", "try again later")

    def load_part(self, spec: TableSpec, part: Part) -> None:
        """`part` stands in the table, on every replica."""
        self.settle()
        meta = {"part": (part.keys, part.weights, part.states)}
        for server in self.servers:
            self.ask(server, Frame(Kind.RESTORE, spec.table, meta=meta))

    def ask(self, server: int, frame: Frame) -> Frame:
        """The answer of `server` to `frame`. Blocks.

        Raises
        ------
        ParameterServerError
            It died meanwhile, or did not answer in time.
        """
        with self._lock:
            seq = next(self._requests)
            frame.seq, frame.epoch = seq, self._manager.layout.epoch
            self._answers[seq] = None
            self._send(server, frame)
            try:
                answered = self._changed.wait_for(
                    lambda: self._answers[seq] is not None or server not in self._channels, ASK_S
                )
                answer = self._answers[seq]
            finally:
                del self._answers[seq]
        if answer is None:
            found = "it died" if answered else f"no answer within {ASK_S:g} s"
            raise ParameterServerError(f"asking server {server}", found, "try again: replicas serve its ranges")
        return answer


def _is_users(thing: Any) -> bool:
    return thing is not None and not type(thing).__module__.startswith("sparklab.")
