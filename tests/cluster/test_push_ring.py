"""Bodies of large pushes in shared memory: in order, never written over before they were read, with every guarantee."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import threading
from collections import deque
from typing import Any

import numpy as np
import pytest

from sparklab import ps
from sparklab.cluster.ps import handshake, wire
from sparklab.cluster.ps.channel import RING_FROM_BYTES
from sparklab.cluster.ps.connection import Connection
from sparklab.cluster.ps.polling import Poller
from sparklab.cluster.ps.pushring import PushRing, PushRingView
from sparklab.ps.frames import Frame, Kind
from tests.support.channels import bad_beside_good

SIZE = 1 << 12


@pytest.fixture
def ring() -> tuple[PushRing, PushRingView]:
    made = PushRing(SIZE)
    view = PushRingView(made.where())
    made.close()  # the server has it open
    return made, view


def place_of(header: bytes) -> int:
    return (wire.header(header)[wire.RING] - 1) * wire.RING_UNIT_BYTES


def buffers_of(text: bytes) -> list[bytes]:
    head = wire.encode(Frame(Kind.PUSH), trusted=False)[0]
    return [head, text[: len(text) // 2], text[len(text) // 2 :]]


@pytest.mark.parametrize("warm_bytes", [0, 1000, SIZE])
def test_bodies_come_out_as_they_went_in_however_far_the_server_is_behind(
    ring: tuple[PushRing, PushRingView], warm_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sparklab.cluster.ps.pushring._WARM_BYTES", warm_bytes)
    client, server = ring
    rng = random.Random(warm_bytes)
    under_way: deque[tuple[int, bytes]] = deque()
    refused = wrapped = 0
    for _ in range(5000):
        if rng.random() < 0.5:
            text = rng.randbytes(rng.randrange(1, SIZE // 3))
            header = client.put(buffers_of(text))
            if header is None:
                refused += 1
                assert under_way, "an empty ring has room"
            else:
                wrapped += place_of(header) == 0
                under_way.append((place_of(header), text))
        elif under_way:
            at, text = under_way.popleft()
            assert bytes(server.body(at, len(text))) == text
    assert refused > 50
    assert wrapped > 50


def test_a_body_keeps_its_place_and_those_behind_it_theirs_until_nothing_views_it(
    ring: tuple[PushRing, PushRingView],
) -> None:
    client, server = ring
    half = SIZE // 2
    bodies = []
    for text in (b"a" * half, b"b" * half):
        header = client.put(buffers_of(text))
        assert header is not None
        bodies.append(np.frombuffer(server.body(place_of(header), half), np.uint8).reshape(-1, 2))
    last = bodies.pop()
    assert client.put(buffers_of(b"c")) is None
    assert set(last.tobytes()) == {ord("b")}
    del last
    assert client.put(buffers_of(b"c")) is None, "the first is still looked at"
    assert set(bodies.pop().tobytes()) == {ord("a")}
    assert client.put(buffers_of(b"c" * half)) is not None


def test_what_is_larger_than_the_ring_is_left_to_the_socket(ring: tuple[PushRing, PushRingView]) -> None:
    assert ring[0].put(buffers_of(bytes(SIZE + 1))) is None
    assert ring[0].put(buffers_of(bytes(SIZE))) is not None


@pytest.mark.parametrize(("at", "length"), [(64, 10), (0, SIZE + 1), (SIZE, 1), (1 << 40, 10)])
def test_a_place_where_no_body_can_be_is_malformed(ring: tuple[PushRing, PushRingView], at: int, length: int) -> None:
    with pytest.raises(wire.MalformedError, match="ring"):
        ring[1].body(at, length)


def test_large_pushes_through_the_ring_count_once_when_servers_die_come_and_go() -> None:
    count, clocks = RING_FROM_BYTES, 60
    keys = ps.KeySet(np.arange(count))
    with ps.ParameterServer(num_servers=2, replicas=1) as server:
        table = server.table("w", num_keys=count, update=ps.Add(), workers=2, dtype="float64")
        through: list[int] = []

        def work(rank: int) -> None:
            with table.worker(rank) as w:
                for clock in range(clocks):
                    if rank == 0 and clock == 20:
                        server.kill_server(0)
                    if rank == 0 and clock == 30:
                        server.add_server()
                    w.push(keys, np.full(count, 1.0 + rank))
                    w.clock()
                    w.wait(w.pull(keys))
                    if clock == 10:
                        channels = w._link._channels.values()  # type: ignore[attr-defined]
                        through.extend(channel.through_ring for channel in channels)

        threads = [threading.Thread(target=work, args=(rank,)) for rank in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert set(table.weights().tolist()) == {3.0 * clocks}
        assert len(through) == 4
        assert min(through) > 5
        assert server.facts()["lost_ranges"] == 0


@pytest.mark.parametrize("behind", [False, True])
def test_a_push_waits_for_its_own_clock_in_the_ring_and_for_slower_workers_beside_it(behind: bool) -> None:
    keys = ps.KeySet(np.arange(RING_FROM_BYTES))
    with ps.ParameterServer(num_servers=1) as server:
        table = server.table(
            "w", num_keys=len(keys), update=ps.Add(), workers=1 + behind, consistency=ps.SSP(9), apply="aggregate"
        )
        with table.worker(0) as w, contextlib.ExitStack() as others:
            if behind:
                others.enter_context(table.worker(1))
            (channel,) = w._link._channels.values()  # type: ignore[attr-defined]
            given_back = []
            for _ in range(3):
                for act in (lambda: w.push(keys, np.ones(len(keys), np.float32)), w.clock):
                    act()
                    w.flush()
                    given_back.append(int(channel.ring._done[0]) == channel.ring._head)
            assert given_back == 3 * [behind, True]
            assert channel.through_ring == 3
        assert set(np.asarray(table.weights()).tolist()) == {3.0}


class Counting:
    """A socket, and what left it at once."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self.sent: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)

    def send(self, data: bytes) -> int:
        self.sent.append(len(data))
        return self._socket.send(data)

    def sendmsg(self, buffers: list[Any]) -> int:
        self.sent.append(sum(map(len, buffers)))
        return self._socket.sendmsg(buffers)


