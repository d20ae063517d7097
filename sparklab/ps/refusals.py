"""What is refused of servers, in the same words wherever they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sparklab.errors import ParameterServerError, ServerLost
from sparklab.ps.keys import is_whole
from sparklab.ps.spec import TableSpec

LEAST_SILENCE_S: Final = 1.0  # servers say something four times a second


def closed() -> ParameterServerError:
    """The error for whoever asks servers that were closed."""
    return ParameterServerError("using a ParameterServer", "it is closed", "make a new one")


def check_counts(num_servers: int, replicas: int) -> None:
    """Raises ParameterServerError where the numbers make no group of servers."""
    attempted = f"starting {num_servers} servers with {replicas} replicas"
    if not (is_whole(num_servers) and is_whole(replicas)):
        raise ParameterServerError(attempted, "what is no whole number", "give whole numbers of both")
    if num_servers < 1:
        raise ParameterServerError(attempted, "no server", "ask for at least 1")
    if not 0 <= replicas < num_servers:
        raise ParameterServerError(
            attempted, f"{replicas} further copies on {num_servers} servers", "ask for fewer replicas than servers"
        )


def check_patience(silence_s: float, unreachable_s: float) -> None:
    """Raises ParameterServerError where a server could hardly be in time."""
    attempted = f"making a ParameterServer with silence_s={silence_s!r}, unreachable_s={unreachable_s!r}"
    for name, least, given in (("silence_s", LEAST_SILENCE_S, silence_s), ("unreachable_s", 1.0, unreachable_s)):
        if not (isinstance(given, int | float) and given >= least):
            raise ParameterServerError(attempted, f"{name} is no number of seconds from {least:g} up", "give more")


def check_alive(server: int, alive: Sequence[int], attempted: str) -> None:
    """Raises ParameterServerError where no server of that number is `alive`."""
    if not alive:
        raise ParameterServerError(attempted, "no server is alive", "make a new one, and restore the last snapshot")
    if server not in alive:
        raise ParameterServerError(attempted, f"there is none: {', '.join(map(str, alive))}", "name one that is alive")


def lost(spec: TableSpec) -> ServerLost:
    """The error for a table with ranges that no server has."""
    return ServerLost(
        f"copying table {spec.name!r}", "every server of some of its key ranges is dead", "restore the last snapshot"
    )


def still_so(attempted: str, for_s: float) -> ParameterServerError:
    """The error for who has waited so long in vain."""
    return ParameterServerError(attempted, f"still so after {for_s:g} s", "look at facts()")
