#!/usr/bin/env python3
"""Is a genre that was not trained on near its kin? research/quality/space_proof.py OUT [--voisin
PROGRAM] [--data DIR] [--seeds N]

Two data sets of real music in DIR (default: VOISIN_DEV_DATA, else ../shared/data):

    emotify-dev      200 tracks in four genres. Rock is left out, then pop: in five folds by artist `voisin train classifier
                     --recipe space` is trained on the others. Its inner layer then embeds all
                     tracks.
    gtzan-taggrams   50 tag numbers of 733 tracks in ten genres. Metal is left out: a linear layer that begins as the identity
                     is trained on the others, with the loss, the anchor and the label
                     smoothing of `space`.

Reported: the share of the tracks left out whose nearest genre is the kin (pop for rock, rock for
pop and for metal), and the share of held-out tracks of the trained genres whose own genre is
nearest. Genres are the means of their training tracks' unit vectors relative to the mean of all
training tracks; nearness is the cosine. Compared with the original vectors and the same training
from random weights. Means over folds and seeds; with them the predictions for trained genres that
training won and lost against the original vectors, and the difference in points, with its 95 %
interval over draws of whole artists (for the tags, whose artists are unknown, of tracks). Other
settings are set by --set (of `space`, may be repeated) or --loss, --steps, --rate, --smoothing and
--anchor (of the layer). Everything is stored in OUT: the same command resumes an aborted run. Needs
numpy.
"""

import argparse
import csv
import hashlib
import os
import pathlib
import random
import subprocess

import numpy as np

FOLDS = 5
KIN = {"rock": "pop", "pop": "rock"}
GTZAN = "blues classical country disco hiphop jazz metal pop reggae rock".split()


def unit(x):
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)


def evaluated(x, genres, trained, held, left_out, kin):
    """Share of the genre left out that is nearest to its kin, and which of the held-out tracks are
    nearest to their own.
    """
    x = unit(x - x[trained].mean(0))
    names = sorted(set(genres[trained]))
    means = unit(np.stack([x[trained & (genres == name)].mean(0) for name in names]))
    nearest = np.array(names)[(x @ means.T).argmax(1)]
    return (nearest[genres == left_out] == kin).mean(), nearest[held] == genres[held]


class Emotify:
    def __init__(self, args):
        self.args, self.out = args, args.out.resolve()
        self.audio = (args.data / "emotify-dev").resolve()
        with open(self.audio / "tracks.tsv", newline="", encoding="utf-8") as file:
            self.tracks = list(csv.DictReader(file, delimiter="\t"))
        self.genres = np.array([track["genre"] for track in self.tracks])
        self.artists = np.array([track["artist"] for track in self.tracks])
        self.folds = self.deal()
        self.home = dict(os.environ, XDG_DATA_HOME=str(self.out / "home"))

    def deal(self):
        """A fold for each track: artists from the largest down, each to the fold that has least of
        its genre.
        """
        artists = sorted({track["artist"] for track in self.tracks})
        random.Random(1).shuffle(artists)
        own = {
            artist: [at for at, track in enumerate(self.tracks) if track["artist"] == artist]
            for artist in artists
        }
        folds, counts = np.zeros(len(self.tracks), int), {}
        for artist in sorted(artists, key=lambda artist: -len(own[artist])):
            genre = self.genres[own[artist][0]]
            fold = min(range(FOLDS), key=lambda fold: counts.get((fold, genre), 0))
            counts[fold, genre] = counts.get((fold, genre), 0) + len(own[artist])
            folds[own[artist]] = fold
        return folds

    def voisin(self, *words):
        with open(self.out / "log.txt", "a", encoding="utf-8") as log:
            command = [self.args.voisin, "--library", self.out / "library", *words]
            subprocess.run(
                [str(word) for word in command], env=self.home, stdout=log, stderr=log, check=True
            )

    def table(self, name, rows):
        path = self.out / f"{name}.csv"
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["path", "genre", "artist"])
            writer.writerows(
                (self.tracks[at]["file"], self.tracks[at]["genre"], self.tracks[at]["artist"])
                for at in rows
            )
        return f"table:{path},audio={self.audio}"

    def vectors(self, model, path):
        if not path.exists():
            everything = self.table("all", range(len(self.tracks)))
            self.voisin("features", everything, "--set", f"model:{model}", "--output", path)
        return np.load(path).astype(np.float64)

    def trained(self, left_out, fold, seed, settings):
        name = hashlib.sha256(repr((left_out, fold, seed, settings)).encode()).hexdigest()[:12]
        path = self.out / f"{name}.npy"
        if not path.exists():
            rows = np.flatnonzero((self.genres != left_out) & (self.folds != fold))
            run, words = self.out / name, [word for one in settings for word in ("--set", one)]
            self.voisin(
                "train",
                "classifier",
                self.table(name, rows),
                run,
                "--recipe",
                "space",
                "--random-seed",
                seed,
                "--cache",
                self.out / "cache",
                *words,
            )
            self.voisin("model", "import", run, "--name", name)
        return self.vectors(name, path)

    def report(self):
        untouched = self.vectors("voisin-3", self.out / "untouched.npy")
        for what, settings in (
            ("untouched voisin-3", None),
            ("space", self.args.set),
            ("random weights", [*self.args.set, "start="]),
        ):
            for left_out, kin in KIN.items():
                found, before, artists = [], [], []
                for fold in range(self.args.folds):
                    trained = (self.genres != left_out) & (self.folds != fold)
                    held = (self.genres != left_out) & (self.folds == fold)
                    most = self.args.random_seeds if what == "random weights" else self.args.seeds
                    seeds = [0] if settings is None else range(1, most + 1)
                    for seed in seeds:
                        x = (
                            untouched
                            if settings is None
                            else self.trained(left_out, fold, seed, settings)
                        )
                        found.append(evaluated(x, self.genres, trained, held, left_out, kin))
                        before.append(
                            evaluated(untouched, self.genres, trained, held, left_out, kin)[1]
                        )
                        artists.append(self.artists[held])
                if found:
                    row(
                        f"emotify, {left_out} to {kin}",
                        what,
                        found,
                        None if settings is None else before,
                        artists,
                    )


