"""Names are importable from where a PySpark user looks for them."""

from __future__ import annotations

import importlib
import inspect

import pytest

import sparklab
from sparklab import SparkContext

MODULES = {
    "accumulators": ["Accumulator", "AccumulatorParam", "INT_ACCUMULATOR_PARAM", "FLOAT_ACCUMULATOR_PARAM"],
    "broadcast": ["Broadcast"],
    "context": ["SparkContext"],
    "core.broadcast": ["Broadcast"],
    "core.context": ["SparkContext"],
    "core.files": ["SparkFiles"],
    "core.rdd": ["RDD", "portable_hash"],
    "core.status": ["StatusTracker"],
    "files": ["SparkFiles"],
    "sql": ["SparkSession"],
    "conf": ["SparkConf"],
    "rdd": ["RDD", "portable_hash"],
    "resultiterable": ["ResultIterable"],
    "statcounter": ["StatCounter"],
    "status": ["StatusTracker", "SparkJobInfo", "SparkStageInfo", "SparkExecutorInfo"],
    "storagelevel": ["StorageLevel"],
    "taskcontext": ["TaskContext"],
    "util": ["InheritableThread", "inheritable_thread_target"],
}


@pytest.mark.parametrize(("module", "name"), [(m, n) for m, names in MODULES.items() for n in names])
def test_a_name_is_where_pyspark_has_it(module: str, name: str) -> None:
    assert hasattr(importlib.import_module(f"sparklab.{module}"), name)


@pytest.mark.parametrize("name", sparklab.__all__)
def test_a_public_name_is_at_the_top(name: str) -> None:
    assert getattr(sparklab, name) is not None


@pytest.mark.parametrize(
    ("name", "signature"),
    [
        ("accumulator", "(value, accum_param=None)"),
        ("addArchive", "(path)"),
        ("addFile", "(path, recursive=False)"),
        ("addPyFile", "(path)"),
        ("broadcast", "(value)"),
        ("setLogLevel", "(logLevel)"),
        ("addJobTag", "(tag)"),
        ("cancelJobGroup", "(groupId)"),
        ("cancelJobsWithTag", "(tag)"),
        ("setInterruptOnCancel", "(interruptOnCancel)"),
        ("setJobDescription", "(value)"),
        ("setJobGroup", "(groupId, description, interruptOnCancel=False)"),
        ("setLocalProperty", "(key, value)"),
    ],
)
def test_a_method_of_the_context_has_pysparks_signature(name: str, signature: str) -> None:
    parameters = list(inspect.signature(getattr(SparkContext, name)).parameters.values())[1:]
    plain = [p.replace(annotation=inspect.Parameter.empty) for p in parameters]
    assert str(inspect.Signature(plain)) == signature
