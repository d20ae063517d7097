"""Runs of training as the panel's Training view draws them: the bound, the workers' clocks, the loss curves."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from sparklab.events.facts import bounded
from sparklab.events.learning import Point, TrainingView
from sparklab.events.run import seconds
from sparklab.events.training import TrainingStarted
from sparklab.quantities import plural

CURVES_MAX: Final = 6
POINTS_MAX: Final = 160
BARS_MAX: Final = 64
CHANGES_MAX: Final = 12
FILTERS_MAX: Final = 8
RANGES_MAX: Final = 256
SERVERS_MAX: Final = 16
ACTIVE: Final = ("running", "paused")
_ENDED: Final = {
    "finished": "Trained",
    "stopped": "Stopped after",
    "diverged": "Diverged after",
    "failed": "Failed after",
}


def training_model(runs: Sequence[TrainingView], now_s: float) -> dict[str, Any]:
    """``curves`` of at most six runs, and the newest run in full: ``front``. JSON-able, at most about 30 kB."""
    front = runs[-1]
    shown = runs[-CURVES_MAX:]
    return {
        "active": [run.plan.run for run in runs if run.status in ACTIVE],
        "curves": [_curve(run, short) for run, short in zip(shown, _short_names(shown), strict=True)],
        "more": max(0, len(runs) - CURVES_MAX),
        "front": _front(front, now_s),
        "foot": _foot(front, now_s),
    }


def training_headline(runs: Sequence[TrainingView], now_s: float) -> str:
    """Where the newest run stands, or how it ended: "Training ps, SSP(4): clock 120, loss 0.463, 3.2 s"."""
    run = runs[-1]
    loss = f", loss {run.loss:.4f}" if run.loss >= 0 else ""
    if run.status in ACTIVE:
        word = "Paused" if run.status == "paused" else "Training"
        return f"{word} {run.plan.label}: clock {run.clock:,}{loss}, {seconds(now_s - run.started_s)}"
    word = _ENDED.get(run.status, "Ended after")
    why = f": {run.error}" if run.error else ""
    wall = seconds(run.ended_s - run.started_s)
    return f"{word} {wall}, {run.plan.label}, clock {run.clock:,}{loss}{why}"


def words(tau: int) -> str:
    """What a bound means."""
    if tau < 0:
        return "no worker ever waits: gradients may be of any age"
    if tau == 0:
        return "every worker waits for the slowest at each clock"
    return f"no worker begins a clock while it is more than {plural(tau, 'clock')} ahead of the slowest"


def _short_names(runs: Sequence[TrainingView]) -> list[str]:
    """What tells the runs apart of label, bound and rate as they began; their numbers where these are alike."""
    parts = [_parts(run.plan) for run in runs]
    common = set(parts[0]).intersection(*parts[1:]) if len(runs) > 1 else set(parts[0])
    names = [" ".join(part for part in each if part not in common) for each in parts]
    if len(runs) == 1:
        return ["this run"]
    return [
        name if name and names.count(name) == 1 else f"{name} run {run.plan.run}".strip()
        for name, run in zip(names, runs, strict=True)
    ]


def _parts(plan: TrainingStarted) -> list[str]:
    said = bounded(plan.label).split(", ")
    if plan.has_tau:
        bound = "ASP" if plan.tau < 0 else f"SSP({plan.tau})" if plan.tau else "BSP"
        said += [] if bound in said else [bound]
    return [*said, f"lr {plan.lr:g}"]


def _curve(run: TrainingView, short: str) -> dict[str, Any]:
    points = run.curve
    kept = [point for point in points if point.loss >= 0]
    step = max(1, -(-len(kept) // POINTS_MAX))
    shown = kept[::-1][::step][::-1]  # the newest point is always there
    return {
        "run": run.plan.run,
        "label": bounded(run.plan.label),
        "short": short,
        "status": run.status,
        "points": [_rounded(point, run.started_s) for point in shown],
        "diverged": run.status == "diverged" or any(point.loss < 0 for point in points),
    }


def _rounded(point: Point, started_s: float) -> list[float]:
    return [round(point.time_s - started_s, 2), point.updates, round(point.loss, 5)]


def _front(run: TrainingView, now_s: float) -> dict[str, Any]:
    clocks = list(run.clocks)
    many = len(clocks) > BARS_MAX
    floor = min(clocks, default=0)
    lags = Counter(clock - floor for clock in clocks)
    slow = sorted(range(len(clocks)), key=lambda worker: (clocks[worker], worker))[:3]
    return {
        "run": run.plan.run,
        "label": run.plan.label,
        "strategy": run.plan.strategy,
        "status": run.status,
        "workers": max(run.plan.workers, len(clocks)),
        "has_tau": run.plan.has_tau,
        "tau": run.tau,
        "words": words(run.tau) if run.plan.has_tau else f"{run.plan.strategy} has no staleness bound to move",
        "lr": run.lr,
        "floor": floor,
        "clocks": [] if many else clocks,
        "waiting": [] if many else list(run.waiting),
        "waited": [] if many else [permille / 10 for permille in run.waited_permille],
        "lags": sorted(lags.items())[:40] if many else [],
        "slowest": [[worker, clocks[worker]] for worker in slow] if many else [],
        "idle": round(sum(run.waited_permille) / len(run.waited_permille) / 10, 1) if run.waited_permille else None,
        "blocked": sum(run.waiting),
        "slowed": [[worker, round(delay_s * 1000)] for worker, delay_s in sorted(run.delays_s.items())[:8]],
        "filters": _filters(run),
        "ring": _ring(run),
        "changes": [
            [round(change.time_s - run.started_s, 2), change.updates, _changed(change.what, change.after)]
            for change in run.changes[-CHANGES_MAX:]
        ],
        "wall": round((run.ended_s or now_s) - run.started_s, 1),
    }


def _filters(run: TrainingView) -> list[list[Any]]:
    """Name, bytes before and bytes after, for each filter that did something."""
    said = run.filters
    rows = zip(said.names, said.before, said.after, strict=False) if said is not None else ()
    return [
        [bounded("KKT" if name == "kkt" else name.replace("_", " ")), before, after]
        for name, before, after in rows
        if before > 0
    ][:FILTERS_MAX]


def _ring(run: TrainingView) -> dict[str, Any] | None:
    """The servers and their ranges: runs of neighbouring ranges with one server, as (server, how many)."""
    said = run.servers
    if said is None:
        return None
    size = min(RANGES_MAX, len(said.heads))
    heads, backs = said.heads[:size], said.backs[:size]
    rates = [run.rates.get(server, (0.0, 0.0)) for server in said.servers]
    alone = not said.replicas or len(said.servers) < 2
    why = "it has no replica: its ranges would be gone" if alone else "" if said.can_kill else "not started by sparklab"
    return {
        "epoch": said.epoch,
        "servers": [
            [server, heads.count(server), round(push, 1), round(pull, 1)]
            for server, (push, pull) in list(zip(said.servers, rates, strict=True))[:SERVERS_MAX]
        ],
        "count": len(said.servers),
        "dead": run.dead,
        "ranges": len(said.heads),
        "heads": _runs(heads),
        "backs": _runs(backs),
        "replicas": said.replicas,
        "promoted": [[at, server] for at, server in sorted(run.promoted.items()) if at < size],
        "promotions": said.promotions,
        "why": why,
    }


def _runs(servers: Sequence[int]) -> list[list[int]]:
    return [[server, sum(1 for _ in same)] for server, same in itertools.groupby(servers)]


def _changed(what: str, after: float) -> str:
    if what == "tau":
        return "Async" if after < 0 else f"tau {after:g}"
    return f"lr {after:g}"


def _foot(run: TrainingView, now_s: float) -> str:
    rate = run.updates / max((run.ended_s or now_s) - run.started_s, 1e-9)
    parts = [
        f"{run.updates:,} rows learnt from" if run.updates else "",
        f"{rate:,.0f} a second" if run.updates else "",
        plural(run.plan.workers, "worker"),
        f"{run.plan.dimension:,} features" if run.plan.dimension > 0 else "",
        f"{plural(run.taken_over, 'shard')} taken over" if run.taken_over else "",
    ]
    return ", ".join(itertools.filterfalse(lambda part: not part, parts))
