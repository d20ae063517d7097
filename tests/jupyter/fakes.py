"""A context made of plain lists, for what needs no job to run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell

from sparklab.jupyter.completion import Matcher
from sparklab.rdd.core import Partition
from sparklab.rdd.rdd import RDD
from sparklab.storage.level import StorageLevel


class FakeRDD(RDD):
    def __init__(self, number: int, partitions: int = 4, name: str = "links") -> None:
        self._id = number
        self.operator = "map"
        self.storage_level = StorageLevel.NONE
        self._memoised_partitions = [Partition(index) for index in range(partitions)]
        self._name = name

    def id(self) -> int:
        return self._id

    def name(self) -> str:
        return self._name

    def take(self, num: int) -> list[Any]:
        return [self.made() for _ in range(num)]

    def made(self) -> Any:
        return "x" * 300

    def persist(self, level: StorageLevel) -> FakeRDD:
        self.storage_level = level
        return self

    def unpersist(self, blocking: bool = False) -> FakeRDD:
        self.storage_level = StorageLevel.NONE
        return self


class FakeContext:
    """Remembers in `done` what it was told to do."""

    def __init__(self, rdds: list[FakeRDD] | None = None, jobs: dict[int, str] | None = None) -> None:
        self.rdds = {rdd.id(): rdd for rdd in rdds or []}
        blocks = {partition: {partition % 2: ("memory", 1)} for partition in range(24)}
        views = SimpleNamespace(
            cache={7: SimpleNamespace(name="links", blocks=blocks)},
            shuffles={},
            jobs={number: SimpleNamespace(status=status, scope="s1") for number, status in (jobs or {}).items()},
        )
        self.bus = SimpleNamespace(lock=threading.RLock(), views=views)
        self.done: list[Any] = []

    def rdd_by_id(self, number: int) -> FakeRDD | None:
        return self.rdds.get(number)

    def executorInfos(self) -> list[Any]:
        return [
            SimpleNamespace(executor=number, epoch=0, alive=True, cached_partitions=12, running_tasks=1)
            for number in (0, 1)
        ]

    def cancelJob(self, job: int, reason: str | None = None) -> None:
        self.done.append(("cancel", job))

    def kill_executor(self, number: int, stay_dead: bool = False) -> None:
        self.done.append(("kill", number, stay_dead))

    def peek(self, rdd: FakeRDD, index: int, count: int = 5) -> list[str]:
        return [f"('{rdd.name()}', {index})"] * count

    def drop_partition(self, rdd: FakeRDD, index: int) -> None:
        self.done.append(("drop", rdd.id(), index))


@contextmanager
def completing(shell: InteractiveShell, sc: FakeContext) -> Iterator[Callable[[str], list[str]]]:
    """What a line could go on with, where `sc` is the context; nothing of it is left in `shell` afterwards."""
    matcher = Matcher(shell, lambda: sc)  # type: ignore[arg-type,return-value]
    matcher.install()

    def at_the_end_of(line: str) -> list[str]:
        with provisionalcompleter():
            return sorted(each.text for each in shell.Completer.completions(line, len(line)))

    yield at_the_end_of
    matcher.uninstall()
    assert shell.Completer.custom_matchers == []
