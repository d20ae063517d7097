"""A block copied from a peer: whole or not at all, verified, in bounded memory, read in place where it is a file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sparklab.errors import StorageError
from sparklab.storage.level import StorageLevel
from sparklab.storage.peers import Ask, BlockPart, BlockRequest, CopiedBlock, copy_block
from sparklab.storage.store import BlockStore
from tests.support.tasks import a_task

MEMORY, DISK = StorageLevel.MEMORY_ONLY, StorageLevel.DISK_ONLY
RECORDS = [(i, [i]) for i in range(20_000)]


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[BlockStore]:
    store = BlockStore(str(tmp_path / "peer"), 10_000_000)
    yield store
    store.close()


def hold(store: BlockStore, level: StorageLevel, records: Any = RECORDS) -> None:
    assert list(store.get_or_compute(1, 0, level, lambda: iter(records), a_task())) == list(records)


def copied(ask: Ask, directory: Path, same_host: bool = False, memory_bytes: int = 1 << 20) -> CopiedBlock | None:
    return copy_block(ask, 1, 0, same_host, str(directory), memory_bytes)


def records_of(block: CopiedBlock | None) -> list[Any]:
    assert block is not None
    return [record for batch in block.batches() for record in batch]


@pytest.mark.parametrize("level", [MEMORY, DISK])
@pytest.mark.parametrize("same_host", [False, True])
def test_a_block_comes_in_parts_and_whole(
    peer: BlockStore, tmp_path: Path, level: StorageLevel, same_host: bool
) -> None:
    hold(peer, level)
    asked: list[BlockRequest] = []

    def ask(request: BlockRequest) -> BlockPart | None:
        asked.append(request)
        return peer.share(request, limit_bytes=1)

    block = copied(ask, tmp_path, same_host)
    assert records_of(block) == RECORDS
    assert block is not None
    assert block.level == level
    in_place = same_host and level is DISK
    assert len(asked) == 1 if in_place else len(asked) > 2


def test_a_block_beyond_the_limit_waits_in_a_file_without_a_name(peer: BlockStore, tmp_path: Path) -> None:
    hold(peer, MEMORY)
    folder = tmp_path / "own"
    folder.mkdir()
    block = copied(peer.share, folder, memory_bytes=60_000)
    assert block is not None
    assert sum(map(len, block._frames)) <= 60_000
    assert os.listdir(folder) == []
    assert records_of(block) == RECORDS
    assert records_of(block) == RECORDS
    other = BlockStore(str(tmp_path / "other"), 10_000_000)
    assert other.put_frames(1, 0, block.level, block.frames())
    other.close()


def test_what_came_damaged_is_refused_before_any_record_is_handed_out(peer: BlockStore, tmp_path: Path) -> None:
    hold(peer, MEMORY)

    def ask(request: BlockRequest) -> BlockPart | None:
        part = peer.share(request, limit_bytes=1)
        assert part is not None
        if part.next < 0:
            damaged = bytearray(part.frames[0])
            damaged[-5] ^= 1
            part = replace(part, frames=[bytes(damaged)])
        return part

    with pytest.raises(StorageError, match="digest"):
        copied(ask, tmp_path)


def test_a_block_that_leaves_between_two_parts_is_not_there(peer: BlockStore, tmp_path: Path) -> None:
    hold(peer, MEMORY)

    def ask(request: BlockRequest) -> BlockPart | None:
        if request.start:
            peer.drop(1)
            hold(peer, MEMORY, [0])  # another one takes its place
        return peer.share(request, limit_bytes=1)

    assert copied(ask, tmp_path) is None


@pytest.mark.parametrize("damage", ["changed", "cut", "removed"])
def test_a_damaged_file_is_never_read_in_place_and_its_holder_learns_of_it(
    peer: BlockStore, tmp_path: Path, damage: str
) -> None:
    hold(peer, DISK)
    (path,) = (tmp_path / "peer").iterdir()
    match damage:
        case "changed":
            data = bytearray(path.read_bytes())
            data[-100] ^= 1
            path.write_bytes(data)
        case "cut":
            os.truncate(path, 100)
        case _:
            path.unlink()
    peer.drain_changes()
    assert copied(peer.share, tmp_path, same_host=True) is None
    assert [(c.op, c.reason) for c in peer.drain_changes()] == [("removed", "corrupt")]
    assert "damaged or gone" in peer.drain_warnings()[0][1]


def test_a_block_found_with_a_peer_is_a_hit_and_is_not_kept(peer: BlockStore, tmp_path: Path) -> None:
    hold(peer, MEMORY)
    own = BlockStore(str(tmp_path / "own"), 10_000_000)
    block = copied(peer.share, tmp_path)
    assert block is not None

    def compute() -> Iterator[Any]:
        raise AssertionError("it is there")

    task = a_task(elsewhere=lambda rdd, partition: block.batches())
    assert list(own.get_or_compute(1, 0, MEMORY, compute, task)) == RECORDS
    assert (task.metrics.cache_hits, task.metrics.cache_misses) == (1, 0)
    assert task.metrics.records_read == len(RECORDS)
    assert own.blocks() == []
    own.close()