def row(question, what, found, before, artists):
    """Prints the means of the evaluations of folds and seeds; `before` and `artists`: of the same
    held-out tracks.
    """
    shares = 100 * np.array([(kin, right.mean()) for kin, right in found])
    (kin, seen), (kin_spread, seen_spread) = shares.mean(0), shares.std(0)
    against = ""
    if before is not None:
        change = np.concatenate(
            [right.astype(int) - old for (_, right), old in zip(found, before, strict=False)]
        )
        names, at = np.unique(np.concatenate(artists), return_inverse=True)
        points, sizes = np.bincount(at, change), np.bincount(at)
        drawn = np.random.default_rng(1).integers(len(names), size=(2000, len(names)))
        low, high = np.percentile(100 * points[drawn].sum(1) / sizes[drawn].sum(1), [2.5, 97.5])
        won, lost = (change > 0).sum(), (change < 0).sum()
        against = f"+{won} -{lost} of {len(change)}: {100 * change.mean():+.2f} ({low:+.2f} to {high:+.2f})"
    print(
        f"| {question} | {what} | {kin:.1f} ± {kin_spread:.1f} | {seen:.1f} ± {seen_spread:.1f} | {against} |",
        flush=True,
    )


def cross_entropy(logits, wanted):
    """The gradient of its mean over rows."""
    p = np.exp(logits - logits.max(1, keepdims=True))
    return (p / p.sum(1, keepdims=True) - wanted) / len(logits)


def directions(y):
    """Rows of length 1, and a function from gradients of those to gradients of the rows."""
    lengths = np.maximum(np.linalg.norm(y, axis=1, keepdims=True), 1e-12)
    u = y / lengths
    return u, lambda d: (d - (d * u).sum(1, keepdims=True) * u) / lengths


def softmax(y, weights, wanted, truth):
    """Of logits: gradients of rows and of the head."""
    d = cross_entropy(y @ weights[0] + weights[1], wanted)
    return d @ weights[0].T, [y.T @ d, d.sum(0)]


def cosine(y, weights, wanted, truth):
    """Logits are cosines to a direction for each class, times 16 (Wang and others, "CosFace", CVPR
    2018, without its margin).
    """
    (u, back), (v, back_v) = directions(y), directions(weights[0].T)
    d = 16 * cross_entropy(16 * u @ v.T, wanted)
    return back(d @ v), [back_v(d.T @ u).T, np.zeros_like(weights[1])]


def contrast(y, weights, wanted, truth):
    """Khosla and others, "Supervised contrastive learning", NeurIPS 2020, temperature 0.1."""
    u, back = directions(y)
    logits = u @ u.T / 0.1
    np.fill_diagonal(logits, -np.inf)
    same = (truth[:, None] == truth[None, :]) & ~np.eye(len(y), dtype=bool)
    has = same.any(1)
    d = cross_entropy(logits, same / np.maximum(same.sum(1, keepdims=True), 1)) * has[:, None] / 0.1
    return back(d @ u + d.T @ u), [np.zeros_like(w) for w in weights]


