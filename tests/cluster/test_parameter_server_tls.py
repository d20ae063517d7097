"""Servers and clients on a Dask cluster with Security: TLS with certificates on both sides, and nothing else."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from distributed import Client, LocalCluster
from distributed.security import Security

from sparklab import ps
from sparklab.cluster.ps import handshake, tls, wire
from sparklab.cluster.ps.address import Address, set_out
from sparklab.cluster.ps.channel import Channel
from sparklab.cluster.ps.connection import Connection, Listener
from sparklab.cluster.ps.polling import Poller
from sparklab.errors import ParameterServerError
from sparklab.ps.frames import Frame, Kind
from tests.support.channels import bad_beside_good
from tests.waiting import wait_until

GREETING = b"SLPS"  # what a server says first, to those it speaks with


@pytest.fixture(scope="module")
def server() -> Iterator[ps.ParameterServer]:
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=":0", worker_dashboard_address=":0",
            security=Security.temporary(),
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
        ps.ParameterServer(client, num_servers=2, replicas=1, transport="tcp") as made,
    ):  # fmt: skip
        yield made


def port(server: ps.ParameterServer) -> tuple[str, int]:
    address = server.handle().addresses[0].tcp
    assert address is not None
    return address


def heard(sock: socket.socket) -> bytes:
    """All that the other side says before it closes."""
    found = b""
    try:
        while more := sock.recv(1 << 12):
            found += more
    except (ConnectionError, ssl.SSLError):
        pass
    return found


def still_serves(server: ps.ParameterServer, name: str) -> bool:
    table = server.table(name, num_keys=10, update=ps.Add())
    table.put([1], [2.0])
    return table.get([1]).tolist() == [2.0]


def test_workers_push_and_pull_over_tls(server: ps.ParameterServer) -> None:
    table = server.table("w", num_keys=1 << 18, update=ps.Add(), workers=1, apply="arrival", consistency=ps.ASP())
    everything = np.arange(1 << 18, dtype=np.float32)
    with table.worker(0) as w:
        w.wait(w.push_range(0, 1 << 18, everything))
        w.clock()
        assert (w.get_range(0, 1 << 18) == everything).all()  # more than a socket buffer, or a TLS record, holds
        channels = w._link._channels.values()  # type: ignore[attr-defined]
        assert {channel._socket.version() for channel in channels} == {"TLSv1.3"}
        assert all(channel._socket.family == socket.AF_INET for channel in channels)


def test_plain_bytes_are_answered_by_no_greeting(server: ps.ParameterServer) -> None:
    for said in (b"\0" * 1000, GREETING * 40, b"GET / HTTP/1.0\r\n\r\n"):
        with socket.create_connection(port(server), timeout=5) as sock:
            sock.sendall(said)
            assert GREETING not in heard(sock)
    assert still_serves(server, "after plain bytes")


def test_who_shows_no_certificate_or_one_of_another_authority_hears_no_greeting(server: ps.ParameterServer) -> None:
    anonymous = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anonymous.check_hostname, anonymous.verify_mode = False, ssl.CERT_NONE
    other = Security.temporary()
    stranger = tls.context(
        {"cert": other.tls_worker_cert, "key": other.tls_worker_key, "ca": other.tls_ca_file}, server=False
    )
    stranger.verify_mode = ssl.CERT_NONE
    for context in (anonymous, stranger):
        with socket.create_connection(port(server), timeout=5) as sock:
            try:
                with context.wrap_socket(sock) as wrapped:
                    assert heard(wrapped) == b""
            except (ssl.SSLError, ConnectionError):
                pass  # refused while they shook hands
    assert still_serves(server, "after strangers")


def test_a_certificate_without_the_secret_is_not_enough(server: ps.ParameterServer) -> None:
    handle = server.handle()
    with pytest.raises((OSError, ParameterServerError)):
        Channel(handle.addresses[0], handshake.CLIENT, 0, handshake.new_secrets(), "tcp", handle.tls())
    with pytest.raises(ParameterServerError, match="no certificate"):
        Channel(handle.addresses[0], handshake.CLIENT, 0, handle.known, "tcp", None)


def test_a_malformed_frame_over_tls_closes_that_connection_alone(server: ps.ParameterServer) -> None:
    with bad_beside_good(server, over_tls=True) as (bad, _):
        bad._all(b"\xff" * wire.HEADER_BYTES)
        with pytest.raises(OSError, match="gone|reset|EOF"):
            bad.receive()


class Side:
    """One server's sockets, whose thread is the test's."""

    def __init__(self, poller: Poller, number: int, pem: dict[str, str], known: handshake.Secrets) -> None:
        self.poller, self.number, self.known = poller, number, known
        self.tls = tls.context(pem, server=False)
        self.found: list[Frame] = []
        self.made: list[Connection] = []
        listener = socket.create_server(("127.0.0.1", 0))
        self.address = Address("another host", "", listener.getsockname(), True)
        self.listener = listener
        self.tls_served = tls.context(pem, server=True)
        Listener(poller, listener, self.tls_served, self.accept)

    def accept(self, sock: Any) -> None:
        self.made.append(Connection(self, sock, self.known))

    def call(self, other: Side) -> Connection:
        sock, context = set_out(other.address, self.tls)
        self.made.append(Connection(self, sock, self.known, (self.number, other.number), context))
        return self.made[-1]

    def opened(self, connection: Connection) -> None: ...

    def heard(self, connection: Connection, frame: Frame, borrowed: bool) -> None:
        self.found.append(frame)

    def closed(self, connection: Connection) -> None: ...

    def close(self) -> None:
        for each in self.made:
            each.close()
        self.poller.unregister(self.listener)
        self.listener.close()


@pytest.fixture
def sides() -> Iterator[tuple[Side, Side]]:
    security = Security.temporary()
    pem = {"cert": security.tls_worker_cert, "key": security.tls_worker_key, "ca": security.tls_ca_file}
    poller, known = Poller(), handshake.new_secrets()
    one, two = Side(poller, 0, pem, known), Side(poller, 1, pem, known)
    yield one, two
    one.close()
    two.close()


def test_two_servers_of_two_hosts_that_call_each_other_at_once_do_not_wait_for_each_other(
    sides: tuple[Side, Side],
) -> None:
    one, two = sides
    one.call(two).send(Frame(Kind.PEERS, meta={"from": 0}))
    two.call(one).send(Frame(Kind.PEERS, meta={"from": 1}))

    def both() -> bool:
        one.poller.wait(0.1)
        return bool(one.found and two.found)

    wait_until(both)
    assert [(frame.kind, frame.meta) for frame in (*two.found, *one.found)] == [
        (Kind.PEERS, {"from": 0}),
        (Kind.PEERS, {"from": 1}),
    ]
    assert {each.set_out_s for each in one.made} == {None}


def test_a_handshake_that_finds_no_room_for_writing_goes_on_when_there_is_some(sides: tuple[Side, Side]) -> None:
    one, two = sides
    sent = 0

    class Full:
        """TLS on a socket whose buffers are full when the handshake is to begin."""

        def wrap_socket(self, sock: socket.socket, **how: Any) -> ssl.SSLSocket:
            nonlocal sent
            with contextlib.suppress(BlockingIOError):
                while True:
                    sent += sock.send(bytes(1 << 16))
            return one.tls.wrap_socket(sock, **how)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        sock, _ = set_out(Address("another host", "", listener.getsockname(), True), one.tls)
        calling = Connection(one, sock, one.known, (0, 1), Full())  # type: ignore[arg-type]
        one.made.append(calling)
        calling.send(Frame(Kind.PEERS, meta={"from": 0}))
        peer, _ = listener.accept()
    wait_until(lambda: one.poller.wait(0.1) or sent > 0)
    one.poller.wait(0.0)  # nothing to be told of
    while sent:
        sent -= len(peer.recv(min(sent, 1 << 20)))
    peer.setblocking(False)
    two.accept(two.tls_served.wrap_socket(peer, server_side=True, do_handshake_on_connect=False))
    wait_until(lambda: one.poller.wait(0.1) or bool(two.found))
    assert two.found[0].meta == {"from": 0}
    assert not calling._writing  # to be told of room all the time would keep a core busy


def test_a_server_that_nobody_answers_for_is_not_waited_for(sides: tuple[Side, Side]) -> None:
    one, two = sides
    two.close()
    calling = one.call(two)
    calling.send(Frame(Kind.PEERS, meta={}))

    def over() -> bool:
        one.poller.wait(0.1)
        return not calling.is_open

    wait_until(over)
    assert "refused" in calling.problem


def test_who_connects_and_says_nothing_keeps_no_core_busy(sides: tuple[Side, Side]) -> None:
    one, _ = sides
    with socket.create_connection(one.address.tcp or ("", 0)):
        wait_until(lambda: one.poller.wait(0.1) or bool(one.made))
        assert one.poller._poll.poll(0.05) == []
        one.made[0].close()


class AtOnce:
    """A TLS socket that notes when a thread calls it while another one is in a call."""

    def __init__(self, encrypted: ssl.SSLSocket) -> None:
        self._socket = encrypted
        self._inside = threading.Lock()
        self.overlapped = False

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._socket, name)
        if name not in ("recv_into", "send", "pending"):
            return found

        def call(*arguments: Any) -> Any:
            if not self._inside.acquire(blocking=False):
                self.overlapped = True
                raise AssertionError("two calls at once")
            try:
                return found(*arguments)
            finally:
                self._inside.release()

        return call


def pair(pem: dict[str, str]) -> tuple[ssl.SSLSocket, ssl.SSLSocket]:
    """Two ends of one connection, after their handshake."""
    one, other = socket.socketpair()
    ends: list[ssl.SSLSocket] = []
    serve = threading.Thread(target=lambda: ends.append(tls.context(pem, server=True).wrap_socket(one, True)))
    serve.start()
    asking = tls.context(pem, server=False).wrap_socket(other)
    serve.join()
    return ends[0], asking


def test_two_threads_read_and_write_a_connection_with_one_call_at_a_time(server: ps.ParameterServer) -> None:
    ends = [AtOnce(end) for end in pair(server._pem)]
    both = [tls.Encrypted(end, 10.0) for end in ends]  # type: ignore[arg-type]
    said = [np.random.default_rng(i).bytes(4 << 20) for i in range(2)]
    got = [bytearray(len(said[0])) for _ in both]

    def say(i: int) -> None:
        left = memoryview(said[i])
        while left:
            left = left[both[i].send(left[: 1 << 16]) :]

    def hear(i: int) -> None:
        left = memoryview(got[i])
        while left:
            left = left[both[i].recv_into(left) :]

    threads = [threading.Thread(target=work, args=(i,)) for work in (say, hear) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert [bytes(each) for each in got] == said[::-1]
    assert not any(end.overlapped for end in ends)
    for end in ends:
        end.close()


def test_a_reader_learns_that_its_connection_was_closed_beside_it(server: ps.ParameterServer) -> None:
    ends = pair(server._pem)
    mine = tls.Encrypted(ends[0], 10.0)
    heard: list[object] = []

    def hear() -> None:
        try:
            heard.append(mine.recv_into(bytearray(10)))
        except (OSError, ValueError) as error:
            heard.append(error)

    reader = threading.Thread(target=hear)
    reader.start()
    mine.close()
    reader.join(5)

    assert len(heard) == 1
    assert mine.fileno() == -1
    ends[1].close()


def test_a_call_that_gets_nothing_ends_in_time(server: ps.ParameterServer) -> None:
    ends = pair(server._pem)
    mine = tls.Encrypted(ends[0], 0.01)

    with pytest.raises(TimeoutError):
        mine.recv_into(bytearray(10))
    for each in (mine, ends[1]):
        each.close()
