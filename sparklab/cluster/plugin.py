"""What makes a Dask worker an executor: its handlers, its block store, its fetch service."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import os
import pickle
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, Final, Literal, cast

from distributed import Worker, get_worker

from sparklab.cluster import compat
from sparklab.cluster.collector import Collector
from sparklab.cluster.door import Door
from sparklab.cluster.executor import Budgets, Executor
from sparklab.cluster.handlers import BLOCK, GONE, HANDLERS, MEET, PIECE, READ, handler_of
from sparklab.cluster.host import host_token, open_local
from sparklab.cluster.lane import Lane
from sparklab.cluster.losses import gone_anywhere, gone_below
from sparklab.cluster.meeting import Answer, MeetingId, Meetings
from sparklab.cluster.peers import ANSWER_S
from sparklab.cluster.removals import Removal
from sparklab.cluster.resources import resident_bytes
from sparklab.cluster.scratch import PREFIX as SCRATCH_PREFIX
from sparklab.cluster.turns import Turns
from sparklab.cluster.wire import StageOrder, TaskOrder
from sparklab.pieces import held
from sparklab.shuffle.spec import ByteSource, MapLocation
from sparklab.storage.peers import BlockPart, BlockRequest, Holder

FETCH_TIMEOUT_S: Final = 30.0
CONNECT_S: Final = 2.0  # Dask tries a dead address until then; computing the block is an answer as well
PIECE_S: Final = 5.0  # how long a piece that the driver is sending is waited for, and a busy executor that has it
IMPORTS_BYTES: Final = 256 << 20  # of libraries that user code imports
PIECE_LOOK_S: Final = 0.02
LOOK_S: Final = 0.1  # how often who waits for a peer looks whether it was cancelled
DEAD_S: Final = 30.0  # how long an address that did not answer is not asked again


def install(worker: Worker, *, number: int, epoch: int, options: Mapping[str, Any]) -> None:
    """`worker` is executor `number`: it answers the handlers named above. Runs on the worker's event loop."""
    app = str(options.get("app", ""))
    own = Path(worker.local_directory)
    # A cluster of ours has one directory for all executors; a killed one's files there are its successor's to remove.
    scratch = next((folder for folder in own.parents if folder.name.startswith(SCRATCH_PREFIX)), own)
    name = f"executor{app}-{number}"
    for stale in scratch.glob(f"{name}.*"):
        # In one step first: who finds one file of a dead executor missing is to find them all so.
        with suppress(OSError):
            stale = stale.rename(stale.with_name(f"gone-{stale.name}"))
        shutil.rmtree(stale, ignore_errors=True)
    shared = scratch if scratch != own else Path(tempfile.gettempdir()) / f"sparklab-host-{os.getuid()}"
    token = host_token(shared) if options.get("share_files", True) else secrets.token_hex(16)
    service = ExecutorService(worker, number, epoch, scratch / f"{name}.{epoch}", token, options)
    for name in HANDLERS:
        compat.add_handler(worker, handler_of(name, app), getattr(service, name.removeprefix("sparklab_")))
    compat.keep_service(worker, app, service)
    if app:
        return  # the process is somebody else's, and so are its collector's settings
    # Long-lived objects of the imports leave the collector's rounds, and these come rarely.
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 50, 100)


def run_in_graph(app: str, order: bytes) -> bytes:
    """The body of a task in the graph lane: runs `order` on the executor that this Dask worker is."""
    service: ExecutorService = compat.service_of(get_worker(), app)
    return service.run_now(order)


