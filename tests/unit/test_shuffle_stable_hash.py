"""The placement hash: one answer in every process, equal for equal keys, and no answer by address."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import fractions
import os
import subprocess
import sys
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparklab.errors import IdentityHashError
from sparklab.shuffle.stable_hash import HashPlacement, stable_hash, stable_hashes

_KEYS = """
import dataclasses, datetime, decimal, enum, fractions, ipaddress, pathlib, sys, uuid
from collections import namedtuple
import numpy as np
from sparklab.shuffle.stable_hash import stable_hash
Point = namedtuple("Point", "x y")
class Colour(enum.Enum):
    RED = 1
class Word(str, enum.Enum):
    HELLO = "hello"
@dataclasses.dataclass(frozen=True)
class Account:
    name: str
    number: int = dataclasses.field(compare=False, default=0)
utc = datetime.UTC
keys = [
    None, "", "word", "\\ud800", b"raw", True, 0, -1, 2**80, 1.5, float("nan"), float("inf"), 2j, (),
    ("a", None, (1, b"")), frozenset(["a", "b", None]), range(0), range(1, 9, 2),
    Point("a", 1), Colour.RED, Word.HELLO, Account("a", 3),
    decimal.Decimal("1.5"), decimal.Decimal("NaN"), fractions.Fraction(1, 3), datetime.date(2026, 1, 2),
    datetime.datetime(2026, 1, 2, 3), datetime.datetime(2026, 1, 2, 3, tzinfo=utc), datetime.time(3),
    datetime.time(3, tzinfo=utc), datetime.timedelta(1, 2, 3), utc, uuid.UUID(int=7), ipaddress.ip_address("10.0.0.1"),
    ipaddress.ip_address("::1"), pathlib.PurePosixPath("a/b"), np.int64(4), np.str_("word"), np.float32(0.5),
    np.datetime64("2026-01-02T03"),
]
"""


def test_three_processes_with_three_hash_seeds_place_alike() -> None:
    program = _KEYS + "print([stable_hash(key) for key in keys])"
    answers = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout
        for seed in ("0", "1", "6640")
    }
    assert len(answers) == 1


def test_the_formula_is_pysparks_for_none_numbers_and_tuples() -> None:
    assert stable_hash(None) == 0
    assert stable_hash(17) == 17
    h = 0x345678
    for item in (1, 2):
        h = ((h ^ item) * 1000003) & sys.maxsize
    assert stable_hash((1, 2)) == h ^ 2


Pair = namedtuple("Pair", "left right")
UTC = datetime.UTC


class Level(enum.IntEnum):
    LOW = 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0),
        (1, True),
        (1, Level.LOW),
        (2, decimal.Decimal(2)),
        (0.5, fractions.Fraction(1, 2)),
        (("a", 1), Pair("a", 1.0)),
        ("word", np.str_("word")),
        (7, np.int32(7)),
        (7, np.uint64(7)),
        (0.5, np.float32(0.5)),
        (True, np.bool_(True)),
        (frozenset("abc"), frozenset("cba")),
        (range(0, 10, 3), range(0, 12, 3)),
        (range(5, 5), range(0)),
        (b"raw", memoryview(b"raw")),
        (0.0, -0.0),
        (
            datetime.datetime(2026, 1, 2, 3, tzinfo=UTC),
            datetime.datetime(2026, 1, 2, 5, tzinfo=datetime.timezone(datetime.timedelta(hours=2))),
        ),
        (
            datetime.time(3, tzinfo=UTC),
            datetime.time(5, tzinfo=datetime.timezone(datetime.timedelta(hours=2))),
        ),
        (datetime.datetime(2026, 1, 2, fold=1), datetime.datetime(2026, 1, 2)),
    ],
)
def test_keys_that_compare_equal_hash_alike(one: Any, other: Any) -> None:
    assert one == other
    assert stable_hash(one) == stable_hash(other)


def test_a_key_hashed_by_its_address_is_refused_by_name() -> None:
    class Session:
        pass

    with pytest.raises(IdentityHashError, match="Session") as caught:
        stable_hash(("inside a tuple", Session()))
    assert "address" in caught.value.found
    assert caught.value.do


class Name:
    """A class as people write them."""

    def __init__(self, text: str, year: int) -> None:
        self.text = text
        self.year = year

    def _key(self) -> tuple[str, int]:
        return self.text.lower(), self.year

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Name) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash((type(self), self._key()))


def test_a_hash_of_the_users_own_is_called_without_a_seed() -> None:
    assert stable_hash(Name("Ada", 1815)) == stable_hash(Name("ADA", 1815)) != stable_hash(Name("Ada", 1816))
    program = (
        "from tests.unit.test_shuffle_stable_hash import Name\n"
        "from sparklab.shuffle.stable_hash import stable_hash\n"
        "print(stable_hash(Name('Ada', 1815)), hash(Name('Ada', 1815)))"
    )
    found = []
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=Path(__file__).parents[2],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        found.append(done.stdout.split())
    assert found[0][0] == found[1][0]
    assert found[0][1] != found[1][1]


def test_a_hash_that_may_be_seeded_all_the_same_is_refused() -> None:
    def helper(text: str) -> int:
        return hash(text)

    class Text:
        def __init__(self) -> None:
            self.text = "a"
            self._hash = hash(self.text)

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Text)

    class Stored(Text):
        def __hash__(self) -> int:
            return self._hash

        __eq__ = Text.__eq__

    class Helped(Text):
        def __hash__(self) -> int:
            return helper(self.text)

        __eq__ = Text.__eq__

    class Method(Text):
        def digest(self) -> int:
            return hash(self.text)

        def __hash__(self) -> int:
            return self.digest()

        __eq__ = Text.__eq__

    class Inside(Text):
        def __hash__(self) -> int:
            return sum(map(lambda c: hash(c), self.text))

        __eq__ = Text.__eq__

    for kind in (Stored, Helped, Method, Inside):
        with pytest.raises(IdentityHashError, match=kind.__name__) as caught:
            stable_hash(kind())
        assert "partitionFunc" in caught.value.do


def test_a_dataclass_is_hashed_by_the_fields_it_compares() -> None:
    @dataclasses.dataclass(frozen=True)
    class Account:
        name: str
        cached: int = dataclasses.field(default=0, compare=False)

    assert stable_hash(Account("a", 1)) == stable_hash(Account("a", 2)) == stable_hash(("a",))

    @dataclasses.dataclass(frozen=True)
    class Caseless:
        name: str

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Caseless) and self.name.lower() == other.name.lower()

        def __hash__(self) -> int:
            return hash(self.name.lower())

    assert stable_hash(Caseless("a")) == stable_hash(Caseless("A")) != stable_hash(Caseless("b"))


def test_an_unhashable_key_raises_what_a_dict_would() -> None:
    with pytest.raises(TypeError, match="unhashable type: 'list'"):
        stable_hash([1])
    with pytest.raises(TypeError, match="unhashable"):
        stable_hash(("a", {}))


@pytest.mark.parametrize(
    "keys",
    [["a", "b", "\ud800"], ["a", "b"], [b"a"], [1, -1, 2**70], [1, "a", None, (2,)], [True, 1], []],
)
def test_a_batch_is_placed_as_its_keys_are_one_by_one(keys: list[Any]) -> None:
    assert list(stable_hashes(keys)) == [stable_hash(key) for key in keys]
    place = HashPlacement(7)
    assert place.many(keys) == [place(key) for key in keys]
    assert all(0 <= p < 7 for p in place.many(keys))


def test_small_sets_do_not_fall_together() -> None:
    pairs = {stable_hash(frozenset((a, b))) for a in range(50) for b in range(a)}
    assert len(pairs) == 50 * 49 // 2
