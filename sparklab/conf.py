"""Settings: PySpark's mutable ``SparkConf``, and the frozen, typed ``Settings`` made from it once."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast

from sparklab import settingvalues as values
from sparklab.nearness import did_you_mean
from sparklab.settingvalues import ConfError

TaskLane = Literal["auto", "direct", "graph"]
SchedulerMode = Literal["FIFO", "FAIR"]

CHECK_DETERMINISM: Final = "sparklab.checkDeterminism"  # a setting, and a local property of a thread's jobs
BACKGROUND: Final = "sparklab.job.background"  # a local property: with "true", jobs of others go first

_ENVIRONMENT: Final = "spark.executorEnv."
_OURS: Final = "sparklab."


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
exclude_app_tasks_per_executor, exclude_attempts_per_node, exclude_stage_executors_per_node, \
exclude_app_executors_per_node
        ``spark.excludeOnFailure.enabled``, ``.timeout``, ``.task.maxTaskAttemptsPerExecutor``,
        ``.stage.maxFailedTasksPerExecutor``, ``.application.maxFailedTasksPerExecutor``, and
        ``.task.maxTaskAttemptsPerNode``, ``.stage.maxFailedExecutorsPerNode``,
        ``.application.maxFailedExecutorsPerNode``: executors on which tasks fail, and nodes of such, get no more.
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
    tls : bool
        ``sparklab.cluster.tls``: whether the processes of a cluster that we start speak TLS. Without, every user of the
        machine can run code in them: for measuring what TLS costs, on a machine of your own.
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
    exclude_attempts_per_node: int = 2
    exclude_stage_executors_per_node: int = 2
    exclude_app_executors_per_node: int = 2
    check_determinism: float = 0.0
    locality_wait_s: float = 3.0
    start_timeout_s: float = 60.0
    profile: bool = False
    profile_memory: bool = False
    profile_dump: str | None = None
    broadcast_piece_bytes: int = 4 << 20
    share_files: bool = True
    tls: bool = True
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
            elif key.startswith(_OURS):
                known = sorted(each for each in _KEYS if each.startswith(_OURS))
                words = [each.removeprefix(_OURS) for each in known]
                raise ConfError(
                    f"reading the setting {key}={text}",
                    "no setting of this name",
                    did_you_mean(key.removeprefix(_OURS), words, before=_OURS) or f"known are {', '.join(known)}",
                )
        return cls(**found, executor_env=environment)


_KEYS: Final[Mapping[str, tuple[str, values.Parser]]] = {
    "spark.master": ("master", values.not_empty),
    "spark.app.name": ("app_name", values.not_empty),
    "spark.default.parallelism": ("default_parallelism", values.count),
    "spark.local.dir": ("local_dir", values.folder),
    "spark.executor.memory": ("executor_memory_bytes", values.size_bytes),
    "spark.memory.fraction": ("memory_fraction", values.fraction),
    "spark.memory.storageFraction": ("storage_fraction", values.fraction),
    "spark.scheduler.mode": ("scheduler_mode", values.choice("FIFO", "FAIR")),
    "spark.task.maxFailures": ("max_task_failures", values.count),
    "spark.executor.heartbeatInterval": ("heartbeat_interval_s", values.period),
    "spark.network.timeout": ("network_timeout_s", values.timeout),
    "spark.python.profile": ("profile", values.flag),
    "spark.python.profile.memory": ("profile_memory", values.flag),
    "spark.python.profile.dump": ("profile_dump", values.not_empty),
    "spark.stage.maxConsecutiveAttempts": ("max_stage_attempts", values.count),
    "spark.speculation": ("speculation", values.flag),
    "spark.speculation.interval": ("speculation_interval_s", values.period),
    "spark.speculation.multiplier": ("speculation_multiplier", values.factor),
    "spark.speculation.quantile": ("speculation_quantile", values.fraction),
    "spark.speculation.minTaskRuntime": ("speculation_least_s", values.time_s),
    "spark.excludeOnFailure.enabled": ("exclude_on_failure", values.flag),
    "spark.excludeOnFailure.timeout": ("exclude_timeout_s", values.timeout),
    "spark.excludeOnFailure.task.maxTaskAttemptsPerExecutor": ("exclude_attempts_per_executor", values.count),
    "spark.excludeOnFailure.stage.maxFailedTasksPerExecutor": ("exclude_stage_tasks_per_executor", values.count),
    "spark.excludeOnFailure.application.maxFailedTasksPerExecutor": ("exclude_app_tasks_per_executor", values.count),
    "spark.excludeOnFailure.task.maxTaskAttemptsPerNode": ("exclude_attempts_per_node", values.count),
    "spark.excludeOnFailure.stage.maxFailedExecutorsPerNode": ("exclude_stage_executors_per_node", values.count),
    "spark.excludeOnFailure.application.maxFailedExecutorsPerNode": ("exclude_app_executors_per_node", values.count),
    "spark.locality.wait": ("locality_wait_s", values.time_s),
    "spark.broadcast.blockSize": ("broadcast_piece_bytes", lambda key, text: values.size_bytes(key, text, "k")),
    "sparklab.cluster.shareFiles": ("share_files", values.flag),
    "sparklab.cluster.tls": ("tls", values.flag),
    "sparklab.allowMultipleContexts": ("allow_multiple_contexts", values.flag),
    "sparklab.journal.dir": ("journal_dir", values.not_empty),
    CHECK_DETERMINISM: ("check_determinism", values.share),
    "sparklab.task.lane": ("task_lane", values.choice("auto", "direct", "graph")),
    "sparklab.cluster.startTimeout": ("start_timeout_s", values.time_s),
}
