"""A simulated network under the real machines: frames are lost, delayed, repeated, reordered by a seed; nodes die."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from sparklab.ps.client import Client
from sparklab.ps.frames import MANAGER, Frame, Kind, Outbox, Peer
from sparklab.ps.manager import Manager
from sparklab.ps.plain import layout_to_plain
from sparklab.ps.shard import Shard
from sparklab.ps.spec import TableSpec
from sparklab.ps.updates import Add, Update

RESEND_S = 0.5
BEAT_S = 0.2


@dataclass(frozen=True)
class Weather:
    """How bad the network is: shares of frames, and seconds."""

    loss: float = 0.0
    repeat: float = 0.0
    delay_s: float = 0.0
    in_order: bool = True


CALM = Weather()
BAD = Weather(loss=0.05, repeat=0.05, delay_s=0.05, in_order=False)


class Player:
    """A worker of the simulation: a client and the program that it runs.

    The program yields timestamps, and goes on when they are answered.
    """

    def __init__(self, client: Client, program: Callable[[Player], Generator[int, Any, None]]) -> None:
        self.client = client
        self._program = program(self)
        self._waits_for: int | None = None
        self.acknowledged: list[Any] = []
        self.began = 0
        self.pulled: list[tuple[int, Any]] = []
        self.finished = False
        self.error: BaseException | None = None

    def step(self) -> None:
        """The program has gone on as far as it can."""
        while not self.finished and (self._waits_for is None or self.client.done(self._waits_for)):
            try:
                answer = self.client.take(self._waits_for) if self._waits_for is not None else None
                self._waits_for = self._program.send(answer)
            except StopIteration:
                self.finished = True
            except Exception as error:
                self.finished, self.error = True, error


class Network:
    """Servers, a manager and players, and the frames between them, under a clock of their own."""

    def __init__(self, seed: int, servers: int, replicas: int, weather: Weather = CALM) -> None:
        self._random = random.Random(seed)
        self.weather = weather
        self.now_s = 0.0
        self.steps = 0
        self.manager = Manager(replicas, silence_s=2.0, resend_s=RESEND_S)
        self.shards: dict[int, Shard] = {}
        self.players: dict[str, Player] = {}
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._arrivals: dict[tuple[Peer, Peer], float] = {}
        self.cut: set[frozenset[Peer]] = set()
        self.at_step: dict[int, Callable[[], None]] = {}
        for server in range(servers):
            self.add_server(server)
        self._every(BEAT_S, self._beat)
        self._every(RESEND_S, self._resend)

    # --- nodes ------------------------------------------------------------------------------------

    def add_server(self, server: int) -> None:
        self.shards[server] = Shard(server, resend_s=RESEND_S)
        self.manager.add_server(server, self.now_s)
        self._send_all(MANAGER, self.manager.drain())

    def kill(self, server: int) -> None:
        """The process is gone; its connections tell the manager at once."""
        if self.shards.pop(server, None) is not None:
            self.manager.server_lost(server)
            self._send_all(MANAGER, self.manager.drain())

    def manage(self, act: Callable[[Manager], Any]) -> None:
        act(self.manager)
        self._send_all(MANAGER, self.manager.drain())

    def table(self, *, aggregate: bool, tau: int, workers: int, ranges: int = 8, num_keys: int | None = None,
              update: Update | None = None) -> TableSpec:  # fmt: skip
        spec = TableSpec(0, "w", 1, "float64", num_keys, aggregate, workers, (update or Add(),), limit=num_keys)
        sample = np.arange(1000, dtype=np.uint64) if num_keys is None else None
        self.manage(lambda manager: manager.add_table(spec, tau, ranges, sample))
        return spec

    def player(self, rank: int, program: Callable[[Player], Generator[int, Any, None]], incarnation: int = 1) -> Player:
        name = f"worker {rank}.{incarnation}"
        spec = self.manager.specs[0]
        client = Client(
            0, spec.width, spec.dtype, spec.num_keys is not None, rank, incarnation, self.manager.layout,
            ordered=self.weather.in_order and not self.weather.loss, resend_s=RESEND_S,
        )  # fmt: skip
        self.players[name] = Player(client, program)
        self._after(name)
        return self.players[name]

    def drop_player(self, player: Player) -> None:
        for name, each in list(self.players.items()):
            if each is player:
                del self.players[name]

    # --- frames -----------------------------------------------------------------------------------

    def _send_all(self, source: Peer, outbox: Outbox) -> None:
        for dest, frame in outbox:
            if dest is None:
                self._tell_players()
            else:
                self._send(source, dest, frame)

    def _tell_players(self) -> None:
        plain = layout_to_plain(self.manager.layout)
        for name in self.players:
            self._send(MANAGER, name, Frame(Kind.LAYOUT, epoch=self.manager.layout.epoch, meta=plain))

    def _send(self, source: Peer, dest: Peer, frame: Frame) -> None:
        weather = self.weather
        if frozenset((source, dest)) in self.cut or self._random.random() < weather.loss:
            return
        for _ in range(2 if self._random.random() < weather.repeat else 1):
            at = self.now_s + 0.001 + self._random.random() * weather.delay_s
            if weather.in_order:
                at = max(at, self._arrivals.get((source, dest), 0.0) + 1e-9)
                self._arrivals[source, dest] = at
            copied = frame.copy()
            self._at(at, partial(self._deliver, source, dest, copied))

    def _deliver(self, source: Peer, dest: Peer, frame: Frame) -> None:
        self.steps += 1
        action = self.at_step.pop(self.steps, None)
        if action is not None:
            action()
        if frozenset((source, dest)) in self.cut:
            return
        if dest == MANAGER:
            self.manager.receive(source, frame, self.now_s)
            self._send_all(MANAGER, self.manager.drain())
        elif isinstance(dest, int):
            if dest in self.shards:
                self._send_all(dest, self.shards[dest].receive(source, frame, self.now_s))
        elif dest in self.players:
            self.players[dest].client.receive(source, frame)  # type: ignore[index]
            self._after(str(dest))

    def _after(self, name: str) -> None:
        player = self.players[name]
        player.step()
        self._send_all(name, player.client.drain())

    # --- time -------------------------------------------------------------------------------------

    def _at(self, at: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._events, (at, next(self._numbers), call))

    def _every(self, period_s: float, call: Callable[[], None]) -> None:
        def again() -> None:
            call()
            self._at(self.now_s + period_s, again)

        self._at(self.now_s + period_s, again)

    def _beat(self) -> None:
        for server, shard in self.shards.items():
            self._send(server, MANAGER, Frame(Kind.BEAT, meta=shard.facts()))

    def _resend(self) -> None:
        for server, shard in self.shards.items():
            self._send_all(server, shard.tick(self.now_s))
        self.manager.tick(self.now_s)
        self._send_all(MANAGER, self.manager.drain())
        self._tell_players()
        for name, player in self.players.items():
            player.client.resend(self.now_s)
            self._send_all(name, player.client.drain())

    def run(self, done: Callable[[], bool], limit_s: float = 120.0) -> None:
        """`done` has become true. AssertionError after `limit_s` seconds of the simulation."""
        while not done():
            at, _, call = heapq.heappop(self._events)
            self.now_s = at
            assert at < limit_s, f"not done after {limit_s} simulated seconds: {self.story()}"
            call()

    def story(self) -> str:
        """Where everybody stands, for a failed test."""
        lines = [repr(self.manager.layout)]
        lines += [f"server {server}: {shard.facts()}" for server, shard in self.shards.items()]
        lines += [
            f"{name}: clock {p.client.clock}, epoch {p.client.layout.epoch}, "
            f"{[(Kind(r.kind).name, r.seq, bin(r.waiting), bin(r.kept)) for r in p.client._requests.values()]}"
            for name, p in self.players.items()
        ]
        return "\n".join(lines)

    def weight(self, key: int) -> float:
        """What the server of `key` holds."""
        layout = self.manager.layout.tables[0]
        server = layout.chains[layout.position(layout.range_of(key))][0]
        return float(self.shards[server].tables[0].read(np.array([key], np.uint64))[0, 0])

    def copies(self, key: int) -> list[float]:
        """What all servers of the chain of `key` hold."""
        layout = self.manager.layout.tables[0]
        chain = layout.chains[layout.position(layout.range_of(key))]
        return [float(self.shards[server].tables[0].read(np.array([key], np.uint64))[0, 0]) for server in chain]
