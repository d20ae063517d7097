"""What PySpark's own tests expect to find in ``pyspark.testing.utils``, as far as programs without a JVM need it."""

from __future__ import annotations

import importlib.util
import os
import sys
import time
import unittest
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, ClassVar

from sparklab import SparkConf, SparkContext

SPARK_HOME = os.environ.get("SPARKLAB_SPARK_HOME", "")
have_numpy = importlib.util.find_spec("numpy") is not None
have_pandas = importlib.util.find_spec("pandas") is not None
pandas_requirement_message = "pandas is not installed"
QuietTest = nullcontext


def eventually(condition: Callable[[], Any], timeout: float = 30.0, catch_assertions: bool = False) -> None:
    """`condition` has become true within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    last: Any = None
    while time.monotonic() < deadline:
        try:
            last = condition()
        except AssertionError as error:
            if not catch_assertions:
                raise
            last = error
        if last is True:
            return
        time.sleep(0.02)
    raise AssertionError(f"not so after {timeout} s: {last}")


class PySparkTestCase(unittest.TestCase):
    """A context for each test."""

    def setUp(self) -> None:
        self._old_sys_path = list(sys.path)
        self.sc = SparkContext("local[4]", type(self).__name__)

    def tearDown(self) -> None:
        self.sc.stop()
        sys.path = self._old_sys_path


class ReusedPySparkTestCase(unittest.TestCase):
    """A context for all tests of a class."""

    sc: ClassVar[SparkContext]

    @classmethod
    def conf(cls) -> SparkConf:
        """The settings of the context."""
        return SparkConf()

    @classmethod
    def setUpClass(cls) -> None:
        cls.sc = SparkContext("local[4]", cls.__name__, conf=cls.conf())

    @classmethod
    def tearDownClass(cls) -> None:
        cls.sc.stop()
