"""Each fact as a sentence that a person reads: what a replay shows beside its scrubber, step by step."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Final

from sparklab.events import facts as f
from sparklab.events import servers as s
from sparklab.events import training as t
from sparklab.events.facts import bounded
from sparklab.quantities import plural, size_text

_BETWEEN: Final = (("executor_lost", "with its executor"), ("dropped", "by hand"), ("fetch_failed", "found missing"))
_ENDED: Final = {"died": "died", "removed": "was removed", "closed": "ended"}


def sentence(fact: f.Fact) -> str:
    """`fact` in one line of at most 200 characters. Total: a kind without words of its own names its fields."""
    return bounded(_sentence(fact))


def mark(fact: f.Fact) -> str:
    """The kind of tick that `fact` has on a scrubber: "job", "stage", "kill" or "" for none."""
    match fact:
        case f.JobStarted():
            return "job"
        case f.StageEnded():
            return "stage"
        case f.ExecutorLost() | s.ServerEnded(reason="died"):
            return "kill"
        case t.TauChanged() | t.LearningRateChanged():
            return "tau"
    return ""


def _sentence(fact: Any) -> str:
    match fact:
        case f.ContextStarted():
            return f"context {fact.app_name} started on {fact.master}"
        case f.ContextStopped():
            return "the context stopped"
        case f.ExecutorAdded():
            again = f", epoch {fact.epoch}" if fact.epoch else ""
            return f"executor {fact.executor} joined (process {fact.pid}{again})"
        case f.ExecutorLost():
            went = [plural(fact.cached_partitions, "cached partition"), plural(fact.map_outputs, "map output")]
            taken = " and ".join(part for part in went if not part.startswith("0 "))
            return f"executor {fact.executor} lost: {fact.reason}" + (f"; {taken} went with it" if taken else "")
        case f.ScopeOpened():
            return f"{fact.label} began {fact.name}".strip()
        case f.ScopeClosed():
            return f"the cell ended: {fact.status}"
        case f.JobStarted():
            return f"job {fact.job} ({fact.action} at {fact.call_site}) started: {plural(len(fact.stages), 'stage')}"
        case f.JobEnded():
            return f"job {fact.job} {fact.status} after {fact.wall_s:.2f} s" + (f": {fact.error}" if fact.error else "")
        case f.StageStarted():
            again = f", attempt {fact.attempt}" if fact.attempt else ""
            return f"stage {fact.stage} started: {plural(len(fact.partitions), 'partition')} to compute{again}"
        case f.StageEnded():
            return f"stage {fact.stage} {fact.status} after {fact.wall_s:.2f} s"
        case f.TaskStarted():
            again = f", attempt {fact.attempt}" if fact.attempt else ""
            return f"task {fact.partition} of stage {fact.stage} started on executor {fact.executor}{again}"
        case f.TaskEnded():
            what = {"cache": ", making a lost cached partition again", "shuffle": ", making a lost map output again"}
            after = f" after {fact.duration_s * 1000:.0f} ms" if fact.status == "succeeded" else ""
            told = f": {fact.error}" if fact.error else ""
            return (
                f"task {fact.partition} of stage {fact.stage} {fact.status.replace('_', ' ')} on executor "
                f"{fact.executor}{after}{what.get(fact.recovers, '')}{told}"
            )
        case f.RddPersisted():
            return f"{fact.name or f'RDD {fact.rdd}'} is to be kept: {fact.level}"
        case f.RddUnpersisted():
            return f"RDD {fact.rdd} is no longer kept"
        case f.BlockStored():
            again = "recomputed and " if fact.recomputed else "copied and " if fact.copied else ""
            return (
                f"partition {fact.partition} of RDD {fact.rdd} {again}kept in executor {fact.executor}'s {fact.tier}, "
                f"{size_text(fact.bytes)}"
            )
        case f.BlockRemoved():
            why = dict(_BETWEEN).get(fact.reason, fact.reason)
            return f"partition {fact.partition} of RDD {fact.rdd} left executor {fact.executor}: {why}"
        case f.MapOutputStored():
            again = " again" if fact.recomputed else ""
            return (
                f"map output {fact.map} of shuffle {fact.shuffle} written{again} by executor {fact.executor}, "
                f"{size_text(fact.bytes)}"
            )
        case f.MapOutputLost():
            why = dict(_BETWEEN).get(fact.reason, fact.reason).replace("its executor", f"executor {fact.executor}")
            return f"map output {fact.map} of shuffle {fact.shuffle} lost {why}"
        case t.TrainingStarted():
            return f"training {fact.run} started: {fact.label}, {plural(fact.workers, 'worker')}"
        case t.TrainingEnded():
            told = f": {fact.error}" if fact.error else ""
            return f"training {fact.run} {fact.status} after {fact.wall_s:.2f} s, loss {fact.loss:.4f}{told}"
        case t.LossReported():
            return f"training {fact.run}: clock {fact.clock}, loss {fact.loss:.4f} after {fact.updates:,} rows"
        case t.WorkerClocks():
            waits = sum(fact.waiting)
            spread = f"clocks {min(fact.clocks)} to {max(fact.clocks)}" if fact.clocks else "no clock yet"
            return f"training {fact.run}: {spread}, {plural(waits, 'worker')} waiting"
        case t.TauChanged():
            return f"training {fact.run}: tau moved from {_tau(fact.before)} to {_tau(fact.after)}"
        case t.LearningRateChanged():
            return f"training {fact.run}: learning rate moved from {fact.before:g} to {fact.after:g}"
        case t.TrainingPaused():
            return f"training {fact.run} paused"
        case t.TrainingResumed():
            return f"training {fact.run} resumed"
        case t.WorkerSlowed() if fact.delay_s:
            return f"training {fact.run}: worker {fact.worker} rests {fact.delay_s * 1000:,.0f} ms after each clock"
        case t.WorkerSlowed():
            return f"training {fact.run}: worker {fact.worker} is as fast as it can again"
        case t.ServersSampled():
            sent = f"{sum(fact.pushes):,} pushes and {plural(sum(fact.pulls), 'pull')}"
            return f"training {fact.run}: {plural(len(fact.servers), 'server')}, epoch {fact.epoch}, {sent} so far"
        case t.FilterBytes():
            sizes = zip(fact.names, fact.before, fact.after, strict=False)
            each = ", ".join(f"{name} {size_text(before)} to {size_text(after)}" for name, before, after in sizes)
            return f"training {fact.run}: filters made {each}"
        case t.ShardTakenOver():
            return f"training {fact.run}: the rows of worker {fact.worker} were read again, on executor {fact.executor}"
        case s.ServerStarted():
            return f"parameter server {fact.server} joined"
        case s.ServerEnded():
            went = [f"{fact.promoted:,} of its ranges served by replicas"] if fact.promoted else []
            went += [f"{plural(fact.lost, 'range')} lost"] if fact.lost else []
            return ", ".join([f"parameter server {fact.server} {_ENDED.get(fact.reason, fact.reason)}", *went])
        case s.RangesMoved():
            return f"{plural(fact.ranges, 'range')} moved between parameter servers, {size_text(fact.bytes)}"
        case f.Warned():
            return f"warning, {fact.subject}: {fact.message}"
    told = ", ".join(f"{field.name.removesuffix('_s')} {getattr(fact, field.name)}" for field in fields(fact))
    return f"{_words(type(fact).__name__)}: {told}"


def _tau(bound: int) -> str:
    return "no bound" if bound < 0 else str(bound)


def _words(name: str) -> str:
    """``BlockStored`` as "block stored"."""
    return "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name).strip()
