"""A class's own ``__hash__``, called so that no hash seed has a part in it."""

from __future__ import annotations

import types
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final

SEEDLESS: Final = frozenset(
    {"hash", "abs", "bool", "bytes", "dict", "float", "frozenset", "int", "isinstance", "len", "list", "max", "min"}
    | {"ord", "round", "set", "sorted", "str", "sum", "tuple", "type"}
)
"""Built-in functions that give the same in every process for the same values, once ``hash`` is replaced."""


@lru_cache(maxsize=256)
def without_seed(owner: type, hash_of: Callable[[Any], int]) -> Callable[[Any], int] | None:
    """The ``__hash__`` that `owner` defines, with `hash_of` in the place of ``hash``.

    Returns None where it cannot be seen that its result depends on the key's values alone: it calls something other
    than methods of the key and known built-in functions, reads what looks like a stored hash, or is not written in
    Python. Equal keys have equal hashes, as far as the class keeps Python's own rule and `hash_of` keeps it too.
    """
    method = owner.__dict__.get("__hash__")
    if not isinstance(method, types.FunctionType) or "__eq__" not in owner.__dict__ or method.__closure__:
        return None
    called = [method.__code__]
    for name in method.__code__.co_names:
        if name in SEEDLESS and name not in method.__globals__:
            continue
        if name in method.__globals__ or "hash" in name.lower():
            return None
        found = owner.__dict__.get(name)
        found = found.fget if isinstance(found, property) else found
        if isinstance(found, types.FunctionType):
            called.append(found.__code__)
    if any("hash" in name.lower() or name == "id" for code in called[1:] for name in code.co_names):
        return None
    if any(isinstance(const, types.CodeType) and "hash" in const.co_names for const in method.__code__.co_consts):
        return None
    own = types.FunctionType(
        method.__code__, method.__globals__ | {"hash": hash_of}, method.__name__, method.__defaults__, None
    )
    return lambda key: hash(int(own(key)))
