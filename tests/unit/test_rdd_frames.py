"""Tables made of records of many forms."""

from __future__ import annotations

import builtins
import sys
from collections import namedtuple
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from sparklab import SparkContext
from sparklab.errors import SparklabError, UserCodeError
from sparklab.rdd.frames import needed

Point = namedtuple("Point", "x y")


@pytest.mark.parametrize(
    ("records", "columns", "expected"),
    [
        ([("a", 1), ("b", 2)], None, {"_1": ["a", "b"], "_2": [1, 2]}),
        ([("a", 1), ("b", 2)], ["x", "y"], {"x": ["a", "b"], "y": [1, 2]}),
        ([Point(1, 2), Point(3, 4)], None, {"x": [1, 3], "y": [2, 4]}),
        ([{"a": 1}, {"a": 2, "b": "t"}], None, {"a": [1, 2], "b": [None, "t"]}),
        ([1.5, 2.5], None, {"value": [1.5, 2.5]}),
        (["p", "q"], ["letter"], {"letter": ["p", "q"]}),
        ([np.array([1, 2]), np.array([3, 4])], None, {"_1": [1, 3], "_2": [2, 4]}),
        ([np.array([[1, 2], [5, 6]]), np.array([[3, 4]])], ["x", "y"], {"x": [1, 5, 3], "y": [2, 6, 4]}),
        ([{"x": np.arange(2)}, {"x": np.arange(3)}], None, {"x": [0, 1, 0, 1, 2]}),
        ([pa.table({"x": [1]}), pa.table({"x": [2, 3]})], None, {"x": [1, 2, 3]}),
        ([pa.record_batch({"x": [1]}), pa.record_batch({"x": [2]})], None, {"x": [1, 2]}),
        ([pd.DataFrame({"x": [1]}), pd.DataFrame({"x": [2]})], None, {"x": [1, 2]}),
    ],
)
@pytest.mark.parametrize("slices", [1, 2, 3])
def test_records_of_many_forms_become_tables(
    sc_threads: SparkContext, records: list[Any], columns: list[str] | None, expected: Any, slices: int
) -> None:
    rdd = sc_threads.parallelize(records, slices)
    table = rdd.toArrow(columns)
    assert table.to_pydict() == expected
    found = rdd.toPandas(columns)
    assert list(found.columns) == list(expected)
    assert found.astype(object).where(found.notna(), None).to_dict("list") == expected


def test_types_that_differ_between_partitions_are_widened(sc_threads: SparkContext) -> None:
    table = sc_threads.parallelize([{"x": None}, {"x": 1}, {"x": 2.5}], 3).toArrow()
    assert str(table.schema.field("x").type) == "double"
    assert table["x"].to_pylist() == [None, 1.0, 2.5]


def test_an_rdd_without_records_is_an_empty_table(sc_threads: SparkContext) -> None:
    rdd = sc_threads.parallelize([], 2)
    assert list(rdd.toPandas(["a"]).columns) == ["a"]
    assert len(rdd.toPandas()) == 0
    assert rdd.toArrow(["a"]).column_names == ["a"]


def test_names_that_do_not_fit_are_an_error(sc_threads: SparkContext) -> None:
    with pytest.raises(UserCodeError, match="3 names for 2 columns"):
        sc_threads.parallelize([(1, 2)], 1).toPandas(["a", "b", "c"])


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, sc_threads: SparkContext) -> None:
    real = builtins.__import__

    def without_pandas(name: str, *rest: Any) -> Any:
        if name.partition(".")[0] == "pandas":
            raise ImportError("No module named 'pandas'")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_pandas)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(SparklabError, match=r"(?s)pandas cannot be imported.*pip install pandas"):
        sc_threads.parallelize([1], 1).toPandas()
    with pytest.raises(SparklabError, match="pip install pandas"):
        sc_threads.fromPandas(None)
    with pytest.raises(SparklabError, match="pip install no_such_package"):
        needed("no_such_package.part", "trying")


def test_from_pandas_takes_frames_alone(sc_threads: SparkContext) -> None:
    with pytest.raises(SparklabError, match=r"give fromPandas a pandas.DataFrame"):
        sc_threads.fromPandas([1, 2])


def test_partitions_whose_columns_differ_in_type_are_an_error_that_says_which(sc_threads: SparkContext) -> None:
    with pytest.raises(SparklabError, match=r"(?s)toArrow at test_rdd_frames.py:\d+.*_1.*To do: give each column one"):
        sc_threads.parallelize([(1, "a"), ("b", "c")], 2).toArrow()
