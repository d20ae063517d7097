"""Accumulators on the driver, and what the scheduler lets count."""

from __future__ import annotations

import gc
import pickle

import pytest

from sparklab import AccumulatorParam
from sparklab.accumulators import (
    COMPLEX_ACCUMULATOR_PARAM,
    FLOAT_ACCUMULATOR_PARAM,
    INT_ACCUMULATOR_PARAM,
    apply_updates,
    new_accumulator,
)
from sparklab.rdd.running import running
from tests.support.tasks import a_task


class Sets(AccumulatorParam):  # type: ignore[type-arg]
    def zero(self, value: set[int]) -> set[int]:
        return set()

    def addInPlace(self, value1: set[int], value2: set[int]) -> set[int]:
        value1 |= value2
        return value1


def test_numbers_have_a_param_already() -> None:
    for value, param in (
        (1, INT_ACCUMULATOR_PARAM),
        (1.5, FLOAT_ACCUMULATOR_PARAM),
        (2j, COMPLEX_ACCUMULATOR_PARAM),
    ):
        acc = new_accumulator(value, None)
        acc += value
        assert acc.value == 2 * value
        assert acc.accum_param is param
        assert type(param.zero(value)) is type(value)


def test_other_types_need_a_param_and_are_told_so() -> None:
    with pytest.raises(TypeError, match="No default accumulator param"):
        new_accumulator([1.0], None)


def test_value_can_be_assigned_on_the_driver() -> None:
    acc = new_accumulator(1, None)
    acc.value = 7
    assert (str(acc), repr(acc)) == ("7", f"Accumulator<id={acc.aid}, value=7>")


def test_inside_a_task_value_can_neither_be_read_nor_assigned() -> None:
    acc = new_accumulator(1, None)
    travelled = pickle.loads(pickle.dumps(acc))
    for each in (acc, travelled):
        with running(a_task()):
            with pytest.raises(RuntimeError, match="cannot be accessed inside tasks"):
                _ = each.value
            with pytest.raises(RuntimeError, match="cannot be accessed inside tasks"):
                each.value = 3


def test_each_attempt_adds_to_a_zero_of_its_own() -> None:
    acc = new_accumulator({0}, Sets())
    travelled = pickle.loads(pickle.dumps(acc))
    first, second = a_task(), a_task()
    with running(first):
        travelled.add({1})
    with running(second):
        travelled.add({2})
    assert (first.updates, second.updates) == ({acc.aid: {1}}, {acc.aid: {2}})
    assert acc.value == {0}
    assert list(apply_updates(pickle.dumps(first.updates))) == []
    assert acc.value == {0, 1}


def test_updates_of_an_accumulator_that_nobody_reads_are_dropped() -> None:
    acc = new_accumulator(0, None)
    aid = acc.aid
    del acc
    gc.collect()
    assert list(apply_updates(pickle.dumps({aid: 3}))) == []


def test_a_failing_param_spoils_neither_the_others_nor_the_driver() -> None:
    bad, good = new_accumulator({0}, Sets()), new_accumulator(0, None)
    (trouble,) = apply_updates(pickle.dumps({bad.aid: 5, good.aid: 2}))
    assert "TypeError" in trouble
    assert good.value == 2


def test_updates_that_cannot_be_read_are_reported() -> None:
    (trouble,) = apply_updates(b"no pickle")
    assert "cannot be read" in trouble
