"""The examples in PySpark's own docstrings, run on sparklab: ``make compat ARGS=--docs``.

They are read from the installed package; nothing of them is kept here. The only change: ``pyspark`` in imports is
``sparklab``. A docstring passes when every example in it prints what it says.
"""

from __future__ import annotations

import ast
import doctest
import importlib
import io
import re
import sys
import tempfile
import types
import warnings
from collections.abc import Iterator
from contextlib import redirect_stdout
from typing import Any, Final, NamedTuple

from tests.compat.names import JVM_ONLY

MODULES: Final = (
    "core.rdd", "core.context", "core.broadcast", "core.files", "core.status", "accumulators", "conf", "join",
    "profiler", "rddsampler", "resultiterable", "serializers", "shuffle", "statcounter", "storagelevel",
    "taskcontext", "util",
)  # fmt: skip

INTERNAL: Final = "PySpark's own machinery, none of its documented API"
JVM_CLASS: Final = "prints the name of a class of the JVM"
WHOLE: Final = {
    **{f"{owner}.{name}": "a name that needs the JVM" for owner, names in JVM_ONLY.items() for name in names},
    "SparkContext.uiWebUrl": "there is no web page of Spark's",
    "RDD.toDebugString": JVM_CLASS,
    "shuffle.": INTERNAL,
    "util.VersionUtils": INTERNAL,
    "util._parse_memory": INTERNAL,
    "util.is_remote_only": INTERNAL,
    "util.try_simplify_traceback": INTERNAL,
}
"""Docstrings that are not run, by class and name or by the beginning of the module, and why."""

PARTS: Final = (
    ("SparkContext.emptyRDD", "sc.emptyRDD()\n", JVM_CLASS),
    ("conf.SparkConf", "sparkHome", "a name that needs the JVM"),
    ("conf.SparkConf", "_jconf", "reaches into the JVM"),
    ("conf.SparkConf", "toDebugString", "shows what was set in the JVM"),
    ("serializers", "_jrdd", "reaches into the JVM"),
    ("StatCounter.asDict", "", "shows what Python 2 printed; PySpark does not run it either"),
)
"""Examples that are not run: of which docstring, a part of their source, and why."""


class Outcome(NamedTuple):
    """How a docstring's examples went."""

    name: str
    examples: int
    left_out: tuple[str, ...]  # reasons, one per example that was not run
    excluded: str  # why it was not run; empty where it was
    report: str  # of the failures; empty where all passed


def docstrings() -> Iterator[tuple[str, doctest.DocTest]]:
    """Every docstring with examples of PySpark's modules, each once."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    for module in MODULES:
        found = finder.find(importlib.import_module(f"pyspark.{module}"), f"pyspark.{module}")
        for test in found:
            if test.examples:
                yield test.name.removeprefix("pyspark."), test


def redirected(name: str, test: doctest.DocTest) -> tuple[str, ...]:
    """`test` has the same examples, of sparklab. Returns why some are left out."""
    reasons, kept, sql = [], [], False
    for example in test.examples:
        sql = sql or re.match(r"from pyspark\.sql(?!.*import SparkSession)", example.source) is not None
        found = [reason for where, part, reason in PARTS if name.endswith(where) and part in example.source]
        if found or sql:
            reasons.append(found[0] if found else "Spark SQL")
            continue
        example.source = re.sub(r"\bpyspark\b", "sparklab", example.source)
        example.want = re.sub(r"\bpyspark\b", "sparklab", example.want)
        if example.exc_msg is not None and "Py4J" in example.exc_msg:
            example.exc_msg = "...\n"  # how the JVM's bridge wraps errors is no part of the API: any error will do
        kept.append(example)
    test.examples = kept
    return tuple(reasons)


class Checker(doctest.OutputChecker):
    """Takes literals that are equal for the same output: sets print in any order."""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        if super().check_output(want, got, optionflags):
            return True
        try:
            return bool(ast.literal_eval(want) == ast.literal_eval(got))
        except (ValueError, SyntaxError):
            return False


class Contexts:
    """A context that docstrings share until one of them makes or stops its own."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._own: Any = None

    def get(self, test: doctest.DocTest) -> Any:
        """The context for `test`, None where it makes its own."""
        import sparklab

        own = any(re.search(r"SparkContext\(|\.stop\(\)", example.source) for example in test.examples)
        if self._own is not None and (own or self._own._stopped):
            self.stop()
        if own:
            return None
        if self._own is None:
            self._own = sparklab.SparkContext("local[4]", "docs")
            self._own.setCheckpointDir(self._folder)
        return self._own

    def stop(self) -> None:
        """None is left."""
        import sparklab

        for context in (self._own, sparklab.SparkContext._active):
            if context is not None:
                context.stop()
        self._own = None


