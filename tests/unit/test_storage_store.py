"""The block store: found or computed once, kept within the budget, moved and lost only with a word about it."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from sparklab.errors import StorageError
from sparklab.storage.level import StorageLevel
from sparklab.storage.peers import BlockRequest
from sparklab.storage.store import BlockStore
from tests.support.tasks import a_task

MEMORY, BOTH = StorageLevel.MEMORY_ONLY, StorageLevel.MEMORY_AND_DISK
DISK = StorageLevel(True, False, False, False)


class Computed:
    """Makes iterators of `records` and counts how often, and how far they were drawn."""

    def __init__(self, records: Any) -> None:
        self.records = records
        self.started = 0
        self.drawn = 0

    def __call__(self) -> Iterator[Any]:
        self.started += 1
        for record in self.records:
            self.drawn += 1
            yield record


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BlockStore]:
    store = BlockStore(str(tmp_path / "blocks"), 1_000_000)
    yield store
    store.close()


def read(store: BlockStore, rdd: int, records: Any, level: StorageLevel = MEMORY, partition: int = 0) -> list[Any]:
    compute = records if isinstance(records, Computed) else Computed(records)
    return list(store.get_or_compute(rdd, partition, level, compute, a_task()))


def changes(store: BlockStore) -> list[tuple[Any, ...]]:
    return [(c.op, c.rdd, c.partition, c.tier, c.reason) for c in store.drain_changes()]


def frames_of(store: BlockStore, rdd: int) -> list[Any]:
    part = store.share(BlockRequest(rdd, 0))
    assert part is not None
    return list(part.frames)


STORED = ("stored", 1, 0, "memory", "")


def test_a_block_is_computed_once_then_found(store: BlockStore) -> None:
    compute = Computed(range(12_000))
    first, second = a_task(), a_task()
    assert list(store.get_or_compute(1, 0, MEMORY, compute, first)) == list(range(12_000))
    assert list(store.get_or_compute(1, 0, MEMORY, compute, second)) == list(range(12_000))
    assert compute.started == 1
    assert (first.metrics.cache_hits, first.metrics.cache_misses) == (0, 1)
    assert (second.metrics.cache_hits, second.metrics.cache_misses) == (1, 0)
    assert (first.metrics.records_read, second.metrics.records_read) == (0, 12_000)
    assert changes(store) == [STORED]
    assert changes(store) == []


def test_nothing_is_computed_before_the_first_record_is_asked_for(store: BlockStore) -> None:
    compute = Computed("abc")
    records = store.get_or_compute(1, 0, MEMORY, compute, a_task())
    assert compute.started == 0
    assert next(records) == "a"
    assert compute.drawn == 3


def test_taking_one_record_stores_the_whole_block(store: BlockStore) -> None:
    compute = Computed(range(9_000))
    assert list(islice(store.get_or_compute(1, 0, MEMORY, compute, a_task()), 1)) == [0]
    assert changes(store) == [STORED]
    assert len(read(store, 1, compute)) == 9_000
    assert compute.started == 1


def test_an_empty_block_is_a_block(store: BlockStore) -> None:
    compute = Computed([])
    assert read(store, 1, compute) == read(store, 1, compute) == []
    assert compute.started == 1
    assert read(store, 2, compute, DISK) == read(store, 2, compute, DISK) == []
    assert compute.started == 2


@pytest.mark.parametrize("level", [MEMORY, BOTH, DISK])
def test_a_task_that_changes_its_records_changes_nobody_elses(store: BlockStore, level: StorageLevel) -> None:
    mine = [[1, [2]], {"a": [3]}, [4]]
    for record in read(store, 1, mine, level):
        record.clear()
    for record in read(store, 1, mine, level):
        assert record
        record.clear()
    mine[0].append("mine")
    assert read(store, 1, mine, level) == [[1, [2]], {"a": [3]}, [4]]


def test_a_block_over_the_budget_is_handed_out_whole_and_not_kept(store: BlockStore) -> None:
    compute = Computed(range(200_000))
    assert read(store, 1, compute) == list(range(200_000))
    assert compute.started == 1
    assert compute.drawn == 200_000
    assert changes(store) == []
    assert store.usage().memory_bytes == 0


def test_a_block_over_the_budget_goes_to_disk_where_its_level_says_so(store: BlockStore) -> None:
    compute = Computed(range(200_000))
    assert read(store, 1, compute, BOTH) == read(store, 1, compute, BOTH) == list(range(200_000))
    assert compute.started == 1
    assert changes(store) == [("stored", 1, 0, "disk", "")]
    assert store.usage().memory_bytes == 0


def test_disk_only_never_enters_memory(store: BlockStore) -> None:
    assert read(store, 1, "abc", DISK) == read(store, 1, "abc", DISK) == list("abc")
    assert store.usage().memory_blocks == 0
    assert store.usage().disk_blocks == 1


def test_the_least_recently_used_block_leaves_first(store: BlockStore) -> None:
    for rdd in (1, 2, 3):
        read(store, rdd, [b"x" * 300_000])
    read(store, 1, [])
    read(store, 4, [b"x" * 300_000])
    assert changes(store)[3:] == [("removed", 2, 0, "memory", "evicted"), ("stored", 4, 0, "memory", "")]
    assert store.usage().memory_bytes <= 1_000_000


def test_no_block_of_the_rdd_being_written_leaves_for_it(store: BlockStore) -> None:
    for partition in range(5):
        assert read(store, 1, [b"x" * 300_000], partition=partition) == [b"x" * 300_000]
    assert [b[1] for b in store.blocks()] == [0, 1, 2]
    assert all(change[0] == "stored" for change in changes(store))


def test_an_evicted_block_moves_to_disk_where_its_level_says_so(store: BlockStore) -> None:
    compute = Computed([b"x" * 400_000, ["mutable"]])
    read(store, 1, compute, BOTH)
    read(store, 2, [b"y" * 800_000])
    assert changes(store) == [STORED, ("stored", 1, 0, "disk", ""), ("stored", 2, 0, "memory", "")]
    assert read(store, 1, compute, BOTH) == [b"x" * 400_000, ["mutable"]]
    assert compute.started == 1


def test_every_change_that_stores_says_how_many_records_there_are(store: BlockStore) -> None:
    read(store, 1, [b"x" * 400_000, ["mutable"]], BOTH)
    read(store, 2, [b"y" * 800_000], DISK)
    read(store, 3, range(200_000), BOTH)
    read(store, 4, [b"z" * 800_000])
    store.drop(4)
    told = [(c.rdd, c.op, c.tier, c.records) for c in store.drain_changes()]
    assert (1, "stored", "memory", 2) in told
    assert (1, "stored", "disk", 2) in told, "evicted to disk"
    assert (2, "stored", "disk", 1) in told
    assert (3, "stored", "disk", 200_000) in told, "begun in memory, ended on disk"
    assert told[-1] == (4, "removed", "memory", -1)


def test_a_block_that_cannot_fit_evicts_nobody(store: BlockStore) -> None:
    read(store, 1, [b"x" * 300_000])
    read(store, 2, [b"y" * 2_000_000])
    assert [b[0] for b in store.blocks()] == [1]


def test_a_failed_computation_leaves_nothing_and_the_next_one_succeeds(store: BlockStore) -> None:
    def failing() -> Iterator[Any]:
        yield from range(10_000)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(store.get_or_compute(1, 0, MEMORY, failing, a_task()))
    assert store.usage().memory_bytes == 0
    assert changes(store) == []
    assert read(store, 1, "ab") == ["a", "b"]


@pytest.mark.parametrize("level", [BOTH, DISK])
def test_a_computation_that_fails_on_its_way_to_disk_leaves_no_file(
    store: BlockStore, tmp_path: Path, level: StorageLevel
) -> None:
    def failing() -> Iterator[Any]:
        yield from range(300_000)
        raise OSError(errno.ENOSPC, "the user's own disk, not ours")

    with pytest.raises(OSError, match="the user's own"):
        list(store.get_or_compute(1, 0, level, failing, a_task()))
    assert os.listdir(tmp_path / "blocks") == []
    assert store.usage().memory_bytes == 0


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("harm", [damage, lambda path: path.write_bytes(path.read_bytes()[:-1]), Path.unlink])
def test_a_damaged_block_file_is_dropped_and_computed_again(
    store: BlockStore, tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    compute = Computed(range(200_000))
    read(store, 1, compute, DISK)
    (file,) = (tmp_path / "blocks").iterdir()
    harm(file)
    changes(store)
    assert read(store, 1, compute, DISK) == list(range(200_000))
    assert compute.started == 2
    assert changes(store) == [("removed", 1, 0, "disk", "corrupt"), ("stored", 1, 0, "disk", "")]


def fill_disk(monkeypatch: pytest.MonkeyPatch, after_bytes: int) -> None:
    room = [after_bytes]
    pwrite = os.pwrite

    def limited(fd: int, data: Any, offset: int) -> int:
        if len(data) > room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        room[0] -= len(data)
        return pwrite(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", limited)


@pytest.mark.parametrize("room_bytes", [0, 30_000, 300_000])
@pytest.mark.parametrize("level", [BOTH, DISK])
def test_on_a_full_disk_a_block_is_handed_out_whole_uncached_with_a_warning(
    store: BlockStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, level: StorageLevel, room_bytes: int
) -> None:
    read(store, 1, ["cached before"])
    fill_disk(monkeypatch, room_bytes)
    compute = Computed(range(200_000))
    assert read(store, 2, compute, level) == list(range(200_000))
    assert compute.drawn == 200_000
    assert read(store, 1, []) == ["cached before"]
    assert [b[0] for b in store.blocks()] == [1]
    ((subject, message),) = store.drain_warnings()
    assert subject == "cache of RDD 2"
    assert "full" in message
    assert store.drain_warnings() == []
    assert os.listdir(tmp_path / "blocks") == []


def test_on_a_full_disk_a_block_that_should_move_there_stays_in_memory(
    store: BlockStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    read(store, 1, [b"x" * 600_000], BOTH)
    fill_disk(monkeypatch, 0)
    assert read(store, 2, [b"y" * 600_000], BOTH) == [b"y" * 600_000]
    assert [(b[0], b[2]) for b in store.blocks()] == [(1, "memory")]
    assert len(store.drain_warnings()) == 1


def test_two_tasks_that_want_one_block_compute_it_once(store: BlockStore) -> None:
    running, go_on = threading.Event(), threading.Event()
    started: list[int] = []

    def slow() -> Iterator[Any]:
        started.append(1)
        running.set()
        assert go_on.wait(30)
        yield from range(10)

    results: list[list[Any]] = []

    def task() -> None:
        results.append(list(store.get_or_compute(1, 0, MEMORY, slow, a_task())))

    threads = [threading.Thread(target=task) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert running.wait(30)
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert results == [list(range(10))] * 4
    assert len(started) == 1


def test_one_who_waits_for_a_block_that_fails_computes_it_itself(store: BlockStore) -> None:
    running, go_on = threading.Event(), threading.Event()
    looked = threading.Event()

    def failing() -> Iterator[Any]:
        running.set()
        assert go_on.wait(30)
        raise ZeroDivisionError
        yield

    def first() -> None:
        with pytest.raises(ZeroDivisionError):
            list(store.get_or_compute(1, 0, MEMORY, failing, a_task()))

    results: list[Any] = []

    def second() -> None:
        task = a_task(check_cancelled=looked.set)
        results.extend(store.get_or_compute(1, 0, MEMORY, Computed("ab"), task))

    threads = [threading.Thread(target=first), threading.Thread(target=second)]
    threads[0].start()
    assert running.wait(30)
    threads[1].start()
    assert looked.wait(30)
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert results == ["a", "b"]


def test_one_who_waits_for_a_block_can_be_cancelled(store: BlockStore) -> None:
    running, go_on = threading.Event(), threading.Event()

    class Cancelled(Exception):
        pass

    def cancelled() -> None:
        raise Cancelled

    def slow() -> Iterator[Any]:
        running.set()
        assert go_on.wait(30)
        yield 1

    thread = threading.Thread(target=lambda: list(store.get_or_compute(1, 0, MEMORY, slow, a_task())))
    thread.start()
    assert running.wait(30)
    with pytest.raises(Cancelled):
        list(store.get_or_compute(1, 0, MEMORY, slow, a_task(check_cancelled=cancelled)))
    go_on.set()
    thread.join(30)


def test_a_cancelled_computation_lets_the_next_task_compute(store: BlockStore) -> None:
    class Cancelled(Exception):
        pass

    def cancelled() -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        list(store.get_or_compute(1, 0, MEMORY, Computed(range(9_000)), a_task(check_cancelled=cancelled)))
    assert read(store, 1, "a") == ["a"]


def test_a_cached_block_made_from_a_cached_block_stores_both(store: BlockStore) -> None:
    task = a_task()
    parent = Computed(range(10))

    def child() -> Iterator[Any]:
        return (2 * x for x in store.get_or_compute(1, 0, MEMORY, parent, task))

    for _ in range(2):
        assert list(store.get_or_compute(2, 0, MEMORY, child, task)) == list(range(0, 20, 2))
    assert parent.started == 1
    assert changes(store) == [STORED, ("stored", 2, 0, "memory", "")]


def test_dropping_an_rdd_drops_its_blocks_alone(store: BlockStore, tmp_path: Path) -> None:
    for partition in range(2):
        read(store, 1, "ab", MEMORY, partition)
        read(store, 1, "ab", DISK, partition + 2)
        read(store, 2, "ab", MEMORY, partition)
    changes(store)
    assert [(c.partition, c.tier, c.reason) for c in store.drop(1, 1)] == [(1, "memory", "dropped")]
    store.drop(1, reason="unpersisted")
    assert changes(store) == [
        ("removed", 1, 1, "memory", "dropped"),
        ("removed", 1, 0, "memory", "unpersisted"),
        ("removed", 1, 2, "disk", "unpersisted"),
        ("removed", 1, 3, "disk", "unpersisted"),
    ]
    assert [b[:2] for b in store.blocks()] == [(2, 0), (2, 1)]
    assert os.listdir(tmp_path / "blocks") == []


@pytest.mark.parametrize("level", [MEMORY, DISK])
def test_a_block_dropped_while_it_is_computed_is_handed_out_and_not_kept(
    store: BlockStore, tmp_path: Path, level: StorageLevel
) -> None:
    def dropping() -> Iterator[Any]:
        yield "a"
        store.drop(1)
        yield "b"

    assert list(store.get_or_compute(1, 0, level, dropping, a_task())) == ["a", "b"]
    assert store.blocks() == []
    assert store.usage().memory_bytes == 0
    assert os.listdir(tmp_path / "blocks") == []


def test_records_keep_coming_from_a_block_that_is_dropped_meanwhile(store: BlockStore) -> None:
    for level in (MEMORY, DISK):
        records = store.get_or_compute(1, 0, level, Computed(range(20_000)), a_task())
        assert next(records) == 0
        store.drop(1)
        assert list(records) == list(range(1, 20_000))


@pytest.mark.parametrize("level", [MEMORY, DISK])
def test_a_peer_gets_the_frames_bit_by_bit_and_can_hold_them(
    store: BlockStore, tmp_path: Path, level: StorageLevel
) -> None:
    records = [(i, [i]) for i in range(3_000)]
    read(store, 1, records, level)
    peer = BlockStore(str(tmp_path / "peer"), 10_000_000)
    frames: list[Any] = []
    serial = at = 0
    while True:
        part = store.share(BlockRequest(1, 0, serial, at), limit_bytes=1)
        assert part is not None
        assert len(part.frames) == 1
        frames += part.frames
        serial, at = part.serial, part.next
        if at < 0:
            break
    assert frames_of(store, 1) == frames
    assert peer.put_frames(1, 0, level, frames)
    assert [(c.op, c.rdd) for c in peer.drain_changes()] == [("stored", 1)]
    assert list(peer.get_or_compute(1, 0, level, Computed([]), a_task())) == records
    assert peer.put_frames(1, 0, level, frames)
    assert store.share(BlockRequest(1, 1)) is None
    assert store.share(BlockRequest(1, 0, serial + 1)) is None
    peer.close()


def test_a_peers_copy_that_is_damaged_or_does_not_fit_is_not_kept(store: BlockStore, tmp_path: Path) -> None:
    read(store, 1, range(1_000))
    frames = [bytearray(frame) for frame in frames_of(store, 1)]
    small = BlockStore(str(tmp_path / "small"), 1_000)
    assert not small.put_frames(1, 0, MEMORY, map(bytes, frames))
    frames[-1][-5] ^= 1
    with pytest.raises(StorageError):
        store.put_frames(2, 0, MEMORY, map(bytes, frames))
    assert [b[0] for b in store.blocks()] == [1]
    assert store.usage().memory_bytes == store.blocks()[0][3]
    small.close()


def test_a_look_into_a_block_is_bounded_and_survives_a_broken_repr(store: BlockStore) -> None:
    read(store, 1, ["x" * 1_000, 5, [6], 7])
    assert store.peek(1, 0, 3) == ["'" + "x" * 196 + "...", "5", "[6]"]
    assert store.peek(9, 0) is None
    read(store, 2, [Unspeakable()])
    assert store.peek(2, 0) == ["<Unspeakable whose repr raises ZeroDivisionError>"]


class Unspeakable:
    def __repr__(self) -> str:
        raise ZeroDivisionError


def test_block_files_are_for_this_user_alone(store: BlockStore, tmp_path: Path) -> None:
    read(store, 1, "a", DISK)
    (file,) = (tmp_path / "blocks").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "blocks").stat().st_mode & 0o777 == 0o700


def test_close_removes_every_file(store: BlockStore, tmp_path: Path) -> None:
    read(store, 1, "a", DISK)
    read(store, 2, "a")
    store.close()
    store.close()
    assert os.listdir(tmp_path / "blocks") == []
    assert store.usage().memory_bytes == 0


def test_the_position_reported_is_the_one_in_the_block(store: BlockStore) -> None:
    task = a_task()
    below = task.source

    def compute() -> Iterator[Any]:
        return below.flatten([[0, 1, 2], [3, 4]])

    records = store.get_or_compute(1, 0, MEMORY, compute, task)
    assert [next(records), next(records)] == [0, 1]
    assert task.source.record_index() == 1
    records = store.get_or_compute(1, 0, MEMORY, compute, task)
    assert [next(records) for _ in range(4)] == [0, 1, 2, 3]
    assert task.source.record_index() == 3


def test_an_error_in_the_computation_reports_the_position_in_its_own_input(store: BlockStore) -> None:
    task = a_task()

    def compute() -> Iterator[Any]:
        return (1 // (7 - x) for x in task.source.flatten([[0, 1, 2], list(range(3, 10))]))

    with pytest.raises(ZeroDivisionError):
        list(store.get_or_compute(1, 0, MEMORY, compute, task))
    assert task.source.record_index() == 7


def test_in_a_process_that_may_not_grow_a_block_takes_the_place_of_others(tmp_path: Path) -> None:
    grows = [True]
    store = BlockStore(str(tmp_path / "full"), 10_000_000, lambda: grows[0])
    for rdd in range(1, 5):
        read(store, rdd, range(1_000))
    one = store.usage().memory_bytes // 4
    grows[0] = False
    before = store.usage().memory_bytes
    read(store, 5, range(1_000, 2_000))
    assert [b[0] for b in store.blocks()] == [2, 3, 4, 5], "the least recently used one left, and only that"
    assert store.usage().memory_bytes <= before
    read(store, 6, range(100_000))
    assert 6 not in [b[0] for b in store.blocks()], "it is larger than all that could leave"
    read(store, 7, range(100_000), BOTH)
    assert [b[2] for b in store.blocks() if b[0] == 7] == ["disk"]
    grows[0] = True
    read(store, 8, range(1_000))
    assert store.usage().memory_bytes >= one
    store.close()
