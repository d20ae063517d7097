"""Copies of cached blocks: as many as their storage level asks for, and none only on an executor that retires.

Copying is the driver's decision, taken after a task has reported its block: no task waits for it. What makes the first
copy of a replicated block also makes up for a lost one and empties a retiring executor.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Final

from sparklab.scheduler import messages as m
from sparklab.scheduler.books import apply_changes, forget_missing
from sparklab.scheduler.moves import Moves
from sparklab.scheduler.state import State

LOOKED_AT: Final = 256  # blocks at a time: a long line of them must not cost as much at every event
AT_ONCE: Final = 2  # copies that one executor takes in at the same time


@dataclass(slots=True)
class _UnderWay:
    executor: int
    epoch: int
    since: int  # number of the next task when it was ordered
    forgotten: bool = False  # its RDD was unpersisted meanwhile


class Copies:
    """Orders copies. Reads and changes the scheduler's state; called by the scheduler alone.

    One copy of a block is under way at a time. An executor that did not keep a block is not asked again until something
    has happened to the block.
    """

    def __init__(self, state: State, moves: Moves) -> None:
        self._state = state
        self._moves = moves
        self._under_way: dict[tuple[int, int], _UnderWay] = {}
        self._refused: dict[tuple[int, int], set[tuple[int, int]]] = {}  # block -> (executor, epoch)
        self._released: set[tuple[int, int]] = set()

    # --- what happens -----------------------------------------------------------------------------

    def executor_joined(self) -> None:
        """Blocks that lack copies may find room now."""
        self._state.blocks.look_at_replicated()

    def executor_gone(self, executor: int, epoch: int, blocks: Iterable[tuple[int, int]]) -> None:
        """What is left of `blocks`, which the executor held, may lack copies now."""
        self._released.discard((executor, epoch))
        self._moves.executor_gone(executor, epoch)
        for block in [b for b, copy in self._under_way.items() if (copy.executor, copy.epoch) == (executor, epoch)]:
            del self._under_way[block]
        for block in blocks:
            self._state.blocks.look_at(*block)

    def forget_rdd(self, rdd: int) -> None:
        """Copies of its blocks are not wanted any more, not even those that are under way."""
        for block, copy in self._under_way.items():
            copy.forgotten = copy.forgotten or block[0] == rdd
        for block in [block for block in self._refused if block[0] == rdd]:
            del self._refused[block]

    def ended(self, s: m.CopyEnded) -> None:
        """The executor holds the block, or does not."""
        block = (s.rdd, s.partition)
        copy = self._under_way.get(block)
        executor = self._state.executors.get(s.executor)
        if copy is None or (copy.executor, copy.epoch) != (s.executor, s.epoch):
            return
        del self._under_way[block]
        if executor is None or executor.epoch != s.epoch:
            return
        forget_missing(self._state, s.missing, copy.since, unanswered_too=False)
        if copy.forgotten:
            self._state.out.instructions.append(m.RemoveBlocks(s.executor, s.epoch, s.rdd))
            return
        apply_changes(self._state, s.changes, s.executor, s.epoch, copied=(block,))
        if s.executor not in self._state.blocks.executors(*block):
            self._refused.setdefault(block, set()).add((s.executor, s.epoch))

    def arriving(self, executor: int, epoch: int) -> list[tuple[int, int]]:
        """Blocks that the executor is taking from a peer: what is heard of them first may be another report of its."""
        return [block for block, copy in self._under_way.items() if (copy.executor, copy.epoch) == (executor, epoch)]

    def retire(self, executor: int) -> None:
        """The executor gets no more tasks; its blocks and map outputs go to others, then it is released."""
        self._state.executors[executor].retiring = True
        for block in self._state.blocks.on(executor):
            self._state.blocks.look_at(*block)

    # --- what follows -----------------------------------------------------------------------------

    def place(self) -> None:
        """Order the copies that are lacking; release retiring executors that are done."""
        retiring = [e for e in self._state.executors.values() if e.retiring]
        lacking = self._state.blocks.lacking
        if not lacking and not retiring:
            return
        load = Counter(copy.executor for copy in self._under_way.values())
        staying = [e.executor for e in self._state.executors.values() if not e.retiring]
        for block in list(islice(lacking, LOOKED_AT)):
            if all(load[e] >= AT_ONCE for e in staying):
                break
            del lacking[block]
            if block in self._under_way or self._order(block, load):
                lacking[block] = None  # behind the others, which may have had to wait for other executors
            else:
                self._refused.pop(block, None)
        for executor in retiring:
            key = (executor.executor, executor.epoch)
            moving = self._moves.place(*key)
            moving = moving or any(block in lacking for block in self._state.blocks.on(executor.executor))
            if moving or executor.running or key in self._released:
                continue
            self._released.add(key)
            self._state.out.instructions.append(m.ReleaseExecutor(*key))

    def _order(self, block: tuple[int, int], load: Counter[int]) -> bool:
        """Whether the block still lacks a copy that some executor can take, be it later."""
        executors = self._state.executors
        holders = [e for e in self._state.blocks.executors(*block) if e in executors]
        staying = [e for e in holders if not executors[e].retiring]
        if not holders or len(staying) >= self._state.blocks.copies_of(block[0]):
            return False
        refused = self._refused.get(block, set())
        able = [
            e.executor
            for e in executors.values()
            if not e.retiring and e.executor not in holders and (e.executor, e.epoch) not in refused
        ]
        if not able:
            return False
        free = [e for e in able if load[e] < AT_ONCE]
        if free:
            target = executors[min(free, key=lambda e: (self._state.blocks.count_on(e) + load[e], e))]
            load[target.executor] += 1
            self._under_way[block] = _UnderWay(target.executor, target.epoch, self._state.next_task)
            self._state.out.instructions.append(
                m.CopyBlock(*block, target.executor, target.epoch, tuple(sorted(holders)))
            )
        return True
