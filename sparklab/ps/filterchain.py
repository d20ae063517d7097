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
        self._left_out: set[tuple[Peer, int]] = set()  # which the peer said that it cannot decode
        self._lacking: set[int] = set()  # whose modules are not here

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
        """`frame` is as it shall travel to `peer`, by the filters that both sides can work."""
        done = []
        for index, each in enumerate(self.filters):
            if index in self._lacking or (peer, index) in self._left_out:
                continue
            before = _size(frame)
            try:
                config = each.encode(frame, self._peer(peer, index), notes)
            except ImportError:
                self._lacking.add(index)
                continue
            if config is not None:
                done.append([index, config])
                self.bytes_before[index] += before
                self.bytes_after[index] += _size(frame)
        if done or self._lacking:
            frame.meta = {**(frame.meta or {}), "filters": done}
        if self._lacking:
            frame.meta["without"] = sorted(self._lacking)

    def decode(self, frame: Frame, peer: Peer) -> None:
        """`frame` from `peer` is as it was.

        Raises
        ------
        KeyMissError
            It names keys that are not known here, or a module is not here: `peer` is to send it again.
        ParameterServerError
            It was encoded by a filter that this table does not have, or a filter of a user's own failed.
        """
        meta = frame.meta if isinstance(frame.meta, dict) else {}
        done = meta.pop("filters", None)
        self._left_out.update((peer, index) for index in meta.pop("without", ()))
        for index, config in reversed(done or ()):
            if not 0 <= index < len(self.filters):
                raise ParameterServerError("decoding a frame", f"filter {index}", "use the table's own filters")
            each = self.filters[index]
            try:
                each.decode(frame, config, self._peer(peer, index))
            except (KeyMissError, ParameterServerError):
                raise
            except ImportError as error:
                self._lacking.add(index)
                miss = KeyMissError()
                miss.lacks = index
                raise miss from error
            except Exception as error:
                found = f"{type(each).__name__}.decode: {type(error).__name__}: {error}"
                raise ParameterServerError("decoding a frame", found, "mend the filter") from error

    def could_decode(self, frame: Frame, peer: Peer) -> bool:
        """Whether `frame` is as it was; else it is to be asked for again, and `peer` hears what is lacking."""
        try:
            self.decode(frame, peer)
        except KeyMissError:
            return False
        return True

    def missed(self, peer: Peer, meta: Any) -> None:
        """`peer` could not read what it was sent: its keys, or by `meta` a filter."""
        if isinstance(meta, dict) and "lacks" in meta:
            self._left_out.add((peer, meta["lacks"]))
        else:
            self.forget(peer)

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
            self._left_out.discard((peer, index))

    def forget_all(self) -> None:
        """Nothing is known of any peer."""
        self._peers.clear()
        self._left_out.clear()

    def facts(self) -> dict[str, dict[str, float]]:
        """Bytes before and after each filter, and what the lossy ones say of themselves."""
        return {
            each.name: {"bytes_before": before, "bytes_after": after, **each.facts()}
            for each, before, after in zip(self.filters, self.bytes_before, self.bytes_after, strict=True)
        }


def _size(frame: Frame) -> int:
    return frame.keys.nbytes + (frame.values.nbytes if frame.values is not None else 0)
