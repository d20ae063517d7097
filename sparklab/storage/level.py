"""StorageLevel: where a persisted RDD's partitions are kept."""

from __future__ import annotations

from typing import ClassVar, Final


class StorageLevel:
    """Where and how often a persisted partition is kept.

    Field for field PySpark's class; `deserialized` is accepted and has no effect of its own, because what may
    stay a live object is decided by its type (see ``storage/representation.py``). `useOffHeap` has none either: Python
    has one heap, whose bytes count against the executor's budget wherever they lie, so `OFF_HEAP` is
    `MEMORY_AND_DISK`. `replication` is the number of executors that hold a block: the others copy it from the first
    after its task has ended, and again after one of them was lost.

    Parameters
    ----------
    useDisk, useMemory, useOffHeap, deserialized : bool
    replication : int, default 1

    Examples
    --------
    >>> StorageLevel.MEMORY_AND_DISK
    StorageLevel(True, True, False, False, 1)
    >>> print(StorageLevel.MEMORY_ONLY)
    Memory Serialized 1x Replicated
    """

    NONE: ClassVar[StorageLevel]
    DISK_ONLY: ClassVar[StorageLevel]
    DISK_ONLY_2: ClassVar[StorageLevel]
    DISK_ONLY_3: ClassVar[StorageLevel]
    MEMORY_ONLY: ClassVar[StorageLevel]
    MEMORY_ONLY_2: ClassVar[StorageLevel]
    MEMORY_AND_DISK: ClassVar[StorageLevel]
    MEMORY_AND_DISK_2: ClassVar[StorageLevel]
    MEMORY_AND_DISK_DESER: ClassVar[StorageLevel]
    OFF_HEAP: ClassVar[StorageLevel]

    __slots__ = ("deserialized", "replication", "useDisk", "useMemory", "useOffHeap")

    def __init__(
        self, useDisk: bool, useMemory: bool, useOffHeap: bool, deserialized: bool, replication: int = 1
    ) -> None:
        self.useDisk = useDisk
        self.useMemory = useMemory
        self.useOffHeap = useOffHeap
        self.deserialized = deserialized
        self.replication = replication

    @property
    def name(self) -> str:
        """The level's constant name, "" for `NONE`, else its repr."""
        if not (self.useDisk or self.useMemory):
            return ""
        for name in _CONSTANTS:
            if getattr(StorageLevel, name) == self:
                return name
        return repr(self)

    def __repr__(self) -> str:
        return (
            f"StorageLevel({self.useDisk}, {self.useMemory}, {self.useOffHeap}, "
            f"{self.deserialized}, {self.replication})"
        )

    def __str__(self) -> str:
        words = [
            "Disk " if self.useDisk else "",
            "Memory " if self.useMemory else "",
            "OffHeap " if self.useOffHeap else "",
            "Deserialized " if self.deserialized else "Serialized ",
            f"{self.replication}x Replicated",
        ]
        return "".join(words)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        # Written out: each job asks this of every RDD that it reads, several times.
        return (
            isinstance(other, StorageLevel)
            and self.useMemory == other.useMemory
            and self.useDisk == other.useDisk
            and self.useOffHeap == other.useOffHeap
            and self.deserialized == other.deserialized
            and self.replication == other.replication
        )

    def __hash__(self) -> int:
        return hash(tuple(getattr(self, field) for field in self.__slots__))


_CONSTANTS: Final = {
    "NONE": StorageLevel(False, False, False, False, 1),
    "DISK_ONLY": StorageLevel(True, False, False, False, 1),
    "DISK_ONLY_2": StorageLevel(True, False, False, False, 2),
    "DISK_ONLY_3": StorageLevel(True, False, False, False, 3),
    "MEMORY_ONLY": StorageLevel(False, True, False, False, 1),
    "MEMORY_ONLY_2": StorageLevel(False, True, False, False, 2),
    "MEMORY_AND_DISK": StorageLevel(True, True, False, False, 1),
    "MEMORY_AND_DISK_2": StorageLevel(True, True, False, False, 2),
    "MEMORY_AND_DISK_DESER": StorageLevel(True, True, False, True, 1),
    "OFF_HEAP": StorageLevel(True, True, True, False, 1),
}
for _name, _level in _CONSTANTS.items():
    setattr(StorageLevel, _name, _level)
