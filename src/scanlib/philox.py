"""Philox4x32-10 in NumPy: the counter-based stream, as published, and how samples are made of its words.

Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011).

state    uint64[4]: key, counter, stream, unused
block    block number b of a stream is the four uint32 words w0..w3 that ten rounds make of the counter words
         (b low, b high, stream low, stream high) under the key words (key low, key high)
words    a draw reads 64-bit words: word 2 b is w0 + 2^32 w1 of block b, word 2 b + 1 is w2 + 2^32 w3
draw     element i of a sample of n elements reads word 2 counter + i; the counter then grows by ceil(n / 2)
uniform  u = (word >> 11) 2^-53, in [0, 1); the sample is low + (high - low) u
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

ROUNDS = 10
MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
WEYL = (np.uint64(0x9E3779B9), np.uint64(0xBB67AE85))
LOW = np.uint64(0xFFFFFFFF)
HALF = np.uint64(32)


def rounds(counter: np.ndarray, key: tuple[np.uint64, np.uint64]) -> np.ndarray:
    """Ten rounds: counter uint64[4, n] holding 32-bit words -> the words of the blocks, uint64[4, n]."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        a, b = MULTIPLIERS[0] * c0, MULTIPLIERS[1] * c2
        c0, c1, c2, c3 = (b >> HALF) ^ c1 ^ k0, b & LOW, (a >> HALF) ^ c3 ^ k1, a & LOW
        k0, k1 = (k0 + WEYL[0]) & LOW, (k1 + WEYL[1]) & LOW
    return np.stack([c0, c1, c2, c3])


def words(state: np.ndarray, count: int) -> np.ndarray:
    """The next `count` 64-bit words of the stream."""
    blocks = state[1] + np.arange((count + 1) // 2, dtype=np.uint64)
    stream = np.full_like(blocks, state[2])
    counter = np.stack([blocks & LOW, blocks >> HALF, stream & LOW, stream >> HALF])
    w = rounds(counter, (state[0] & LOW, state[0] >> HALF))
    return np.stack([w[0] | (w[1] << HALF), w[2] | (w[3] << HALF)], axis=1).reshape(-1)[:count]


def advanced(state: np.ndarray, count: int) -> np.ndarray:
    """The state after a draw of `count` elements."""
    after = state.copy()
    after[1] += np.uint64((count + 1) // 2)
    return after


def _uniforms(state: np.ndarray, size: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    count = int(np.prod(size, dtype=np.int64))
    u = (words(state, count) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return advanced(state, count), u.reshape(size)


def uniform(state: np.ndarray, low: Any, high: Any, size: tuple[int, ...], dtype: str) -> Any:
    after, u = _uniforms(state, size)
    return after, np.asarray(low + (high - low) * u).astype(dtype)


def normal(state: np.ndarray, mean: Any, std: Any, size: tuple[int, ...], dtype: str) -> Any:
    """Box and Muller's transform: elements 2 j and 2 j + 1 are the cosine and the sine of block j."""
    count = int(np.prod(size, dtype=np.int64))
    even = count + count % 2
    u = (words(state, even) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    radius, angle = np.sqrt(-2.0 * np.log1p(-u[0::2])), 2.0 * np.pi * u[1::2]
    z = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(-1)[:count].reshape(size)
    return advanced(state, count), np.asarray(mean + std * z).astype(dtype)


def binomial(state: np.ndarray, n: Any, p: Any, size: tuple[int, ...], dtype: str) -> Any:
    """By inversion: the number of k with u >= P(at most k successes), for u of the stream."""
    after, u = _uniforms(state, size)
    trials, chance = np.broadcast_to(n, size), np.broadcast_to(p, size)
    made = [_quantile(float(x), int(m), float(q)) for x, m, q in zip(u.flat, trials.flat, chance.flat)]
    return after, np.array(made, np.int64).reshape(size).astype(dtype)


def _quantile(u: float, n: int, p: float) -> int:
    if p > 0.5:
        return n - _quantile(u, n, 1.0 - p)
    if p <= 0.0:
        return 0
    ratio, logarithm, k = p / (1.0 - p), n * math.log1p(-p), 0
    # Where the probability of 0 successes underflows, probabilities are carried as logarithms.
    underflow = logarithm < -700
    term = total = math.exp(logarithm)
    while u >= total and k < n:
        k += 1
        factor = ratio * (n - k + 1) / k
        logarithm += math.log(factor)
        term = math.exp(logarithm) if underflow else term * factor
        total += term
        if factor < 1 and term < 1e-20 * total:
            break  # the tail that is left is below the resolution of u
    return k


def random_integers(state: np.ndarray, low: Any, high: Any, size: tuple[int, ...], dtype: str) -> Any:
    """low + floor(word (high - low + 1) / 2^64): all equally likely to within 2^-64 (high - low + 1)."""
    count = int(np.prod(size, dtype=np.int64))
    lows, highs = np.broadcast_to(low, size), np.broadcast_to(high, size)
    numbers = words(state, count)
    made = [
        int(a) + (int(w) * (int(b) - int(a) + 1) >> 64) for w, a, b in zip(numbers, lows.flat, highs.flat)
    ]
    return advanced(state, count), np.array(made, np.int64).reshape(size).astype(dtype)
