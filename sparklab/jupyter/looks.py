"""How a job's plan stands right now: the state of each partition of each RDD, titles, costs, read from the views."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

from sparklab.events import states
from sparklab.events.facts import RddNode, StageNode
from sparklab.events.run import seconds
from sparklab.events.views import CachedRdd, JobView, StageView, Views
from sparklab.jupyter.dag_model import Plan, mib, plural
from sparklab.jupyter.holdings import HELD, Holding

_NOT_RUN: Final = "n"
_HELD: Final = HELD.encode()


@dataclass(slots=True)
class Kinship:
    """Which partition of a narrow child each partition goes into; computed once per plan."""

    plan: Plan
    rdds: dict[int, RddNode] = field(default_factory=dict)
    children: dict[int, list[int]] = field(default_factory=dict)
    _parents: dict[int, list[int]] = field(default_factory=dict)
    _carried: dict[tuple[int, int, frozenset[int]], Sequence[int] | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rdds = {rdd.rdd: rdd for rdd in self.plan.rdds}
        children, parents = defaultdict(list), defaultdict(list)
        for edge in self.plan.edges:
            if edge.shuffle < 0:
                children[edge.parent].append(edge.child)
                parents[edge.child].append(edge.parent)
        self.children, self._parents = dict(children), dict(parents)

    def step(self, parent: int, child: int, partition: int) -> int:
        """The partition of `child` that `partition` of `parent` goes into.

        One to one where both have as many; end to end into a union; in groups of neighbours into a coalesced RDD.
        """
        have, want = self.rdds[parent].partitions, self.rdds[child].partitions
        if have == want:
            return partition
        inputs = self._parents.get(child, [])
        if sum(self.rdds[one].partitions for one in inputs if one in self.rdds) == want:
            before = 0
            for one in inputs:
                if one == parent:
                    break
                before += self.rdds[one].partitions
            return before + partition
        return min(want - 1, partition * want // max(1, have))

    def path(self, start: int, end: int, inside: frozenset[int]) -> list[int] | None:
        """RDDs from `start` down to `end`, within a stage. Iterative."""
        came: dict[int, int] = {start: start}
        stack = [start]
        while stack:
            at = stack.pop()
            if at == end:
                way = [at]
                while way[-1] != start:
                    way.append(came[way[-1]])
                return way[::-1]
            for child in self.children.get(at, ()):
                if child in inside and child not in came:
                    came[child] = at
                    stack.append(child)
        return None

    def carried(self, start: int, end: int, inside: frozenset[int]) -> Sequence[int] | None:
        """For each partition of `start`, the partition of `end` that it goes into; None where it goes nowhere."""
        key = (start, end, inside)
        if key not in self._carried:
            self._carried[key] = self._carry(self.path(start, end, inside))
        return self._carried[key]

    def _carry(self, way: list[int] | None) -> Sequence[int] | None:
        if way is None:
            return None
        places: Sequence[int] = range(self.rdds[way[0]].partitions)
        for parent, child in pairwise(way):
            if self.rdds[parent].partitions != self.rdds[child].partitions:
                places = [self.step(parent, child, place) for place in places]
        return places


@dataclass(slots=True)
class JobLook:
    """A running or ended job as its picture shows it. Reads the views: use under the bus's lock."""

    views: Views
    job: JobView
    kin: Kinship
    held: dict[int, Holding]

    # --- stages ---------------------------------------------------------------------------------------

    def _stage(self, stage: StageNode) -> StageView | None:
        return self.views.stages.get(stage.stage)

    def _skipped(self, stage: StageNode) -> bool:
        return stage.skipped and not self.job.tasks.get(stage.stage)

    def title(self, stage: StageNode) -> str:
        if self._skipped(stage):
            return f"{plural(stage.tasks, 'task')}, skipped"
        view = self._stage(stage)
        if view is None or view.status == "waiting":
            return plural(stage.tasks, "task")
        planned = view.planned or stage.tasks
        if view.status == "succeeded":
            return f"{plural(planned, 'task')}, {seconds(view.wall_s)}"
        progress = f"{self._done(view):,}/{planned:,}"
        return progress if view.status == "running" else f"{progress}, {view.status}"

    @staticmethod
    def _done(view: StageView) -> int:
        return view.states.count(states.DONE.encode()) + view.states.count(states.RECOMPUTED.encode())

    def finished(self, stage: StageNode) -> bool:
        view = self._stage(stage)
        return self._skipped(stage) or (view is not None and view.status == "succeeded")

    # --- partitions -----------------------------------------------------------------------------------

    def states(self, stage: StageNode, rdd: RddNode) -> str:
        if self._skipped(stage) or rdd.rdd in stage.cut_rdds:
            worked = states.SKIPPED * rdd.partitions
        else:
            worked = self._worked(stage, rdd)
        return self._kept(rdd, worked) if rdd.rdd in self.held else worked

    def _kept(self, rdd: RddNode, worked: str) -> str:
        """What is held stands before what was worked on; computed again is what this job did."""
        held = self.held[rdd.rdd].states.ljust(len(worked), states.WAITING)
        if states.LOST in held:
            at_work = states.RUNNING + states.FAILED
            worked = "".join(
                done if kept != states.LOST or done in at_work else kept
                for kept, done in zip(held, worked, strict=False)
            )
        row = bytearray(
            kept if kept in _HELD else done for kept, done in zip(held.encode(), worked.encode(), strict=False)
        )
        for number, partition in self.job.recomputed_blocks:
            if number == rdd.rdd and partition < len(row) and row[partition] in _HELD:
                row[partition] = ord(states.RECOMPUTED)
        return row.decode("ascii")

    def _worked(self, stage: StageNode, rdd: RddNode) -> str:
        view = self._stage(stage)
        if view is None:
            return (states.DONE if self.job.status == "succeeded" else states.WAITING) * rdd.partitions
        inside = frozenset(stage.rdds)
        last = stage.rdds[-1]
        tasks = view.states.decode("ascii")
        places = self.kin.carried(rdd.rdd, last, inside)
        if places is None:
            return states.WAITING * rdd.partitions
        again = {i for shuffle, i in self.job.recomputed_outputs if shuffle == stage.shuffle}
        guard = self._guard(rdd.rdd, inside)
        above = self.kin.carried(rdd.rdd, guard.rdd, inside) if guard is not None else None
        if guard is None and not again and isinstance(places, range) and len(tasks) >= len(places):
            worked = tasks[: len(places)].replace(states.RECOMPUTED, states.DONE)
            return worked if rdd.rdd == last else worked.replace(states.LOST, states.DONE)
        ended = view.status != "running"
        out = []
        for i, place in enumerate(places):
            state = tasks[place] if place < len(tasks) else states.WAITING
            if guard is not None and above is not None:
                state = self._behind(guard, above[i], state, place in again, ended)
            elif state == states.RECOMPUTED and place not in again:
                state = states.DONE  # what was recomputed is the cached RDD above, not this one
            if state == states.LOST and rdd.rdd != last:
                state = states.DONE  # the shuffle's output was lost, not the steps before it
            out.append(state)
        return "".join(out)

    def _behind(self, guard: CachedRdd, partition: int, state: str, again: bool, ended: bool) -> str:
        """The state of a partition that is computed only where the cached `guard` does not hold its own."""
        if (guard.rdd, partition) in self.job.recomputed_blocks or again:
            return states.RECOMPUTED if state in (states.DONE, states.RECOMPUTED) else state
        # All cached partitions but the recomputed ones were found, none computed for the first time.
        found = self.job.cache_hits > 0 and self.job.cache_misses <= len(self.job.recomputed_blocks)
        if partition in guard.blocks and (found or state in (states.WAITING, states.RUNNING)):
            return states.SKIPPED
        if partition in guard.lost and ended:
            return states.SKIPPED
        return states.DONE if state == states.RECOMPUTED else state

    def _guard(self, rdd: int, inside: frozenset[int]) -> CachedRdd | None:
        """The cached RDD that stands before every use of `rdd` in this stage, if one does."""
        found: CachedRdd | None = None
        stack, seen = [rdd], {rdd}
        while stack:
            below = [child for child in self.kin.children.get(stack.pop(), ()) if child in inside]
            if not below:
                return None
            for child in below:
                cached = self.views.cache.get(child)
                if cached is not None and (cached.blocks or cached.lost):
                    found = found or cached
                elif child not in seen:
                    seen.add(child)
                    stack.append(child)
        return found

    # --- edges and cards ------------------------------------------------------------------------------

    def shuffle(self, shuffle: int) -> tuple[int, bool]:
        view = self.views.shuffles.get(shuffle)
        if view is None:
            return 0, False
        writer = next((s for s in self.job.stages if s.shuffle == shuffle), None)
        running = writer is not None and self.job.status == "running" and not self.finished(writer)
        return view.bytes, running

    def facts(self, stage: StageNode, rdd: RddNode) -> list[tuple[str, str]]:
        rows = held_rows(self.held.get(rdd.rdd))
        view = self._stage(stage)
        if view is not None and view.durations_s and rdd.rdd == stage.rdds[-1]:
            ordered = sorted(view.durations_s)
            rows.append(("Task time", f"median {ordered[len(ordered) // 2]:.3f} s, longest {ordered[-1]:.3f} s"))
        return rows

    def acts(self, rdd: RddNode) -> list[dict[str, Any]]:
        return acts(self.views, rdd, self.held.get(rdd.rdd))


