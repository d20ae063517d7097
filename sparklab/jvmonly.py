"""PySpark's names that need Spark's JVM: each raises NotImplementedError and says what to use instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NoReturn, TypeVar

T = TypeVar("T")

_TEXT: Final = "write text with rdd.saveAsTextFile or records with rdd.saveAsPickleFile"
_READ: Final = "read text with sc.textFile or sc.wholeTextFiles, records with sc.pickleFile, bytes with sc.binaryFiles"
_CLUSTER: Final = "sparklab has one kind of executor: choose their number with the master, local[N], and their memory "
_MEMORY: Final = "with spark.executor.memory"

ADVICE: Final[dict[str, str]] = {
    "RDD.toDF": "there are no DataFrames here: rdd.toPandas() and rdd.toArrow() make tables, or go on with the RDD",
    "RDD.saveAsHadoopDataset": _TEXT,
    "RDD.saveAsHadoopFile": _TEXT,
    "RDD.saveAsNewAPIHadoopDataset": _TEXT,
    "RDD.saveAsNewAPIHadoopFile": _TEXT,
    "RDD.saveAsSequenceFile": _TEXT,
    "RDD.withResources": _CLUSTER + _MEMORY,
    "RDD.getResourceProfile": _CLUSTER + _MEMORY,
    "SparkContext.getSystemProperty": "there is no JVM: use os.environ, or sc.getConf().get(key) for settings",
    "SparkContext.setSystemProperty": "there is no JVM: use os.environ, or SparkConf().set(key, value) for settings",
    "SparkContext.hadoopFile": _READ,
    "SparkContext.hadoopRDD": _READ,
    "SparkContext.newAPIHadoopFile": _READ,
    "SparkContext.newAPIHadoopRDD": _READ,
    "SparkContext.sequenceFile": _READ,
    "SparkContext.sparkHome": "there is no Spark installation: sparklab.__file__ says where this package is",
    "SparkContext.environment": "set variables of executors with SparkConf().setExecutorEnv(name, value)",
    "SparkContext.pythonExec": "executors run the Python of the driver: sys.executable",
    "SparkContext.serializer": "records travel by pickle, functions by cloudpickle; there is nothing to choose",
    "SparkContext._jsc": "ask the context itself: sc.getConf(), sc.statusTracker(), sc.defaultParallelism",
    "SparkContext._jvm": "use Python's own libraries; for files s3://, hdfs:// and others work as paths",
    "SparkContext._gateway": "there is no py4j: nothing has to be converted between Python and Java",
    "TaskContext.resources": "there is no scheduling of GPUs and the like: a task finds what its executor's host has",
}


_ATTRIBUTES: Final = {
    f"SparkContext.{name}"
    for name in ("sparkHome", "environment", "pythonExec", "serializer", "_jsc", "_jvm", "_gateway")
}


class JvmAttributeError(NotImplementedError, AttributeError):
    """An attribute that needs a JVM was read. ``hasattr`` answers False, as tools that look around expect."""


def refuse(name: str) -> NoReturn:
    """Raise the NotImplementedError of `name`, a key of the table."""
    kind = JvmAttributeError if name in _ATTRIBUTES else NotImplementedError
    raise kind(f"{name} needs Spark's JVM, which sparklab does without; {ADVICE[name]}.")


def _refusal(name: str) -> Callable[..., NoReturn]:
    def method(*args: Any, **kwargs: Any) -> NoReturn:
        refuse(name)

    method.__name__ = name.rpartition(".")[2]
    method.__qualname__ = name
    method.__doc__ = f"Raises NotImplementedError: it needs Spark's JVM. Instead: {ADVICE[name]}."
    return method


def refuses_jvm_names(kind: type[T]) -> type[T]:
    """Class decorator: `kind` has a method that refuses for each name that the table has for its class."""
    for name in ADVICE:
        owner, _, method = name.partition(".")
        if owner == kind.__name__ and method not in vars(kind):
            refusal: Any = _refusal(name)
            if name in _ATTRIBUTES:
                refusal = property(refusal)
            elif method.endswith("SystemProperty"):
                refusal = classmethod(refusal)
            setattr(kind, method, refusal)
    return kind
