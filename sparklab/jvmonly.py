"""PySpark's names that need Spark's JVM: each raises NotImplementedError and says what to use instead."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
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


_LEARN: Final = (
    "use sparklab.train for linear models by gradient descent, sparklab.ps for shared weights, or scikit-learn"
)
_TABLES: Final = "use the RDD API, and rdd.toPandas() for a small result"
_CONTEXT: Final = "use SparkContext.getOrCreate(), or SparkSession.builder.getOrCreate().sparkContext"

#: What PySpark has to import and sparklab has not -> what to do instead.
NOT_HERE: Final[dict[str, str]] = {
    "sparklab.mllib": _LEARN,
    "sparklab.ml": _LEARN,
    "sparklab.streaming": "there is no streaming: read files with sc.textFile",
    "sparklab.pandas": "use pandas itself; rdd.toPandas() makes a table of a small result",
    "sparklab.sql.functions": "use Python's functions in rdd.map and rdd.reduceByKey",
    "sparklab.sql.types": "records are plain Python objects: no schema is needed",
    "sparklab.sql.window": "use rdd.groupByKey and mapValues",
    "sparklab.sql.session": "from sparklab.sql import SparkSession",
    "sparklab.sql.streaming": "there is no streaming: read files with sc.textFile",
    **dict.fromkeys(
        (f"sparklab.sql.{name}" for name in ("catalog", "column", "connect", "dataframe", "group", "pandas", "udf")),
        _TABLES,
    ),
    "sparklab.SQLContext": _CONTEXT,
    "sparklab.HiveContext": _CONTEXT,
    "sparklab.Row": "use tuples, or a NamedTuple where fields need names",
}


class _NotHere:
    """Asked last by ``import``: names of :data:`NOT_HERE` are refused with advice, all else is left to Python."""

    @staticmethod
    def find_spec(name: str, path: Iterable[str] | None = None, target: Any = None) -> None:
        advice = NOT_HERE.get(name)
        if advice is not None:
            # Without its `name`: an error that has it is swallowed by ``from sparklab import ml``.
            raise ModuleNotFoundError(f"{name} is a part of PySpark that sparklab does without; {advice}.")


def explain_imports() -> None:
    """Imports of what PySpark has and sparklab has not say what to use instead. Idempotent."""
    if _NotHere not in sys.meta_path:
        sys.meta_path.append(_NotHere)


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
