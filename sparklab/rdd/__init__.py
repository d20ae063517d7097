"""What to compute: the RDD, its operators and actions, all lazy and free of any cluster."""

from __future__ import annotations

from sparklab.rdd.approximate import BoundedFloat
from sparklab.rdd.barrier import RDDBarrier
from sparklab.rdd.nodes import MapPartitions as PipelinedRDD
from sparklab.rdd.partitioner import Partitioner, portable_hash
from sparklab.rdd.rdd import RDD

__all__ = ["RDD", "BoundedFloat", "Partitioner", "PipelinedRDD", "RDDBarrier", "portable_hash"]
