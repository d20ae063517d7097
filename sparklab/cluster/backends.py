"""Three kinds of cluster behind one face: threads of this process, processes we start, a cluster we are given."""

from __future__ import annotations

import concurrent.futures
import contextlib
import logging
import shutil
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from sparklab.cluster.executor import Budgets
from sparklab.cluster.heartbeat import JOIN_S, LOCAL_TIMEOUT_S, Seat
from sparklab.cluster.master import AddressMaster, LocalClusterMaster, LocalMaster, Master, ThreadsMaster
from sparklab.cluster.orders import Feed, OrderBook, TaskRunner
from sparklab.cluster.reports import changes_of
from sparklab.cluster.resources import ExecutorPlan, cpu_s, find_resources, plan_executors
from sparklab.cluster.threads import BY_HAND, ThreadsRunner
from sparklab.conf import Settings
from sparklab.errors import ClusterError
from sparklab.scheduler import messages as m

if TYPE_CHECKING:
    from sparklab.cluster.local import LocalCluster
    from sparklab.cluster.processes import ClusterEvent
    from sparklab.cluster.runner import DaskRunner, Lane

logger = logging.getLogger("sparklab.cluster")

WORKING_SHARE: Final = 0.05  # of an interval on the processor: more than a process needs that only breathes


class Backend(Protocol):
    """A cluster as the context sees it. :meth:`start` blocks and runs in the background; the rest is thread-safe."""

    slots: int  # tasks at once, known before it started
    executors: int  # how many it starts with

    @property
    def scratch(self) -> Path:
        """A private directory on the driver's disk that ends with the cluster. After the start."""
        ...

    def start(self, book: OrderBook, feed: Feed) -> TaskRunner: ...

    def kill(self, executor: int, stay_dead: bool, reason: str = BY_HAND) -> None:
        """End an executor's process. Returns when the order was given; its loss arrives as a stimulus."""
        ...

    def starting(self) -> frozenset[int]:
        """Executors whose process has been started and is not ready yet."""
        ...

    def check_ours(self, attempted: str) -> None:
        """Raise ClusterError where the executors are somebody else's to start and to end."""
        ...

    def add(self, count: int) -> Sequence[int]:
        """Start `count` more executors; their numbers. Returns when the order was given; they arrive as stimuli."""
        ...

    def drop(self, executor: int, epoch: int, rdd: int, partition: int) -> Sequence[m.BlockChange]: ...

    def peek(self, executor: int, rdd: int, partition: int, count: int) -> list[str]: ...

    def stop(self) -> None: ...


def make_backend(master: Master | Any, settings: Settings, on_lost: Callable[[BaseException], None]) -> Backend:
    """The backend for a parsed master, a ``distributed.Client`` or a Dask cluster object. Starts nothing."""
    match master:
        case ThreadsMaster():
            return ThreadsBackend(plan_executors(find_resources(), settings, master.threads), settings)
        case LocalMaster():
            return LocalBackend(plan_executors(find_resources(), settings, master.executors), settings, on_lost)
        case LocalClusterMaster():
            memory = master.memory_mib * 2**20 // master.cores
            own = replace(settings, executor_memory_bytes=settings.executor_memory_bytes or memory)
            plan = plan_executors(find_resources(), own, master.workers * master.cores)
            return LocalBackend(plan, own, on_lost)
        case AddressMaster():
            return _attached(master.address, settings, on_lost)
        case _:
            return _attached(master, settings, on_lost)


def _attached(target: Any, settings: Settings, on_lost: Callable[[BaseException], None]) -> Backend:
    from sparklab.cluster.attached import AttachedBackend

    return AttachedBackend(target, settings, on_lost)


