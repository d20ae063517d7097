"""Columnar data stays columnar where records stand in files and travel: counted in picklings and in bytes."""

from __future__ import annotations

import gc
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from sparklab.shuffle.combine import GROUPING
from sparklab.storage import codec
from sparklab.storage.codec import Frame, dump_batch, dump_frames, dump_pairs, iter_frames
from sparklab.storage.columns import Rows, columnar
from sparklab.storage.level import StorageLevel
from sparklab.storage.representation import hold
from sparklab.storage.store import BlockStore
from tests.support.tasks import a_task
from tests.unit.test_shuffle_roundtrip import Exchange, by_hash


def read(frames: list[bytes]) -> list[Frame]:
    return [frame for each in frames for frame in iter_frames(each)]


def rows(frames: list[bytes]) -> list[Any]:
    return [record for frame in read(frames) for record in frame.rows()]


@pytest.fixture
def pickled(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The lengths of all that was pickled by the codec."""
    lengths: list[int] = []

    class Counting:
        PickleBuffer, PicklingError, loads = pickle.PickleBuffer, pickle.PicklingError, pickle.loads

        @staticmethod
        def dumps(*args: Any, **options: Any) -> bytes:
            body = pickle.dumps(*args, **options)
            lengths.append(len(body))
            return body

    monkeypatch.setattr(codec, "pickle", Counting)
    return lengths


def test_small_arrays_of_a_column_travel_as_one(pickled: list[int]) -> None:
    values = [np.arange(n, n + 10.0) for n in range(5_000)]
    frames = dump_pairs(list(range(5_000)), values)
    assert len(pickled) == 1
    assert pickled[0] < 16_000, "the keys and a few words, whatever the values are"
    assert sum(map(len, frames)) < 5_000 * 80 * 1.05
    (frame,) = read(frames)
    keys, found = frame.columns()
    assert list(keys) == list(range(5_000))
    assert all(np.array_equal(a, b) for a, b in zip(found, values, strict=True))
    assert {(type(v), v.dtype, v.shape) for v in found} == {(np.ndarray, np.dtype(float), (10,))}


def test_large_buffers_are_not_in_the_pickle_and_can_be_written_to(pickled: list[int]) -> None:
    records: list[Any] = [
        np.random.default_rng(1).random((300, 100)),
        {"a": np.arange(40_000), "b": np.ones(40_000)},
        pa.record_batch({"x": np.arange(50_000)}),
        pd.DataFrame({"x": np.arange(50_000), "y": np.zeros(50_000)}),
    ]
    frames = dump_frames(records)
    assert max(pickled) < 3_000
    assert sum(map(len, frames)) < 1.01 * (240_000 + 640_000 + 400_000 + 800_000) + 10_000
    array, columns, batch, frame = rows(frames)
    assert np.array_equal(array, records[0])
    assert np.array_equal(columns["b"], records[1]["b"])
    assert batch == records[2]
    pd.testing.assert_frame_equal(frame, records[3])
    array[0, 0] = 5.0
    columns["a"][3] = 9
    assert (array[0, 0], columns["a"][3]) == (5.0, 9)


def test_rows_of_one_array_are_changed_one_by_one() -> None:
    found = rows([dump_batch([np.zeros(3) for _ in range(4)])])
    found[1][0] = 7.0
    assert [float(array[0]) for array in found] == [0.0, 7.0, 0.0, 0.0]


@pytest.mark.parametrize(
    "column",
    [
        [np.zeros(3), np.zeros(4)],
        [np.zeros(3), np.zeros(3, dtype=np.float32)],
        [np.zeros(3), None],
        [np.array(1.0), np.array(2.0)],
        [np.array([None, 1]), np.array([2, 3])],
        [np.zeros((2, 2)), np.asfortranarray(np.ones((2, 2)))],
        [np.zeros(3)],
        [np.ma.array([1.0, 2.0], mask=[True, False])] * 2,
        [1.0, np.zeros(3)],
    ],
)
def test_arrays_that_are_not_alike_stay_as_they_are(column: list[Any]) -> None:
    assert columnar(column) is column
    found = rows([dump_batch(list(column))])
    assert [type(v) for v in found] == [type(v) for v in column]
    assert all(repr(a) == repr(b) for a, b in zip(found, column, strict=True))


def test_columns_without_arrays_are_left_alone() -> None:
    column = [1, 2, 3]
    assert columnar(column) is column
    assert isinstance(columnar([np.zeros(2), np.ones(2)]), Rows)


def test_damage_in_a_buffer_is_found() -> None:
    (frame,) = dump_frames([np.zeros(100_000)])
    damaged = bytearray(frame)
    damaged[-1] ^= 1
    with pytest.raises(codec.StorageError, match="digest"):
        list(iter_frames(bytes(damaged)))
    (whole,) = iter_frames(frame)
    assert whole.whole() == frame


def test_classes_of_the_main_program_with_large_arrays_travel_by_value() -> None:
    class Point:
        def __init__(self) -> None:
            self.at = np.arange(20_000)

    Point.__module__ = "__main__"
    (found,) = rows(dump_frames([Point()]))
    assert np.array_equal(found.at, np.arange(20_000))


def test_a_shuffle_of_arrays_pickles_no_row(tmp_path: Path, pickled: list[int]) -> None:
    maps = [[(n % 50, np.full(20, float(n))) for n in range(4_000)] for _ in range(2)]
    exchange = Exchange(tmp_path, by_hash(2, 2, GROUPING), maps)
    frames = len(pickled)
    assert frames < 200 < 8_000
    assert sum(output.bytes for output in exchange.outputs) < 8_000 * 160 * 1.1
    groups = dict(exchange.read_all())
    assert [v[0] for v in groups[7]] == [float(n) for n in range(7, 4_000, 50)] * 2


def test_cached_arrow_data_is_handed_out_as_it_is_and_nobody_can_change_it(tmp_path: Path) -> None:
    source = np.arange(10_000)
    batch = pa.record_batch([pa.array(source)], names=["x"])
    held = hold([batch, pa.record_batch({"y": [1, 2]})])
    assert held.bytes >= batch.nbytes
    source[0] = 99
    first, second = held.hand_out()
    assert first["x"][0].as_py() == 0
    assert first["x"].to_numpy().flags.writeable is False
    assert next(iter(held.hand_out())) is first, "not copied again"
    assert second.to_pydict() == {"y": [1, 2]}


@pytest.mark.parametrize("level", [StorageLevel.MEMORY_ONLY, StorageLevel.DISK_ONLY])
def test_cached_arrow_and_numpy_data_take_their_own_bytes(tmp_path: Path, level: StorageLevel) -> None:
    store = BlockStore(str(tmp_path), 1 << 26)
    records: list[Any] = [pa.record_batch({"x": np.arange(100_000)}), np.ones(100_000)]
    for _ in range(2):
        found = list(store.get_or_compute(1, 0, level, lambda: iter(records), a_task()))
    assert found[0] == records[0]
    assert np.array_equal(found[1], records[1])
    ((_, _, _, bytes_),) = store.blocks()
    assert 1_600_000 <= bytes_ < 1_620_000
    store.close()
    del found
    gc.collect()
