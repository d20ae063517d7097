"""stable_hash: a key's hash that is the same in every process, whatever its hash seed (law of placement)."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Callable, Iterable
from typing import Any, Final

from xxhash import xxh3_64_intdigest

from sparklab.errors import IdentityHashError
from sparklab.shuffle.ownhash import without_seed

_HASH_BY_VALUE: Final = frozenset({int, bool})  # built-in hash: neither seeded nor by address


def stable_hash(x: Any) -> int:
    """A hash of `x` that driver and executors agree on, equal for keys that compare equal.

    PySpark's recursive formula: None is 0, tuples are recursed into; str and bytes go through xxh3, which no seed
    changes; numbers keep the built-in hash, so that ``1``, ``1.0`` and ``True`` fall together as they do in a dict.
    Dates, enums, paths, UUIDs, named tuples and dataclasses are reduced to those; a class that defines ``__hash__`` and
    ``__eq__`` in Python is asked, with this function in the place of ``hash``. Thread-safe.

    Raises
    ------
    IdentityHashError
        The key is hashed by its address, or by a ``__hash__`` of its own of which it cannot be seen that no hash
        seed has a part in it.
    TypeError
        The key is not hashable at all.

    Examples
    --------
    >>> from sparklab.rdd import portable_hash
    >>> portable_hash(None), portable_hash(7), portable_hash(1.0) == portable_hash(True)
    (0, 7, True)
    """
    kind = type(x)
    if kind is str:
        try:
            return xxh3_64_intdigest(x.encode())
        except UnicodeEncodeError:  # a lone surrogate
            return _of_str(x)
    if kind is bytes:
        return xxh3_64_intdigest(x)
    if kind in _HASH_BY_VALUE:
        return hash(x)
    if kind is tuple:
        h = 0x345678
        for item in x:
            h ^= stable_hash(item)
            h *= 1000003
            h &= sys.maxsize
        h ^= len(x)
        return -2 if h == -1 else h
    if x is None:
        return 0
    return _by_owner(x, kind)


def stable_hashes(keys: list[Any]) -> Iterable[int]:
    """``stable_hash`` of each key, in order; where all are str, or all bytes or int, without a Python call per key."""
    kinds = set(map(type, keys))
    if len(kinds) == 1:
        kind = kinds.pop()
        if kind is str:
            try:
                return list(map(xxh3_64_intdigest, map(str.encode, keys)))
            except UnicodeEncodeError:
                pass
        elif kind is bytes:
            return map(xxh3_64_intdigest, keys)
        elif kind is int:
            return map(hash, keys)
    return map(stable_hash, keys)


class HashPlacement:
    """Places a key in partition ``stable_hash(key) % num_partitions``; ``many`` places a batch without a call per key.

    >>> place = HashPlacement(4)
    >>> place(7), list(place.many([7, 8, None]))
    (3, [3, 0, 0])
    """

    __slots__ = ("num_partitions",)

    def __init__(self, num_partitions: int) -> None:
        self.num_partitions = num_partitions

    def __call__(self, key: Any) -> int:
        return stable_hash(key) % self.num_partitions

    def many(self, keys: list[Any]) -> list[int]:
        """The partition of each key, in order."""
        n = self.num_partitions
        return [h % n for h in stable_hashes(keys)]

    def __reduce__(self) -> tuple[Any, ...]:
        return (HashPlacement, (self.num_partitions,))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HashPlacement) and self.num_partitions == other.num_partitions

    def __hash__(self) -> int:
        return hash(self.num_partitions)


def _by_owner(key: Any, kind: type) -> int:
    """Hash a key by the class in its ancestry that says how it is hashed, since that one also says what is equal."""
    for owner in kind.__mro__:
        if "__hash__" in owner.__dict__:
            break
    if isinstance(key, type):
        return _of_str(_name(key))
    rule = _RULES.get(_name(owner))
    if rule is not None:
        return rule(key)
    if owner.__dict__["__hash__"] is None:
        raise TypeError(f"unhashable type: {kind.__name__!r}")
    if owner is object:
        raise IdentityHashError(
            f"placing a key of type {_name(kind)}",
            "it is hashed by its address in memory, so no two processes would place it alike",
            "key by its value instead: a str, a number, a tuple, or a frozen dataclass",
        )
    if _compares_fields(owner):
        fields = owner.__dict__["__dataclass_fields__"].values()
        return stable_hash(
            tuple(getattr(key, f.name) for f in fields if (f.compare if f.hash is None else f.hash)),
        )
    if owner.__module__ == "numpy":
        return _of_numpy(key, kind)
    own = without_seed(owner, stable_hash)
    if own is not None:
        return own(key)
    raise IdentityHashError(
        f"placing a key of type {_name(kind)}",
        f"{_name(owner)} has a __hash__ of its own, which may differ from process to process as far as can be seen",
        "write it as hash((self.a, self.b)) beside an __eq__, key by a value (a str, a number, a tuple, or a frozen "
        "dataclass), or pass a partitionFunc",
    )


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _compares_fields(owner: type) -> bool:
    """Whether `owner` is a dataclass whose ``__hash__`` and ``__eq__`` were both generated from its fields."""
    if "__dataclass_fields__" not in owner.__dict__:
        return False
    for method in ("__hash__", "__eq__"):
        code = getattr(owner.__dict__.get(method), "__code__", None)
        # dataclasses compiles what it generates from a string; a method that somebody wrote has a file or a cell
        if code is None or code.co_filename != "<string>":
            return False
    return True


def _of_str(key: str) -> int:
    return xxh3_64_intdigest(str.encode(key, "utf-8", "surrogatepass"))


def _of_float(key: complex) -> int:
    return hash(key) if key == key else 0  # since 3.10 a NaN is hashed by its address


def _of_decimal(key: Any) -> int:
    return 0 if key.is_nan() else hash(key)


def _of_tuple(key: tuple[Any, ...]) -> int:
    return stable_hash(tuple(tuple.__iter__(key)))


def _of_frozenset(key: frozenset[Any]) -> int:
    h = 0x1F3D5B79
    for item in key:
        one = stable_hash(item)
        # spread before the commutative sum: {1, 4} and {2, 3} must not fall together
        h += xxh3_64_intdigest(one.to_bytes(9, "little", signed=True))
    return (h ^ len(key)) & sys.maxsize


def _of_datetime(key: datetime.datetime) -> int:
    offset = key.replace(fold=0).utcoffset()
    plain = key.replace(fold=0, tzinfo=None)
    return stable_hash(plain.isoformat()) if offset is None else stable_hash((plain - _EPOCH) - offset)


_EPOCH: Final = datetime.datetime(1970, 1, 1)


def _of_time(key: datetime.time) -> int:
    offset = key.replace(fold=0).utcoffset()
    since_midnight = datetime.timedelta(
        hours=key.hour, minutes=key.minute, seconds=key.second, microseconds=key.microsecond
    )
    return stable_hash(since_midnight if offset is None else since_midnight - offset)


def _of_timedelta(key: datetime.timedelta) -> int:
    return stable_hash((key.days, key.seconds, key.microseconds))


def _of_range(key: range) -> int:
    first = key.start if len(key) else None
    return stable_hash((len(key), first, key.step if len(key) > 1 else None))


def _of_path(key: Any) -> int:
    path: str = key.as_posix()
    windows = type(key).__name__ in ("WindowsPath", "PureWindowsPath")  # compared without case
    return _of_str(path.lower() if windows else path)


def _of_numpy(key: Any, kind: type) -> int:
    """A NumPy scalar: as the Python value that it equals."""
    value = key.astype(f"{kind.__name__}[us]").item() if kind.__name__ in ("datetime64", "timedelta64") else key.item()
    if type(value) is kind:  # longdouble has no Python value: equal numbers agree when rounded
        value = float(key)
    return stable_hash(value)


# By name rather than by class, so that no module is imported for the sake of keys that nobody uses.
_RULES: Final[dict[str, Callable[[Any], int]]] = {
    "builtins.str": _of_str,
    "builtins.bytes": lambda key: xxh3_64_intdigest(key),
    "builtins.memoryview": lambda key: xxh3_64_intdigest(key.tobytes()),
    "builtins.int": hash,
    "builtins.float": _of_float,
    "builtins.complex": _of_float,
    "builtins.tuple": _of_tuple,
    "builtins.frozenset": _of_frozenset,
    "builtins.range": _of_range,
    "decimal.Decimal": _of_decimal,
    "fractions.Fraction": hash,
    "datetime.datetime": _of_datetime,
    "datetime.date": lambda key: key.toordinal(),
    "datetime.time": _of_time,
    "datetime.timedelta": _of_timedelta,
    "datetime.timezone": lambda key: _of_timedelta(key.utcoffset(None)),
    "uuid.UUID": lambda key: hash(key.int),
    "ipaddress._BaseAddress": lambda key: hash(int(key)),
    "ipaddress.IPv6Address": lambda key: stable_hash((int(key), key.scope_id)),
    "pathlib.PurePath": lambda key: _of_path(key),
    "pathlib._local.PurePath": lambda key: _of_path(key),
    # a plain member equals itself alone; members that mix in int or str are hashed (and compared) as those
    "enum.Enum": lambda key: _of_str(key.name),
}
