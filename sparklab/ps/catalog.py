"""The tables of a parameter server by name, and what is said of one that is not there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from sparklab.errors import ParameterServerError
from sparklab.nearness import did_you_mean
from sparklab.ps.table import Table


class UnknownTableError(ParameterServerError, KeyError):
    """There is no table of that name; who expects a KeyError of a mapping gets one."""


class Tables(dict[str, Table]):
    """Tables by name. A name that is not there is answered with those that are."""

    def __missing__(self, name: object) -> NoReturn:
        there = ", ".join(map(repr, self)) or "none yet: make one with server.table(...)"
        raise UnknownTableError(
            f"looking up table {name!r}",
            "there is none of this name",
            did_you_mean(str(name), self, then=f"there are {there}" if self else f"there is {there}"),
        )


def with_memory(made: Table, facts: Mapping[int, Mapping[str, Any]]) -> Table:
    """`made`, where all servers, of which these are the facts, have memory for it.

    Raises
    ------
    ParameterServerError
        One has not; the table is dropped then.
    """
    number = str(made.spec.table)
    for server, said in sorted(facts.items()):
        lacks = said["tables"].get(number, {}).get("lacks")
        if lacks:
            made.drop()
            raise ParameterServerError(f"making table {made.name!r}", f"server {server} has {lacks[0]}", lacks[1])
    return made
