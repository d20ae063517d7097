"""How a context runs jobs: it submits them, waits, gives their values, and cancels them."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

from sparklab.arguments import function, whole_number
from sparklab.checkpoints import Checkpoints
from sparklab.cluster import jobs
from sparklab.cluster.backends import Backend
from sparklab.cluster.dispatch import JobHandle
from sparklab.cluster.rerun import Rerun as Rerun
from sparklab.cluster.rerun import Work, note_failure, rerun, work_of
from sparklab.cluster.results import unpack
from sparklab.cluster.scratch import OwnScratch
from sparklab.conf import BACKGROUND
from sparklab.errors import ClusterError, JobCancelled, SparklabError
from sparklab.events.bus import Bus
from sparklab.events.facts import JobStarted
from sparklab.events.states import FAILED
from sparklab.foreground import PROPERTY as FOREGROUND
from sparklab.foreground import Foreground
from sparklab.labels import Labels
from sparklab.rdd.callsite import call_site
from sparklab.rdd.core import RDDCore
from sparklab.rdd.rdd import RDD
from sparklab.scheduler import messages as m
from sparklab.scheduler.planning import plan_of_rdd
from sparklab.scopes import current_scope

#: Told of the plan of each job that is submitted here, before anything of it runs.
before_job: ContextVar[Callable[[JobStarted], None] | None] = ContextVar("sparklab_before_job", default=None)


_making = threading.Lock()


class Jobs(Labels, Checkpoints):
    """The part of a SparkContext that runs jobs, under their labels, each followed by its checkpoints. Thread-safe."""

    _backend: Backend
    _job_ids: Iterator[int]
    _last_job: int
    _stopped: bool
    bus: Bus
    _last_failure: weakref.ref[BaseException] | None = None
    _foreground: Foreground | None = None  # once there are jobs in the background
    _foreground_folder: OwnScratch | None = None

    def waitUntilReady(self, timeout_s: float | None = None) -> Any:
        raise NotImplementedError

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
        function("runJob", partitionFunc)
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
        chosen = _indices(partitions, rdd)
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
            background=self.getLocalProperty(BACKGROUND) == "true",
        )
        told = before_job.get()
        if told is not None:
            told(replace(self.plan(rdd), job=job, action=action, call_site=where))
        self._last_job = job
        what = f"Job {job} ({action} at {where})"
        known = None if submitted.background else self._foreground
        with nullcontext() if known is None else known.job():
            in_time = jobs.run(self._dispatcher, submitted, handle, what, self._killer, for_s)
        if isinstance(handle.error, SparklabError) and not isinstance(handle.error, JobCancelled):
            self._last_failure = note_failure(handle.error, Work(job, rdd, func))
        if handle.error is not None and (in_time or not isinstance(handle.error, JobCancelled)):
            jobs.raise_from(handle.error)
        return handle, done

    def background_properties(self) -> dict[str, str]:
        """What the jobs of a thread carry that nobody waits for: all others go first. Thread-safe."""
        with _making:
            if self._foreground is None:
                self._foreground_folder = OwnScratch("foreground", self.settings.local_dir)
                self._foreground = Foreground(self._foreground_folder.path / "jobs")
            return {BACKGROUND: "true", FOREGROUND: self._foreground.path}

    def _forget_background(self) -> None:
        """No file is left of it."""
        with _making:
            if self._foreground_folder is not None:
                self._foreground_folder.cleanup()

    def _killer(self) -> Callable[[int], None] | None:
        if not self._ready.is_set():
            return None
        try:
            self._backend.check_ours("ending an executor whose task does not stop")
        except ClusterError:
            return None
        return lambda executor: self._backend.kill(executor, False, jobs.KILLED)

    def last_failure(self) -> BaseException | None:
        """What the last failed job raised, None where there is none or nobody refers to it any more."""
        return None if self._last_failure is None else self._last_failure()

    def rerun(self, error: BaseException | None = None) -> Rerun:
        """The partition that made a job fail was computed once more, here in the driver; what came of it.

        With the functions of the program itself, in the calling thread, where a debugger can look. Caches are not
        asked, shuffles are read where the executors have left them, which must be on this host.

        Parameters
        ----------
        error : JobFailed, optional
            What the job raised; by default what the last failed job raised, while somebody refers to it.

        Raises
        ------
        SparklabError
            No failed job is known, or what the partition is made of is gone.

        Examples
        --------
        >>> try:
        ...     sc.parallelize(["1", "x"], 2).map(int).collect()
        ... except Exception as error:
        ...     again = sc.rerun(error)
        >>> again.partition, again.record, type(again.error).__name__
        (1, "'x'", 'ValueError')
        """
        attempted = "computing a failed partition in the driver"
        work = work_of(error if error is not None else self.last_failure(), attempted)
        with self.bus.lock:
            view = self.bus.views.jobs.get(work.job)
            stage = self.bus.views.stages.get(view.failed_stage) if view is not None else None
            failed = stage.states.find(FAILED.encode()) if stage is not None else -1
            node = stage.node if stage is not None else None
        if node is None or failed < 0:
            found = f"job {work.job} failed without a task that did" if view is not None else "the job was forgotten"
            raise SparklabError(attempted, found, "`%sparklab jobs` has its error")
        return rerun(work, node, failed, self._dispatcher.call)

    def plan(self, rdd: RDDCore) -> JobStarted:
        """What computing all of `rdd` would take now, as the fact that a job of it would begin with. Nothing runs."""
        len(rdd.partitions)  # asked in this thread, where a path that matches no file may raise
        plan: JobStarted = self._dispatcher.call(lambda s: plan_of_rdd(rdd, s.blocks, s.outputs))
        return plan

    def cancelJob(self, jobId: int, reason: str | None = None) -> None:
        """Job `jobId` ends with JobCancelled; its tasks are stopped, within about a second."""
        self.cancel_job(jobId, reason or "cancelled by sc.cancelJob")

    def cancel_job(self, job: int, reason: str, do: str = "run it again") -> None:
        """The same; the error gives `reason`, says what was lost, and ends with what to `do`."""
        try:
            jobs.stop(self._dispatcher, job, reason, self._killer(), do)
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


def _indices(partitions: Sequence[int] | None, rdd: RDDCore) -> list[int]:
    """The asked partitions, all of them by default; IndexError for one that does not exist."""
    count = len(rdd.partitions)
    if partitions is None:
        return list(range(count))
    chosen = [whole_number("a job", p, " for a partition") for p in partitions]
    for p in chosen:
        if not 0 <= p < count:
            raise IndexError(f"partition {p} of an RDD with {count} partitions")
    return chosen
