"""Keys: ordered unsigned 64-bit numbers, half-open ranges of them, and sets of ranges as bits of a number."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import xxhash

from sparklab.errors import ParameterServerError
from sparklab.ps.kernels import strictly_increasing

KEY: Final = np.dtype(np.uint64)
END_OF_KEYS: Final = 1 << 64  # one past the largest key; a Python number, because no uint64 holds it
NO_KEYS: Final = np.empty(0, KEY)

Keys = npt.NDArray[np.uint64]
Array = npt.NDArray[Any]


def as_keys(keys: Any, end: int, attempted: str) -> Keys:
    """`keys` as a sorted array of uint64 without copies, all of them below `end`. Copies where the type differs.

    Raises
    ------
    ParameterServerError
        They are not whole numbers, negative, unsorted, repeated, or reach `end`.
    """
    if isinstance(keys, list | tuple) and keys and all(type(key) is int for key in keys):
        if not 0 <= min(keys) <= max(keys) < END_OF_KEYS:
            raise ParameterServerError(attempted, f"keys {min(keys)} to {max(keys)}", "keys are 0 to 2**64 - 1")
        keys = np.array(keys, KEY)  # left to itself, NumPy makes floats of numbers on both sides of 2**63
    array = as_array(keys, "keys", attempted)
    if array.dtype != KEY:
        if array.dtype.kind not in "iu" and array.size:
            raise ParameterServerError(attempted, f"keys of type {array.dtype}", "give whole numbers, as numpy.uint64")
        if array.dtype.kind == "i" and array.size and int(array.min()) < 0:
            raise ParameterServerError(attempted, f"the negative key {int(array.min())}", "keys are 0 to 2**64 - 1")
        array = array.astype(KEY)
    if array.ndim != 1:
        raise ParameterServerError(attempted, f"keys of shape {array.shape}", "give keys as one row")
    array = np.ascontiguousarray(array)
    if not array.size:
        return array
    where = strictly_increasing(array)
    if where >= 0:
        a, b = int(array[where]), int(array[where + 1])
        what = f"key {a} twice" if a == b else f"key {a} before key {b}"
        do = (
            "sum the values of a repeated key: keys, at = np.unique(keys, return_inverse=True); "
            "sums = np.zeros(len(keys)); np.add.at(sums, at, values)"
            if a == b
            else "sort the keys, and the values with them: order = np.argsort(keys)"
        )
        raise ParameterServerError(attempted, f"{what}, at position {where}", do)
    if int(array[-1]) >= end:
        raise ParameterServerError(
            attempted, f"key {int(array[-1])} outside the table, whose keys end before {end}", "check the table's size"
        )
    return array


def as_array(what: Any, called: str, attempted: str) -> Array:
    """`what` as an array. Raises ParameterServerError where it makes none, as lists of different lengths do."""
    try:
        return np.asarray(what)
    except (ValueError, TypeError) as error:
        found = f"{called} that make no array ({str(error).splitlines()[0]})"
        raise ParameterServerError(attempted, found, "give rows of numbers, all of one length") from error


def is_whole(value: Any) -> bool:
    """Whether `value` is a whole number, of Python or NumPy; a truth value is none."""
    return hasattr(value, "__index__") and not isinstance(value, bool | np.bool_)


def checked_range(low: Any, high: Any, end: int, attempted: str) -> tuple[int, int]:
    """`low` and `high` as a range of a table whose keys end before `end`.

    Raises
    ------
    ParameterServerError
        They are no whole numbers, in no order, or reach outside.
    """
    if not (is_whole(low) and is_whole(high) and 0 <= low <= high <= min(end, END_OF_KEYS)):
        raise ParameterServerError(
            attempted, f"the range {low} to {high}", f"the table's keys are the whole numbers 0 to {end - 1}"
        )
    return int(low), int(high)


def as_values(
    values: Any, rows: int, width: int, dtype: np.dtype[Any], attempted: str, *, finite: bool = True
) -> Array:
    """`values` as an array of shape (rows, width) and type `dtype`, without copies where it is one already.

    Raises
    ------
    ParameterServerError
        Their number, shape or type does not fit, or they shall be `finite` and one is not.
    """
    array = as_array(values, "values", attempted)
    if array.dtype != dtype:
        if array.dtype.kind not in "fiu":
            raise ParameterServerError(attempted, f"values of type {array.dtype}", f"give values of type {dtype}")
        with np.errstate(over="ignore"):  # what does not fit is infinite then, of which we speak ourselves
            array = array.astype(dtype)
    if array.size != rows * width or array.ndim not in (1, 2) or (array.ndim == 2 and array.shape != (rows, width)):
        raise ParameterServerError(
            attempted, f"values of shape {array.shape}", f"{rows} keys of width {width} take shape ({rows}, {width})"
        )
    array = np.ascontiguousarray(array).reshape(rows, width)
    if finite and not np.isfinite(array.sum()) and not np.isfinite(array).all():
        row = int(np.argmin(np.isfinite(array).all(axis=1)))
        raise ParameterServerError(
            attempted,
            f"{array[row]} for the key at position {row}",
            'the run diverged: lower the learning rate; or on_nonfinite="drop"',
        )
    return array


def digest(keys: Keys) -> bytes:
    """128 bits that stand for a list of keys: all of it and its length are in them."""
    hasher = xxhash.xxh3_128(keys.data)
    hasher.update(len(keys).to_bytes(8, "little"))
    return hasher.digest()


def bits(mask: int) -> Iterator[int]:
    """The numbers in a set that is kept as bits, ascending.

    Examples
    --------
    >>> list(bits(0b1010))
    [1, 3]
    """
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def mask_of(numbers: Any) -> int:
    """The set of `numbers` as bits."""
    mask = 0
    for number in numbers:
        mask |= 1 << number
    return mask


@dataclass(frozen=True, slots=True)
class KeyRange:
    """The keys from `low` up to, and not including, `high`.

    Examples
    --------
    >>> r = KeyRange(0, 100)
    >>> r & KeyRange(50, 200), len(r), 99 in r
    (KeyRange(low=50, high=100), 100, True)
    >>> r.split(2)
    [KeyRange(low=0, high=50), KeyRange(low=50, high=100)]
    """

    low: int
    high: int

    def __post_init__(self) -> None:
        if not is_whole(self.low) or not is_whole(self.high) or not 0 <= self.low <= self.high <= END_OF_KEYS:
            raise ParameterServerError(
                f"making KeyRange({self.low}, {self.high})",
                "no such range",
                "give whole numbers, 0 <= low <= high <= 2**64",
            )

    @property
    def size(self) -> int:
        """How many keys; ``len()`` says so, too, of fewer than 2**63."""
        return self.high - self.low

    def __len__(self) -> int:
        return self.size

    def __bool__(self) -> bool:
        return self.low < self.high

    def __contains__(self, key: object) -> bool:
        return isinstance(key, int | np.integer) and self.low <= int(key) < self.high

    def __and__(self, other: KeyRange) -> KeyRange:
        low = max(self.low, other.low)
        return KeyRange(low, max(low, min(self.high, other.high)))

    def __or__(self, other: KeyRange) -> KeyRange:
        if self.high < other.low or other.high < self.low:
            raise ParameterServerError(
                f"joining {self} and {other}", "there are keys between them", "use both, one after the other"
            )
        return KeyRange(min(self.low, other.low), max(self.high, other.high))

    def __add__(self, offset: int) -> KeyRange:
        return KeyRange(self.low + offset, self.high + offset)

    def split(self, parts: int) -> list[KeyRange]:
        """`parts` ranges side by side, as even as can be."""
        cuts = [self.low + self.size * i // parts for i in range(parts + 1)]
        return [KeyRange(a, b) for a, b in pairwise(cuts)]


class KeySet:
    """Keys that were checked once, for tables that share them and for requests that come again.

    Examples
    --------
    >>> keys = KeySet([1, 5, 9])
    >>> len(keys), len(keys.digest)
    (3, 16)
    """

    def __init__(self, keys: Any) -> None:
        self.keys = as_keys(keys, END_OF_KEYS, "making a KeySet").copy()
        self.last = int(self.keys[-1]) if len(self.keys) else -1
        self.plans: dict[tuple[int, int, int], Any] = {}  # how a transport reads them, by link, table and epoch

    def __len__(self) -> int:
        return len(self.keys)

    def __reduce__(self) -> tuple[Any, ...]:
        return KeySet, (self.keys,)

    @cached_property
    def digest(self) -> bytes:
        """128 bits that stand for the keys."""
        return digest(self.keys)