def held_rows(held: Holding | None) -> list[tuple[str, str]]:
    """How many records a cached RDD has, as far as they were counted, and its bytes."""
    if held is None:
        return []
    rows = []
    known, whole = held.cached.records, len(held.states)
    if known:
        of = plural(whole, "partition") if len(known) >= whole else f"{len(known):,} of {plural(whole, 'partition')}"
        rows.append(("Records", f"{sum(known.values()):,} in {of}"))
    if held.cached.blocks:
        on_disk = f", {mib(held.disk_bytes)} on disk" if held.disk_bytes else ""
        rows.append(("Bytes", f"{mib(held.memory_bytes)} in memory{on_disk}"))
    return rows


def acts(views: Views, rdd: RddNode, held: Holding | None) -> list[dict[str, Any]]:
    """What a reader can do with `rdd`, each with what it costs and the line that does the same."""
    name = rdd.name if rdd.name.isidentifier() and rdd.name != rdd.operator else str(rdd.rdd)
    sample = {
        "cmd": "sample",
        "args": {"rdd": rdd.rdd},
        "label": "Compute a sample",
        "cost": "reads 1 partition",
        "code": f"{name}.take(5)" if not name.isdigit() else f"sc.rdd_by_id({name}).take(5)",
    }
    if held is None:
        return [
            {
                "cmd": "persist",
                "args": {"rdd": rdd.rdd, "level": "MEMORY_ONLY"},
                "label": "Persist",
                "cost": "kept when next computed",
                "code": f"%sparklab persist {name} MEMORY_ONLY",
            },
            sample,
        ]
    out: list[dict[str, Any]] = []
    cached = held.cached
    if cached.blocks:
        first = min(cached.blocks)
        size = max(bytes_ for _, bytes_ in cached.blocks[first].values())
        out.append(
            {
                "cmd": "drop-partition",
                "args": {"rdd": rdd.rdd, "partition": first},
                "label": "Drop",
                "cost": f"1 partition, {mib(size)}",
                "code": f"%sparklab drop-partition {name} {first}",
                "main": True,
            }
        )
        live = held.blocks_of
        executor = max(sorted(live), key=lambda e: live[e])
        if ours(views):
            out.append(
                {
                    "cmd": "kill-executor",
                    "args": {"executor": executor},
                    "label": f"Kill executor {executor}",
                    "cost": f"{plural(live[executor], 'partition')} live there",
                    "code": f"%sparklab kill-executor {executor}",
                }
            )
    else:
        out.append({**sample, "cost": "reads 1 partition, keeps it"})
    out.append(
        {
            "cmd": "unpersist",
            "args": {"rdd": rdd.rdd},
            "label": "Unpersist",
            "cost": f"{plural(cached.held, 'partition')}, {mib(held.memory_bytes + held.disk_bytes)}",
            "code": f"%sparklab unpersist {name}",
        }
    )
    return out


