"""Broadcasts among executors that share no files: the driver sends about one copy, executors the rest to each other."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sparklab import Broadcast, SparkConf, SparkContext
from sparklab.errors import ClosureError
from sparklab.events.facts import BroadcastSent
from sparklab.pieces import BroadcastRef, PartialCopy, digests_of, held
from tests.waiting import wait_until

EXECUTORS = 4
VALUE_BYTES = 4_000_000
PIECE_BYTES = 64 << 10


@pytest.fixture(scope="module", params=["direct", "graph"])
def sc(request: pytest.FixtureRequest) -> Iterator[SparkContext]:
    conf = SparkConf().set("sparklab.cluster.shareFiles", "false").set("spark.broadcast.blockSize", "64k")
    conf.set("sparklab.task.lane", request.param)
    with SparkContext(f"local[{EXECUTORS}]", "pieces", conf=conf) as context:
        yield context


def value() -> bytes:
    return os.urandom(VALUE_BYTES)


def sent(sc: SparkContext, broadcast: Broadcast[Any]) -> list[BroadcastSent]:
    return [
        record.fact
        for record in sc.records()
        if isinstance(record.fact, BroadcastSent) and record.fact.broadcast == broadcast.id
    ]


def sent_bytes(sc: SparkContext, broadcast: Broadcast[Any]) -> int:
    return sum(fact.bytes for fact in sent(sc, broadcast))


def used_by_all(sc: SparkContext, broadcast: Broadcast[Any]) -> set[int]:
    """The sums of the value's bytes as each of many tasks finds them, on every executor."""
    wait_until(lambda: [info.alive for info in sc.executorInfos()] == [True] * len(sc.executorInfos()))

    def used(_: int) -> int:
        threading.Event().wait(0.03)
        return sum(broadcast.value[::1000])

    return set(sc.parallelize(range(4 * EXECUTORS), 4 * EXECUTORS).map(used).collect())


def test_the_driver_sends_about_one_copy(sc: SparkContext) -> None:
    expected = value()
    broadcast = sc.broadcast(expected)
    assert used_by_all(sc, broadcast) == {sum(expected[::1000])}
    assert VALUE_BYTES <= sent_bytes(sc, broadcast) < 1.3 * VALUE_BYTES
    assert used_by_all(sc, broadcast) == {sum(expected[::1000])}
    assert sent_bytes(sc, broadcast) < 1.3 * VALUE_BYTES, "nothing again"


def test_a_single_task_gets_all_of_it_and_the_next_executors_from_that_one(sc: SparkContext) -> None:
    expected = value()
    broadcast = sc.broadcast(expected)
    assert sc.parallelize([0], 1).map(lambda _: len(broadcast.value)).collect() == [VALUE_BYTES]
    assert used_by_all(sc, broadcast) == {sum(expected[::1000])}
    assert VALUE_BYTES <= sent_bytes(sc, broadcast) < 1.3 * VALUE_BYTES


def test_a_seeder_that_died_is_done_without(sc: SparkContext) -> None:
    expected = value()
    broadcast = sc.broadcast(expected)
    (number,) = sc.parallelize([0], 1).map(lambda _: broadcast.value and executor_number()).collect()
    sc.kill_executor(number)
    assert used_by_all(sc, broadcast) == {sum(expected[::1000])}
    assert sent_bytes(sc, broadcast) < 2.6 * VALUE_BYTES, "at most what went with the seeder is sent again"


def executor_number() -> int:
    from sparklab.rdd.running import current_task

    task = current_task()
    assert task is not None
    return task.executor


def test_a_seeder_that_dies_while_others_ask_is_done_without(sc: SparkContext) -> None:
    expected = value()
    broadcast = sc.broadcast(expected)
    home = sc.parallelize([0], 1).map(lambda _: broadcast.value and os.getpid()).collect()

    def die_or_use(index: int) -> int:
        if os.getpid() in home:
            os.kill(os.getpid(), 9)
        return sum(broadcast.value[::1000])

    found = sc.parallelize(range(3 * EXECUTORS), 3 * EXECUTORS).map(die_or_use).collect()
    assert set(found) == {sum(expected[::1000])}


