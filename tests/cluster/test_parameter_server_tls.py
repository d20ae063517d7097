"""Servers and clients on a Dask cluster with Security: TLS with certificates on both sides, and nothing else."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator

import numpy as np
import pytest
from distributed import Client, LocalCluster
from distributed.security import Security

from sparklab import ps
from sparklab.cluster.ps import handshake, tls, wire
from sparklab.cluster.ps.channel import Channel
from sparklab.errors import ParameterServerError
from tests.support.channels import bad_beside_good

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
        bad._socket.sendall(b"\xff" * wire.HEADER_BYTES)
        with pytest.raises(OSError, match="gone|reset|EOF"):
            bad.receive()
