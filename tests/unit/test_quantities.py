"""Sizes and counts as people read them."""

from __future__ import annotations

import pytest

from sparklab.quantities import plural, size_text


@pytest.mark.parametrize(
    ("count_bytes", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (50 * 2**10, "50 KiB"),
        (104_857, "102 KiB"),
        (104_858, "0.1 MiB"),
        (3.1 * 2**20, "3.1 MiB"),
        (3 * 2**30, "3.0 GiB"),
        (5 * 2**40, "5120.0 GiB"),
    ],
)
def test_a_size_is_written_in_the_unit_that_suits_it(count_bytes: float, text: str) -> None:
    assert size_text(count_bytes) == text


def test_halves_go_up_as_in_the_browser() -> None:
    assert [size_text(2**18), size_text(2.5 * 1024), size_text(2**30 * 1.25)] == ["0.3 MiB", "3 KiB", "1.3 GiB"]


def test_one_thing_is_singular() -> None:
    assert [plural(count, "task") for count in (0, 1, 2_000)] == ["0 tasks", "1 task", "2,000 tasks"]
