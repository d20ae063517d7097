"""Looking for a moment before sleeping: kept up where it finds something, given up where it does not."""

from __future__ import annotations

import itertools

from sparklab.cluster.ps.polling import Patience


class Polled:
    """Finds something at the `after`-th look, and counts looks."""

    def __init__(self, after: int) -> None:
        self.after = after
        self.looks = 0

    def poll(self, timeout: float) -> list[tuple[int, int]]:
        assert timeout == 0, "looking does not sleep"
        self.looks += 1
        return [(7, 1)] if self.looks >= self.after else []


def looked(patience: Patience) -> bool:
    """Whether a wait in which nothing comes looks at all."""
    nothing = Polled(10**12)
    assert patience.wait(nothing) == []
    return nothing.looks > 0


def test_what_comes_within_the_moment_is_found_by_looking_again() -> None:
    assert Patience(moment_s=60.0).wait(Polled(3)) == [(7, 1)]


def test_looking_in_vain_is_left_out_ever_longer_up_to_a_bound() -> None:
    patience = Patience(moment_s=0.0)
    waits = [looked(patience) for _ in range(2000)]
    tries = [number for number, tried in enumerate(waits) if tried]
    gaps = [after - before - 1 for before, after in itertools.pairwise(tries)]
    assert gaps[:9] == [1, 2, 4, 8, 16, 32, 64, 128, 256]
    assert set(gaps[9:]) == {256}


def test_one_look_that_finds_something_makes_looking_worth_while_again() -> None:
    patience = Patience(moment_s=0.0)
    while patience._leave_out < 64:
        looked(patience)
    while not (found := patience.wait(Polled(1))):
        pass
    assert found == [(7, 1)]
    assert looked(patience)
    assert [looked(patience) for _ in range(3)] == [False, True, False]


def test_a_moment_outlasts_the_waking_of_the_other_side() -> None:
    waking_s, answering_s = 50e-6, 20e-6  # of an idle core, and of a small pull
    assert Patience()._moment_s > waking_s + answering_s
