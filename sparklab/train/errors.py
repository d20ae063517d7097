"""What trainers refuse, and what they warn of."""

from __future__ import annotations

from sparklab.errors import SparklabError


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
