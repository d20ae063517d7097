"""PySpark on ``local[2]``, as installed: no setting but silence and scratch space."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.benchmarks.inputs import Sizes
from tests.benchmarks.workload import Steps, Workload


def absent() -> str | None:
    """Why PySpark cannot run here, or None where it can."""
    if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        return "not installed: no java (PySpark 4 wants 17 or newer)"
    try:
        import pyspark  # noqa: F401
        from pyspark import SparkContext  # noqa: F401
    except ImportError:
        return "not installed: no pyspark (pip install -e '.[bench]')"
    return None


def version() -> str:
    import pyspark

    return str(pyspark.__version__)


@contextmanager
def session() -> Iterator[Any]:
    """A context; nothing of it runs when the block is left."""
    from pyspark import SparkConf, SparkContext

    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    with tempfile.TemporaryDirectory(prefix="bench-pyspark-") as scratch:
        conf = SparkConf().setMaster("local[2]").setAppName("benchmark")
        conf.set("spark.ui.enabled", "false").set("spark.ui.showConsoleProgress", "false").set(
            "spark.local.dir", scratch
        )
        sc = SparkContext(conf=conf)
        sc.setLogLevel("ERROR")
        try:
            yield sc
        finally:
            sc.stop()


def tiny(sc: Any) -> Any:
    """The count of four numbers in two parts."""
    return sc.parallelize([1, 2, 3, 4], 2).count()


def steps(workload: Workload, sc: Any, sizes: Sizes, inputs: dict[str, Any]) -> Steps:
    """The steps on Spark's API."""
    return workload.rdd(sc, sizes, inputs)
