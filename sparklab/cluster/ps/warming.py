"""Kernels are compiled before anybody waits for them."""

from __future__ import annotations

import numpy as np

from sparklab.ps import updates
from sparklab.ps.shardtable import ShardTable
from sparklab.ps.spec import TableSpec
from sparklab.ps.store import DenseStore, SparseStore

_WARMED: set[tuple[str, str, bool, int]] = set()


def warm(table: ShardTable | None) -> None:
    """What `table` will run is compiled; with None, what the usual tables run. Takes seconds the very first time, then
    milliseconds: machine code is kept on disk."""
    if table is not None:
        _warm(table.spec, isinstance(table.store, DenseStore))
        return
    for update in (updates.SGD(), updates.AdaGrad()):
        _warm(TableSpec(0, "", 1, "float32", 4, True, 0, (update,), limit=4), True)


def _warm(spec: TableSpec, dense: bool) -> None:
    update = spec.updates[-1]
    known = (type(update).__name__, spec.dtype, dense, spec.width)
    if known in _WARMED or isinstance(update, updates.UserUpdate):
        return
    _WARMED.add(known)
    dtype = np.dtype(spec.dtype)
    states = update.state_count
    store = DenseStore(4, spec.width, dtype, states) if dense else SparseStore(spec.width, dtype, states)
    scratch = ShardTable(spec)
    scratch.store = store
    keys = np.arange(2, dtype=np.uint64)
    gradients = np.ones((2, spec.width), dtype)
    scratch.apply(keys, gradients, spec.version)
    scratch.read(keys)
    from sparklab.ps.shardtable import HeldPush

    pushes = [HeldPush(client, 1, 1, 1, keys, gradients) for client in (0, 1)]
    scratch.sums(pushes)
