"""Which parameter servers are open in this process, and what stands where on their rings."""

from __future__ import annotations

import contextlib
import itertools
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from sparklab.errors import ParameterServerError

if TYPE_CHECKING:
    from sparklab.ps.session import Session

SHARES_MAX: Final = 3

_sessions: Final[weakref.WeakValueDictionary[int, Session]] = weakref.WeakValueDictionary()
_numbers: Final = itertools.count()


def enter(session: Session) -> None:
    """:func:`sessions` knows of `session`. Idempotent."""
    if session not in list(_sessions.values()):
        _sessions[next(_numbers)] = session


def sessions() -> list[Session]:
    """The open parameter servers of this process that have tables, oldest first: a program's own and training's.

    Examples
    --------
    >>> from sparklab import ps
    >>> group = ps.LocalGroup()
    >>> _ = group.table("weights", num_keys=10)
    >>> ps.sessions()[-1] is group
    True
    """
    found = []
    for _, session in sorted(_sessions.items()):
        with contextlib.suppress(ParameterServerError):  # it is closed
            session.manage(lambda manager: manager.layout)
            if session.tables:
                found.append(session)
    return found


def number_of(session: Session) -> int:
    """The number by which `session`, one of :func:`sessions`, is listed: its own for life, none is given twice."""
    return next(number for number, each in sorted(_sessions.items()) if each is session)


def describe(session: Session) -> list[dict[str, Any]]:
    """A row for each table and server: what it serves of the ring, what it keeps copies of, bytes, pushes. Blocks.

    ``server``, ``table``, ``tau`` (-1: no bound), ``ranges`` (served), ``ring`` (the shares of the keys, in %),
    ``replicas`` (ranges that it is a replica of), ``pushes`` (applied), ``memory_bytes``, ``epoch`` (of the layout).
    Ranges that nobody serves any more are those of server -1.

    Examples
    --------
    >>> from sparklab import ps
    >>> group = ps.LocalGroup(num_servers=2, replicas=1)
    >>> _ = group.table("weights", num_keys=1_000)
    >>> [(row["server"], row["ranges"], row["replicas"]) for row in ps.describe(group)]
    [(0, 32, 32), (1, 32, 32)]
    """
    answers = session.server_facts()  # first: it waits for each server to answer, or to be known to be dead
    layout = session.manage(lambda manager: manager.layout)
    rows = []
    for name, table in session.tables.items():
        number = table.spec.table
        ring = layout.tables[number]
        shares = {server: ring.heads.get(server, 0) for server in layout.servers}
        if ring.lost:
            shares[-1] = ring.lost
        for server, served in shares.items():
            said = answers.get(server, {}).get("tables", {}).get(str(number), {})
            bound = table.tau
            rows.append(
                {
                    "server": server,
                    "table": name,
                    "tau": bound,
                    "ranges": served.bit_count(),
                    "ring": _shares(ring.segments(served, 0, ring.end), ring.end),
                    "replicas": (ring.held(server) & ~served).bit_count(),
                    "pushes": int(said.get("applied_pushes", 0)),
                    "memory_bytes": int(said.get("used_bytes", 0)),
                    "epoch": layout.epoch,
                }
            )
    return rows


def _shares(segments: Sequence[tuple[int, int]], end: int) -> str:
    """``0-25, 50-75 %``: where on the ring of `end` keys the `segments` are."""
    shown = ", ".join(f"{100 * low / end:.0f}-{100 * high / end:.0f}" for low, high in segments[:SHARES_MAX])
    return f"{shown}{', ...' if len(segments) > SHARES_MAX else ''} %" if segments else ""
