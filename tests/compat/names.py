"""The names of PySpark 4.3's RDD API, read from ``names.txt``."""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple


class Name(NamedTuple):
    """A public name of PySpark's.

    Attributes
    ----------
    owner : str
        The class, or the module where it stands alone.
    mark : str
        ``core``, ``nice`` or ``JVM-only``.
    signature : str
        ``(value, accum_param=None)``, ``(property)``, ``(attribute)``, ``classmethod (conf=None)`` or ``= value``.
    """

    owner: str
    name: str
    mark: str
    signature: str


def _listed() -> tuple[Name, ...]:
    found = []
    owner = ""
    for line in Path(__file__).with_name("names.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            owner = line.strip("[]")
        elif line and not line.startswith("#"):
            mark, name, *signature = line.split(maxsplit=2)
            found.append(Name(owner, name, mark, signature[0] if signature else ""))
    return tuple(found)


LISTED: Final = _listed()


def _by_owner(*marks: str) -> dict[str, tuple[str, ...]]:
    owners = dict.fromkeys(each.owner for each in LISTED)
    found = {o: tuple(each.name for each in LISTED if each.owner == o and each.mark in marks) for o in owners}
    return {owner: names for owner, names in found.items() if names}


NAMES: Final[dict[str, tuple[str, ...]]] = _by_owner("core", "nice")
"""Names that a program may use without a JVM of its own, by class."""

JVM_ONLY: Final[dict[str, tuple[str, ...]]] = _by_owner("JVM-only")
