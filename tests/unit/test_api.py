"""Every name of PySpark's RDD API is here, with the same parameters; names that need a JVM raise."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from typing import Any

import pytest

import sparklab
from sparklab import SparkContext
from sparklab.rdd import portable_hash
from tests.compat.names import LISTED, Name

HOMES = {
    "StatCounter": "statcounter",
    "ResultIterable": "resultiterable",
    "SparkJobInfo": "status",
    "SparkStageInfo": "status",
    "pyspark": "",
    "pyspark.core.rdd": "core.rdd",
    "pyspark.accumulators": "accumulators",
}
"""Where an owner of names stands that is not at the top: a module of the package, or the owner of free names."""


def owner_of(name: Name, package: str) -> Any:
    """The class, or the module, that has `name`."""
    home = HOMES.get(name.owner, "")
    found = importlib.import_module(f"{package}.{home}" if home else package)
    return found if name.owner.startswith("pyspark") else getattr(found, name.owner)


def parameters_of(function: Any) -> list[str]:
    """Names and defaults, without types and without self or cls."""
    found = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name in ("self", "cls"):
            continue
        star = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
        default = parameter.default
        text = "portable_hash" if default is portable_hash else getattr(default, "__name__", None) or repr(default)
        text = "<lambda>" if text == "identity" else text
        found.append(star + parameter.name + ("" if default is parameter.empty else f"={text}"))
    return found


def recorded(signature: str) -> list[str]:
    """The same, of a line of the list."""
    inside = signature.removeprefix("classmethod ").strip("()")
    if not inside:
        return []
    found, depth = [""], 0
    for letter in inside:
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if letter == "," and not depth:
            found.append("")
        else:
            found[-1] += letter
    return [each.strip() + (")" if each.count("(") > each.count(")") else "") for each in found]


CALLABLE = [n for n in LISTED if n.mark != "JVM-only" and n.signature.startswith(("(", "classmethod")) and n.signature
            not in ("(property)", "(attribute)")]  # fmt: skip
IDS = {n: f"{n.owner}.{n.name}" for n in LISTED}
# A named tuple's and a native class's own parameters, and a thread's, cannot be asked for.
SAME_BY_BIRTH = {"pyspark.core.rdd.BoundedFloat", "InheritableThread.start"}


def test_the_list_has_all_names() -> None:
    marks = [name.mark for name in LISTED]
    assert (len(LISTED), marks.count("core"), marks.count("nice"), marks.count("JVM-only")) == (301, 149, 130, 22)


@pytest.mark.parametrize("name", LISTED, ids=IDS.get)
def test_a_listed_name_is_there(name: Name, sc_threads: SparkContext) -> None:
    owner = owner_of(name, "sparklab")
    if name.name in dir(owner) or (inspect.ismodule(owner) and hasattr(owner, name.name)):
        return
    instances: dict[str, Any] = {
        "RDD": lambda: sc_threads.range(3),
        "SparkContext": lambda: sc_threads,
        "Accumulator": lambda: sc_threads.accumulator(0),
        "ResultIterable": lambda: sc_threads.parallelize([(1, 2)]).groupByKey().first()[1],
        "StorageLevel": lambda: sparklab.StorageLevel.NONE,
        "BarrierTaskInfo": lambda: sparklab.BarrierTaskInfo("host:1"),
    }
    assert hasattr(instances[name.owner](), name.name)


@pytest.mark.parametrize("name", [n for n in CALLABLE if IDS[n] not in SAME_BY_BIRTH], ids=IDS.get)
def test_a_listed_name_takes_the_same_parameters(name: Name) -> None:
    ours = parameters_of(getattr(owner_of(name, "sparklab"), name.name))
    assert ours == recorded(name.signature)


@pytest.mark.skipif(importlib.util.find_spec("pyspark") is None, reason="PySpark is not installed")
@pytest.mark.parametrize("name", [n for n in CALLABLE if IDS[n] not in SAME_BY_BIRTH], ids=IDS.get)
def test_the_recorded_parameters_are_pysparks(name: Name) -> None:
    theirs = parameters_of(getattr(owner_of(name, "pyspark"), name.name))
    assert theirs == recorded(name.signature)


@pytest.mark.parametrize("name", ["_jsc", "_jvm", "_gateway"])
def test_the_ways_into_the_jvm_raise_with_advice(sc_threads: SparkContext, name: str) -> None:
    with pytest.raises(
        NotImplementedError, match=f"SparkContext.{name} needs Spark's JVM, which sparklab does without; "
    ):
        getattr(sc_threads, name)


NO_FUNCTIONS = {"RDD.context", "SparkContext.applicationId", "SparkContext.startTime"}
"""Properties of PySpark's that are attributes here, set when the object is made."""


@pytest.mark.parametrize(
    "name",
    [
        n
        for n in LISTED
        if n.mark != "JVM-only"
        and n.signature.startswith(("(", "classmethod"))
        and n.signature != "(attribute)"
        and not n.name.startswith("__")
        and IDS[n] not in NO_FUNCTIONS
    ],
    ids=IDS.get,
)
def test_a_public_function_shows_an_example(name: Name) -> None:
    owner = owner_of(name, "sparklab")
    found = inspect.getattr_static(owner, name.name, None) or getattr(owner, name.name)
    function = getattr(found, "fget", None) or getattr(found, "__func__", None) or found
    assert ">>> " in (function.__doc__ or ""), f"{IDS[name]} has no example in its docstring"
