"""What `%sparklab status`, `jobs`, `cache` and `executors` print: rows read from the folded facts."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, Final

from sparklab.jupyter.tables import seconds, table
from sparklab.quantities import plural, size_text

if TYPE_CHECKING:
    from sparklab.context import SparkContext
    from sparklab.events.run import Run
    from sparklab.events.views import ExecutorView
    from sparklab.rdd.rdd import RDD

Rows = list[dict[str, Any]]

_SECRET: Final = re.compile("secret|password|token|credential|private", re.IGNORECASE)
_COMPARED: Final = (
    "status", "jobs", "stages", "stages_skipped", "tasks", "recomputed_partitions", "cache_hits", "cache_misses",
    "bytes_read", "bytes_shuffled", "records_read", "wall_s",
)  # fmt: skip

# These are names, not counts: no separators between their thousands.
_NAMED_MAX: Final = 4
_NUMBERS: Final = frozenset({"job", "rdd", "executor", "pid", "epoch"})


def rows_text(rows: Rows) -> str:
    """`rows` as a table; fields that end in ``_bytes`` and ``_s`` as quantities."""
    headings = list(rows[0])
    shown = [heading.removesuffix("_bytes").removesuffix("_s").replace("_", " ") for heading in headings]
    return table(shown, [[_shown(heading, row[heading]) for heading in headings] for row in rows])


def _shown(heading: str, value: Any) -> Any:
    if value is None:
        return ""
    if heading in _NUMBERS:
        return str(value)
    if heading.endswith("_bytes"):
        return size_text(value)
    return seconds(value) if heading.endswith("_s") else value


def running_jobs(sc: SparkContext) -> list[int]:
    """Numbers of the jobs that run or wait, oldest first."""
    with sc.bus.lock:
        return sorted(number for number, job in sc.bus.views.jobs.items() if job.status == "running")


def jobs(sc: SparkContext) -> Rows:
    """The jobs still remembered, oldest first."""
    with sc.bus.lock:
        now_s = sc.bus.now_s()
        return [
            {
                "job": job.job,
                "status": job.status,
                "action": job.action,
                "at": job.call_site,
                "cell": cell_of(sc, job.scope),
                "stages": sum(not node.skipped for node in job.stages),
                "tasks": job.task_count,
                "time_s": now_s - job.started_s if job.status == "running" else job.wall_s,
                "error": job.error,
            }
            for _, job in sorted(sc.bus.views.jobs.items())
        ]


def cell_of(sc: SparkContext, scope: str) -> str:
    """The cell of a scope, "-" where it has none. Called under the bus's lock."""
    view = sc.bus.views.scopes.get(scope)
    return (f"{view.label} {view.name}".strip() if view else "") or "-"


def executors(sc: SparkContext) -> Rows:
    """The executors by number, living and dead."""
    starting = sc.starting_executors()
    with sc.bus.lock:
        return [
            {
                "executor": view.executor,
                "state": _state(view, starting),
                "host": view.host,
                "pid": view.pid,
                "epoch": view.epoch,
                "running": view.running,
                "tasks_done": view.tasks_done,
                "cached": view.cached_partitions,
                "cache_bytes": view.cache_used_bytes,
                "budget_bytes": view.cache_budget_bytes,
                "spilled_bytes": view.disk_used_bytes,
            }
            for _, view in sorted(sc.bus.views.executors.items())
        ]


def _state(view: ExecutorView, starting: Collection[int]) -> str:
    if view.alive:
        return "alive"
    return f"dead: {view.reason}" + ("; a new process is starting" if view.executor in starting else "")


def held_by(sc: SparkContext, number: int) -> str:
    """``24 cached partitions (12 of errors, 12 of links) and 7 map outputs``: what would go with executor `number`."""
    with sc.bus.lock:
        held = [
            (cached.name, [len(holders) for holders in cached.blocks.values() if number in holders])
            for _, cached in sorted(sc.bus.views.cache.items())
        ]
        outputs = sum(where == number for each in sc.bus.views.shuffles.values() for where, _ in each.outputs.values())
    blocks = [copies for _, of_one in held for copies in of_one]
    said = [f"{len(of_one):,} of {name}" for name, of_one in held if of_one]
    if len(said) > _NAMED_MAX:
        said[_NAMED_MAX:] = [f"others of {plural(len(said) - _NAMED_MAX, 'more RDD')}"]
    if len(said) == 1:
        said = []
    if elsewhere := sum(copies > 1 for copies in blocks):
        said.append(f"{elsewhere:,} with a copy elsewhere")
    words = [plural(len(blocks), "cached partition") + (f" ({', '.join(said)})" if said else "")]
    if outputs:
        words = [*(words if blocks else []), plural(outputs, "map output")]
    return " and ".join(words)


