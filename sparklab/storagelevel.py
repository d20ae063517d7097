"""StorageLevel, where PySpark has it."""

from __future__ import annotations

from sparklab.storage.level import StorageLevel

__all__ = ["StorageLevel"]
