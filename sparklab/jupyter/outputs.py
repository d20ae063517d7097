"""Outputs: a cell's value in ``Out`` keeps no RDD alive for ever, and with it its cached blocks and shuffle files."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, Final

from sparklab.broadcast import Broadcast
from sparklab.rdd.core import RDDCore

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

_RECENT: Final = ("_", "__", "___")


class PastOutput:
    """Stands in ``Out[n]`` for an RDD or a broadcast, and leads to it while something else refers to it."""

    __slots__ = ("_number", "_shown", "_target")

    def __init__(self, number: int, value: Any) -> None:
        self._number = number
        self._shown = repr(value)
        self._target = weakref.ref(value)

    def __getattr__(self, name: str) -> Any:
        target = self._target()
        if target is None:
            raise AttributeError(f"{self!r}: it has no {name} any more. Give results a name to keep them.")
        return getattr(target, name)

    def __repr__(self) -> str:
        if self._target() is not None:
            return self._shown
        return f"<Out[{self._number}] was {self._shown}; nothing else referred to it, so it was freed>"


class Outputs:
    """The outputs of a shell's cells: the last three are kept as IPython keeps them, earlier RDDs and broadcasts go."""

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell

    def install(self) -> None:
        self._shell.events.register("post_run_cell", self._post_run_cell)

    def uninstall(self) -> None:
        self._shell.events.unregister("post_run_cell", self._post_run_cell)

    def _post_run_cell(self, _: object) -> None:
        names = self._shell.user_ns
        history = names.get("_oh")
        if not isinstance(history, dict):
            return
        recent = [names.get(name) for name in _RECENT]
        for number, value in list(history.items()):
            if isinstance(value, RDDCore | Broadcast) and not any(value is each for each in recent):
                past = PastOutput(number, value)
                history[number] = past
                # IPython notes what it has put into the namespace by itself a second time
                for known in (names, self._shell.user_ns_hidden):
                    if known.get(f"_{number}") is value:
                        known[f"_{number}"] = past
