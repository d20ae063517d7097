"""Answers from the partitions that are done in time: bounds by the central limit theorem."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil, inf, isnan, log, log2, pi, sqrt, tan
from statistics import NormalDist
from typing import Any

from sparklab.arguments import number
from sparklab.rdd.actions import Actions
from sparklab.rdd.operators import Operator, Records
from sparklab.rdd.statcounter import StatCounter
from sparklab.shuffle.stable_hash import stable_hash

_MASK = (1 << 64) - 1


class BoundedFloat(float):
    """A number that is known with a certain confidence to lie between two bounds.

    Attributes
    ----------
    confidence, low, high : float

    Examples
    --------
    >>> from sparklab.rdd import BoundedFloat
    >>> about = BoundedFloat(10.0, 0.95, 9.5, 10.5)
    >>> about, about.low
    (10.0, 9.5)
    """

    confidence: float
    low: float
    high: float

    def __new__(cls, mean: float, confidence: float, low: float, high: float) -> BoundedFloat:
        number = float.__new__(cls, mean)
        number.confidence, number.low, number.high = confidence, low, high
        return number


class Approximate(Actions):
    """Actions that give what they know when the time is up."""

    def countApprox(self, timeout: int, confidence: float = 0.95) -> int:
        """About how many records there are, as known after `timeout` milliseconds; exact where all is counted by then.

        Partitions that are not done by then are cancelled. Blocks for `timeout` at most, once the cluster has started.

        Examples
        --------
        >>> sc.parallelize(range(1000), 10).countApprox(60_000)
        1000
        """
        return int(self._sum_approx(_count, timeout, confidence, "countApprox"))

    def sumApprox(self, timeout: int, confidence: float = 0.95) -> BoundedFloat:
        """About the sum of the records, as known after `timeout` milliseconds, between bounds. Like ``countApprox``.

        Examples
        --------
        >>> total = sc.parallelize(range(1000), 10).sumApprox(60_000)
        >>> total, total.low, total.high
        (499500.0, 499500.0, 499500.0)
        """
        return self._sum_approx(_sum, timeout, confidence, "sumApprox")

    def meanApprox(self, timeout: int, confidence: float = 0.95) -> BoundedFloat:
        """About the mean of the records, as known after `timeout` milliseconds, between bounds. Like ``countApprox``.

        Examples
        --------
        >>> sc.parallelize(range(1000), 10).meanApprox(60_000)
        499.5
        """
        parts, total = self._in_time(_stats, timeout, confidence, "meanApprox")
        counter = StatCounter()
        for part in parts:
            counter.mergeStats(part)
        if len(parts) == total:
            mean = float(counter.mean())
            return BoundedFloat(mean, 1.0, mean, mean)
        if counter.count() == 0:
            return BoundedFloat(0.0, 0.0, -inf, inf)
        margin = _margin(counter.sampleVariance() / counter.count(), counter.count(), confidence)
        mean = float(counter.mean())
        return BoundedFloat(mean, confidence, mean - margin, mean + margin)

    def countApproxDistinct(self, relativeSD: float = 0.05) -> int:
        """About how many different records there are, within about `relativeSD` of the truth. Blocks.

        Each partition sends at most ``(1.054 / relativeSD) ** 2`` small numbers, however many records it has.

        Source: Flajolet, Fusy, Gandouet, Meunier, "HyperLogLog: the analysis of a near-optimal cardinality estimation
        algorithm", AofA'07, figure 3; 64-bit hashes as in Heule, Nunkesser, Hall, EDBT'13, section 5.1.

        Examples
        --------
        >>> 900 < sc.parallelize(range(1000)).map(str).countApproxDistinct() < 1100
        True
        """
        if number("countApproxDistinct", relativeSD) < 0.000017:
            raise ValueError("relativeSD should be greater than 0.000017")
        bits = max(4, ceil(2 * log2(1.054 / relativeSD)))
        highest: dict[int, int] = {}
        for part in self._run(_Registers(bits), "countApproxDistinct"):
            for register, rank in part.items():
                highest[register] = max(rank, highest.get(register, 0))
        registers = 1 << bits
        empty = registers - len(highest)
        alpha = {4: 0.673, 5: 0.697, 6: 0.709}.get(bits, 0.7213 / (1 + 1.079 / registers))
        estimate = alpha * registers**2 / (empty + sum(2.0**-rank for rank in highest.values()))
        if estimate <= 2.5 * registers and empty:
            estimate = registers * log(registers / empty)
        return round(estimate)

    def _sum_approx(self, function: Any, timeout: int, confidence: float, action: str) -> BoundedFloat:
        """The sum of ``function`` over all partitions, each partition's a sample of them."""
        parts, total = self._in_time(function, timeout, confidence, action)
        counter = StatCounter(parts)
        known = float(sum(parts))
        if len(parts) == total:
            return BoundedFloat(known, 1.0, known, known)
        if not parts:
            return BoundedFloat(0.0, 0.0, -inf, inf)
        share = len(parts) / total
        missing = counter.count() * (1 - share) / share
        estimate = known + counter.mean() * missing
        variance = counter.mean() ** 2 * counter.count() * (1 - share) / share**2
        margin = _margin(variance + missing * counter.sampleVariance(), counter.count(), confidence)
        return BoundedFloat(estimate, confidence, estimate - margin, estimate + margin)

    def _in_time(self, function: Any, timeout: int, confidence: float, action: str) -> tuple[Sequence[Any], int]:
        """What was computed of the partitions within `timeout` milliseconds, and how many partitions there are."""
        if number(action, timeout) < 0:
            raise ValueError(f"timeout has to be at least 0 milliseconds, not {timeout}")
        if not 0.0 <= number(action, confidence) <= 1.0:
            raise ValueError(f"confidence ({confidence}) must be in [0,1]")
        found = self.context.run_job_for(self, function, timeout / 1000, action)
        return [found[index] for index in sorted(found)], self.getNumPartitions()


