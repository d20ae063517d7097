"""Stepping aside for a job that has just begun, in virtual time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from sparklab import SparkContext, foreground
from sparklab.foreground import ASIDE_S, PROPERTY, Aside, Foreground
from sparklab.rdd.running import current_task
from sparklab.train.blocks import PIECE_ROWS, pieces

MS = 1_000_000


class Clock:
    """Stands for the module `time`: sleeping is what makes it go on, and `then` is called after each sleep."""

    def __init__(self) -> None:
        self.now_ns = 10**15
        self.then: Callable[[], object] = lambda: None

    def monotonic_ns(self) -> int:
        return self.now_ns

    def sleep(self, for_s: float) -> None:
        self.now_ns += round(for_s * 1e9)
        self.then()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(foreground, "time", made)
    return made


def waited_ms(clock: Clock, aside: Aside) -> float:
    began_ns = clock.now_ns
    aside.step()
    return (clock.now_ns - began_ns) / MS


def test_a_short_job_is_waited_for_until_it_ends(clock: Clock, tmp_path: Path) -> None:
    jobs = Foreground(tmp_path / "jobs")
    aside = Aside(jobs.path)
    assert waited_ms(clock, aside) == 0
    with ExitStack() as job:
        job.enter_context(jobs.job())
        began_ns = clock.now_ns
        clock.then = lambda: job.close() if clock.now_ns >= began_ns + 5 * MS else None
        assert waited_ms(clock, aside) == 5
    assert waited_ms(clock, aside) == 0


def test_a_long_job_is_waited_for_at_first_and_then_for_half_of_the_time(clock: Clock, tmp_path: Path) -> None:
    jobs = Foreground(tmp_path / "jobs")
    aside = Aside(jobs.path)
    with jobs.job():
        assert waited_ms(clock, aside) == 1e3 * ASIDE_S
        waited = 0.0
        for _ in range(2_000):  # half a millisecond of work at a time
            clock.now_ns += MS // 2
            waited += waited_ms(clock, aside)
        assert 800 < waited <= 1_000
    assert waited_ms(clock, aside) == 0


def test_of_two_jobs_the_end_of_one_does_not_end_the_waiting_for_the_other(clock: Clock, tmp_path: Path) -> None:
    jobs = Foreground(tmp_path / "jobs")
    with jobs.job():
        with jobs.job():
            pass
        assert waited_ms(clock, Aside(jobs.path)) == 1e3 * ASIDE_S


def test_one_job_after_the_other_takes_at_most_half_of_the_time(clock: Clock, tmp_path: Path) -> None:
    jobs = Foreground(tmp_path / "jobs")
    aside = Aside(jobs.path)
    waited = 0.0
    for _ in range(1_000):  # a millisecond of work, then a job begins, and does not end
        clock.now_ns += MS
        with jobs.job():
            waited += waited_ms(clock, aside)
    assert 400 < waited <= 1_000 + 1e3 * ASIDE_S


def test_jobs_that_begin_while_somebody_waits_make_it_wait_no_longer(clock: Clock, tmp_path: Path) -> None:
    jobs = Foreground(tmp_path / "jobs")
    aside = Aside(jobs.path)
    with ExitStack() as all_jobs:

        def begin() -> None:
            all_jobs.enter_context(jobs.job())
            assert clock.now_ns < 10**15 + 4e9 * ASIDE_S

        begin()
        clock.then = begin
        assert waited_ms(clock, aside) == 1e3 * ASIDE_S
        assert waited_ms(clock, aside) == 0, "half of the time is its own"
        clock.now_ns += int(1e9 * ASIDE_S)
        begin()
        assert waited_ms(clock, aside) == 1e3 * ASIDE_S


def test_nobody_waits_where_there_is_no_file_or_it_is_another_machines(
    clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert waited_ms(clock, Aside(str(tmp_path / "none"))) == 0
    (tmp_path / "empty").touch()
    assert waited_ms(clock, Aside(str(tmp_path / "empty"))) == 0
    jobs = Foreground(tmp_path / "jobs")
    with jobs.job():
        monkeypatch.setattr(foreground, "_machine", lambda: bytes(16))
        assert waited_ms(clock, Aside(jobs.path)) == 0


def test_jobs_say_that_somebody_waits_for_them_and_those_of_the_background_do_not() -> None:
    with SparkContext("threads[1]", "foreground") as sc:
        path = sc.background_properties()[PROPERTY]

        def told(_: int) -> bool:
            return Path(path).read_bytes()[:8] != bytes(8)

        assert sc.parallelize([0], 1).map(told).collect() == [True]
        assert not told(0)
        with sc.labelled(sc.background_properties()):
            assert sc.parallelize([0], 1).map(told).collect() == [False]
        assert sc.background_properties()[PROPERTY] == path
    assert not Path(path).exists()


def test_a_task_of_the_background_steps_aside_between_pieces_of_its_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    with SparkContext("threads[1]", "pieces") as sc:

        def cut(_: int) -> tuple[list[tuple[int, int]], int]:
            task, steps = current_task(), []
            assert task is not None
            monkeypatch.setattr(task, "step_aside", lambda: steps.append(1))
            return list(pieces(2 * PIECE_ROWS + 1)), len(steps)

        ((bounds, steps),) = sc.parallelize([0], 1).map(cut).collect()
    assert bounds == [(0, PIECE_ROWS), (PIECE_ROWS, 2 * PIECE_ROWS), (2 * PIECE_ROWS, 2 * PIECE_ROWS + 1)]
    assert steps == 3
