"""What a hand may set of an object that acts: a mistyped name must not be taken for a change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from sparklab.errors import ParameterServerError
from sparklab.nearness import did_you_mean, no_attribute


class UnmovableError(ParameterServerError, AttributeError):
    """What was to be set cannot be set, or is not there; tools that ask by ``hasattr`` go on."""


class Movable:
    """Public names can be set only if they are among `_MOVABLE`; those of `_GIVEN` once, when the object is made."""

    _MOVABLE: ClassVar[tuple[str, ...]] = ("tau",)
    _GIVEN: ClassVar[tuple[str, ...]] = ()
    _KIND: ClassVar[str]
    _TO_SET: ClassVar[str]

    if not TYPE_CHECKING:  # type checkers know what there is, and say what is not

        def __getattr__(self, name: str) -> Any:
            return no_attribute(self, name, self._KIND)

    def __setattr__(self, name: str, value: Any) -> None:
        given = name in self._GIVEN
        if not (name.startswith("_") or name in self._MOVABLE or (given and name not in self.__dict__)):
            raise UnmovableError(
                f"setting {name} of {self._called()} to {value!r}",
                f"{name} cannot be set" if given or hasattr(type(self), name) else f"{self._KIND} has no {name}",
                did_you_mean(name, self._MOVABLE, then=self._TO_SET),
            )
        object.__setattr__(self, name, value)

    def _called(self) -> str:
        return self._KIND
