"""The marks under a user's line point to what raised there, also when the traceback has travelled."""

from __future__ import annotations

import pickle
import traceback
from typing import Any

import pytest

from sparklab.cluster import failures, reports
from sparklab.cluster.positions import placed
from sparklab.errors import UserCodeError


def ratio(record: dict[str, int]) -> float:
    return record["a"] + 10 / record["b"]


def several_lines(record: dict[str, int]) -> list[int]:
    return [
        record["a"],
        record["b"] + record["missing"],
    ]


def chained(record: dict[str, int]) -> float:
    try:
        return ratio(record)
    except ZeroDivisionError as error:
        raise ValueError(str(error) + "!") from error


def shown(error: BaseException) -> list[str]:
    return "".join(traceback.format_exception(error)).splitlines()


@pytest.fixture(autouse=True)
def tracebacks_travel() -> None:
    pytest.importorskip("distributed")


@pytest.mark.parametrize("function", [ratio, several_lines, chained])
def test_a_traceback_that_travelled_marks_what_it_marked_before(function: Any) -> None:
    try:
        function({"a": 1, "b": 0})
    except Exception as error:
        wire = pickle.loads(pickle.dumps(failures.wire_error(error, None)))
        before = shown(error)
    said = reports._user_error(wire, 0).error
    assert isinstance(said, UserCodeError)
    assert said.__cause__ is not None

    assert any("^" in line for line in before)
    assert shown(said.__cause__) == before


def test_without_columns_nothing_is_marked() -> None:
    with pytest.raises(ZeroDivisionError) as failed:
        ratio({"a": 1, "b": 0})
    error = failed.value

    placed(error, {"": tuple((line, line, -1, -1) for _, line in traceback.walk_tb(error.__traceback__))})

    assert not any("^" in line for line in shown(error))
    assert any('10 / record["b"]' in line for line in shown(error))
