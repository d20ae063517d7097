"""A job in time, as the Timeline draws it: lanes of executors, a row for each stage, stragglers, losses of executors.

Times in seconds since the cell began, rounded to a tenth of a millisecond; whoever draws it scales them.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Final

from sparklab.events import states
from sparklab.events.facts import StageNode
from sparklab.events.spans import Attempt, Busy
from sparklab.events.views import JobView, StageView, Views
from sparklab.jupyter.tables import precise, times_text
from sparklab.jupyter.timeline_rows import SLOTS_MAX, Placed, merged, rows_of
from sparklab.quantities import plural

BARS_MAX: Final = 600
BANDS_MAX: Final = 1_500
LANES_MAX: Final = 32
STAGES_MAX: Final = 40
SLOWEST: Final = 20  # of a stage whose tasks are shown as a band
NAMED: Final = 3  # stragglers
STRAGGLES: Final = 2.0  # times the median of its stage
_COLUMNS: Final = 40  # of a terminal's picture
_NOTHING_S: Final = 0.02  # more than its median: what a task may lose without being told of
_LITTLE: Final = 0.01  # or of the job's time, if that is longer
_FEW: Final = 3  # a median of fewer tasks says nothing
_STATES: Final = {
    "succeeded": states.DONE,
    "running": states.RUNNING,
    "failed": states.FAILED,
    "lost": states.LOST,
    "fetch_failed": states.LOST,
    "cancelled": states.SKIPPED,
}


def timeline_model(views: Views, job: JobView | None) -> dict[str, Any]:
    """What the Timeline draws of `job`. Pure; reads the views: use under the bus's lock.

    Keys
    ----
    ``from``, ``to`` : seconds
    ``lanes``
        One for each executor: ``ex``, ``rows``, ``bars`` (stage, partition, row, start, seconds, state, attempt,
        straggles: times the median or 0), ``bands`` (start, seconds, share of the slots, share of it recovering,
        stage), ``gone`` (from, to).
    ``stages``
        ``id``, ``n``, ``spans`` (from, to, whether it recovers), ``median``, ``again`` (of what
        it made again), ``said``.
    ``kills`` : ``at``, ``ex``, ``said``
    ``named``
        Stragglers by name: stage, partition, attempt, ``said``.
    """
    if job is None:
        return {"from": 0.0, "to": 0.0, "bars": 0, "lanes": [], "stages": [], "kills": [], "named": [], "said": ""}
    scope = views.scopes.get(job.scope)
    origin_s = scope.opened_s if scope is not None else job.started_s
    end_s = views.time_s if job.status == "running" else max(job.ended_s, job.started_s)
    story = _Story(views, job, origin_s, end_s)
    start_s = job.started_s - origin_s
    # A cell's own Python before its job is shown where it is short.
    shown_s = 0.0 if start_s < 0.2 * (end_s - job.started_s) else start_s
    return {
        "from": _s(shown_s),
        "to": _s(max(end_s - origin_s, shown_s + 0.001)),
        "bars": story.total,
        "lanes": story.lanes(),
        "stages": story.rows(),
        "kills": story.kills(),
        "named": story.named(),
        "said": story.said(),
    }


def count_of(job: JobView | None) -> int:
    """How many attempts `job` has made or has at work: what the Timeline's tab counts."""
    if job is None:
        return 0
    return sum(job.attempts.values()) + job.tasks_running


def _s(value: float) -> float:
    return round(value, 4)


def _of(stage: StageView, job: JobView) -> tuple[list[Attempt], Busy | None]:
    return [one for one in stage.attempts if one.job == job.job], stage.busy


