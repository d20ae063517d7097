"""The graph lane when an executor dies at the worst moment: after its task, before the answer was fetched."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from typing import Any

import pytest

from sparklab.cluster import compat
from sparklab.cluster.heartbeat import Seat
from sparklab.cluster.runner import DaskRunner
from sparklab.cluster.wire import TaskOrder
from sparklab.scheduler import messages as m


class DoneFuture:
    """A Dask future whose value is on a worker that is gone: waiting for it ends when it is cancelled."""

    status = "finished"

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.cancelled = threading.Event()

    def result(self) -> bytes:
        self.asked.set()
        assert self.cancelled.wait(30), "it waits for ever"
        raise concurrent.futures.CancelledError


def runner_that_feeds(fed: list[Any]) -> DaskRunner:
    return DaskRunner(
        client=None,  # type: ignore[arg-type]
        book=None,  # type: ignore[arg-type]
        feed=fed.append,
        lane_of=lambda _: "graph",
        on_unreachable=lambda *_: None,
        on_released=lambda *_: None,
    )


def test_an_executor_that_dies_while_its_greeting_is_on_the_way_takes_no_seat(monkeypatch: pytest.MonkeyPatch) -> None:
    fed: list[Any] = []
    runner = runner_that_feeds(fed)
    hello = {"host": "h", "pid": 1, "slots": 1, "memory_bytes": 1, "cache_budget_bytes": 1}

    async def dies_meanwhile(*_: Any) -> dict[str, Any]:
        runner.leave(0, 0, "its process ended")
        return hello

    async def answers(*_: Any) -> dict[str, Any]:
        return hello

    monkeypatch.setattr(runner, "_call", dies_meanwhile)
    asyncio.run(runner._welcome(0, 0, "a"))
    assert runner.seat(0, 0) is None
    assert fed == []
    monkeypatch.setattr(runner, "_call", answers)
    asyncio.run(runner._welcome(0, 1, "b"))
    assert runner.seat(0, 1) is not None
    assert len(fed) == 1


def test_an_answer_that_went_with_its_executor_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    fed: list[Any] = []
    runner = runner_that_feeds(fed)

    def at_once(_: Any, call: Any) -> None:
        try:
            call.send(None)
        except StopIteration:
            pass

    async def cancel(_: Any, futures: list[DoneFuture]) -> None:
        for each in futures:
            each.cancelled.set()

    monkeypatch.setattr(compat, "on_loop", at_once)
    monkeypatch.setattr(compat, "forget", lambda *_: None)
    monkeypatch.setattr(compat, "cancel", cancel)
    seat, future = Seat(0, 0, "a"), DoneFuture()
    runner._seats[0] = seat
    runner._futures[7] = (seat, future)
    callback = threading.Thread(
        target=runner._graph_done, args=(seat, None, TaskOrder(7, 0, 0, {}), future), daemon=True
    )
    callback.start()
    assert future.asked.wait(30)

    runner.leave(0, 0, "it died")

    callback.join(30)
    assert not callback.is_alive()
    assert fed == [m.ExecutorGone(0, 0, "it died", False)], "who was lost says it all"
    assert runner._futures == {}
