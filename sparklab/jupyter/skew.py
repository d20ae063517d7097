"""How evenly the work of a job was spread: a row for each stage, the slowest task and the largest by name."""

from __future__ import annotations

from typing import Any

from sparklab.errors import SparklabError
from sparklab.events.spans import Attempt
from sparklab.events.views import JobView, StageView, Views
from sparklab.jupyter.tables import precise, times_text
from sparklab.jupyter.timeline_model import median_of

Rows = list[dict[str, Any]]


def job_of(views: Views, number: int | None) -> JobView:
    """The job, or the newest where `number` is None.

    Raises
    ------
    SparklabError
        Where it is not known any more, or none has run.
    """
    if number is None and views.jobs:
        return views.jobs[max(views.jobs)]
    if number in views.jobs:
        return views.jobs[number]
    known = f"jobs {min(views.jobs)} to {max(views.jobs)}" if views.jobs else "no job has run yet"
    raise SparklabError(
        "looking for the newest job" if number is None else f"looking for job {number}",
        known,
        "`%sparklab jobs` lists those that are remembered" if views.jobs else "an action such as count() starts one",
    )


def skew(views: Views, job: JobView) -> Rows:
    """A row for each stage that `job` ran; of a stage of more than 200 tasks, from its newest and its slowest ones."""
    rows = []
    for node in job.stages:
        stage = views.stages.get(node.stage)
        if stage is not None and node.stage in job.tasks:
            rows.append(_row(stage, [one for one in stage.attempts if one.job == job.job]))
    return rows


def _row(stage: StageView, attempts: list[Attempt]) -> dict[str, Any]:
    done = [one for one in attempts if one.status == "succeeded"]
    median_s = median_of(done) if stage.busy is None else stage.median_s
    slowest = max(done, key=lambda one: one.duration_s, default=None)
    largest = max(done, key=lambda one: one.records, default=None)
    records = sorted(one.records for one in done)
    middle = records[len(records) // 2] if records and stage.busy is None else 0
    return {
        "stage": stage.node.stage,
        "of": stage.node.name,
        "tasks": stage.planned,
        "median": precise(median_s),
        "slowest": precise(slowest.duration_s) if slowest is not None else "",
        "times": round(slowest.duration_s / median_s, 1) if slowest is not None and median_s else None,
        "task": slowest.partition if slowest is not None else None,
        "records": middle or None,
        "most": largest.records if largest is not None and largest.records else None,
        "in_task": largest.partition if largest is not None and largest.records else None,
    }


def verdict(rows: Rows) -> str:
    """One sentence on the worst stage, and what can be done about it."""
    times = [row for row in rows if row["times"] and row["tasks"] >= 3]
    worst = max(times, key=lambda row: float(row["times"]), default=None)
    if worst is None or worst["times"] <= 2:
        return "Even: no task took more than twice the median of its stage."
    text = f"Stage {worst['stage']}: task {worst['task']} took {times_text(worst['times'])} the median"
    heavy = worst["records"] and worst["most"] and worst["most"] > 2 * worst["records"]
    if heavy and worst["in_task"] == worst["task"]:
        return (
            f"{text} and read {worst['most'] / worst['records']:.1f} x the records: its data are larger. "
            "More partitions spread many keys; one heavy key needs a salt, or an aggregation before it is shuffled."
        )
    return f"{text} with no more records than others: its records cost more, or its executor was busy."
