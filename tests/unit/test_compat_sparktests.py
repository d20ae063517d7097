"""The runner of PySpark's own tests: what it redirects, what stands in, how it reports. Needs no checkout of Spark."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.compat import sparktests

PROGRAM = """
import unittest
from py4j.protocol import Py4JJavaError
from pyspark import SparkContext
from pyspark.nowhere import something
from pyspark.testing.utils import QuietTest, have_pandas
from pyspark.sql import Row

class Tests(unittest.TestCase):
    def test_redirected(self):
        self.assertEqual(SparkContext.__module__, "sparklab.context")
        self.assertEqual(Py4JJavaError.__name__, "SparklabError")

    def test_uses_what_is_not_there(self):
        something()
"""


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
