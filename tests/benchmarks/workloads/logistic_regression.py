"""Logistic regression by gradient descent over cached points: a NumPy vector a record, and a matrix a record."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from tests.benchmarks.inputs import Sizes
from tests.benchmarks.systems.two_processes import PROCESSES
from tests.benchmarks.workload import Steps, Workload

if TYPE_CHECKING:
    import numpy as np

    Point = tuple[float, np.ndarray]
    Block = tuple[np.ndarray, np.ndarray]

DIMENSIONS = 10


def block_of(part: int, points: int) -> Block:
    """Labels of -1 and 1, and a matrix with a point a row: the same in every process."""
    import numpy as np

    draw = np.random.default_rng(part)
    labels = draw.choice((-1.0, 1.0), points)
    return labels, draw.normal(size=(points, DIMENSIONS)) + 0.7 * labels[:, None]


def blocks(points: int) -> Callable[[int], list[Block]]:
    """The user's function from a part's number to its records: one matrix."""
    return lambda part: [block_of(part, points)]


def rows(points: int) -> Callable[[int], Iterable[Point]]:
    """The same, a point a record."""

    def points_of(part: int) -> Iterable[Point]:
        labels, matrix = block_of(part, points)
        return ((float(label), row.copy()) for label, row in zip(labels, matrix, strict=True))

    return points_of


def row_gradient(weights: np.ndarray) -> Callable[[Point], np.ndarray]:
    """The user's function of one iteration. Source: NSDI'12, section 3.2.1."""

    def gradient(point: Point) -> np.ndarray:
        label, x = point
        return x * ((1.0 / (1.0 + math.exp(-label * weights.dot(x))) - 1.0) * label)

    return gradient


def block_gradient(weights: np.ndarray) -> Callable[[Block], np.ndarray]:
    """The same over a matrix."""
    import numpy as np

    def gradient(block: Block) -> np.ndarray:
        labels, matrix = block
        return ((1.0 / (1.0 + np.exp(-labels * (matrix @ weights))) - 1.0) * labels) @ matrix

    return gradient


class LogisticRegressionRows(Workload):
    """The weights after some steps over points that are cached in the first."""

    name = "logistic_regression_rows"
    numeric = True
    records = staticmethod(rows)
    gradient = staticmethod(row_gradient)
    times_points = 1

    def rdd(self, sc: Any, sizes: Sizes, inputs: dict[str, Any]) -> Steps:
        def fit() -> list[float]:
            parts = sc.parallelize(range(sizes.partitions), sizes.partitions)
            points = parts.flatMap(self.records(self._points(sizes))).cache()
            weights = self._descend(sizes, lambda w: points.map(gradient(w)).reduce(operator.add))
            points.unpersist()
            return weights

        gradient = self.gradient
        yield "fit", fit

    def bound(self, pair: Any, sizes: Sizes, inputs: dict[str, Any]) -> Steps:
        def fit() -> list[float]:
            pair.run(_make, type(self), sizes.partitions, self._points(sizes))
            weights = self._descend(sizes, lambda w: functools.reduce(operator.add, pair.run(_gradient, type(self), w)))
            pair.run(_forget)
            return weights

        pair.run(_import_numpy)  # no part of what the bound is a bound of
        yield "fit", fit

    def dask(self, client: Any, sizes: Sizes, inputs: dict[str, Any]) -> Steps:
        import dask.bag

        def fit() -> list[float]:
            parts = dask.bag.from_sequence(range(sizes.partitions), npartitions=sizes.partitions)
            points = parts.map(self.records(self._points(sizes))).flatten().persist()
            return self._descend(sizes, lambda w: points.map(gradient(w)).fold(operator.add).compute())

        gradient = self.gradient
        yield "fit", fit

    def _points(self, sizes: Sizes) -> int:
        return self.times_points * sizes.points // sizes.partitions

    def _descend(self, sizes: Sizes, gradient_at: Callable[[np.ndarray], np.ndarray]) -> list[float]:
        import numpy as np

        weights = np.zeros(DIMENSIONS)
        for _ in range(sizes.gradient_steps):
            weights = weights - gradient_at(weights) / (self._points(sizes) * sizes.partitions)
        return [float(weight) for weight in weights]


class LogisticRegressionBlocks(LogisticRegressionRows):
    """The same with a matrix a partition, and many more points, or there would be little to measure."""

    name = "logistic_regression_blocks"
    records = staticmethod(blocks)
    gradient = staticmethod(block_gradient)
    times_points = 20


def _import_numpy(mine: Any) -> None:
    import numpy.random  # noqa: F401


def _make(mine: Any, workload: type[LogisticRegressionRows], parts: int, points: int) -> None:
    records = workload.records(points)
    mine.kept["points"] = [point for part in range(mine.index, parts, PROCESSES) for point in records(part)]


def _gradient(mine: Any, workload: type[LogisticRegressionRows], weights: np.ndarray) -> np.ndarray:
    return functools.reduce(operator.add, map(workload.gradient(weights), mine.kept["points"]))


def _forget(mine: Any) -> None:
    mine.kept.clear()
