"""What the trainers' arguments may be, checked before anything is read."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Final

from sparklab.errors import ParameterServerError
from sparklab.ps.consistency import checked
from sparklab.train.blocks import LARGEST_DIMENSION
from sparklab.train.errors import TrainingInputError
from sparklab.train.handle import is_number

ATTEMPTED: Final = "training a SparseLogisticRegression"
# Arguments of one strategy, and what they are where nobody has set them.
OF_PS: Final[dict[str, Any]] = {"consistency": None, "servers": 1, "replicas": 0, "filters": None}
PLAIN_STEPS: Final = ("gradient", "large-batch")
RATE: Final = 0.1
RATES: Final = {"gradient": 1.0}  # one step a pass: the mean of many rows' gradients bears a longer one


def check_arguments(model: Any) -> None:
    """The estimator `model` may be trained with the arguments that it has.

    Raises
    ------
    TrainingInputError
        One is out of its range, or of another strategy than the one chosen.
    """
    for name, good, wanted in _RANGES:
        value = getattr(model, name)
        if not good(value):
            raise TrainingInputError(ATTEMPTED, f"{name}={value!r}", f"give {wanted}")
    if model.strategy == "ps":
        check_consistency(model.consistency)
        return
    for name, value in _set_in_vain(model):
        raise TrainingInputError(
            f"{ATTEMPTED} with strategy={model.strategy!r}",
            f"{name}={value!r}, which it has no use for",
            f'use strategy="ps", or leave {name} out',
        )
    if model.strategy in PLAIN_STEPS and model.optimizer not in ("auto", "sgd"):
        raise TrainingInputError(
            f"{ATTEMPTED} with strategy={model.strategy!r}",
            f"optimizer={model.optimizer!r}, and it takes plain (proximal) steps",
            'use optimizer="auto", or another strategy',
        )


def rate_of(model: Any) -> float:
    """The learning rate of the estimator `model`: its own, or where it has none that of its strategy."""
    return float(RATES.get(model.strategy, RATE) if model.lr is None else model.lr)


def optimizer_of(model: Any) -> str:
    """The algorithm that ``auto`` stands for, or the one that was chosen."""
    if model.strategy in PLAIN_STEPS:
        return "sgd"
    penalised = "ftrl" if model.l1 or model.l2 else "adagrad"
    return penalised if model.optimizer == "auto" else str(model.optimizer)


def check_consistency(consistency: Any) -> None:
    """`consistency` is one, or None for the default.

    Raises
    ------
    TrainingInputError
        It is something else; the right spelling is named.
    """
    if consistency is None:
        return
    try:
        checked(consistency, ATTEMPTED)
    except ParameterServerError as error:
        raise TrainingInputError(error.attempted, error.found, error.do) from None


def _set_in_vain(model: Any) -> Iterator[tuple[str, Any]]:
    for name, default in OF_PS.items():
        value = getattr(model, name)
        if value is not default and value != default:
            yield name, value


def _between(least: float, included: bool, optional: bool = False) -> Callable[[Any], bool]:
    def good(value: Any) -> bool:
        if value is None:
            return optional
        return is_number(value) and math.isfinite(value) and (value >= least if included else value > least)

    return good


def _count(least: int, optional: bool = False, most: float = math.inf) -> Callable[[Any], bool]:
    def good(value: Any) -> bool:
        if value is None:
            return optional
        return is_number(value) and value == value // 1 and least <= value <= most

    return good


_RANGES: Final[tuple[tuple[str, Callable[[Any], bool], str], ...]] = (
    ("lr", _between(0, False, True), "a finite number above 0, or None"),
    ("l1", _between(0, True), "a finite number, not negative"),
    ("l2", _between(0, True), "a finite number, not negative"),
    ("epochs", _count(1), "1 or more"),
    ("batch_size", _count(1, True), "1 or more, or None"),
    ("workers", _count(1, True), "1 or more, or None"),
    ("servers", _count(1), "1 or more"),
    ("replicas", _count(0), "0 or more, fewer than servers"),
    ("n_features", _count(1, True, LARGEST_DIMENSION), f"1 to {LARGEST_DIMENSION}, or None"),
    ("nonfinite", lambda value: value in ("raise", "drop", "zero"), "raise, drop or zero"),
)
