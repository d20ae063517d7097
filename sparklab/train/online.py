"""Learning from some rows at a time, in order, by one thread: what partial_fit goes on with."""

from __future__ import annotations

import numpy as np

from sparklab.train.blocks import Rows
from sparklab.train.optimizers import SGD, AdaGrad, FTRLProximal, Weights
from sparklab.train.session import Divergence


class Online:
    """An optimiser's state and how many rows it has seen. Not thread-safe.

    Parameters
    ----------
    optimizer : AdaGrad or SGD or FTRLProximal
    """

    def __init__(self, optimizer: AdaGrad | SGD | FTRLProximal) -> None:
        self._optimizer = optimizer
        self._seen = 0

    def learn(self, rows: Rows, lr: float) -> Weights:
        """The weights after each of `rows` was learnt from once, the intercept last.

        Raises
        ------
        Divergence
            They are no numbers any more; the state is as it was before.
        """
        before = self._optimizer.state.copy()
        self._optimizer.learn(rows, lr, 0, len(rows), self._seen, 1)
        weights = self._optimizer.weights(lr, self._seen + len(rows))
        if not np.isfinite(weights).all():
            self._optimizer.begin(before, self._seen)
            raise Divergence
        self._seen += len(rows)
        return weights
