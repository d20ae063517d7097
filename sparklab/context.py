"""SparkContext: the one composition root. It joins conf, facts, scheduler and cluster, and starts them."""

from __future__ import annotations

import atexit
import getpass
import itertools
import logging
import os
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Final, NoReturn

from sparklab import __version__
from sparklab.bridges import Bridges
from sparklab.checkpoints import Checkpoints
from sparklab.cluster import jobs
from sparklab.cluster.backends import Backend, ThreadsBackend, make_backend
from sparklab.cluster.dispatch import Dispatcher, JobHandle
from sparklab.cluster.master import LocalClusterMaster, LocalMaster, ThreadsMaster, parse_master
from sparklab.cluster.orders import OrderBook, indices
from sparklab.cluster.results import unpack
from sparklab.conf import Settings, SparkConf
from sparklab.errors import ClosureError, ClusterError, JobCancelled, SparklabError
from sparklab.events.bus import Bus
from sparklab.events.facts import (
    ContextStarted,
    ContextStopped,
    JobStarted,
    RddPersisted,
    bounded,
)
from sparklab.events.journal import Journal
from sparklab.events.said import Hearing
from sparklab.executors import Executors
from sparklab.files import SparkFiles
from sparklab.jvmonly import refuses_jvm_names
from sparklab.labels import Labels
from sparklab.profiler import BasicProfiler, MemoryProfiler, Profiler, Profiles, UDFBasicProfiler
from sparklab.rdd.callsite import call_site
from sparklab.rdd.core import RDDCore
from sparklab.rdd.dependency import Shuffle
from sparklab.rdd.rdd import RDD
from sparklab.rdd.running import current_task
from sparklab.scheduler import messages as m
from sparklab.scheduler.machine import Scheduler
from sparklab.scheduler.planning import plan_of_rdd
from sparklab.scheduler.state import Limits
from sparklab.scopes import Scopes, current_scope
from sparklab.serializers import CloudPickleSerializer
from sparklab.sharing import FileShelf, Sharing
from sparklab.sources import Sources

MAX_MESSAGE_BYTES: Final = 128 * 1024 * 1024  # Spark's default of spark.rpc.message.maxSize

LOG_LEVELS: Final = {
    "ALL": 1,
    "TRACE": 5,
    "DEBUG": logging.DEBUG,
    "INFO": logging.INFO,
    "WARN": logging.WARNING,
    "ERROR": logging.ERROR,
    "FATAL": logging.CRITICAL,
    "OFF": logging.CRITICAL + 10,
}


class SecondContextError(SparklabError, ValueError):
    """A context was made while another one is active. A ValueError for readers and doctests, as in PySpark."""


SecondContextError.__qualname__, SecondContextError.__module__ = "ValueError", "builtins"


class _Kind(type):
    _active: SparkContext | None

    @property
    def _active_spark_context(cls) -> SparkContext | None:
        """The active context, under the name by which libraries look for PySpark's."""
        return cls._active


