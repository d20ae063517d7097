"""What to compute: the RDD, its operators and actions, all lazy and free of any cluster."""

from __future__ import annotations

from sparklab.rdd.partitioner import Partitioner, portable_hash
from sparklab.rdd.rdd import RDD

__all__ = ["RDD", "Partitioner", "portable_hash"]
