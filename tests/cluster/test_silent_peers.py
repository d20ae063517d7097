"""Who holds a connection to a server without showing the secret."""

from __future__ import annotations

import contextlib
import select
import socket
import time

import pytest

from sparklab.cluster.ps import handshake, process
from sparklab.cluster.ps.address import Address, connect, listen_unix, remove_unix, this_host
from sparklab.ps.frames import Frame, Kind


def test_a_peer_that_does_not_show_the_secret_in_time_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    known = handshake.new_secrets()
    assert known.control is not None
    listener, name = listen_unix()
    monkeypatch.setattr(process, "listen_unix", lambda: (listener, name))
    with contextlib.ExitStack() as after:
        after.callback(remove_unix, name)
        after.enter_context(listener)
        server = process.ServerProcess({"server": 0, "work": known.work.hex(), "control": known.control.hex()})
        silent, slow = (after.enter_context(connect(server.address, "unix", None, 10)) for _ in range(2))
        slow.sendall(b"x")
        for sock in (silent, slow):
            while not _readable(sock):
                server.poller.wait(0.1)
            assert len(sock.recv(4_096)) == handshake.GREETING_BYTES
        now_s = time.monotonic()
        server._give_up(now_s + 0.5 * process.SHOW_S)
        assert not _readable(silent)
        server._give_up(now_s + process.SHOW_S + 1)
        assert _ended(silent)
        assert _ended(slow)


def test_a_server_that_accepts_and_then_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    known = handshake.new_secrets()
    assert known.control is not None
    (listener, name), (stopped, stopped_name) = listen_unix(), listen_unix()
    monkeypatch.setattr(process, "listen_unix", lambda: (listener, name))
    with contextlib.ExitStack() as after:
        for each in (name, stopped_name):
            after.callback(remove_unix, each)
        after.enter_context(listener)
        after.enter_context(stopped)
        server = process.ServerProcess({"server": 0, "work": known.work.hex(), "control": known.control.hex()})
        server._addresses = {1: Address(this_host(), stopped_name)}
        server._send_all([(1, Frame(Kind.PEERS, meta={}))])
        (calling,) = server._peers.values()
        while calling.arriving:  # the system accepts for it
            server.poller.wait(0.1)
        server._give_up(time.monotonic() + process.ARRIVE_S + 1)
        assert calling.is_open  # its host is there: a busy server takes longer
        server._give_up(time.monotonic() + process.SHOW_S + 1)
        assert not calling.is_open
        assert server._peers == {}


def _readable(sock: socket.socket) -> bool:
    return bool(select.select([sock], [], [], 0)[0])


def _ended(sock: socket.socket) -> bool:
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True
