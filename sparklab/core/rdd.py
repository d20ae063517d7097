"""RDD and what goes with it, where PySpark has them."""

from __future__ import annotations

from sparklab.rdd import RDD, Partitioner, RDDBarrier, portable_hash

__all__ = ["RDD", "Partitioner", "RDDBarrier", "portable_hash"]
