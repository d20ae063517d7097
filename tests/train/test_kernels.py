"""The compiled loops against the same algorithms written out in plain Python, in double precision."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparklab.train import batch
from sparklab.train.blocks import Rows
from sparklab.train.optimizers import SGD, AdaGrad, FTRLProximal, Penalty

D = 12


def random_rows(count: int, seed: int, with_values: bool) -> Rows:
    """Rows with a variable number of entries, none in some, distinct indices."""
    draw = np.random.default_rng(seed)
    each = [np.sort(draw.choice(D, draw.integers(0, 7), replace=False)) for _ in range(count)]
    indptr = np.cumsum([0, *map(len, each)]).astype(np.int64)
    indices = np.concatenate(each).astype(np.uint32)
    values = draw.normal(size=len(indices)).astype(np.float32) if with_values else None
    return Rows(indptr, indices, values, draw.integers(0, 2, count).astype(np.float32))


def entries(rows: Rows, row: int) -> list[tuple[int, float]]:
    start, stop = rows.indptr[row], rows.indptr[row + 1]
    values = np.ones(stop - start) if rows.values is None else rows.values[start:stop].astype(np.float64)
    return list(zip(rows.indices[start:stop].tolist(), values.tolist(), strict=True))


def logistic_loss(margin: float, label: float) -> float:
    return math.log1p(math.exp(-abs(margin))) + max(0.0, -margin if label else margin)


def shrink(w: float, step: float, penalty: Penalty) -> float:
    size = abs(w) * math.exp(-step * penalty.l2) - step * penalty.l1
    return math.copysign(max(size, 0.0), w)


def plain_descent(rows: Rows, lr: float, adaptive: bool, penalty: Penalty) -> tuple[npt.NDArray[np.float64], float]:
    """SGD or AdaGrad, every coordinate's proximal step taken at every row: what the lazy kernels must amount to."""
    w = np.zeros(D + 1)
    a = np.full(D + 1, float(AdaGrad.INITIAL))
    loss = 0.0
    for row in range(len(rows)):
        if row:
            for i in range(D):
                w[i] = shrink(w[i], lr / math.sqrt(a[i]) if adaptive else lr, penalty)
        x = [*entries(rows, row), (D, 1.0)]
        margin = sum(w[i] * v for i, v in x)
        loss += logistic_loss(margin, float(rows.labels[row]))
        g = 1 / (1 + math.exp(-margin)) - rows.labels[row]
        for i, v in x:
            a[i] += (g * v) ** 2
            w[i] -= lr * g * v / (math.sqrt(a[i]) if adaptive else 1.0)
    return w, loss


@pytest.mark.parametrize("with_values", [False, True])
@pytest.mark.parametrize("penalty", [Penalty(), Penalty(l1=0.01), Penalty(l2=0.02), Penalty(0.005, 0.01)])
@pytest.mark.parametrize("kind", [AdaGrad, SGD])
def test_descent_does_what_the_algorithm_written_out_does(
    kind: type[AdaGrad] | type[SGD], penalty: Penalty, with_values: bool
) -> None:
    rows = random_rows(300, 1, with_values)
    optimizer = kind(D, True, penalty)
    loss = optimizer.learn(rows, 0.2, 0, 120, 0, 1) + optimizer.learn(rows, 0.2, 120, 300, 120, 1)
    expected, expected_loss = plain_descent(rows, 0.2, kind is AdaGrad, penalty)
    # The steps owed since the last row of all are not in the reference's weights.
    found = optimizer.weights(0.2, 299)
    tolerance = 1e-3 if penalty.l1 and penalty.l2 else 1e-4  # both at once: decay first, then shrink, d rows in one
    assert np.allclose(found, expected, atol=5 * tolerance if penalty else tolerance)
    assert loss == pytest.approx(expected_loss, rel=1e-3)


