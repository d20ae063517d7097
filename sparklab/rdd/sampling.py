"""Samples of an RDD, each a function of its seed and the partition's index alone."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import log, sqrt
from typing import TYPE_CHECKING, Any

from sparklab.arguments import number, whole_number
from sparklab.rdd.actions import Actions
from sparklab.rdd.sampler import Bernoulli, KeyedSample, Poisson, Range

if TYPE_CHECKING:
    from sparklab.rdd.rdd import RDD


class Sampling(Actions):
    """Random parts of an RDD. The same seed gives the same records, also when a partition is computed again."""

    def sample(self, withReplacement: bool, fraction: float, seed: int | None = None) -> RDD:
        """An RDD in which each record is with probability `fraction`, or `fraction` times on average. Lazy.

        Parameters
        ----------
        withReplacement : bool
            Whether a record can be taken more than once.
        fraction : float
            Expected share of the records, at least 0; at most 1 without replacement.
        seed : int, optional
            Drawn now if not given, so that the sample never changes afterwards.

        Examples
        --------
        >>> sc.parallelize(range(100), 4).sample(False, 0.1, 81).collect()
        [4, 26, 39, 41, 42, 52, 63, 76, 80, 86, 97]
        """
        if not number("sample", fraction) >= 0:
            raise ValueError("Fraction must be nonnegative.")
        return self._pipeline(
            (Poisson if withReplacement else Bernoulli)(fraction, _seed("sample", seed)), "sample", True
        )

    def sampleByKey(self, withReplacement: bool, fractions: dict[Any, float], seed: int | None = None) -> RDD:
        """An RDD of pairs sampled at the fraction of their key. Lazy.

        Examples
        --------
        >>> pairs = sc.parallelize([("a", 1), ("b", 2)])
        >>> pairs.sampleByKey(False, {"a": 1.0, "b": 0.0}, 2).collect()
        [('a', 1)]
        """
        if not isinstance(fractions, dict):
            raise TypeError(f"sampleByKey takes a dict of fractions by key, not {type(fractions).__name__}")
        for fraction in fractions.values():
            if not number("sampleByKey", fraction) >= 0.0:
                raise AssertionError(f"Negative fraction value: {fraction}")
        return self._pipeline(KeyedSample(withReplacement, fractions, _seed("sampleByKey", seed)), "sampleByKey", True)

    def randomSplit(self, weights: Sequence[float], seed: int | None = None) -> list[RDD]:
        """RDDs that share out the records at random, in the proportion of `weights`. Lazy.

        Examples
        --------
        >>> [part.count() for part in sc.parallelize(range(500), 1).randomSplit([2, 3], 17)]
        [192, 308]
        """
        if not isinstance(weights, Iterable):
            raise TypeError(f"randomSplit takes a list of weights, not {type(weights).__name__}")
        if not all(number("randomSplit", w) >= 0 for w in weights):
            raise ValueError("Weights must be nonnegative")
        total = float(sum(weights))
        if not total > 0:
            raise ValueError("Sum of weights must be positive")
        edges = [0.0]
        for w in weights:
            edges.append(edges[-1] + w / total)
        seed = random.randint(0, 2**32 - 1) if seed is None else _seed("randomSplit", seed)
        return [self._pipeline(Range(low, high, seed), "randomSplit", True) for low, high in pairwise(edges)]

    def takeSample(self, withReplacement: bool, num: int, seed: int | None = None) -> list[Any]:
        """A list of `num` records taken at random, in random order. Blocks; counts the records first.

        Examples
        --------
        >>> len(sc.parallelize(range(10)).takeSample(True, 20, 1)), len(sc.parallelize(range(10)).takeSample(False, 20))
        (20, 10)
        """
        largest = sys.maxsize - int(10.0 * sqrt(sys.maxsize))
        num, seed = whole_number("takeSample", num), None if seed is None else _seed("takeSample", seed)
        if num < 0:
            raise ValueError("Sample size cannot be negative.")
        if num > largest:
            raise ValueError(f"Sample size cannot be greater than {largest}.")
        if num == 0 or self.getNumPartitions() == 0:
            return []
        total = self.count()
        if total == 0:
            return []
        rand = random.Random(seed)
        if not withReplacement and num >= total:
            samples = self.collect()
            rand.shuffle(samples)
            return samples
        fraction = _fraction(num, total, withReplacement)
        samples = self.sample(withReplacement, fraction, seed).collect()
        while len(samples) < num:
            samples = self.sample(withReplacement, fraction, rand.randint(0, sys.maxsize)).collect()
        rand.shuffle(samples)
        return samples[:num]


def _seed(taker: str, seed: int | None) -> int:
    return random.randint(0, sys.maxsize) if seed is None else whole_number(taker, seed, " as its seed")


def _fraction(wanted: int, total: int, with_replacement: bool) -> float:
    """The fraction at which a sample has at least `wanted` of `total` records nearly always (99.99 %)."""
    fraction = wanted / total
    if with_replacement:
        deviations = 9 if wanted < 12 else 5
        return fraction + deviations * sqrt(fraction / total)
    gamma = -log(0.00005) / total
    return min(1.0, fraction + gamma + sqrt(gamma * gamma + 2 * gamma * fraction))
