"""What is unpersisted and persisted again stays: the order to remove it does not strike what was kept since."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from sparklab import SparkContext
from sparklab.cluster import compat, handlers
from sparklab.cluster.removals import REMEMBERED, Awaited, Removal, Removals
from sparklab.conf import BACKGROUND
from tests.waiting import wait_until


def test_a_removal_is_done_once_whichever_message_names_it_first() -> None:
    removed: list[Removal] = []
    removals = Removals(removed.append)
    first, second, third = (Removal(number, "blocks", 7) for number in (1, 2, 3))
    removals.take([first, second])  # by an order
    removals.take([first])  # by its own message, late
    removals.take([third])
    removals.take([second, third])
    assert removed == [first, second, third]


def test_removals_that_were_done_are_remembered_for_a_while_only() -> None:
    removals = Removals(lambda _: None)
    removals.take([Removal(number, "shuffle", number) for number in range(REMEMBERED + 5)])
    assert len(removals._done) == REMEMBERED


def test_orders_name_what_their_executor_has_not_confirmed() -> None:
    awaited = Awaited()
    first, second = awaited.add(0, 0, "blocks", 7), awaited.add(0, 0, "shuffle", 7)
    other = awaited.add(1, 4, "blocks", 7)
    assert awaited.of(0, 0) == (first, second)
    awaited.done(0, 0, first)
    awaited.done(0, 0, first)
    assert awaited.of(0, 0) == (second,)
    assert awaited.of(1, 4) == (other,)
    awaited.forget(0, 0)
    assert awaited.of(0, 0) == awaited.of(1, 3) == ()


@pytest.mark.parametrize("background", [False, True], ids=["by the socket", "by Dask"])
def test_blocks_kept_after_unpersist_stay_although_the_news_of_it_comes_later(
    monkeypatch: pytest.MonkeyPatch, background: bool
) -> None:
    may_go = threading.Event()
    ordered: list[int] = []
    arrived: list[int] = []
    call, add = compat.call, Awaited.add

    async def late(owner: Any, address: str, name: str, **arguments: Any) -> Any:
        if name != handlers.REMOVE:
            return await call(owner, address, name, **arguments)
        while not may_go.is_set():
            await asyncio.sleep(0.01)
        answer = await call(owner, address, name, **arguments)
        arrived.append(arguments["number"])
        return answer

    def noted(*arguments: Any) -> Removal:
        removal = add(*arguments)
        ordered.append(removal.number)
        return removal

    monkeypatch.setattr(compat, "call", late)
    monkeypatch.setattr(Awaited, "add", noted)
    with SparkContext("local[2]", "removals") as sc:
        rdd = sc.parallelize(range(100), 4).map(lambda x: x + 1).persist()
        assert rdd.count() == 100
        if background:
            sc.setLocalProperty(BACKGROUND, "true")
        rdd.unpersist()
        rdd.persist()
        assert rdd.count() == 100
        assert ordered
        may_go.set()
        wait_until(lambda: sorted(arrived) == sorted(ordered))
        assert [len(sc.peek(rdd, index)) for index in range(4)] == [5] * 4
