"""Run: what happened in a cell or a job, in numbers. The panel prints these and no others; lectures assert on them."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sparklab.events.views import JobView, StageView, Views


@dataclass(frozen=True, slots=True)
class Run:
    """What happened in one scope (a notebook cell) or one job. Immutable.

    Attributes
    ----------
    value : object
        The cell's last value, None outside of a notebook.
    jobs : tuple of int
        Job ids, in order.
    stages, stages_skipped : int
        Stages that ran, and those whose output was there already.
    tasks : int
        Partitions of stages that were worked on. Another attempt at one is no further task.
    tasks_by_executor : dict of int to int
        Executor -> tasks that succeeded on it, attempts and recomputation included.
    recomputed_partitions, recomputed_of : int
        k of n: partitions that had been held, were lost and were computed again, of all partitions of the cached RDDs
        they belong to. Where no cached partition was concerned: map outputs, of all of their shuffles. Where nothing
        was recomputed: 0 of `tasks`.
    cache_hits, cache_misses : int
        Partitions of persisted RDDs that tasks found, and that they had to compute.
    bytes_shuffled, bytes_read : int
        Bytes written to shuffles, and read from files.
    records_read : int
        Records of files, parallelized data, caches and shuffles that tasks began with.
    wall_s : float
        From the start of the first job to the end of the last, seconds.
    status : str
        ``"succeeded"``, ``"failed"``, ``"cancelled"``, ``"running"``, or ``"lazy"`` where no job ran.
    """

    value: Any = None
    jobs: tuple[int, ...] = ()
    stages: int = 0
    stages_skipped: int = 0
    tasks: int = 0
    tasks_by_executor: dict[int, int] = field(default_factory=dict)
    recomputed_partitions: int = 0
    recomputed_of: int = 0
    cache_hits: int = 0
    cache_misses: int = 0
    bytes_shuffled: int = 0
    bytes_read: int = 0
    records_read: int = 0
    wall_s: float = 0.0
    status: str = "lazy"

    @property
    def headline(self) -> str:
        """One sentence: "Done 1.8 s, 24 tasks, 12 from cache, recomputed 0 of 24"."""
        if self.status == "lazy":
            return "0 jobs: nothing has run (lazy)"
        word = {"succeeded": "Done", "failed": "Failed after", "cancelled": "Cancelled after"}.get(
            self.status, "Running for"
        )
        parts = [f"{word} {seconds(self.wall_s)}", f"{self.tasks:,} task{'' if self.tasks == 1 else 's'}"]
        if self.cache_hits:
            parts.append(f"{self.cache_hits:,} from cache")
        parts.append(f"recomputed {self.recomputed_partitions:,} of {self.recomputed_of:,}")
        return ", ".join(parts)

    def _rows(self) -> list[tuple[str, str]]:
        by_executor = ", ".join(f"{e}: {n:,}" for e, n in sorted(self.tasks_by_executor.items()))
        return [
            ("jobs", ", ".join(map(str, self.jobs[:20])) + (", ..." if len(self.jobs) > 20 else "") or "none"),
            ("stages", f"{self.stages} run, {self.stages_skipped} skipped"),
            ("tasks", f"{self.tasks:,}" + (f" (on executor {by_executor})" if by_executor else "")),
            ("recomputed", f"{self.recomputed_partitions:,} of {self.recomputed_of:,} partitions"),
            ("cache", f"{self.cache_hits:,} partitions found, {self.cache_misses:,} computed"),
            ("read", f"{size(self.bytes_read)} of files, {self.records_read:,} records"),
            ("shuffled", size(self.bytes_shuffled)),
            ("wall", seconds(self.wall_s)),
        ]

    def __repr__(self) -> str:
        width = max(len(name) for name, _ in self._rows())
        return "\n".join([self.headline, *(f"  {name:<{width}}  {text}" for name, text in self._rows())])

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        rows = "".join(
            f'<tr><th style="text-align:left">{html.escape(name)}</th>'
            f'<td style="text-align:left">{html.escape(text)}</td></tr>'
            for name, text in self._rows()
        )
        return {
            "text/plain": repr(self),
            "text/html": f"<p><strong>{html.escape(self.headline)}</strong></p><table>{rows}</table>",
        }


def run_of(views: Views, *, scope: str | None = None, job: int | None = None) -> Run:
    """The Run of a scope or of a job; one that says ``lazy`` where it is not known or ran nothing."""
    if job is not None:
        wanted: Sequence[int] = (job,)
    else:
        found = views.scopes.get(scope or "")
        wanted = tuple(found.jobs) if found is not None else ()
    return run_of_jobs(views, [views.jobs[j] for j in wanted if j in views.jobs])


def run_of_jobs(views: Views, jobs: Sequence[JobView]) -> Run:
    """One Run for all of `jobs`."""
    if not jobs:
        return Run()
    by_executor: dict[int, int] = {}
    for each in jobs:
        for executor, count in each.tasks_by_executor.items():
            by_executor[executor] = by_executor.get(executor, 0) + count
    tasks = sum(each.task_count for each in jobs)
    recomputed, of = _recomputed(views, jobs, tasks)
    ran = sum(len(each.tasks) for each in jobs)
    planned = sum(len(each.stages) for each in jobs)
    ended = [each.ended_s for each in jobs if each.status != "running"]
    end_s = max(ended) if len(ended) == len(jobs) else views.time_s
    return Run(
        jobs=tuple(each.job for each in jobs),
        stages=ran,
        stages_skipped=max(0, planned - ran),
        tasks=tasks,
        tasks_by_executor=dict(sorted(by_executor.items())),
        recomputed_partitions=recomputed,
        recomputed_of=of,
        cache_hits=sum(each.cache_hits for each in jobs),
        cache_misses=sum(each.cache_misses for each in jobs),
        bytes_shuffled=sum(each.bytes_shuffled for each in jobs),
        bytes_read=sum(each.bytes_read for each in jobs),
        records_read=sum(each.records_read for each in jobs),
        wall_s=end_s - min(each.started_s for each in jobs),
        status=_status(each.status for each in jobs),
    )


def _status(each: Iterable[str]) -> str:
    found = set(each)
    for status in ("running", "failed", "cancelled"):
        if status in found:
            return status
    return "succeeded"


def _recomputed(views: Views, jobs: Sequence[JobView], tasks: int) -> tuple[int, int]:
    blocks = {block for each in jobs for block in each.recomputed_blocks}
    if blocks:
        rdds = {rdd for rdd, _ in blocks}
        counts = {node.rdd: node.partitions for each in jobs for node in each.plan.rdds}
        return len(blocks), sum(counts.get(rdd, 0) for rdd in rdds) or len(blocks)
    outputs = {output for each in jobs for output in each.recomputed_outputs}
    if outputs:
        maps = {stage.shuffle: stage.tasks for each in jobs for stage in each.stages if stage.shuffle >= 0}
        return len(outputs), sum(maps.get(shuffle, 0) for shuffle in {s for s, _ in outputs}) or len(outputs)
    return 0, tasks


def headline(views: Views, jobs: Sequence[JobView]) -> str:
    """The sentence at the head of a panel: where the jobs stand, or how they ended."""
    running = [each for each in jobs if each.status == "running"]
    if not running:
        return run_of_jobs(views, jobs).headline
    job = running[-1]
    at_work = [
        (number, views.stages[node.stage])
        for number, node in enumerate((n for n in job.stages if not n.skipped), 1)
        if node.stage in views.stages and views.stages[node.stage].status == "running"
    ]
    total = sum(not node.skipped for node in job.stages)
    elapsed = seconds(views.time_s - job.started_s)
    if not at_work:
        return f"{job.action}: {total} stage{'' if total == 1 else 's'} waiting, {elapsed}"
    number, stage = at_work[0]
    return f"{_name(stage)}: stage {number} of {total}, {stage.done:,}/{stage.planned:,}, {elapsed}"


def _name(stage: StageView) -> str:
    return stage.node.name or f"stage {stage.node.stage}"


def seconds(value: float) -> str:
    """ "0.05 s", "1.8 s", "72 s"."""
    return f"{value:.2f} s" if value < 0.1 else f"{value:.1f} s" if value < 60 else f"{value:.0f} s"


def size(count: float) -> str:
    """Bytes for people: "512 B", "3.1 MiB"."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError
