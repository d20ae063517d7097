"""The generator's arithmetic: counters in, random numbers out; row i is a function of (seed, i) alone."""

from __future__ import annotations

import math
from typing import Any, Final

import numba
import numpy as np

FIELDS: Final = 26
LARGEST_FIELD: Final = 3_000_000

_WEIGHT_STREAM: Final = np.uint64(0x9E6C63D0876A9A47)
_LABEL_STREAM: Final = np.uint64(0xC3A5C85C97CB3127)
_HASH_STREAM: Final = np.uint64(0xB492B66FBE98F273)
_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_M1: Final = np.uint64(0xBF58476D1CE4E5B9)
_M2: Final = np.uint64(0x94D049BB133111EB)
_S11: Final = np.uint64(11)
_S27: Final = np.uint64(27)
_S30: Final = np.uint64(30)
_S31: Final = np.uint64(31)
_TO_UNIT: Final = 1.0 / (1 << 53)


@numba.njit(inline="always", cache=True)
def _mixed(x: Any) -> Any:
    """SplitMix64's finalizer: a bijection of 64 bits. Source: Steele, Lea, Flood, OOPSLA'14, figure 16."""
    x = (x ^ (x >> _S30)) * _M1
    x = (x ^ (x >> _S27)) * _M2
    return x ^ (x >> _S31)


@numba.njit(inline="always", cache=True)
def _unit(bits: Any) -> Any:
    """A double of [0, 1) from 64 random bits."""
    return np.float64(bits >> _S11) * _TO_UNIT


@numba.njit(cache=True)
def _planted(key: Any, seed: Any, density: Any, scale: Any) -> Any:
    """The true weight of hashed index `key`: normal with deviation `scale` for a share `density` of keys, else 0."""
    state = _mixed((key + np.uint64(1)) * _GOLDEN ^ seed ^ _WEIGHT_STREAM)
    if _unit(state) >= density:
        return 0.0
    first = _unit(_mixed(state + _GOLDEN))
    second = _unit(_mixed(state + _GOLDEN + _GOLDEN))
    return scale * math.sqrt(-2.0 * math.log(1.0 - first)) * math.cos(2.0 * math.pi * second)


@numba.njit(cache=True)
def _zipf(state: Any, size: Any, exponent: Any) -> Any:
    """A rank of 1..`size` with P(k) ~ k**-exponent, drawn from the counter `state`; `exponent` is not 1.

    Source: Hoermann, Derflinger, "Rejection-inversion to generate variates from monotone discrete distributions",
    ACM TOMACS 6(3), 1996, section 3.
    """
    power = 1.0 - exponent
    top = (math.pow(size + 0.5, power) - 1.0) / power
    low = (math.pow(1.5, power) - 1.0) / power - 1.0
    second = (math.pow(2.5, power) - 1.0) / power - math.pow(2.0, -exponent)
    squeeze = 2.0 - math.pow(1.0 + power * second, 1.0 / power)
    while True:
        u = top + _unit(_mixed(state)) * (low - top)
        state += _GOLDEN
        x = math.pow(1.0 + u * power, 1.0 / power)
        k = math.floor(x + 0.5)
        k = min(max(k, 1.0), size)
        if k - x <= squeeze or u >= (math.pow(k + 0.5, power) - 1.0) / power - math.pow(k, -exponent):
            return np.uint64(k)


@numba.njit(nogil=True, cache=True)
def fill(
    start: Any, seed: Any, mask: Any, sizes: Any, absent: Any, exponent: Any, density: Any, scale: Any, bias: Any,
    indptr: Any, indices: Any, labels: Any, probabilities: Any,
) -> Any:  # fmt: skip
    """Write the rows from number `start` on: as many as `labels` is long.

    Parameters
    ----------
    start, seed, mask : uint64
        `mask` is D - 1, D a power of two.
    sizes : float64[26]
        Cardinality of each field.
    absent : float
        The probability that a row lacks a field.
    exponent, density, scale, bias : float
        Of Zipf's law; share and deviation of the planted weights; the planted intercept.
    indptr : int64[n + 1], indices : uint32[26 n], labels : float32[n], probabilities : float64[n]
        Written. Indices of a row ascend and are distinct: a value whose hash meets another's of the row counts once.

    Returns
    -------
    int
        Entries written to `indices`.
    """
    row = np.empty(sizes.shape[0], np.uint64)
    written = 0
    indptr[0] = 0
    for i in range(labels.shape[0]):
        row_state = _mixed((start + np.uint64(i) + np.uint64(1)) * _GOLDEN ^ seed)
        count = 0
        for field in range(sizes.shape[0]):
            state = _mixed(row_state + np.uint64(field + 1) * _M1)
            if absent > 0.0 and _unit(state) < absent:
                continue
            rank = _zipf(state ^ _M2, sizes[field], exponent)
            key = _mixed((np.uint64(field) << np.uint64(40) | rank) * _GOLDEN ^ _HASH_STREAM) & mask
            at = count
            while at > 0 and row[at - 1] > key:
                at -= 1
            if at > 0 and row[at - 1] == key:
                continue
            for moved in range(count, at, -1):
                row[moved] = row[moved - 1]
            row[at] = key
            count += 1
        margin = bias
        for k in range(count):
            margin += _planted(row[k], seed, density, scale)
            indices[written + k] = row[k]
        written += count
        indptr[i + 1] = written
        probability = 1.0 / (1.0 + math.exp(-margin))
        probabilities[i] = probability
        labels[i] = 1.0 if _unit(_mixed(row_state ^ _LABEL_STREAM)) < probability else 0.0
    return written


@numba.njit(nogil=True, cache=True)
def weights_of(keys: Any, seed: Any, density: Any, scale: Any) -> Any:
    """The planted weights of `keys` (uint64), float64."""
    out = np.empty(keys.shape[0], np.float64)
    for k in range(keys.shape[0]):
        out[k] = _planted(keys[k], seed, density, scale)
    return out
