"""How often a partition and a stage are tried again after a loss: every retry has an end."""

from __future__ import annotations

from sparklab.errors import JobFailed
from sparklab.scheduler import messages as m
from sparklab.scheduler.state import StageRun, State, Task


def count_executor_loss(state: State, run: StageRun, task: Task, found: str) -> JobFailed | None:
    """An executor died under `task`. The error, where that happened to its partition too often."""
    run.losses[task.partition] = losses = run.losses.get(task.partition, 0) + 1
    if losses < state.limits.max_executor_losses:
        return None
    return JobFailed(
        f"running partition {task.partition} of stage {task.stage} ({run.stage.rdd.operator})",
        f"{losses} executors died while they worked on it; the last: {found}",
        "look for what ends or exhausts the process: os._exit, a crash in C code, memory",
    )


def count_fruitless(state: State, run: StageRun, task: Task, outcome: m.FetchFailed) -> bool:
    """An attempt of the stage has ended in a lost map output. Returns whether it was the last one.

    What the other tasks of that attempt say counts no more. Where an executor was lost as a whole, or several outputs
    went together, that says little against the stage: it may happen to as many executors as there are, several times
    over; only where it goes on without end, and no task of the stage succeeds meanwhile, it is given up.
    """
    limit = state.limits.max_stage_attempts
    if task.stage_attempt > run.fruitless_attempt:
        run.fruitless_attempt = run.attempt
        executor = state.executors.get(outcome.executor)
        gone = outcome.executor >= 0 and (executor is None or executor.epoch != outcome.epoch)
        if outcome.shuffle >= 0 and (outcome.all_lost or outcome.beside or gone):
            run.lost_attempts += 1
        else:
            run.fruitless_attempts += 1
    return run.fruitless_attempts >= limit or run.lost_attempts >= limit * max(len(state.executors), 1)
