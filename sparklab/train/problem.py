"""What is to be learnt, as strategies see it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from sparklab.train.optimizers import Penalty
from sparklab.train.session import Session
from sparklab.train.sources import Source

Weights = npt.NDArray[Any]

BATCH_ROWS: Final = 1024


@dataclass(frozen=True, slots=True)
class Problem:
    """Rows, and what is asked of the model.

    Attributes
    ----------
    source : Source
    rows, dimension : int
    positive
        The label that counts as 1.
    bias : bool
        Whether there is an intercept.
    penalty : Penalty
    optimizer : str
        ``auto``, ``adagrad``, ``sgd`` or ``ftrl``.
    epochs : int
        Passes over the rows.
    batch_size : int or None
        Rows between two looks at the weights, where a strategy has batches; None: see :meth:`steps`.
    workers : int or None
    seed : int or None
        Of the order of rows in this process; None draws one.
    shuffle : bool
    start : ndarray or None
        Weights to begin with, the intercept last.
    """

    source: Source
    rows: int
    dimension: int
    positive: Any
    bias: bool
    penalty: Penalty
    optimizer: str
    epochs: int
    batch_size: int | None
    workers: int | None
    seed: int | None
    shuffle: bool
    start: Weights | None = None

    def initial(self) -> Weights:
        """The weights to begin with: float64[D + 1]."""
        return np.zeros(self.dimension + 1) if self.start is None else self.start.astype(np.float64)

    def steps(self, workers: int, fewest: int) -> int:
        """Steps a pass of each of `workers`, at least 1: of `batch_size` rows, else of so many that there are `fewest`.

        Where nobody chose the rows of a step they are 1,024, and fewer where a pass would be too few steps to learn in:
        10 passes over 500 rows in 4 parts would be 10 steps, and stale ones.
        """
        size = self.batch_size or max(1, min(BATCH_ROWS, -(-self.rows // (workers * fewest))))
        return max(1, -(-self.rows // (size * workers)))


class Strategy(Protocol):
    """A way of training."""

    name: str

    def train(self, problem: Problem, session: Session) -> Weights:
        """Weights (the intercept last) after the run; blocks. It asks `session` whether to go on, and reports."""
        ...
