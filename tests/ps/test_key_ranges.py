"""The algebra of key ranges is that of sets, also where they reach across all 64 bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparklab import ps
from sparklab.errors import ParameterServerError
from sparklab.ps.keys import END_OF_KEYS, KeyRange

ranges = st.tuples(st.integers(0, 40), st.integers(0, 40)).map(lambda ends: KeyRange(min(ends), max(ends)))
EVERYTHING = KeyRange(0, END_OF_KEYS)


def keys_of(some: KeyRange) -> set[int]:
    return set(range(some.low, some.high))


@given(ranges, ranges)
def test_what_two_ranges_share_is_what_their_sets_share(a: KeyRange, b: KeyRange) -> None:
    assert keys_of(a & b) == keys_of(a) & keys_of(b) == keys_of(b & a)


@given(ranges, ranges)
def test_ranges_side_by_side_join_and_others_are_refused(a: KeyRange, b: KeyRange) -> None:
    if a.high < b.low or b.high < a.low:
        with pytest.raises(ParameterServerError, match="there are keys between them"):
            a | b
    else:
        assert keys_of(a) | keys_of(b) <= keys_of(a | b)
        if a and b:
            assert keys_of(a | b) == keys_of(a) | keys_of(b)


@given(ranges, st.integers(1, 50))
def test_the_parts_of_a_range_are_even_and_cover_it_once(some: KeyRange, parts: int) -> None:
    cut = some.split(parts)
    assert [key for part in cut for key in range(part.low, part.high)] == list(range(some.low, some.high))
    assert max(map(len, cut)) - min(map(len, cut)) <= 1


@given(ranges, st.integers(0, 60), st.integers(0, 50))
def test_a_range_moves_by_an_offset_and_knows_its_keys(some: KeyRange, key: int, offset: int) -> None:
    assert (key in some) == (key in keys_of(some)) == (np.uint64(key) in some)
    assert keys_of(some + offset) == {k + offset for k in keys_of(some)}
    assert (some.size, bool(some)) == (len(keys_of(some)), some.low < some.high)


def test_the_range_of_all_keys_is_cut_and_asked_as_any_other() -> None:
    halves = EVERYTHING.split(2)
    assert halves == [KeyRange(0, 1 << 63), KeyRange(1 << 63, END_OF_KEYS)]
    assert halves[0] | halves[1] == EVERYTHING
    assert (EVERYTHING.size, bool(EVERYTHING), END_OF_KEYS - 1 in EVERYTHING) == (1 << 64, True, True)


@pytest.mark.parametrize("kind", [{"num_keys": 60}, {"num_keys": 60, "sparse": True}])
@pytest.mark.parametrize("width", [1, 3])
def test_a_range_pushed_and_pulled_is_what_its_keys_would_be(kind: dict[str, Any], width: int) -> None:
    rng = np.random.default_rng(5)
    expected = np.zeros((60, width))
    with ps.LocalGroup(num_servers=3, replicas=1) as group:
        table = group.table("w", width=width, dtype="float64", update=ps.Add(), apply="arrival", workers=1, **kind)
        with table.worker(0) as w:
            for step, (low, high) in enumerate([(0, 60), (7, 31), (30, 31), (12, 12), (59, 60), (3, 58)]):
                rows = rng.normal(size=(high - low, width))
                expected[low:high] += rows
                ts = w.push_range(low, high, rows) if step % 2 else w.push(KeyRange(low, high), rows)
                w.wait(ts)
                if step == 3:
                    group.remove_server(0)
                a, b = sorted(rng.integers(0, 61, 2).tolist())
                for found in (w.wait(w.pull_range(a, b)), w.wait(w.pull(KeyRange(a, b))), w.get_range(a, b)):
                    if kind.get("sparse"):
                        assert found[0].tolist() == list(range(a, b))
                        found = found[1]
                    assert np.allclose(found.reshape(-1, width), expected[a:b])
                one_by_one = w.get(np.arange(60)).reshape(-1, width)
                assert np.allclose(one_by_one, expected)


@pytest.mark.parametrize("ends", [(-1, 3), (5, 2), (0, END_OF_KEYS + 1)])
def test_what_is_no_range_is_refused(ends: tuple[int, int]) -> None:
    with pytest.raises(ParameterServerError, match=r"(?s)making KeyRange.*To do: give whole numbers, 0 <= low"):
        KeyRange(*ends)


@pytest.mark.parametrize(
    "ask",
    [
        lambda w: w.push_range(90, 101, np.ones(11)),
        lambda w: w.pull_range(90, 101),
        lambda w: w.pull_range(5, 2),
        lambda w: w.push_range(-1, 1, np.ones(2)),
    ],
)
def test_a_range_that_is_not_of_the_table_is_refused_and_the_worker_goes_on(ask: Callable[[Any], int]) -> None:
    with ps.LocalGroup(num_servers=2) as server:
        table = server.table("w", num_keys=100, update=ps.Add(), consistency=ps.ASP(), apply="arrival", workers=1)
        with table.worker(0) as w:
            with pytest.raises(ParameterServerError, match="(?s)Found: .*To do: "):
                w.wait(ask(w))
            w.wait(w.push_range(90, 100, np.ones(10)))
            assert w.wait(w.pull_range(89, 100)).tolist() == [0.0] + [1.0] * 10
