"""Rows read where a server keeps them, few and many."""

from __future__ import annotations

import numpy as np
import pytest

from sparklab.ps.kernels import AHEAD, FEWEST_FAR, read_shared_all


@pytest.mark.parametrize("width", [1, 2, 3])
@pytest.mark.parametrize("count", [1, AHEAD, FEWEST_FAR - 1, FEWEST_FAR, FEWEST_FAR + AHEAD + 1])
def test_few_rows_and_many_are_read_alike(count: int, width: int) -> None:
    weights = np.arange(3 * count * width, dtype=np.float32).reshape(-1, width)
    keys = np.arange(0, 3 * count, 3, dtype=np.uint64)
    out = np.full((count, width), -1, np.float32)
    assert read_shared_all(np.zeros(16, np.int64), weights, keys, out, 0, 0)
    assert np.array_equal(out, weights[keys])
