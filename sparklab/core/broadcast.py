"""Broadcast, where PySpark has it."""

from __future__ import annotations

from sparklab.broadcast import Broadcast

__all__ = ["Broadcast"]
