"""What the driver cannot merge of the partitions' results: in three parts, and the TypeError that PySpark raises."""

from __future__ import annotations

import operator
import pickle
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any, Self

import pytest

from sparklab import SparkContext
from sparklab.errors import UserCodeError

IN_THE_DRIVER: dict[str, Callable[[SparkContext], Any]] = {
    "max": lambda sc: sc.parallelize([1, "a"], 2).max(),
    "top": lambda sc: sc.parallelize([1, "a"], 2).top(1),
    "collectAsMap": lambda sc: sc.parallelize([([1], 1), ([2], 2)], 2).collectAsMap(),
    "sum": lambda sc: sc.parallelize([Decimal(1), 1.5], 2).sum(),
    "stats": lambda sc: sc.parallelize([Metres(1), Feet(1)], 2).stats(),
    "mean": lambda sc: sc.parallelize([Metres(1), Feet(1)], 2).mean(),
}


class Metres(float):
    """A length, which cannot be calculated with in one with a length of another unit."""

    def _with(self, other: Any, result: Callable[[float, float], float]) -> Self:
        known = not isinstance(other, Metres) or type(other) is type(self)
        return type(self)(result(float(self), float(other))) if known else NotImplemented

    def __sub__(self, other: Any) -> Self:
        return self._with(other, operator.sub)

    def __radd__(self, other: Any) -> Self:
        return self._with(other, operator.add)

    def __truediv__(self, other: Any) -> Self:
        return self._with(other, operator.truediv)

    def __rsub__(self, other: Any) -> Self:
        return self._with(other, lambda a, b: b - a)


class Feet(Metres):
    pass


@pytest.mark.parametrize("action", IN_THE_DRIVER)
def test_what_the_driver_cannot_merge_is_a_type_error_in_three_parts(sc_threads: SparkContext, action: str) -> None:
    with pytest.raises(TypeError) as caught:
        IN_THE_DRIVER[action](sc_threads)

    assert isinstance(caught.value, UserCodeError)
    assert caught.value.attempted.startswith(f"running {action} at test_rdd_merges.py:")
    assert caught.value.found
    assert caught.value.do
    assert type(caught.value.__cause__) is TypeError
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (type(copy), str(copy)) == (type(caught.value), str(caught.value))


def test_only_text_is_advised_to_become_a_float(sc_threads: SparkContext) -> None:
    hour = timedelta(hours=1)
    for text in ("1", b"1"):
        with pytest.raises(UserCodeError) as caught:
            sc_threads.parallelize([text], 1).sum()
        assert "map(float).sum()" in caught.value.do
    for others in ([hour, hour], [Decimal(1), 1.5], [None, 1], [[1], [2]]):
        for partitions in (1, 2):
            with pytest.raises(UserCodeError) as caught:
                sc_threads.parallelize(others, partitions).sum()
            assert "unsupported operand type" in caught.value.found
            assert "float" not in caught.value.do
            assert "reduce(lambda a, b: a + b)" in caught.value.do
    assert sc_threads.parallelize([hour, hour], 2).reduce(lambda a, b: a + b) == 2 * hour
