"""Runs of training told by hand, for the tests of the Training view and its pictures."""

from __future__ import annotations

import math

from sparklab.events.facts import Record
from sparklab.events.training import (
    LearningRateChanged,
    LossReported,
    TauChanged,
    TrainingEnded,
    TrainingStarted,
    WorkerClocks,
)
from tests.jupyter.sample_facts import Story


def training(workers: int = 8, runs: int = 3, clocks: int = 60) -> list[Record]:
    """BSP ended, ASP diverged, SSP at work with its bound moved from 4 to 8: at clock 60, the fastest 8 ahead."""
    story = Story(2)
    kinds = [("ps, BSP, adagrad", 0, 0.03), ("ps, ASP, adagrad", -1, 0.05), ("ps, SSP(4), adagrad", 4, 0.06)]
    for run in range(runs):
        label, tau, decay = kinds[run % 3]
        last = run == runs - 1
        story.add(TrainingStarted(run, label, "ps", workers, True, tau, 0.1, -1, 1 << 20))
        for clock in range(1, clocks + 1):
            away = tau < 0 and clock > 40
            loss = 0.9 + 0.1 * clock if away else 0.46 + 0.23 * math.exp(-decay * clock)
            story.add(LossReported(run, clock, clock * 2048, loss), after_s=0.05)
            if tau < 0 and clock == 46:
                story.add(LossReported(run, clock, clock * 2048, -1.0))
                break
            if last and clock == 30:
                story.add(TauChanged(run, 4, 8), LearningRateChanged(run, 0.1, 0.2))
        if not last:
            story.add(TrainingEnded(run, "diverged" if tau < 0 else "finished", -1.0, clocks * 2048, 3.0, ""))
    at = [60 + (worker * 5) % 9 for worker in range(workers)]
    waits = tuple(int(clock == 68) for clock in at)
    story.add(WorkerClocks(runs - 1, tuple(at), waits, tuple(37 * worker % 400 for worker in range(workers))))
    return story.records
