"""Server processes that are removed and added, also in ways that make no sense, while a worker pushes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import psutil
import pytest

from sparklab import SparkContext, ps
from sparklab.cluster.ps import server as servers
from sparklab.errors import ParameterServerError, ServerLost
from sparklab.events.servers import ServerEnded
from sparklab.ps import settling
from sparklab.ps.frames import Frame
from tests.waiting import wait_until


class Pushing:
    """A worker that pushes one to each of 1,000 keys, over and over."""

    def __init__(self, server: ps.ParameterServer) -> None:
        self.table = server.table(
            "w", num_keys=1000, update=ps.Add(), workers=1, apply="arrival", consistency=ps.ASP(), dtype="float64"
        )
        self.count = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._push)
        self._thread.start()

    def _push(self) -> None:
        with self.table.worker(0) as w:
            while not self._done.is_set():
                w.wait(w.push(np.arange(1000), np.ones(1000)))
                w.clock()
                self.count += 1

    def end(self) -> None:
        self._done.set()
        self._thread.join()


@pytest.fixture
def pushing(server: ps.ParameterServer) -> Iterator[Pushing]:
    made = Pushing(server)
    yield made
    made.end()


@pytest.fixture
def server(sc_threads: SparkContext) -> Iterator[ps.ParameterServer]:
    with ps.ParameterServer(sc_threads, num_servers=2, replicas=1) as made:
        yield made


def test_what_cannot_be_removed_is_said_at_once_and_no_push_is_lost(
    server: ps.ParameterServer, pushing: Pushing, sc_threads: SparkContext
) -> None:
    seen: list[object] = []
    watch = sc_threads.bus.observe("test", lambda records: seen.extend(record.fact for record in records))
    wait_until(lambda: pushing.count > 0)
    with pytest.raises(ParameterServerError, match="removing server 2\nFound: there is none: 0, 1\nTo do: name one"):
        server.remove_server(2)
    failed: list[BaseException] = []

    def remove() -> None:
        try:
            server.remove_server(0)
        except ParameterServerError as error:
            failed.append(error)

    both = [threading.Thread(target=remove) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join(30)
    assert server.servers == (1,)
    assert all("there is none: 1" in str(error) for error in failed)  # of the later, where it came too late
    assert len(failed) < 2
    with pytest.raises(ParameterServerError, match="removing server 1\nFound: it is the only one\nTo do: add another"):
        server.remove_server(1)
    assert server.add_server() == 2  # the number that was named before it was there: nothing of that is left
    assert server.servers == (1, 2)
    server.remove_server(1)
    pushing.end()
    assert set(pushing.table.weights().tolist()) == {float(pushing.count)}
    watch.close()
    assert [fact.server for fact in seen if isinstance(fact, ServerEnded)] == [0, 1]


def test_the_channel_of_a_server_that_two_let_go_of_is_open_until_its_process_has_ended(
    server: ps.ParameterServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the server takes its driver for dead, says so to its workers, and ends them."""
    channel, process = server._channels[0], psutil.Process(server.pid(0))
    send, close, alive = channel.send, channel.close, []
    other = threading.Thread(target=server._forget, args=(0,))

    def send_late(frame: Frame) -> None:
        process.suspend()
        other.start()
        wait_until(lambda: not other.is_alive() or 0 not in server._starter._processes)  # type: ignore[attr-defined]
        send(frame)

    def close_seen() -> None:
        alive.append(process in _processes())
        close()

    monkeypatch.setattr(channel, "send", send_late)
    monkeypatch.setattr(channel, "close", close_seen)
    assert server._forget(0)
    other.join(30)
    assert not any(alive)


def test_a_server_that_is_added_or_removed_while_all_are_closed_is_not_waited_for(server: ps.ParameterServer) -> None:
    server.table("w", num_keys=1000)
    failed: list[BaseException] = []

    def meet() -> None:
        with pytest.raises(ParameterServerError, match="it is closed\nTo do: make a new one") as caught:
            server.until(lambda manager: False, 120.0, "waiting for ever")
        failed.append(caught.value)

    waiting = threading.Thread(target=meet)
    waiting.start()
    adding = threading.Thread(target=lambda: failed.append(_error_of(server)))
    adding.start()
    wait_until(lambda: len(_processes()) > 2 or len(server.servers) > 2)
    server.close()
    waiting.join(30)
    adding.join(30)
    assert len(failed) == 2
    assert all("it is closed" in str(error) for error in failed)
    wait_until(lambda: not _processes())


def _error_of(server: ps.ParameterServer) -> BaseException:
    try:
        while True:
            server.add_server()
    except ParameterServerError as error:
        return error


def _processes() -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children():
        try:
            if "sparklab.cluster.ps.process" in child.cmdline() and child.status() != psutil.STATUS_ZOMBIE:
                found.append(child)
        except psutil.Error:  # it has just ended
            continue
    return found


def test_a_server_that_has_given_its_ranges_away_was_not_lost_because_another_died(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with ps.ParameterServer(num_servers=3) as server:
        server.table("w", num_keys=100, update=ps.Add())

        def until_moved(*arguments: Any) -> None:
            settling.until_moved(*arguments)
            assert server._forget(1)  # who removed it at the same time was first
            server.kill_server(2)
            wait_until(lambda: server.facts()["lost_ranges"] > 0)

        monkeypatch.setattr(servers, "until_moved", until_moved)
        server.remove_server(1)


def test_a_server_that_dies_while_it_is_to_give_its_ranges_away_is_lost_to_who_removes_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with ps.ParameterServer(num_servers=2) as server:
        server.table("w", num_keys=100, update=ps.Add())
        monkeypatch.setattr(servers, "until_moved", lambda *_: server.lost(1))
        monkeypatch.setattr(server._manager, "remove_server", lambda _: None)  # it had no time to
        with pytest.raises(ServerLost, match="removing server 1\nFound: it died with ranges that nobody else has"):
            server.remove_server(1)
