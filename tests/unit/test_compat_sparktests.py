"""The runner of PySpark's own tests: what it redirects, what stands in, how it reports. Needs no checkout of Spark."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import sparklab.sql
from tests.compat import sparktests

PROGRAM = """
import unittest
from py4j.protocol import Py4JJavaError
from pyspark import SparkContext
from pyspark.nowhere import something
from pyspark.mllib.linalg import Vectors
from pyspark.testing.utils import QuietTest, have_pandas
from pyspark.sql import Row

class Tests(unittest.TestCase):
    def test_redirected(self):
        self.assertEqual(SparkContext.__module__, "sparklab.context")
        self.assertEqual(Py4JJavaError.__name__, "SparklabError")

    def test_uses_what_is_not_there(self):
        something()
"""


@pytest.fixture(autouse=True)
def nothing_stands_in_afterwards() -> Iterator[None]:
    modules, names = set(sys.modules), set(vars(sparklab.sql))
    yield
    for module in set(sys.modules) - modules:
        stand_in = sys.modules[module]
        if module.startswith("sparklab.") and getattr(stand_in, "__spec__", None) is None:
            del sys.modules[module]
            vars(sparklab).pop(module.split(".")[1], None)
    for name in set(vars(sparklab.sql)) - names:
        delattr(sparklab.sql, name)


def test_tests_are_redirected_and_report_themselves(tmp_path: Path) -> None:
    folder = tmp_path / "python" / "pyspark" / "tests"
    folder.mkdir(parents=True)
    (folder / "test_example.py").write_text(PROGRAM)
    assert sparktests.listed(str(folder), "test_example") == {
        "Tests": ["test_example.Tests.test_redirected", "test_example.Tests.test_uses_what_is_not_there"]
    }
    target = tmp_path / "out.json"
    sparktests.run_class(str(folder), "test_example", "Tests", str(target))
    assert '"test_example.Tests.test_redirected": ["passes", ""]' in target.read_text()
    assert '"test_example.Tests.test_uses_what_is_not_there": ["FAILS"' in target.read_text()


def test_a_test_that_is_not_run_has_a_reason(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "test_shuffle.py").write_text("raise AssertionError")
    assert sparktests.main(str(tmp_path), []) == 0
    out = capsys.readouterr().out
    assert "not run: PySpark's own machinery" in out
    assert "tests passed / run: 0 / 0; differ on purpose: 0; not run: 1" in out
