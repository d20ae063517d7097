"""Frames: batches come back as they were written, damage is noticed, and nothing grows without limit."""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparklab.errors import StorageError
from sparklab.storage import codec

RECORDS = st.lists(st.one_of(st.integers(), st.text(), st.tuples(st.text(), st.floats(allow_nan=False)), st.none()))


@given(st.lists(RECORDS, max_size=4))
def test_frames_one_after_the_other_give_the_batches_back(written: list[list[Any]]) -> None:
    buffer = b"".join(map(codec.dump_batch, written))
    assert list(codec.load_batches(buffer)) == written

    def read(offset: int, length: int) -> bytes:
        return buffer[offset : offset + length]

    assert list(codec.read_batches(read, 0, len(buffer))) == written


def test_batches_draws_nothing_before_it_is_asked() -> None:
    drawn: list[int] = []

    def records() -> Any:
        for i in range(12):
            drawn.append(i)
            yield i

    batches = codec.batches(records(), 5)
    assert drawn == []
    assert next(batches) == [0, 1, 2, 3, 4]
    assert drawn == [0, 1, 2, 3, 4]
    assert [len(batch) for batch in batches] == [5, 2]


@pytest.mark.parametrize("at", range(0, 60, 3))
def test_one_flipped_byte_anywhere_is_noticed(at: int) -> None:
    whole = codec.dump_batch(["some", "records", 12345, (1, 2.5)])
    damaged = bytearray(whole)
    damaged[at % len(whole)] ^= 0x10
    with pytest.raises(StorageError):
        list(codec.load_batches(bytes(damaged)))


@pytest.mark.parametrize("kept", [0, 5, 24, 30])
def test_a_frame_cut_short_is_noticed(kept: int) -> None:
    whole = codec.dump_batch(list(range(100)))

    def read(offset: int, length: int) -> bytes:
        return whole[:kept][offset : offset + length]

    with pytest.raises(StorageError):
        list(codec.read_batches(read, 0, len(whole)))
    if kept:
        with pytest.raises(StorageError):
            list(codec.load_batches(whole[:kept]))


def test_a_frame_stays_within_4_mib_however_large_the_records() -> None:
    records = [bytes([i]) * 1_000_000 for i in range(11)]
    frames = codec.dump_frames(records)
    assert all(len(frame) <= codec.FRAME_LIMIT_BYTES for frame in frames)
    assert [record for frame in frames for batch in codec.load_batches(frame) for record in batch] == records
    assert len(codec.dump_frames([bytes(10_000_000)])) == 1
    assert len(codec.dump_frames(list(range(12_000)))) == 3


def test_batch_size_shrinks_to_one_for_huge_records_and_grows_to_5000_for_small_ones() -> None:
    size = codec.BatchSize()
    assert size.records < 100
    size.learn(size.records, size.records * 8_000_000)
    assert size.records == 1
    for _ in range(5):
        size.learn(size.records, size.records * 20)
    assert size.records == codec.BATCH_RECORDS


def test_a_class_of_main_travels_by_value(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "from sparklab.storage.codec import dump_batch\n"
        "class Point:\n"
        "    def __init__(self, x): self.x = x\n"
        "    def double(self): return 2 * self.x\n"
        f"open({str(tmp_path / 'frame')!r}, 'wb').write(dump_batch([Point(4), lambda: 5]))\n"
    )
    subprocess.run([sys.executable, str(program)], check=True, timeout=60, env={"PYTHONPATH": "."})
    ((point, function),) = codec.load_batches((tmp_path / "frame").read_bytes())
    assert (point.double(), function()) == (8, 5)


def test_plain_records_do_not_go_through_the_slow_pickler() -> None:
    records = ["__main__ in a sentence", 1, None]
    assert codec.encode(records) == pickle.dumps(records, 5)


def test_what_cannot_be_pickled_is_named_by_index_and_type() -> None:
    with pytest.raises(StorageError, match="record 2 of the batch, a _thread") as caught:
        codec.dump_batch([1, 2, threading.Lock()])
    assert caught.value.do
