"""SparkContext, where PySpark has it."""

from __future__ import annotations

from sparklab.context import SparkContext

__all__ = ["SparkContext"]
