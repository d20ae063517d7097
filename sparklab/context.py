"""SparkContext: the one composition root. It joins conf, facts, scheduler and cluster, and starts them."""

from __future__ import annotations

import atexit
import itertools
import os
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Final, NoReturn

from sparklab import __version__
from sparklab.about import About
from sparklab.bridges import Bridges
from sparklab.cluster.backends import Backend, ThreadsBackend, make_backend
from sparklab.cluster.dispatch import Dispatcher
from sparklab.cluster.edits import Edits
from sparklab.cluster.master import LocalClusterMaster, LocalMaster, ThreadsMaster, parse_master
from sparklab.cluster.orders import OrderBook
from sparklab.conf import Settings, SparkConf
from sparklab.errors import ClosureError, ClusterError, SparklabError
from sparklab.events.bus import Bus
from sparklab.events.facts import (
    ContextStarted,
    ContextStopped,
    RddPersisted,
    bounded,
)
from sparklab.events.journal import Journal
from sparklab.events.said import Hearing
from sparklab.executors import Executors
from sparklab.files import SparkFiles
from sparklab.jobs import Jobs
from sparklab.jvmonly import refuses_jvm_names
from sparklab.nearness import speaks_for_its_parts
from sparklab.profiler import BasicProfiler, MemoryProfiler, Profiler, UDFBasicProfiler
from sparklab.profiles import Profiles
from sparklab.rdd.callsite import call_site
from sparklab.rdd.core import RDDCore
from sparklab.rdd.dependency import Shuffle
from sparklab.rdd.running import current_task
from sparklab.scheduler import messages as m
from sparklab.scheduler.machine import Scheduler
from sparklab.scheduler.state import Limits
from sparklab.scopes import Scopes
from sparklab.serializers import CloudPickleSerializer
from sparklab.sharing import FileShelf, Sharing
from sparklab.sources import Sources

MAX_MESSAGE_BYTES: Final = 128 * 1024 * 1024  # Spark's default of spark.rpc.message.maxSize


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
@speaks_for_its_parts
class SparkContext(About, Sources, Bridges, Scopes, Executors, Sharing, Profiles, Jobs, metaclass=_Kind):
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
        if not isinstance(conf, SparkConf | None):
            raise TypeError(f"SparkContext takes a SparkConf, not {type(conf).__name__}: SparkConf().set(key, value)")
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
        self._bound_to = ""  # the variable that `%sparklab start` gave it
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
        self._edits = Edits(os.getcwd(), *sys.path[:1])  # sys.path[0] is the script's folder
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
            name = active._bound_to
            where = f"started by `%sparklab start`, bound to `{name}`" if name else f"created at {active.call_site}"
            go_on = f"go on with `{name}`, or " if name else ""
            raise SecondContextError(
                "making a SparkContext",
                f"Cannot run multiple SparkContexts at once; existing SparkContext(app={active.appName}, "
                f"master={active.master}) {where}",
                f"{go_on}stop it first ({name or 'sc'}.stop()), use SparkContext.getOrCreate(), or set "
                "sparklab.allowMultipleContexts",
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
        self._forget_background()
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
