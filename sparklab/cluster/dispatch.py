"""The scheduler's thread: takes stimuli in, publishes facts, hands instructions to the runner, ends jobs."""

from __future__ import annotations

import concurrent.futures
import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, assert_never

from sparklab.accumulators import apply_updates
from sparklab.cluster.inbox import Inbox
from sparklab.cluster.orders import TaskRunner
from sparklab.errors import SparklabError
from sparklab.events.bus import Bus
from sparklab.events.facts import Warned, bounded
from sparklab.scheduler import messages as m
from sparklab.scheduler.machine import Scheduler

logger = logging.getLogger("sparklab.scheduler")

TICK_S = 0.25
LOOK_S = 0.1  # how often somebody who waits for an answer looks whether there is still a scheduler


class JobHandle:
    """A job that was submitted. Thread-safe.

    Attributes
    ----------
    ended : threading.Event
        Set when the job ended, however it ended.
    stopping : threading.Event or None
        Where somebody has cancelled the job: set when its tasks are gone too. `lost` then says what went with them.
    """

    def __init__(self, job: int, count: int, on_value: Callable[[int, Any], None] | None = None) -> None:
        self.job = job
        self.values: list[Any] = [None] * count
        self.error: BaseException | None = None
        self.ended = threading.Event()
        self.stopping: threading.Event | None = None
        self.lost = ""
        self._on_value = on_value

    def deliver(self, position: int, value: Any) -> None:
        self.values[position] = value
        if self._on_value is not None:
            self._on_value(position, value)

    def finish(self, error: BaseException | None) -> None:
        self.error = error
        self.ended.set()


