"""What a workload is: one computation, written for Spark's API, for two plain processes and for dask.bag."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from tests.benchmarks.inputs import Sizes


@dataclass(frozen=True)
class Timed:
    """An answer that brings its own wall time: the median of several jobs, not the sum."""

    answer: Any
    wall_s: float


Step: TypeAlias = tuple[str, Callable[[], Any]]  # a name, and what to do and measure; gives an answer or a Timed
Steps: TypeAlias = Iterator[Step]


class NotOffered(Exception):
    """The system has no such operation, or cannot finish it; the text says which."""


class Workload:
    """A computation with one answer, whoever computes it.

    Subclasses give the steps for each system. A step's answer is small and JSON-able: numbers, strings, lists; large
    results end in a checksum inside the computation, the same function on every system. Answers are compared between
    systems: numbers to nine digits, all else exactly. The user's functions stand at the top of the workload's module
    and are the same objects for every system.
    """

    name: str
    numeric = False  # runs in processes of its own, without settings that slow numpy's linear algebra

    def prepare(self, sizes: Sizes) -> dict[str, Any]:
        """The paths of the inputs, which exist; the harness calls this before anything is measured."""
        return {}

    def rdd(self, sc: Any, sizes: Sizes, inputs: dict[str, Any]) -> Steps:
        """Steps on a context of Spark's API: PySpark's and sparklab's."""
        raise NotImplementedError

    def bound(self, pair: Any, sizes: Sizes, inputs: dict[str, Any]) -> Steps:
        """Steps in two plain processes (`systems.two_processes.TwoProcesses`)."""
        raise NotImplementedError

    def dask(self, client: Any, sizes: Sizes, inputs: dict[str, Any]) -> Steps:
        """Steps on dask.bag, with a ``distributed.Client`` as the default scheduler."""
        raise NotImplementedError


def same(one: Any, other: Any) -> bool:
    """Whether two answers are equal: floating point to nine digits (sums in another order), all else exactly."""
    if isinstance(one, float) and isinstance(other, (int, float)):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and bool(one == other)