class ThreadsBackend:
    """``threads[N]``: executors are threads of the driver."""

    def __init__(self, plan: ExecutorPlan, settings: Settings) -> None:
        self.slots = self.executors = plan.executors
        self._budgets = Budgets(plan.cache_bytes, plan.work_bytes)
        self._directory = settings.local_dir
        self._runner: ThreadsRunner | None = None

    @property
    def scratch(self) -> Path:
        assert self._runner is not None
        return self._runner.scratch

    def start(self, book: OrderBook, feed: Feed) -> TaskRunner:
        self._runner = ThreadsRunner(self.slots, self._budgets, book, feed, self._directory)
        return self._runner

    def kill(self, executor: int, stay_dead: bool, reason: str = BY_HAND) -> None:
        assert self._runner is not None
        self._runner.kill(executor, stay_dead, reason)

    def starting(self) -> frozenset[int]:
        """None: a thread is ready at once."""
        return frozenset()

    def check_ours(self, attempted: str) -> None:
        """They are ours."""

    def add(self, count: int) -> Sequence[int]:
        assert self._runner is not None
        return self._runner.add(count)

    def drop(self, executor: int, epoch: int, rdd: int, partition: int) -> Sequence[m.BlockChange]:
        store = self._store(executor)
        store.drop(rdd, partition, "dropped")
        return changes_of(store.drain_changes())

    def peek(self, executor: int, rdd: int, partition: int, count: int) -> list[str]:
        return list(self._store(executor).peek(rdd, partition, count))

    def _store(self, executor: int) -> Any:
        assert self._runner is not None
        return self._runner.executor(executor).blocks

    def stop(self) -> None:
        if self._runner is not None:
            self._runner.close()