def ours(views: Views) -> bool:
    """Whether this cluster is one whose executors may be killed."""
    return views.master.startswith(("local", "threads"))


@dataclass(slots=True)
class LazyLook:
    """A lineage of which nothing has run; what is cached or written already is shown as such."""

    views: Views
    held: dict[int, Holding]

    def title(self, stage: StageNode) -> str:
        return f"{plural(stage.tasks, 'task')}, skipped" if stage.skipped else plural(stage.tasks, "task")

    def finished(self, stage: StageNode) -> bool:
        return stage.skipped

    def states(self, stage: StageNode, rdd: RddNode) -> str:
        held = self.held.get(rdd.rdd)
        cut = stage.skipped or rdd.rdd in stage.cut_rdds
        if held is None or not held.cached.blocks:
            return (states.SKIPPED if cut else _NOT_RUN) * rdd.partitions
        return held.states[: rdd.partitions].ljust(rdd.partitions, _NOT_RUN).replace(states.WAITING, _NOT_RUN)

    def shuffle(self, shuffle: int) -> tuple[int, bool]:
        view = self.views.shuffles.get(shuffle)
        return (view.bytes if view is not None else 0), False

    def facts(self, stage: StageNode, rdd: RddNode) -> list[tuple[str, str]]:
        return held_rows(self.held.get(rdd.rdd))

    def acts(self, rdd: RddNode) -> list[dict[str, Any]]:
        return acts(self.views, rdd, self.held.get(rdd.rdd))
