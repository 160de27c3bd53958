#!/usr/bin/env python3
"""Is the inner layer of `--recipe space` a space? scripts/space_proof.py OUT [--voisin PROGRAM] [--seeds N]

Eight styles of rendered accompaniments, two of a kind each (KIN, chosen by what musicians call them and written down before
anything was trained). One style after the other is left out: a network learns to tell the seven others apart, becomes a
model, and hears all eight. Reported, for every style left out, over the seeds:

    kin          share of its tracks whose nearest style, of the seven, is its kin: styles are the means of their tracks' unit
                 vectors, nearness is the cosine, as in `voisin similar`
    precision    share of the style's own tracks among the 10 nearest of all tracks (chance: 19 of 159, 12 %), beside the same
                 of the untrained network (one epoch at a rate of next to nothing, which sets its running statistics) and of
                 the 140 numbers of `--features mfcc`, each brought to mean 0 and deviation 1 over the seven styles

With --standardise the networks' vectors are brought to mean 0 and deviation 1 likewise. Clips are made by
scripts/make_grooves.py and scripts/make_lab_data.py (mma, fluidsynth, ffmpeg and a SoundFont are needed) and kept in OUT, as
are models: the same command goes on where it was cut off. Needs numpy.
"""

import argparse
import csv
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np

KIN = [("easyswing", "swing"), ("50srock", "60srock"), ("mambo", "salsa"), ("bluegrass", "hillcountry")]
KIN_OF = dict(KIN) | {b: a for a, b in KIN}
CLIPS = 20
HERE = pathlib.Path(__file__).parent


def call(*command, **more):
    subprocess.run([str(part) for part in command], check=True, **more)


