"""Sorting by machine numbers gives what Python's own sort gives, to the last tie."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparklab.shuffle import order
from sparklab.shuffle.order import sorted_order

INTS = st.integers(-3, 3) | st.integers(-(2**63), 2**63 - 1)
FLOATS = st.sampled_from([0.0, -0.0, 1.0, float("inf"), -float("inf")]) | st.floats(allow_nan=False)
KEYS = st.one_of(
    st.lists(INTS),
    st.lists(FLOATS),
    st.lists(st.integers()),  # some beyond 64 bits
    st.lists(INTS | FLOATS),
    st.lists(st.booleans() | INTS),
    st.lists(st.text(max_size=2)),
    st.lists(st.tuples(INTS, FLOATS)),
)


@pytest.fixture(autouse=True)
def _few_keys_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order, "_WORTH_ARRAYS", 2)
    monkeypatch.setattr(order, "_WORTH_IMPORT", 2)


@given(KEYS, st.booleans())
def test_the_order_is_that_of_pythons_own_sort(keys: list[Any], ascending: bool) -> None:
    expected = sorted(range(len(keys)), key=keys.__getitem__, reverse=not ascending)
    assert sorted_order(keys, ascending) == expected


@pytest.mark.parametrize("keys", [[3, 1, 2], [3.0, 1.0, 2.0], [2**63 - 1, -(2**63)]])
def test_numbers_are_sorted_as_numbers(keys: list[Any]) -> None:
    assert order._of_numbers(keys, True) is not None


@pytest.mark.parametrize("keys", [[2**63, 1], [1.0, float("nan"), 0.5], [1, 1.0], [True, 2], ["a", "b"], [1, None]])
def test_what_numbers_could_order_otherwise_is_left_to_python(keys: list[Any]) -> None:
    assert order._of_numbers(keys, True) is None


def test_numpy_is_not_imported_for_a_few_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.delitem(sys.modules, "numpy", raising=False)
    assert order._of_numbers(list(range(1_000)), True) is None
    assert "numpy" not in sys.modules