def run(name: str, test: doctest.DocTest, contexts: Contexts) -> Outcome:
    """The examples of one docstring."""
    short = ".".join(name.split(".")[-2:])
    excluded = WHOLE.get(short) or next((why for start, why in WHOLE.items() if name.startswith(start)), "")
    if excluded:
        return Outcome(name, len(test.examples), (), excluded, "")
    left_out = redirected(name, test)
    sc = contexts.get(test)
    test.globs = _globals(name) | {"sc": sc, "spark": _Session(sc), "__name__": "__main__"}
    out = io.StringIO()
    runner = doctest.DocTestRunner(Checker(), optionflags=doctest.ELLIPSIS, verbose=False)
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        runner.run(test, out=out.write)
    if sc is None:
        contexts.stop()
    else:
        sc.clearJobTags()
        for key in list(sc.local_properties()):
            sc.setLocalProperty(key, None)
    return Outcome(name, len(test.examples), left_out, "", out.getvalue() if runner.failures else "")


def _globals(name: str) -> dict[str, Any]:
    """What the examples find in their module: modules of Python's, and sparklab's things of the same names."""
    import sparklab

    module = next(m for m in MODULES if name.startswith(m))
    theirs = importlib.import_module(f"pyspark.{module}")
    try:
        ours: Any = importlib.import_module(f"sparklab.{module}")
    except ModuleNotFoundError:
        ours = sparklab
    found: dict[str, Any] = {}
    for key, value in vars(theirs).items():
        if isinstance(value, types.ModuleType) and not value.__name__.startswith("pyspark"):
            found[key] = value
        elif not key.startswith("_"):
            found[key] = getattr(ours, key, getattr(sparklab, key, None))
    return {key: value for key, value in found.items() if value is not None}


class _Session:
    """As much of a SparkSession as the examples use."""

    def __init__(self, sc: Any) -> None:
        self.sparkContext = sc


def main(names: list[str]) -> int:
    """The table is printed; 0 where everything that was run passed."""
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="docs-") as folder:
        contexts = Contexts(folder)
        for name, test in docstrings():
            if not names or any(each in name for each in names):
                outcomes.append(run(name, test, contexts))
        contexts.stop()
    for each in outcomes:
        word = f"not run: {each.excluded}" if each.excluded else "FAILS" if each.report else "passes"
        tail = f", without {len(each.left_out)}: {', '.join(sorted(set(each.left_out)))}" if each.left_out else ""
        print(f"{each.name:64} {each.examples:3}  {word}{tail}")
        if each.report:
            print("    " + each.report.replace("\n", "\n    "))
    ran = [each for each in outcomes if not each.excluded]
    passed = [each for each in ran if not each.report]
    print(
        f"docstrings passed / run: {len(passed)} / {len(ran)}, of {len(outcomes)} with examples; "
        f"examples in those that passed: {sum(each.examples for each in passed)}, "
        f"left out of them: {sum(len(each.left_out) for each in ran)}"
    )
    return 0 if len(passed) == len(ran) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
