"""The values of settings as Spark writes them: sizes, times, numbers. Each parser takes the key for its error."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from sparklab.errors import SparklabError

Parser: TypeAlias = Callable[[str, str], Any]  # of a key and its text

_SIZE_UNITS: Final = {"b": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40, "p": 2**50}
_TIME_UNITS_S: Final = {
    "us": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "min": 60.0,
    "h": 3600.0,
    "d": 86400.0,
}


class ConfError(SparklabError, ValueError):
    """A setting has a value that cannot be used."""


def size_bytes(key: str, text: str, unit: str = "m") -> int:
    """Bytes of a size as Spark writes it: ``512m``, ``1g``, ``64kb``; a bare number counts `unit`.

    Raises
    ------
    ConfError
        `text` is not a positive size.
    """
    match = re.fullmatch(r"\s*(\d+)\s*([bkmgtp])?(?:(?<=[kmgtp])b)?\s*", text.lower())
    if match is None or int(match[1]) == 0:
        raise _wrong(key, text, "a size such as 512m or 2g (k, m, g, t; whole numbers)")
    return int(match[1]) * _SIZE_UNITS[match[2] or unit]


def time_s(key: str, text: str, unit: str = "ms") -> float:
    """Seconds of a time as Spark writes it: ``3s``, ``100ms``, ``2min``; a bare number counts `unit`.

    Raises
    ------
    ConfError
        `text` is not a time of zero or more.
    """
    match = re.fullmatch(r"\s*(\d+)\s*([a-z]+)?\s*", text.lower())
    scale = _TIME_UNITS_S.get(match[2] or unit) if match is not None else None
    if match is None or scale is None:
        raise _wrong(key, text, "a time such as 3s or 100ms (us, ms, s, m, h, d; whole numbers)")
    return int(match[1]) * scale


def _wrong(key: str, text: str, expected: str) -> ConfError:
    return ConfError(f"reading the setting {key}", f"the value {text!r}", f"give {expected}")


def period(key: str, text: str) -> float:
    """Seconds above 0; a bare number counts milliseconds."""
    value = time_s(key, text)
    if value <= 0:
        raise _wrong(key, text, "a time above 0, such as 2s or 500ms")
    return value


def timeout(key: str, text: str) -> float:
    """Seconds above 0; a bare number counts seconds, as in Spark."""
    value = time_s(key, text, "s")
    if value <= 0:
        raise _wrong(key, text, "a time above 0, such as 10s")
    return value


def not_empty(key: str, text: str) -> str:
    """Any text but an empty one."""
    if not text:
        raise _wrong(key, text, "a text that is not empty")
    return text


def folder(key: str, text: str) -> str:
    """The first of a list of folders: Spark allows several, scratch needs one."""
    return not_empty(key, text.split(",")[0].strip())


def count(key: str, text: str) -> int:
    """A whole number of at least 1."""
    if not re.fullmatch(r"\s*\d+\s*", text) or int(text) == 0:
        raise _wrong(key, text, "a whole number of at least 1")
    return int(text)


def flag(key: str, text: str) -> bool:
    """True or false, in any case."""
    values = {"true": True, "false": False}
    if text.strip().lower() not in values:
        raise _wrong(key, text, "true or false")
    return values[text.strip().lower()]


def number(accepted: Callable[[float], bool], expected: str) -> Parser:
    """Numbers of which `accepted` is true; what is `expected` stands in the error of others."""

    def parse(key: str, text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")  # of which no comparison is true
        if not accepted(value):
            raise _wrong(key, text, expected)
        return value

    return parse


fraction: Final = number(lambda value: 0.0 < value < 1.0, "a number between 0 and 1")
share: Final = number(lambda value: 0.0 <= value <= 1.0, "a number from 0 to 1")
factor: Final = number(lambda value: 1.0 <= value < float("inf"), "a number of at least 1")


def choice(*values: str) -> Parser:
    """One of `values`, in any case, in the case given here."""
    by_lower = {value.lower(): value for value in values}

    def parse(key: str, text: str) -> str:
        if text.strip().lower() not in by_lower:
            raise _wrong(key, text, "one of " + ", ".join(values))
        return by_lower[text.strip().lower()]

    return parse
