"""StorageLevel: where a persisted RDD's partitions are kept."""

from __future__ import annotations

from typing import ClassVar


class StorageLevel:
    """Where and how often a persisted partition is kept.

    Field for field PySpark's class; `deserialized` is accepted and has no effect of its own, because what may
    stay a live object is decided by its type (see ``storage/representation.py``).

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
    MEMORY_ONLY: ClassVar[StorageLevel]
    MEMORY_AND_DISK: ClassVar[StorageLevel]

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
        for name in ("MEMORY_ONLY", "MEMORY_AND_DISK"):
            if getattr(StorageLevel, name) == self:
                return name
        return "" if not (self.useDisk or self.useMemory) else repr(self)

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
        return isinstance(other, StorageLevel) and all(
            getattr(self, field) == getattr(other, field) for field in self.__slots__
        )

    def __hash__(self) -> int:
        return hash(tuple(getattr(self, field) for field in self.__slots__))


StorageLevel.NONE = StorageLevel(False, False, False, False, 1)
StorageLevel.MEMORY_ONLY = StorageLevel(False, True, False, False, 1)
StorageLevel.MEMORY_AND_DISK = StorageLevel(True, True, False, False, 1)
