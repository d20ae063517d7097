"""Spark's XORShiftRandom, which decides where ``repartition`` starts dealing out the records of a partition.

Source: Marsaglia, "Xorshift RNGs", Journal of Statistical Software 8(14), 2003; the seed goes through MurmurHash3.
"""

from __future__ import annotations

_MASK_32 = (1 << 32) - 1
_MASK_64 = (1 << 64) - 1


def first_int(seed: int, bound: int) -> int:
    """The first number in ``range(bound)`` that Spark's generator draws from `seed`.

    Examples
    --------
    >>> [first_int(partition, 16) for partition in range(4)]
    [3, 3, 15, 11]
    """
    state = _seeded(seed)
    while True:
        state ^= (state << 21) & _MASK_64
        state ^= state >> 35
        state ^= (state << 4) & _MASK_64
        bits = state & 0x7FFFFFFF
        if bound & (bound - 1) == 0:
            return (bound * bits) >> 31
        value = bits % bound
        # Draw again where the last, incomplete run of `bound` numbers was hit, so that none is favoured.
        if bits - value + (bound - 1) < 1 << 31:
            return value


def _seeded(seed: int) -> int:
    data = (seed & _MASK_64).to_bytes(8, "big")
    low = _murmur3(data, 0x3C074A61)
    return (_murmur3(data, low) << 32) | low


def _murmur3(data: bytes, seed: int) -> int:
    h = seed
    for i in range(0, len(data), 4):
        k = int.from_bytes(data[i : i + 4], "little") * 0xCC9E2D51 & _MASK_32
        h ^= _rotated(k, 15) * 0x1B873593 & _MASK_32
        h = (_rotated(h, 13) * 5 + 0xE6546B64) & _MASK_32
    h ^= len(data)
    h = (h ^ h >> 16) * 0x85EBCA6B & _MASK_32
    h = (h ^ h >> 13) * 0xC2B2AE35 & _MASK_32
    return h ^ h >> 16


def _rotated(x: int, bits: int) -> int:
    return (x << bits | x >> (32 - bits)) & _MASK_32