def data(out):
    """The miniature; its tracks as path and style."""
    table = out / "data/fma/fma_metadata/tracks.csv"
    if not table.exists():
        call(sys.executable, HERE / "make_grooves.py", out / "grooves", "--clips", CLIPS, "--bars", 8, "--styles", *KIN_OF)
        call(sys.executable, HERE / "make_lab_data.py", out / "data", "--grooves", out / "grooves", "--seconds", 10,
             "--artists", CLIPS // 5, "--tracks", 5)
    with open(table, newline="", encoding="utf-8") as file:
        levels, names, _, *rows = csv.reader(file)
    column = {(level, name): at for at, (level, name) in enumerate(zip(levels, names))}
    tracks = []
    for row in rows:
        track, style, split = int(row[0]), row[column["track", "genre_top"]], row[column["set", "split"]]
        path = (out / f"data/fma/fma_small/{track:06}"[:-3] / f"{track:06}.mp3").resolve()
        # files that are missing, broken or too short are left to the tests
        if style and path.exists() and path.stat().st_size > 100_000:
            tracks.append((str(path), style, split))
    return tracks


class Proof:
    def __init__(self, args):
        self.out, self.args = args.out.resolve(), args
        self.home = dict(os.environ, XDG_DATA_HOME=str(self.out / "home"))
        self.tracks = data(self.out)
        self.style_of = {path: style for path, style, _ in self.tracks}

    def voisin(self, *words, library="none"):
        with open(self.out / "log.txt", "a", encoding="utf-8") as log:
            call(self.args.voisin, "--library", self.out / "libraries" / library, *words, env=self.home, stdout=log, stderr=log)

    def table(self, left_out):
        path = self.out / f"without-{left_out}.csv"
        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["path", "genre", "split"])
            writer.writerows(track for track in self.tracks if track[1] != left_out)
        return path

    def vectors(self, left_out, seed, untrained=False):
        """Unit vectors of all tracks by a network that never heard one style; their paths."""
        name = f"{'untrained' if untrained else 'space'}-{left_out}-{seed}"
        export = self.out / "vectors" / name
        if not (export / "done").exists():
            shutil.rmtree(export, ignore_errors=True)
            how = ["--set", "epochs=1", "--set", "training.rate=1e-12"] if untrained else ["--set", f"epochs={self.args.epochs}"]
            run = self.out / "runs" / name
            self.voisin("train", "classifier", f"table:{self.table(left_out)}", run, "--recipe", "space",
                        "--random-seed", seed, "--set", "windows=6", "--cache", self.out / "cache", *how)
            self.voisin("model", "import", run, "--name", name)
            self.voisin("--model", name, "add", *self.style_of, library=name)
            export.parent.mkdir(exist_ok=True)
            self.voisin("--model", name, "export", "--no-windows", export, library=name)
            shutil.rmtree(run)
            (export / "done").touch()
        with open(export / "tracks.csv", newline="", encoding="utf-8") as file:
            paths = [row["path"] for row in csv.DictReader(file)]
        return np.load(export / "vectors.npy").astype(np.float64), paths

    def mfcc(self):
        run, cache = self.out / "runs/mfcc", self.out / "cache-mfcc"
        if not (run / "report.json").exists():
            self.voisin("train", "classifier", f"table:{self.table('nothing')}", run, "--features", "mfcc",
                        "--algorithm", "centroid", "--cache", cache)
        kept = {path.stem: path for path in cache.rglob("*.f32")}
        with open(run / "data.csv", newline="", encoding="utf-8") as file:
            rows = [(row["path"], kept[row["content"]]) for row in csv.DictReader(file) if row["content"] in kept]
        # a digest of 32 bytes comes first
        return np.array([np.frombuffer(path.read_bytes()[32:], "<f4") for _, path in rows], np.float64), [p for p, _ in rows]

    def figures(self, found, left_out, standardise):
        vectors, paths = found
        styles = np.array([self.style_of[path] for path in paths])
        own = styles == left_out
        if standardise:
            vectors = (vectors - vectors[~own].mean(0)) / np.maximum(vectors[~own].std(0), 1e-9)
        vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        others = sorted(set(styles) - {left_out})
        means = np.stack([vectors[styles == style].mean(0) for style in others])
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        nearest = [others[at] for at in (vectors[own] @ means.T).argmax(1)]
        cosines = vectors[own] @ vectors.T
        cosines[np.arange(own.sum()), np.flatnonzero(own)] = -np.inf
        precision = own[np.argsort(-cosines, axis=1)[:, :10]].mean()
        return np.mean([style == KIN_OF[left_out] for style in nearest]), precision

    def report(self):
        mfcc, totals = self.mfcc(), []
        print("| left out | kin | nearest style is the kin | precision@10 | untrained | MFCC |")
        print("|---|---|---|---|---|---|")
        for style in sorted(KIN_OF):
            rows = []
            for seed in range(1, self.args.seeds + 1):
                found = [self.vectors(style, seed), self.vectors("nothing", seed, untrained=True)]
                trained, untrained = (self.figures(one, style, self.args.standardise) for one in found)
                rows.append((*trained, untrained[1], untrained[0]))
            spectral = self.figures(mfcc, style, True)
            each = ", ".join(f"{100 * row[0]:.0f}" for row in rows)
            kin, precision, untrained, untrained_kin = np.mean(rows, axis=0)
            totals.append((kin, precision, untrained, spectral[1], untrained_kin, spectral[0]))
            print(f"| {style} | {KIN_OF[style]} | {100 * kin:.0f} % ({each}) | {precision:.2f} | {untrained:.2f} | "
                  f"{spectral[1]:.2f} |", flush=True)
        kin, precision, untrained, spectral, untrained_kin, spectral_kin = np.mean(totals, axis=0)
        print(f"| all | | {100 * kin:.0f} % | {precision:.2f} | {untrained:.2f} | {spectral:.2f} |")
        print(f"\nThe kin is nearest for {100 * untrained_kin:.0f} % by the untrained network, {100 * spectral_kin:.0f} % by MFCC.")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--voisin", default="voisin", help="the program")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--standardise", action="store_true")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    Proof(args).report()


if __name__ == "__main__":
    main()
