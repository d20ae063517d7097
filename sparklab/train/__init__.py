"""Trainers on top of RDDs and the parameter server: one estimator, many ways of training it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparklab import lazy

if TYPE_CHECKING:
    from sparklab.train.errors import (
        DivergedWarning,
        NotFittedError,
        TrainingInputError,
        TrainingStoppedError,
        WorseThanNothingWarning,
    )
    from sparklab.train.handle import TrainingHandle
    from sparklab.train.logistic import SparseLogisticRegression

__all__ = [
    "DivergedWarning",
    "NotFittedError",
    "SparseLogisticRegression",
    "TrainingHandle",
    "TrainingInputError",
    "TrainingStoppedError",
    "WorseThanNothingWarning",
]

_HOMES = {
    "DivergedWarning": ".errors",
    "NotFittedError": ".errors",
    "SparseLogisticRegression": ".logistic",
    "TrainingHandle": ".session",
    "TrainingInputError": ".errors",
    "TrainingStoppedError": ".errors",
    "WorseThanNothingWarning": ".errors",
}

# The kernels need numba, whose import takes most of a second.
__getattr__ = lazy.names(__name__, _HOMES)
