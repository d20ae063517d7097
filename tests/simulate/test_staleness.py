"""The papers' shapes, from real gradients and the parameter server's own machines under virtual time."""

from __future__ import annotations

import math
import threading
import time
from typing import Any

import numpy as np
import pytest

from sparklab.errors import SparklabError
from sparklab.events import training as f
from sparklab.ps import ASP, BSP, SSP
from sparklab.simulate import Outcome, StalenessLab, Stragglers, compare, start
from sparklab.simulate.live import CLOCK_S
from tests.waiting import wait_until

TAUS = [0, 2, 4, 8, 32]
TARGET = 0.518  # BSP is there after some 240 clocks
SEEDS = range(2)


@pytest.fixture(scope="module")
def table() -> list[dict[float, Outcome]]:
    """8 workers, 10 % of batches five times as long, gradients aggregated, lr 1.0; a row per seed of the stragglers."""
    return [compare(StalenessLab(stragglers=Stragglers(seed=seed)), TAUS, TARGET, clocks=500) for seed in SEEDS]


def test_idle_time_falls_with_tau(table: list[dict[float, Outcome]]) -> None:
    """Source: OSDI'14, section 5.1, figure 13: 50 % of the time idle at tau 0, 1.7 % at 16."""
    for row in table:
        idle = [row[tau].idle for tau in TAUS]
        assert idle == sorted(idle, reverse=True)
        assert idle[0] > 0.5
        assert row[32].idle < 0.05


def test_time_to_loss_has_its_optimum_inside_and_is_at_least_twice_as_good_as_bsp(
    table: list[dict[float, Outcome]],
) -> None:
    """Source: OSDI'14, section 5.1, figure 13: the best total is at tau 8; NIPS'13 (SSP), section 5, figure 3."""
    # A run that diverges never gets there: it counts as all the time that BSP took, twice.
    never = 2 * max(row[0].time_to_loss for row in table)
    mean = {tau: np.mean([min(row[tau].time_to_loss, never) for row in table]) for tau in TAUS}
    best = min(mean, key=mean.__getitem__)
    assert best in (4, 8)
    assert mean[0] >= 2 * mean[best]
    assert mean[32] > 1.2 * mean[best]
    assert any(row[32].diverged for row in table)


def test_no_worker_reads_further_ahead_than_tau(table: list[dict[float, Outcome]]) -> None:
    """Source: NIPS'13 (SSP), section 2."""
    for row in table:
        for tau in TAUS:
            assert row[tau].most_lag <= tau
        assert row[4].most_lag == 4  # and the bound is used


def test_the_safe_tau_shrinks_as_the_learning_rate_grows() -> None:
    """Source: NIPS'13 (SSP), theorem 1: the step must shrink with the staleness; here the other way round."""

    def largest_safe(lr: float) -> int:
        lab = StalenessLab(lr=lr)
        return max([tau for tau in (2, 8, 16) if not lab.run(SSP(tau), clocks=200).diverged], default=-1)

    assert largest_safe(0.5) == 16
    assert largest_safe(0.5) > largest_safe(2.0) > largest_safe(4.0) >= 0


def test_the_fully_asynchronous_loses_with_many_workers_and_a_high_rate() -> None:
    """32 workers, batches of 64, lr 8, applied on arrival. Source: OSDI'14, section 5.1 (why delays are bounded)."""
    for seed in SEEDS:
        lab = StalenessLab(
            workers=32, batch=64, lr=8.0, apply="arrival", rows=32_768, absent=0.2, stragglers=Stragglers(seed=seed)
        )
        bounded = lab.run(SSP(8), target=0.54, clocks=300)
        free = lab.run(ASP(), target=0.54, clocks=300)
        assert free.time_to_loss >= 1.5 * bounded.time_to_loss
        assert free.most_lag > 8


def test_runs_are_the_same_to_the_bit() -> None:
    """Source: OSDI'14, section 3.4: sequential consistency; here every consistency, since time is made up."""
    for consistency in (BSP(), SSP(3)):
        one, other = (StalenessLab(workers=4, rows=4_096).run(consistency, clocks=30) for _ in range(2))
        assert one == other


def test_bsp_is_large_batch_gradient_descent_whatever_straggles() -> None:
    """Source: OSDI'14, algorithm 3: aggregated, then applied once."""
    steady = StalenessLab(workers=4, rows=4_096, stragglers=Stragglers(share=0.0)).run(BSP(), clocks=20)
    wild = StalenessLab(workers=4, rows=4_096, stragglers=Stragglers(share=0.5)).run(BSP(), clocks=20)
    assert [loss for _, loss in steady.losses] == [loss for _, loss in wild.losses]
    assert steady.idle == 0.0
    assert steady.losses[-1][0] == 20.0


