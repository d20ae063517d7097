"""One request of a client, from when it is asked until all it concerns is safe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from functools import cached_property
from typing import Any, Final

import numpy as np

from sparklab.errors import ParameterServerError
from sparklab.ps.keys import Array, Keys

UNCUT: Final = -1  # what waits for its turn was not cut by ranges yet


class Request:
    """What was asked for and is not settled yet.

    Attributes
    ----------
    spread : int
        Ranges, as bits, that it concerns.
    waiting : int
        Those of them that have not answered.
    kept : int
        Ranges that have the push and may lose it: it is sent again if their server dies.
    """

    # What most requests never change stands in the class: making one is a part of the cost of a small push.
    keys: Keys | None = None
    values: Array | None = None
    low = 0
    high = 0
    meta: Any = None
    notes: dict[str, Any] | None = None
    waiting = UNCUT
    spread = 0
    kept = 0
    needs: tuple[int, ...] = ()
    result: Any = None
    error: ParameterServerError | None = None
    sent_s = 0.0

    def __init__(self, kind: int, seq: int, clock: int) -> None:
        self.kind = kind
        self.seq = seq
        self.clock = clock

    @cached_property
    def parts(self) -> list[Any]:
        """What came of an answer in parts."""
        return []

    @property
    def answered(self) -> bool:
        """Whether :meth:`sparklab.ps.client.Client.take` has something to give."""
        return not self.waiting or self.error is not None


def checked_deps(deps: Any, issued: Callable[[Any], bool], where: str) -> Sequence[int]:
    """`deps`, all of which were given by this worker. Raises ParameterServerError where one was not."""
    if not isinstance(deps, Sequence | AbstractSet | np.ndarray):
        raise ParameterServerError(
            f"sending a request to {where}", f"deps of type {type(deps).__name__}", "give timestamps: deps=[ts]"
        )
    for ts in deps:
        if not issued(ts):
            raise never_given(ts, where)
    return [int(ts) for ts in deps]


def never_given(ts: Any, where: str) -> ParameterServerError:
    """The error for whoever waits for what was never asked."""
    return ParameterServerError(
        f"waiting for request {ts!r} at {where}",
        "this worker never gave such a timestamp",
        "give what push or pull of the same worker returned",
    )
