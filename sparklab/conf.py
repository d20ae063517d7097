"""Settings: PySpark's mutable ``SparkConf``, and the frozen, typed ``Settings`` made from it once."""

from __future__ import annotations

import difflib
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast

from sparklab.errors import SparklabError

TaskLane = Literal["auto", "direct", "graph"]
SchedulerMode = Literal["FIFO", "FAIR"]

CHECK_DETERMINISM: Final = "sparklab.checkDeterminism"  # a setting, and a local property of a thread's jobs

_ENVIRONMENT: Final = "spark.executorEnv."

_SIZE_UNITS: Final = {"b": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40, "p": 2**50}
_TIME_UNITS_S: Final = {
    "us": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "min": 60.0,
    "h": 3600.0,
    "d": 86400.0,
}


class ConfError(SparklabError, ValueError):
    """A setting has a value that cannot be used."""


class SparkConf:
    """Settings of an application, as pairs of strings; every setter returns the conf itself.

    Parameters
    ----------
    loadDefaults : bool
        Accepted for PySpark's sake; there are no JVM system properties to load from.

    Notes
    -----
    Not thread-safe. A context copies its conf at the start: later changes reach no running context.

    Examples
    --------
    >>> conf = SparkConf().setMaster("local[2]").setAppName("demo")
    >>> conf.get("spark.master")
    'local[2]'
    """

    def __init__(self, loadDefaults: bool = True, _jvm: Any = None, _jconf: Any = None) -> None:
        self._pairs: dict[str, str] = {}

    def set(self, key: str, value: Any) -> SparkConf:
        """`key` has the value ``str(value)``.

        Examples
        --------
        >>> SparkConf().set("lesson", 1).get("lesson")
        '1'
        """
        self._pairs[key] = str(value)
        return self

    def setIfMissing(self, key: str, value: Any) -> SparkConf:
        """`key` has a value: its old one if there was one, else ``str(value)``.

        Examples
        --------
        >>> SparkConf().set("lesson", "1").setIfMissing("lesson", "2").get("lesson")
        '1'
        """
        if key not in self._pairs:
            self.set(key, value)
        return self

    def setMaster(self, value: str) -> SparkConf:
        """The application runs on master `value` (``local[2]``, ``threads[4]``, ``tls://host:port``).

        Examples
        --------
        >>> SparkConf().setMaster("local[2]").get("spark.master")
        'local[2]'
        """
        return self.set("spark.master", value)

    def setAppName(self, value: str) -> SparkConf:
        """The application is called `value`.

        Examples
        --------
        >>> SparkConf().setAppName("lesson").get("spark.app.name")
        'lesson'
        """
        return self.set("spark.app.name", value)

    def setSparkHome(self, value: str) -> SparkConf:
        """Kept and otherwise without effect: there is no Spark installation.

        Examples
        --------
        >>> SparkConf().setSparkHome("/opt/spark").get("spark.home")
        '/opt/spark'
        """
        return self.set("spark.home", value)

    def setExecutorEnv(
        self, key: str | None = None, value: str | None = None, pairs: list[tuple[str, str]] | None = None
    ) -> SparkConf:
        """Executors see environment variable `key`, or those of `pairs`.

        Raises
        ------
        ConfError
            Both or neither of `key` and `pairs` were given.

        Examples
        --------
        >>> SparkConf().setExecutorEnv("LESSON", "1").get("spark.executorEnv.LESSON")
        '1'
        """
        if (key is None) == (pairs is None):
            raise ConfError(
                "setting environment variables of the executors",
                "both a key and pairs" if key is not None else "neither a key nor pairs",
                "Either pass one key-value pair or a list of pairs",
            )
        for name, text in pairs if pairs is not None else [(cast(str, key), cast(str, value))]:
            self.set(_ENVIRONMENT + name, text)
        return self

    def setAll(self, pairs: Iterable[tuple[str, str]]) -> SparkConf:
        """Every pair of `pairs` is set.

        Examples
        --------
        >>> SparkConf().setAll([("lesson", "1"), ("page", "2")]).get("page")
        '2'
        """
        for key, value in pairs:
            self.set(key, value)
        return self

    def get(self, key: str, defaultValue: str | None = None) -> str | None:
        """The value of `key`, or `defaultValue` where it has none.

        Examples
        --------
        >>> SparkConf().get("lesson", "none")
        'none'
        """
        return self._pairs.get(key, defaultValue)

    def getAll(self) -> list[tuple[str, str]]:
        """All pairs, in the order in which their keys were first set.

        Examples
        --------
        >>> SparkConf(False).set("lesson", "1").getAll()
        [('lesson', '1')]
        """
        return list(self._pairs.items())

    def contains(self, key: str) -> bool:
        """Whether `key` has a value.

        Examples
        --------
        >>> SparkConf().set("lesson", "1").contains("lesson")
        True
        """
        return key in self._pairs

    def toDebugString(self) -> str:
        """One ``key=value`` per line, sorted by key.

        Examples
        --------
        >>> print(SparkConf(False).set("b", "2").set("a", "1").toDebugString())
        a=1
        b=2
        """
        return "\n".join(f"{key}={value}" for key, value in sorted(self._pairs.items()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a context goes by, checked and in stated units; never changes.

    Attributes
    ----------
    master, app_name : str
        ``spark.master`` and ``spark.app.name``; None where not set.
    default_parallelism : int or None
        ``spark.default.parallelism``; None means one partition per core.
    allow_multiple_contexts : bool
        ``sparklab.allowMultipleContexts``.
    journal_dir : str or None
        ``sparklab.journal.dir``; None means no journal on disk beyond the context's scratch.
    local_dir : str
        ``spark.local.dir``: where scratch directories are made.
    task_lane : str
        ``sparklab.task.lane``: how tasks reach executors.
    executor_memory_bytes : int or None
        ``spark.executor.memory``; None means a share of what this process may use.
    memory_fraction : float
        ``spark.memory.fraction``: the part of an executor's memory for cached blocks and running operators.
    storage_fraction : float
        ``spark.memory.storageFraction``: the part of that for cached blocks.
    scheduler_mode : str
        ``spark.scheduler.mode``: how jobs of several threads share the executors.
    max_task_failures : int
        ``spark.task.maxFailures``: a task that fails this often fails its job.
    heartbeat_interval_s : float
        ``spark.executor.heartbeatInterval``: how often the driver asks each executor for a sign of life.
    network_timeout_s : float or None
        ``spark.network.timeout``: an executor that is silent for so long is given up; None means 10 s where the
        executors are ours, 60 s on a cluster of somebody else's. One that uses the processor is not silent.
    max_stage_attempts : int
        ``spark.stage.maxConsecutiveAttempts``: a stage whose attempts end so often in lost map outputs, with no task
        done in between, fails its jobs.
    speculation, speculation_interval_s, speculation_multiplier, speculation_quantile, speculation_least_s
        ``spark.speculation`` and its ``.interval``, ``.multiplier``, ``.quantile``, ``.minTaskRuntime``: tasks that
        take much longer than the median of their stage get a second attempt elsewhere.
    exclude_on_failure, exclude_timeout_s, exclude_attempts_per_executor, exclude_stage_tasks_per_executor, \
exclude_app_tasks_per_executor
        ``spark.excludeOnFailure.enabled``, ``.timeout``, ``.task.maxTaskAttemptsPerExecutor``,
        ``.stage.maxFailedTasksPerExecutor``, ``.application.maxFailedTasksPerExecutor``: executors on which tasks fail
        get no more of them.
    check_determinism : float
        ``sparklab.checkDeterminism``: the share of tasks that compute their partition twice; 0 checks nothing.
    locality_wait_s : float
        ``spark.locality.wait``: how long a task waits for the executor that holds its data.
    start_timeout_s : float
        ``sparklab.cluster.startTimeout``.
    profile, profile_memory, profile_dump : bool, bool, str or None
        ``spark.python.profile``, ``spark.python.profile.memory``, ``spark.python.profile.dump``.
    broadcast_piece_bytes : int
        ``spark.broadcast.blockSize``: the pieces in which broadcasts travel to executors on other hosts.
    share_files : bool
        ``sparklab.cluster.shareFiles``: whether processes of one host open each other's files; if not, all that they
        exchange goes through connections, as between hosts.
    executor_env : mapping
        ``spark.executorEnv.NAME``.
    """

    master: str | None = None
    app_name: str | None = None
    default_parallelism: int | None = None
    allow_multiple_contexts: bool = False
    journal_dir: str | None = None
    local_dir: str = field(default_factory=tempfile.gettempdir)
    task_lane: TaskLane = "auto"
    executor_memory_bytes: int | None = None
    memory_fraction: float = 0.8
    storage_fraction: float = 0.5
    scheduler_mode: SchedulerMode = "FIFO"
    max_task_failures: int = 4
    heartbeat_interval_s: float = 2.0
    network_timeout_s: float | None = None
    max_stage_attempts: int = 4
    speculation: bool = False
    speculation_interval_s: float = 0.1
    speculation_multiplier: float = 3.0
    speculation_quantile: float = 0.9
    speculation_least_s: float = 0.1
    exclude_on_failure: bool = False
    exclude_timeout_s: float = 3600.0
    exclude_attempts_per_executor: int = 1
    exclude_stage_tasks_per_executor: int = 2
    exclude_app_tasks_per_executor: int = 2
    check_determinism: float = 0.0
    locality_wait_s: float = 3.0
    start_timeout_s: float = 60.0
    profile: bool = False
    profile_memory: bool = False
    profile_dump: str | None = None
    broadcast_piece_bytes: int = 4 << 20
    share_files: bool = True
    executor_env: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_conf(cls, conf: SparkConf) -> Settings:
        """The settings that `conf` describes now.

        Keys of Spark's that mean nothing here are ignored, as Spark ignores unknown keys; a key that begins with
        ``sparklab.`` and is not known is taken for a mistake.

        Raises
        ------
        ConfError
            A value cannot be used; the text names the key, the value and what is expected.
        """
        found: dict[str, Any] = {}
        environment: dict[str, str] = {}
        for key, text in conf.getAll():
            if key.startswith(_ENVIRONMENT):
                environment[key.removeprefix(_ENVIRONMENT)] = text
            elif key in _KEYS:
                name, parse = _KEYS[key]
                found[name] = parse(key, text)
            elif key.startswith("sparklab."):
                close = difflib.get_close_matches(key, _KEYS, n=1, cutoff=0.8)
                known = ", ".join(sorted(each for each in _KEYS if each.startswith("sparklab.")))
                raise ConfError(
                    f"reading the setting {key}={text}",
                    "no setting of this name",
                    f"did you mean {close[0]}?" if close else f"known are {known}",
                )
        return cls(**found, executor_env=environment)


def size_bytes(key: str, text: str, unit: str = "m") -> int:
    """Bytes of a size as Spark writes it: ``512m``, ``1g``, ``64kb``; a bare number counts `unit`.

    Raises
    ------
    ConfError
        `text` is not a positive size.
    """
    match = re.fullmatch(r"\s*(\d+)\s*([bkmgtp])?(?:(?<=[kmgtp])b)?\s*", text.lower())
    if match is None or int(match[1]) == 0:
        raise _wrong(key, text, "a size such as 512m or 2g (k, m, g, t; whole numbers)")
    return int(match[1]) * _SIZE_UNITS[match[2] or unit]


def time_s(key: str, text: str, unit: str = "ms") -> float:
    """Seconds of a time as Spark writes it: ``3s``, ``100ms``, ``2min``; a bare number counts `unit`.

    Raises
    ------
    ConfError
        `text` is not a time of zero or more.
    """
    match = re.fullmatch(r"\s*(\d+)\s*([a-z]+)?\s*", text.lower())
    scale = _TIME_UNITS_S.get(match[2] or unit) if match is not None else None
    if match is None or scale is None:
        raise _wrong(key, text, "a time such as 3s or 100ms (us, ms, s, m, h, d; whole numbers)")
    return int(match[1]) * scale


def _wrong(key: str, text: str, expected: str) -> ConfError:
    return ConfError(f"reading the setting {key}", f"the value {text!r}", f"give {expected}")


def _period(key: str, text: str) -> float:
    value = time_s(key, text)
    if value <= 0:
        raise _wrong(key, text, "a time above 0, such as 2s or 500ms")
    return value


def _timeout(key: str, text: str) -> float:
    value = time_s(key, text, "s")  # as in Spark, a bare number counts seconds here
    if value <= 0:
        raise _wrong(key, text, "a time above 0, such as 10s")
    return value


def _text(key: str, text: str) -> str:
    if not text:
        raise _wrong(key, text, "a text that is not empty")
    return text


def _folder(key: str, text: str) -> str:
    # Spark allows a list of directories; scratch needs one.
    return _text(key, text.split(",")[0].strip())


def _count(key: str, text: str) -> int:
    if not re.fullmatch(r"\s*\d+\s*", text) or int(text) == 0:
        raise _wrong(key, text, "a whole number of at least 1")
    return int(text)


def _flag(key: str, text: str) -> bool:
    values = {"true": True, "false": False}
    if text.strip().lower() not in values:
        raise _wrong(key, text, "true or false")
    return values[text.strip().lower()]


def _fraction(key: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 < value < 1.0:
        raise _wrong(key, text, "a number between 0 and 1")
    return value


def _share(key: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 1.0:
        raise _wrong(key, text, "a number from 0 to 1")
    return value


def _factor(key: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 1.0 <= value < float("inf"):
        raise _wrong(key, text, "a number of at least 1")
    return value


def _choice(*values: str) -> Callable[[str, str], str]:
    by_lower = {value.lower(): value for value in values}

    def parse(key: str, text: str) -> str:
        if text.strip().lower() not in by_lower:
            raise _wrong(key, text, "one of " + ", ".join(values))
        return by_lower[text.strip().lower()]

    return parse


_KEYS: Final[Mapping[str, tuple[str, Callable[[str, str], Any]]]] = {
    "spark.master": ("master", _text),
    "spark.app.name": ("app_name", _text),
    "spark.default.parallelism": ("default_parallelism", _count),
    "spark.local.dir": ("local_dir", _folder),
    "spark.executor.memory": ("executor_memory_bytes", size_bytes),
    "spark.memory.fraction": ("memory_fraction", _fraction),
    "spark.memory.storageFraction": ("storage_fraction", _fraction),
    "spark.scheduler.mode": ("scheduler_mode", _choice("FIFO", "FAIR")),
    "spark.task.maxFailures": ("max_task_failures", _count),
    "spark.executor.heartbeatInterval": ("heartbeat_interval_s", _period),
    "spark.network.timeout": ("network_timeout_s", _timeout),
    "spark.python.profile": ("profile", _flag),
    "spark.python.profile.memory": ("profile_memory", _flag),
    "spark.python.profile.dump": ("profile_dump", _text),
    "spark.stage.maxConsecutiveAttempts": ("max_stage_attempts", _count),
    "spark.speculation": ("speculation", _flag),
    "spark.speculation.interval": ("speculation_interval_s", _period),
    "spark.speculation.multiplier": ("speculation_multiplier", _factor),
    "spark.speculation.quantile": ("speculation_quantile", _fraction),
    "spark.speculation.minTaskRuntime": ("speculation_least_s", time_s),
    "spark.excludeOnFailure.enabled": ("exclude_on_failure", _flag),
    "spark.excludeOnFailure.timeout": ("exclude_timeout_s", _timeout),
    "spark.excludeOnFailure.task.maxTaskAttemptsPerExecutor": ("exclude_attempts_per_executor", _count),
    "spark.excludeOnFailure.stage.maxFailedTasksPerExecutor": ("exclude_stage_tasks_per_executor", _count),
    "spark.excludeOnFailure.application.maxFailedTasksPerExecutor": ("exclude_app_tasks_per_executor", _count),
    "spark.locality.wait": ("locality_wait_s", time_s),
    "spark.broadcast.blockSize": ("broadcast_piece_bytes", lambda key, text: size_bytes(key, text, "k")),
    "sparklab.cluster.shareFiles": ("share_files", _flag),
    "sparklab.allowMultipleContexts": ("allow_multiple_contexts", _flag),
    "sparklab.journal.dir": ("journal_dir", _text),
    CHECK_DETERMINISM: ("check_determinism", _share),
    "sparklab.task.lane": ("task_lane", _choice("auto", "direct", "graph")),
    "sparklab.cluster.startTimeout": ("start_timeout_s", time_s),
}
