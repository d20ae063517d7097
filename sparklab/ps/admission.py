"""What a server checks of a client's keys and values before they index memory, whatever the client checked itself."""

from __future__ import annotations

from typing import Final

import numpy as np

from sparklab.ps.frames import Frame, Kind
from sparklab.ps.kernels import ascending_to
from sparklab.ps.shardtable import ShardTable

_PUSH: Final = int(Kind.PUSH)
_WORTH_REMEMBERING: Final = 4096  # keys


def unfit(table: ShardTable, frame: Frame) -> str:
    """What is wrong with a push or a pull; empty where nothing is."""
    keys, values = frame.keys, frame.values
    # A list that key caching has remembered, which is nobody else's memory, is looked at once.
    if len(keys) and table.fit_keys.get(id(keys)) is not keys:
        if not ascending_to(keys, np.uint64(table.spec.end - 1)):
            return f"keys that do not ascend to below {table.spec.end}"
        if len(keys) >= _WORTH_REMEMBERING and keys.flags.owndata:
            table.fit_keys[id(keys)] = keys
    if frame.kind != _PUSH:
        return ""
    if values is None:
        return "a push without values"
    if values.shape != (len(keys), table.spec.width) or values.dtype != table.store.weights.dtype:
        return f"values of shape {values.shape} and type {values.dtype} for {len(keys)} keys"
    return ""
