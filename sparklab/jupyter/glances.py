"""Where a scope's newest running job stands, read from the folded facts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparklab.jupyter.progress import Glance

if TYPE_CHECKING:
    from sparklab.context import SparkContext


def glance(sc: SparkContext, scope: str) -> Glance | None:
    """The newest running job of `scope`, None where none runs. Takes the bus's lock for a moment."""
    with sc.bus.lock:
        views = sc.bus.views
        seen = views.scopes.get(scope)
        running = [views.jobs[job] for job in (seen.jobs if seen else ()) if job in views.jobs]
        job = next((each for each in reversed(running) if each.status == "running"), None)
        if job is None:
            return None
        nodes = [node for node in job.stages if not node.skipped]
        stages = [views.stages[node.stage] for node in nodes if node.stage in views.stages]
        at = next((i for i, stage in enumerate(stages) if stage.status == "running"), None)
        if at is None:
            at = min(sum(stage.status == "succeeded" for stage in stages), len(stages) - 1)
        elapsed_s = sc.bus.now_s() - job.started_s
        if at < 0:
            return Glance(job.action, 1, 1, 0, 0, elapsed_s)
        stage = stages[at]
        tasks = stage.planned or stage.node.tasks
        return Glance(stage.node.name or job.action, at + 1, len(stages), min(stage.done, tasks), tasks, elapsed_s)
