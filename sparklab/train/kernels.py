"""The inner loops of online learning over CSR rows: SGD, AdaGrad and FTRL-proximal for logistic loss.

All release the GIL and take one example at a time, in order. A kernel gathers the state of a row's coordinates into a
small buffer (where the arithmetic becomes vector instructions), computes there, and scatters back. Rows a few ahead
have their state prefetched, which is what makes these loops fast: the state of 2**20 features is far larger than a
core's cache, and a click touches some thirty places of it.

Common parameters
-----------------
indptr : int64[n + 1], indices : uint32[nnz], values : float32[nnz] or None, labels : float32[n] of 0 and 1
    Rows in CSR. ``values=None`` means all ones. Unsigned indices spare the check for negative ones. The indices of a
    row must be distinct, or the last of them wins.
state : float32[D + 1, 2]
    Per coordinate what the algorithm keeps, side by side, so that a touch is one cache line. Row D is the intercept.
bias : bool
    Whether there is an intercept: a feature that is always 1 and is not regularised.
first, last : int
    The rows to take: first, ..., last - 1.
reach : int
    The rows before it may have their state prefetched.

Each returns the summed logistic loss of the rows, each seen before it was learnt from.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numba
import numpy as np

from sparklab.train.atomics import prefetch

AHEAD: Final = 6  # rows; more than two make no difference, as long as the lines stay in the first two caches
SATURATED: Final = np.float32(16.0)  # sigmoid(16) is 1 in float32
# Helpers take numbers alone: an array handed to an inlined function is reference-counted, atomically, at every row.
_ZERO: Final = np.float32(0.0)
_ONE: Final = np.float32(1.0)
# The intercept is in every row: a kernel keeps its own for so many rows, then adds what it changed to that of all. A
# core so waits neither for its own last store nor, with several threads, for the line that they all write.
SHARED_EVERY: Final = 64
_LOSSES_A_LOG: Final = 32  # the product of so many (1 + e**-|m|) is below 2**32

# Sums may be reordered and divisions approximated; NaN and infinity keep their meaning where a run diverges.
_MATHS: Final = {"nsz", "arcp", "contract", "afn", "reassoc"}
fast = numba.njit(nogil=True, fastmath=_MATHS, error_model="numpy", cache=True)
inlined = numba.njit(inline="always", fastmath=_MATHS, error_model="numpy", cache=True)


@fast
def widest(indptr: Any, first: Any, last: Any) -> Any:
    """Entries of the longest row."""
    most = 0
    for row in range(first, last):
        most = max(most, indptr[row + 1] - indptr[row])
    return most


@inlined
def residual(margin: Any, label: Any) -> Any:
    """``(sigmoid(margin) - label, e**-|margin|)``; the exponential is spared where it would not show."""
    size = abs(margin)
    small = np.float32(math.exp(-size)) if size < SATURATED else _ZERO
    # One division after a choice: two behind a branch would be guessed wrong every third row.
    return (_ONE if margin >= _ZERO else small) / (_ONE + small) - label, small


@fast
def adagrad(
    indptr: Any, indices: Any, values: Any, labels: Any, state: Any, bias: Any, rate: Any,
    touched: Any, l1: Any, l2: Any, now: Any, stride: Any, first: Any, last: Any, reach: Any,
) -> Any:  # fmt: skip
    """AdaGrad's diagonal update; state is (weight, sum of squared gradients).

    `touched` (uint32[D + 1], or None where nothing is regularised) holds the row number at which a coordinate was last
    brought up to date: while a coordinate is untouched its step is constant, so what the proximal steps of all the
    rows between would have done to it is done in one. `now` is the number of row `first`, `stride` how far one row
    moves it on.

    Source: Duchi, Hazan, Singer, "Adaptive Subgradient Methods", JMLR 12, 2011, section 1.1 and (for l1) 5.1.
    """
    room = widest(indptr, first, last) + 1
    weight = np.empty(room, np.float32)
    square = np.empty(room, np.float32)
    loss: Any = 0.0
    product, in_product = 1.0, 0
    rate32 = np.float32(rate)
    at = state.shape[0] - 1
    for block in range(first, last, SHARED_EVERY):
        began_w = own_w = state[at, 0] if bias else _ZERO
        began_a = own_a = state[at, 1]
        for row in range(block, min(block + SHARED_EVERY, last)):
            start = np.uint64(indptr[row])
            count = np.uint64(indptr[row + 1]) - start
            if row + AHEAD < reach:
                for k in range(np.uint64(indptr[row + AHEAD]), np.uint64(indptr[row + AHEAD + 1])):
                    prefetch(state, 2 * np.int64(indices[k]))
            margin = own_w
            for k in range(count):
                i = indices[start + k]
                w = state[i, 0]
                a = state[i, 1]
                if touched is not None and now > touched[i]:  # else another thread, which is ahead, has been here
                    w = shrunk(w, np.float32(now - touched[i]) * rate32 / np.float32(math.sqrt(a)), l1, l2)
                    touched[i] = now
                weight[k] = w
                square[k] = a
                margin += w if values is None else w * values[start + k]
            g, small = residual(margin, labels[row])
            loss += max(-margin, _ZERO) if labels[row] > _ZERO else max(margin, _ZERO)
            product *= 1.0 + small
            in_product += 1
            if in_product == _LOSSES_A_LOG:
                loss += math.log(product)
                product, in_product = 1.0, 0
            step = rate32 * g
            if values is None:
                g2 = g * g
                for k in range(count):
                    a = square[k] + g2
                    square[k] = a
                    weight[k] -= step / np.float32(math.sqrt(a))
            else:
                for k in range(count):
                    x = values[start + k]
                    a = square[k] + g * g * x * x
                    square[k] = a
                    weight[k] -= step * x / np.float32(math.sqrt(a))
            for k in range(count):
                i = indices[start + k]
                state[i, 0] = weight[k]
                state[i, 1] = square[k]
            if bias:
                own_a += g * g
                own_w -= step / np.float32(math.sqrt(own_a))
            if touched is not None:
                now += stride
        if bias:
            state[at, 0] += own_w - began_w
            state[at, 1] += own_a - began_a
    return loss + math.log(product)


@inlined
def shrunk(weight: Any, step: Any, l1: Any, l2: Any) -> Any:
    """`weight` after a proximal step of length `step` for ``l1 |w| + l2/2 w**2``."""
    kept = _ONE if l2 == _ZERO else np.float32(math.exp(-step * l2))
    size = abs(weight) * kept - step * l1
    if size <= _ZERO:
        return _ZERO
    return size if weight > _ZERO else -size


@fast
def sgd(
    indptr: Any, indices: Any, values: Any, labels: Any, state: Any, bias: Any, rate: Any,
    touched: Any, l1: Any, l2: Any, now: Any, stride: Any, first: Any, last: Any,
) -> Any:  # fmt: skip
    """Stochastic gradient descent; state is the weights alone, float32[D + 1]. `touched` as in :func:`adagrad`."""
    loss: Any = 0.0
    product, in_product = 1.0, 0
    rate32 = np.float32(rate)
    at = state.shape[0] - 1
    for block in range(first, last, SHARED_EVERY):
        began = own = state[at] if bias else _ZERO
        for row in range(block, min(block + SHARED_EVERY, last)):
            start = np.uint64(indptr[row])
            count = np.uint64(indptr[row + 1]) - start
            if row + AHEAD < last:
                for k in range(np.uint64(indptr[row + AHEAD]), np.uint64(indptr[row + AHEAD + 1])):
                    prefetch(state, np.int64(indices[k]))
            margin = own
            for k in range(count):
                i = indices[start + k]
                if touched is not None and now > touched[i]:
                    state[i] = shrunk(state[i], np.float32(now - touched[i]) * rate32, l1, l2)
                    touched[i] = now
                margin += state[i] if values is None else state[i] * values[start + k]
            g, small = residual(margin, labels[row])
            loss += max(-margin, _ZERO) if labels[row] > _ZERO else max(margin, _ZERO)
            product *= 1.0 + small
            in_product += 1
            if in_product == _LOSSES_A_LOG:
                loss += math.log(product)
                product, in_product = 1.0, 0
            step = rate32 * g
            for k in range(count):
                state[indices[start + k]] -= step if values is None else step * values[start + k]
            if bias:
                own -= step
            if touched is not None:
                now += stride
        if bias:
            state[at] += own - began
    return loss + math.log(product)


@inlined
def ftrl_weight(z: Any, root: Any, inverse_rate: Any, beta: Any, l1: Any, l2: Any) -> Any:
    """The weight that z and the root of n stand for."""
    size = abs(z) - l1
    w = size / ((beta + root) * inverse_rate + l2)
    w = w if size > _ZERO else _ZERO
    return -w if z > _ZERO else w


@fast
def ftrl(
    indptr: Any, indices: Any, values: Any, labels: Any, state: Any, bias: Any, rate: Any, beta: Any,
    l1: Any, l2: Any, first: Any, last: Any, reach: Any,
) -> Any:  # fmt: skip
    """FTRL-proximal; state is (z, n): weights exist only while they are used. `l1`, `l2`: of the summed losses.

    Source: McMahan et al., "Ad Click Prediction: a View from the Trenches", KDD'13, algorithm 1.
    """
    room = widest(indptr, first, last) + 1
    zs = np.empty(room, np.float32)
    ns = np.empty(room, np.float32)
    roots = np.empty(room, np.float32)
    weights = np.empty(room, np.float32)
    loss: Any = 0.0
    product, in_product = 1.0, 0
    inverse = np.float32(1.0 / rate)
    beta32, l1_32, l2_32 = np.float32(beta), np.float32(l1), np.float32(l2)
    at = state.shape[0] - 1
    for block in range(first, last, SHARED_EVERY):
        began_z = own_z = state[at, 0]
        began_n = own_n = state[at, 1]
        for row in range(block, min(block + SHARED_EVERY, last)):
            start = np.uint64(indptr[row])
            count = np.uint64(indptr[row + 1]) - start
            if row + AHEAD < reach:
                for k in range(np.uint64(indptr[row + AHEAD]), np.uint64(indptr[row + AHEAD + 1])):
                    prefetch(state, 2 * np.int64(indices[k]))
            for k in range(count):
                i = indices[start + k]
                zs[k] = state[i, 0]
                ns[k] = state[i, 1]
            margin = _ZERO
            for k in range(count):
                root = np.float32(math.sqrt(ns[k]))
                w = ftrl_weight(zs[k], root, inverse, beta32, l1_32, l2_32)
                roots[k] = root
                weights[k] = w
                margin += w if values is None else w * values[start + k]
            own_root = np.float32(math.sqrt(own_n))
            w0 = ftrl_weight(own_z, own_root, inverse, beta32, _ZERO, _ZERO) if bias else _ZERO
            margin += w0
            g, small = residual(margin, labels[row])
            loss += max(-margin, _ZERO) if labels[row] > _ZERO else max(margin, _ZERO)
            product *= 1.0 + small
            in_product += 1
            if in_product == _LOSSES_A_LOG:
                loss += math.log(product)
                product, in_product = 1.0, 0
            if values is None:
                g2 = g * g
                for k in range(count):
                    n = ns[k] + g2
                    sigma = (np.float32(math.sqrt(n)) - roots[k]) * inverse
                    zs[k] += g - sigma * weights[k]
                    ns[k] = n
            else:
                for k in range(count):
                    gx = g * values[start + k]
                    n = ns[k] + gx * gx
                    sigma = (np.float32(math.sqrt(n)) - roots[k]) * inverse
                    zs[k] += gx - sigma * weights[k]
                    ns[k] = n
            for k in range(count):
                i = indices[start + k]
                state[i, 0] = zs[k]
                state[i, 1] = ns[k]
            if bias:
                n = own_n + g * g
                own_z += g - (np.float32(math.sqrt(n)) - own_root) * inverse * w0
                own_n = n
        if bias:
            state[at, 0] += own_z - began_z
            state[at, 1] += own_n - began_n
    return loss + math.log(product)
