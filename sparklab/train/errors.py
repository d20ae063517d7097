"""What trainers refuse, and what they warn of."""

from __future__ import annotations

import math
from typing import Final

from sparklab.errors import SparklabError

_NOTHING_KNOWN: Final = math.log(2)  # nats: the loss of a model whose weights are all 0
_CLEARLY: Final = 1.05  # learning from noise comes out at about 1.01


class TrainingInputError(SparklabError, ValueError):
    """The data cannot be learnt from as it is: one class only, an index beyond D, a value that is no number, ..."""


class TrainingTypeError(TrainingInputError, TypeError):
    """Values that are not numbers and cannot be made numbers."""


class NotFittedError(SparklabError, ValueError, AttributeError):
    """A model was asked for something before it had learnt anything."""


class HandleNameError(SparklabError, AttributeError):
    """Something of a run was set that a hand cannot move, or that there is not."""


class TrainingStoppedError(SparklabError):
    """A run ended before it had any weights to give."""


class DivergedWarning(UserWarning):
    """The loss ran away; training was stopped and the last good weights were kept."""


class WorseThanNothingWarning(UserWarning):
    """Training ended with a loss above that of a model that knows nothing."""


def no_memory(label: str, dimension: int, error: MemoryError) -> TrainingInputError:
    """The error for the run `label`, whose weights do not fit into this process."""
    return TrainingInputError(
        f"training ({label})",
        f"no memory for the weights of {dimension:,} features ({error})",
        "hash their indices modulo a smaller number, and say so: n_features=2**20",
    )


def is_worse_than_nothing(loss: float) -> bool:
    """Whether a mean log loss of `loss` nats is clearly above that of a model that knows nothing."""
    return loss > _CLEARLY * _NOTHING_KNOWN


def worse_than_nothing(label: str, loss: float, epochs: int, is_bounded: bool) -> str:
    """What to say of the run `label` where that is so; `is_bounded` where it has a tau."""
    smaller = "tau, lr or batch_size" if is_bounded else "lr"
    return str(
        SparklabError(
            f"training ({label})",
            f"a mean loss of {loss:.4f} in the end, where a model that knows nothing has {_NOTHING_KNOWN:.4f}",
            f"lower {smaller}, scale the features, or let it learn for more epochs (there were {epochs})",
        )
    )