@pytest.mark.parametrize("with_values", [False, True])
@pytest.mark.parametrize("penalty", [Penalty(), Penalty(l1=0.004), Penalty(0.002, 0.01)])
def test_ftrl_does_what_algorithm_1_of_kdd13_says(penalty: Penalty, with_values: bool) -> None:
    rows, lr = random_rows(300, 2, with_values), 0.3
    optimizer = FTRLProximal(D, True, penalty)
    loss = optimizer.learn(rows, lr, 0, len(rows), 0, 1)
    z, n = np.zeros(D + 1), np.zeros(D + 1)
    l1, l2 = penalty.l1 * len(rows), penalty.l2 * len(rows)

    def weight(i: int) -> float:
        own_l1, own_l2 = (0.0, 0.0) if i == D else (l1, l2)
        if abs(z[i]) <= own_l1:
            return 0.0
        return -(z[i] - math.copysign(own_l1, z[i])) / ((1 + math.sqrt(n[i])) / lr + own_l2)

    expected_loss = 0.0
    for row in range(len(rows)):
        x = [*entries(rows, row), (D, 1.0)]
        w = {i: weight(i) for i, _ in x}
        margin = sum(w[i] * v for i, v in x)
        expected_loss += logistic_loss(margin, float(rows.labels[row]))
        g = 1 / (1 + math.exp(-margin)) - rows.labels[row]
        for i, v in x:
            sigma = (math.sqrt(n[i] + (g * v) ** 2) - math.sqrt(n[i])) / lr
            z[i] += g * v - sigma * w[i]
            n[i] += (g * v) ** 2
    found = optimizer.weights(lr, len(rows))
    assert np.allclose(found, [weight(i) for i in range(D + 1)], atol=2e-4)
    assert loss == pytest.approx(expected_loss, rel=1e-3)


@pytest.mark.parametrize("with_values", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_batch_gradient_is_the_derivative_of_the_loss(with_values: bool, dtype: type) -> None:
    rows = random_rows(50, 3, with_values)
    w = np.random.default_rng(0).normal(size=D + 1).astype(dtype)

    def loss_at(weights: npt.NDArray[np.float64]) -> float:
        total = 0.0
        for row in range(len(rows)):
            margin = sum(weights[i] * v for i, v in [*entries(rows, row), (D, 1.0)])
            total += logistic_loss(margin, float(rows.labels[row]))
        return total

    out = np.zeros(D + 1, dtype)
    loss = batch.gradient(rows.indptr, rows.indices, rows.values, rows.labels, w, True, out, 0, len(rows))
    assert loss == pytest.approx(loss_at(w.astype(np.float64)), rel=1e-5)
    for i in range(D + 1):
        up, down = w.astype(np.float64), w.astype(np.float64)
        up[i] += 1e-5
        down[i] -= 1e-5
        assert out[i] == pytest.approx((loss_at(up) - loss_at(down)) / 2e-5, abs=2e-4)


def test_margins_of_saturated_rows_give_a_finite_loss_and_a_gradient_of_zero_or_one() -> None:
    rows = Rows(np.array([0, 1, 2]), np.array([0, 0], np.uint32), None, np.array([1, 0], np.float32))
    for size in (20.0, 500.0, 1e30):
        out = np.zeros(2)
        loss = batch.gradient(
            rows.indptr, rows.indices, rows.values, rows.labels, np.array([size, 0.0]), False, out, 0, 2
        )
        assert loss == pytest.approx(size)
        assert out[0] == pytest.approx(1.0)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 499), max_size=60), min_size=1, max_size=6))
def test_localising_gives_what_unique_gives(batches: list[list[int]]) -> None:
    localiser = batch.Localiser(500)
    for indices in batches:
        given_indices = np.array(indices, np.uint32)
        keys, local = localiser.localise(given_indices)
        expected, inverse = np.unique(given_indices, return_inverse=True)
        assert keys.dtype == np.uint64
        assert np.array_equal(keys, expected)
        assert np.array_equal(local, inverse)
