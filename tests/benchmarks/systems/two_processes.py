"""The bound: the user's functions in two plain Python processes that keep nothing but what the workload needs.

No scheduler, no lineage, no recovery, no hidden copy: fused iterators over blocks of text, one table a process for the
map-side combine, and an exchange through files of pickled batches. The other systems' CPU seconds are divided by what
this costs. It is what a good programmer writes in an hour, not the least there is: the cyclic collector runs as it does
in any Python, and tables are as large as the data, so a system that does better there can come out below it.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import platform
import tempfile
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from multiprocessing.connection import Connection
from typing import Any

from tests.benchmarks.inputs import Sizes
from tests.benchmarks.workload import Steps, Workload

PROCESSES = 2
_BATCH = 5_000
_BLOCK_BYTES = 128 << 10  # blocks of a megabyte cost a fifth more a line: fresh pages and cache misses


class TwoProcesses:
    """Two processes that run a function each, over and over, with a dictionary of their own and a common folder."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        os.environ["PYTHONHASHSEED"] = "0"  # both place a string alike
        spawn = multiprocessing.get_context("spawn")
        self._pipes: list[Connection] = []
        self._processes = []
        for index in range(PROCESSES):
            ours, theirs = spawn.Pipe()
            process = spawn.Process(target=_serve, args=(theirs, index, folder), daemon=True)
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)

    def run(self, function: Callable[..., Any], *args: Any) -> list[Any]:
        """``function(mine, *args)`` in both processes, `mine` being the process's `Share`; their values, in order."""
        for pipe in self._pipes:
            pipe.send((function, args))
        answers = [pipe.recv() for pipe in self._pipes]
        for failed, value in answers:
            if failed:
                raise RuntimeError(value)
        return [value for _, value in answers]

    def close(self) -> None:
        """Both processes have ended."""
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join()


class Share:
    """One process's half of the work: its index, what it keeps between calls, and its side of the exchange."""

    def __init__(self, index: int, folder: str) -> None:
        self.index = index
        self.folder = folder
        self.kept: dict[str, Any] = {}

    def lines(self, path: str) -> Iterator[str]:
        """The lines of this process's half of the file, read and decoded by the block."""
        return chain.from_iterable(self._blocks(path))

    def _blocks(self, path: str) -> Iterator[list[str]]:
        size = os.path.getsize(path)
        start, stop = size * self.index // PROCESSES, size * (self.index + 1) // PROCESSES
        with open(path, "rb") as file:
            if start:
                file.seek(start - 1)
                file.readline()
            while (at := file.tell()) < stop:
                block = file.read(min(_BLOCK_BYTES, stop - at))
                if not block.endswith(b"\n"):
                    block += file.readline()
                lines = block.decode().split("\n")
                if not lines[-1]:
                    lines.pop()
                yield lines

    def give(self, name: str, pairs: Iterable[tuple[Any, Any]]) -> None:
        """Every pair is in the file of the process that its key's hash names, in batches of some thousands."""
        self.give_by(name, ((hash(pair[0]) % PROCESSES, pair) for pair in pairs))

    def give_by(self, name: str, placed: Iterable[tuple[int, Any]]) -> None:
        """Every record of ``(process, record)`` is in the file of that process."""
        files = [open(self._path(name, self.index, target), "wb") for target in range(PROCESSES)]  # noqa: SIM115
        batches: list[list[Any]] = [[] for _ in files]
        for target, record in placed:
            batch = batches[target]
            batch.append(record)
            if len(batch) == _BATCH:
                pickle.dump(batch, files[target], 5)
                batch.clear()
        for batch, file in zip(batches, files, strict=True):
            pickle.dump(batch, file, 5)
            file.close()

    def taken(self, name: str) -> Iterator[Any]:
        """What both processes gave to this one under `name`, the first one's first; the files are gone afterwards."""
        return chain.from_iterable(self._taken_batches(name))

    def _taken_batches(self, name: str) -> Iterator[list[Any]]:
        for source in range(PROCESSES):
            path = self._path(name, source, self.index)
            with open(path, "rb") as file:
                size = os.path.getsize(path)
                while file.tell() < size:
                    yield pickle.load(file)
            os.unlink(path)

    def _path(self, name: str, source: int, target: int) -> str:
        return os.path.join(self.folder, f"{name}-{source}-{target}")


def combine(pairs: Iterable[tuple[Any, Any]], merge: Callable[[Any, Any], Any]) -> dict[Any, Any]:
    """One value a key, merged from left to right."""
    table: dict[Any, Any] = {}
    for key, value in pairs:
        if key in table:
            table[key] = merge(table[key], value)
        else:
            table[key] = value
    return table


def group(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, list[Any]]:
    """The list of each key's values, in order."""
    table: dict[Any, list[Any]] = {}
    for key, value in pairs:
        if key in table:
            table[key].append(value)
        else:
            table[key] = [value]
    return table


def _serve(pipe: Connection, index: int, folder: str) -> None:
    share = Share(index, folder)
    while True:
        try:
            function, args = pipe.recv()
        except EOFError:
            return
        try:
            answer = (False, function(share, *args))
        except Exception:
            answer = (True, traceback.format_exc())
        pipe.send(answer)


def absent() -> str | None:
    """None: a Python is all it takes."""
    return None


def version() -> str:
    return platform.python_version()


@contextmanager
def session() -> Iterator[TwoProcesses]:
    """The two processes; they have ended when the block is left."""
    with tempfile.TemporaryDirectory(prefix="bench-bound-") as folder:
        pair = TwoProcesses(folder)
        try:
            yield pair
        finally:
            pair.close()


def tiny(pair: TwoProcesses) -> int:
    """The count of four numbers, two in each process."""
    return sum(pair.run(_count, [[1, 2], [3, 4]]))


def _count(mine: Share, parts: list[list[int]]) -> int:
    return len(parts[mine.index])


def steps(workload: Workload, pair: TwoProcesses, sizes: Sizes, inputs: dict[str, Any]) -> Steps:
    """The steps in two processes."""
    return workload.bound(pair, sizes, inputs)
