"""SparkSession as far as RDD programs need it: a way to the SparkContext. There are no DataFrames."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Any, ClassVar, Final, NoReturn

from sparklab.conf import SparkConf
from sparklab.context import SparkContext

__all__ = ["SparkSession"]
# No folder: with it, imports of Spark SQL's modules are asked for, and explained, by name (see jvmonly).
__path__: list[str] = []

_PANDAS: Final = "use the RDD API, and rdd.toPandas() for a small result"
_ADVICE: Final[dict[str, str]] = {
    "SparkSession.addArtifact": "use spark.sparkContext.addFile or addPyFile",
    "SparkSession.addArtifacts": "use spark.sparkContext.addFile or addPyFile",
    "SparkSession.catalog": _PANDAS,
    "SparkSession.createDataFrame": f"make an RDD with spark.sparkContext.parallelize(rows); {_PANDAS}",
    "SparkSession.dataSource": _PANDAS,
    "SparkSession.range": "use spark.sparkContext.range, which makes an RDD",
    "SparkSession.read": "read text with spark.sparkContext.textFile and parse each line with map",
    "SparkSession.readStream": "there is no streaming; read files with spark.sparkContext.textFile",
    "SparkSession.sql": f"write the query with RDD operators: filter, map, join, reduceByKey; {_PANDAS}",
    "SparkSession.streams": "there is no streaming; read files with spark.sparkContext.textFile",
    "SparkSession.table": "there are no tables; read files with spark.sparkContext.textFile",
    "SparkSession.tvf": _PANDAS,
    "SparkSession.udf": "pass the function to rdd.map or rdd.filter as it is",
    "SparkSession.udtf": "pass the function to rdd.flatMap as it is",
    "SparkSession.builder.remote": "there is no Spark Connect: give a Dask scheduler's address to master()",
    "Column": _PANDAS,
    "DataFrame": _PANDAS,
    "GroupedData": "use rdd.groupByKey or rdd.reduceByKey",
    "HiveContext": "use SparkSession.builder.getOrCreate().sparkContext",
    "Row": "use tuples, or a NamedTuple where fields need names",
    "SQLContext": "use SparkSession.builder.getOrCreate().sparkContext",
    "Window": "use rdd.groupByKey and mapValues",
    "functions": "use Python's functions in rdd.map and rdd.reduceByKey",
    "types": "records are plain Python objects: no schema is needed",
}


def _refuse(name: str) -> NoReturn:
    raise NotImplementedError(f"{name} belongs to Spark SQL, which sparklab does without; {_ADVICE[name]}.")


def __getattr__(name: str) -> NoReturn:
    if name in _ADVICE:
        _refuse(name)
    raise AttributeError(f"module 'sparklab.sql' has no attribute {name!r}")


class RuntimeConfig:
    """``spark.conf``: settings by name. What is set here is kept, and changes nothing of a running context."""

    def __init__(self, conf: SparkConf) -> None:
        self._conf = conf
        self._unset: set[str] = set()

    def set(self, key: str, value: Any) -> None:
        """`key` has the value ``str(value)``; True and False are written ``true`` and ``false``."""
        self._unset.discard(key)
        self._conf.set(key, _as_text(value))

    def get(self, key: str, default: Any = ...) -> Any:
        """The value of `key`; `default` where it has none. KeyError where there is no default either."""
        if self._conf.contains(key) and key not in self._unset:
            return self._conf.get(key)
        if default is ...:
            raise KeyError(f"the setting {key} has no value")
        return default

    def unset(self, key: str) -> None:
        """`key` has no value."""
        self._unset.add(key)

    @property
    def getAll(self) -> dict[str, str]:
        """All that have a value."""
        return {key: value for key, value in self._conf.getAll() if key not in self._unset}

    def isModifiable(self, key: str) -> bool:
        """False: nothing of a running context can be changed."""
        return False


class _Builders:
    """``SparkSession.builder`` is a new builder each time that it is asked for."""

    def __get__(self, _: object, owner: type[SparkSession]) -> Builder:
        return Builder()


class Builder:
    """Collects settings; every method but the last returns the builder. See :class:`SparkSession`."""

    def __init__(self) -> None:
        self._options = SparkConf()

    def master(self, master: str) -> Builder:
        """The context, should it have to be made, runs on `master`."""
        self._options.setMaster(master)
        return self

    def appName(self, name: str) -> Builder:
        """The context, should it have to be made, is called `name`."""
        self._options.setAppName(name)
        return self

    def config(
        self,
        key: str | None = None,
        value: Any = None,
        conf: SparkConf | None = None,
        *,
        map: dict[str, Any] | None = None,
    ) -> Builder:
        """The settings have `value` for `key`, and all that `conf` and `map` say."""
        if conf is not None:
            self._options.setAll(conf.getAll())
        for name, each in (map or {}).items():
            self._options.set(name, _as_text(each))
        if key is not None:
            self._options.set(key, _as_text(value))
        return self

    def enableHiveSupport(self) -> Builder:
        """Nothing changes: there is no Hive, and RDDs need none."""
        return self

    def remote(self, url: str) -> Builder:
        """Raises NotImplementedError: there is no Spark Connect."""
        _refuse("SparkSession.builder.remote")

    def create(self) -> SparkSession:
        """A new session on the active context, which is made where there is none."""
        return SparkSession(SparkContext.getOrCreate(self._options), self._options)

    def getOrCreate(self) -> SparkSession:
        """The session there is already, else a new one on the active context, which is made where there is none."""
        with SparkSession._lock:
            session = SparkSession.getActiveSession()
            if session is None:
                return self.create()
            for key, value in self._options.getAll():
                session.conf.set(key, value)
            return session


class SparkSession:
    """The way to a SparkContext that newer Spark programs begin with. DataFrames there are none.

    Examples
    --------
    >>> from sparklab.sql import SparkSession
    >>> spark = SparkSession.builder.appName("a lesson").config("spark.ui.enabled", False).getOrCreate()
    >>> spark.sparkContext.parallelize([1, 2, 3], 2).sum()
    6
    >>> spark.createDataFrame([(1, "a")])
    Traceback (most recent call last):
    NotImplementedError: SparkSession.createDataFrame belongs to Spark SQL, which sparklab does without; ...
    """

    Builder: ClassVar[type[Builder]] = Builder
    builder: ClassVar[_Builders] = _Builders()
    _lock: ClassVar[threading.RLock] = threading.RLock()
    _current: ClassVar[SparkSession | None] = None

    def __init__(self, sparkContext: SparkContext, options: SparkConf | None = None) -> None:
        self._sc = sparkContext
        settings = sparkContext.getConf().setAll(options.getAll() if options is not None else [])
        self.conf = RuntimeConfig(settings)
        SparkSession._current = self

    @classmethod
    def getActiveSession(cls) -> SparkSession | None:
        """The session made last, None where there is none or its context was stopped."""
        session = cls._current
        return session if session is not None and session._sc.state != "stopped" else None

    @classmethod
    def active(cls) -> SparkSession:
        """The session made last. RuntimeError where there is none."""
        session = cls.getActiveSession()
        if session is None:
            raise RuntimeError("No active or default Spark session found: SparkSession.builder.getOrCreate() makes one")
        return session

    def newSession(self) -> SparkSession:
        """Another session on the same context."""
        return SparkSession(self._sc)

    @property
    def sparkContext(self) -> SparkContext:
        """The context: what RDDs are made with."""
        return self._sc

    @property
    def version(self) -> str:
        """Version of sparklab."""
        return self._sc.version

    def addTag(self, tag: str) -> None:
        """As :meth:`SparkContext.addJobTag`."""
        self._sc.addJobTag(tag)

    def removeTag(self, tag: str) -> None:
        """As :meth:`SparkContext.removeJobTag`."""
        self._sc.removeJobTag(tag)

    def getTags(self) -> set[str]:
        """As :meth:`SparkContext.getJobTags`."""
        return self._sc.getJobTags()

    def clearTags(self) -> None:
        """As :meth:`SparkContext.clearJobTags`."""
        self._sc.clearJobTags()

    def stop(self) -> None:
        """The context is stopped. Idempotent."""
        self._sc.stop()
        if SparkSession._current is self:
            SparkSession._current = None

    def __enter__(self) -> SparkSession:
        return self

    def __exit__(
        self, type: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __getattr__(self, name: str) -> NoReturn:
        if f"SparkSession.{name}" in _ADVICE:
            _refuse(f"SparkSession.{name}")
        raise AttributeError(f"'SparkSession' object has no attribute {name!r}")


def _as_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
