"""The Run of a cell whose training may outlast it: what its training has come to is looked up whenever it is asked."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from sparklab.events.learning import Trained
from sparklab.events.run import Run


class LastingRun(Run):
    """A Run whose :attr:`training` is that of the moment; all else is as it was at the cell's end.

    A copy that was pickled, or made by ``dataclasses.replace``, says what was true when it was made.
    """

    _look: Callable[[], tuple[Trained, ...]] | None = None

    @classmethod
    def of(cls, run: Run, look: Callable[[], tuple[Trained, ...]], value: Any) -> LastingRun:
        """`run` with the cell's last `value`, whose training is what `look` finds; it is called again and again."""
        fields = {field.name: getattr(run, field.name) for field in dataclasses.fields(run)}
        made = cls(**{**fields, "value": value})
        made.__dict__["_look"] = look
        return made

    @property
    def training(self) -> tuple[Trained, ...]:
        """The runs of training that began in the cell, oldest first, as they stand now."""
        known = {each.run: each for each in self.__dict__["_known"]}
        if self._look is not None:
            known |= {each.run: each for each in self._look()}  # what the views forget stays as it was last
        self.__dict__["_known"] = found = tuple(known.values())
        return found

    @training.setter
    def training(self, trained: tuple[Trained, ...]) -> None:
        self.__dict__["_known"] = trained

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Run):
            return NotImplemented
        names = [field.name for field in dataclasses.fields(self)]
        return all(getattr(self, name) == getattr(other, name) for name in names)

    __hash__ = None  # type: ignore[assignment]  # as a Run, which has a dict
