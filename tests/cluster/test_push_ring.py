"""Bodies of large pushes in shared memory: in order, never written over before they were read, with every guarantee."""

from __future__ import annotations

import os
import random
import threading
from collections import deque

import numpy as np
import pytest

from sparklab import ps
from sparklab.cluster.ps import wire
from sparklab.cluster.ps.channel import RING_FROM_BYTES
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
            server.release()
    assert refused > 50
    assert wrapped > 50


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


def test_a_ring_that_the_server_cannot_open_is_done_without_and_one_never_shared_closes_that_connection_alone() -> None:
    with ps.ParameterServer(num_servers=1) as server, bad_beside_good(server) as (bad, _):
        for where in ([os.getpid(), 999_999, 1, 1, SIZE], [os.getpid(), 0, 1, 1, SIZE], [1, 2], "rubbish", None):
            bad.send(Frame(Kind.RING, meta={"where": where}))
            assert bad.receive()[0].meta == {"where": False}
        head = wire.encode(Frame(Kind.PUSH), trusted=False)[0]
        bad._socket.sendall(wire.header_in_ring(head, 64))
        with pytest.raises(OSError, match="gone|reset"):
            bad.receive()
