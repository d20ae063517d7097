"""Filters: what makes messages smaller, or fewer. They belong to a table and stand in its order.

A filter sees a push twice: :meth:`Filter.select` once, at the worker, before it is cut by servers, where entries may be
held back; and :meth:`Filter.encode` and :meth:`Filter.decode` at the two ends of every transmission, also of repeated
ones. What `encode` did travels in the message itself, so a peer that lacks something can say so: keys are sent again,
and a filter whose module one side cannot import is left out between these two.

Source: Li et al. 2014, sections 3.6 and 5.1; key caching and compression in section 4.2.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from numbers import Real
from typing import Any, ClassVar, Final

import numpy as np

from sparklab.errors import ParameterServerError
from sparklab.ps.frames import Frame, Kind
from sparklab.ps.keys import NO_KEYS, Array, Keys, digest
from sparklab.ps.store import SparseStore

_WORTH_REMEMBERING: Final = 1 << 12  # keys: hashing fewer takes microseconds
_REMEMBERED: Final = 64  # arrays of keys a peer
_FLOATS: Final = ("float32", "float64")


class KeyMissError(Exception):
    """The receiver does not know the keys that a digest stands for, or lacks a module that filter `lacks` needs."""

    lacks: int | None = None


class Filter:
    """The base class of all filters, also of a user's own: override what it needs.

    Attributes
    ----------
    lossless : bool
        ``decode(encode(x))`` is x, and `select` holds nothing back.
    name : str
        What it is called in facts.
    passed_by : bool
        It has no need to see every pull: blocking ones may read weights in place.

    Examples
    --------
    >>> class Halves(Filter):
    ...     name, lossless = "halves", False
    ...     def encode(self, frame, peer, notes):
    ...         frame.values = frame.values.astype(np.float32)
    ...         return []
    ...     def decode(self, frame, config, peer):
    ...         frame.values = frame.values.astype(np.float64)
    """

    lossless: ClassVar[bool] = True
    name: ClassVar[str] = "filter"
    passed_by: ClassVar[bool] = False

    def fresh(self) -> Filter:
        """A filter of the same kind for one more worker, with a state of its own."""
        return self

    def select(self, keys: Keys, values: Array, notes: dict[str, Any]) -> tuple[Keys, Array]:
        """What of a push is sent: keys ascending, a row of values each. `notes` come to `encode` with every slice."""
        return keys, values

    def encode(self, frame: Frame, peer: dict[str, Any], notes: dict[str, Any]) -> Any:
        """`frame` is changed for the way to `peer`. Returns plain data for `decode`, or None where nothing was done."""
        return None

    def decode(self, frame: Frame, config: Any, peer: dict[str, Any]) -> None:
        """What `encode` did is undone. `peer` is what this end remembers of the other."""

    def heard(self, keys: Keys, values: Array) -> None:
        """These weights were pulled."""

    def confirmed(self, seq: int, peer: dict[str, Any]) -> None:
        """The peer has answered request `seq`."""

    def facts(self) -> dict[str, float]:
        """What a lossy filter did: keys held back, the error made."""
        return {}


class KeyCaching(Filter):
    """A list of keys that the receiver knows travels as 16 bytes: a digest of all of it.

    Parameters
    ----------
    lists : int
        How many lists the sender reckons with; the receiver keeps twice as many.
    """

    name = "key_caching"
    passed_by = True

    def __init__(self, lists: int = 64) -> None:
        self._lists = lists

    def encode(self, frame: Frame, peer: dict[str, Any], notes: dict[str, Any]) -> Any:
        """Known keys are left out."""
        if len(frame.keys) < 4 or frame.kind == Kind.VALUES:
            return None
        known: OrderedDict[str, bool] = peer.setdefault("keys", OrderedDict())
        stands_for = _digest_of(frame.keys, peer)
        if known.get(stands_for):
            known.move_to_end(stands_for)
            frame.keys = NO_KEYS
        else:
            known[stands_for] = False
            while len(known) > self._lists:
                known.popitem(last=False)
            by_seq: OrderedDict[int, str] = peer.setdefault("sent", OrderedDict())
            by_seq[frame.seq] = stands_for
            while len(by_seq) > self._lists:
                by_seq.popitem(last=False)
        return stands_for

    def confirmed(self, seq: int, peer: dict[str, Any]) -> None:
        """Only lists that have certainly arrived are left out."""
        stands_for = peer.get("sent", {}).pop(seq, None)
        if stands_for in peer.get("keys", ()):
            peer["keys"][stands_for] = True

    def decode(self, frame: Frame, config: Any, peer: dict[str, Any]) -> None:
        """The keys stand there again. Raises KeyMissError where they are not known."""
        known: OrderedDict[str, Keys] = peer.setdefault("known", OrderedDict())
        if len(frame.keys):
            if config not in known:
                known[config] = frame.keys.copy()
                while len(known) > 2 * self._lists:
                    known.popitem(last=False)
            return
        if config not in known:
            raise KeyMissError
        known.move_to_end(config)
        frame.keys = known[config]


def _digest_of(keys: Keys, peer: dict[str, Any]) -> str:
    """The digest of `keys`, in words; of a large array that comes again it is remembered.

    A client's keys do not change: a :class:`~sparklab.ps.KeySet` has its own, and others were copied.
    """
    if len(keys) < _WORTH_REMEMBERING:
        return digest(keys).hex()
    remembered: OrderedDict[int, tuple[weakref.ref[Keys], str]] = peer.setdefault("digests", OrderedDict())
    found = remembered.get(id(keys))
    if found is not None and found[0]() is keys:
        return found[1]
    made = digest(keys).hex()
    remembered[id(keys)] = weakref.ref(keys), made
    while len(remembered) > _REMEMBERED:
        remembered.popitem(last=False)
    return made


class SignificantlyModified(Filter):
    """Entries whose change since they were last sent is at most `threshold` are held back, and added to the next.

    Parameters
    ----------
    threshold : float
        In units of what is pushed.
    """

    name, lossless = "significantly_modified", False

    def __init__(self, threshold: float) -> None:
        if not (_is_number(threshold) and threshold >= 0):
            raise ParameterServerError(
                "making SignificantlyModified", f"a threshold of {threshold}", "give 0 or a positive number"
            )
        self.threshold = threshold
        self._kept: SparseStore | None = None
        self._seen = self._sent = 0

    def fresh(self) -> SignificantlyModified:
        """One without anything held back."""
        return SignificantlyModified(self.threshold)

    def select(self, keys: Keys, values: Array, notes: dict[str, Any]) -> tuple[Keys, Array]:
        """Entries that have changed enough, with what was held back of them."""
        if self._kept is None:
            self._kept = SparseStore(values.shape[1], values.dtype, 0)
        rows = self._kept.rows_made(keys)
        total = self._kept.weights[rows] + values
        sent = np.abs(total).max(axis=1) > self.threshold
        self._kept.weights[rows] = np.where(sent[:, None], 0, total)
        self._seen += len(keys)
        self._sent += int(sent.sum())
        return keys[sent], total[sent]

    def facts(self) -> dict[str, float]:
        """How many entries were held back, and the most that is."""
        held = np.abs(self._kept.weights).max(initial=0.0) if self._kept is not None else 0.0
        return {"seen": self._seen, "sent": self._sent, "largest_held_back": float(held)}


class KKT(Filter):
    """Entries are not sent whose weight is 0 and, by the optimality conditions of L1, very likely stays 0.

    Parameters
    ----------
    l1 : float
        The weight of the L1 norm in the objective that the pushed gradients are of.
    delta : float
        From 0, where only what cannot matter is left out, if other workers agree, to 1, where nothing is.
    workers : int
        Gradients are sums over this worker's share of the data: all workers' together are held against `l1`.

    Notes
    -----
    A weight that was 0 in the last pull stays 0 in the proximal step while the whole gradient is within ``[-l1, l1]``.

    Source: Li et al. 2014, section 5.1.
    """

    name, lossless = "kkt", False

    def __init__(self, l1: float, delta: float = 0.1, workers: int = 1) -> None:
        numbers = all(map(_is_number, (l1, delta, workers)))
        if not numbers or not l1 >= 0 or not 0 <= delta <= 1 or workers < 1:
            raise ParameterServerError(
                "making KKT",
                f"l1={l1!r}, delta={delta!r}, workers={workers!r}",
                "give l1 >= 0, 0 <= delta <= 1, workers >= 1",
            )
        self.l1, self.delta, self.workers = l1, delta, workers
        self._keys: Keys = NO_KEYS
        self._zero = np.empty(0, np.bool_)
        self._seen = self._sent = 0

    def fresh(self) -> KKT:
        """One that has heard nothing yet."""
        return KKT(self.l1, self.delta, self.workers)

    def heard(self, keys: Keys, values: Array) -> None:
        """Which weights are 0 now."""
        self._keys, self._zero = keys, (values == 0).all(axis=1)

    def select(self, keys: Keys, values: Array, notes: dict[str, Any]) -> tuple[Keys, Array]:
        """Entries that may matter."""
        bound = self.l1 * (1 - self.delta) / self.workers
        small = np.abs(values).max(axis=1) < bound
        if keys is self._keys or np.array_equal(keys, self._keys):
            left_out = small & self._zero
        elif len(self._keys):
            at = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
            left_out = small & (self._keys[at] == keys) & self._zero[at]
        else:
            left_out = np.zeros(len(keys), np.bool_)
        self._seen += len(keys)
        self._sent += int(len(keys) - left_out.sum())
        return keys[~left_out], values[~left_out]

    def facts(self) -> dict[str, float]:
        """How many entries were left out."""
        return {"seen": self._seen, "sent": self._sent}


class FixedPoint(Filter):
    """Values travel as whole numbers of 8 or 16 bits times one scale; what that lost is added to the next push.

    Parameters
    ----------
    bits : int
        8 or 16.

    Source: Li et al. 2014, section 3.6 (user-defined filters); Seide et al. 2014 (error feedback).
    """

    name, lossless = "fixed_point", False

    def __init__(self, bits: int = 8) -> None:
        if bits not in (8, 16):
            raise ParameterServerError("making FixedPoint", f"{bits} bits", "use 8 or 16")
        self.bits = bits
        self._lost: SparseStore | None = None
        self._error = self._size = 0.0

    def fresh(self) -> FixedPoint:
        """One that owes nothing."""
        return FixedPoint(self.bits)

    def select(self, keys: Keys, values: Array, notes: dict[str, Any]) -> tuple[Keys, Array]:
        """The nearest values that the scale can say, of these and what is owed."""
        if not len(keys):
            return keys, values
        if self._lost is None:
            self._lost = SparseStore(values.shape[1], values.dtype, 0)
        rows = self._lost.rows_made(keys)
        wanted = values + self._lost.weights[rows]
        most = 2 ** (self.bits - 1) - 1
        scale = float(np.abs(wanted).max()) / most or 1.0
        said = (np.rint(wanted / scale) * scale).astype(values.dtype)
        self._lost.weights[rows] = wanted - said
        self._error += float(np.square(wanted - said, dtype=np.float64).sum())
        self._size += float(np.square(wanted, dtype=np.float64).sum())
        notes["scale"] = scale
        return keys, said

    def encode(self, frame: Frame, peer: dict[str, Any], notes: dict[str, Any]) -> Any:
        """Whole numbers go in the place of values."""
        scale = notes.get("scale")
        if scale is None or frame.values is None or frame.values.dtype.name not in _FLOATS:
            return None
        name = frame.values.dtype.name
        frame.values = np.rint(frame.values / scale).astype(np.int8 if self.bits == 8 else np.int16)
        return [scale, name]

    def decode(self, frame: Frame, config: Any, peer: dict[str, Any]) -> None:
        """Values stand there again."""
        scale, name = config
        if name not in _FLOATS or frame.values is None or frame.values.dtype.kind != "i":
            raise ParameterServerError("decoding fixed-point values", f"type {name}", "use the same version everywhere")
        frame.values = (frame.values * np.float64(scale)).astype(name)

    def facts(self) -> dict[str, float]:
        """The error of a push, relative to its size, as a root mean square; it is made good later."""
        return {"relative_error": (self._error / self._size) ** 0.5 if self._size else 0.0}


class Compression(Filter):
    """Keys and values are compressed where that makes them smaller by a tenth at least.

    Parameters
    ----------
    codec : str
        ``lz4`` or ``snappy``.
    at_least_bytes : int
        Smaller ones are left alone.
    """

    name = "compression"
    passed_by = True

    def __init__(self, codec: str = "lz4", at_least_bytes: int = 256) -> None:
        if codec not in ("lz4", "snappy"):
            raise ParameterServerError("making Compression", f"codec {codec!r}", "use lz4 or snappy")
        self.codec = codec
        self._at_least = at_least_bytes

    def encode(self, frame: Frame, peer: dict[str, Any], notes: dict[str, Any]) -> Any:
        """Compressed bytes go in the place of values; keys go with them, as differences."""
        values = frame.values
        if values is None or values.ndim != 2 or values.nbytes + frame.keys.nbytes < self._at_least:
            return None
        steps = np.diff(frame.keys, prepend=np.uint64(0))
        largest = int(steps.max(initial=0))
        small = steps.astype(np.uint16 if largest < 1 << 16 else np.uint32 if largest < 1 << 32 else np.uint64)
        raw = small.tobytes() + values.tobytes()
        packed = _compress(self.codec, raw)
        if len(packed) > 0.9 * (values.nbytes + frame.keys.nbytes):
            return None
        config = [self.codec, len(raw), len(small), small.dtype.name, values.dtype.name, int(values.shape[1])]
        frame.keys, frame.values = NO_KEYS, np.frombuffer(packed, np.uint8)
        return config

    def decode(self, frame: Frame, config: Any, peer: dict[str, Any]) -> None:
        """Keys and values stand there again."""
        codec, size, count, steps, dtype, width = config
        if frame.values is None or not 0 <= size <= 1 << 31 or steps not in ("uint16", "uint32", "uint64"):
            raise ParameterServerError("decompressing a frame", f"{size} bytes", "use the same version everywhere")
        raw = bytearray(_decompress(codec, frame.values.tobytes(), size))
        at = count * np.dtype(steps).itemsize
        frame.keys = np.cumsum(np.frombuffer(raw[:at], steps), dtype=np.uint64) if count else NO_KEYS
        frame.values = np.frombuffer(raw[at:], dtype).reshape(-1, width)


def _compress(codec: str, raw: bytes) -> bytes:
    if codec == "snappy":
        import pyarrow

        return bytes(pyarrow.compress(raw, codec="snappy", asbytes=True))
    import lz4.block

    return bytes(lz4.block.compress(raw, store_size=False))


def _decompress(codec: str, packed: bytes, size: int) -> bytes:
    if codec == "snappy":
        import pyarrow

        return bytes(pyarrow.decompress(packed, size, codec="snappy", asbytes=True))
    import lz4.block

    return bytes(lz4.block.decompress(packed, uncompressed_size=size))


def _is_number(value: Any) -> bool:
    return isinstance(value, Real)
