"""The inner loops of online learning over CSR rows: SGD, AdaGrad and FTRL-proximal for logistic loss.

All release the GIL and take one example at a time, in order. A kernel gathers the state of a row's coordinates, four
at a time (:mod:`sparklab.train.quads`), keeps it in a small buffer while the margin is not known, and scatters what has
become of it. Entries of later rows have their state prefetched: the state of 2**20 features is far larger than a core's
cache, and a click touches some thirty places of it.

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
    The entries of rows before it may have their state prefetched.

Each returns the summed logistic loss of the rows, each seen before it was learnt from.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numba
import numpy as np

from sparklab.ps.prefetching import prefetch
from sparklab.train.quads import (
    LANES,
    held,
    hold,
    largest,
    numbers_at,
    pairs_at,
    put_numbers,
    put_pairs,
    quad_of,
    roots,
    signed,
    sizes,
    some_of,
    total,
)

AHEAD: Final = 160  # entries, seven rows of clicks; from 100 to 400 it makes no difference
SMALLEST: Final = np.float32(80.0)  # e**-80 is still a normal float32
# Helpers take numbers alone: an array handed to an inlined function is reference-counted, atomically, at every row.
_ZERO: Final = np.float32(0.0)
_ONE: Final = np.float32(1.0)
# The intercept is in every row: a kernel keeps its own for so many rows, then adds what it changed to that of all. A
# core so waits neither for its own last store nor, with several threads, for the line that they all write.
SHARED_EVERY: Final = 64
_HALF: Final = np.float32(0.5)
_LOG2_E: Final = np.float32(math.log2(math.e))
# 2**f for -1/2 <= f <= 1/2, by Taylor: off by 1e-7 at most.
_C1, _C2, _C3, _C4, _C5, _C6 = (np.float32(math.log(2) ** n / math.factorial(n)) for n in range(1, 7))
_EXPONENT_AT: Final = np.int32(23)
_EXPONENT_OF_1: Final = np.int32(127)
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
def falling(size: Any) -> Any:
    """``e**-size`` in float32, size >= 0: a call of the library's would cost a row all that its registers hold."""
    power = -min(size, SMALLEST) * _LOG2_E
    whole = np.int32(power - _HALF)
    f = power - np.float32(whole)
    f2 = f * f
    part = (_ONE + _C1 * f) + f2 * ((_C2 + _C3 * f) + f2 * ((_C4 + _C5 * f) + f2 * _C6))
    return part * np.int32((whole + _EXPONENT_OF_1) << _EXPONENT_AT).view(np.float32)


@inlined
def residual(margin: Any, label: Any) -> Any:
    """``(sigmoid(margin) - label, e**-|margin|)``."""
    small = falling(abs(margin))
    # One division after a choice: two behind a branch would be guessed wrong every third row.
    return (_ONE if margin >= _ZERO else small) / (_ONE + small) - label, small


@inlined
def with_loss(loss: Any, product: Any, in_product: Any, margin: Any, label: Any, small: Any) -> Any:
    """`loss` with that of a row; of ``log(1 + small)`` several wait as one `product`, for a log is dear."""
    loss += max(-margin, _ZERO) if label > _ZERO else max(margin, _ZERO)
    product *= 1.0 + small
    in_product += 1
    if in_product == _LOSSES_A_LOG:
        loss += math.log(product)
        product, in_product = 1.0, 0
    return loss, product, in_product


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
    near = np.empty(2 * (widest(indptr, first, last) + LANES), np.float32)
    spare = np.zeros((2, 2), np.float32)
    until = np.int64(indptr[reach]) - LANES
    loss: Any = 0.0
    product, in_product = 1.0, 0
    rate32 = np.float32(rate)
    at = state.shape[0] - 1
    for block in range(first, last, SHARED_EVERY):
        began_w = own_w = state[at, 0] if bias else _ZERO
        began_a = own_a = state[at, 1]
        for row in range(block, min(block + SHARED_EVERY, last)):
            start = np.int64(indptr[row])
            count = np.int64(indptr[row + 1]) - start
            if touched is not None:
                for k in range(np.uint64(start), np.uint64(start + count)):
                    i = indices[k]
                    if now > touched[i]:  # else another thread, which is ahead, has been here
                        length = np.float32(now - touched[i]) * rate32 / np.float32(math.sqrt(state[i, 1]))
                        state[i, 0] = shrunk(state[i, 0], length, l1, l2)
                        touched[i] = now
            margins = quad_of(_ZERO)
            for k in range(0, count, LANES):
                if start + k + AHEAD <= until:
                    for entry in range(np.uint64(start + k + AHEAD), np.uint64(start + k + AHEAD + LANES)):
                        prefetch(state, 2 * np.int64(indices[entry]))
                w, a = pairs_at(state, indices, start + k, count - k, spare)
                hold(near, 2 * k, w)
                hold(near, 2 * k + LANES, a)
                margins = margins + (w if values is None else w * some_of(values, start + k, count - k))
            margin = own_w + total(margins)
            g, small = residual(margin, labels[row])
            loss, product, in_product = with_loss(loss, product, in_product, margin, labels[row], small)
            step = rate32 * g
            for k in range(0, count, LANES):
                w, a = held(near, 2 * k), held(near, 2 * k + LANES)
                if values is None:
                    a = a + g * g
                    w = w - step / roots(a)
                else:
                    x = some_of(values, start + k, count - k)
                    a = a + (g * x) * (g * x)
                    w = w - step * x / roots(a)
                put_pairs(state, indices, start + k, count - k, spare, w, a)
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
    near = np.empty(widest(indptr, first, last) + LANES, np.float32)
    spare = np.zeros(2, np.float32)
    until = np.int64(indptr[last]) - LANES
    loss: Any = 0.0
    product, in_product = 1.0, 0
    rate32 = np.float32(rate)
    at = state.shape[0] - 1
    for block in range(first, last, SHARED_EVERY):
        began = own = state[at] if bias else _ZERO
        for row in range(block, min(block + SHARED_EVERY, last)):
            start = np.int64(indptr[row])
            count = np.int64(indptr[row + 1]) - start
            if touched is not None:
                for k in range(np.uint64(start), np.uint64(start + count)):
                    i = indices[k]
                    if now > touched[i]:
                        state[i] = shrunk(state[i], np.float32(now - touched[i]) * rate32, l1, l2)
                        touched[i] = now
            margins = quad_of(_ZERO)
            for k in range(0, count, LANES):
                if start + k + AHEAD <= until:
                    for entry in range(np.uint64(start + k + AHEAD), np.uint64(start + k + AHEAD + LANES)):
                        prefetch(state, np.int64(indices[entry]))
                w = numbers_at(state, indices, start + k, count - k, spare)
                hold(near, k, w)
                margins = margins + (w if values is None else w * some_of(values, start + k, count - k))
            margin = own + total(margins)
            g, small = residual(margin, labels[row])
            loss, product, in_product = with_loss(loss, product, in_product, margin, labels[row], small)
            step = rate32 * g
            for k in range(0, count, LANES):
                x = quad_of(_ONE) if values is None else some_of(values, start + k, count - k)
                put_numbers(state, indices, start + k, count - k, spare, held(near, k) - step * x)
            if bias:
                own -= step
            if touched is not None:
                now += stride
        if bias:
            state[at] += own - began
    return loss + math.log(product)


