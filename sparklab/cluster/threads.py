"""Executors in this process, in threads: master ``threads[N]``. No Dask, no start-up; user code shares one GIL."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from sparklab.cluster.executor import Budgets, Executor
from sparklab.cluster.host import open_local
from sparklab.cluster.inbox import Inbox
from sparklab.cluster.lane import Lane
from sparklab.cluster.meeting import Meetings, meet_in
from sparklab.cluster.orders import Feed, OrderBook
from sparklab.cluster.reports import copy_ended, ended
from sparklab.cluster.scratch import OwnScratch
from sparklab.cluster.wire import StageOrder, Taken, TaskOrder
from sparklab.faults import AnswerDropped, ExecutorStruck
from sparklab.pieces import held
from sparklab.scheduler import messages as m
from sparklab.storage.peers import BlockPart, BlockRequest, Holder

BY_HAND: Final = "killed by hand"  # why an executor is gone, where nobody says otherwise

HOST: Final = "threads"


class _Seat:
    """An executor, the thread that runs its tasks, and another one for those of the background, once there are any."""

    def __init__(self, executor: Executor, feed: Feed, book: OrderBook, on_struck: Callable[[int], None]) -> None:
        self.executor = executor
        self._on_struck = on_struck
        self._feed = feed
        self._book = book
        self._over = threading.Event()
        name = f"sparklab-executor-{executor.number}"
        self._lanes = Lane(name), Lane(f"{name}-beside")  # a thread each, by whether tasks are the background's

    def take(self, background: bool, stage: StageOrder, tasks: list[TaskOrder]) -> None:
        """The tasks run after those that are waiting for the same thread."""
        self._lanes[background].put(partial(self._run, stage, tasks))

    def end(self) -> None:
        """What runs is cancelled and no more told of, and the threads end. Does not block."""
        self._over.set()
        self.executor.cancel_all()
        for lane in self._lanes:
            lane.close()

    def join(self, timeout_s: float) -> None:
        """The threads have ended, or `timeout_s` are over for one of them."""
        for lane in self._lanes:
            lane.join(timeout_s)

    def _run(self, stage: StageOrder, tasks: list[TaskOrder]) -> None:
        executor = self.executor
        for task in tasks:
            if self._over.is_set():
                return
            try:
                (report,) = executor.run(stage, [task])
            except (ExecutorStruck, AnswerDropped):
                self._on_struck(executor.number)
                return
            if self._over.is_set():
                return
            report = self._book.answer(report, stage.stage, executor.number, executor.epoch)
            for subject, message in report.warnings:
                self._book.warn(subject, message)
            self._feed(ended(report, executor.number, executor.epoch, stage.stage))


class ThreadsRunner:
    """Runs tasks on threads of this process, through the same wire format as everywhere else.

    :meth:`kill` fences an executor off and puts a new, empty one in its place: real enough for recovery tests.
    """

    def __init__(self, count: int, budgets: Budgets, book: OrderBook, feed: Feed, directory: str | None = None) -> None:
        self._budgets = budgets
        self._book = book
        self._feed = feed
        self._scratch = OwnScratch("threads", directory)
        self._lock = threading.Lock()  # guards who joins against the end
        self._seats: dict[int, _Seat] = {}
        self._meet = meet_in(Meetings())
        self._closed = False
        self._next = 0  # number of the next executor
        for number in range(count):
            self._join(number, 0)

    def _join(self, number: int, epoch: int) -> None:
        with self._lock:
            if not self._closed:  # or nobody would end it
                self._make(number, epoch)

    def _make(self, number: int, epoch: int) -> None:
        self._next = max(self._next, number + 1)
        directory = self._scratch.path / f"{number}.{epoch}"
        executor = Executor(number, epoch, directory, self._budgets, open_local, self._ask, HOST, self._meet)
        self._seats[number] = _Seat(executor, self._feed, self._book, self._struck)
        self._feed(
            m.ExecutorJoined(
                executor=number,
                epoch=epoch,
                address=f"threads://{number}",
                host=HOST,
                pid=0,
                slots=1,
                memory_bytes=0,
                cache_budget_bytes=self._budgets.cache_bytes,
            )
        )

    def _ask(self, holder: Holder, request: BlockRequest, _: Callable[[], None]) -> BlockPart | None:
        seat = self._seat(holder.executor, holder.epoch)
        return None if seat is None else seat.executor.blocks.share(request)

    def _struck(self, number: int) -> None:
        self._end(number, "an injected fault struck it", by_user=False, stay_dead=False)

    def add(self, count: int) -> range:
        """`count` more executors, with numbers that were not used before: these."""
        added = range(self._next, self._next + count)
        for number in added:
            self._join(number, 0)
        return added

    def kill(self, number: int, stay_dead: bool = False, reason: str = BY_HAND) -> None:
        """Fence executor `number` off; its blocks and files are gone, its running task is disowned."""
        self._end(number, reason, by_user=True, stay_dead=stay_dead)

    def _end(self, number: int, reason: str, by_user: bool, stay_dead: bool) -> None:
        seat = self._seats.pop(number, None)
        if seat is None:
            return  # somebody else was faster
        seat.end()
        # Before its files go: tasks that miss them would each be told of one, and give up after a few.
        self._feed(m.ExecutorGone(number, seat.executor.epoch, reason, by_user))
        seat.executor.close()
        if not stay_dead:
            self._join(number, seat.executor.epoch + 1)

    @property
    def scratch(self) -> Path:
        """The directory of all executors."""
        return self._scratch.path

    def executor(self, number: int) -> Executor:
        """The executor behind `number` at present."""
        return self._seats[number].executor

    def _seat(self, number: int, epoch: int) -> _Seat | None:
        seat = self._seats.get(number)
        return seat if seat is not None and seat.executor.epoch == epoch else None

    # --- TaskRunner -------------------------------------------------------------------------------

    def attend(self, inbox: Inbox) -> None:
        """No socket leads to a thread."""

    def prepare(self, stage: m.StagePrepared) -> None:
        self._book.prepare(stage)

    def launch(self, launch: m.Launch) -> None:
        seat = self._seat(launch.executor, launch.epoch)
        if seat is not None:
            seat.take(launch.background, *self._book.orders(launch))

    def cancel(self, tasks: m.CancelTasks) -> None:
        seat = self._seat(tasks.executor, tasks.epoch)
        if seat is not None:
            seat.executor.cancel(tasks.tasks)

    def forget_stage(self, stage: int) -> None:
        self._book.forget(stage)

    def copy_block(self, order: m.CopyBlock) -> None:
        seat = self._seat(order.executor, order.epoch)
        if seat is None:
            return
        holders = [self._book.holder(each) for each in order.holders]

        def copy() -> None:
            taken = Taken()
            try:
                taken = seat.executor.take_copy(order.rdd, order.partition, holders)
            finally:
                self._feed(copy_ended(order, taken))

        # Beside the executor's own thread, which may have a long task: a copy should not wait for it.
        threading.Thread(target=copy, name=f"sparklab-copy-{order.executor}", daemon=True).start()

    def move_output(self, order: m.MoveOutput) -> None:
        seat = self._seat(order.executor, order.epoch)
        if seat is None:
            return

        def move() -> None:
            output = None
            try:
                output = seat.executor.take_output(order.source)
            finally:
                self._feed(m.OutputMoved(order.source, order.executor, order.epoch, output))

        threading.Thread(target=move, name=f"sparklab-move-{order.executor}", daemon=True).start()

    def release(self, order: m.ReleaseExecutor) -> None:
        if self._seat(order.executor, order.epoch) is not None:
            self._end(order.executor, "removed; its blocks were moved", by_user=True, stay_dead=True)

    def remove_blocks(self, order: m.RemoveBlocks) -> None:
        seat = self._seat(order.executor, order.epoch)
        if seat is not None:
            seat.executor.blocks.drop(order.rdd, None, "unpersisted")

    def remove_shuffle(self, order: m.RemoveShuffle) -> None:
        seat = self._seat(order.executor, order.epoch)
        if seat is not None:
            seat.executor.remove_shuffle(order.shuffle)

    def forget_broadcast(self, token: str) -> None:
        self._book.forget_broadcast(token)
        held.forget([token])

    def close(self) -> None:
        with self._lock:
            self._closed = True
        seats = list(self._seats.values())  # one that is being struck takes itself out
        for seat in seats:
            seat.end()
        for seat in seats:
            seat.join(2)
            seat.executor.close()
        self._scratch.cleanup()
