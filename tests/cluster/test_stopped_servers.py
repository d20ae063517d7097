"""Server processes that are stopped: they take nothing and say nothing, and nobody waits for them for ever."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparklab import ps
from sparklab.cluster.ps.channel import Channel
from sparklab.errors import ParameterServerError
from tests.waiting import wait_until

KEYS = 1 << 22  # 16 MB of weights: more than sockets hold


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[ps.ParameterServer]:
    with ps.ParameterServer(num_servers=2, replicas=1, transport=getattr(request, "param", "auto")) as made:
        yield made


def stop(server: ps.ParameterServer, number: int) -> int:
    """Server `number` does nothing any more, and is still there; its process."""
    process = server.pid(number)
    os.kill(process, signal.SIGSTOP)
    wait_until(lambda: Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "T")
    return process


def age(server: ps.ParameterServer, number: int) -> None:
    """Server `number` has been silent for too long."""
    with server._lock:
        server._manager._heard[number] -= 1000.0


def beside(act: Callable[[], Any]) -> threading.Thread:
    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    return thread


def test_the_driver_goes_on_while_a_stopped_server_takes_nothing_and_ends_it_in_the_end(
    server: ps.ParameterServer, caplog: pytest.LogCaptureFixture
) -> None:
    table = server.table("w", num_keys=100, update=ps.Add(), workers=1, apply="arrival", consistency=ps.ASP())
    table.put(np.arange(100), np.ones(100))
    process = stop(server, 1)

    def move_by_hand() -> None:
        for tau in range(1500):  # a layout each: some are more than the socket takes
            table.tau = tau

    moved = beside(move_by_hand)
    moved.join(60)
    assert not moved.is_alive()
    with caplog.at_level(logging.WARNING, "sparklab.ps"):
        age(server, 1)
        wait_until(lambda: not Path(f"/proc/{process}").exists())
    assert server.servers == (0,)
    assert "server 1 is taken for dead, and ended: it has said nothing for" in caplog.text
    with table.worker(0) as w:
        w.wait(w.push(np.arange(100), np.ones(100)))
    assert table.weights().tolist() == [2.0] * 100


@pytest.mark.parametrize("server", ["tcp"], indirect=True)
def test_a_worker_whose_push_fills_the_socket_of_a_stopped_server_goes_on_with_the_others(
    server: ps.ParameterServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = server.table("w", num_keys=KEYS, update=ps.Add(), workers=1, apply="arrival", consistency=ps.ASP())
    held_up = threading.Event()
    noticed = Channel._all

    def counted(self: Channel, buffer: Any) -> None:
        wait_on, self.held_up = self.held_up, lambda: (held_up.set(), wait_on())[1]  # type: ignore[func-returns-value]
        try:
            noticed(self, buffer)
        finally:
            self.held_up = wait_on

    monkeypatch.setattr(Channel, "_all", counted)
    with table.worker(0) as w:
        w.wait(w.push_range(0, KEYS, np.ones(KEYS)))
        stop(server, 1)
        monkeypatch.setattr(server._starter, "end", lambda *_: "")  # a host that does not answer: nobody ends it
        pushing = beside(lambda: w.wait(w.push_range(0, KEYS, np.ones(KEYS))))
        assert held_up.wait(30)
        age(server, 1)
        pushing.join(30)
        assert not pushing.is_alive()
        assert (table.weights() == 2.0).all()
    monkeypatch.undo()
    server._starter.end(1, 0.0)


def test_closing_does_not_wait_for_a_stopped_server_that_takes_nothing() -> None:
    with ps.ParameterServer(num_servers=1) as server:
        table = server.table("w", num_keys=100, update=ps.Add(), workers=1)
        process = stop(server, 0)
        beside(lambda: [setattr(table, "tau", tau) for tau in range(1500)]).join(60)
        closing = beside(server.close)
        closing.join(30)
        assert not closing.is_alive()
        assert not Path(f"/proc/{process}").exists()


@pytest.mark.parametrize("how", [{"silence_s": 0.1}, {"unreachable_s": 0}, {"silence_s": "long"}])
def test_patience_that_no_server_could_keep_is_refused(how: dict[str, Any]) -> None:
    with pytest.raises(ParameterServerError, match="is no number of seconds from 1 up"):
        ps.ParameterServer(**how)
