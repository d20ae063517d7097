"""StatCounter: count, mean, variance and extremes of numbers in one pass, mergeable across partitions."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any


class StatCounter:
    """Running statistics of numbers (or of NumPy arrays, element by element).

    Source: Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979.

    Examples
    --------
    >>> s = StatCounter([1.0, 2.0, 3.0])
    >>> s.count(), s.mean(), s.sampleVariance()
    (3, 2.0, 1.0)
    """

    of_numbers = True  # what an error of arithmetic in here is about

    def __init__(self, values: Iterable[Any] | None = None) -> None:
        self.n = 0
        self.mu: Any = 0.0
        self.m2: Any = 0.0
        self.maxValue: Any = float("-inf")
        self.minValue: Any = float("inf")
        for x in values or ():
            self.merge(x)

    def merge(self, value: Any) -> StatCounter:
        """`value` is counted.

        Examples
        --------
        >>> from sparklab.statcounter import StatCounter
        >>> StatCounter([1.0]).merge(3.0).mean()
        2.0
        """
        delta = value - self.mu
        self.n += 1
        self.mu = self.mu + delta / self.n
        self.m2 = self.m2 + delta * (value - self.mu)
        self.maxValue = _extreme(self.maxValue, value, larger=True)
        self.minValue = _extreme(self.minValue, value, larger=False)
        return self

    def mergeStats(self, other: StatCounter) -> StatCounter:
        """All that `other` has counted is counted here.

        Examples
        --------
        >>> from sparklab.statcounter import StatCounter
        >>> StatCounter([1.0]).mergeStats(StatCounter([3.0])).mean()
        2.0
        """
        if not isinstance(other, StatCounter):
            raise TypeError(f"Can only merge Statcounter objects, not {type(other).__name__}")
        if other is self:
            other = other.copy()
        if self.n == 0:
            self.n, self.mu, self.m2 = other.n, other.mu, other.m2
            self.maxValue, self.minValue = other.maxValue, other.minValue
            return self
        delta = other.mu - self.mu
        total = self.n + other.n
        # Whichever side is much larger keeps its mean almost as it is: the sum of products would lose digits.
        if other.n * 10 < self.n:
            self.mu = self.mu + (delta * other.n) / total
        elif self.n * 10 < other.n:
            self.mu = other.mu - (delta * self.n) / total
        else:
            self.mu = (self.mu * self.n + other.mu * other.n) / total
        self.m2 = self.m2 + (other.m2 + (delta * delta * self.n * other.n) / total)
        self.n = total
        self.maxValue = _extreme(self.maxValue, other.maxValue, larger=True)
        self.minValue = _extreme(self.minValue, other.minValue, larger=False)
        return self

    def copy(self) -> StatCounter:
        """A counter of its own with the same values.

        Examples
        --------
        >>> from sparklab.statcounter import StatCounter
        >>> StatCounter([1.0]).copy().count()
        1
        """
        twin = StatCounter()
        twin.__dict__.update(self.__dict__)
        return twin

    def count(self) -> int:
        """How many numbers.

        Examples
        --------
        >>> from sparklab.statcounter import StatCounter
        >>> StatCounter([1.0, 3.0]).count()
        2
        """
        return int(self.n)

    def mean(self) -> Any:
        """Their mean; 0.0 of none.

        Examples
        --------
        >>> from sparklab.statcounter import StatCounter
        >>> StatCounter([1.0, 3.0]).mean()
        2.0
        """
        return self.mu

    def sum(self) -> Any:
        """Their sum.

        Examples
        --------
        >>> from sparklab.statcounter import StatCounter
        >>> StatCounter([1.0, 3.0]).sum()
        4.0
        """
        return self.n * self.mu

    def min(self) -> Any:
        """The smallest; inf of none.

        Examples
        --------
        >>> from sparklab.statcounter import StatCounter
        >>> StatCounter([1.0, 3.0]).min()
        1.0
        """
        return self.minValue

    def max(self) -> Any:
        """The largest; -inf of none.

        Examples
        --------
        >>> from sparklab.statcounter import StatCounter
        >>> StatCounter([1.0, 3.0]).max()
        3.0
        """
        return self.maxValue

    def variance(self) -> Any:
        """Of the whole population (divided by n); nan where nothing was counted.

        Examples
        --------
        >>> from sparklab.statcounter import StatCounter
        >>> StatCounter([1.0, 3.0]).variance()
        1.0
        """
        return float("nan") if self.n == 0 else self.m2 / self.n

    def sampleVariance(self) -> Any:
        """Estimated from a sample (divided by n - 1); nan for fewer than two values.

        Examples
        --------
        >>> from sparklab.statcounter import StatCounter
        >>> StatCounter([1.0, 3.0]).sampleVariance()
        2.0
        """
        return float("nan") if self.n <= 1 else self.m2 / (self.n - 1)

    def stdev(self) -> Any:
        """The standard deviation, of the numbers as a whole population.

        Examples
        --------
        >>> from sparklab.statcounter import StatCounter
        >>> StatCounter([1.0, 3.0]).stdev()
        1.0
        """
        return _root(self.variance())

    def sampleStdev(self) -> Any:
        """The standard deviation, of the numbers as a sample.

        Examples
        --------
        >>> from sparklab.statcounter import StatCounter
        >>> StatCounter([1.0, 3.0]).sampleStdev()
        1.4142135623730951
        """
        return _root(self.sampleVariance())

    def asDict(self, sample: bool = False) -> dict[str, Any]:
        """The statistics by name.

        As in PySpark, and relied upon: `sample` False gives the sample's stdev and variance, True the population's.

        Examples
        --------
        >>> StatCounter([1.0, 3.0]).asDict(True)["variance"]
        1.0
        """
        return {
            "count": self.count(),
            "mean": self.mean(),
            "sum": self.sum(),
            "min": self.min(),
            "max": self.max(),
            "stdev": self.stdev() if sample else self.sampleStdev(),
            "variance": self.variance() if sample else self.sampleVariance(),
        }

    def __repr__(self) -> str:
        return (
            f"(count: {self.count()}, mean: {self.mean()}, stdev: {self.stdev()}, max: {self.max()}, min: {self.min()})"
        )


def _extreme(a: Any, b: Any, larger: bool) -> Any:
    if hasattr(a, "__array__") or hasattr(b, "__array__"):
        import numpy as np

        return np.maximum(a, b) if larger else np.minimum(a, b)
    # Floats whatever was counted, as where NumPy compares.
    return float(max(a, b) if larger else min(a, b))


def _root(variance: Any) -> Any:
    return variance**0.5 if hasattr(variance, "__array__") else math.sqrt(variance)
