"""How busy executors were, in bins of time: bounded, and nothing of the time is lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparklab.events.spans import BINS, Attempt, Busy

ATTEMPTS = st.builds(
    Attempt,
    partition=st.integers(0, 9),
    attempt=st.just(0),
    executor=st.integers(0, 2),
    started_s=st.floats(0, 1e4),
    duration_s=st.floats(0, 1e4),
    status=st.just("succeeded"),
    recovers=st.sampled_from(["", "cache"]),
)


@given(st.lists(ATTEMPTS, max_size=60))
def test_the_seconds_of_all_attempts_are_in_the_bins_and_bins_are_few(attempts: list[Attempt]) -> None:
    busy = Busy()
    for one in attempts:
        busy.add(one)
    spans = list(busy.between(0.0, float("inf")))
    assert sum(span.busy_s for span in spans) == pytest.approx(sum(one.duration_s for one in attempts), abs=1e-6)
    again_s = sum(one.duration_s for one in attempts if one.recovers)
    assert sum(span.recovering_s for span in spans) == pytest.approx(again_s, abs=1e-6)
    for executor in range(3):
        own = [span for span in spans if span.executor == executor]
        assert len(own) <= BINS
        assert [span.start_s for span in own] == sorted(span.start_s for span in own)


def test_only_bins_that_lie_between_two_times_are_told() -> None:
    busy = Busy(width_s=1.0)
    for second in (0.0, 5.0, 9.0):
        busy.add(Attempt(0, 0, 0, second, 1.0, "succeeded", ""))
    assert [span.start_s for span in busy.between(4.5, 8.5)] == [5.0, 6.0]
