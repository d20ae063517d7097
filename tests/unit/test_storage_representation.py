"""What a cached batch is: nothing that was handed out, nor what it was made from, can change it."""

from __future__ import annotations

import copy
import dataclasses
import datetime
import decimal
import enum
import fractions
import operator
import sys
import warnings
import weakref
from collections import namedtuple
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparklab.storage import codec
from sparklab.storage.immutable import deeply_immutable
from sparklab.storage.representation import Pickled, hold

Pair = namedtuple("Pair", "left right")


class Word(str):
    """A str with a __dict__, hence with something that can change."""


class Colour(enum.Enum):
    RED = 1


@dataclasses.dataclass(frozen=True)
class Frozen:
    values: list[int]


class Zone(datetime.tzinfo):
    def utcoffset(self, when: datetime.datetime | None) -> datetime.timedelta:
        return datetime.timedelta(0)


IMMUTABLE: list[Any] = [
    1, "a", b"b", 1.5, True, None, 2j, ..., range(3), (), (1, ("a", (None,))), frozenset([1, ("a",)]), Pair(1, ("b",)),
    decimal.Decimal(1), fractions.Fraction(1, 2), datetime.date(2026, 1, 1), datetime.datetime(2026, 1, 1),
    datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC), datetime.time(1), datetime.timedelta(1), Colour.RED,
    np.float64(1), np.int32(1), np.bool_(True), np.datetime64("2026-01-01"),
]  # fmt: skip
MUTABLE: list[Any] = [
    [1], {1}, {1: 2}, bytearray(b"a"), ([1],), (1, (2, [3])), Pair(1, [2]), Word("a"), (Word("a"),), Frozen([1]),
    object, len, np.zeros(2), datetime.datetime(2026, 1, 1, tzinfo=Zone()), np.zeros(1, dtype="i4,i4")[0],
]  # fmt: skip


@pytest.mark.parametrize("value", IMMUTABLE, ids=repr)
def test_what_cannot_change_stays_live(value: Any) -> None:
    assert deeply_immutable([value])
    assert next(iter(hold([value, 1]).hand_out())) is value


@pytest.mark.parametrize("value", MUTABLE, ids=repr)
def test_what_can_change_is_found_out_by_its_type_however_deep(value: Any) -> None:
    assert not deeply_immutable([1, value])
    assert not deeply_immutable([1, (value,)])


def test_one_mutable_record_among_thousands_is_not_overlooked() -> None:
    records: list[Any] = [(i, str(i)) for i in range(4_999)]
    assert deeply_immutable(records)
    assert not deeply_immutable([*records, (0, [])])


def _change(record: Any) -> None:
    """Changes whatever can be changed in `record`."""
    if isinstance(record, tuple):
        for item in record:
            _change(item)
    elif isinstance(record, list):
        for item in record:
            _change(item)
        record.append("changed")
    elif isinstance(record, dict):
        for item in record.values():
            _change(item)
        record["changed"] = 1
    elif isinstance(record, set):
        record.add("changed")
    elif isinstance(record, bytearray):
        record += b"changed"


FLAT = st.one_of(st.integers(), st.text(max_size=3), st.none())
DEEP = st.recursive(
    FLAT,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(st.text(max_size=2), inner, max_size=2),
        st.sets(FLAT, max_size=3),
    ),
    max_leaves=6,
)


@given(st.lists(DEEP, min_size=1, max_size=8))
def test_neither_the_original_nor_a_copy_handed_out_changes_what_is_held(records: list[Any]) -> None:
    expected = copy.deepcopy(records)
    held = hold(list(records))
    for record in records:
        _change(record)
    assert list(held.hand_out()) == expected
    for record in held.hand_out():
        _change(record)
    assert list(held.hand_out()) == expected
    assert list(codec.load_batches(held.frame())) == [expected]


@pytest.mark.parametrize(
    "records",
    [
        [("k", [1, 2]), ("l", [3])],
        [[1], [2]],
        [{"a": 1}, {"b": (2,)}],
        [(1, {2}), (3, {4})],
        [(1, (2, [3])), (4, (5, [6]))],
        [bytearray(b"a"), bytearray(b"b")],
    ],
    ids=repr,
)
def test_shallow_containers_are_copied_not_pickled(records: list[Any]) -> None:
    expected = repr(records)
    held = hold(list(records))
    assert not isinstance(held, Pickled)
    for round_ in (records, held.hand_out(), held.hand_out()):
        for record in round_:
            _change(record)
    assert repr(list(held.hand_out())) == expected


