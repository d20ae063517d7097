"""Frames as bytes: a fixed header, then ranges, plain data, keys and values, each on a boundary of eight bytes.

Plain data of clients is JSON; pickles are read only from who has shown the control secret.
"""

from __future__ import annotations

import json
import pickle
import struct
from typing import Any, Final

import cloudpickle
import numpy as np

from sparklab.errors import ParameterServerError
from sparklab.ps.frames import Frame, Kind
from sparklab.ps.keys import KEY, NO_KEYS

PROTOCOL: Final = 2
MOST_BYTES: Final = 1 << 30  # of one frame

# body, meta, keys (count), client, incarnation, seq, clock, settled, link, epoch, table, version, width, mask (bytes),
# kind, operation, type of the values, how the meta is written, and where the body is: 0 behind the header, else one
# more than its place in the ring that the two sides share, in units of 64 bytes
_HEADER: Final = struct.Struct("<IIIqQQqQQIHHHHBBBBI")
HEADER_BYTES: Final = _HEADER.size
KIND: Final = 14  # positions of fields
RING: Final = 18
RING_UNIT_BYTES: Final = 64
_RING_AT: Final = HEADER_BYTES - 4
_DTYPES: Final = (
    None,
    np.dtype(np.float32),
    np.dtype(np.float64),
    np.dtype(np.int8),
    np.dtype(np.int16),
    np.dtype(np.uint8),
)
_CODES: Final = {dtype: code for code, dtype in enumerate(_DTYPES)}
_NOTHING, _JSON, _PICKLE, _BYTES = range(4)
_CONTROL: Final = frozenset(
    {
        Kind.FORWARD, Kind.FORWARDED, Kind.INSTALL, Kind.INSTALLED, Kind.MOVE, Kind.MOVED, Kind.RELEASE, Kind.BEAT,
        Kind.EXPORT, Kind.EXPORTED, Kind.RESTORE, Kind.RESTORED, Kind.GONE, Kind.JOINS, Kind.PEERS, Kind.STOP,
    }
)  # fmt: skip
_PICKLED: Final = _CONTROL | {Kind.LAYOUT, Kind.RESULT}  # where the peer is trusted
_KINDS: Final = frozenset(int(kind) for kind in Kind)

Buffer = bytes | bytearray | memoryview
Header = tuple[int, ...]


class MalformedError(ParameterServerError):
    """Bytes that are no frame."""

    def __init__(self, found: str) -> None:
        super().__init__("reading a frame", found, "both sides must run the same version of sparklab")


def encode(frame: Frame, *, trusted: bool) -> list[Any]:
    """`frame` as buffers to be sent one after the other; arrays are not copied. `trusted` peers may get pickles."""
    meta, how = b"", _NOTHING
    if frame.meta is not None:
        if isinstance(frame.meta, bytes):
            meta, how = frame.meta, _BYTES
        elif trusted and (frame.kind in _PICKLED or "function" in frame.meta):
            meta, how = cloudpickle.dumps(frame.meta, protocol=5), _PICKLE
        else:
            meta, how = json.dumps(frame.meta, separators=(",", ":")).encode(), _JSON
    mask = frame.mask
    mask_bytes = (mask.bit_length() + 63) // 64 * 8
    keys, values = frame.keys, frame.values
    key_count, meta_bytes = len(keys), len(meta)
    meta_room = (meta_bytes + 7) // 8 * 8
    code, width, value_bytes = 0, 0, 0
    if values is not None:
        code, width, value_bytes = _CODES[values.dtype], values.shape[1] if values.ndim == 2 else 0, values.nbytes
    body = mask_bytes + meta_room + 8 * key_count + value_bytes
    if body > MOST_BYTES:
        raise ParameterServerError(
            f"sending a frame of {body} bytes", f"frames have at most {MOST_BYTES} bytes", "push or pull in parts"
        )
    head = _HEADER.pack(
        body, meta_bytes, key_count, frame.client, frame.incarnation, frame.seq, frame.clock, frame.settled, frame.link,
        frame.epoch, frame.table, frame.version, width, mask_bytes, frame.kind, frame.operation, code, how, 0,
    )  # fmt: skip
    if meta_room:
        head += mask.to_bytes(mask_bytes, "little") + meta + bytes(meta_room - meta_bytes)
    elif mask_bytes:
        head += mask.to_bytes(mask_bytes, "little")
    buffers: list[Any] = [head]
    if key_count:
        buffers.append(keys.data.cast("B"))
    if value_bytes:
        assert values is not None
        buffers.append((values if values.flags.c_contiguous else np.ascontiguousarray(values)).data.cast("B"))
    return buffers


def header(buffer: Buffer, at: int = 0) -> Header:
    """The fields of the header at position `at`, of which the first is the length of the body.

    Raises
    ------
    MalformedError
        It is none.
    """
    fields = _HEADER.unpack_from(buffer, at)
    if fields[0] > MOST_BYTES or fields[KIND] not in _KINDS:
        raise MalformedError(f"a frame of kind {fields[KIND]} and {fields[0]} bytes")
    return fields


def header_in_ring(head: bytes, at: int) -> bytes:
    """The header that `head` begins with, of a frame whose body is at `at` in the ring."""
    return head[:_RING_AT] + (1 + at // RING_UNIT_BYTES).to_bytes(4, "little")


def decode(fields: Header, body: Any, *, trusted: bool) -> Frame:
    """The frame of a header's fields and `body`, whose arrays are views of `body`.

    Raises
    ------
    MalformedError
        They do not fit together, or hold what this peer may not send.
    """
    (
        length, meta_bytes, key_count, client, incarnation, seq, clock, settled, link, epoch, table, version, width,
        mask_bytes, kind, operation, code, how, _,
    ) = fields  # fmt: skip
    at = mask_bytes + (meta_bytes + 7) // 8 * 8
    values_at = at + 8 * key_count
    if values_at > length or len(body) != length or code >= len(_DTYPES) or (kind in _CONTROL and not trusted):
        raise MalformedError(f"a frame of kind {kind} whose parts do not fit")
    mask = int.from_bytes(body[:mask_bytes], "little") if mask_bytes else 0
    keys = np.frombuffer(body, KEY, key_count, at) if key_count else NO_KEYS
    values = None
    dtype = _DTYPES[code]
    if dtype is not None:
        count, rest = divmod(length - values_at, dtype.itemsize)
        if rest or (width and count % width):
            raise MalformedError("values that fill no rows")
        values = np.frombuffer(body, dtype, count, values_at)
        if width:
            values = values.reshape(-1, width)
    elif values_at != length:
        raise MalformedError("bytes after the last part")
    meta: Any = None
    if how != _NOTHING:
        raw = bytes(body[mask_bytes : mask_bytes + meta_bytes])
        meta = _meta(raw, how, trusted)
    return Frame(
        kind, table, client, incarnation, seq, clock, epoch, settled, mask, keys, values, meta, link, version, operation
    )


def _meta(raw: bytes, how: int, trusted: bool) -> Any:
    if how == _BYTES:
        return raw
    if how == _JSON:
        try:
            return json.loads(raw)
        except ValueError as error:
            raise MalformedError(f"plain data that is no JSON ({error})") from error
    if how != _PICKLE or not trusted:
        raise MalformedError("a pickle from a peer that may send none")
    return pickle.loads(raw)
