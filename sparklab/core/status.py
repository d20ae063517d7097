"""StatusTracker and what it tells, where PySpark has them."""

from __future__ import annotations

from sparklab.status import SparkExecutorInfo, SparkJobInfo, SparkStageInfo, StatusTracker

__all__ = ["SparkExecutorInfo", "SparkJobInfo", "SparkStageInfo", "StatusTracker"]
