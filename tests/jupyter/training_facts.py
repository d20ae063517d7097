"""Runs of training told by hand, for the tests of the Training view and its pictures."""

from __future__ import annotations

import math
from dataclasses import replace

from sparklab.events.facts import Record
from sparklab.events.training import (
    FilterBytes,
    LearningRateChanged,
    LossReported,
    ServersSampled,
    TauChanged,
    TrainingEnded,
    TrainingStarted,
    WorkerClocks,
    WorkerSlowed,
)
from sparklab.ps.ring import place
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
    story.add(WorkerSlowed(runs - 1, 3, 0.2))
    story.add(FilterBytes(runs - 1, ("key_caching", "compression", "kkt"), (210_700_000, 105_400_000, 71_200_000),
                          (105_400_000, 71_200_000, 4_090_000)))  # fmt: skip
    for sample in served(runs - 1):
        story.add(sample, after_s=0.5)
    story.add(WorkerClocks(runs - 1, tuple(at), waits, tuple(37 * worker % 400 for worker in range(workers))))
    return story.records


def served(run: int, killed: bool = False) -> list[ServersSampled]:
    """Three servers, 64 ranges, a replica each; looked at twice, and once more when server 1 is dead."""
    chains = place(0, range(64), (0, 1, 2), 1)
    heads, backs = tuple(chain[0] for chain in chains), tuple(chain[1] for chain in chains)
    first = ServersSampled(run, 2, (0, 1, 2), heads, backs, (900, 880, 910), (1800, 1790, 1820), 0, 1, True)
    then = replace(first, pushes=(1000, 985, 1012), pulls=(2010, 1998, 2040))
    if not killed:
        return [first, then]
    promoted = tuple(back if head == 1 else head for head, back in zip(heads, backs, strict=True))
    left = tuple(-1 if 1 in pair else pair[1] for pair in zip(heads, backs, strict=True))
    went = heads.count(1)
    dead = ServersSampled(run, 3, (0, 2), promoted, left, (1100, 1100), (2200, 2240), went, 1, True)
    return [first, then, dead]
