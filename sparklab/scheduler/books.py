"""Booking what executors report: blocks, map outputs and counters become locations and facts."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final

from sparklab.events.facts import (
    BlockRemoved,
    BlockStored,
    MapOutputLost,
    MapOutputStored,
    PartitionDiffered,
    Warned,
    bounded,
)
from sparklab.events.facts import TaskEnded as TaskEndedFact
from sparklab.scheduler import messages as m
from sparklab.scheduler.state import StageRun, State, Task

NOT_WANTED: Final = "another attempt was faster, or nobody waits for it any more"


def apply_changes(
    state: State,
    changes: Iterable[m.BlockChange],
    executor: int,
    epoch: int,
    copied: Collection[tuple[int, int]] = (),
) -> str:
    """Book block changes; those of the blocks `copied` came from a peer. Returns "cache" where a lost one is back."""
    recovered = ""
    for change in changes:
        if change.op == "stored":
            again = state.blocks.store(
                change.rdd, change.partition, executor, change.tier, change.bytes, since=state.next_task
            )
            copy = (change.rdd, change.partition) in copied
            again = again and not copy
            recovered = "cache" if again else recovered
            if change.copies > 1:
                state.blocks.want(change.rdd, change.partition, change.copies)
            state.out.facts.append(
                BlockStored(
                    change.rdd,
                    change.partition,
                    executor,
                    epoch,
                    change.tier,
                    change.bytes,
                    again,
                    change.records,
                    copy,
                )
            )
        elif state.blocks.remove(change.rdd, change.partition, executor) or change.reason != "unpersisted":
            state.out.facts.append(
                BlockRemoved(change.rdd, change.partition, executor, epoch, change.reason, change.bytes)
            )
            if change.reason == "corrupt":
                state.blocks.look_at(change.rdd, change.partition)
    return recovered


def forget_missing(state: State, missing: Iterable[m.BlockMissing], task: int, unanswered_too: bool) -> None:
    """Copies that their executors do not have are known no more: what needs them is planned without them.

    An executor that did not answer may be alive and busy: its copies are forgotten only with `unanswered_too`, where
    the task could not do without. What a task was told before a copy was booked says nothing about that copy.
    """
    for each in missing:
        executor = state.executors.get(each.executor)
        if executor is None or executor.epoch != each.epoch or not (each.answered or unanswered_too):
            continue
        size_bytes = state.blocks.doubt(each.rdd, each.partition, each.executor, task)
        if size_bytes is not None:
            state.out.facts.append(
                BlockRemoved(each.rdd, each.partition, each.executor, each.epoch, "missing", size_bytes)
            )


def book_map_output(state: State, task: Task, outcome: m.Succeeded) -> str:
    """Remember a map task's output. Returns "shuffle" where it had been there before and was lost."""
    output = outcome.value
    if not isinstance(output, m.MapOutput):
        return ""
    if output.shuffle_id not in state.outputs.shuffles:  # forgotten since the task was sent
        state.out.instructions.append(m.RemoveShuffle(task.executor, task.epoch, output.shuffle_id))
        return ""
    outputs = state.outputs.shuffles[output.shuffle_id]
    if outputs.locations[output.map_index] is not None:  # another attempt was faster; this file nobody reads
        outputs.wrote.add(task.executor)
        return ""
    executor = state.executors[task.executor]
    again = state.outputs.store(
        output, task.executor, task.epoch, executor.address, executor.host, since=state.next_task
    )
    state.out.facts.append(
        MapOutputStored(
            output.shuffle_id, output.map_index, task.executor, task.epoch, output.bytes, output.records, again
        )
    )
    return "shuffle" if again else ""


def compare_digests(state: State, task: Task, run: StageRun | None, ended: m.TaskEnded) -> None:
    """What the task found out about determinism: facts, and the RDD is known for it. Remembers its digests."""
    for (what, index), digest in ended.digests.items():
        known = state.digests.setdefault(what, {})
        before = known.setdefault(index, digest)
        if before != digest:
            known[index] = digest
            found = "computed again after it was lost, and other records than before"
            _differed(state, task, run, what, index, found)
    if ended.differs:
        _differed(state, task, run, None, task.partition, ended.differs)