def test_mixed_and_deep_records_are_pickled() -> None:
    assert isinstance(hold([[1], "a"]), Pickled)
    assert isinstance(hold([[[1]]]), Pickled)
    assert isinstance(hold([(1, [2]), (3, [4], 5)]), Pickled)


def test_numpy_is_handed_out_read_only_and_copied_at_the_door() -> None:
    mine = np.arange(6).reshape(2, 3)
    held = hold([mine, mine[0]])
    mine[:] = -1
    whole, row = held.hand_out()
    assert whole.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert row.tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="read-only"):
        whole[0, 0] = 7
    with pytest.raises(ValueError, match="WRITEABLE"):
        whole.flags.writeable = True


def addresses(records: list[Any]) -> set[int]:
    arrays = [part for record in records for part in (record if isinstance(record, tuple) else [record])]
    return {array.ctypes.data for array in arrays if isinstance(array, np.ndarray)}


@pytest.mark.skipif(
    not getattr(sys, "_is_gil_enabled", lambda: True)(), reason="references are not counted in one place there"
)
@pytest.mark.parametrize(
    "make",
    [
        lambda: [np.zeros(5_000) + n for n in range(3)],
        lambda: [(np.zeros(5_000) + n, np.zeros((70, 80)) + n) for n in range(3)],
        lambda: [(n, ("a", np.zeros(5_000) + n)) for n in range(3)],
    ],
    ids=["arrays", "in tuples", "in tuples of tuples"],
)
def test_large_arrays_that_nobody_else_can_reach_are_kept_without_a_copy(make: Any) -> None:
    def flat(records: list[Any]) -> list[Any]:
        return [(*record[:1], *record[1]) if isinstance(record[-1], tuple) else record for record in records]

    batch = make()
    before = addresses(flat(batch))
    held = hold(batch)
    del batch
    out = list(held.hand_out())
    assert addresses(flat(out)) == before
    array = next(part for part in (out[0] if isinstance(out[0], tuple) else (out[0],)) if not isinstance(part, int))
    array = array[-1] if isinstance(array, tuple) else array
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1


def test_large_array_that_somebody_can_still_reach_is_copied_however_it_is_reached() -> None:
    array = np.zeros(5_000)
    row = (0, np.zeros(5_000))
    inner = ("a", np.zeros(5_000))
    whole = np.zeros(10_000)
    dropped = weakref.ref(known := np.zeros(5_000))
    exported = memoryview(seen := np.zeros(5_000))
    ways = {
        "by name": ([array], lambda: array),
        "by its tuple": ([row], lambda: row[1]),
        "by the tuple in its tuple": ([(0, inner)], lambda: inner[1]),
        "as part of another": ([whole[:5_000]], lambda: whole),
        "by a weak reference": ([known], dropped),
        "by a buffer": ([seen], lambda: np.frombuffer(exported)),
    }
    del known, seen
    for way, (records, reach) in ways.items():
        held = hold(records)
        records.clear()
        reached = reach()
        if reached is not None:
            reached[:] = 7
        found = [record for record in held.hand_out() for _ in range(2)]
        flat = [part for record in found for part in (record if isinstance(record, tuple) else (record,))]
        flat = [part[1] if isinstance(part, tuple) else part for part in flat]
        assert not any(np.any(part) for part in flat if isinstance(part, np.ndarray)), way


@pytest.mark.parametrize("order", [1, -1], ids=["array first", "array last"])
def test_an_array_beside_what_must_be_pickled_can_be_changed_whoever_could_reach_it(order: int) -> None:
    nested = [(("a", np.zeros(5_000)), Frozen([n]))[::order] for n in range(3)]
    flat = [(np.zeros(5_000), Frozen([n]))[::order] for n in range(3)]
    for batch in (flat, nested):
        held = hold(batch)
        batch.clear()
        for record in held.hand_out():
            part = record[::order][0]
            array = part[1] if isinstance(part, tuple) else part
            array[0] = 1


