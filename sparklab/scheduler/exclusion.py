"""Exclusion: where tasks fail again and again, no more of them are sent, as ``spark.excludeOnFailure`` says.

An executor first; where several of a node are excluded and there are other nodes, all of that node.

What counts is that the user's code failed there and may succeed elsewhere: a full disk, a missing library.
"""

from __future__ import annotations

from collections.abc import Iterator

from sparklab.errors import JobFailed
from sparklab.events.facts import ExecutorExcluded, ExecutorReadmitted
from sparklab.scheduler.state import ExclusionLimits, StageRun, State, Task
from sparklab.scheduler.waiting import ExecutorState


class Exclusion:
    """Who may run what, after failures. Reads and changes the scheduler's state; called by it alone."""

    def __init__(self, state: State) -> None:
        self._state = state

    def failed(self, run: StageRun, task: Task) -> None:
        """The user's code failed in `task`."""
        limits = self._state.limits.exclusion
        if limits is None:
            return
        at = (task.executor, task.epoch)
        failures = run.failed_at.setdefault(at, {})
        failures[task.partition] = failures.get(task.partition, 0) + 1
        if len(failures) == limits.stage_tasks_per_executor and failures[task.partition] == 1:
            self._say(task, run.stage.id, len(failures))
            self._close_host(run, self._state.executors.get(task.executor), limits)

    def _close_host(self, run: StageRun, failed: ExecutorState | None, limits: ExclusionLimits) -> None:
        """The node of `failed` gets no more of the stage, if enough of its executors do not."""
        if failed is None or failed.host in run.closed_hosts:
            return
        there = [each for each in self._state.executors.values() if each.host == failed.host]
        closed = [each for each in there if not self._is_open_itself(run, each)]
        if len(there) < len(self._state.executors) and len(closed) >= limits.stage_executors_per_node:
            run.closed_hosts.add(failed.host)
            for each in there:
                if each not in closed:
                    self._state.out.facts.append(ExecutorExcluded(each.executor, each.epoch, run.stage.id, 0, 0.0))

    def stage_succeeded(self, run: StageRun) -> None:
        """Failures in a stage that succeeded elsewhere are the executor's own: they count for the application."""
        limits = self._state.limits.exclusion
        if limits is None:
            return
        for (number, epoch), failures in run.failed_at.items():
            executor = self._state.executors.get(number)
            if executor is None or executor.epoch != epoch:
                continue
            until_s = self._state.now_s + limits.timeout_s
            executor.failures_until_s += [until_s] * sum(failures.values())
            if len(executor.failures_until_s) >= limits.app_tasks_per_executor and not executor.excluded_until_s:
                executor.excluded_until_s = until_s
                count = len(executor.failures_until_s)
                self._state.out.facts.append(ExecutorExcluded(number, epoch, -1, count, limits.timeout_s))
                self._exclude_host(executor.host, until_s, limits)

    def _exclude_host(self, host: str, until_s: float, limits: ExclusionLimits) -> None:
        """All executors of the node `host` are excluded, if enough of them are and there are other nodes."""
        there = [each for each in self._state.executors.values() if each.host == host]
        excluded = sum(bool(each.excluded_until_s) for each in there)
        if len(there) == len(self._state.executors) or excluded < limits.app_executors_per_node:
            return
        for each in there:
            if not each.excluded_until_s:
                each.excluded_until_s = until_s
                count = len(each.failures_until_s)
                self._state.out.facts.append(ExecutorExcluded(each.executor, each.epoch, -1, count, limits.timeout_s))

    def time_passed(self) -> None:
        """Executors whose time is over get tasks again; old failures are forgotten."""
        if self._state.limits.exclusion is None:
            return
        now_s = self._state.now_s
        for executor in self._state.executors.values():
            executor.failures_until_s = [until_s for until_s in executor.failures_until_s if until_s > now_s]
            if executor.excluded_until_s and executor.excluded_until_s <= now_s:
                executor.excluded_until_s = 0.0
                self._state.out.facts.append(ExecutorReadmitted(executor.executor, executor.epoch))

    def is_open(self, run: StageRun, executor: ExecutorState) -> bool:
        """Whether `executor` may get tasks of `run` at all."""
        return executor.host not in run.closed_hosts and self._is_open_itself(run, executor)

    def _is_open_itself(self, run: StageRun, executor: ExecutorState) -> bool:
        limits = self._state.limits.exclusion
        if limits is None:
            return True
        failures = run.failed_at.get((executor.executor, executor.epoch), {})
        return not executor.excluded_until_s and len(failures) < limits.stage_tasks_per_executor

    def allows(self, run: StageRun, executor: ExecutorState, partition: int) -> bool:
        """Whether `executor` may try `partition`."""
        limits = self._state.limits.exclusion
        if limits is None:
            return True
        failures = run.failed_at.get((executor.executor, executor.epoch), {})
        if not self.is_open(run, executor) or failures.get(partition, 0) >= limits.attempts_per_executor:
            return False
        executors = self._state.executors.values()
        there = [each for each in executors if each.host == executor.host]
        if len(there) == len(executors):
            return True
        failed = sum(run.failed_at.get((each.executor, each.epoch), {}).get(partition, 0) for each in there)
        return failed < limits.attempts_per_node

    def stranded(self) -> Iterator[tuple[StageRun, JobFailed]]:
        """Stages of which a waiting partition may be tried nowhere."""
        if self._state.limits.exclusion is None or not self._state.executors:
            return
        for run in list(self._state.runs.values()):
            if not run.failed_at and not any(e.excluded_until_s for e in self._state.executors.values()):
                continue
            for partition in sorted(run.waiting.waiting):
                if not any(self.allows(run, e, partition) for e in self._state.executors.values()):
                    yield (
                        run,
                        JobFailed(
                            f"running partition {partition} of stage {run.stage.id} ({run.stage.rdd.operator})",
                            "it may be tried on no executor: each of them is excluded after failures "
                            "(spark.excludeOnFailure)",
                            "look at the errors of its attempts; exclude later, or start more executors",
                        ),
                    )
                    break

    def _say(self, task: Task, stage: int, failures: int) -> None:
        self._state.out.facts.append(ExecutorExcluded(task.executor, task.epoch, stage, failures, 0.0))
