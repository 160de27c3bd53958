#!/usr/bin/env python3
"""How much of its mean a small library subtracts, and when a mean is outdated: mean_figures.py
LABELS.tsv DIR LENGTHS

Prints the figures from which SHRINKING and DRIFT of crates/core/voisin-engine/src/space.rs were
chosen. LABELS.tsv has the columns file (the end of a path in DIR/tracks.csv), genre and artist, DIR
is an export of free music, LENGTHS are the numbers of each network of its model (200,56 for the
default, 200,512 for voisin-3-musicnn); at least 60 tracks. Of n tracks n / (n + k) of the mean is
subtracted. Printed for each k:

- precision@3 (share of the three nearest that have a track's genre) in random parts of the library,
  and in one-sided ones: two thirds of one genre, the rest of others;
- agreement: the share of these three that are also found relative to the whole library's mean.

Then, for means of a few tracks in place of the whole library's: how far they are off as a share of
the tracks' root mean square distance from it, the share of five neighbours that stay, and by how
much similarities change. Needs numpy.
"""

import pathlib
import sys

import numpy
from neighbour_quality import centred, labels, read

SHRINKING = [0, 1, 2, 5, 10, 20, 40, 80]


def nearest(vectors, k):
    similarity = vectors @ vectors.T
    numpy.fill_diagonal(similarity, -9)
    return numpy.argsort(-similarity, axis=1, kind="stable")[:, :k]


def kept(before, after):
    return numpy.mean([len(set(a) & set(b)) / len(a) for a, b in zip(before, after, strict=False)])


def main():
    known, folder, lengths = (
        labels(sys.argv[1]),
        pathlib.Path(sys.argv[2]),
        [int(n) for n in sys.argv[3].split(",")],
    )
    table = read(folder, known)
    files = sorted(table)
    vectors = numpy.stack([table[file] for file in files])
    genres = numpy.array([known[file][0] for file in files])
    mean = vectors.mean(axis=0)
    whole = centred(vectors, mean, lengths)
    random = numpy.random.default_rng(1)
    common = [
        genre
        for genre, count in zip(*numpy.unique(genres, return_counts=True), strict=False)
        if count >= 6
    ]

    def evaluate(rows):
        """[2, k]: precision and agreement."""
        truth, found = nearest(whole[rows], 3), []
        for k in SHRINKING:
            near = nearest(
                centred(vectors[rows], vectors[rows].sum(axis=0) / (len(rows) + k), lengths), 3
            )
            found.append(((genres[rows][near] == genres[rows][:, None]).mean(), kept(truth, near)))
        return numpy.array(found).T

    def show(name, draw):
        precision, agreement = numpy.mean([evaluate(draw()) for _ in range(300)], axis=0)
        print(f"{name}: precision@3 {precision.round(3)}, agreement {agreement.round(3)}")

    print(f"{len(files)} tracks, {len(common)} genres of six or more; k = {SHRINKING}")
    for n in (10, 20, 40, 60):
        show(f"random parts of {n}", lambda n=n: random.choice(len(files), n, replace=False))

    def one_sided(n):
        own = genres == random.choice(common)
        most = min(own.sum(), 2 * n // 3)
        own, others = numpy.flatnonzero(own), numpy.flatnonzero(~own)
        return numpy.r_[
            random.choice(own, most, replace=False),
            random.choice(others, max(1, most // 2), replace=False),
        ]

    for n in (6, 10, 20):
        show(f"one-sided parts of {n}", lambda n=n: one_sided(n))
    spread = numpy.sqrt(((vectors - mean) ** 2).sum(axis=1).mean())
    truth = nearest(whole, 5)
    for n in (5, 10, 20, 40, 60):
        rows = []
        for _ in range(100):
            old = vectors[random.choice(len(files), n, replace=False)].mean(axis=0)
            now = centred(vectors, old, lengths)
            change = numpy.abs(now @ now.T - whole @ whole.T).mean()
            rows.append(
                (numpy.linalg.norm(old - mean) / spread, kept(truth, nearest(now, 5)), change)
            )
        off, stay, change = numpy.mean(rows, axis=0)
        print(
            f"mean of {n}: off by {off:.3f}, {stay:.3f} of neighbours stay, similarities change by {change:.3f}"
        )


if __name__ == "__main__":
    main()