class _Registers(Operator):
    """The highest rank of a hash in each register met; ``f`` is how many bits of the hash choose the register."""

    __slots__ = ()

    def __call__(self, index: int, records: Records) -> dict[int, int]:
        bits: int = self.f
        rest = 64 - bits
        highest: dict[int, int] = {}
        for x in records:
            mixed = _mixed(stable_hash(x))
            register = mixed >> rest
            rank = rest - (mixed & ((1 << rest) - 1)).bit_length() + 1
            if rank > highest.get(register, 0):
                highest[register] = rank
        return highest


def _mixed(number: int) -> int:
    """`number` with its low 64 bits mixed well: an integer's hash is itself. Source: splitmix64, Vigna 2015."""
    z = (number + 0x9E3779B97F4A7C15) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def _count(index: int, records: Iterator[Any]) -> float:
    return float(sum(1 for _ in records))


def _sum(index: int, records: Iterator[Any]) -> float:
    return float(sum(records))


def _stats(index: int, records: Iterator[Any]) -> StatCounter:
    return StatCounter(map(float, records))


def _margin(variance: float, samples: int, confidence: float) -> float:
    """Half the width of the interval; infinite where one sample says nothing about the spread."""
    if samples < 2 or isnan(variance):
        return inf
    if confidence >= 1.0:
        return inf
    p = 1 - (1 - confidence) / 2
    return sqrt(variance) * (NormalDist().inv_cdf(p) if samples > 100 else _student(p, samples - 1))


def _student(p: float, freedom: int) -> float:
    """The quantile of Student's distribution for p >= 0.5.

    Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.5; exact for one and two degrees of freedom.
    """
    if freedom == 1:
        return tan(pi * (p - 0.5))
    if freedom == 2:
        return (2 * p - 1) * sqrt(2 / (4 * p * (1 - p)))
    z = NormalDist().inv_cdf(p)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    correction: float = sum(term / freedom**power for power, term in enumerate(terms, 1))
    return z + correction
