"""Philox4x32-10, a counter-based random number generator, and the keys that ops draw with.

J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. It
is a function without state of a counter of 128 bits and a key of 64, so that every number can be
had by itself: results depend neither on the order of calculation nor on who does it.
"""

from __future__ import annotations

import numpy as np

from bireme.ir.opdef import Array

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
# Added to the key's words after every round: the golden ratio, and the square root of 3 less 1.
WEYL = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10
_WORD = 0xFFFFFFFF
_SHIFT = np.uint64(32)


def philox(counter: tuple[Array, ...], key: tuple[Array, ...]) -> tuple[Array, ...]:
    """Four words for a counter of four words and a key of two, lowest first.

    All are uint32 arrays that broadcast.
    """
    x0, x1, x2, x3 = counter
    for number in range(ROUNDS):
        k0, k1 = (_round_key(word, weyl, number) for word, weyl in zip(key, WEYL, strict=True))
        high0, low0 = _product(x0, MULTIPLIERS[0])
        high1, low1 = _product(x2, MULTIPLIERS[1])
        x0, x1, x2, x3 = high1 ^ x1 ^ k0, low1, high0 ^ x3 ^ k1, low0
    return x0, x1, x2, x3


def _product(x: Array, factor: int) -> tuple[Array, Array]:
    """High and low word of a product."""
    whole = x.astype(np.uint64) * np.uint64(factor)
    return (whole >> _SHIFT).astype(np.uint32), whole.astype(np.uint32)


def _round_key(word: Array, weyl: int, number: int) -> Array:
    return (word.astype(np.uint64) + np.uint64(number * weyl & _WORD)).astype(np.uint32)


def words(number: Array) -> tuple[Array, Array]:
    """Low and high word of 64-bit integers."""
    wide = np.asarray(number).astype(np.uint64)
    return wide.astype(np.uint32), (wide >> _SHIFT).astype(np.uint32)


def draw_key(seed: int, run: int, stream: int, draw: int) -> Array:
    """What an op draws with, a scalar uint64: for stream `stream` of the run with number `run` of a
    session with this seed, at its `draw`-th execution in that run, from 0 on.
    """
    counter = (draw & _WORD, stream & _WORD, run & _WORD, run >> 32 & _WORD)
    key = (seed & _WORD, seed >> 32 & _WORD)
    low, high, *_ = philox(
        tuple(np.array(c, np.uint32) for c in counter), tuple(np.array(k, np.uint32) for k in key)
    )
    return np.array(int(high) << 32 | int(low), np.uint64)
