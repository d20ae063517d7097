"""A share of ``make chaos``: random programs under random faults, none wrong, none hung, nothing left behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.chaos.trial import TRIALS_EACH, VARIANTS, Laboratory, program_of, schedule_of, variant_of

pytestmark = pytest.mark.slow  # some twenty programs, each with deaths and stops

FIRST = TRIALS_EACH * len(VARIANTS) * 6_000  # no seed that `make chaos` begins with
EACH = 4


@pytest.fixture(scope="module", params=range(len(VARIANTS)), ids=[variant.name for variant in VARIANTS])
def laboratory(request: pytest.FixtureRequest) -> Iterator[tuple[Laboratory, int]]:
    """A context, and the first of the seeds that are tried in its kind."""
    first = FIRST + TRIALS_EACH * request.param
    own = Laboratory(variant_of(first))
    yield own, first
    assert own.close() == ""


@pytest.mark.parametrize("number", range(EACH))
def test_a_random_program_under_random_faults_is_right_ends_and_leaves_nothing(
    laboratory: tuple[Laboratory, int], number: int
) -> None:
    own, first = laboratory
    verdict = own.run(first + number)
    assert verdict.good, str(verdict)


def test_a_seed_decides_the_program_and_its_faults() -> None:
    assert repr(program_of(7)) == repr(program_of(7))
    assert schedule_of(7) == schedule_of(7)
    assert len({repr(program_of(seed)) for seed in range(10)}) > 5