def median_of(attempts: Iterable[Attempt]) -> float:
    """Median seconds of those that succeeded, 0.0 where none has."""
    ordered = sorted(one.duration_s for one in attempts if one.status == "succeeded")
    return ordered[len(ordered) // 2] if ordered else 0.0


class _Story:
    """One job's attempts, sorted out."""

    def __init__(self, views: Views, job: JobView, origin_s: float, end_s: float) -> None:
        self._views = views
        self._job = job
        self._origin_s = origin_s
        self._end_s = end_s
        at_work: dict[int, list[Attempt]] = defaultdict(list)
        for number, attempt in views.at_work(job.job):
            at_work[number].append(attempt)
        ran = [node for node in job.stages if node.stage in job.tasks and node.stage in views.stages]
        self._nodes: list[StageNode] = ran[-STAGES_MAX:]
        self._bars: dict[int, list[Attempt]] = {}
        self._bands: dict[int, Busy] = {}
        self._median_s: dict[int, float] = {}
        self._again_s: dict[int, float] = {}  # of what a stage made again, where that takes longer
        self._count: dict[int, int] = {}
        for node in self._nodes:
            stage = views.stages[node.stage]
            ended, busy = _of(stage, job)
            self._median_s[node.stage] = median_s = stage.median_s if busy is not None else median_of(ended)
            again = [one for one in ended if one.recovers and busy is None]
            self._again_s[node.stage] = max(median_s, median_of(again)) if len(again) >= _FEW else median_s
            self._bars[node.stage] = ended + at_work[node.stage][: 2 * SLOWEST]
            if busy is not None:
                self._bands[node.stage] = busy
            self._count[node.stage] = job.attempts.get(node.stage, 0) + len(at_work[node.stage])
        self.total = sum(self._count.values())
        self._crowd()

    def _crowd(self) -> None:
        """Where there are too many bars, the largest stages become bands with their slowest tasks."""
        for number in sorted(self._bars, key=lambda one: -len(self._bars[one])):
            if sum(map(len, self._bars.values())) <= BARS_MAX:
                return
            bars = self._bars[number]
            if number not in self._bands:
                self._bands[number] = busy = Busy()
                for one in bars:
                    if one.status != "running":
                        busy.add(one)
            self._bars[number] = sorted(bars, key=lambda one: one.duration_s)[-SLOWEST:]

    def _at(self, time_s: float) -> float:
        return _s(time_s - self._origin_s)

    def _straggles(self, stage: int, one: Attempt) -> float:
        """How many times the median of its like the attempt has taken, 0 where it is not late enough to matter."""
        # What is made again is no straggler beside partitions that were read from a cache.
        median_s = (self._again_s if one.recovers else self._median_s)[stage]
        enough = self._count[stage] >= _FEW and median_s > 0
        if not enough or one.status not in ("succeeded", "running") or one.duration_s <= STRAGGLES * median_s:
            return 0
        if one.duration_s - median_s < max(_NOTHING_S, _LITTLE * (self._end_s - self._job.started_s)):
            return 0  # among tasks of a millisecond some take ten: nobody waits for them
        return round(one.duration_s / median_s, 1)

    # --- lanes ----------------------------------------------------------------------------------------------

    def lanes(self) -> list[dict[str, Any]]:
        bars: dict[int, list[tuple[int, Attempt]]] = defaultdict(list)
        for number, attempts in self._bars.items():
            for one in attempts:
                bars[one.executor].append((number, one))
        bands: dict[int, list[list[float]]] = defaultdict(list)
        for number in self._bands:
            for executor, band in self._bands_of(number):
                bands[executor].append(band)
        steps = 10
        while True:
            laid = {executor: merged(found, steps) for executor, found in bands.items()}
            if steps <= 1 or sum(map(len, laid.values())) <= BANDS_MAX:
                break
            steps //= 2
        lanes = []
        for number in sorted({*self._views.executors, *bars, *bands})[:LANES_MAX]:
            view = self._views.executors.get(number)
            slots = min(max(view.slots if view is not None else 1, 1), SLOTS_MAX)
            placed, rows = rows_of(bars[number], slots, self._job.started_s)
            lanes.append(
                {
                    "ex": number,
                    "slots": view.slots if view is not None else 1,
                    "rows": rows,
                    "bars": [self._bar(one) for one in placed],
                    "bands": laid.get(number, []),
                    "gone": [
                        [self._at(max(gone.time_s, self._job.started_s)), self._at(back_s)]
                        for gone in self._views.departures
                        for back_s in [min(gone.back_s or self._end_s, self._end_s)]
                        if gone.executor == number and gone.time_s <= self._end_s and back_s > self._job.started_s
                    ],
                }
            )
        return lanes

    def _bands_of(self, stage: int) -> Iterable[tuple[int, list[float]]]:
        busy = self._bands[stage]
        for span in busy.between(self._job.started_s, self._end_s):
            view = self._views.executors.get(span.executor)
            start_s = max(span.start_s, self._job.started_s)
            width_s = min(span.start_s + busy.width_s, self._end_s) - start_s
            whole_s = width_s * max(1, view.slots if view is not None else 1)
            share = min(1.0, span.busy_s / max(whole_s, 1e-9))
            again = span.recovering_s / span.busy_s if span.busy_s > 0 else 0.0
            band = [self._at(start_s), round(width_s, 4), round(share, 2), round(again, 2), stage]
            yield span.executor, band

    def _bar(self, placed: Placed) -> list[Any]:
        stage, one, row, start_s, length_s = placed
        state = states.RECOMPUTED if one.recovers and one.status == "succeeded" else _STATES[one.status]
        mark = "c" if one.copy else "r" if one.attempt and not one.recovers else ""
        at = [row, self._at(start_s), _s(max(length_s, 0.0))]
        return [stage, one.partition, *at, state, one.attempt, mark, self._straggles(stage, one)]

    # --- stages ---------------------------------------------------------------------------------------------

    def rows(self) -> list[dict[str, Any]]:
        return [self._row(node) for node in self._nodes]

    def _row(self, node: StageNode) -> dict[str, Any]:
        number = node.stage
        again = sum(1 for shuffle, _ in self._job.recomputed_outputs if shuffle == node.shuffle and shuffle >= 0)
        blocks = sum(1 for rdd, _ in self._job.recomputed_blocks if rdd in node.rdds)
        tasks = self._job.planned.get(number) or node.tasks
        said = [plural(tasks, "task")]
        if median_s := self._median_s[number]:
            said.append(f"median {precise(median_s)}")
        if again or blocks:
            said.append(f"{again or blocks:,} recomputed")
        if (again_s := self._again_s[number]) > STRAGGLES * median_s:
            said.append(f"their median {precise(again_s)}")
        return {
            "id": number,
            "n": node.name or f"stage {number}",
            "spans": self._spans(number),
            "median": _s(median_s),
            "again": _s(again_s),
            "said": ", ".join(said),
        }

    def _spans(self, stage: int) -> list[list[Any]]:
        """From when to when the stage was at work, and apart from that when it recovered."""
        spans = []
        for recovering in (False, True):
            times = [(one.started_s, one.ended_s) for one in self._bars[stage] if bool(one.recovers) == recovering]
            busy = self._bands.get(stage)
            if busy is not None:
                for one in busy.between(self._job.started_s, self._end_s):
                    if (one.recovering_s if recovering else one.busy_s - one.recovering_s) > 1e-9:
                        times.append((one.start_s, one.start_s + busy.width_s))
            if times:
                start_s, end_s = min(start for start, _ in times), max(end for _, end in times)
                spans.append(
                    [self._at(max(start_s, self._job.started_s)), self._at(min(end_s, self._end_s)), recovering]
                )
        return spans

    # --- what is said -----------------------------------------------------------------------------------------

    def kills(self) -> list[dict[str, Any]]:
        told = []
        for gone in self._views.departures:
            if self._job.started_s <= gone.time_s <= self._end_s:
                word = "killed" if gone.by_user else "lost"
                with_it = [
                    *([plural(gone.map_outputs, "output")] if gone.map_outputs else []),
                    *([plural(gone.cached_partitions, "cached partition")] if gone.cached_partitions else []),
                ]
                lost = f", {' and '.join(with_it)} lost" if with_it else ""
                said = f"executor {gone.executor} {word} at {gone.time_s - self._origin_s:.2f} s{lost}"
                told.append({"at": self._at(gone.time_s), "ex": gone.executor, "said": said})
        return told

    def named(self) -> list[dict[str, Any]]:
        """The worst stragglers, the worst first."""
        found = [
            (times, number, one)
            for number, attempts in self._bars.items()
            for one in attempts
            if (times := self._straggles(number, one))
        ]
        found.sort(key=lambda each: -each[0])
        return [
            {
                "stage": number,
                "part": one.partition,
                "attempt": one.attempt,
                "said": f"task {one.partition}: {precise(one.duration_s)}, {times_text(times)} the median",
            }
            for times, number, one in found[:NAMED]
        ]

    def said(self) -> str:
        """ "71 bars: 56 tasks, 14 recomputed, 1 retried"."""
        again = len(self._job.recomputed_outputs) or len(self._job.recomputed_blocks)
        parts = [plural(self._job.task_count, "task")]
        if again:
            parts.append(f"{again:,} recomputed")
        if self._job.retries:
            parts.append(f"{self._job.retries:,} retried")
        if self._job.copies:
            parts.append(f"{self._job.copies:,} run twice")
        stages = plural(len(self._bands), "stage") if self._bands else ""
        crowd = f"; bands: {stages} of many tasks, with the {SLOWEST} slowest as bars" if self._bands else ""
        return f"{plural(self.total, 'attempt')}: {', '.join(parts)}{crowd}"


def timeline_text(time: dict[str, Any], title: str) -> str:
    """`time` for a plain terminal: a line for each stage, then what was lost and who straggled."""
    whole_s = max(time["to"] - time["from"], 1e-6)
    lines = [f"{title}: {precise(whole_s)}, {time['said']}"]
    width = max((len(f"stage {stage['id']} {stage['n']}") for stage in time["stages"]), default=0)
    for stage in time["stages"]:
        row = ["."] * _COLUMNS
        for start, end, again in stage["spans"]:
            first = int((start - time["from"]) / whole_s * _COLUMNS)
            last = max(first + 1, math.ceil((end - time["from"]) / whole_s * _COLUMNS))
            row[first:last] = ("r" if again else "#") * (min(last, _COLUMNS) - first)
        name = f"stage {stage['id']} {stage['n']}"
        lines.append(f"  {name:<{width}}  {''.join(row)}  {stage['said']}")
    lines += [f"  {kill['said']}" for kill in time["kills"]]
    lines += [f"  stage {one['stage']}, {one['said']}" for one in time["named"]]
    return "\n".join(lines)
