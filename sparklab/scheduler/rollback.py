"""Rollback: what was made from an RDD that is not the same when computed again is made anew as a whole.

Where a map output of such an RDD is lost, computing it alone would give its readers records of two versions: some
twice, some never. So all its map outputs are made again, and everything that read them.
"""

from __future__ import annotations

from collections.abc import Iterable

from sparklab.errors import JobFailed
from sparklab.events.facts import MapOutputLost
from sparklab.rdd.core import RDDCore
from sparklab.scheduler import messages as m
from sparklab.scheduler.stages import StageGraph
from sparklab.scheduler.state import StageRun, State
from sparklab.scheduler.work import Work


def is_indeterminate(rdd: RDDCore) -> bool:
    """Whether `rdd` or anything it is made from is known not to be the same when computed again. Iterative.

    A checkpoint ends the question: what is in files stays as it is.
    """
    stack, seen = [rdd], {rdd._id}
    while stack:
        node = stack.pop()
        if node._restored is not None:
            continue
        if node._indeterminate:
            return True
        for dependency in node.dependencies:
            if dependency.rdd._id not in seen:
                seen.add(dependency.rdd._id)
                stack.append(dependency.rdd)
    return False


class Rollback:
    """Undoes what stands on lost records that do not come back. Reads and changes the scheduler's state."""

    def __init__(self, state: State, graph: StageGraph, work: Work) -> None:
        self._state = state
        self._graph = graph
        self._work = work

    def outputs_lost(self, shuffles: Iterable[int]) -> None:
        """Map outputs of `shuffles` were lost: where they will not be the same again, nothing that read them stands."""
        for shuffle in sorted(set(shuffles)):
            stage = self._graph.map_stage(shuffle)
            if stage is not None and is_indeterminate(stage.rdd):
                self._undo(shuffle)

    def _undo(self, shuffle: int) -> None:
        undone = self._made_from(shuffle)
        for each in sorted(undone):
            outputs = self._state.outputs.shuffles.get(each)
            if outputs is None:
                continue
            for index, at in enumerate(outputs.locations):
                if at is not None:
                    outputs.locations[index] = None
                    fact = MapOutputLost(each, index, at.executor, at.epoch, "indeterminate")
                    self._state.out.facts.append(fact)
            outputs.bounds = None
        for run in list(self._state.runs.values()):
            if run.stage.id not in self._state.runs:
                continue  # its job has failed with another's
            if run.stage.writes is not None and run.stage.writes.shuffle_id in undone:
                run.todo |= set(self._state.outputs.ensure(run.stage.writes).missing())
            if any(spec.shuffle_id in undone for spec in run.stage.reads):
                self._begin_anew(run)

    def _made_from(self, shuffle: int) -> set[int]:
        """`shuffle` and all shuffles whose map stages read it, directly or through others."""
        undone = {shuffle}
        while True:
            readers = {
                stage.writes.shuffle_id
                for stage in self._graph.map_stages()
                if stage.writes is not None and any(spec.shuffle_id in undone for spec in stage.reads)
            }
            if readers <= undone:
                return undone
            undone |= readers

    def _begin_anew(self, run: StageRun) -> None:
        for job_id in sorted(run.jobs) if run.stage.writes is None else ():
            done = len(self._state.jobs[job_id].positions) - len(run.todo)
            if done:
                self._work.fail(
                    run,
                    JobFailed(
                        f"running job {job_id} ({run.stage.rdd.operator} at {run.stage.rdd.call_site})",
                        f"records were lost that are not the same when computed again, and {done} of its partitions "
                        "are made from them already",
                        "run it again; checkpoint() the RDD that is not deterministic before it is shuffled",
                    ),
                )
                return
        run.valid_from = run.attempt + 1
        run.prepared = False
        for task_id in sorted(each for ids in run.running.values() for each in ids):
            task = self._state.tasks[task_id]
            self._state.out.instructions.append(m.CancelTasks(task.executor, task.epoch, (task_id,)))
