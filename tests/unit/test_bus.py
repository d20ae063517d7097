"""The bus at its edges: facts published by observers, queues that overflow twice, subscriptions that end."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest

from sparklab.events.bus import Bus
from sparklab.events.facts import Fact, FactsDropped, Record, Warned
from sparklab.events.journal import Journal
from tests.waiting import wait_until


def warned(text: str) -> Warned:
    return Warned("test", text)


def test_facts_carry_seconds_since_the_bus_began() -> None:
    now_s = 100.0
    bus = Bus(clock=lambda: now_s)
    seen: list[Record] = []
    bus.observe("times", seen.extend)
    bus.publish(warned("a"))
    now_s = 102.5
    bus.publish(warned("b"), warned("c"))
    bus.close()
    assert [record.time_s for record in seen] == [0.0, 2.5, 2.5]
    assert bus.views.time_s == 2.5


def test_facts_published_together_stand_side_by_side() -> None:
    bus = Bus()
    seen: list[Fact] = []
    bus.observe("order", lambda records: seen.extend(record.fact for record in records))

    def publish(name: str) -> None:
        for _ in range(50):
            bus.publish(warned(f"{name} first"), warned(f"{name} second"))

    threads = [threading.Thread(target=publish, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    bus.close()
    pairs = [(a, b) for a, b in zip(seen[::2], seen[1::2], strict=True)]
    assert len(pairs) == 150
    assert all(isinstance(a, Warned) and isinstance(b, Warned) and a.message[0] == b.message[0] for a, b in pairs)


def test_an_observer_may_publish() -> None:
    bus = Bus()
    heard: list[str] = []

    def answer(records: list[Record]) -> None:
        for record in records:
            assert isinstance(record.fact, Warned)
            heard.append(record.fact.message)
            if record.fact.message == "question":
                bus.publish(warned("answer"))

    bus.observe("answering", answer)
    bus.publish(warned("question"))
    wait_until(lambda: heard == ["question", "answer"])
    bus.close()


def test_publishing_waits_for_no_observer_that_holds_its_thread() -> None:
    bus = Bus()
    gate = threading.Event()
    entered = threading.Event()

    def stuck(records: list[Record]) -> None:
        entered.set()
        gate.wait(30)

    subscription = bus.observe("stuck", stuck, capacity=5)
    bus.publish(warned("first"))
    assert entered.wait(30)
    publisher = threading.Thread(target=lambda: [bus.publish(warned("x")) for _ in range(1000)])
    publisher.start()
    publisher.join(30)
    assert not publisher.is_alive()
    assert bus.seq == 1001
    assert len(subscription._queue) == 5, "a queue is bounded"
    gate.set()
    bus.close()


def test_each_overflow_is_counted_once() -> None:
    bus = Bus()
    step = threading.Semaphore(0)
    entered = threading.Semaphore(0)
    got: list[Record] = []

    def slow(records: list[Record]) -> None:
        entered.release()
        step.acquire(timeout=30)
        got.extend(records)

    bus.observe("slow", slow, capacity=3)
    bus.publish(warned("0"))
    assert entered.acquire(timeout=30)
    for burst in (10, 7):
        bus.publish(*(warned(str(number)) for number in range(burst)))
        step.release()
        assert entered.acquire(timeout=30)
    step.release()
    bus.close()
    drops = [record.fact.count for record in got if isinstance(record.fact, FactsDropped)]
    assert drops == [7, 4]
    told = [record.seq for record in got]
    assert told == sorted(told), "the gap is told in its place"
    assert len([record for record in got if isinstance(record.fact, Warned)]) + sum(drops) == bus.seq


def test_a_closed_subscription_has_got_everything_and_gets_no_more() -> None:
    bus = Bus()
    seen: list[int] = []
    subscription = bus.observe("short", lambda records: seen.extend(record.seq for record in records))
    for _ in range(100):
        bus.publish(warned("x"))
    subscription.close()
    bus.publish(warned("late"))
    assert seen == list(range(1, 101))
    subscription.close()


def test_an_observer_may_close_itself() -> None:
    bus = Bus()
    done = threading.Event()

    def once(records: list[Record]) -> None:
        subscription.close()
        done.set()

    subscription = bus.observe("once", once)
    bus.publish(warned("a"))
    assert done.wait(30)
    bus.close()


def test_a_dropped_observer_is_named_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    bus = Bus()

    def crash(records: list[Record]) -> None:
        raise ValueError("its own fault")

    with caplog.at_level(logging.ERROR, logger="sparklab.events"):
        subscription = bus.observe("the crashing one", crash)
        bus.publish(warned("a"))
        wait_until(lambda: not subscription._thread.is_alive())
    assert "the crashing one" in caplog.text
    assert "its own fault" in caplog.text
    bus.publish(warned("b"))
    assert not subscription._queue, "nothing piles up for one that is gone"


def test_a_fact_has_the_same_time_live_and_in_the_journal(tmp_path: Path) -> None:
    ticks = iter([0.0, 1 / 3, 2 / 3, 0.00265000049])
    journal = Journal(tmp_path / "journal.jsonl")
    bus = Bus(journal, clock=lambda: next(ticks))
    seen: list[float] = []
    for number in range(3):
        bus.publish(Warned("clock", str(number)))
        seen.append(bus.views.time_s)
    assert [record.time_s for record in journal.read()] == seen
    bus.close()