class ExecutorService:
    """The executor behind its handlers. Handlers run on the event loop; tasks on the worker's one task thread."""

    def __init__(
        self, worker: Worker, number: int, epoch: int, directory: Path, host: str, options: Mapping[str, Any]
    ) -> None:
        self._worker = worker
        self._app = str(options.get("app", ""))
        self._loop = asyncio.get_running_loop()
        cache_bytes, shuffle_bytes = int(options["cache_bytes"]), int(options["shuffle_bytes"])
        self._memory_bytes = int(options.get("memory_bytes", 0))
        # Nobody ends a process of ours for its size, but all of them together must fit the machine: however small their
        # memory was chosen, there is room for the budgets beside what Python and the user's imports take.
        own_bytes = max(self._memory_bytes, resident_bytes() + cache_bytes + shuffle_bytes + IMPORTS_BYTES)
        process_bytes = options.get("process_bytes", own_bytes)
        self._budgets = Budgets(cache_bytes, shuffle_bytes, process_bytes)
        self._host = host
        self._dead: dict[str, float] = {}
        self._meetings = Meetings()
        self.executor = Executor(
            number,
            epoch,
            directory,
            self._budgets,
            self._open,
            self._ask_peer,
            host,
            self._meet,
            self._ask_piece,
            self._find_gone,
        )
        self._beside = Lane("sparklab-beside")
        self._door: Door | None = None
        # A process that is somebody else's keeps the settings of its collector.
        self._collector = None if self._app else Collector(also=self.executor.look)

    # --- handlers ---------------------------------------------------------------------------------

    async def hello(self, executor: int, epoch: int) -> dict[str, Any]:
        """Who this is. On a cluster that somebody else runs, the driver gives the number now."""
        if epoch > self.executor.epoch:  # the driver had given it up: nobody knows of what it holds
            await asyncio.to_thread(self.executor.forget_all)
        self.executor.number, self.executor.epoch = executor, epoch
        if not self._app and self._door is None:  # the driver of a cluster of ours is on this host
            turns = Turns(compat.task_threads(self._worker))
            self._door = Door(self.executor.directory, lambda order: turns.take(self.run_now, order))
        return {
            "pid": os.getpid(),
            "host": self._host,
            "hostname": socket.gethostname(),
            "slots": 1,
            "memory_bytes": self._memory_bytes,
            "cache_budget_bytes": self._budgets.cache_bytes,
            "door": "" if self._door is None else self._door.path,
        }

    async def beat(self) -> int:
        """A sign of life."""
        return self.executor.epoch

    async def hear(self) -> bytes:
        """What the tasks at work have said so far, by task, pickled."""
        return pickle.dumps(self.executor.said_so_far(), protocol=5)

    async def run(self, order: bytes, parts: bytes = b"") -> bytes:
        await self._take_parts(parts)
        # In the worker's own task thread: work of the graph lane and of other clients takes its turn with ours.
        return await self._loop.run_in_executor(compat.task_threads(self._worker), self.run_now, order)

    async def run_beside(self, order: bytes, parts: bytes = b"") -> bytes:
        await self._take_parts(parts)
        # One after the other in a thread of their own: what somebody waits for finds the worker's task thread free.
        return cast("bytes", await asyncio.wrap_future(self._beside.submit(self.run_now, order)))

    async def run_in_gang(self, order: bytes, parts: bytes = b"") -> bytes:
        await self._take_parts(parts)
        # In a thread of its own: two applications whose gangs hold one thread each of what both need would never end.
        return await asyncio.to_thread(self.run_now, order)

    async def _take_parts(self, parts: bytes) -> None:
        if parts:
            await asyncio.to_thread(lambda: self.executor.parts.take_pieces(*pickle.loads(parts)))

    def run_now(self, order: bytes | bytearray) -> bytes:
        stage: StageOrder
        tasks: list[TaskOrder]
        with self._collector.held_off() if self._collector is not None else nullcontext():
            stage, tasks = pickle.loads(order)
            return pickle.dumps(self.executor.run(stage, tasks), protocol=5)

    async def meet(self, meeting: list[int], partition: int, call: str, message: str) -> list[Any]:
        """A task of a barrier stage, here or elsewhere, waits at this executor; with an empty `call` it has ended."""
        which = MeetingId(*meeting)
        if not call:
            self._meetings.end(which, partition)
            return [[], ""]
        answer = await asyncio.wrap_future(self._meetings.arrive(which, partition, call, message))
        return list(answer)

    async def cancel(self, tasks: list[int]) -> None:
        self.executor.cancel(list(tasks))

    async def read(self, path: str, offset: int, length: int) -> bytes:
        """Bytes of one of this executor's own shuffle files; ``length`` -1 asks for the file's size, as 8 bytes."""
        wanted = Path(path).resolve()
        if not wanted.is_relative_to(self.executor.shuffle_directory.resolve()):
            raise PermissionError(f"{path} is no shuffle file of executor {self.executor.number}")
        return await asyncio.to_thread(_read_file, wanted, offset, length)

    async def gone(self, paths: list[str]) -> list[int]:
        """Positions in `paths` of what is not, or not any more, a shuffle file of this executor."""
        return await asyncio.to_thread(gone_below, self.executor.shuffle_directory, paths)

    async def forget(self, broadcasts: Sequence[str]) -> None:
        await asyncio.to_thread(held.forget, broadcasts)

    async def remove(self, number: int, kind: Literal["blocks", "shuffle"], what: int) -> None:
        await asyncio.to_thread(self.executor.removals.take, [Removal(number, kind, what)])

    async def drop(self, rdd: int, partition: int) -> bytes:
        self.executor.blocks.drop(rdd, partition, "dropped")
        return pickle.dumps(self.executor.blocks.drain_changes(), protocol=5)

    async def peek(self, rdd: int, partition: int, count: int) -> list[str]:
        return self.executor.blocks.peek(rdd, partition, count) or []

    async def block(self, epoch: int, request: bytes) -> bytes:
        """Part of a cached block as pickled :class:`BlockPart`, or None; also where this is another incarnation."""
        if epoch != self.executor.epoch:
            return pickle.dumps(None)
        # Not on the event loop: what is held live is pickled for the answer.
        return await asyncio.to_thread(
            lambda: pickle.dumps(self.executor.blocks.share(pickle.loads(request)), protocol=5)
        )

    async def take(self, source: bytes) -> bytes:
        """The map output at `source` (a pickled MapLocation) is here too; its pickled handle, or None."""

        def taken() -> bytes:
            return pickle.dumps(self.executor.take_output(pickle.loads(source)), protocol=5)

        return await asyncio.to_thread(taken)

    async def copy(self, rdd: int, partition: int, holders: bytes) -> bytes:
        """The block was asked of `holders` (pickled) and is held here too; a pickled :class:`Taken` says whether."""

        def take() -> bytes:
            return pickle.dumps(self.executor.take_copy(rdd, partition, pickle.loads(holders)), protocol=5)

        return await asyncio.to_thread(take)

    async def piece(self, token: str, index: int, host: str) -> bytes | str | None:
        """A piece of a broadcast, or the path of the whole for who is on `host`, ours; None where it does not come."""
        deadline = time.monotonic() + PIECE_S
        while True:
            path = held.whole(token) if host == self._host else None
            if path is not None:
                return path
            data = await asyncio.to_thread(held.piece, token, index)
            if data is not None or time.monotonic() > deadline:
                return data
            await asyncio.sleep(PIECE_LOOK_S)  # it is on its way from the driver

    def close(self) -> None:
        """The handlers answer no more; blocks and files are gone."""
        for name in HANDLERS:
            compat.remove_handler(self._worker, handler_of(name, self._app))
        self._beside.close()
        if self._door is not None:
            self._door.close()
        if self._collector is not None:
            self._collector.close()
        self.executor.close()

    # --- meeting others ---------------------------------------------------------------------------

    def _meet(
        self, address: str, meeting: MeetingId, partition: int, call: str, message: str
    ) -> concurrent.futures.Future[Answer]:
        return asyncio.run_coroutine_threadsafe(self._ask(address, meeting, partition, call, message), self._loop)

    async def _ask(self, address: str, meeting: MeetingId, partition: int, call: str, message: str) -> Answer:
        arguments: dict[str, Any] = {"meeting": list(meeting), "partition": partition, "call": call, "message": message}
        messages, found = await compat.call(self._worker, address, handler_of(MEET, self._app), **arguments)
        return Answer(list(messages), found)

    # --- reading from others ----------------------------------------------------------------------

    def _open(self, location: MapLocation) -> ByteSource:
        """A map output wherever it is: as a file where the host is ours, else through its executor."""
        if location.host == self._host:
            return open_local(location)
        if time.monotonic() < self._dead.get(location.address, 0.0):
            raise location.failed("its executor did not answer", all_lost=True)
        return _RemoteSource(self, location)

    def fetch(self, location: MapLocation, offset: int, length: int) -> bytes:
        """Bytes of a map output on another host; runs in the task's thread, bounded in time."""
        call = compat.call(
            self._worker,
            location.address,
            handler_of(READ, self._app),
            path=location.output.path,
            offset=offset,
            length=length,
        )
        future = asyncio.run_coroutine_threadsafe(call, self._loop)
        try:
            data: bytes = future.result(FETCH_TIMEOUT_S)
            return data
        except (OSError, FutureTimeout) as error:
            future.cancel()
            answered = isinstance(error, FileNotFoundError | PermissionError)
            if not answered:
                self._dead[location.address] = time.monotonic() + DEAD_S
            raise location.failed(f"{type(error).__name__}: {error}", all_lost=not answered) from error

    def _find_gone(self, locations: Sequence[MapLocation]) -> list[MapLocation]:
        """Which map outputs are not there any more; runs in the task's thread, bounded in time."""

        def ask(address: str, paths: list[str]) -> concurrent.futures.Future[list[int]]:
            name = handler_of(GONE, self._app)
            call = compat.call(self._worker, address, name, connect_timeout_s=CONNECT_S, paths=paths)
            return asyncio.run_coroutine_threadsafe(call, self._loop)

        dead = {address for address, until_s in self._dead.items() if time.monotonic() < until_s}
        worth_asking = [at for at in locations if at.host == self._host or at.address not in dead]
        return gone_anywhere(worth_asking, self._host, ask)

    def _ask_peer(self, holder: Holder, request: BlockRequest, check_cancelled: Callable[[], None]) -> BlockPart | None:
        """What `holder` answers; runs in the task's thread. OSError in place of a second wait for a dead address."""
        asked = pickle.dumps(request, protocol=5)
        part: BlockPart | None = pickle.loads(
            self._asked(holder, BLOCK, check_cancelled, CONNECT_S, epoch=holder.epoch, request=asked)
        )
        return part

    def _ask_piece(self, holder: Holder, token: str, index: int) -> bytes | str | None:
        found: bytes | str | None = self._asked(
            holder, PIECE, lambda: None, PIECE_S, token=token, index=index, host=self._host
        )
        return found

    def _asked(
        self, holder: Holder, handler: str, check_cancelled: Callable[[], None], connect_s: float, **arguments: Any
    ) -> Any:
        if time.monotonic() < self._dead.get(holder.address, 0.0):
            raise OSError(f"{holder.address} did not answer a moment ago")
        name = handler_of(handler, self._app)
        call = compat.call(self._worker, holder.address, name, connect_timeout_s=connect_s, **arguments)
        future = asyncio.run_coroutine_threadsafe(call, self._loop)
        deadline = time.monotonic() + ANSWER_S
        try:
            while not concurrent.futures.wait((future,), LOOK_S).done:
                check_cancelled()
                if time.monotonic() > deadline:
                    raise TimeoutError(f"no answer in {ANSWER_S:g} s")
            return future.result()
        except OSError:
            self._dead[holder.address] = time.monotonic() + DEAD_S
            raise
        except Exception as error:  # whatever went wrong there must not fail the user's task here
            raise OSError(f"{holder.address}: {type(error).__name__}: {error}") from error
        finally:
            future.cancel()


class _RemoteSource:
    """A file on another host, read through its executor."""

    def __init__(self, service: ExecutorService, location: MapLocation) -> None:
        self._service = service
        self._location = location
        self._size = int.from_bytes(service.fetch(location, 0, -1), "little")

    def size(self) -> int:
        return self._size

    def read(self, offset: int, length: int) -> bytes:
        return self._service.fetch(self._location, offset, length)

    def close(self) -> None:
        """Nothing is held."""


def _read_file(path: Path, offset: int, length: int) -> bytes:
    with path.open("rb") as file:
        if length < 0:
            return os.fstat(file.fileno()).st_size.to_bytes(8, "little")
        file.seek(offset)
        return file.read(length)
