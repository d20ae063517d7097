"""Names that need a JVM raise, and say what to use instead."""

from __future__ import annotations

import copy
import importlib.util
import pickle
import sys
from typing import Any

import pytest

import sparklab
from sparklab.context import SparkContext
from sparklab.errors import ClosureError
from sparklab.events.run import Run
from sparklab.jvmonly import ADVICE, NOT_HERE, explain_imports
from sparklab.rdd import RDD


@pytest.mark.parametrize("name", ADVICE)
def test_a_name_that_needs_a_jvm_raises_with_advice(name: str) -> None:
    owner, _, method = name.partition(".")
    kind = getattr(sparklab, owner)
    target = getattr(kind, method)
    if isinstance(target, property):
        assert not hasattr(object.__new__(kind), method)
        target = target.fget
    with pytest.raises(NotImplementedError) as raised:
        target(*([] if method.endswith("SystemProperty") else [object.__new__(kind)]))
    text = str(raised.value)
    assert text.startswith(f"{name} needs Spark's JVM")
    assert text.endswith(ADVICE[name] + ".")


def test_arguments_do_not_matter() -> None:
    with pytest.raises(NotImplementedError, match="saveAsTextFile"):
        sparklab.RDD.saveAsSequenceFile(object.__new__(sparklab.RDD), "path", compressionCodecClass="x")


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("from sparklab.mllib.regression import LabeledPoint", "sparklab.mllib"),
        ("import sparklab.ml.feature", "sparklab.ml"),
        ("from sparklab import ml", "sparklab.ml"),
        ("from sparklab.streaming import StreamingContext", "sparklab.streaming"),
        ("import sparklab.pandas as ps", "sparklab.pandas"),
        ("from sparklab.sql.functions import col", "sparklab.sql.functions"),
        ("from sparklab.sql.types import StructType", "sparklab.sql.types"),
        ("from sparklab import SQLContext", "sparklab.SQLContext"),
        ("from sparklab import SparkContext, HiveContext", "sparklab.HiveContext"),
    ],
)
def test_an_import_of_what_is_left_out_says_what_to_use(line: str, name: str) -> None:
    with pytest.raises(ModuleNotFoundError) as raised:
        exec(line, {})
    text = str(raised.value)
    assert text == f"{name} is a part of PySpark that sparklab does without; {NOT_HERE[name]}."


def test_other_imports_fail_as_python_has_them_fail() -> None:
    for line in ("import sparklab.nothing", "import sparklab.sql.nothing"):
        with pytest.raises(ModuleNotFoundError, match="No module named"):
            exec(line, {})
    for line in ("from sparklab import SparkContxt", "from sparklab.sql import SparkSesion"):
        with pytest.raises(ImportError, match="cannot import name"):
            exec(line, {})
    assert not hasattr(sparklab, "SQLContext")
    assert importlib.util.find_spec("sparklab.nothing") is None
    before = list(sys.meta_path)
    explain_imports()
    assert sys.meta_path == before


def unmade() -> Any:
    return object.__new__(RDD)


@pytest.mark.parametrize(
    ("name", "meant"),
    [("flatmap", "flatMap"), ("reduce_by_key", "reduceByKey"), ("colect", "collect"), ("groupbykey", "groupByKey")],
)
def test_a_mistyped_name_of_an_rdd_is_answered_with_the_nearest(name: str, meant: str) -> None:
    with pytest.raises(AttributeError) as raised:
        getattr(unmade(), name)
    assert str(raised.value) == f"an RDD has no {name}: did you mean `{meant}`?"


@pytest.mark.parametrize(
    ("thing", "name", "said"),
    [
        (object.__new__(SparkContext), "paralelize", "a SparkContext has no paralelize: did you mean `parallelize`?"),
        (object.__new__(SparkContext), "textfile", "a SparkContext has no textfile: did you mean `textFile`?"),
        (Run(), "bytes_shufled", "a Run has no bytes_shufled: did you mean `bytes_shuffled`?"),
    ],
)
def test_a_mistyped_name_of_a_context_or_a_run_is_answered_with_the_nearest(thing: Any, name: str, said: str) -> None:
    with pytest.raises(AttributeError) as raised:
        getattr(thing, name)
    assert str(raised.value) == said
    assert not hasattr(thing, "_repr_nothing_")


def test_a_name_that_is_like_none_is_said_to_be_missing() -> None:
    with pytest.raises(AttributeError, match=r"^an RDD has no xylophone$"):
        unmade().xylophone  # noqa: B018


def test_what_tools_ask_an_rdd_for_is_answered_as_ever() -> None:
    for name in ("_repr_html_", "_ipython_display_", "__array__", "__setstate__"):
        with pytest.raises(AttributeError, match="object has no attribute"):
            getattr(unmade(), name)
    rdd = unmade()
    rdd._id, rdd.operator, rdd.call_site = 3, "map", "here"
    for carry in (copy.copy, pickle.dumps):
        with pytest.raises(ClosureError, match="RDD 3"):  # it refuses to travel, in its own words
            carry(rdd)


def test_a_property_that_fails_inside_tells_of_its_own_failure() -> None:
    class Odd(RDD):
        @property
        def colour(self) -> Any:
            return None.shade  # type: ignore[attr-defined]

    with pytest.raises(AttributeError, match="'NoneType' object has no attribute 'shade'"):
        object.__new__(Odd).colour  # noqa: B018
