"""A panel's picture as data: a pure function of the folded facts, complete at any moment, at most 185 kB as JSON."""

from __future__ import annotations

import copy
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from sparklab.events.facts import StageNode
from sparklab.events.run import headline, run_of_jobs, seconds
from sparklab.events.views import TRAINS, JobView, ScopeView, TrainingView, Views
from sparklab.jupyter.cache_model import cache_model
from sparklab.jupyter.dag_model import DagDrawer, Plan
from sparklab.jupyter.holdings import Holding, holdings, lost_words
from sparklab.jupyter.kinship import Kinship
from sparklab.jupyter.looks import JobLook, LazyLook
from sparklab.jupyter.notes import notes
from sparklab.jupyter.shapes import NAMES
from sparklab.jupyter.timeline_model import count_of, timeline_model
from sparklab.jupyter.training_model import training_headline, training_model
from sparklab.quantities import plural

PanelModel: TypeAlias = dict[str, Any]

BYTES_MAX: Final = 185_000  # with the code and the style: at most 300 kB in a saved notebook
TABS_MAX: Final = 12
WALLS_MAX: Final = 40
_GLYPHS: Final = {"running": "r", "succeeded": "d", "failed": "f", "cancelled": "s", "lazy": "w"}


def panel_model(
    views: Views,
    scope: str,
    *,
    seq: int = 0,
    now_s: float | None = None,
    job: int | None = None,
    opened: Collection[str] = (),
    narrow: bool = False,
    lineage: Plan | None = None,
) -> PanelModel:
    """The picture of `scope` as `views` have it. Pure; read the views under the bus's lock.

    Parameters
    ----------
    now_s : float, optional
        The bus's time; by default that of the last fact.
    job : int, optional
        Which job's DAG to draw; by default the newest, or the one that failed where the cell ended in an error.
    opened : collection of str
        Keys of folds to draw unfolded.
    narrow : bool
        Draw the DAG for the static twin: at most 568 px wide where folding can reach that.
    lineage : plan, optional
        What to draw, dashed, while the scope has no job.
    """
    return ModelBuilder(scope, lineage).build(views, seq=seq, now_s=now_s, job=job, opened=opened, narrow=narrow)


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A picture, and what it was drawn from."""

    model: PanelModel
    known: bool  # whether there was a scope
    jobs: frozenset[int]
    runs: frozenset[int]  # of training

    def outlives(self, scope: ScopeView | None, jobs: Collection[int], runs: Collection[int]) -> bool:
        """Whether the views have forgotten some of it."""
        return (self.known and scope is None) or not (self.jobs.issubset(jobs) and self.runs.issubset(runs))

    def is_last(self, jobs: Collection[int], runs: Collection[int]) -> bool:
        """Whether all that it shows has ended, and nothing has begun since."""
        begun = not self.jobs.issuperset(jobs) or not self.runs.issuperset(runs)
        return not (self.model["open"] or self.model["running"] or begun)


class ModelBuilder:
    """Builds the model of one scope again and again, and places a DAG anew only when it must.

    The views forget the details of old jobs. A picture that has ended stays the one that was drawn of the whole, and
    one that goes on keeps its DAG and its lanes while no job is left to draw.
    Not thread-safe: use under the bus's lock.
    """

    def __init__(self, scope: str, lineage: Plan | None = None, job: int | None = None) -> None:
        self.scope = scope
        self.job = job  # whose picture it is where none is asked for; None for the newest
        self.lineage = lineage
        self._drawers: dict[tuple[int, bool], tuple[DagDrawer, Kinship]] = {}
        self._drawn: dict[bool, _Drawn] = {}  # by whether it is narrow

    def build(
        self,
        views: Views,
        *,
        seq: int = 0,
        now_s: float | None = None,
        job: int | None = None,
        opened: Collection[str] = (),
        narrow: bool = False,
    ) -> PanelModel:
        """The model; see :func:`panel_model`."""
        views = copy.copy(views)
        views.time_s = max(views.time_s, now_s or 0.0)
        scope = views.scopes.get(self.scope)
        jobs = [views.jobs[number] for number in (scope.jobs if scope is not None else ()) if number in views.jobs]
        trained = views.training.of_scope(self.scope)
        numbers, runs = frozenset(one.job for one in jobs), frozenset(one.plan.run for one in trained)
        front = _front(scope, jobs, self.job if job is None else job)
        chosen = job is not None or bool(opened)  # for one reader, who asked
        before = self._drawn.get(narrow)
        kept = before if before is not None and before.outlives(scope, numbers, runs) else None
        last = kept if kept is not None and kept.is_last(numbers, runs) else None
        if last is not None:
            wanted = last.model["job"] if job is None else job
            if not chosen or front is None or front.job != wanted:
                return dict(last.model)
        model = self._state(views, scope, jobs, seq)
        if kept is not None and front is None:
            told = model if scope is not None else {"open": False, "running": False, "active": [], "t": 0}
            model = {**kept.model, "counts": dict(kept.model["counts"]), **told}
        else:
            model |= self._details(views, scope, jobs, front, opened, narrow, model)
        if last is not None:
            model["jobs"] = last.model["jobs"]
        if trained:
            _with_training(model, trained, jobs, views.time_s)
        model = _bounded(model)
        if not chosen:
            of_kept = kept is not None and front is None
            self._drawn[narrow] = _Drawn(
                dict(model),
                scope is not None or of_kept,
                kept.jobs if kept is not None and of_kept else numbers,
                runs,
            )
        return model

    def _state(self, views: Views, scope: ScopeView | None, jobs: Sequence[JobView], seq: int) -> PanelModel:
        """Where the scope stands, of all its jobs."""
        active = [one.job for one in jobs if one.status == "running"]
        earlier = scope.earlier if scope is not None else None
        run = run_of_jobs(views, jobs, earlier)
        waits = not run.jobs and scope is not None and scope.status == "open"
        return {
            "v": 1,
            "seq": seq,
            "t": round(views.time_s, 1) if active else 0,
            "label": scope.label if scope is not None else "",
            "name": scope.name if scope is not None else "",
            "open": scope is not None and scope.status == "open",
            "running": bool(active),
            "active": active,
            "status": run.status,
            "over": "",
            "head": "No job has run yet" if waits else headline(views, jobs, earlier),
            "error": run.error,
            "strip": _strip(views, jobs, run.status),
        }

    def _details(
        self,
        views: Views,
        scope: ScopeView | None,
        jobs: Sequence[JobView],
        front: JobView | None,
        opened: Collection[str],
        narrow: bool,
        state: PanelModel,
    ) -> PanelModel:
        """What is drawn of the jobs of which the views have the details, most of it of the one in front."""
        held = holdings(views)
        dag = self._dag(views, held, front, opened, narrow)
        return {
            "job": front.job if front is not None else None,
            "jobs": _tabs(jobs, front),
            "counts": {"dag": len(dag["nodes"]), "timeline": count_of(front), "cache": len(views.cache)},
            "dag": dag,
            "timeline": timeline_model(views, front),
            "cache": cache_model(views, held),
            "legend": _ordered({state for node in dag["nodes"] for state, _ in node["tally"]}),
            "log": notes(views),
            "foot": _foot(views, scope, front, dag, state["error"]),
            "empty": _empty(scope),
            "reset": "Reset: what hands have changed is as the program set it",
            "summary": _summary(state["head"], dag, views),
        }

    def _dag(
        self,
        views: Views,
        held: dict[int, Holding],
        front: JobView | None,
        opened: Collection[str],
        narrow: bool,
    ) -> dict[str, Any]:
        if front is None:
            if self.lineage is None:
                return {"w": 0, "h": 0, "lazy": False, "frames": [], "nodes": [], "edges": []}
            drawer, _ = self._drawer(-1, self.lineage, narrow, lazy=True)
            return drawer.draw(LazyLook(views, held), opened)
        drawer, kin = self._drawer(front.job, front.plan, narrow)
        return drawer.draw(JobLook(views, front, kin, held), opened)

    def _drawer(self, job: int, plan: Plan, narrow: bool, lazy: bool = False) -> tuple[DagDrawer, Kinship]:
        key = (job, narrow)
        if key not in self._drawers or self._drawers[key][0].plan is not plan:
            while len(self._drawers) >= 4:
                del self._drawers[next(iter(self._drawers))]
            self._drawers[key] = (DagDrawer(plan, narrow=narrow, lazy=lazy), Kinship(plan))
        return self._drawers[key]


def _with_training(model: PanelModel, runs: Sequence[TrainingView], jobs: Sequence[JobView], now_s: float) -> None:
    """`model` shows runs of training too: a tab, and the headline while one is at work or was what came last."""
    training = training_model(runs, now_s)
    at_work = bool(training["active"])
    others = [job.started_s for job in jobs if not job.action.startswith(TRAINS)]  # a worker's turn is a job as well
    model["training"] = training
    model["counts"]["training"] = len(runs)
    if at_work or not others or runs[-1].ended_s >= others[-1]:
        model["leads"] = "training"
        model["head"] = training_headline(runs, now_s)
        model["summary"] = model["head"] if at_work else f"{model['head']}. {training['foot']}"
        model["strip"] = {"state": _GLYPHS.get("running" if at_work else "succeeded", "w"), "name": model["head"]}
    if at_work:
        model["running"] = True
        model["t"] = round(now_s, 1)


def _front(scope: ScopeView | None, jobs: Sequence[JobView], asked: int | None) -> JobView | None:
    for one in jobs:
        if one.job == asked:
            return one
    failed = [one for one in jobs if one.status == "failed"]
    if scope is not None and scope.status == "error" and failed:
        return failed[-1]
    running = [one for one in jobs if one.status == "running"]
    newest = running or jobs
    return newest[-1] if newest else None


def _shape(job: JobView) -> tuple[object, ...]:
    """What two jobs of a loop have in common: the action, its line, and the steps with theirs."""
    return job.action, job.call_site, tuple((rdd.name, rdd.call_site) for rdd in job.plan.rdds)


def _tabs(jobs: Sequence[JobView], front: JobView | None) -> list[dict[str, Any]]:
    """A tab for each shape of job, the newest first; a loop of equal jobs is one tab with their times."""
    groups: dict[tuple[object, ...], list[JobView]] = {}
    for job in jobs:
        groups.setdefault(_shape(job), []).append(job)
    newest = sorted(groups.values(), key=lambda group: -group[-1].job)[:TABS_MAX]
    actions = [group[-1].action for group in newest]
    tabs = []
    for group in newest:
        last = group[-1]
        shown = front.job if front is not None and front in group else last.job
        line = last.call_site.rsplit(":", 1)[-1]
        label = f"{last.action} :{line}" if actions.count(last.action) > 1 and line.isdigit() else last.action
        tabs.append(
            {
                "job": shown,
                "label": label,
                "n": len(group),
                "status": last.status,
                "title": f"job {last.job}: {last.action} at {last.call_site}, {last.status}",
                "walls": [round(one.wall_s, 4) for one in group[-WALLS_MAX:]] if len(group) > 1 else [],
            }
        )
    return tabs


def _strip(views: Views, jobs: Sequence[JobView], status: str) -> dict[str, Any]:
    running = [job for job in jobs if job.status == "running"]
    strip: dict[str, Any] = {"state": _GLYPHS.get(status, "w")}
    if not running:
        return strip
    job = running[-1]
    nodes = [node for node in job.stages if not node.skipped]
    now = [(i, node) for i, node in enumerate(nodes, 1) if _status(views, node) == "running"]
    strip["time"] = seconds(views.time_s - job.started_s)
    strip["name"] = job.action
    if now:
        number, node = now[0]
        view = views.stages[node.stage]
        strip |= {
            "name": node.name or job.action,
            "where": f"stage {number} of {len(nodes)}",
            "done": min(view.done, view.planned),
            "running": view.running,
            "total": view.planned,
        }
    return strip


def _status(views: Views, node: StageNode) -> str:
    view = views.stages.get(node.stage)
    return view.status if view is not None else ""


def _ordered(present: Collection[str]) -> str:
    return "".join(state for state in NAMES if state in present)


def _foot(views: Views, scope: ScopeView | None, front: JobView | None, dag: dict[str, Any], error: str) -> str:
    if error:
        return error
    for node in dag["nodes"]:
        if node["losts"]:
            lost = next((n for state, n in node["tally"] if state == "l"), 0)
            return lost_words(lost, sum(n for _, n in node["tally"]), node["losts"], set(node["why"]))
    since = scope.opened_s if scope is not None else 0.0
    notes = [note for note in (*views.losses, *views.warnings) if note.time_s >= since]
    if notes:
        last = max(notes, key=lambda note: note.time_s)
        return f"{last.subject}: {last.message}"
    alive = sum(executor.alive for executor in views.executors.values())
    where = front.call_site if front is not None else (scope.label if scope is not None else "")
    return ", ".join(part for part in (where, views.master, plural(alive, "executor") if alive else "") if part)


def _empty(scope: ScopeView | None) -> str:
    if scope is not None and scope.earlier.count:
        return "The details of its jobs are no longer kept."
    if scope is not None and scope.status == "open":
        return "No job has run in this cell yet."
    return "0 jobs: nothing has run (lazy). An action such as count() or collect() starts one."


def _summary(head: str, dag: dict[str, Any], views: Views) -> str:
    """The picture in words: each stage with its steps and what they hold, and the shuffles between."""
    parts = [head]
    into = {edge["b"]: edge for edge in dag["edges"] if edge["sh"] >= 0}
    for frame in dag["frames"][:12]:
        nodes = [node for node in dag["nodes"] if node["f"] == frame["k"]]
        reads = [f"shuffle {into[node['k']]['sh']}, {into[node['k']]['bytes']}" for node in nodes if node["k"] in into]
        steps = ", ".join(f"{node['full']} ({node['say'].split(': ', 1)[-1]})" for node in nodes)
        parts.append(f"{frame['t']}{' after ' + '; '.join(reads) if reads else ''}: {steps}")
    held = sum(bool(cached.blocks) for cached in views.cache.values())
    lost = sum(len(cached.lost) for cached in views.cache.values())
    if held:
        parts.append(f"{plural(held, 'RDD')} cached")
    if lost:
        parts.append(f"{plural(lost, 'cached partition')} lost")
    return ". ".join(parts)[:1500]


def _bounded(model: PanelModel) -> PanelModel:
    """`model`, with less about its cards and then its cells where it would be too large for a synced trait."""
    for less in range(3):
        if len(json.dumps(model, separators=(",", ":"))) <= BYTES_MAX:
            return model
        for node in model["dag"]["nodes"]:
            if less == 0:
                node["facts"], node["acts"] = node["facts"][:2], []
            else:
                node["losts"], node["why"] = node["losts"][:3], node["why"][:3]
        if less == 0:
            for lane in model["timeline"]["lanes"]:
                lane["bars"] = lane["bars"][-40:]
        if less == 1:
            model["cache"]["rows"] = model["cache"]["rows"][-8:]
            model["summary"] = model["summary"][:300]
    return model
