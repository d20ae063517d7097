"""The runner on Dask workers. Two lanes carry the same orders: straight to a worker's handler, or as a Dask task."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import pickle
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

from distributed import Client

from sparklab.cluster import compat, handlers, plugin
from sparklab.cluster.answers import Answers
from sparklab.cluster.ear import HEAR_S, Ear
from sparklab.cluster.heartbeat import Heartbeats, Seat
from sparklab.cluster.inbox import Inbox
from sparklab.cluster.orders import Feed, OrderBook
from sparklab.cluster.removals import Awaited, Removal
from sparklab.cluster.reports import changes_of, copy_ended
from sparklab.cluster.switchboard import Switchboard, without_parts
from sparklab.cluster.wire import StageOrder, Taken, TaskOrder
from sparklab.errors import ClusterError
from sparklab.events.said import Said
from sparklab.scheduler import messages as m

logger = logging.getLogger("sparklab.cluster")

Lane = Literal["direct", "graph"]


class DaskRunner:
    """Carries orders to executors on Dask workers and their reports back.

    Parameters
    ----------
    client : distributed.Client
    book : OrderBook
    feed : callable
        Takes stimuli; thread-safe.
    lane_of : callable
        Which lane a launch takes. ``direct`` writes to the executor's own socket on this host, and calls the worker's
        handler on others (about 2 ms for a round trip); ``graph`` submits a Dask task (about 15 ms), which shows the
        load to everybody else on a shared cluster.
    on_released : callable
        Told ``(executor, epoch)`` when a retiring executor has nothing left to do or to give; must not block.
    on_unreachable : callable
        Told ``(executor, epoch)`` when a call to it failed; makes sure that it is dead.
    """

    def __init__(
        self,
        client: Client,
        book: OrderBook,
        feed: Feed,
        lane_of: Callable[[m.Launch], Lane],
        on_unreachable: Callable[[int, int], None],
        on_released: Callable[[int, int], None],
        app: str = "",
    ) -> None:
        self._client = client
        self._book = book
        self._feed = feed
        self._lane_of = lane_of
        self._on_unreachable = on_unreachable
        self._on_released = on_released
        self._app = app
        self._lock = threading.Lock()  # guards the seats, which the reader of cluster events also changes
        self._seats: dict[int, Seat] = {}
        self._futures: dict[int, tuple[Seat, Any]] = {}  # task -> where it runs and its Dask future, in the graph lane
        self._removals = Awaited()
        self._answers = Answers(book, feed)
        self._switchboard = Switchboard(client, self._say, self._answers.take, self._lend, self._broken)
        self._heartbeats: concurrent.futures.Future[None] | None = None
        self._closed = False
        self._gone: set[tuple[int, int]] = set()  # (executor, epoch): an incarnation that left does not come back
        self._doomed: dict[tuple[int, int], str] = {}  # (executor, epoch) -> why it is about to go, by hand

    # --- executors --------------------------------------------------------------------------------

    def join(self, number: int, epoch: int, address: str) -> concurrent.futures.Future[None]:
        """The executor at `address` is asked who it is, then takes tasks; the future ends when it does.

        From any thread; does not block.
        """
        return compat.on_loop(self._client, self._welcome(number, epoch, address))

    async def _welcome(self, number: int, epoch: int, address: str) -> None:
        try:
            hello = await self._call(address, handlers.HELLO, {"executor": number, "epoch": epoch})
        except OSError as error:
            if not self._closed and self._client.status == "running":
                logger.warning("executor %d did not answer: %s", number, error)
            return
        with self._lock:
            if (number, epoch) in self._gone:
                return  # it answered, and died before this was heard
            self._seats[number] = seat = Seat(number, epoch, address)
        self._switchboard.enter(seat, hello.get("door", ""))
        self._feed(
            m.ExecutorJoined(
                executor=number,
                epoch=epoch,
                address=address,
                host=hello["host"],
                pid=hello["pid"],
                slots=hello["slots"],
                memory_bytes=hello["memory_bytes"],
                cache_budget_bytes=hello["cache_budget_bytes"],
            )
        )

    def retire(self, number: int, epoch: int) -> None:
        """The executor is about to go: it gets no more tasks, its blocks move. From any thread; does not block."""
        self._feed(m.ExecutorRetiring(number, epoch))

    def doom(self, number: int, epoch: int, reason: str) -> None:
        """The executor is about to be killed by hand: whatever notices first that it is gone will say so."""
        with self._lock:
            self._doomed[number, epoch] = reason

    def leave(self, number: int, epoch: int, reason: str, by_user: bool = False) -> None:
        """The executor is gone. From any thread; does not block."""
        with self._lock:
            if (number, epoch) in self._doomed:
                reason, by_user = self._doomed.pop((number, epoch)), True
            self._gone.add((number, epoch))
            seat = self._seats.get(number)
            if seat is None or seat.epoch != epoch:
                return
            del self._seats[number]
            self._removals.forget(number, epoch)
        self._feed(m.ExecutorGone(number, epoch, reason, by_user))
        self._switchboard.leave(seat)
        compat.on_loop(self._client, self._forget_seat(seat))

    async def _forget_seat(self, seat: Seat) -> None:
        compat.forget(self._client, seat.address)
        # Dask would wait for a worker of this address, also with answers that nobody has fetched.
        await compat.cancel(self._client, [future for where, future in list(self._futures.values()) if where == seat])

    def watch(
        self,
        interval_s: float,
        timeout_s: float,
        on_silent: Callable[[Seat], None],
        is_working: Callable[[Seat], bool] = lambda _: False,
        on_back: Callable[[Seat], None] | None = None,
    ) -> None:
        """Executors are asked for signs of life from now on, as :class:`Heartbeats` says. Does not block."""
        beats = Heartbeats(self._taken, self._beat, interval_s, timeout_s, on_silent, is_working, on_back)
        self._heartbeats = compat.on_loop(self._client, beats.run())

    def _taken(self) -> list[Seat]:
        with self._lock:
            return list(self._seats.values())

    async def _beat(self, seat: Seat) -> None:
        await self._call(seat.address, handlers.BEAT, {})

    def seat(self, number: int, epoch: int) -> Seat | None:
        with self._lock:
            seat = self._seats.get(number)
        return seat if seat is not None and seat.epoch == epoch else None

    def call(self, number: int, name: str, timeout_s: float = 5.0, **arguments: Any) -> Any:
        """The answer of an executor's handler; blocks. Not from the scheduler's thread."""
        with self._lock:
            seat = self._seats.get(number)
        if seat is None:
            raise ClusterError(f"asking executor {number}", "it is not alive", "see %sparklab executors")
        future = compat.on_loop(self._client, self._call(seat.address, name, arguments))
        return future.result(timeout_s)

    def drop(self, executor: int, rdd: int, partition: int) -> Sequence[m.BlockChange]:
        """A cached partition left an executor's store: what changed there. Blocks, as :meth:`call` does."""
        return changes_of(pickle.loads(self.call(executor, handlers.DROP, rdd=rdd, partition=partition)))

    def peek(self, executor: int, rdd: int, partition: int, count: int) -> list[str]:
        """The first records of a cached partition, as text. Blocks, as :meth:`call` does."""
        return list(self.call(executor, handlers.PEEK, rdd=rdd, partition=partition, count=count))

    async def _call(self, address: str, name: str, arguments: dict[str, Any]) -> Any:
        return await compat.call(self._client, address, handlers.handler_of(name, self._app), **arguments)

    # --- TaskRunner -------------------------------------------------------------------------------

    def attend(self, inbox: Inbox) -> None:
        self._switchboard.attend(inbox)

    def prepare(self, stage: m.StagePrepared) -> None:
        self._book.prepare(stage)

    def launch(self, launch: m.Launch) -> None:
        seat = self.seat(launch.executor, launch.epoch)
        if seat is None:
            return  # its loss is on its way to the scheduler
        stage, tasks = self._book.orders(launch)
        removals = self._removals.of(launch.executor, launch.epoch)
        stage = replace(stage, removals=removals) if removals else stage
        if launch.gang is None and self._lane_of(launch) == "graph":
            for task in tasks:
                self._submit(seat, stage, pickle.dumps((stage, [task]), protocol=5), task)
                stage = without_parts(stage)
            return
        short = launch.gang is None and not launch.background and not stage.pieces
        if short and self._switchboard.post(seat, stage, tasks):
            return
        # Pieces of broadcasts do not wait for the task thread: others ask for them.
        parts = pickle.dumps((stage.broadcasts, stage.pieces), protocol=5) if stage.pieces else b""
        stage = replace(stage, pieces={})
        data = pickle.dumps((stage, tasks), protocol=5)
        beside = handlers.RUN_BESIDE if launch.background else handlers.RUN
        handler = beside if launch.gang is None else handlers.RUN_IN_GANG
        compat.on_loop(self._client, self._run(seat, stage, tasks, data, parts, handler))

    async def _run(
        self, seat: Seat, stage: StageOrder, tasks: list[TaskOrder], data: bytes, parts: bytes, handler: str
    ) -> None:
        while True:
            ear = Ear(self._book.say, [task.task for task in tasks])
            timer = asyncio.get_running_loop().call_later(HEAR_S, self._lend, ear, seat)
            try:
                answer = await self._call(seat.address, handler, {"order": data, "parts": parts})
            except OSError as error:
                if not self._closed:
                    self._unreachable(seat, error)
                return
            except Exception as error:  # its handler has failed
                self._answers.lost(seat, tasks, "its order was not carried out", error)
                return
            finally:
                timer.cancel()
                ear.close()
            tasks = self._answers.take(seat, stage, tasks, answer, ear)
            if not tasks:
                return
            # They took longer than was thought. What the executor has of the stage by now does not travel again.
            stage = without_parts(stage)
            data, parts = pickle.dumps((stage, tasks), protocol=5), b""

    def _lend(self, ear: Ear, seat: Seat) -> None:
        ear.listening = asyncio.ensure_future(self._listen(ear, seat))

    async def _listen(self, ear: Ear, seat: Seat) -> None:
        """What tasks that take long say is heard while they run."""
        while not ear.closed:
            try:
                answer = await self._call(seat.address, handlers.HEAR, {})
            except OSError:
                return  # who waits for the tasks' answer hears of it
            if not ear.closed:  # else the report is here, which has all of it
                for task, said in pickle.loads(answer).items():
                    ear.overhear(task, said)
            await ear.rest()

    def _say(self, said: Said) -> None:
        self._book.say(said)

    def _broken(self, seat: Seat, error: BaseException) -> None:
        if not self._closed:
            self._unreachable(seat, error)

    def _unreachable(self, seat: Seat, error: BaseException) -> None:
        self.leave(seat.executor, seat.epoch, f"its connection broke ({type(error).__name__})")
        self._on_unreachable(seat.executor, seat.epoch)

    def _submit(self, seat: Seat, stage: StageOrder, data: bytes, task: TaskOrder) -> None:
        future = self._client.submit(
            plugin.run_in_graph,
            self._app,
            data,
            key=f"sparklab-{stage.job}-{stage.stage}-{stage.attempt}-{task.task}",
            workers=[seat.address],
            allow_other_workers=False,
            pure=False,
            retries=0,
        )
        self._futures[task.task] = (seat, future)
        future.add_done_callback(  # type: ignore[no-untyped-call]
            lambda done: self._graph_done(seat, stage, task, done)
        )
        if self.seat(seat.executor, seat.epoch) is None:  # it left meanwhile, and who looked after it found no future
            compat.on_loop(self._client, self._forget_seat(seat))

    def _graph_done(self, seat: Seat, stage: StageOrder, task: TaskOrder, future: Any) -> None:
        found = f"its Dask task is {future.status}"
        answer: bytes | None = None
        if future.status == "finished":
            try:
                # The handle is gathered and released at once: Dask holds nothing that it could bring back.
                answer = future.result()
            except (concurrent.futures.CancelledError, OSError) as error:  # its worker went before it was gathered
                found = f"its answer was lost ({type(error).__name__})"
        self._futures.pop(task.task, None)  # till now, so that the loss of the executor ends the wait
        if answer is not None:
            self._answers.take(seat, stage, [task], answer, Ear(self._book.say, [task.task]))
        elif not self._closed and self.seat(seat.executor, seat.epoch) is not None:
            self._answers.lost(seat, [task], found)

    def cancel(self, tasks: m.CancelTasks) -> None:
        self._send(tasks.executor, tasks.epoch, handlers.CANCEL, tasks=list(tasks.tasks))

    def forget_stage(self, stage: int) -> None:
        self._book.forget(stage)
        # Executors keep a bounded number of stages and drop the oldest by themselves.

    def copy_block(self, order: m.CopyBlock) -> None:
        seat = self.seat(order.executor, order.epoch)
        if seat is not None and not self._closed:
            holders = pickle.dumps([self._book.holder(each) for each in order.holders], protocol=5)
            compat.on_loop(self._client, self._copy(seat, order, holders))

    async def _copy(self, seat: Seat, order: m.CopyBlock, holders: bytes) -> None:
        arguments = {"rdd": order.rdd, "partition": order.partition, "holders": holders}
        taken = Taken()
        try:
            taken = pickle.loads(await self._call(seat.address, handlers.COPY, arguments))
        except OSError as error:
            logger.debug("executor %d takes no copy: %s", order.executor, error)
        finally:
            self._feed(copy_ended(order, taken))

    def move_output(self, order: m.MoveOutput) -> None:
        seat = self.seat(order.executor, order.epoch)
        if seat is not None and not self._closed:
            compat.on_loop(self._client, self._move_output(seat, order))

    async def _move_output(self, seat: Seat, order: m.MoveOutput) -> None:
        output = None
        try:
            source = pickle.dumps(order.source, protocol=5)
            output = pickle.loads(await self._call(seat.address, handlers.TAKE, {"source": source}))
        except OSError as error:
            logger.debug("executor %d takes no map output: %s", order.executor, error)
        finally:
            self._feed(m.OutputMoved(order.source, order.executor, order.epoch, output))

    def release(self, order: m.ReleaseExecutor) -> None:
        if self.seat(order.executor, order.epoch) is not None and not self._closed:
            self._on_released(order.executor, order.epoch)

    def remove_blocks(self, order: m.RemoveBlocks) -> None:
        self._remove(order.executor, order.epoch, "blocks", order.rdd)

    def remove_shuffle(self, order: m.RemoveShuffle) -> None:
        self._remove(order.executor, order.epoch, "shuffle", order.shuffle)

    def _remove(self, number: int, epoch: int, kind: Literal["blocks", "shuffle"], what: int) -> None:
        seat = self.seat(number, epoch)
        if seat is not None and not self._closed:
            removal = self._removals.add(number, epoch, kind, what)
            compat.on_loop(self._client, self._removed(seat, removal))

    async def _removed(self, seat: Seat, removal: Removal) -> None:
        if await self._call_quietly(seat.address, handlers.REMOVE, removal._asdict()):
            self._removals.done(seat.executor, seat.epoch, removal)

    def forget_broadcast(self, token: str) -> None:
        self._book.forget_broadcast(token)
        with self._lock:
            seats = list(self._seats.values())
        for seat in seats:
            self._send(seat.executor, seat.epoch, handlers.FORGET, broadcasts=[token])

    def _send(self, number: int, epoch: int, name: str, **arguments: Any) -> None:
        seat = self.seat(number, epoch)
        if seat is not None and not self._closed:
            compat.on_loop(self._client, self._call_quietly(seat.address, name, arguments))

    async def _call_quietly(self, address: str, name: str, arguments: dict[str, Any]) -> bool:
        try:
            await self._call(address, name, arguments)
        except OSError as error:
            logger.debug("%s at %s: the executor went away: %s", name, address, error)
            return False
        return True

    def close(self) -> None:
        self._closed = True
        self._switchboard.close()
        if self._heartbeats is not None:
            self._heartbeats.cancel()
        for _, future in list(self._futures.values()):
            future.cancel()
        self._futures.clear()