def test_unpersisted_it_is_sent_again_and_destroyed_it_is_refused(sc: SparkContext) -> None:
    expected = value()
    broadcast = sc.broadcast(expected)
    assert used_by_all(sc, broadcast) == {sum(expected[::1000])}
    first = sent_bytes(sc, broadcast)
    broadcast.unpersist(blocking=True)
    wait_until(lambda: len(copies_left(sc, broadcast.travels_as.token)) == 1)  # the driver's
    assert used_by_all(sc, broadcast) == {sum(expected[::1000])}
    assert VALUE_BYTES <= sent_bytes(sc, broadcast) - first < 1.3 * VALUE_BYTES
    token = broadcast.travels_as.token
    mapped = sc.parallelize(range(4), 4).map(lambda _: len(broadcast.value))
    broadcast.destroy(blocking=True)
    with pytest.raises(ClosureError, match="after it was destroyed"):
        mapped.collect()
    wait_until(lambda: not copies_left(sc, token))


def copies_left(sc: SparkContext, token: str) -> list[Path]:
    return list(sc._backend.scratch.rglob(f"{token}*"))


def test_nothing_is_left_when_the_drivers_last_reference_goes(sc: SparkContext) -> None:
    broadcast = sc.broadcast(value())
    token = broadcast.travels_as.token
    used_by_all(sc, broadcast)
    assert len(copies_left(sc, token)) == 1 + EXECUTORS
    del broadcast
    wait_until(lambda: gc.collect() >= 0 and not copies_left(sc, token))


def test_executors_of_one_host_share_the_file() -> None:
    conf = SparkConf().set("spark.broadcast.blockSize", "64k").set("sparklab.allowMultipleContexts", "true")
    with SparkContext("local[3]", conf=conf) as sc:
        broadcast = sc.broadcast(value())
        broadcast._ref = without_path(broadcast.travels_as)  # the driver is on another host
        token = broadcast.travels_as.token
        assert sc.parallelize([0], 1).map(lambda _: len(broadcast.value)).collect() == [VALUE_BYTES]
        used_by_all(sc, broadcast)
        assert len(copies_left(sc, token)) == 1 + 1, "the driver's and one executor's"
        assert VALUE_BYTES <= sent_bytes(sc, broadcast) < 1.3 * VALUE_BYTES


def without_path(ref: BroadcastRef) -> BroadcastRef:
    return BroadcastRef(ref.id, ref.token, "", ref.size_bytes, ref.piece_bytes, ref.digests)


@pytest.fixture
def ref(tmp_path: Path) -> BroadcastRef:
    whole = tmp_path / "whole"
    whole.write_bytes(bytes(range(250)) * 10)
    return BroadcastRef(0, "token", str(whole), 2_500, 1_000, digests_of(str(whole), 1_000))


def test_pieces_come_in_any_order_and_damaged_ones_are_refused(ref: BroadcastRef, tmp_path: Path) -> None:
    data = Path(ref.path).read_bytes()
    copy = PartialCopy(ref, tmp_path / "own")
    assert list(copy.missing()) == [0, 1, 2]
    assert copy.put(2, data[2_000:])
    assert not copy.put(0, b"x" + data[1:1_000])
    assert copy.read(0) is None
    assert copy.read(2) == data[2_000:]
    assert copy.put(0, data[:1_000])
    assert not copy.whole
    assert not Path(copy.path).exists()
    assert copy.put(1, data[1_000:2_000])
    assert copy.whole
    assert Path(copy.path).read_bytes() == data
    copy.remove()
    assert os.listdir(tmp_path / "own") == []


def test_a_file_of_another_length_is_not_taken_for_the_broadcast(ref: BroadcastRef, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"something else")
    assert not held.adopt(ref, str(other))
    assert not held.adopt(ref, str(tmp_path / "absent"))
