"""SparkFiles, where PySpark has it."""

from __future__ import annotations

from sparklab.files import SparkFiles

__all__ = ["SparkFiles"]