class Answering:
    """Answers a pull with weights, anything else without."""

    def __init__(self) -> None:
        self.poller = Poller()

    def opened(self, connection: Connection) -> None: ...

    def heard(self, connection: Connection, frame: Frame, borrowed: bool) -> None:
        values = np.ones((3, 1), np.float32) if frame.kind == Kind.PULL else None
        connection.send(frame.answer(Kind.DONE if values is None else Kind.VALUES, values=values))

    def closed(self, connection: Connection) -> None: ...


def test_short_answers_to_frames_that_came_together_leave_together_in_order(
    ring: tuple[PushRing, PushRingView],
) -> None:
    owner, known = Answering(), handshake.new_secrets()
    one, other = socket.socketpair()
    with one, other:
        counting = Counting(one)
        connection = Connection(owner, counting, known)
        answer, _ = handshake.answer(other.recv(handshake.GREETING_BYTES), handshake.CLIENT, 0, known)
        kinds = [Kind.PUSH, Kind.TICK, Kind.PULL, Kind.PUSH, Kind.TICK, Kind.TICK]
        frames = [wire.encode(Frame(kind, seq=seq), trusted=False)[0] for seq, kind in enumerate(kinds)]
        other.sendall(answer)
        owner.poller.wait(5)
        assert other.recv(handshake.PROOF_BYTES)
        del counting.sent[:]
        other.sendall(b"".join(frames))
        owner.poller.wait(5)
        got, found, at = other.recv(1 << 16), [], 0
        while at < len(got):
            fields = wire.header(got, at)
            found.append(fields[5])
            at += wire.HEADER_BYTES + fields[0]
        assert found == list(range(len(kinds)))
        assert counting.sent == [3 * wire.HEADER_BYTES + 12, 3 * wire.HEADER_BYTES]
        # A large push after which clocks have come is answered soon, too, where none comes.
        connection.ring = ring[1]
        for _ in range(2):
            header = ring[0].put(wire.encode(Frame(Kind.PUSH, values=np.ones((9, 1), np.float32)), trusted=False))
            assert header is not None
            other.sendall(header)
            owner.poller.wait(5)
            assert len(other.recv(1 << 16)) == wire.HEADER_BYTES
        connection.close()


def test_a_ring_that_the_server_cannot_open_is_done_without_and_one_never_shared_closes_that_connection_alone() -> None:
    with ps.ParameterServer(num_servers=1) as server, bad_beside_good(server) as (bad, _):
        for where in ([os.getpid(), 999_999, 1, 1, SIZE], [os.getpid(), 0, 1, 1, SIZE], [1, 2], "rubbish", None):
            bad.send(Frame(Kind.RING, meta={"where": where}))
            assert bad.receive()[0].meta == {"where": False}
        head = wire.encode(Frame(Kind.PUSH), trusted=False)[0]
        bad._socket.sendall(wire.header_in_ring(head, 64))
        with pytest.raises(OSError, match="gone|reset"):
            bad.receive()