def _differed(state: State, task: Task, run: StageRun | None, what: int | None, index: int, found: str) -> None:
    if run is None:
        return
    rdd = next((each for each in run.stage.rdds if each._id == what), run.stage.rdd)
    rdd._indeterminate = True
    state.out.facts.append(PartitionDiffered(rdd._id, index, task.stage, task.executor, bounded(found)))
    subject = f"partition {index} of {rdd.operator} at {rdd.call_site}"
    advice = "it is no deterministic function of its input: a loss makes all be computed again that was made from it"
    state.out.facts.append(Warned(bounded(subject), bounded(f"{found}; {advice}")))


def is_wanted(state: State, run: StageRun | None, task: Task, outcome: m.Succeeded) -> bool:
    """Whether anybody still waits for what `task` has made. Before it is booked."""
    if run is not None:
        return run.gang is not None or task.partition in run.todo
    outputs = state.outputs.shuffles.get(outcome.value.shuffle_id) if isinstance(outcome.value, m.MapOutput) else None
    return outputs is not None and outputs.locations[outcome.value.map_index] is None


def book_fetch_failure(state: State, task: Task, outcome: m.FetchFailed) -> set[int]:
    """The map output is where nobody looks for it any more; damage to it, or to what the task set aside, is said.

    With it go all that the task found gone beside it, and all of an incarnation of which nothing can be read: each of
    them would fail a task of its own. What was booked after the task was sent is not what it missed. Returns the
    shuffles that lack outputs by it.
    """
    if outcome.damaged:
        what = f"map output {outcome.map} of shuffle {outcome.shuffle} on executor {outcome.executor}"
        if outcome.shuffle < 0:
            what = f"a file of executor {task.executor} in partition {task.partition} of stage {task.stage}"
        state.out.facts.append(
            Warned(bounded(what), bounded(f"was found damaged and is computed again: {outcome.found}"))
        )
    at = (outcome.executor, outcome.epoch)
    lost = [(*each, *at) for each in state.outputs.remove_executor(*at, task.id)] if outcome.all_lost else []
    named = ((outcome.shuffle, outcome.map, *at), *outcome.beside)
    lost += [each for each in named if state.outputs.remove(*each, task.id)]
    reason = "corrupt" if outcome.damaged else "fetch_failed"
    state.out.facts.extend(MapOutputLost(*each, reason) for each in lost)
    return {each[0] for each in lost}


def count_updates(state: State, run: StageRun | None, task: Task, outcome: m.Succeeded) -> None:
    """What the task added to accumulators counts, if its partition has not succeeded before. Before it is booked.

    A map output counts when it is there for the first time, whoever still waits for it: made again after a loss, or by
    a second attempt, it does not.
    """
    if not outcome.updates:
        return
    output = outcome.value
    if isinstance(output, m.MapOutput):
        outputs = state.outputs.shuffles.get(output.shuffle_id)
        first = outputs is not None and not outputs.ever[output.map_index]
    else:
        first = run is not None and task.partition in run.todo
    if first:
        state.out.instructions.append(m.ApplyUpdates(outcome.updates))


def task_fact(s: m.TaskEnded, task: Task, status: str, recovered: str, error: str) -> TaskEndedFact:
    metrics = s.metrics
    return TaskEndedFact(
        task.id,
        task.stage,
        task.partition,
        task.attempt,
        task.executor,
        task.epoch,
        status,
        s.duration_s,
        metrics.records_read,
        metrics.bytes_read,
        metrics.shuffle_bytes_read,
        metrics.shuffle_bytes_written,
        metrics.spilled_bytes,
        metrics.cache_hits,
        metrics.cache_misses,
        recovered,
        bounded(error),
        s.ago_s,
    )