@refuses_jvm_names
class SparkContext(Sources, Bridges, Scopes, Executors, Labels, Sharing, Checkpoints, Profiles, metaclass=_Kind):
    """The way in: makes RDDs and runs jobs on a cluster that starts in the background.

    The constructor returns at once; the first action waits for the cluster. Thread-safe: several threads may run
    actions at the same time (FIFO, or FAIR between pools with ``spark.scheduler.mode``).

    Parameters
    ----------
    master : str or distributed.Client or Dask cluster, optional
        ``local``, ``local[N]``, ``local[*]`` (default), ``local[N,F]``: N executor processes of one thread, F tries per
        task. ``local-cluster[W,C,M]``: W times C executor processes, for each C of them M MiB of memory, and
        ``spark.task.maxFailures`` tries per task. ``threads[N]``: N executors in this process. ``tcp://`` or
        ``tls://``: a Dask scheduler that runs already. A Client or cluster object: that cluster.
    appName : str, optional
    conf : SparkConf, optional
        Settings; `master` and `appName` go before what it says.
    pyFiles : sequence of str, optional
        Given to :meth:`addPyFile`.
    environment : dict, optional
        Environment variables of executors.
    profiler_cls, udf_profiler_cls, memory_profiler_cls : type, optional
        Kinds of :class:`~sparklab.profiler.Profiler`, used where ``spark.python.profile`` is true.
    sparkHome, batchSize, serializer, gateway, jsc
        Of PySpark; they say how it talks to its JVM, and nothing here.

    Raises
    ------
    ValueError
        Another context is active and ``sparklab.allowMultipleContexts`` is not set.

    Examples
    --------
    >>> from sparklab import SparkContext
    >>> sc.parallelize(range(10), 3).filter(lambda n: n % 2).sum()
    25
    """

    PACKAGE_EXTENSIONS: ClassVar[tuple[str, ...]] = (".zip", ".egg", ".jar")  # of what addPyFile puts on the path

    _active: ClassVar[SparkContext | None] = None
    _lock: ClassVar[threading.RLock] = threading.RLock()

    def __init__(
        self,
        master: Any = None,
        appName: str | None = None,
        sparkHome: str | None = None,
        pyFiles: Sequence[str] | None = None,
        environment: dict[str, Any] | None = None,
        batchSize: int = 0,
        serializer: Any = CloudPickleSerializer(),  # noqa: B008 - it is never changed
        conf: SparkConf | None = None,
        gateway: Any = None,
        jsc: Any = None,
        profiler_cls: type[Profiler] = BasicProfiler,
        udf_profiler_cls: type[Profiler] = UDFBasicProfiler,
        memory_profiler_cls: type[Profiler] = MemoryProfiler,
    ) -> None:
        own = SparkConf().setAll(conf.getAll() if conf is not None else [])
        if current_task() is not None and own.get("spark.executor.allowSparkContext") != "true":
            raise ClosureError(
                "making a SparkContext inside a task",
                "SparkContext should only be created and accessed on the driver.",
                "make RDDs before the job starts; or set spark.executor.allowSparkContext to true",
            )
        if isinstance(master, str):
            own.setMaster(master)
        if appName is not None:
            own.setAppName(appName)
        own.setIfMissing("spark.master", "local[*]")
        own.setIfMissing("spark.app.name", "sparklab")
        for name, value in (environment or {}).items():
            own.setExecutorEnv(name, str(value))
        self._conf = own
        self.settings = Settings.from_conf(own)
        self._collect_profiles(self.settings, profiler_cls, udf_profiler_cls, memory_profiler_cls)
        target = master if master is not None and not isinstance(master, str) else None
        self.master = own.get("spark.master") or "" if target is None else f"{type(target).__name__}"
        parsed = target if target is not None else parse_master(self.master)
        self.appName = own.get("spark.app.name") or ""
        self.call_site = call_site()
        with SparkContext._lock:
            self._refuse_second()
            self._backend: Backend = make_backend(parsed, self.settings, self._cluster_lost)
            SparkContext._active = self
        self.startTime = int(time.time() * 1000)
        kind = "local" if isinstance(parsed, LocalMaster | LocalClusterMaster | ThreadsMaster) else "app"
        self.applicationId = f"{kind}-{self.startTime}-{os.getpid()}-{next(_app_numbers)}"
        self._ids = itertools.count()
        self._broadcast_ids = itertools.count()
        self._shelf = FileShelf()
        self._shuffle_ids = itertools.count()
        self._job_ids = itertools.count()
        self._rdds: weakref.WeakValueDictionary[int, RDDCore] = weakref.WeakValueDictionary()
        self._marked = weakref.WeakValueDictionary()
        self._written = {}
        self._properties = threading.local()
        self._last_scope = ""
        self._last_job = -1
        self.hearing = Hearing()
        self._journal = self._open_journal()
        self.bus = Bus(self._journal)
        self.bus.publish(ContextStarted(self.applicationId, bounded(self.appName), self.master, __version__))
        failures = self.settings.max_task_failures
        if isinstance(parsed, LocalMaster):
            failures = parsed.max_task_failures or 1  # PySpark's local masters try a task once
        elif isinstance(self._backend, ThreadsBackend):
            failures = 1
        self._dispatcher = Dispatcher(Scheduler(Limits.of(self.settings, failures, self._backend.executors)), self.bus)
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._stopped = False
        self._starter = threading.Thread(target=self._start, name="sparklab-start", daemon=True)
        self._starter.start()
        _open_contexts.add(self)
        SparkFiles._driver = weakref.ref(self)
        for path in pyFiles or ():
            self.addPyFile(path)

    # --- start and stop ---------------------------------------------------------------------------

    def _refuse_second(self) -> None:
        active = SparkContext._active
        if active is not None and not self.settings.allow_multiple_contexts:
            raise SecondContextError(
                "making a SparkContext",
                f"Cannot run multiple SparkContexts at once; existing SparkContext(app={active.appName}, "
                f"master={active.master}) created at {active.call_site}",
                "stop it first (sc.stop()), use SparkContext.getOrCreate(), or set sparklab.allowMultipleContexts",
            )

    def _open_journal(self) -> Journal:
        folder = self.settings.journal_dir
        if folder is None:
            # A file without a name: whatever ends this process, nothing is left of it.
            with tempfile.TemporaryDirectory(prefix="sparklab-journal-", dir=self.settings.local_dir) as own:
                return Journal(Path(own) / "journal.jsonl")
        return Journal(Path(folder) / f"{self.applicationId}.jsonl")

    def _start(self) -> None:
        """In the background: the cluster starts, the runner takes what was submitted meanwhile."""
        try:
            known = self._dispatcher.scheduler
            book = OrderBook(
                known.blocks,
                known.executors,
                self._dispatcher.warn,
                self.bus.publish,
                MAX_MESSAGE_BYTES,
                self._shelf,
                profiler_of=self.profiler_of if self.profiler_collector is not None else None,
            )
            book.say = self.hearing.hear
            self.parts_sent = book.parts_sent
            self.line_samples = book.line_samples
            runner = self._backend.start(book, self._dispatcher.feed)
            # Dask closes its clients at exit; contexts must be stopped before, so they register after its import.
            atexit.register(_stop_all)
            self._dispatcher.attach(runner)
            self._dispatcher.call(lambda _: True)  # what was heard while starting is taken in: executors are known
        except BaseException as error:
            self._failure = error
            self._dispatcher.fail_all(error)
        finally:
            self._ready.set()

    def _cluster_lost(self, error: BaseException) -> None:
        self._failure = error
        self._dispatcher.fail_all(error)

    @property
    def state(self) -> str:
        """``"starting"``, ``"running"``, ``"failed"`` or ``"stopped"``."""
        if self._stopped:
            return "stopped"
        if self._failure is not None:
            return "failed"
        return "running" if self._ready.is_set() else "starting"

    def waitUntilReady(self, timeout_s: float | None = None) -> SparkContext:
        """The cluster has started; blocks until then.

        Raises
        ------
        ClusterError
            It could not be started, or not within `timeout_s` seconds.
        """
        if not self._ready.wait(timeout_s):
            raise ClusterError("waiting for the cluster", f"not ready after {timeout_s} s", "see %sparklab doctor")
        if self._failure is not None:
            raise self._failure
        return self

    def stop(self) -> None:
        """Nothing of the context is left: no process, no file. Jobs still running end with an error. Idempotent.

        Examples
        --------
        >>> sc.state  # "stopped" afterwards
        'running'
        """
        with SparkContext._lock:
            if self._stopped:
                return
            self._stopped = True
            if SparkContext._active is self:
                SparkContext._active = None
        self._leave_path()
        self._dispatcher.close()
        self._starter.join(self.settings.start_timeout_s)
        self._backend.stop()
        self.bus.publish(ContextStopped(self.applicationId))
        self.bus.close()
        _open_contexts.discard(self)

    @classmethod
    def getOrCreate(cls, conf: SparkConf | None = None) -> SparkContext:
        """The active context, or a new one made from `conf`.

        Examples
        --------
        >>> from sparklab import SparkContext
        >>> SparkContext.getOrCreate() is sc
        True
        """
        with cls._lock:
            if SparkContext._active is None:
                return cls(conf=conf)
            return SparkContext._active

    def __enter__(self) -> SparkContext:
        return self

    def __exit__(
        self, type: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __reduce__(self) -> NoReturn:
        raise ClosureError(
            "sending a function to executors that refers to the SparkContext",
            "the context exists on the driver only",
            "use the context outside of functions given to operators; collect() what a function needs, or join",
        )

    def __repr__(self) -> str:
        return f"<SparkContext master={self.master} appName={self.appName}>"

    # --- what it is -------------------------------------------------------------------------------

    @property
    def pythonVer(self) -> str:
        """Version of the driver's Python and of the executors', such as ``3.12``."""
        return f"{sys.version_info.major}.{sys.version_info.minor}"

    @property
    def version(self) -> str:
        """Version of sparklab.

        Examples
        --------
        >>> sc.version == sparklab.__version__
        True
        """
        return __version__

    @property
    def defaultParallelism(self) -> int:
        """Partitions an RDD gets when nobody says how many: one per executor slot, unless configured.

        Examples
        --------
        >>> sc.defaultParallelism
        2
        """
        return self.settings.default_parallelism or self._backend.slots

    @property
    def configured_parallelism(self) -> int | None:
        """``spark.default.parallelism`` where it is set: shuffles then have so many partitions by default."""
        return self.settings.default_parallelism

    @property
    def defaultMinPartitions(self) -> int:
        """Partitions at least that a text file is cut into by default: at most 2, as in Spark.

        Examples
        --------
        >>> sc.defaultMinPartitions
        2
        """
        return min(self.defaultParallelism, 2)

    def getConf(self) -> SparkConf:
        """A copy of the settings.

        Examples
        --------
        >>> sc.getConf().get("spark.master")
        'threads[2]'
        """
        return SparkConf().setAll(self._conf.getAll())

    @property
    def uiWebUrl(self) -> str | None:
        """None: there is no web page; ``%sparklab panel`` shows in the notebook what it would.

        Examples
        --------
        >>> sc.uiWebUrl is None
        True
        """
        return None

    @property
    def resources(self) -> dict[str, Any]:
        """Empty: there is no scheduling of GPUs and the like.

        Examples
        --------
        >>> sc.resources
        {}
        """
        return {}

    def setLogLevel(self, logLevel: str) -> None:
        """The logger ``sparklab`` of the driver logs messages of this level and above.

        Parameters
        ----------
        logLevel : str
            ALL, TRACE, DEBUG, INFO, WARN, ERROR, FATAL or OFF, in any case.

        Raises
        ------
        ValueError
            `logLevel` is none of these.

        Examples
        --------
        >>> sc.setLogLevel("WARN")
        """
        level = LOG_LEVELS.get(logLevel.upper())
        if level is None:
            raise ValueError(f"log level {logLevel!r} is none of {', '.join(LOG_LEVELS)}")
        logging.getLogger("sparklab").setLevel(level)

    def sparkUser(self) -> str:
        """The name of the user who runs the context.

        Examples
        --------
        >>> len(sc.sparkUser()) > 0
        True
        """
        return getpass.getuser()

    # --- jobs -------------------------------------------------------------------------------------

    def runJob(
        self,
        rdd: RDD,
        partitionFunc: Callable[[Iterable[Any]], Iterable[Any]],
        partitions: Sequence[int] | None = None,
        allowLocal: bool = False,
    ) -> list[Any]:
        """``partitionFunc`` of the records of each partition, all results in one list. Blocks.

        Examples
        --------
        >>> sc.runJob(sc.parallelize(range(6), 3), lambda part: [x * x for x in part], [0, 2])
        [0, 1, 16, 25]
        """
        parts = self.run_job(rdd, lambda _, records: list(partitionFunc(records)), partitions, "runJob")
        return [each for part in parts for each in part]

    def run_job(
        self,
        rdd: RDDCore,
        func: Callable[[int, Iterator[Any]], Any],
        partitions: Sequence[int] | None = None,
        action: str = "runJob",
    ) -> list[Any]:
        """``func(index, records)`` of each asked partition, in that order. Blocks; interruptible.

        Raises
        ------
        UserCodeError
            A user function raised; its own exception is the cause.
        JobCancelled, JobInterrupted
            The job was cancelled, or the caller interrupted.
        """
        values = self.run_job_alone(rdd, func, partitions, action)
        if self._marked:
            self._checkpoint_after(rdd)
        return values

    def run_job_alone(
        self,
        rdd: RDDCore,
        func: Callable[[int, Iterator[Any]], Any],
        partitions: Sequence[int] | None = None,
        action: str = "runJob",
    ) -> list[Any]:
        """The same, followed by no checkpoint."""
        handle = self._submit(rdd, func, partitions, action)[0]
        return [unpack(value) for value in handle.values]

    def run_job_for(
        self, rdd: RDDCore, func: Callable[[int, Iterator[Any]], Any], for_s: float, action: str
    ) -> dict[int, Any]:
        """``func(index, records)`` of the partitions that are done within `for_s` seconds, by index. Blocks.

        What is not done by then is cancelled. The time starts when the cluster is ready.
        """
        self.waitUntilReady()
        handle, done = self._submit(rdd, func, None, action, for_s)
        return {index: unpack(handle.values[index]) for index in list(done)}

    def _submit(
        self,
        rdd: RDDCore,
        func: Callable[[int, Iterator[Any]], Any],
        partitions: Sequence[int] | None,
        action: str,
        for_s: float | None = None,
    ) -> tuple[JobHandle, set[int]]:
        """A job that has ended well, or had its time, and the positions of the values that it gave."""
        if self._stopped:
            raise SparklabError(f"running {action}", "this SparkContext is stopped", "make a new SparkContext")
        chosen = indices(partitions, rdd)
        job = next(self._job_ids)
        where = call_site()
        done: set[int] = set()
        handle = JobHandle(job, len(chosen), lambda position, _: done.add(position))
        submitted = m.JobSubmitted(
            job=job,
            rdd=rdd,
            partitions=chosen,
            action=action,
            call_site=where,
            scope=current_scope.get(),
            pool=self.getLocalProperty("spark.scheduler.pool") or "default",
            payload=func,
            properties=self.job_properties(),
        )
        self._last_job = job
        what = f"Job {job} ({action} at {where})"
        in_time = jobs.run(self._dispatcher, submitted, handle, what, self._killer, for_s)
        if handle.error is not None and (in_time or not isinstance(handle.error, JobCancelled)):
            jobs.raise_from(handle.error)
        return handle, done

    def _killer(self) -> Callable[[int], None] | None:
        return (lambda executor: self._backend.kill(executor, False)) if self._ready.is_set() else None

    def plan(self, rdd: RDDCore) -> JobStarted:
        """What computing all of `rdd` would take now, as the fact that a job of it would begin with. Nothing runs."""
        len(rdd.partitions)  # asked in this thread, where a path that matches no file may raise
        plan: JobStarted = self._dispatcher.call(lambda s: plan_of_rdd(rdd, s.blocks, s.outputs))
        return plan

    def cancelJob(self, jobId: int, reason: str | None = None) -> None:
        """Job `jobId` ends with JobCancelled; its tasks are stopped, within about a second."""
        try:
            jobs.stop(self._dispatcher, jobId, reason or "cancelled by sc.cancelJob", self._killer())
        except SparklabError:
            if not self._stopped:  # with its context the job has ended anyway
                raise

    def cancelAllJobs(self) -> None:
        """Every job that runs or waits ends with JobCancelled.

        Examples
        --------
        >>> sc.cancelAllJobs()  # nothing runs
        """
        for job in self._dispatcher.call(lambda scheduler: sorted(scheduler.jobs)):
            self.cancelJob(job, "cancelled by sc.cancelAllJobs")

    # --- what an RDD asks of its driver -----------------------------------------------------------

    def new_rdd_id(self) -> int:
        return next(self._ids)

    def new_shuffle_id(self) -> int:
        return next(self._shuffle_ids)

    def register(self, rdd: RDDCore) -> None:
        """`rdd` can be found by id, and what it holds is freed when nobody refers to it any more."""
        self._rdds[rdd._id] = rdd
        for dependency in rdd.dependencies:
            if isinstance(dependency, Shuffle):
                weakref.finalize(
                    dependency, _feed_weakly, weakref.ref(self), m.ShuffleForgotten(dependency.spec.shuffle_id)
                ).atexit = False

    def rdd_persisted(self, rdd: RDDCore) -> None:
        weakref.finalize(rdd, _feed_weakly, weakref.ref(self), m.RddForgotten(rdd._id)).atexit = False
        self.bus.publish(
            RddPersisted(
                rdd._id,
                bounded(rdd._name or rdd.operator),
                bounded(rdd.call_site),
                rdd.storage_level.name,
                len(rdd._memoised_partitions or ()),
            )
        )

    def rdd_unpersisted(self, rdd: RDDCore, blocking: bool) -> None:
        self._dispatcher.feed(m.RddForgotten(rdd._id))
        if blocking:
            self._dispatcher.call(lambda _: True)

    def rdd_by_id(self, rdd_id: int) -> RDDCore | None:
        """The RDD with this id, while somebody refers to it."""
        return self._rdds.get(rdd_id)


_app_numbers = itertools.count()
_open_contexts: weakref.WeakSet[SparkContext] = weakref.WeakSet()


def _feed_weakly(context: weakref.ref[SparkContext], stimulus: m.Stimulus) -> None:
    target = context()
    if target is not None and not target._stopped:
        target._dispatcher.feed(stimulus)


def _stop_all() -> None:
    """Contexts that a program forgot to stop are stopped. Idempotent."""
    atexit.unregister(_stop_all)
    for context in list(_open_contexts):
        with suppress(Exception):  # the interpreter is going; each context gets its chance
            context.stop()
