"""Waiting until ranges have moved: as long as they do, and no longer where somebody holds them up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from sparklab.errors import ParameterServerError
from sparklab.ps.manager import Manager

STILL_S: Final = 35.0  # without a new layout nothing moves any more; a server that hangs is given up before


class Managed(Protocol):
    """A :class:`sparklab.ps.session.Session`, as far as it is needed here."""

    def manage(self, act: Callable[[Manager], Any]) -> Any: ...
    def until(self, condition: Callable[[Manager], bool], timeout_s: float, attempted: str) -> None: ...


def until_moved(
    servers: Managed, condition: Callable[[Manager], bool], attempted: str, timeout_s: float | None = None
) -> None:
    """`condition` holds, which needs ranges to move. Blocks: `timeout_s` seconds, else while some move at all.

    Raises
    ------
    ParameterServerError
        It took too long, or ranges wait for a process that writes in place and is stopped.
    """
    held_up = servers.manage(lambda manager: manager.held_up)
    while True:
        epoch = servers.manage(lambda manager: manager.layout.epoch)

        def news(manager: Manager, epoch: int = epoch) -> bool:
            moves = timeout_s is None and manager.layout.epoch > epoch
            return condition(manager) or manager.held_up > held_up or moves

        servers.until(news, STILL_S if timeout_s is None else timeout_s, attempted)
        holds, by = servers.manage(lambda m: (condition(m), m.held_up_by if m.held_up > held_up else ""))
        if holds:
            return
        if by:
            raise ParameterServerError(
                attempted, by, "let that process go on (kill -CONT) or end it: workers are served, ranges move after it"
            )
