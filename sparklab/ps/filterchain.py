"""A table's filters in their order, at one end of its connections, with what each peer is remembered by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sparklab.errors import ParameterServerError
from sparklab.ps.filters import Filter, KeyMissError
from sparklab.ps.frames import Frame, Peer
from sparklab.ps.keys import Array, Keys


class FilterChain:
    """The filters of one table, at a client or at a server.

    Attributes
    ----------
    bytes_before, bytes_after : list of int
        Of keys and values, for each filter.
    """

    def __init__(self, filters: Sequence[Filter], *, own: bool = False) -> None:
        self.filters = [each.fresh() for each in filters] if own else list(filters)
        self.bytes_before = [0] * len(self.filters)
        self.bytes_after = [0] * len(self.filters)
        self._peers: dict[tuple[Peer, int], dict[str, Any]] = {}

    def _peer(self, peer: Peer, index: int) -> dict[str, Any]:
        found = self._peers.get((peer, index))
        if found is None:
            found = self._peers[peer, index] = {}
        return found

    def select(self, keys: Keys, values: Array) -> tuple[Keys, Array, dict[str, Any]]:
        """What of a push is sent, and the filters' notes on it."""
        notes: dict[str, Any] = {}
        for index, each in enumerate(self.filters):
            before = keys.nbytes + values.nbytes
            keys, values = each.select(keys, values, notes)
            if before != keys.nbytes + values.nbytes:
                self.bytes_before[index] += before
                self.bytes_after[index] += keys.nbytes + values.nbytes
        return keys, values, notes

    def encode(self, frame: Frame, peer: Peer, notes: dict[str, Any]) -> None:
        """`frame` is as it shall travel to `peer`."""
        done = []
        for index, each in enumerate(self.filters):
            before = _size(frame)
            config = each.encode(frame, self._peer(peer, index), notes)
            if config is not None:
                done.append([index, config])
                self.bytes_before[index] += before
                self.bytes_after[index] += _size(frame)
        if done:
            frame.meta = {**(frame.meta or {}), "filters": done}

    def decode(self, frame: Frame, peer: Peer) -> None:
        """`frame` from `peer` is as it was.

        Raises
        ------
        KeyMissError
            It names keys that are not known here.
        ParameterServerError
            It was encoded by a filter that this table does not have, or a filter of a user's own failed.
        """
        done = frame.meta.pop("filters", None) if isinstance(frame.meta, dict) else None
        for index, config in reversed(done or ()):
            if not 0 <= index < len(self.filters):
                raise ParameterServerError("decoding a frame", f"filter {index}", "use the table's own filters")
            each = self.filters[index]
            try:
                each.decode(frame, config, self._peer(peer, index))
            except (KeyMissError, ParameterServerError):
                raise
            except Exception as error:
                found = f"{type(each).__name__}.decode: {type(error).__name__}: {error}"
                raise ParameterServerError("decoding a frame", found, "mend the filter") from error

    def heard(self, keys: Keys, values: Array) -> None:
        """These weights were pulled."""
        for each in self.filters:
            each.heard(keys, values)

    def confirmed(self, peer: Peer, seq: int) -> None:
        """`peer` has answered request `seq`."""
        for index, each in enumerate(self.filters):
            each.confirmed(seq, self._peer(peer, index))

    def forget(self, peer: Peer) -> None:
        """Nothing is known of `peer` any more."""
        for index in range(len(self.filters)):
            self._peers.pop((peer, index), None)

    def forget_all(self) -> None:
        """Nothing is known of any peer."""
        self._peers.clear()

    def facts(self) -> dict[str, dict[str, float]]:
        """Bytes before and after each filter, and what the lossy ones say of themselves."""
        return {
            each.name: {"bytes_before": before, "bytes_after": after, **each.facts()}
            for each, before, after in zip(self.filters, self.bytes_before, self.bytes_after, strict=True)
        }


def _size(frame: Frame) -> int:
    return frame.keys.nbytes + (frame.values.nbytes if frame.values is not None else 0)
