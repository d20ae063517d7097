"""What is still true of the facts so far: the records that a new segment of the journal begins with."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Final

from sparklab.events import facts as f
from sparklab.events.facts import Record


class LiveRecords:
    """Facts that something later has not ended: who is there, what is held, what runs. Not thread-safe.

    Invariant: as large as what is there, however many facts there were.
    """

    def __init__(self) -> None:
        self._by_key: dict[Hashable, Record] = {}
        self._blocks: dict[int, dict[tuple[int, int], Record]] = {}  # rdd -> (partition, executor)

    def take_in(self, record: Record) -> None:
        """`record` is true now, and ends what it ends."""
        fact = record.fact
        if isinstance(fact, f.BlockStored):
            self._blocks.setdefault(fact.rdd, {})[fact.partition, fact.executor] = record
        elif isinstance(fact, f.BlockRemoved):
            blocks = self._blocks.get(fact.rdd, {})
            blocks.pop((fact.partition, fact.executor), None)
            if not blocks:
                self._blocks.pop(fact.rdd, None)
        else:
            begun = _BEGUN.get(type(fact))
            if begun is not None:
                self._by_key[begun(fact)] = record
            ended = _ENDED.get(type(fact))
            if ended is not None:
                self._by_key.pop(ended(fact), None)
            if isinstance(fact, f.RddUnpersisted):
                self._blocks.pop(fact.rdd, None)

    def records(self) -> list[Record]:
        """What is true, in the order in which it happened."""
        blocks = (record for held in self._blocks.values() for record in held.values())
        return sorted((*self._by_key.values(), *blocks), key=lambda record: record.seq)


_BEGUN: Final[dict[type[Any], Callable[[Any], Hashable]]] = {
    f.ContextStarted: lambda fact: "context",
    f.ExecutorAdded: lambda fact: ("executor", fact.executor, fact.epoch),
    f.ScopeOpened: lambda fact: ("scope", fact.scope),
    f.RddPersisted: lambda fact: ("rdd", fact.rdd),
    f.JobStarted: lambda fact: ("job", fact.job),
    f.StageStarted: lambda fact: ("stage", fact.stage),
    f.TaskStarted: lambda fact: ("task", fact.task),
}
_ENDED: Final[dict[type[Any], Callable[[Any], Hashable]]] = {
    f.ExecutorLost: lambda fact: ("executor", fact.executor, fact.epoch),
    f.ScopeClosed: lambda fact: ("scope", fact.scope),
    f.RddUnpersisted: lambda fact: ("rdd", fact.rdd),
    f.JobEnded: lambda fact: ("job", fact.job),
    f.StageEnded: lambda fact: ("stage", fact.stage),
    f.TaskEnded: lambda fact: ("task", fact.task),
}
