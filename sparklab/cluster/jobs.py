"""A driver's jobs from the caller's side: submit, wait, be interrupted, tell what was lost."""

from __future__ import annotations

import os
import threading
import time
import types
from collections.abc import Callable
from typing import Any, Final

from sparklab.cluster.dispatch import Dispatcher, JobHandle
from sparklab.errors import JobCancelled, JobInterrupted, SparklabError, UserCodeError
from sparklab.quantities import plural
from sparklab.rdd.usererror import only
from sparklab.scheduler import messages as m
from sparklab.scheduler.machine import Scheduler

# A cell that is stopped is back within a second: most of it is given to the tasks to end by themselves.
GRACE_S: Final = 0.6
LOSS_NEWS_S: Final = 0.3
POLL_S: Final = 0.02
STOP_S: Final = 5.0  # the error of a cancelled job waits no longer for the news of what was lost

KILLED: Final = "its task did not stop"

Kill = Callable[[int], None]


def run(
    dispatcher: Dispatcher,
    submitted: m.JobSubmitted,
    handle: JobHandle,
    what: str,
    kill: Callable[[], Kill | None],
    for_s: float | None = None,
) -> bool:
    """The job was submitted and has ended, by itself or after `for_s` seconds, or the caller was interrupted.

    Parameters
    ----------
    what : str
        The job as people call it, for the message.
    kill : callable
        Gives what ends an executor whose task does not stop by itself, or None where executors are not ours to end.
    for_s : float, optional
        When this is over the job is cancelled. A task that does not react to that runs on; its executor is left alone.

    Returns
    -------
    bool
        Whether it ended by itself.

    Raises
    ------
    JobInterrupted
        KeyboardInterrupt came while waiting: the job was cancelled; the text says what was lost.
    """
    try:
        dispatcher.submit(submitted, handle)
        if handle.ended.wait(for_s):
            _tell_what_was_lost(handle)
            return True
        dispatcher.feed(m.JobCancelRequested(handle.job, f"its {for_s:g} s are over"))
        handle.ended.wait()
        return False
    except KeyboardInterrupt:
        if handle.stopping is not None and handle.ended.is_set():  # somebody else has cancelled it already
            handle.stopping.wait(STOP_S)
            raise JobInterrupted(f"{what} was stopped. {handle.lost}".rstrip()) from None
        lost = stop(dispatcher, handle.job, "the cell was interrupted", kill())
        raise JobInterrupted(f"{what} was stopped. {lost}") from None


def _tell_what_was_lost(handle: JobHandle) -> None:
    """The error of a job that somebody has cancelled says what went with its tasks. Waits for these."""
    error = handle.error
    if handle.stopping is not None and isinstance(error, JobCancelled):
        handle.stopping.wait(STOP_S)
        if handle.lost:
            handle.error = JobCancelled(error.attempted, f"{error.found}. {handle.lost}", error.do)


def stop(dispatcher: Dispatcher, job: int, reason: str, kill: Kill | None, do: str = "run it again") -> str:
    """Job `job` is cancelled and its tasks are gone, or what runs them is. Takes about a second at most.

    Returns
    -------
    str
        Sentences about what was lost with it.
    """
    over = threading.Event()
    handle: JobHandle | None = None

    def begin(scheduler: Scheduler) -> tuple[JobHandle | None, set[int]]:
        found = dispatcher.handle_of(job)
        if found is not None and found.stopping is None:
            found.stopping = over
        return found, _stages_of(scheduler, job)

    try:
        handle, stages = dispatcher.call(begin)
        dispatcher.feed(m.JobCancelRequested(job, reason, do))
        lost = _end_tasks(dispatcher, stages, kill)
        if handle is not None and handle.stopping is over:
            handle.lost = lost
        return lost
    finally:
        over.set()


def _end_tasks(dispatcher: Dispatcher, stages: set[int], kill: Kill | None) -> str:
    """No task of `stages` runs for nobody any more; what was lost."""
    deadline = time.monotonic() + GRACE_S
    stuck: dict[int, int] = {}
    while True:
        stuck = dispatcher.call(lambda scheduler: _still_running(scheduler, stages))
        if not stuck:
            return "Cached partitions are intact."
        if time.monotonic() > deadline:
            break
        time.sleep(POLL_S)
    if kill is None:
        return "A task does not react and runs on until it returns; cached partitions are intact."
    held = dispatcher.call(lambda scheduler: {e: scheduler.blocks.count_on(e) for e in stuck})
    for executor in stuck:
        kill(executor)
    deadline = time.monotonic() + LOSS_NEWS_S
    while time.monotonic() < deadline and dispatcher.call(lambda s: _still_running(s, stages)):
        time.sleep(POLL_S)
    names = " and ".join(f"executor {number}" for number in sorted(stuck))
    whose, verb = ("Its task", "was") if len(stuck) == 1 else ("Its tasks", "were")
    count = sum(held.values())
    loss = plural(count, "cached partition") if count else "No cached partition"
    tail = "; recomputed when next needed" if count else ""
    return f"{whose} did not react, so {names} {verb} restarted. {loss} {'was' if count < 2 else 'were'} lost{tail}."


def _stages_of(scheduler: Scheduler, job: int) -> set[int]:
    found = scheduler.jobs.get(job)
    return set(found.stages) if found is not None else set()


def _still_running(scheduler: Scheduler, stages: set[int]) -> dict[int, int]:
    """Executors that still work on `stages` for nobody."""
    return {
        task.executor: task.epoch
        for task in scheduler.tasks.values()
        if task.stage in stages and task.stage not in scheduler.runs
    }


def raise_from(error: BaseException) -> Any:
    """Raise the error a job ended with, its own cause kept, of which the user's own lines are shown alone."""
    if isinstance(error, JobCancelled):
        raise error from None
    if isinstance(error, SparklabError):
        error.__traceback__ = None  # one error may end many jobs: each shows the lines that asked for it
    cause = error.__cause__
    if cause is not None:
        told = isinstance(error, UserCodeError) and not error.remote_traceback  # our own frames would add nothing
        cause.__traceback__ = None if told else users_part(cause.__traceback__)
        if not told and cause.__traceback__ is None and cause.__cause__ is None and isinstance(error, UserCodeError):
            cause.__cause__ = OnExecutor(error.remote_traceback)
    raise error


class OnExecutor(Exception):
    """Where an error was raised on an executor, as text: what a traceback shows first."""

    def __str__(self) -> str:
        return f'\n"""\n{super().__str__()}"""'


_PACKAGE: Final = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


def users_part(traceback: types.TracebackType | None) -> types.TracebackType | None:
    """`traceback` without sparklab's own frames; whole where there are no others."""
    return only(traceback, lambda each: not each.tb_frame.f_code.co_filename.startswith(_PACKAGE)) or traceback
