"""The samplers: draws of Python's generator, seeded by the given seed and the partition's index.

The order of the draws is PySpark's, so that a seed from a Spark lecture gives the lecture's numbers.
"""

from __future__ import annotations

from math import exp
from random import Random
from typing import Any

from sparklab.rdd.operators import Operator, Records


class Sampler(Operator):
    """``f`` is what to take, `seed` decides which."""

    __slots__ = ("seed",)

    def __init__(self, f: Any, seed: int) -> None:
        super().__init__(f)
        self.seed = seed

    def generator(self, index: int) -> Random:
        generator = Random(self.seed ^ index)
        # The seeds of neighbouring partitions are close to each other: draw some of the likeness away.
        for _ in range(10):
            generator.randint(0, 1)
        return generator


class Bernoulli(Sampler):
    """Each record with probability ``f``."""

    __slots__ = ()

    def __call__(self, index: int, records: Records) -> Records:
        draw, fraction = self.generator(index).random, self.f
        for x in records:
            if draw() < fraction:
                yield x


class Poisson(Sampler):
    """Each record as often as a draw from Poisson(``f``) says."""

    __slots__ = ()

    def __call__(self, index: int, records: Records) -> Records:
        generator, mean = self.generator(index), self.f
        for x in records:
            for _ in range(poisson(generator, mean)):
                yield x


class Range(Sampler):
    """Each record whose draw is in [low, high): complementary ranges give complementary samples."""

    __slots__ = ("high",)

    def __init__(self, low: float, high: float, seed: int) -> None:
        super().__init__(low, seed)
        self.high = high

    def __call__(self, index: int, records: Records) -> Records:
        draw, low, high = self.generator(index).random, self.f, self.high
        for x in records:
            if low <= draw() < high:
                yield x


class KeyedSample(Sampler):
    """Each pair at the fraction of its key."""

    __slots__ = ("with_replacement",)

    def __init__(self, with_replacement: bool, fractions: dict[Any, float], seed: int) -> None:
        super().__init__(fractions, seed)
        self.with_replacement = with_replacement

    def __call__(self, index: int, records: Records) -> Records:
        generator, fractions = self.generator(index), self.f
        for x in records:
            if self.with_replacement:
                for _ in range(poisson(generator, fractions[x[0]])):
                    yield x
            elif generator.random() < fractions[x[0]]:
                yield x


def poisson(generator: Random, mean: float) -> int:
    """A draw from Poisson(mean). Source: Knuth, TAOCP volume 2, section 3.4.1; the log domain for large means."""
    count = 0
    if mean < 20.0:
        limit = exp(-mean)
        product = generator.random()
        while product > limit:
            count += 1
            product *= generator.random()
        return count
    total = generator.expovariate(mean)
    while total < 1.0:
        count += 1
        total += generator.expovariate(mean)
    return count
