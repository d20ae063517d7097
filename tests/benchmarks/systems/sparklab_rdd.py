"""sparklab on ``local[2]``, through its public API."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.benchmarks.inputs import Sizes
from tests.benchmarks.workload import Steps, Workload


def absent() -> str | None:
    """None: a checkout has it. An error of the import is an error of the run."""
    from sparklab import SparkContext  # noqa: F401

    return None


def version() -> str:
    import sparklab

    return sparklab.__version__


@contextmanager
def session() -> Iterator[Any]:
    """A context; nothing of it runs when the block is left."""
    from sparklab import SparkContext

    with SparkContext(master="local[2]", appName="benchmark") as sc:
        yield sc


def tiny(sc: Any) -> Any:
    """The count of four numbers in two parts."""
    return sc.parallelize([1, 2, 3, 4], 2).count()


def steps(workload: Workload, sc: Any, sizes: Sizes, inputs: dict[str, Any]) -> Steps:
    """The steps on Spark's API."""
    return workload.rdd(sc, sizes, inputs)
