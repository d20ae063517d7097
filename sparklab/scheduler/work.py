"""Jobs and the stages at work for them: begun, looked at again when something was lost, ended."""

from __future__ import annotations

from collections.abc import Iterable

from sparklab.errors import JobFailed
from sparklab.events.facts import JobEnded, StageEnded, StageStarted, bounded
from sparklab.rdd.unfit import refusal
from sparklab.scheduler import messages as m
from sparklab.scheduler.gangs import Gangs
from sparklab.scheduler.placement import Placement
from sparklab.scheduler.planning import plan_of
from sparklab.scheduler.stages import Stage, StageGraph, demand
from sparklab.scheduler.state import GangRun, Job, StageRun, State
from sparklab.shuffle.bounds import range_bounds


class Work:
    """Begins and ends jobs and stage runs. Part of the scheduler: changes its state, called by it alone.

    Recovery has no code of its own: a location is removed, and the next look at what a stage needs
    (:func:`~sparklab.scheduler.stages.demand`) finds it missing.
    """

    def __init__(self, state: State, graph: StageGraph, placement: Placement, gangs: Gangs) -> None:
        self.state = state
        self.graph = graph
        self._placement = placement
        self._gangs = gangs

    # --- jobs -------------------------------------------------------------------------------------

    def submit(self, s: m.JobSubmitted) -> None:
        """The job has begun, or ended already where it asks for no partition."""
        stage = self.graph.result_stage(s.rdd, len(s.partitions))
        positions: dict[int, list[int]] = {}
        for position, partition in enumerate(s.partitions):
            positions.setdefault(partition, []).append(position)
        self.state.jobs[s.job] = Job(s, stage, self.state.now_s, positions)
        self.state.out.facts.append(plan_of(s, stage, self.state.blocks, self.state.outputs))
        if not positions:
            self.finish(s.job, "succeeded", None)
            return
        refusal = self._gangs.refusal(stage)
        if refusal is not None:
            self.finish(s.job, "failed", refusal)
            return
        self.require(stage, set(positions), s.job)

    def finish(self, job_id: int, status: str, error: BaseException | None, stage: int = -1) -> None:
        """The job has ended, and the stages that worked for nobody else with it."""
        job = self.state.jobs.pop(job_id)
        self.state.out.instructions.append(m.JobFinished(job_id, error))
        for stage_id in sorted(job.stages):
            run = self.state.runs.get(stage_id)
            if run is None:
                continue
            run.jobs.discard(job_id)
            if not run.jobs:
                self._end_run(run, "cancelled" if status == "succeeded" else status)
        text = bounded(str(error).splitlines()[0]) if error is not None and str(error) else ""
        self.state.out.facts.append(JobEnded(job_id, status, self.state.now_s - job.started_s, text, stage))

    # --- stages -----------------------------------------------------------------------------------

    def require(self, stage: Stage, partitions: Iterable[int], job: int) -> None:
        """Have `partitions` of `stage` computed for `job`, and before them whatever they need. Iterative."""
        stack: list[tuple[Stage, set[int]]] = [(stage, set(partitions))]
        while stack and job in self.state.jobs:
            stage, wanted = stack.pop()
            run = self.state.runs.get(stage.id)
            if run is None:
                run = StageRun(stage, {job}, set(), gang=GangRun() if stage.is_barrier else None)
                self.state.runs[stage.id] = run
            run.jobs.add(job)
            self.state.jobs[job].stages.add(stage.id)
            if run.gang is not None and wanted:
                wanted = set(self._gangs.partitions(stage, self.state.jobs[job]))
            new = wanted - run.todo
            run.todo |= new
            if run.prepared and not new:
                # Already at work on all that is wanted: its own parents were required when it began.
                continue
            stack.extend(self.look_again(run))

    def look_again(self, run: StageRun) -> list[tuple[Stage, set[int]]]:
        """What `run` still waits for. Starts its next attempt when that is nothing."""
        if run.gang is not None and run.gang.broken:
            if run.running:
                return []  # looked at again when the last of them has stopped
            run.gang.broken = False
        waiting_or_running = run.waiting.waiting | run.running.keys()
        idle = run.todo - waiting_or_running - (run.gang.done.keys() if run.gang is not None else set())
        _, shuffles = demand(run.stage, run.todo, self.state.blocks.is_cached)
        run.waiting_for = {s for s in shuffles if not self._available(s)}
        if not run.waiting_for:
            if run.prepared:
                for partition in sorted(idle):
                    run.waiting.add(partition, self._placement.preferred(run.stage, partition))
            else:
                self._start_attempt(run, idle)
            return []
        # Tasks that wait must wait longer: the map outputs they would read are being made again.
        for partition in list(run.waiting.waiting):
            run.waiting.waiting.discard(partition)
        self._gangs.break_up(run)
        run.prepared = False
        needed = []
        for shuffle in sorted(run.waiting_for):
            parent = self.graph.map_stage(shuffle)
            assert parent is not None
            needed.append((parent, set(self.state.outputs.shuffles[shuffle].missing())))
        return needed

    def _available(self, shuffle: int) -> bool:
        parent = self.graph.map_stage(shuffle)
        assert parent is not None
        assert parent.writes is not None
        return self.state.outputs.ensure(parent.writes).complete

    def _start_attempt(self, run: StageRun, partitions: set[int]) -> None:
        stage = run.stage
        job = self.state.jobs[min(run.jobs)]
        try:
            for spec in stage.reads:
                if self.state.outputs.complete(spec.shuffle_id):
                    self._fix_bounds(spec.shuffle_id)
        except Exception as error:  # comparing the user's keys is the user's code
            self.fail(run, refusal(error, spec.label) or error)
            return
        run.attempt += 1
        run.prepared = True
        if run.attempt == 0:
            run.started_s = self.state.now_s
        self.state.out.facts.append(StageStarted(stage.id, job.submitted.job, run.attempt, tuple(sorted(partitions))))
        # A block evicted in mid-stage brings a task back to a shuffle the plan did not need: hand over all there are.
        inputs = {
            spec.shuffle_id: self.state.outputs.input_of(spec.shuffle_id)
            for spec in stage.reads
            if self.state.outputs.complete(spec.shuffle_id)
        }
        payload = job.submitted.payload if stage.writes is None else None
        self.state.out.instructions.append(
            m.StagePrepared(
                stage.id,
                run.attempt,
                stage.rdd,
                stage.rdds,
                stage.writes,
                payload,
                inputs,
                job.submitted.job,
                job.submitted.properties,
            )
        )
        self._placement.fill_evenly(run)
        for partition in sorted(partitions):
            run.waiting.add(partition, self._placement.preferred(stage, partition))

    def _fix_bounds(self, shuffle: int) -> None:
        outputs = self.state.outputs.shuffles[shuffle]
        if outputs.spec.ordering is not None and outputs.bounds is None:
            samples = [location.output.samples for location in outputs.locations if location is not None]
            outputs.bounds = range_bounds(samples, outputs.spec.num_partitions, outputs.spec.ordering.ascending)

    def _end_run(self, run: StageRun, status: str) -> None:
        del self.state.runs[run.stage.id]
        by_executor: dict[tuple[int, int], list[int]] = {}
        for ids in run.running.values():
            for task_id in ids:
                task = self.state.tasks[task_id]
                by_executor.setdefault((task.executor, task.epoch), []).append(task_id)
        for (executor, epoch), ids_there in sorted(by_executor.items()):
            self.state.out.instructions.append(m.CancelTasks(executor, epoch, tuple(sorted(ids_there))))
        if run.attempt >= 0:
            job = min(run.jobs, default=-1)
            wall_s = self.state.now_s - run.started_s
            self.state.out.facts.append(StageEnded(run.stage.id, job, run.attempt, status, wall_s))
        self.state.out.instructions.append(m.StageForgotten(run.stage.id))

    def run_done(self, run: StageRun) -> None:
        """All partitions of `run` are there: stages that waited for its shuffle look again."""
        self._end_run(run, "succeeded")
        cached = self._placement.cached_in(run.stage)
        if cached >= 0 and run.mean_task_s is not None:
            self.state.last_task_s[cached] = run.mean_task_s
        if run.stage.writes is not None:
            shuffle = run.stage.writes.shuffle_id
            for child in [r for r in self.state.runs.values() if shuffle in r.waiting_for]:
                self.continue_run(child)

    def continue_run(self, run: StageRun) -> None:
        """Look again at what `run` needs, on behalf of one of its jobs."""
        for stage, partitions in self.look_again(run):
            if run.jobs:
                self.require(stage, partitions, min(run.jobs))

    def give_up(self, run: StageRun, found: str) -> None:
        """Every job that `run` works for has failed."""
        error = JobFailed(
            f"running stage {run.stage.id} ({run.stage.rdd.operator})",
            found,
            "look at the executors: %sparklab executors",
        )
        self.fail(run, error)

    def fail(self, run: StageRun, error: BaseException) -> None:
        """Every job that `run` works for has failed, with `error`."""
        for job_id in sorted(run.jobs):
            self.finish(job_id, "failed", error, run.stage.id)
