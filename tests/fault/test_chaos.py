"""A share of ``make chaos``: random programs under random faults, none wrong, none hung, nothing left behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.trial import Laboratory, program_of, schedule_of

pytestmark = pytest.mark.slow  # some twenty programs, each with deaths and stops

SHARE = range(1_000_000, 1_000_024)  # seeds that `make chaos` does not begin with


@pytest.fixture(scope="module")
def laboratory() -> Iterator[Laboratory]:
    own = Laboratory()
    yield own
    assert own.close() == ""


@pytest.mark.parametrize("seed", SHARE)
def test_a_random_program_under_random_faults_is_right_ends_and_leaves_nothing(
    laboratory: Laboratory, seed: int
) -> None:
    verdict = laboratory.run(seed)
    assert verdict.good, str(verdict)


def test_a_seed_decides_the_program_and_its_faults() -> None:
    assert repr(program_of(7)) == repr(program_of(7))
    assert schedule_of(7) == schedule_of(7)
    assert len({repr(program_of(seed)) for seed in range(10)}) > 5
