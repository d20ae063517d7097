"""How long a batch takes each worker: mostly the same, now and then much longer, reproducibly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Stragglers:
    """Durations of batches in units of a usual one.

    A duration depends on (`seed`, worker, clock) alone, so that every consistency meets the same stragglers.

    Parameters
    ----------
    share : float
        The probability that a batch straggles.
    factor : float
        How much longer it takes then.
    seed : int

    Examples
    --------
    >>> slow = Stragglers(share=0.1, factor=5.0)
    >>> sorted({slow.duration(worker, clock) for worker in range(8) for clock in range(20)})
    [1.0, 5.0]
    """

    share: float = 0.1
    factor: float = 5.0
    seed: int = 0

    def duration(self, worker: int, clock: int) -> float:
        """Of the batch that `worker` takes at `clock`."""
        bits = np.random.SeedSequence((self.seed, worker, clock)).generate_state(1, np.uint32)[0]
        return self.factor if bits < self.share * (1 << 32) else 1.0
