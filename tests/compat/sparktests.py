"""PySpark's own unit tests, run on sparklab: ``make compat ARGS="--tests FOLDER"``.

FOLDER is ``python/pyspark/tests`` of a checkout of Apache Spark (PySpark's package does not have them); nothing of them
is kept here. The only change: ``pyspark`` in imports is ``sparklab``. Each class runs in a process of its own.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import types
import unittest
import warnings
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
CLASS_S: Final = 240.0

MODULES: Final = (
    "test_broadcast", "test_conf", "test_context", "test_join", "test_pin_thread", "test_profiler", "test_rdd",
    "test_rddbarrier", "test_rddsampler", "test_readwrite", "test_serializers", "test_shuffle", "test_statcounter",
    "test_taskcontext", "test_util", "test_worker",
)  # fmt: skip

INTERNAL: Final = "PySpark's own machinery, none of its documented API"
HADOOP: Final = "reads and writes Hadoop's formats, which need the JVM"
GPUS: Final = "schedules GPUs, which needs the JVM"
NOT_RUN: Final[dict[str, str]] = {
    "test_context.CheckpointTests.test_checkpoint_and_restore": "calls the private SparkContext._checkpointFile",
    "test_context.ContextTests.test_forbid_insecure_gateway": "opens a gateway to the JVM",
    "test_context.ContextTests.test_parallelize_eager_cleanup": "looks into the JVM's folder of temporary files",
    "test_context.ContextTests.test_set_conf": "asks the JVM for the settings",
    "test_context.ContextTestsWithResources.": GPUS,
    "test_pin_thread.PinThreadTests.test_pinned_thread": "asks for the JVM's threads",
    "test_broadcast.BroadcastTest.test_broadcast_in_udfs_with_encryption": "uses functions of Spark SQL",
    "test_broadcast.BroadcastTest.test_broadcast_value_against_gc": "has the JVM collect its garbage",
    "test_broadcast.BroadcastFrameProtocolTest.": INTERNAL,
    "test_profiler.ProfilerTests2.test_no_memory_profile_installed": "profiles functions of Spark SQL",
    "test_profiler.ProfilerTests2.test_profiler_all_enabled": "profiles functions of Spark SQL",
    "test_profiler.ProfilerTests2.test_profiler_disabled": "expects the quotes of 3.5 in a text; 4.x has others",
    "test_rdd.RDDTests.test_external_group_by_key": INTERNAL,
    "test_rdd.RDDTests.test_multiple_python_java_RDD_conversions": "converts to RDDs of the JVM",
    "test_rdd.RDDTests.test_multithread_broadcast_pickle": INTERNAL,
    "test_rdd.RDDTests.test_null_in_rdd": "makes an RDD in the JVM",
    "test_rdd.RDDTests.test_resourceprofile": GPUS,
    "test_rdd.RDDTests.test_take_on_jrdd": "makes an RDD in the JVM, or a DataFrame",
    "test_rdd.RDDTests.test_zip_with_different_serializers": INTERNAL,
    "test_rddsampler.": INTERNAL,
    "test_serializers.SerializationTestCase.test_compressed_serializer": INTERNAL,
    "test_serializers.SerializationTestCase.test_hash_serializer": INTERNAL,
    "test_serializers.SerializersTest.test_chunked_stream": INTERNAL,
    "test_readwrite.": HADOOP,
    "test_shuffle.": INTERNAL,
    "test_taskcontext.TaskContextTests.test_resources": "a name that needs the JVM",
    "test_taskcontext.TaskContextTestsWithResources.": GPUS,
    "test_util.": INTERNAL,
    "test_worker.WorkerTests.test_with_different_versions_of_python": "pretends to the JVM to have another Python",
    "test_worker.WorkerMemoryTest.": "limits the processes that the JVM starts beside its executors",
}
"""Tests that are not run, by a beginning of ``module.Class.test``, and why."""

DIFFERS: Final[dict[str, str]] = {
    "test_join.JoinTests.test_narrow_dependency_in_join": "a join has a map stage for each side",
    "test_worker.WorkerSegfaultTest.test_python_segfault": "the text tells that executors died, not always of what",
    "test_worker.WorkerSegfaultNonDaemonTest.": "the text tells that executors died, not always of what",
    "test_rdd.RDDTests.test_id": "every operator makes an RDD with an id of its own",
}
"""Tests that fail because sparklab differs on purpose, and how."""


def loaded(folder: Path, module: str) -> types.ModuleType:
    """The test module, with its imports redirected."""
    source = (folder / f"{module}.py").read_text(encoding="utf-8")
    source = re.sub(r"\bpyspark\.cloudpickle\b", "cloudpickle", source)
    source = re.sub(r"\bpyspark\.testing\.(sql)?utils\b", "tests.compat.sparksupport", source)
    source = re.sub(r"(?m)^(\s*(?:from|import)\s+)pyspark\b", r"\1sparklab", source)
    source = re.sub(r"\bpyspark\.", "sparklab.", source)
    # The error of a job that failed is one of the JVM's bridge there.
    bridge = "from py4j.protocol import Py4JJavaError"
    source = source.replace(bridge, "from sparklab.errors import SparklabError as Py4JJavaError")
    found = types.ModuleType(f"spark_{module}")
    found.__file__ = str(folder / f"{module}.py")
    sys.modules[found.__name__] = found
    while True:
        try:
            exec(compile(source, found.__file__, "exec"), found.__dict__)
            return found
        except (ImportError, NotImplementedError) as error:
            _stand_in(error)


class Missing:
    """Stands for what cannot be imported: a test that uses it fails, the others of its module run."""

    def __init__(self, *_: Any, **__: Any) -> None:
        raise NotImplementedError("this name of PySpark's is not there")


def _stand_in(error: ImportError | NotImplementedError) -> None:
    if isinstance(error, NotImplementedError):  # a name of Spark SQL
        setattr(sys.modules["sparklab.sql"], str(error).split()[0], type("Sql", (Missing,), {}))
        return
    if isinstance(error, ModuleNotFoundError):
        name = error.name or str(error).split()[0]  # what is left out on purpose is named by the text alone
        if not name.startswith("sparklab."):
            raise error
        sys.modules[name] = types.ModuleType(name)
        return
    assert error.name is not None
    wanted = re.search(r"cannot import name '(\w+)'", str(error))
    assert wanted is not None
    # Flags of the kind "is this package installed" are False.
    flag = wanted[1].startswith(("have_", "has_"))
    value: Any = False if flag else type(wanted[1], (Missing,), {})
    setattr(sys.modules[error.name], wanted[1], value)


def excluded(name: str) -> str:
    """Why test `name` is not run; empty where it is."""
    return next((reason for start, reason in NOT_RUN.items() if name.startswith(start)), "")


class _Result(unittest.TestResult):
    def __init__(self) -> None:
        super().__init__()
        self.outcomes: dict[str, list[str]] = {}

    def _noted(self, test: Any, word: str, text: str = "") -> None:
        self.outcomes[test.id().removeprefix("spark_")] = [word, text]

    def addSuccess(self, test: Any) -> None:
        self._noted(test, "passes")

    def addError(self, test: Any, err: Any) -> None:
        self._noted(test, "FAILS", self._exc_info_to_string(err, test))  # type: ignore[attr-defined]

    def addFailure(self, test: Any, err: Any) -> None:
        self.addError(test, err)

    def addSkip(self, test: Any, reason: str) -> None:
        self._noted(test, "skips itself", reason)


def run_class(folder: str, module: str, name: str, target: str) -> None:
    """The tests of one class; the file `target` has how they went."""
    kind = getattr(loaded(Path(folder), module), name)
    suite = unittest.TestSuite(
        test for test in unittest.TestLoader().loadTestsFromTestCase(kind)
        if not excluded(test.id().removeprefix("spark_"))
    )  # fmt: skip
    result = _Result()
    warnings.simplefilter("ignore")
    suite.run(result)
    Path(target).write_text(json.dumps(result.outcomes), encoding="utf-8")


def listed(folder: str, module: str) -> dict[str, list[str]]:
    """Names of the tests of each class of `module`."""
    found: dict[str, list[str]] = {}
    for name, kind in vars(loaded(Path(folder), module)).items():
        if isinstance(kind, type) and issubclass(kind, unittest.TestCase) and kind.__module__ == f"spark_{module}":
            tests = unittest.TestLoader().loadTestsFromTestCase(kind)
            if tests.countTestCases():
                found[name] = [test.id().removeprefix("spark_") for test in tests]
    return found


def _child(*arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "tests.compat.sparktests", *arguments]
    try:
        # The folder of the checkout, four above the tests.
        environment = os.environ | {"SPARKLAB_SPARK_HOME": str(Path(arguments[1]).resolve().parents[2])}
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=CLASS_S, check=False
        )
    except subprocess.TimeoutExpired as late:
        return 1, f"not ready after {CLASS_S:.0f} s: {late.stdout!r}"
    return done.returncode, done.stdout + done.stderr


def main(folder: str, names: list[str]) -> int:
    """The table is printed; 0 where everything that was run passed."""
    outcomes: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory(prefix="sparktests-") as scratch:
        target = os.path.join(scratch, "out.json")
        for module in MODULES:
            asked = not names or any(name.startswith(module) for name in names)
            if not asked or not (Path(folder) / f"{module}.py").exists():
                continue
            if excluded(f"{module}."):
                outcomes[f"{module}."] = ["not run", excluded(f"{module}.")]
                continue
            code, text = _child("--list", folder, module, target)
            if code:
                outcomes[f"{module}."] = ["FAILS", text]
                continue
            for kind, tests in json.loads(Path(target).read_text(encoding="utf-8")).items():
                own = f"{module}.{kind}"
                if names and not any(own.startswith(name) or name.startswith(own) for name in names):
                    continue
                outcomes |= {test: ["not run", excluded(test)] for test in tests if excluded(test)}
                wanted = [test for test in tests if not excluded(test)]
                if not wanted:
                    continue
                Path(target).write_text("{}", encoding="utf-8")
                _, text = _child("--class", folder, module, kind, target)
                found = json.loads(Path(target).read_text(encoding="utf-8"))
                outcomes |= {test: found.get(test, ["FAILS", text[-3000:]]) for test in wanted}
    for name, (word, _) in outcomes.items():
        reason = next((reason for start, reason in DIFFERS.items() if name.startswith(start)), "")
        if word == "FAILS" and reason:
            outcomes[name] = ["differs", reason]
    for name, (word, text) in outcomes.items():
        print(f"{name:80} {word}{': ' + text if word in ('not run', 'differs', 'skips itself') else ''}")
        if word == "FAILS":
            print("    " + text.replace("\n", "\n    "))
    words = [word for word, _ in outcomes.values()]
    print(
        f"tests passed / run: {words.count('passes')} / {sum(map(words.count, ('passes', 'FAILS', 'differs')))}; "
        f"differ on purpose: {words.count('differs')}; not run: {words.count('not run')}; "
        f"skip themselves: {words.count('skips itself')}"
    )
    return 1 if "FAILS" in words else 0


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--list", folder, module, target]:
            Path(target).write_text(json.dumps(listed(folder, module)), encoding="utf-8")
        case ["--class", folder, module, kind, target]:
            run_class(folder, module, kind, target)
        case [folder, *names]:
            sys.exit(main(folder, names))