def test_a_shape_assigned_to_an_array_handed_out_does_not_reach_the_next_one() -> None:
    held = hold([np.arange(6)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        next(iter(held.hand_out())).shape = (2, 3)
    assert next(iter(held.hand_out())).shape == (6,)


def test_arrays_inside_tuples_are_views_too() -> None:
    held = hold([(1.0, np.ones(3)), (0.0, np.zeros(3))])
    assert not isinstance(held, Pickled)
    for label, features in held.hand_out():
        assert isinstance(label, float)
        assert not features.flags.writeable
        assert features.sum() == 3 * label


def _arrays(*shapes: tuple[int, ...], dtype: str = "f8") -> list[Any]:
    return [np.full(shape, i + 0.5).astype(dtype) for i, shape in enumerate(shapes)]


@pytest.mark.parametrize(
    "arrays",
    [
        _arrays((3,), (3,)),
        _arrays((2, 3), (2, 3), dtype="i4"),
        _arrays((0,), (0,)),
        _arrays((4,), (5,)),  # several shapes
        _arrays((4,), (4, 1)),
        _arrays((2, 3), (2, 4)),
        _arrays((2,), ()),
        _arrays((), ()),
        [np.zeros(2), np.zeros(2, "f4")],  # several dtypes
        _arrays((3,), (3,), dtype=">f8"),
        [np.arange(6)[::-1], np.arange(12)[::2]],
        [np.asfortranarray(np.arange(6.0).reshape(2, 3)) for _ in range(2)],
        [np.zeros(3, np.dtype("f8", metadata={"unit": "m"})), np.zeros(3)],
        [np.zeros(2, "i4,f8"), np.ones(2, "i4,f8")],
        [np.array(["a", "bc"]), np.array(["de", "f"])],
        [np.zeros(2, "M8[s]"), np.zeros(2, "M8[ms]")],
        _arrays((1_000,), (1_000,)),  # too large to gain
    ],
    ids=lambda arrays: f"{arrays[0].dtype}{arrays[0].shape}{arrays[1].dtype}{arrays[1].shape}",
)
def test_arrays_come_out_as_copies_of_their_own_would_be(arrays: list[Any]) -> None:
    expected = [array.copy("K") for array in arrays]
    held = hold([(i, array) for i, array in enumerate(arrays)])
    for array in arrays:
        array.view("u1" if array.flags.c_contiguous and array.ndim else array.dtype)[...] = 1
    for _ in range(2):
        for (_, array), original in zip(held.hand_out(), expected, strict=True):
            assert type(array) is np.ndarray
            assert array.tobytes() == original.tobytes()
            assert (array.dtype, array.dtype.metadata) == (original.dtype, original.dtype.metadata)
            assert (array.shape, array.strides) == (original.shape, original.strides)
            assert not array.flags.writeable
            with pytest.raises(ValueError, match="WRITEABLE"):
                array.flags.writeable = True
    for _, array in held.hand_out():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            array.shape = (1, *array.shape)
    assert [array.shape for _, array in held.hand_out()] == [array.shape for array in expected]


@pytest.mark.parametrize("records", [[(1.0, np.ones(2)), (2.0, np.zeros(2))], [np.ones(2)] * 3, [([1], 2), ([3], 4)]])
def test_batch_made_record_by_record_tells_how_many_are_left(records: list[Any]) -> None:
    batch = hold(records).hand_out()
    assert len(batch) == len(records)
    for _ in range(2):
        left = iter(batch)
        for i in range(len(records)):
            assert operator.length_hint(left) == len(records) - i
            next(left)


def test_small_arrays_alike_are_charged_without_an_object_each() -> None:
    assert hold(_arrays(*[(10,)] * 1_000)).bytes < 90_000 < hold(_arrays(*[(10,), (11,)] * 500)).bytes


def test_arrays_of_objects_are_pickled() -> None:
    held = hold([np.array([[1], 2], dtype=object)])
    assert isinstance(held, Pickled)
    next(iter(held.hand_out()))[0].append(3)
    assert next(iter(held.hand_out()))[0] == [1]


@pytest.mark.parametrize("length", [10, 1_000, 5_000])
def test_measured_size_is_near_the_true_one(length: int) -> None:
    records = [(f"word number {i}", float(i), b"x" * (i % 50)) for i in range(length)]
    true = sys.getsizeof(records) + sum(sys.getsizeof(r) + sum(map(sys.getsizeof, r)) for r in records)
    assert hold(records).bytes == pytest.approx(true, rel=0.1)


def test_one_huge_string_among_thousands_is_measured_exactly() -> None:
    records = ["x"] * 4_999 + ["y" * 50_000_000]
    assert hold(records).bytes >= 50_000_000
    assert hold([np.zeros(1_000_000)]).bytes >= 8_000_000
    assert hold([(1, [2] * 1_000_000)]).bytes >= 8_000_000
    assert hold(["ä" * 100] * 10).bytes >= 1_700


def test_serialized_records_are_measured_by_their_bytes() -> None:
    held = hold(["a" * 1_000], serialized=True)
    assert isinstance(held, Pickled)
    assert held.bytes == len(held.body)
