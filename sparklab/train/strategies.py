"""The ways of training, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from sparklab.train.bismarck import Bismarck
from sparklab.train.errors import TrainingInputError
from sparklab.train.gradient import Gradient
from sparklab.train.hogwild import Hogwild
from sparklab.train.large_batch import LargeBatch
from sparklab.train.problem import Strategy
from sparklab.train.server import Server

STRATEGIES: Final[dict[str, Callable[[Any], Strategy]]] = {
    "gradient": lambda model: Gradient(),
    "bismarck": lambda model: Bismarck(),
    "hogwild": lambda model: Hogwild(),
    "hogwild-locked": lambda model: Hogwild("locked"),
    "hogwild-round-robin": lambda model: Hogwild("round-robin"),
    "large-batch": lambda model: LargeBatch(),
    "ps": lambda model: Server(model.consistency, model.servers, model.replicas, model.filters),
}


def make_strategy(model: Any) -> Strategy:
    """The strategy that an estimator's arguments describe.

    Raises
    ------
    TrainingInputError
        There is none of that name.
    """
    make = STRATEGIES.get(model.strategy)
    if make is None:
        raise TrainingInputError(
            f"choosing strategy={model.strategy!r}", "no such strategy", f"choose of {', '.join(STRATEGIES)}"
        )
    return make(model)