LOSSES = {"softmax": softmax, "cosine": cosine, "contrast": contrast}


def learnt_layer(x, truth, classes, seed, args, begin):
    """A linear layer, and on it a head, by Adam on all rows at once."""
    draw = np.random.default_rng(seed)
    n, d = x.shape
    layer = np.eye(d) if begin else draw.normal(size=(d, d)) / np.sqrt(d)
    weights = [layer, 0.1 * draw.normal(size=(d, classes)) / np.sqrt(d), np.zeros(classes)]
    moments = [[np.zeros_like(w), np.zeros_like(w)] for w in weights]
    wanted = np.full((n, classes), args.smoothing / classes)
    wanted[np.arange(n), truth] += 1 - args.smoothing
    before = unit(x - x.mean(0))
    before = before @ before.T
    for step in range(1, args.steps + 1):
        y = x @ weights[0]
        d_y, d_head = LOSSES[args.loss](y, weights[1:], wanted, truth)
        if begin and args.anchor:
            u, back = directions(y - y.mean(0))
            apart = u @ u.T - before
            np.fill_diagonal(apart, 0)
            pull = back(4 * args.anchor / (n * (n - 1)) * apart @ u)
            d_y = d_y + pull - pull.mean(0)
        for w, g, (mean, square) in zip(weights, [x.T @ d_y, *d_head], moments, strict=False):
            mean += 0.1 * (g - mean)
            square += 0.001 * (g * g - square)
            w -= args.rate * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
    return weights[0]


def tags(args):
    parts = []
    for part in ("train", "test"):
        file = np.load(args.data / f"gtzan-taggrams/{part}.npz", allow_pickle=True)
        names, at = np.unique(file["IDS"], return_inverse=True)
        x = np.stack([file["X"][at == track].mean(0) for track in range(len(names))]).astype(
            np.float64
        )
        y = np.array([GTZAN[int(file["Y"][at == track][0])] for track in range(len(names))])
        parts.append((x, y))
    x, genres = (np.concatenate(both) for both in zip(*parts, strict=False))
    is_train = np.arange(len(x)) < len(parts[0][0])
    trained, held = is_train & (genres != "metal"), ~is_train & (genres != "metal")
    # of one size, as networks' inputs are
    x = (x - x[trained].mean(0)) / x[trained].std()
    names = sorted(set(genres[trained]))
    truth = np.array([names.index(name) for name in genres[trained]])
    for what, begin in (
        ("untouched tags", None),
        ("layer from identity", True),
        ("random layer", False),
    ):
        found = []
        for seed in [0] if begin is None else range(1, args.seeds + 1):
            layer = (
                np.eye(x.shape[1])
                if begin is None
                else learnt_layer(x[trained], truth, len(names), seed, args, begin)
            )
            found.append(evaluated(x @ layer, genres, trained, held, "metal", "rock"))
        before = [evaluated(x, genres, trained, held, "metal", "rock")[1]] * len(found)
        row(
            "GTZAN tags, metal to rock",
            what,
            found,
            None if begin is None else before,
            [np.flatnonzero(held)] * len(found),
        )


def main():
    here = pathlib.Path(__file__).resolve().parents[2]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--voisin", default="voisin", help="the program")
    parser.add_argument(
        "--data",
        type=pathlib.Path,
        default=os.environ.get("VOISIN_DEV_DATA", here.parent / "shared/data"),
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--folds", type=int, default=FOLDS, help="of the five, how many are trained"
    )
    parser.add_argument("--set", action="append", default=[], help="a setting of --recipe space")
    parser.add_argument("--loss", choices=LOSSES, default="softmax")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rate", type=float, default=0.01)
    parser.add_argument("--smoothing", type=float, default=0.1)
    parser.add_argument("--anchor", type=float, default=10.0)
    parser.add_argument("--only", choices=["emotify", "tags"])
    parser.add_argument("--random-seeds", type=int, help="seeds of random weights, if fewer")
    args = parser.parse_args()
    args.random_seeds = args.seeds if args.random_seeds is None else args.random_seeds
    args.data = pathlib.Path(args.data)
    args.out.mkdir(parents=True, exist_ok=True)
    print(
        "| left out | vectors | kin nearest, % | own genre nearest, % | against untouched, answers and points |\n|---|---|---|---|---|",
        flush=True,
    )
    if args.only != "emotify":
        tags(args)
    if args.only != "tags":
        Emotify(args).report()


if __name__ == "__main__":
    main()
