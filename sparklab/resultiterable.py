"""ResultIterable, where PySpark has it."""

from __future__ import annotations

from sparklab.rdd.resultiterable import ResultIterable

__all__ = ["ResultIterable"]
