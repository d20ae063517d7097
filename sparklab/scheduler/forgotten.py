"""RDDs that nobody wants any more: their blocks are removed, also those that a task at work keeps only afterwards."""

from __future__ import annotations

from collections.abc import Sequence

from sparklab.events.facts import RddUnpersisted
from sparklab.scheduler import messages as m
from sparklab.scheduler.copies import Copies
from sparklab.scheduler.state import State


class Forgotten:
    """Has executors remove blocks. Reads and changes the scheduler's state; called by the scheduler alone."""

    def __init__(self, state: State, copies: Copies) -> None:
        self._state = state
        self._copies = copies
        self._before: dict[int, int] = {}  # RDD -> number of the first task that was sent after it was forgotten

    def forget(self, rdd: int) -> None:
        """Nothing is known or kept of `rdd`, until a later task keeps a block of it again."""
        state = self._state
        self._copies.forget_rdd(rdd)
        state.digests.pop(rdd, None)
        state.out.facts.append(RddUnpersisted(rdd))
        state.last_task_s.pop(rdd, None)
        if state.tasks:
            self._before[rdd] = state.next_task
        # Who is at work may be about to keep a block of it.
        at_work = {task.executor for task in state.tasks.values()}
        for executor in sorted(state.blocks.forget_rdd(rdd) | at_work):
            if executor in state.executors:
                state.out.instructions.append(m.RemoveBlocks(executor, state.executors[executor].epoch, rdd))

    def wanted(self, s: m.TaskEnded) -> Sequence[m.BlockChange]:
        """Block changes of a task that has ended, but for blocks of RDDs forgotten while it ran: these go once more."""
        if not self._before:
            return s.changes
        there = self._state.executors.get(s.executor)
        # A report has what changed in the executor's store, also by tasks that are at work beside.
        eldest = min((s.task, *(() if there is None else there.running)))
        late = {rdd for rdd, first in self._before.items() if eldest < first}
        oldest = next(iter(self._state.tasks), self._state.next_task)
        self._before = {rdd: first for rdd, first in self._before.items() if oldest < first}
        kept = {change.rdd for change in s.changes if change.op == "stored"} & late
        for rdd in sorted(kept):
            self._state.out.instructions.append(m.RemoveBlocks(s.executor, s.epoch, rdd))
        return [change for change in s.changes if change.op != "stored" or change.rdd not in kept]