class Dispatcher:
    """Owns the scheduler: one thread, one queue. :meth:`feed` is safe from any thread, signal handler or finalizer."""

    def __init__(self, scheduler: Scheduler, bus: Bus) -> None:
        self.scheduler = scheduler
        self._bus = bus
        self._runner: TaskRunner | None = None
        self._held: list[m.Stimulus] = []  # fed before there was a runner
        self._inbox = Inbox()
        self._jobs: dict[int, JobHandle] = {}
        speculation = scheduler.state.limits.speculation
        self._tick_s = TICK_S if speculation is None else min(TICK_S, speculation.interval_s)
        self._broken: BaseException | None = None  # why no job can run any more
        self._closing = threading.Lock()  # no job enters the inbox once its last reader has gone
        self._closed = False
        self._started_s = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="sparklab-scheduler", daemon=True)
        self._thread.start()

    def attach(self, runner: TaskRunner) -> None:
        """`runner` carries out instructions from now on; what was fed before is taken in."""
        self._inbox.put(runner)

    def feed(self, *stimuli: m.Stimulus) -> None:
        """The scheduler takes `stimuli` in soon, together and in order. Never blocks."""
        self._inbox.put(stimuli)

    def submit(self, stimulus: m.JobSubmitted, handle: JobHandle) -> None:
        """The job runs; where the dispatcher was closed meanwhile, its handle says so."""
        with self._closing:
            if not self._closed:
                self._inbox.put((handle, stimulus))
                return
        handle.finish(_stopped())

    def call(self, function: Callable[[Scheduler], Any], timeout_s: float = 10.0) -> Any:
        """``function(scheduler)`` run in the scheduler's thread, between two stimuli. Blocks for its value.

        Raises what the function raises, and SparklabError where the scheduler does not answer in `timeout_s` seconds.
        """
        answer: concurrent.futures.Future[Any] = concurrent.futures.Future()

        def run() -> None:
            try:
                answer.set_result(function(self.scheduler))
            except BaseException as error:
                answer.set_exception(error)

        self._inbox.put(run)
        deadline = time.monotonic() + timeout_s
        while not concurrent.futures.wait([answer], LOOK_S).done:
            if not self._thread.is_alive() and not answer.done():
                raise SparklabError("asking the scheduler", "the SparkContext was stopped", "make a new one")
            if time.monotonic() > deadline:
                found = f"no answer in {timeout_s:.0f} s"
                raise SparklabError("asking the scheduler", found, "try again, or sc.stop()")
        return answer.result()

    def handle_of(self, job: int) -> JobHandle | None:
        """The handle of a job that has not ended. In the scheduler's thread."""
        return self._jobs.get(job)

    def forget_broadcast(self, token: str) -> None:
        """Executors are told soon to forget the broadcast. Never blocks."""
        self._inbox.put(lambda: self._runner.forget_broadcast(token) if self._runner is not None else None)

    def fail_all(self, error: BaseException) -> None:
        """Every job, waiting or running, ends with `error`; so does every later one."""
        self._inbox.put(error)

    def close(self) -> None:
        """The thread ends; jobs still running, or submitted later, are told so."""
        with self._closing:
            self._closed = True
            self._inbox.put(None)
        if threading.current_thread() is not self._thread:
            self._thread.join(5)

    # --- the thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            item: Any = ()
            try:
                with contextlib.suppress(queue.Empty):
                    item = self._inbox.get(self._tick_s if self._jobs else None)
                if item is None:
                    break
                self._process(item)
            except BaseException as error:  # a defect of ours must end jobs, not hang them
                logger.exception("the scheduler failed")
                found = f"{type(error).__name__}: {error}"
                self._broken = SparklabError("scheduling", found, "this is a defect of sparklab: please report it")
                self._broken.__cause__ = error
                self._end_all(self._broken)
            del item  # or the last job's RDDs would live until the next one
        self._end_all(_stopped())
        self._inbox.close()

    def _process(self, item: Any) -> None:
        if isinstance(item, BaseException):
            self._broken = item
            self._end_all(item)
        elif isinstance(item, tuple):
            if item and isinstance(item[0], JobHandle):
                handle, stimulus = item
                if self._broken is not None:
                    handle.finish(self._broken)
                    return
                self._jobs[handle.job] = handle
                item = (stimulus,)
            if self._runner is None:
                self._held.extend(item)
            else:
                self._take_in(item)
        elif callable(item):
            item()
        else:
            self._runner = item
            self._runner.attend(self._inbox)
            held, self._held = self._held, []
            self._take_in(tuple(held))

    def _take_in(self, stimuli: tuple[m.Stimulus, ...]) -> None:
        effects = self.scheduler.handle(m.Tick(time.monotonic() - self._started_s), *stimuli)
        while True:
            if effects.facts:
                self._bus.publish(*effects.facts)
            rejected: list[m.Stimulus] = []
            for instruction in effects.instructions:
                self._carry_out(instruction, rejected)
            if not rejected:
                return
            effects = self.scheduler.handle(*rejected)

    def _carry_out(self, instruction: m.Instruction, rejected: list[m.Stimulus]) -> None:
        runner = self._runner
        assert runner is not None
        match instruction:
            case m.StagePrepared():
                try:
                    runner.prepare(instruction)
                except SparklabError as error:
                    rejected.append(m.StageRejected(instruction.stage, error))
            case m.Launch():
                if any(isinstance(r, m.StageRejected) and r.stage == instruction.stage for r in rejected):
                    # Never sent: give the slots back.
                    rejected.extend(
                        m.TaskEnded(task.task, instruction.executor, instruction.epoch, m.Cancelled())
                        for task in instruction.tasks
                    )
                else:
                    runner.launch(instruction)
            case m.CancelTasks():
                runner.cancel(instruction)
            case m.StageForgotten():
                runner.forget_stage(instruction.stage)
            case m.ResultReady():
                if instruction.job in self._jobs:
                    self._jobs[instruction.job].deliver(instruction.position, instruction.value)
            case m.ApplyUpdates():
                for trouble in apply_updates(instruction.updates):
                    self.warn("accumulators", trouble)
            case m.JobFinished():
                handle = self._jobs.pop(instruction.job, None)
                if handle is not None:
                    handle.finish(instruction.error)
            case m.CopyBlock():
                runner.copy_block(instruction)
            case m.MoveOutput():
                runner.move_output(instruction)
            case m.ReleaseExecutor():
                runner.release(instruction)
            case m.RemoveBlocks():
                runner.remove_blocks(instruction)
            case m.RemoveShuffle():
                runner.remove_shuffle(instruction)
            case _:
                assert_never(instruction)

    def _end_all(self, error: BaseException) -> None:
        for handle in self._jobs.values():
            handle.finish(error)
        self._jobs.clear()

    def warn(self, subject: str, message: str) -> None:
        """A warning enters the facts and the log."""
        self._bus.publish(Warned(bounded(subject), bounded(message)))
        logger.warning("%s: %s", subject, message)


def _stopped() -> SparklabError:
    return SparklabError("running a job", "the SparkContext was stopped", "make a new one")
