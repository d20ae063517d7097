"""When tasks ran where: ended attempts one by one, and of large stages how busy each executor was, in bins of time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

BIN_S: Final = 0.02  # of a stage that has just begun
BINS: Final = 128  # at most, for one executor


class Attempt(NamedTuple):
    """One attempt at a partition, ended or, with the status "running", still at work.

    Times in seconds, on the clock of the facts.
    """

    partition: int
    attempt: int
    executor: int
    started_s: float
    duration_s: float
    status: str
    recovers: str
    job: int = -1
    copy: bool = False  # began while another attempt at the same partition was at work
    records: int = 0  # read
    bytes: int = 0  # read, from files and shuffles

    @property
    def ended_s(self) -> float:
        return self.started_s + self.duration_s


class Span(NamedTuple):
    """How busy an executor was from `start_s` on: seconds of tasks, and of those the seconds that recovered."""

    executor: int
    start_s: float
    busy_s: float
    recovering_s: float


@dataclass(slots=True)
class Busy:
    """Seconds of tasks by executor and bin of time. Bounded: bins double in width where there would be too many."""

    width_s: float = BIN_S
    _bins: dict[int, dict[int, tuple[float, float]]] = field(default_factory=dict)

    def add(self, attempt: Attempt) -> None:
        """`attempt`, which has ended, counts in each bin that it touches."""
        duration_s = max(attempt.duration_s, 0.0)
        while duration_s > self.width_s * BINS / 2:
            self._widen()
        bins = self._bins.setdefault(attempt.executor, {})
        start_s, end_s = attempt.started_s, attempt.started_s + duration_s
        first, last = int(start_s // self.width_s), int(end_s // self.width_s)
        for number in range(first, last + 1):
            inside_s = min(end_s, (number + 1) * self.width_s) - max(start_s, number * self.width_s)
            busy_s, recovering_s = bins.get(number, (0.0, 0.0))
            bins[number] = (busy_s + inside_s, recovering_s + (inside_s if attempt.recovers else 0.0))
        while len(bins) > BINS:
            self._widen()
            bins = self._bins[attempt.executor]

    def _widen(self) -> None:
        self.width_s *= 2
        for executor, bins in self._bins.items():
            wider: dict[int, tuple[float, float]] = {}
            for number, (busy_s, recovering_s) in bins.items():
                before = wider.get(number // 2, (0.0, 0.0))
                wider[number // 2] = (before[0] + busy_s, before[1] + recovering_s)
            self._bins[executor] = wider

    def between(self, start_s: float, end_s: float) -> Iterator[Span]:
        """The bins that lie between two times, by executor and in order."""
        for executor, bins in sorted(self._bins.items()):
            for number, (busy_s, recovering_s) in sorted(bins.items()):
                if number * self.width_s < end_s and (number + 1) * self.width_s > start_s:
                    yield Span(executor, number * self.width_s, busy_s, recovering_s)
