"""sparklab: Spark's RDD API on a Dask cluster, made to be watched and touched from a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparklab import jvmonly, lazy

__version__ = "0.1.0"

if TYPE_CHECKING:
    from sparklab.accumulators import Accumulator, AccumulatorParam
    from sparklab.broadcast import Broadcast
    from sparklab.conf import SparkConf
    from sparklab.context import SparkContext
    from sparklab.files import SparkFiles
    from sparklab.jupyter import load_ipython_extension, unload_ipython_extension
    from sparklab.profiler import BasicProfiler, Profiler, UDFBasicProfiler
    from sparklab.rdd import RDD, RDDBarrier
    from sparklab.sql import SparkSession
    from sparklab.status import SparkExecutorInfo, SparkJobInfo, SparkStageInfo, StatusTracker
    from sparklab.storage.level import StorageLevel
    from sparklab.taskcontext import BarrierTaskContext, BarrierTaskInfo, TaskContext
    from sparklab.util import InheritableThread, inheritable_thread_target

__all__ = [
    "RDD",
    "Accumulator",
    "AccumulatorParam",
    "BarrierTaskContext",
    "BarrierTaskInfo",
    "BasicProfiler",
    "Broadcast",
    "InheritableThread",
    "Profiler",
    "RDDBarrier",
    "SparkConf",
    "SparkContext",
    "SparkExecutorInfo",
    "SparkFiles",
    "SparkJobInfo",
    "SparkSession",
    "SparkStageInfo",
    "StatusTracker",
    "StorageLevel",
    "TaskContext",
    "UDFBasicProfiler",
    "inheritable_thread_target",
    "load_ipython_extension",
    "unload_ipython_extension",
]

_HOMES = {
    "SparkContext": "sparklab.context",
    "SparkConf": "sparklab.conf",
    "RDD": "sparklab.rdd",
    "RDDBarrier": "sparklab.rdd",
    "Accumulator": "sparklab.accumulators",
    "AccumulatorParam": "sparklab.accumulators",
    "BasicProfiler": "sparklab.profiler",
    "Profiler": "sparklab.profiler",
    "UDFBasicProfiler": "sparklab.profiler",
    "BarrierTaskContext": "sparklab.taskcontext",
    "BarrierTaskInfo": "sparklab.taskcontext",
    "Broadcast": "sparklab.broadcast",
    "InheritableThread": "sparklab.util",
    "SparkExecutorInfo": "sparklab.status",
    "SparkFiles": "sparklab.files",
    "SparkJobInfo": "sparklab.status",
    "SparkSession": "sparklab.sql",
    "SparkStageInfo": "sparklab.status",
    "StatusTracker": "sparklab.status",
    "StorageLevel": "sparklab.storage.level",
    "TaskContext": "sparklab.taskcontext",
    "inheritable_thread_target": "sparklab.util",
    "load_ipython_extension": "sparklab.jupyter",
    "unload_ipython_extension": "sparklab.jupyter",
}

# So `import sparklab` costs milliseconds, and an executor loads only what it runs.
__getattr__ = lazy.names(__name__, _HOMES)
jvmonly.explain_imports()