def test_lowering_tau_lets_the_fast_wait_until_the_gap_has_closed() -> None:
    """Source: OSDI'14, section 3.4: the delay may be changed while it runs; nothing is rolled back."""
    gaps: list[tuple[float, int, bool]] = []

    def lower(run: Any, at: float) -> bool:
        if run.now >= 60 and run.tau == 16:
            run.tau = 1
        clocks = run.clocks
        gaps.append((run.now, max(clocks) - min(clocks), run.tau == 1))
        return True

    StalenessLab(lr=0.2).run(SSP(16), clocks=150, on_event=lower)
    assert max(gap for _, gap, lowered in gaps if not lowered) > 4
    closed = [gap for now, gap, lowered in gaps if lowered and now > 100]
    assert max(closed) <= 2  # at most one ahead when it reads, so two when it has pushed


def test_asp_is_refused_where_gradients_are_aggregated() -> None:
    with pytest.raises(SparklabError, match=r"(?s)running ASP.*Found: apply=.*To do: use apply"):
        StalenessLab().run(ASP())
    with pytest.raises(SparklabError, match="rows a worker"):
        StalenessLab(rows=100).run(BSP())


class Kept:
    """A publisher that keeps what it gets."""

    def __init__(self) -> None:
        self.facts: list[Any] = []

    def publish(self, *facts: Any) -> None:
        self.facts.extend(facts)


def test_moving_tau_of_the_paced_laboratory_moves_the_bars_within_a_second() -> None:
    kept = Kept()
    run = start(StalenessLab(stragglers=Stragglers(0.2, 8.0)), BSP(), publisher=kept, clock_s=0.02)
    end_s = time.monotonic() + 30
    while run.clock < 3 and time.monotonic() < end_s:
        threading.Event().wait(0.01)
    run.tau = 8
    moved_s = time.monotonic()
    while time.monotonic() < end_s:
        clocks = [fact for fact in kept.facts if isinstance(fact, f.WorkerClocks)][-1].clocks
        if max(clocks) - min(clocks) > 2:
            break
        threading.Event().wait(0.01)
    assert time.monotonic() - moved_s < 1.0 + 5.0  # the machine may be busy; alone it is below a second
    run.lr = 1e9
    assert run.result(30) is None or run.result(30).diverged
    assert run.status == "diverged"
    kinds = {type(fact) for fact in kept.facts}
    assert {
        f.TrainingStarted,
        f.WorkerClocks,
        f.LossReported,
        f.TauChanged,
        f.LearningRateChanged,
        f.TrainingEnded,
    } <= kinds
    assert f.TauChanged(run.number, 0, 8) in kept.facts
    assert math.isfinite(kept.facts[-1].wall_s)


def test_who_waits_for_a_straggler_goes_on_as_soon_as_tau_allows_it() -> None:
    """Not when the straggler is done, which takes 40 s here."""
    run = start(StalenessLab(stragglers=Stragglers(0.3, 800.0)), BSP(), publisher=(kept := Kept()), clock_s=0.05)

    def spread() -> int:
        clocks = [fact for fact in kept.facts if isinstance(fact, f.WorkerClocks)][-1].clocks
        return max(clocks) - min(clocks)

    wait_until(lambda: any(isinstance(fact, f.WorkerClocks) for fact in kept.facts) and spread() == 1)
    run.tau = 8
    wait_until(lambda: spread() >= 2, 20)
    run.stop()
    run.result(30)


@pytest.mark.parametrize("seed", range(3))
def test_raising_tau_moves_the_bars_within_a_second_and_bends_the_loss_within_ten_on_one_core(seed: int) -> None:
    """In the laboratory's own time, which goes by at `CLOCK_S` seconds for a usual batch."""
    raised: list[float] = []
    ahead: list[float] = []
    cpu_s: list[float] = []

    def drag(run: Any, at: float) -> bool:
        if not raised and run.now >= 40 and any(run.waiting):
            run.tau = 8
            raised.append(run.now)
            cpu_s.append(time.thread_time())
        if raised and not ahead and max(run.clocks) - min(run.clocks) >= 2:  # BSP lets nobody be more than one ahead
            ahead.append(run.now)
        return run.now < 90

    lab = StalenessLab(stragglers=Stragglers(seed=seed))
    bound = lab.run(BSP(), clocks=1_000, on_event=lambda run, at: run.now < 90)
    freed = lab.run(BSP(), clocks=1_000, on_event=drag)
    cpu_s.append(time.thread_time())
    (from_,), (moved,) = raised, ahead
    assert (moved - from_) * CLOCK_S <= 1

    def fallen(outcome: Outcome) -> float:
        """By how much the loss falls in the ten seconds."""
        before, after = (
            [loss for at, loss in outcome.losses if at <= until][-1] for until in (from_, from_ + 10 / CLOCK_S)
        )
        return before - after

    assert fallen(freed) > 1.25 * fallen(bound) > 0
    assert cpu_s[1] - cpu_s[0] < 0.25 * (90 - from_) * CLOCK_S, "one core has time left for the notebook"


def test_a_stopped_laboratory_gives_what_it_had() -> None:
    run = start(StalenessLab(), SSP(4), clock_s=0.005)
    while run.clock < 2:
        threading.Event().wait(0.005)
    run.stop()
    assert run.result(30).clocks >= 2
    assert run.status == "stopped"
