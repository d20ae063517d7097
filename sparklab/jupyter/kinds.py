"""What an object is, in a reader's words: for a line that was given something else than it takes."""

from __future__ import annotations

from typing import Any, Final

from sparklab.events.run import Run
from sparklab.rdd.rdd import RDD

# By name: none of these needs to be imported to know that an object is none.
_WORDS: Final = {"TrainingHandle": "a run of training", "BackgroundCell": "a cell in the background"}


def kind_of(value: Any) -> str:
    """``None``, ``the class RDD``, ``an RDD``, ``the Run of a cell``, ``a list``.

    Examples
    --------
    >>> kind_of(3), kind_of(None), kind_of(RDD)
    ('an int', 'None', 'the class RDD')
    """
    if value is None:
        return "None"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, RDD):
        return "an RDD"
    if isinstance(value, Run):
        return "the Run of a cell"
    name = type(value).__name__
    return _WORDS.get(name) or f"{'an' if name[0] in 'aeiouAEIO' else 'a'} {name}"


def advice_for(value: Any) -> str:
    """What to give where an RDD is meant and `value` stands."""
    if isinstance(value, Run):
        return "a Run holds the numbers of a cell; give an RDD that the cell worked on"
    if isinstance(value, type) or callable(value) or type(value).__module__.startswith("sparklab."):
        return "give a variable that holds an RDD, an expression, or an RDD's number"
    return "an action's result is a plain value; give the RDD it was made from"
