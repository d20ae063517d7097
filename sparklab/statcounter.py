"""StatCounter, where PySpark has it."""

from __future__ import annotations

from sparklab.rdd.statcounter import StatCounter

__all__ = ["StatCounter"]