def cache(sc: SparkContext) -> Rows:
    """The persisted RDDs of which something is held, was evicted or was lost, by number."""
    with sc.bus.lock:
        return [
            {
                "rdd": cached.rdd,
                "name": cached.name,
                "at": cached.call_site,
                "level": cached.level,
                "held": f"{cached.held}/{max(cached.partitions, cached.held)}",
                "evicted": len(cached.evicted),
                "lost": len(cached.lost),
                "recomputed": len(cached.recomputed),
                "memory_bytes": cached.bytes("memory"),
                "disk_bytes": cached.bytes("disk"),
            }
            for _, cached in sorted(sc.bus.views.cache.items())
            if cached.held or cached.lost or cached.evicted
        ]


def config(sc: SparkContext) -> Rows:
    """The settings that were made, by name; what looks like a secret is not shown."""
    return [
        {"setting": name, "value": "(hidden)" if _SECRET.search(name) else value}
        for name, value in sorted(sc.getConf().getAll())
    ]


def compared(names: Sequence[str], runs: Sequence[Run]) -> Rows:
    """Two runs, a row for each number, and how many times the second has of the first."""
    rows = []
    for field in _COMPARED:
        first, second = (getattr(run, field) for run in runs)
        first, second = (len(value) if isinstance(value, tuple) else value for value in (first, second))
        ratio = "" if isinstance(first, str) or not first else f"{second / first:.2f}"
        shown = [
            _shown(field.replace("bytes_", "") + "_bytes" if "bytes" in field else field, v) for v in (first, second)
        ]
        label = field.removesuffix("_s").replace("_", " ")
        rows.append({"number": label, names[0]: shown[0], f"{names[1]} ": shown[1], "ratio": ratio})
    return rows


def training(sc: SparkContext) -> Rows:
    """The runs of training still remembered, oldest first."""
    with sc.bus.lock:
        now_s = sc.bus.now_s()
        return [
            {
                "run": run.plan.run,
                "what": run.plan.label,
                "status": run.status,
                "tau": "-" if not run.plan.has_tau else "async" if run.tau < 0 else str(run.tau),
                "lr": f"{run.lr:g}",
                "clock": run.clock,
                "loss": f"{run.loss:.4f}" if run.loss >= 0 else "",
                "time_s": (run.ended_s or now_s) - run.started_s,
            }
            for run in sc.bus.views.training.runs.values()
        ]


def budget_text(sc: SparkContext) -> str:
    """A line per living executor: what it holds, against its budget."""
    with sc.bus.lock:
        return "\n".join(
            f"executor {view.executor}: {size_text(view.cache_used_bytes)} of {size_text(view.cache_budget_bytes)} "
            f"in memory, {size_text(view.disk_used_bytes)} on disk, {plural(view.cached_partitions, 'partition')}"
            for _, view in sorted(sc.bus.views.executors.items())
            if view.alive
        )


def status(sc: SparkContext) -> dict[str, Any]:
    """The context in one row."""
    with sc.bus.lock:
        views = sc.bus.views
        alive = [view for view in views.executors.values() if view.alive]
        return {
            "state": sc.state,
            "master": sc.master,
            "app": sc.appName,
            "application_id": sc.applicationId,
            "version": sc.version,
            "executors": len(alive),
            "running_jobs": sum(job.status == "running" for job in views.jobs.values()),
            "jobs": views.jobs_total,
            "tasks": views.tasks_total,
            "cached_partitions": sum(view.cached_partitions for view in alive),
            "cache_bytes": sum(view.cache_used_bytes for view in alive),
            "budget_bytes": sum(view.cache_budget_bytes for view in alive),
        }


def status_text(status: dict[str, Any]) -> str:
    """`status` in four lines."""
    return "\n".join(
        [
            f"{status['app']} on {status['master']}: {status['state']}, sparklab {status['version']}",
            f"  {plural(status['executors'], 'executor')}, {plural(status['running_jobs'], 'job')} running, "
            f"{plural(status['jobs'], 'job')} and {plural(status['tasks'], 'task')} so far",
            f"  {plural(status['cached_partitions'], 'cached partition')}, {size_text(status['cache_bytes'])} of "
            f"{size_text(status['budget_bytes'])}",
        ]
    )


def rdd_name(rdd: RDD) -> str:
    """``links (RDD 4)``."""
    return f"{rdd.name() or rdd.operator} (RDD {rdd.id()})"
