"""What the tasks of one job did to each RDD of a stage, partition by partition, as far as the facts tell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sparklab.events import states
from sparklab.events.facts import StageNode
from sparklab.events.views import JobView, StageView, Views
from sparklab.jupyter.kinship import Kinship

# Where a partition goes into several tasks, what is shown of it: what happens now, then what was done.
_STRONGER: Final = states.RUNNING + states.FAILED + states.RECOMPUTED + states.DONE + states.LOST + states.WAITING
_ENDED: Final = states.DONE + states.RECOMPUTED
_IS_DONE: Final = bytes(chr(code) in _ENDED for code in range(256))
_IS_BEGUN: Final = bytes(code != 0 for code in range(256))


def worked(views: Views, job: JobView, kin: Kinship, stage: StageNode) -> dict[int, str]:
    """For each RDD of `stage` a byte per partition: what `job` computed of it, and what it need not compute.

    Skipped are partitions that an earlier job had made, and those above a cached partition that a task found. Reads
    the views: use under the bus's lock.
    """
    inside = [rdd for rdd in stage.rdds if rdd in kin.rdds]
    view = views.stages.get(stage.stage)
    if view is None or not inside:
        state = states.DONE if job.status == "succeeded" else states.WAITING
        return {rdd: state * kin.rdds[rdd].partitions for rdd in inside}
    last = inside[-1]
    of = _StageOf(views, job, kin, stage, view, frozenset(inside), last)
    tasks = of.tasks().ljust(kin.rdds[last].partitions, states.WAITING)
    rows = {last: tasks}
    # The shuffle's output was lost, not the steps before it.
    above = {last: of.above_cache(last, tasks.replace(states.LOST, states.DONE))}
    for rdd in reversed(inside[:-1]):
        rows[rdd] = _merged(kin, rdd, above)
        above[rdd] = of.above_cache(rdd, rows[rdd])
    return rows


def _within(row: str, seen: bytearray) -> bool:
    """Whether the job has begun every partition that `row` says is done. Quick, for ten thousand of them."""
    done = int.from_bytes(row.encode().translate(_IS_DONE), "little")
    begun = int.from_bytes(bytes(seen).translate(_IS_BEGUN), "little")
    return not done & ~begun


def _merged(kin: Kinship, rdd: int, above: dict[int, str]) -> str:
    """What is asked of `rdd` by the RDDs that are made from it: `above` each of them."""
    children = [child for child in dict.fromkeys(kin.children.get(rdd, ())) if child in above]
    count = kin.rdds[rdd].partitions
    if not children:
        return states.WAITING * count
    asked = [(step, above[child]) for child in children for step in kin.steps(rdd, child)]
    if len(asked) == 1:
        (step, row) = asked[0]
        return row[step.start : step.stop] if isinstance(step, range) else "".join(row[at] for at in step)
    return "".join(_strongest([row[step[i]] for step, row in asked]) for i in range(count))


def _strongest(found: Sequence[str]) -> str:
    return next((state for state in _STRONGER if state in found), states.SKIPPED)


class _StageOf:
    """A stage as one job sees it."""

    def __init__(
        self, views: Views, job: JobView, kin: Kinship, stage: StageNode, view: StageView,
        inside: frozenset[int], last: int,
    ) -> None:  # fmt: skip
        self._views = views
        self._job = job
        self._kin = kin
        self._stage = stage
        self._view = view
        self._inside = inside
        self._last = last
        self._again = {place for shuffle, place in job.recomputed_outputs if shuffle == stage.shuffle}
        # A stage that another job runs for this one asks the caches in that job's name.
        self._asks = job if stage.stage in job.tasks else views.jobs.get(view.job, job)

    def tasks(self) -> str:
        """The states of the stage's partitions, without what other jobs did to them."""
        row = self._view.states.decode("ascii")
        if not self._again:
            row = row.replace(states.RECOMPUTED, states.DONE)  # recomputed were cached partitions above
        seen = self._job.tasks.get(self._stage.stage)
        if seen is None or (not self._again and len(seen) >= len(row) and 0 not in seen):
            return row
        if not self._again and _within(row, seen):
            return row
        mine = self._view.wanted if self._view.job == self._job.job else ()
        out = []
        for place, state in enumerate(row):
            if state in _ENDED:
                if place in self._again:
                    state = states.RECOMPUTED
                elif (place < len(seen) and seen[place]) or place in mine:
                    state = states.DONE
                else:
                    state = states.SKIPPED
            out.append(state)
        return "".join(out)

    def above_cache(self, rdd: int, row: str) -> str:
        """What `row`, the states of `rdd`, asks of its parents: nothing where one cached is or will be found."""
        cached = self._views.cache.get(rdd)
        if cached is None and not self._kin.rdds[rdd].level:
            return row
        places = self._kin.carried(rdd, self._last, self._inside)
        if places is None:
            return row
        job, stage = self._asks, self._stage.stage
        blocks = cached.blocks if cached is not None else {}
        out = []
        for i, state in enumerate(row[: len(places)]):
            if state in _ENDED:
                if (rdd, i) in job.recomputed_blocks:
                    state = states.RECOMPUTED
                elif job.was_found(stage, places[i], rdd, i):
                    state = states.SKIPPED
            elif i in blocks:
                state = states.SKIPPED
            out.append(state)
        return "".join(out)
