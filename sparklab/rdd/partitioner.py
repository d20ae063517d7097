"""Placement of keys: ``portable_hash`` and the Partitioner whose equality decides whether a join needs a shuffle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sparklab.shuffle.stable_hash import HashPlacement
from sparklab.shuffle.stable_hash import stable_hash as portable_hash

__all__ = ["Partitioner", "placement", "portable_hash"]


class Partitioner:
    """Places a key in one of `numPartitions` partitions by ``partitionFunc(key) % numPartitions``.

    Two partitioners are equal where both fields are; RDDs with equal partitioners join without a shuffle.

    Parameters
    ----------
    numPartitions : int
    partitionFunc : callable
        Key -> int. Must give the same number in every process.

    Examples
    --------
    >>> Partitioner(4, portable_hash)(10)
    2
    >>> Partitioner(4, portable_hash) == Partitioner(4, portable_hash)
    True
    """

    def __init__(self, numPartitions: int, partitionFunc: Callable[[Any], int]) -> None:
        self.numPartitions = numPartitions
        self.partitionFunc = partitionFunc

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Partitioner)
            and self.numPartitions == other.numPartitions
            and self.partitionFunc == other.partitionFunc
        )

    def __hash__(self) -> int:
        return hash((self.numPartitions, self.partitionFunc))

    def __call__(self, k: Any) -> int:
        return self.partitionFunc(k) % self.numPartitions

    def __repr__(self) -> str:
        name = getattr(self.partitionFunc, "__name__", repr(self.partitionFunc))
        return f"Partitioner({self.numPartitions}, {name})"


def placement(partitioner: Partitioner) -> Callable[[Any], int]:
    """Key -> partition, in the fastest form the shuffle knows."""
    if partitioner.partitionFunc is portable_hash:
        return HashPlacement(partitioner.numPartitions)
    return partitioner
