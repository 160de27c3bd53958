#!/usr/bin/env python3
"""Ranks of the ten nearest vectors by short codes of several kinds: 64 bytes a vector, and other
sizes.

    python research/speed/code_ranks.py DIR...

DIR holds base.npy, queries.npy and truth.npy as for research/speed/bench_index_rivals.py. A code is
the projection on the first principal directions, mixed by a random rotation where a component has
less than 8 bits, at so many bits a component; the scale makes a vector's product with its own code
exact. Prints the ranks, among all vectors, within which 95, 99 and 99.9 % of the true ten of
300 queries are. Needs numpy and 4 GB of memory for 100 000 vectors of 512 numbers.
"""

import pathlib
import sys

import numpy as np

KINDS = {  # Directions from, to, and bits.
    "64 at 8 bits": [(0, 64, 8)],
    "256 at 2 bits": [(0, 256, 2)],
    "128 at 4 bits": [(0, 128, 4)],
    "64 at 4 bits, 128 at 2": [(0, 64, 4), (64, 192, 2)],
    "256 at 1 bit": [(0, 256, 1)],
}


def quantised(values, bits):
    """Odd whole numbers for each row, of the range that comes nearest to its direction."""
    half = 2 ** (bits - 1)
    peak = np.abs(values).max(axis=1, keepdims=True)
    best, codes = np.full(len(values), -1.0), np.zeros_like(values)
    for share in (0.25, 0.32, 0.4, 0.47, 0.55, 0.62, 0.7, 0.85, 1.0):
        code = 2 * np.clip(np.floor(values * (half / (peak * share))), -half, half - 1) + 1
        match = (values * code).sum(axis=1) ** 2 / (code * code).sum(axis=1)
        better = match > best
        codes[better], best[better] = code[better], match[better]
    return codes


for folder in map(pathlib.Path, sys.argv[1:]):
    base, queries, truth = (
        np.load(folder / f"{name}.npy") for name in ("base", "queries", "truth")
    )
    queries, truth = queries[:300], truth[:300, :10]
    mean = base.mean(axis=0)
    centred, random = base - mean, np.random.default_rng(1)
    sample = centred[:: max(1, len(base) // 20_000)]
    values, directions = np.linalg.eigh(sample.T @ sample)
    directions = directions[:, ::-1]
    share = values[::-1][:64].sum() / values.sum()
    print(
        f"{folder}: {base.shape[0]} x {base.shape[1]}, 64 directions hold {share:.0%} of the variance"
    )
    for name, parts in KINDS.items():
        scores = np.repeat((base @ mean)[None], len(queries), axis=0)
        for first, end, bits in parts:
            part = directions[:, first : min(end, base.shape[1])]
            if bits < 8:
                part = part @ np.linalg.qr(random.standard_normal((part.shape[1],) * 2))[0].astype(
                    np.float32
                )
            along = codes = centred @ part
            if bits < 8:
                codes = quantised(along, bits)
                codes *= ((along * along).sum(axis=1) / (along * codes).sum(axis=1))[:, None]
            scores += ((queries - mean) @ part) @ codes.T
        nearest = np.take_along_axis(scores, truth, axis=1)
        ranks = np.sort(
            [
                (row > score).sum() + 1
                for row, scores in zip(scores, nearest, strict=False)
                for score in scores
            ]
        )
        print(
            f"  {name:24}",
            *(
                int(ranks[min(len(ranks) - 1, int(part * len(ranks)))])
                for part in (0.95, 0.99, 0.999)
            ),
        )
