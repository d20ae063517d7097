"""Trainers on top of RDDs and the parameter server: one estimator, many ways of training it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparklab.train.errors import DivergedWarning, NotFittedError, TrainingInputError, TrainingStoppedError
    from sparklab.train.logistic import SparseLogisticRegression
    from sparklab.train.session import TrainingHandle

__all__ = [
    "DivergedWarning",
    "NotFittedError",
    "SparseLogisticRegression",
    "TrainingHandle",
    "TrainingInputError",
    "TrainingStoppedError",
]

_HOMES = {
    "DivergedWarning": "errors",
    "NotFittedError": "errors",
    "SparseLogisticRegression": "logistic",
    "TrainingHandle": "session",
    "TrainingInputError": "errors",
    "TrainingStoppedError": "errors",
}


def __getattr__(name: str) -> Any:
    # Lazy: the kernels need numba, whose import takes most of a second.
    import importlib

    if name not in _HOMES:
        raise AttributeError(f"module 'sparklab.train' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"sparklab.train.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
