"""What a table is: fixed when it is made, but for the parameters of its update."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from sparklab.errors import ParameterServerError
from sparklab.ps.filters import Filter
from sparklab.ps.keys import END_OF_KEYS, KEY, Keys, as_array, as_keys, is_whole
from sparklab.ps.updates import Update

MOST_WIDTH: Final = 1 << 20  # values of a key: a row of them has to fit into a frame many times


@dataclass(frozen=True)
class TableSpec:
    """A table of the parameter server.

    Parameters
    ----------
    table : int
        Its number.
    name : str
    width : int
        Values per key.
    dtype : str
        ``float32`` or ``float64``.
    num_keys : int or None
        Keys are below it, and each has a row; None: any key of 64 bits, with a row once it is pushed.
    aggregate : bool
        Pushes of a clock are summed over all workers and applied together; else each when it arrives.
    workers : int
        Ranks 0 to ``workers - 1`` are waited for from the start.
    updates : tuple of Update
        The update in force is the last; earlier ones are kept for replicas that are still behind.
    on_nonfinite : str
        What becomes of a push with NaN or infinity: ``refuse`` it, ``drop`` these rows, or ``allow`` them.
    """

    table: int
    name: str
    width: int
    dtype: str
    num_keys: int | None
    aggregate: bool
    workers: int
    updates: tuple[Update, ...]
    first_version: int = 0
    limit: int | None = None  # of a sparse table's keys, where one was given
    filters: tuple[Filter, ...] = ()
    hogwild: bool = False  # workers on a server's host write its weights themselves
    on_nonfinite: str = "refuse"

    @property
    def end(self) -> int:
        """One past the last key."""
        return END_OF_KEYS if self.limit is None else self.limit

    @property
    def version(self) -> int:
        """Number of the update in force."""
        return self.first_version + len(self.updates) - 1

    def update(self, version: int) -> Update:
        """The update with this number, or the oldest kept."""
        return self.updates[max(0, version - self.first_version)]

    def changed(self, parameters: dict[str, float]) -> TableSpec:
        """The same table with other parameters of its update; keeps the last 16 updates."""
        updates = (*self.updates, self.updates[-1].changed(parameters))
        dropped = max(0, len(updates) - 16)
        return replace(self, updates=updates[dropped:], first_version=self.first_version + dropped)


def checked(spec: TableSpec, dtype: Any) -> TableSpec:
    """`spec` with its type by name. Raises ParameterServerError where it makes no table."""
    attempted = f"making table {spec.name!r}"
    if not isinstance(spec.name, str) or not spec.name:
        raise ParameterServerError(attempted, f"a name of {spec.name!r}", "give some text, by which it is found again")
    try:
        name = np.dtype(dtype).name
    except TypeError:
        name = str(dtype)
    if name not in ("float32", "float64"):
        raise ParameterServerError(attempted, f"values of type {name}", "use float32 or float64")
    if not is_whole(spec.width) or spec.width < 1:
        raise ParameterServerError(attempted, f"a width of {spec.width}", "give the number of values per key")
    if spec.width > MOST_WIDTH:
        raise ParameterServerError(attempted, f"a width of {spec.width}", f"give {MOST_WIDTH} at most, and more keys")
    if not is_whole(spec.workers) or spec.workers < 0:
        raise ParameterServerError(attempted, f"workers={spec.workers!r}", "give a whole number, 0 or more")
    if spec.limit is not None and not (is_whole(spec.limit) and 0 < spec.limit <= END_OF_KEYS):
        raise ParameterServerError(attempted, f"num_keys = {spec.limit}", "give at least 1, or sparse=True")
    if spec.on_nonfinite not in ("refuse", "drop", "allow"):
        raise ParameterServerError(
            attempted, f"on_nonfinite={spec.on_nonfinite!r}", 'use on_nonfinite="refuse", "drop" or "allow"'
        )
    if isinstance(spec.updates[0], type):
        called = spec.updates[0].__name__
        raise ParameterServerError(attempted, f"the class {called}", f"make an update of it: update=ps.{called}(...)")
    if not isinstance(spec.updates[0], Update):
        raise ParameterServerError(
            attempted, f"an update of type {type(spec.updates[0]).__name__}", "use ps.SGD(lr), ... or @ps.udf"
        )
    return replace(spec, dtype=name)


def as_filters(filters: Any, attempted: str) -> tuple[Filter, ...]:
    """`filters` as they are kept. Raises ParameterServerError where they are none."""
    do = "give a list of objects: filters=[ps.KeyCaching(), ps.Compression()]"
    if isinstance(filters, str) or not isinstance(filters, Iterable):
        raise ParameterServerError(attempted, f"filters={filters!r}", do)
    found = tuple(filters)
    for each in found:
        if not isinstance(each, Filter):
            raise ParameterServerError(attempted, f"filters with {each!r}", do)
    return found


def as_sample(sample: Any, spec: TableSpec) -> Keys | None:
    """`sample` as keys of the table, in any order and as often as they occur.

    Raises
    ------
    ParameterServerError
        Some of it is no key of the table.
    """
    if sample is None:
        return None
    attempted = f"making table {spec.name!r} with a sample of its keys"
    if isinstance(sample, list | tuple) and all(type(key) is int and 0 <= key < END_OF_KEYS for key in sample):
        sample = np.array(sample, KEY)  # left to itself, NumPy makes floats of numbers on both sides of 2**63
    found = as_array(sample, "keys", attempted).reshape(-1)
    as_keys(np.unique(found), spec.end, attempted)
    return found.astype(KEY)
