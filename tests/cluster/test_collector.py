"""Cycles are collected by memory while tasks run: not for millions of records, and always before they fill it."""

from __future__ import annotations

import gc
import resource
from collections.abc import Iterator

import pytest

from sparklab import SparkContext
from sparklab.cluster import collector
from sparklab.cluster.collector import Collector
from sparklab.cluster.resources import resident_bytes
from tests.waiting import wait_until

MIB = 1 << 20
GARBAGE_MIB = 1_500


class Memory:
    """What a process takes, as a test says."""

    def __init__(self) -> None:
        self.bytes = 100 * MIB

    def __call__(self, at_least: int = 0) -> int:
        return self.bytes


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture
def looked_at(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """A collector that looks when the test says so."""
    monkeypatch.setattr(collector, "LOOK_EVERY_S", 3600.0)
    made = Collector(memory)
    yield made
    made.close()


def test_it_collects_at_each_step_of_growth_and_not_between(looked_at: Collector, memory: Memory) -> None:
    assert looked_at.look() is None
    memory.bytes += 63 * MIB
    assert looked_at.look() is None
    memory.bytes += MIB
    assert looked_at.look() == 2, "more than half as much again"
    assert looked_at.look() is None
    memory.bytes += 65 * MIB
    assert looked_at.look() == 1
    memory.bytes = 1_000 * MIB
    assert looked_at.look() == 2
    memory.bytes += 249 * MIB
    assert looked_at.look() is None, "a quarter of what there is"
    memory.bytes += MIB
    assert looked_at.look() == 1


def test_the_collector_runs_as_it_is_set_when_the_last_task_has_ended(looked_at: Collector) -> None:
    assert gc.isenabled()
    with looked_at.held_off():
        with looked_at.held_off():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ZeroDivisionError), looked_at.held_off():
        raise ZeroDivisionError
    assert gc.isenabled()


def test_who_has_rested_looks_again_at_the_next_task(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector, "LOOK_EVERY_S", 0.001)
    looks: list[int] = []
    made = Collector(memory, also=lambda: looks.append(1))
    try:
        for _ in range(3):
            wait_until(lambda: made._resting)
            del looks[:]
            with made.held_off():
                wait_until(lambda: len(looks) > collector.IDLE_LOOKS)
    finally:
        made.close()
    assert not made._thread.is_alive()


def test_one_that_rests_can_be_closed(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector, "LOOK_EVERY_S", 0.001)
    made = Collector(memory)
    wait_until(lambda: made._resting)
    made.close()
    assert not made._thread.is_alive()


def test_cyclic_garbage_of_one_task_does_not_fill_the_memory() -> None:
    def litter(records: Iterator[int]) -> Iterator[int]:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in records:
            cycle: list[object] = [bytes(4096)]
            cycle.append(cycle)
        yield resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before

    with SparkContext("local[1]", "garbage") as sc:
        (grown_kib,) = sc.parallelize(range(GARBAGE_MIB << 8), 1).mapPartitions(litter).collect()
    assert grown_kib < GARBAGE_MIB << 9, "half of it"


def test_millions_of_records_in_a_task_are_never_visited() -> None:
    def visits(records: Iterator[int]) -> Iterator[int]:
        before = sum(generation["collections"] for generation in gc.get_stats())
        pairs = [(x, x) for x in records]
        yield sum(generation["collections"] for generation in gc.get_stats()) - before
        del pairs

    with SparkContext("local[1]", "records") as sc:
        assert sc.parallelize(range(250_000), 1).mapPartitions(visits).collect() == [0]


def test_what_the_process_holds_is_read_only_where_it_ever_held_as_much() -> None:
    held = resident_bytes()
    assert resident_bytes(1 << 50) == 0
    assert resident_bytes(held // 2) > held // 2
    block = bytearray(200 * MIB)
    block[:: 4 << 10] = b"1" * len(block[:: 4 << 10])
    assert resident_bytes(held + 100 * MIB) > held + 100 * MIB