@fast
def ftrl(
    indptr: Any, indices: Any, values: Any, labels: Any, state: Any, bias: Any, rate: Any, beta: Any,
    l1: Any, l2: Any, first: Any, last: Any, reach: Any,
) -> Any:  # fmt: skip
    """FTRL-proximal; state is (z, n): weights exist only while they are used. `l1`, `l2`: of the summed losses.

    Source: McMahan et al., "Ad Click Prediction: a View from the Trenches", KDD'13, algorithm 1.
    """
    near = np.empty(4 * (widest(indptr, first, last) + LANES), np.float32)
    spare = np.zeros((2, 2), np.float32)
    until = np.int64(indptr[reach]) - LANES
    loss: Any = 0.0
    product, in_product = 1.0, 0
    inverse = np.float32(1.0 / rate)
    beta32, l1_32, l2_32, none = np.float32(beta), np.float32(l1), np.float32(l2), quad_of(_ZERO)
    at = state.shape[0] - 1
    for block in range(first, last, SHARED_EVERY):
        began_z = own_z = state[at, 0]
        began_n = own_n = state[at, 1]
        for row in range(block, min(block + SHARED_EVERY, last)):
            start = np.int64(indptr[row])
            count = np.int64(indptr[row + 1]) - start
            margins = quad_of(_ZERO)
            for k in range(0, count, LANES):
                if start + k + AHEAD <= until:
                    for entry in range(np.uint64(start + k + AHEAD), np.uint64(start + k + AHEAD + LANES)):
                        prefetch(state, 2 * np.int64(indices[entry]))
                z, n = pairs_at(state, indices, start + k, count - k, spare)
                root = roots(n)
                w = signed(largest(sizes(z) - l1_32, none) / ((beta32 + root) * inverse + l2_32), none - z)
                hold(near, 4 * k, z)
                hold(near, 4 * k + LANES, n)
                hold(near, 4 * k + 2 * LANES, root)
                hold(near, 4 * k + 3 * LANES, w)
                margins = margins + (w if values is None else w * some_of(values, start + k, count - k))
            own_root = np.float32(math.sqrt(own_n))
            w0 = -own_z / ((beta32 + own_root) * inverse) if bias else _ZERO
            margin = w0 + total(margins)
            g, small = residual(margin, labels[row])
            loss, product, in_product = with_loss(loss, product, in_product, margin, labels[row], small)
            for k in range(0, count, LANES):
                z, n, root = held(near, 4 * k), held(near, 4 * k + LANES), held(near, 4 * k + 2 * LANES)
                w = held(near, 4 * k + 3 * LANES)
                gx = quad_of(g) if values is None else g * some_of(values, start + k, count - k)
                n = n + gx * gx
                z = z + (gx - (roots(n) - root) * inverse * w)
                put_pairs(state, indices, start + k, count - k, spare, z, n)
            if bias:
                n = own_n + g * g
                own_z += g - (np.float32(math.sqrt(n)) - own_root) * inverse * w0
                own_n = n
        if bias:
            state[at, 0] += own_z - began_z
            state[at, 1] += own_n - began_n
    return loss + math.log(product)
