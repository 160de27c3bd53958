#!/usr/bin/env python3
"""How many of a track's nearest neighbours share its genre, by another program's features:
rival_quality.py FEATURES.tsv LABELS.tsv

FEATURES.tsv has a line for each track: its path and its features, separated by tabs, scaled so that
Euclidean distance is the program's own (scripts/research/speed/bench_road.py shows how bliss-audio's are
written). LABELS.tsv has the columns file, genre and artist; `file` is the end of a path. As in
scripts/research/quality/neighbour_quality.py, only tracks by other artists count as neighbours. Needs
numpy.
"""

import argparse
import csv
import pathlib

import numpy


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("features", type=pathlib.Path)
    parser.add_argument("labels", type=pathlib.Path)
    parser.add_argument("-k", type=int, default=10)
    parser.add_argument(
        "--join", default="pop=rock", help="genres that count as one in a second round, joined by ="
    )
    options = parser.parse_args()
    with open(options.labels, newline="", encoding="utf-8") as handle:
        known = {
            row["file"]: (row["genre"], row["artist"])
            for row in csv.DictReader(handle, delimiter="\t")
        }
    vectors, labels = [], []
    for line in options.features.read_text(encoding="utf-8").splitlines():
        path, *values = line.split("\t")
        parts = pathlib.PurePath(path).parts
        names = ("/".join(parts[-depth:]) for depth in range(1, len(parts)))
        label = next((known[name] for name in names if name in known), None)
        if label:
            labels.append(label)
            vectors.append([float(value) for value in values])
    if not labels:
        raise SystemExit(f"no path of {options.features} ends in a file of {options.labels}")
    vectors, genres, artists = numpy.array(vectors), *map(numpy.array, zip(*labels, strict=False))
    distance = numpy.square(vectors[:, None] - vectors[None]).sum(axis=2)
    distance[artists[:, None] == artists[None]] = numpy.inf
    nearest = numpy.argsort(distance, axis=1, kind="stable")[:, : options.k]
    joined = numpy.where(numpy.isin(genres, options.join.split("=")), options.join, genres)
    for name, labelled in (
        (f"{len(set(genres))} genres", genres),
        (f"{options.join} as one", joined),
    ):
        shares = (labelled[nearest] == labelled[:, None]).mean(axis=1)
        print(
            f"{name}: precision@{options.k} {shares.mean():.4f} ± {shares.std() / len(shares) ** 0.5:.4f} ({len(shares)} tracks)"
        )


if __name__ == "__main__":
    main()
