"""RDD and what goes with it, where PySpark has them."""

from __future__ import annotations

from sparklab.rdd import RDD, BoundedFloat, Partitioner, RDDBarrier, portable_hash

__all__ = ["RDD", "BoundedFloat", "Partitioner", "RDDBarrier", "portable_hash"]
