#!/usr/bin/env python3
"""Compares models by how well their track vectors predict labels: by neighbours, and by a support
vector machine.

    voisin --model A add MUSIC; voisin export DIR
    scripts/research/quality/neighbour_quality.py LABELS.tsv DIR [DIR ...] [-k 10] [--join pop=rock] [--svm] [--pair WEIGHT]
        [--centre LENGTHS] [--mood MOOD.tsv]

LABELS.tsv has the columns file, genre and artist; `file` is the end of a path in DIR/tracks.csv.
A fourth column, `cluster`, has the groups that the bootstrap redraws (else artists). Each DIR holds
one model's vectors of the same tracks; the others are compared with the first. Printed for each:

- precision@k: the share of a track's k nearest (cosine), by other artists, that have its genre;
  mean over tracks, and the difference from the first model with its 95 % interval by a paired
  bootstrap over clusters (1 000 redraws);
- with --svm: accuracy of an RBF support vector machine (C = 3) on z-scored vectors, artists kept
  together in five folds, three repeats (mean and standard deviation), and the paired difference
  over the same folds;
- with --mood: the mood gain, how much nearer a track's k nearest by other artists are to it in mood
  than all tracks by other artists (1 - ratio of mean distances: 0 no nearer, 1 the same mood), and
  that of the five nearest of its genre. MOOD.tsv has the column file and a column for each mood, the
  share of listeners who felt it; columns without numbers are not read.

Vectors are used as stored; with --standardise, each dimension is first scaled to mean 0 and
variance 1 over the tracks. With --centre, each DIR is also evaluated as voisin compares:
DIR/mean.npy is subtracted, and each part scaled to its former length (LENGTHS: dimension of each
network, 200,56 for the default model). With --pair, each later DIR is also evaluated joined with
the first: both at unit length, the first multiplied by WEIGHT (may be repeated; the machine, which
standardises, is the same for all). Needs numpy; --svm needs scikit-learn.
"""

import argparse
import csv
import pathlib
import re

import numpy


def labels(path):
    """{file: (genre, artist, cluster)}"""
    with open(path, newline="", encoding="utf-8") as handle:
        return {
            row["file"]: (row["genre"], row["artist"], row.get("cluster") or row["artist"])
            for row in csv.DictReader(handle, delimiter="\t", quoting=csv.QUOTE_NONE)
        }


def read(folder, known):
    """{file: vector} of the labelled tracks."""
    vectors = numpy.load(folder / "vectors.npy").astype(numpy.float64)
    found = {}
    with open(folder / "tracks.csv", newline="", encoding="utf-8") as handle:
        for vector, row in zip(vectors, csv.DictReader(handle), strict=False):
            parts = pathlib.PurePath(row["path"]).parts
            for depth in range(1, len(parts)):
                name = "/".join(parts[-depth:])
                if name in known:
                    found[name] = vector
                    break
    if not found:
        raise SystemExit(f"no path of {folder}/tracks.csv ends in a file of the labels")
    return found


def unit(vectors):
    return vectors / numpy.linalg.norm(vectors, axis=1, keepdims=True)


def standardised(vectors):
    return (vectors - vectors.mean(axis=0)) / (vectors.std(axis=0) + 1e-9)


def centred(vectors, mean, lengths):
    """Vectors minus the mean, each part scaled to its former length, the whole to length
    1.
    """
    ends = numpy.cumsum(lengths)
    if ends[-1] != vectors.shape[1]:
        raise SystemExit(
            f"--centre: {ends[-1]} numbers in all, the vectors have {vectors.shape[1]}"
        )
    parts = numpy.split(vectors, ends[:-1], axis=1), numpy.split(vectors - mean, ends[:-1], axis=1)
    return unit(
        numpy.hstack(
            [
                unit(new) * numpy.linalg.norm(old, axis=1, keepdims=True)
                for old, new in zip(*parts, strict=False)
            ]
        )
    )


def precision(vectors, genres, artists, k):
    """Per track; NaN where fewer than k tracks are by other artists."""
    similarity = unit(vectors) @ unit(vectors).T
    similarity[artists[:, None] == artists[None, :]] = -numpy.inf
    nearest = numpy.argsort(-similarity, axis=1, kind="stable")[:, :k]
    return (genres[nearest] == genres[:, None]).mean(axis=1)


def moods(path, files):
    """The moods of the files, a row each."""
    with open(path, newline="", encoding="utf-8") as handle:
        felt = {row.pop("file"): row for row in csv.DictReader(handle, delimiter="\t")}
    first = next(iter(felt.values()))
    names = [name for name, share in first.items() if re.fullmatch(r"[01](\.\d+)?", share)]
    return numpy.array([[float(felt[file][name]) for name in names] for file in files])


