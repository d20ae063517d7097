"""The update functions of the servers against their formulas, written out weight by weight."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numba
import numpy as np
import pytest

from sparklab import ps

Step = Callable[[list[float], float], list[float]]  # what one weight and its states become by one gradient


def sgd(state: list[float], g: float) -> list[float]:
    (w,) = state
    return [w - 0.3 * (g + 0.1 * w)]


def adagrad(state: list[float], g: float) -> list[float]:
    w, n = state
    g += 0.1 * w
    n += g * g
    return [w - 0.3 * g / (math.sqrt(n) + 1e-8), n]


def ftrl(state: list[float], g: float) -> list[float]:
    """McMahan et al. 2013, algorithm 1: from z and n of all gradients so far."""
    w, z, n = state
    sigma = (math.sqrt(n + g * g) - math.sqrt(n)) / 0.3
    z, n = z + g - sigma * w, n + g * g
    w = 0.0 if abs(z) <= 0.5 else -(z - math.copysign(0.5, z)) / ((1.0 + math.sqrt(n)) / 0.3 + 0.1)
    return [w, z, n]


def proximal(state: list[float], g: float) -> list[float]:
    """The minimum over x of ``(x - v)^2 / (2 lr) + l1 |x| + l2 x^2 / 2`` with ``v = w - lr g``."""
    (w,) = state
    v = w - 0.3 * g
    return [math.copysign(max(abs(v) - 0.3 * 0.5, 0.0), v) / (1 + 0.3 * 0.1)]


def adam(state: list[float], g: float) -> list[float]:
    w, m, v, t = state
    t, m, v = t + 1, 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
    return [w - 0.3 * (m / (1 - 0.9**t)) / (math.sqrt(v / (1 - 0.999**t)) + 1e-8), m, v, t]


@ps.udf(states=1, lr=0.3)
@numba.njit
def compiled(weights: Any, gradients: Any, seen: Any, lr: float) -> Any:
    return weights - lr * gradients / (1.0 + seen), seen + 1.0


def shrinking(state: list[float], g: float) -> list[float]:
    w, seen = state
    return [w - 0.3 * g / (1 + seen), seen + 1]


RULES: list[tuple[Any, Step]] = [
    (ps.SGD(lr=0.3, l2=0.1), sgd),
    (ps.AdaGrad(lr=0.3, l2=0.1), adagrad),
    (ps.FTRLProximal(alpha=0.3, beta=1.0, l1=0.5, l2=0.1), ftrl),
    (ps.ProximalGradient(l1=0.5, lr=0.3, l2=0.1), proximal),
    (ps.Adam(lr=0.3), adam),
    (compiled, shrinking),
]


@pytest.fixture(scope="module")
def group() -> Iterator[ps.LocalGroup]:
    with ps.LocalGroup(num_servers=2, replicas=1) as made:
        yield made


@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize(("update", "step"), RULES, ids=lambda each: getattr(each, "__name__", ""))
def test_an_update_does_what_its_formula_says_and_leaves_other_keys_alone(
    group: ps.LocalGroup, update: Any, step: Step, width: int
) -> None:
    rng = np.random.default_rng(5)
    table = group.table(f"{step.__name__} {width}", num_keys=20, width=width, dtype="float64", update=update)
    expected = np.zeros((20, width, 1 + update.state_count))
    for _ in range(12):
        keys = np.flatnonzero(rng.random(20) < 0.5)
        gradients = rng.normal(size=(len(keys), width))
        table.put(keys, gradients if width > 1 else gradients[:, 0])
        for key, row in zip(keys, gradients, strict=True):
            for j, gradient in enumerate(row):
                expected[key, j] = step(expected[key, j].tolist(), gradient)
    weights = table.weights().reshape(20, width)
    np.testing.assert_allclose(weights, expected[:, :, 0], rtol=1e-12)
    assert np.count_nonzero(weights) > 10
    table.drop()
