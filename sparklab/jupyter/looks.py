"""How a job's plan stands right now: the state of each partition of each RDD, titles, costs, read from the views."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sparklab.events import states
from sparklab.events.facts import RddNode, StageNode
from sparklab.events.run import seconds
from sparklab.events.views import JobView, StageView, Views
from sparklab.jupyter.holdings import HELD, Holding
from sparklab.jupyter.kinship import Kinship
from sparklab.jupyter.worked import worked
from sparklab.quantities import plural, size_text

_NOT_RUN: Final = "n"
_HELD: Final = HELD.encode()


@dataclass(slots=True)
class JobLook:
    """A running or ended job as its picture shows it. Reads the views: use under the bus's lock."""

    views: Views
    job: JobView
    kin: Kinship
    held: dict[int, Holding]
    _rows: dict[int, dict[int, str]] = field(default_factory=dict)

    # --- stages ---------------------------------------------------------------------------------------

    def _stage(self, stage: StageNode) -> StageView | None:
        return self.views.stages.get(stage.stage)

    def _skipped(self, stage: StageNode) -> bool:
        return stage.skipped and not self.job.tasks.get(stage.stage)

    def title(self, stage: StageNode) -> str:
        if self._skipped(stage):
            ran = self._ran_before(stage)
            return f"{plural(stage.tasks, 'task')}, {'skipped' if ran is None else f'ran in job {ran}'}"
        view = self._stage(stage)
        if view is None or view.status == "waiting":
            return plural(stage.tasks, "task")
        planned = self.job.planned.get(stage.stage) or view.planned or stage.tasks
        if view.status == "succeeded":
            return f"{plural(planned, 'task')}, {seconds(self.job.walls_s.get(stage.stage, view.wall_s))}"
        progress = f"{self._done(view):,}/{planned:,}"
        return progress if view.status == "running" else f"{progress}, {view.status}"

    def _ran_before(self, stage: StageNode) -> int | None:
        """The job of the same cell that ran `stage`, so that this one need not."""
        scope = self.views.scopes.get(self.job.scope)
        before = [job for job in (scope.jobs if scope is not None else ()) if job < self.job.job]
        ran = (job for job in reversed(before) if job in self.views.jobs and stage.stage in self.views.jobs[job].tasks)
        return next(ran, None)

    @staticmethod
    def _done(view: StageView) -> int:
        return view.states.count(states.DONE.encode()) + view.states.count(states.RECOMPUTED.encode())

    def finished(self, stage: StageNode) -> bool:
        view = self._stage(stage)
        return self._skipped(stage) or (view is not None and view.status == "succeeded")

    # --- partitions -----------------------------------------------------------------------------------

    def states(self, stage: StageNode, rdd: RddNode) -> str:
        row = states.SKIPPED * rdd.partitions if self._skipped(stage) else self._worked(stage)[rdd.rdd]
        return self._kept(rdd, row) if rdd.rdd in self.held else row

    def _worked(self, stage: StageNode) -> dict[int, str]:
        if stage.stage not in self._rows:
            self._rows[stage.stage] = worked(self.views, self.job, self.kin, stage)
        return self._rows[stage.stage]

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

    def losses(self, stage: StageNode, rdd: RddNode) -> Mapping[int, str]:
        held = self.held.get(rdd.rdd)
        if held is not None and held.cached.lost:
            return held.cached.lost
        shuffle = self.views.shuffles.get(stage.shuffle)
        return shuffle.lost if shuffle is not None and rdd.rdd == stage.rdds[-1] else {}

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
        on_disk = f", {size_text(held.disk_bytes)} on disk" if held.disk_bytes else ""
        rows.append(("Bytes", f"{size_text(held.memory_bytes)} in memory{on_disk}"))
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
                "cost": f"1 partition, {size_text(size)}",
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
            "cost": f"{plural(cached.held, 'partition')}, {size_text(held.memory_bytes + held.disk_bytes)}",
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

    def losses(self, stage: StageNode, rdd: RddNode) -> Mapping[int, str]:
        held = self.held.get(rdd.rdd)
        return held.cached.lost if held is not None else {}

    def shuffle(self, shuffle: int) -> tuple[int, bool]:
        view = self.views.shuffles.get(shuffle)
        return (view.bytes if view is not None else 0), False

    def facts(self, stage: StageNode, rdd: RddNode) -> list[tuple[str, str]]:
        return held_rows(self.held.get(rdd.rdd))

    def acts(self, rdd: RddNode) -> list[dict[str, Any]]:
        return acts(self.views, rdd, self.held.get(rdd.rdd))