def mood_gain(vectors, felt, is_other, k):
    """Per track; k nearest among those of is_other, a row of booleans for each track."""
    similarity = numpy.where(is_other, unit(vectors) @ unit(vectors).T, -numpy.inf)
    nearest = numpy.argsort(-similarity, axis=1, kind="stable")[:, :k]
    distance = numpy.linalg.norm(felt[:, None] - felt[None], axis=2)
    all_others = numpy.where(is_other, distance, 0).sum(axis=1) / is_other.sum(axis=1)
    near = numpy.take_along_axis(distance, nearest, axis=1).mean(axis=1)
    # Tracks weigh as in the ratio of the means.
    return (all_others - near) / all_others.mean()


def svm(vectors, genres, artists, seeds=3, folds=5):
    """Whether each track is predicted correctly, for each repeat: [seeds, tracks]"""
    from sklearn.model_selection import StratifiedGroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    right = numpy.zeros((seeds, len(genres)))
    for seed in range(seeds):
        for train, test in StratifiedGroupKFold(folds, shuffle=True, random_state=seed).split(
            vectors, genres, artists
        ):
            model = make_pipeline(StandardScaler(), SVC(C=3.0)).fit(vectors[train], genres[train])
            right[seed, test] = model.predict(vectors[test]) == genres[test]
    return right


def interval(difference, clusters, draws=1000):
    """95 % of the mean difference over redrawn clusters."""
    names, index = numpy.unique(clusters, return_inverse=True)
    sums, sizes = numpy.bincount(index, difference), numpy.bincount(index)
    drawn = numpy.random.default_rng(0).integers(len(names), size=(draws, len(names)))
    return numpy.percentile(sums[drawn].sum(1) / sizes[drawn].sum(1), [2.5, 97.5])


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("labels", type=pathlib.Path)
    parser.add_argument("export", type=pathlib.Path, nargs="+")
    parser.add_argument("-k", type=int, default=10)
    parser.add_argument("--join", help="genres that count as one, joined by =, in a second round")
    parser.add_argument("--standardise", action="store_true")
    parser.add_argument(
        "--centre", type=lambda text: [int(length) for length in text.split(",")], metavar="LENGTHS"
    )
    parser.add_argument("--svm", action="store_true")
    parser.add_argument("--mood", type=pathlib.Path, metavar="TABLE")
    parser.add_argument("--pair", type=float, action="append", default=[], metavar="WEIGHT")
    options = parser.parse_args()
    known = labels(options.labels)
    tables = [read(folder, known) for folder in options.export]
    files = sorted(set.intersection(*map(set, tables)))
    genres, artists, clusters = (numpy.array([known[file][i] for file in files]) for i in range(3))
    models = {
        folder.name: numpy.stack([table[file] for file in files])
        for folder, table in zip(options.export, tables, strict=False)
    }
    if options.standardise:
        models = {name: standardised(vectors) for name, vectors in models.items()}
    if options.centre:
        for folder in options.export:
            mean = numpy.load(folder / "mean.npy")
            models[f"{folder.name} centred"] = centred(models[folder.name], mean, options.centre)
    (first, base), *others = models.items()
    for name, vectors in others:
        for weight in options.pair:
            models[f"{weight:g} {first} + {name}"] = numpy.hstack(
                [weight * unit(base), unit(vectors)]
            )
    rounds = [(f"{len(set(genres))} genres", genres)]
    if options.join:
        joined = options.join.split("=")
        rounds.append(
            (
                f"{options.join} as one",
                numpy.where(numpy.isin(genres, joined), options.join, genres),
            )
        )
    for what, labelled in rounds:
        print(
            f"{what}: {len(files)} tracks of {len(options.export)} models, {len(set(clusters))} clusters"
        )
        reference = {}
        for name, vectors in models.items():
            figures = {f"precision@{options.k}": precision(vectors, labelled, artists, options.k)}
            line = f"  {name}:"
            if options.mood:
                felt = moods(options.mood, files)
                others = artists[:, None] != artists[None, :]
                inside = others & (labelled[:, None] == labelled[None, :])
                figures["mood gain"] = mood_gain(vectors, felt, others, options.k)
                figures["inside the genre"] = mood_gain(vectors, felt, inside, 5)
            if options.svm:
                right = svm(vectors, labelled, artists)
                figures[f"SVM (± {right.mean(1).std():.3f})"] = right.mean(0)
            for place, (figure, values) in enumerate(figures.items()):
                line += f"  {figure} {values.mean():.4f}"
                difference = values - reference.setdefault(place, values)
                if difference.any():
                    low, high = interval(difference, clusters)
                    line += f" ({difference.mean():+.4f}, {low:+.4f} to {high:+.4f})"
            print(line)


if __name__ == "__main__":
    main()