class LocalBackend:
    """``local[N]``: a Dask scheduler and N one-thread workers that we start, on loopback TLS."""

    def __init__(self, plan: ExecutorPlan, settings: Settings, on_lost: Callable[[BaseException], None]) -> None:
        self.slots = self.executors = plan.executors
        self._plan = plan
        self._settings = settings
        self._on_lost = on_lost
        self._cluster: LocalCluster | None = None
        self._client: Any = None
        self._runner: DaskRunner | None = None
        self._lock = threading.Lock()
        self._early: list[ClusterEvent] = []  # heard before there was a runner
        self._by_user: dict[tuple[int, int], str] = {}  # (executor, epoch) -> why
        self._network_timeout_s = settings.network_timeout_s or LOCAL_TIMEOUT_S
        self._cpu_s: dict[Seat, float] = {}
        self._removed: set[tuple[int, int]] = set()
        self._stopping = False

    @property
    def scratch(self) -> Path:
        assert self._cluster is not None
        return self._cluster.scratch

    def start(self, book: OrderBook, feed: Feed) -> TaskRunner:
        from sparklab.cluster.local import LocalCluster

        self._cluster = LocalCluster(
            self._plan.executors,
            memory_bytes=self._plan.memory_bytes,
            options={
                "cache_bytes": self._plan.cache_bytes,
                "shuffle_bytes": self._plan.work_bytes,
                "memory_bytes": self._plan.memory_bytes,
                "share_files": self._settings.share_files,
            },
            on_event=self._heard,
            scratch_root=self._settings.local_dir,
            environment=self._settings.executor_env,
            tls=self._settings.tls,
        )
        self._cluster.start(self._settings.start_timeout_s)
        from sparklab.cluster import compat
        from sparklab.cluster.runner import DaskRunner

        self._client = compat.connect(self._cluster.address, self._cluster.security)
        runner = DaskRunner(self._client, book, feed, self._lane_of, self._unreachable, self._released)
        with self._lock:
            self._runner = runner
            early, self._early = self._early, []
            joining = [joined for event in early if (joined := self._act(event)) is not None]
        # With all executors there, the first job fills its caches evenly, however short its tasks are.
        concurrent.futures.wait(joining, JOIN_S)
        runner.watch(self._settings.heartbeat_interval_s, self._network_timeout_s, self._silent, self._is_working)
        return runner

    def _silent(self, seat: Seat) -> None:
        """The executor hangs: it is fenced off, killed and replaced."""
        assert self._runner is not None
        reason = f"no sign of life for {self._network_timeout_s:g} s"
        self._runner.leave(seat.executor, seat.epoch, reason)
        self._unreachable(seat.executor, seat.epoch)

    def _is_working(self, seat: Seat) -> bool:
        """Whether the executor's process has used the processor since this was asked before: one deep in C code has."""
        assert self._cluster is not None
        pid = next((e.pid for e in self._cluster.executors() if (e.number, e.epoch) == seat[:2]), None)
        used_s = cpu_s(pid) if pid is not None else 0.0
        before_s = self._cpu_s.get(seat, 0.0)
        self._cpu_s = {seat: used_s} | {other: s for other, s in self._cpu_s.items() if other.executor != seat.executor}
        return used_s - before_s > WORKING_SHARE * self._settings.heartbeat_interval_s

    def _lane_of(self, launch: m.Launch) -> Lane:
        # Nobody else uses a cluster of ours, so there is nobody to hide load from.
        return "graph" if self._settings.task_lane == "graph" else "direct"

    def _heard(self, event: ClusterEvent) -> None:
        with self._lock:
            if self._runner is None:
                self._early.append(event)
            else:
                self._act(event)

    def _act(self, event: ClusterEvent) -> concurrent.futures.Future[None] | None:
        from sparklab.cluster.processes import ClusterLost, ExecutorExited, ExecutorFailed, ExecutorReady

        assert self._runner is not None
        match event:
            case ExecutorReady():
                return self._runner.join(event.number, event.epoch, event.address)
            case ExecutorExited():
                asked = self._by_user.pop((event.number, event.epoch), "")
                how = (
                    f"signal {-event.status}, {signal.strsignal(-event.status)}"
                    if event.status < 0
                    else f"exit status {event.status}"
                )
                reason = asked or f"its process ended ({how})"
                if (event.number, event.epoch) in self._removed:
                    reason = "removed; its blocks were moved"
                self._runner.leave(event.number, event.epoch, reason, bool(asked))
                if (event.number, event.epoch) in self._removed:  # no successor removes what it left
                    shutil.rmtree(self.scratch / f"executor-{event.number}.{event.epoch}", ignore_errors=True)
            case ExecutorFailed():
                logger.error("executor %d does not start:\n%s", event.number, event.log)
            case ClusterLost():
                if not self._stopping:
                    self._on_lost(
                        ClusterError(
                            "running on the local cluster",
                            event.found,
                            "make a new context: sc.stop(), SparkContext(...); checkpoints can be read there",
                        )
                    )
        return None

    def _unreachable(self, executor: int, epoch: int) -> None:
        """A call to the executor failed. Make sure that it is dead, so that a fresh one takes its place."""
        cluster = self._cluster
        if cluster is None or self._stopping:
            return
        current = {each.number: each for each in cluster.executors()}.get(executor)
        if current is not None and current.epoch == epoch and current.pid is not None:
            with contextlib.suppress(ClusterError):
                cluster.kill(executor, epoch=epoch)

    def starting(self) -> frozenset[int]:
        known = self._cluster.executors() if self._cluster is not None else ()
        return frozenset(each.number for each in known if each.pid is not None and each.address is None)

    def kill(self, executor: int, stay_dead: bool, reason: str = BY_HAND) -> None:
        assert self._cluster is not None
        epoch = -1
        for each in self._cluster.executors():
            if each.number == executor:
                epoch = each.epoch
                with self._lock:
                    self._by_user[executor, each.epoch] = reason
                if self._runner is not None and (executor, epoch) not in self._removed:
                    self._runner.doom(executor, epoch, reason)
        self._cluster.kill(executor, stay_dead, -1 if stay_dead else epoch)

    def _released(self, executor: int, epoch: int) -> None:
        self._removed.add((executor, epoch))
        with contextlib.suppress(ClusterError):  # the cluster is gone, and the executor with it
            self.kill(executor, stay_dead=True)

    def check_ours(self, attempted: str) -> None:
        """They are ours."""

    def add(self, count: int) -> Sequence[int]:
        assert self._cluster is not None
        return self._cluster.add(count)

    def drop(self, executor: int, epoch: int, rdd: int, partition: int) -> Sequence[m.BlockChange]:
        assert self._runner is not None
        return self._runner.drop(executor, rdd, partition)

    def peek(self, executor: int, rdd: int, partition: int, count: int) -> list[str]:
        assert self._runner is not None
        return self._runner.peek(executor, rdd, partition, count)

    def stop(self) -> None:
        self._stopping = True
        if self._runner is not None:
            self._runner.close()
        if self._client is not None:
            from sparklab.cluster import compat

            compat.close(self._client, timeout_s=1)
        if self._cluster is not None:
            self._cluster.stop()
