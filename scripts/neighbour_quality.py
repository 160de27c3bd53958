#!/usr/bin/env python3
"""How many of a track's nearest neighbours share its genre, other artists only.

    voisin export DIR
    scripts/neighbour_quality.py DIR LABELS.tsv [-k 10] [--join pop=rock]

LABELS.tsv has the columns file, genre and artist; `file` is the end of a path in DIR/tracks.csv. For every labelled
track, the k most similar tracks (cosine) by other artists are taken; printed is the mean share of them that have its
genre (precision@k), over all tracks and per genre, and the same with the joined genres counted as one. With
--standardise, each dimension is first brought to mean 0 and variance 1 over the library. Needs numpy.
"""

import argparse
import csv
import pathlib

import numpy


def read(folder, labels):
    vectors = numpy.load(folder / "vectors.npy").astype(numpy.float64)
    with open(folder / "tracks.csv", newline="", encoding="utf-8") as handle:
        paths = [row["path"] for row in csv.DictReader(handle)]
    with open(labels, newline="", encoding="utf-8") as handle:
        known = {row["file"]: (row["genre"], row["artist"]) for row in csv.DictReader(handle, delimiter="\t")}
    rows, genres, artists = [], [], []
    for row, path in enumerate(paths):
        parts = pathlib.PurePath(path).parts
        for depth in (1, 2, 3):
            found = known.get("/".join(parts[-depth:]))
            if found:
                rows.append(row)
                genres.append(found[0])
                artists.append(found[1])
                break
    if not rows:
        raise SystemExit(f"no path of {folder}/tracks.csv ends in a file of {labels}")
    return vectors[rows], numpy.array(genres), numpy.array(artists)


def precision(vectors, genres, artists, k):
    unit = vectors / numpy.linalg.norm(vectors, axis=1, keepdims=True)
    similarity = unit @ unit.T
    similarity[artists[:, None] == artists[None, :]] = -numpy.inf
    nearest = numpy.argsort(-similarity, axis=1, kind="stable")[:, :k]
    return (genres[nearest] == genres[:, None]).mean(axis=1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("export", type=pathlib.Path)
    parser.add_argument("labels", type=pathlib.Path)
    parser.add_argument("-k", type=int, default=10)
    parser.add_argument("--join", default="pop=rock", help="genres that count as one, joined by = (default: pop=rock)")
    parser.add_argument("--standardise", action="store_true")
    arguments = parser.parse_args()
    vectors, genres, artists = read(arguments.export, arguments.labels)
    if arguments.standardise:
        vectors = (vectors - vectors.mean(axis=0)) / (vectors.std(axis=0) + 1e-9)
    joined = set(arguments.join.split("="))
    merged = numpy.array([arguments.join if genre in joined else genre for genre in genres])
    for name, labels in (("as labelled", genres), (f"{arguments.join} as one", merged)):
        shares = precision(vectors, labels, artists, arguments.k)
        spread = shares.std() / len(shares) ** 0.5
        per_genre = ", ".join(f"{genre} {shares[labels == genre].mean():.3f}" for genre in sorted(set(labels)))
        print(f"precision@{arguments.k}, {name}: {shares.mean():.4f} ± {spread:.4f} ({len(shares)} tracks; {per_genre})")


if __name__ == "__main__":
    main()
