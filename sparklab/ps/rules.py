"""The compiled loops of the update functions; formulas and sources stand in :mod:`sparklab.ps.updates`.

Those that most tables use are compiled apart for a width of 1, and sums for 2 (a weight and its state): the loop over
so few values costs more than its body.
"""

from __future__ import annotations

import math
from typing import Any

from sparklab.ps.kernels import AHEAD, compiled
from sparklab.ps.prefetching import prefetch


@compiled
def _add(w: Any, rows: Any, g: Any, width: int) -> None:
    for i in range(len(rows)):
        if i + AHEAD < len(rows):
            prefetch(w, rows[i + AHEAD] * width)
        for j in range(width):
            w[rows[i], j] += g[i, j]


@compiled
def add(w: Any, rows: Any, g: Any) -> None:
    if w.shape[1] == 1:
        _add(w, rows, g, 1)
    elif w.shape[1] == 2:
        _add(w, rows, g, 2)
    else:
        _add(w, rows, g, w.shape[1])


@compiled
def assign(w: Any, rows: Any, g: Any) -> None:
    for i in range(len(rows)):
        for j in range(w.shape[1]):
            w[rows[i], j] = g[i, j]


@compiled
def _sgd(w: Any, rows: Any, g: Any, lr: float, l2: float, width: int) -> None:
    for i in range(len(rows)):
        row = rows[i]
        for j in range(width):
            w[row, j] -= lr * (g[i, j] + l2 * w[row, j])


@compiled
def sgd(w: Any, rows: Any, g: Any, lr: float, l2: float) -> None:
    if w.shape[1] == 1:
        _sgd(w, rows, g, lr, l2, 1)
    else:
        _sgd(w, rows, g, lr, l2, w.shape[1])


@compiled
def _adagrad(w: Any, n: Any, rows: Any, g: Any, lr: float, eps: float, l2: float, width: int) -> None:
    for i in range(len(rows)):
        row = rows[i]
        for j in range(width):
            slope = g[i, j] + l2 * w[row, j]
            n[row, j] += slope * slope
            w[row, j] -= lr * slope / (math.sqrt(n[row, j]) + eps)


@compiled
def adagrad(w: Any, n: Any, rows: Any, g: Any, lr: float, eps: float, l2: float) -> None:
    if w.shape[1] == 1:
        _adagrad(w, n, rows, g, lr, eps, l2, 1)
    else:
        _adagrad(w, n, rows, g, lr, eps, l2, w.shape[1])


@compiled
def ftrl(w: Any, z: Any, n: Any, rows: Any, g: Any, alpha: float, beta: float, l1: float, l2: float) -> None:
    for i in range(len(rows)):
        row = rows[i]
        for j in range(w.shape[1]):
            slope = g[i, j]
            more = n[row, j] + slope * slope
            z[row, j] += slope - (math.sqrt(more) - math.sqrt(n[row, j])) / alpha * w[row, j]
            n[row, j] = more
            lead = z[row, j]
            if abs(lead) <= l1:
                w[row, j] = 0.0
            else:
                pull = l1 if lead > 0 else -l1
                w[row, j] = -(lead - pull) / ((beta + math.sqrt(more)) / alpha + l2)


@compiled
def proximal(w: Any, rows: Any, g: Any, lr: float, l1: float, l2: float) -> None:
    threshold = lr * l1
    for i in range(len(rows)):
        row = rows[i]
        for j in range(w.shape[1]):
            step = w[row, j] - lr * g[i, j]
            if step > threshold:
                w[row, j] = (step - threshold) / (1.0 + lr * l2)
            elif step < -threshold:
                w[row, j] = (step + threshold) / (1.0 + lr * l2)
            else:
                w[row, j] = 0.0


@compiled
def adam(w: Any, m: Any, v: Any, t: Any, rows: Any, g: Any, lr: float, beta1: float, beta2: float, eps: float) -> None:
    for i in range(len(rows)):
        row = rows[i]
        for j in range(w.shape[1]):
            slope = g[i, j]
            t[row, j] += 1.0
            m[row, j] = beta1 * m[row, j] + (1.0 - beta1) * slope
            v[row, j] = beta2 * v[row, j] + (1.0 - beta2) * slope * slope
            first = m[row, j] / (1.0 - beta1 ** t[row, j])
            second = v[row, j] / (1.0 - beta2 ** t[row, j])
            w[row, j] -= lr * first / (math.sqrt(second) + eps)
