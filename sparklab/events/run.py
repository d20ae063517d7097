"""Run: what happened in a cell or a job, in numbers. The panel prints these and no others; lectures assert on them."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sparklab.events.facts import bounded
from sparklab.events.learning import Trained, trained
from sparklab.events.views import JobView, StageView, Tally, Views
from sparklab.nearness import no_attribute
from sparklab.quantities import plural, size_text


@dataclass(frozen=True, slots=True)
class Run:
    """What happened in one scope (a notebook cell) or one job. Immutable.

    Attributes
    ----------
    value : object
        The cell's last value, None outside of a notebook.
    jobs : tuple of int
        Job ids, in order; of more than 10,000 the newest.
    stages, stages_skipped : int
        Stages that ran, and those whose output was there already.
    tasks : int
        First attempts that a plan asked for: each partition of each stage that a job worked on, once. A further
        attempt (after a failure, or after its executor was lost) is no further task. A task that makes a lost map
        output again is none at all, since an earlier plan asked for it: it counts as recomputed. A task that brings
        back a cached partition on its way to a result of its own is one.
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
    error : str
        First line of the error of the job that failed last, "" where none did.
    training : tuple of Trained
        The runs of training that began here, oldest first: bound, lag, idle time, loss. Of a cell's Run, which training
        may outlast, as they stand when it is asked.
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
    error: str = ""
    training: tuple[Trained, ...] = ()

    if not TYPE_CHECKING:  # type checkers know what there is, and say what is not

        def __getattr__(self, name: str) -> Any:
            return no_attribute(self, name, "a Run")

    @property
    def headline(self) -> str:
        """One sentence: "Done 1.8 s, 24 tasks, 12 from cache, recomputed 0 of 24"."""
        if self.status == "lazy":
            if self.training:
                return f"Training {self.training[-1]}"
            return "0 jobs: nothing has run (lazy)"
        word = {"succeeded": "Done", "failed": "Failed after", "cancelled": "Cancelled after"}.get(
            self.status, "Running for"
        )
        parts = [f"{word} {seconds(self.wall_s)}", plural(self.tasks, "task")]
        if self.cache_hits:
            parts.append(f"{self.cache_hits:,} from cache")
        if self.recomputed_partitions or self.status not in ("failed", "cancelled"):
            parts.append(f"recomputed {self.recomputed_partitions:,} of {self.recomputed_of:,}")
        return ", ".join(parts)

    def _rows(self) -> list[tuple[str, str]]:
        by_executor = ", ".join(f"{e}: {n:,}" for e, n in sorted(self.tasks_by_executor.items()))
        rows = [("error", self.error)] if self.error else []
        if self.value is not None:
            rows.append(("value", bounded(repr(self.value))))
        return [
            *rows,
            ("jobs", self._jobs_text()),
            ("stages", f"{self.stages} run, {self.stages_skipped} skipped"),
            ("tasks", f"{self.tasks:,}" + (f" (on executor {by_executor})" if by_executor else "")),
            ("recomputed", f"{self.recomputed_partitions:,} of {self.recomputed_of:,} partitions"),
            ("cache", f"{self.cache_hits:,} partitions found, {self.cache_misses:,} computed"),
            ("read", f"{size_text(self.bytes_read)} of files, {self.records_read:,} records"),
            ("shuffled", size_text(self.bytes_shuffled)),
            ("wall", seconds(self.wall_s)),
            *((f"training {each.run}", bounded(str(each))) for each in self.training),
        ]

    def _jobs_text(self) -> str:
        """How many jobs, and their numbers: "1 (job 0)"."""
        if not self.jobs:
            return "none"
        numbers = ", ".join(map(str, self.jobs[:20])) + (", ..." if len(self.jobs) > 20 else "")
        return f"{len(self.jobs):,} (job{'' if len(self.jobs) == 1 else 's'} {numbers})"

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
        return run_of_jobs(views, [views.jobs[job]] if job in views.jobs else [])
    learnt = tuple(map(trained, views.training.of_scope(scope))) if scope else ()
    found = views.scopes.get(scope or "")
    if found is None:
        return Run(training=learnt)
    jobs = [views.jobs[each] for each in found.jobs if each in views.jobs]
    return replace(run_of_jobs(views, jobs, found.earlier), training=learnt)


def run_of_jobs(views: Views, jobs: Sequence[JobView], earlier: Tally | None = None) -> Run:
    """One Run for all of `jobs`, and for those that are only summed up, in `earlier`."""
    tally = Tally()
    if earlier is not None:
        tally.merge(earlier)
    for each in jobs:
        tally.add(each)
    if not tally.count:
        return Run()
    recomputed, of = tally.recomputed()
    end_s = views.time_s if tally.status == "running" else tally.ended_s
    return Run(
        jobs=tuple(tally.jobs),
        stages=tally.stages,
        stages_skipped=tally.stages_skipped,
        tasks=tally.tasks,
        tasks_by_executor=dict(sorted(tally.tasks_by_executor.items())),
        recomputed_partitions=recomputed,
        recomputed_of=of,
        cache_hits=tally.cache_hits,
        cache_misses=tally.cache_misses,
        bytes_shuffled=tally.bytes_shuffled,
        bytes_read=tally.bytes_read,
        records_read=tally.records_read,
        wall_s=max(0.0, end_s - tally.started_s),
        status=tally.status,
        error=tally.error,
    )


def headline(views: Views, jobs: Sequence[JobView], earlier: Tally | None = None, now_s: float | None = None) -> str:
    """The sentence at the head of a panel: where the jobs stand, or how they ended.

    Parameters
    ----------
    earlier : Tally, optional
        Of the scope's jobs of which only the sums are kept.
    now_s : float, optional
        The bus's time, for the seconds of a running job; by default that of the last fact.
    """
    running = [each for each in jobs if each.status == "running"]
    if not running:
        return run_of_jobs(views, jobs, earlier).headline
    job = running[-1]
    elapsed = seconds(max(0.0, (views.time_s if now_s is None else now_s) - job.started_s))
    nodes = [node for node in job.stages if not node.skipped or node.stage in job.tasks]
    for number, node in enumerate(nodes, 1):
        stage = views.stages.get(node.stage)
        if stage is not None and stage.status == "running":
            return f"{_name(stage)}: stage {number} of {len(nodes)}, {stage.done:,}/{stage.planned:,}, {elapsed}"
    return f"{job.action}: {plural(len(nodes), 'stage')} waiting, {elapsed}"


def _name(stage: StageView) -> str:
    return stage.node.name or f"stage {stage.node.stage}"


def seconds(value: float) -> str:
    """ "0.05 s", "1.8 s", "72 s"."""
    return f"{value:.2f} s" if value < 0.1 else f"{value:.1f} s" if value < 60 else f"{value:.0f} s"
