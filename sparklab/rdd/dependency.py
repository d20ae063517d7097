"""Dependencies: which partitions of a parent one partition of a child is made from (NSDI'12, section 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias, final

from sparklab.shuffle.spec import ShuffleSpec

if TYPE_CHECKING:
    from sparklab.rdd.core import RDDCore


@final
class OneToOne:
    """Child partition i is made from parent partition i."""

    __slots__ = ("rdd",)

    def __init__(self, rdd: RDDCore) -> None:
        self.rdd = rdd

    def parents(self, index: int) -> Sequence[int]:
        return (index,)


@final
class Range:
    """Child partitions [out_start, out_start + length) are parent partitions [in_start, ...): a union's share."""

    __slots__ = ("in_start", "length", "out_start", "rdd")

    def __init__(self, rdd: RDDCore, in_start: int, out_start: int, length: int) -> None:
        self.rdd = rdd
        self.in_start = in_start
        self.out_start = out_start
        self.length = length

    def parents(self, index: int) -> Sequence[int]:
        offset = index - self.out_start
        return (self.in_start + offset,) if 0 <= offset < self.length else ()


@final
class Grouped:
    """Child partition i is made from the parent partitions ``groups[i]``: coalesce, cartesian."""

    __slots__ = ("groups", "rdd")

    def __init__(self, rdd: RDDCore, groups: Sequence[Sequence[int]]) -> None:
        self.rdd = rdd
        self.groups = groups

    def parents(self, index: int) -> Sequence[int]:
        return self.groups[index]


@final
class Shuffle:
    """Every child partition is made from every parent partition, through the shuffle `spec`."""

    # weakly referenced: when the last child goes, its map outputs are freed
    __slots__ = ("__weakref__", "rdd", "spec")

    def __init__(self, rdd: RDDCore, spec: ShuffleSpec) -> None:
        self.rdd = rdd
        self.spec = spec


Narrow: TypeAlias = OneToOne | Range | Grouped
Dependency: TypeAlias = Narrow | Shuffle
