#!/usr/bin/env python3
"""Compares the largest step of `voisin path` with the smallest possible.

    research/quality/path_steps.py VOISIN LIBRARY [--pairs 50] [--seed 1] [--centre 200,56]

For random pairs of tracks of a library of at most 2 000, the walk's largest step (1 - similarity)
over the smallest largest step of any walk of at most as many tracks, which is found exactly: over
all pairs of tracks, step by step. --centre: numbers of each network of the library's model. Needs
numpy.
"""

import argparse
import csv
import json
import pathlib
import random
import subprocess
import tempfile

import numpy as np
from neighbour_quality import centred

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
parser.add_argument("voisin")
parser.add_argument("library")
parser.add_argument("--pairs", type=int, default=50)
parser.add_argument("--seed", type=int, default=1)
parser.add_argument(
    "--centre", type=lambda text: [int(length) for length in text.split(",")], default=[200, 512]
)
args = parser.parse_args()


def voisin(*words):
    command = [args.voisin, *words, "--library", args.library]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


with tempfile.TemporaryDirectory() as folder:
    voisin("export", folder, "--no-windows")
    vectors, mean = (np.load(pathlib.Path(folder) / name) for name in ("vectors.npy", "mean.npy"))
    vectors = centred(vectors, mean, args.centre)
    with open(pathlib.Path(folder) / "tracks.csv", newline="") as table:
        ids = [int(line["id"]) for line in csv.DictReader(table)]
distance = np.maximum(1 - vectors @ vectors.T, 0)
row = {track: i for i, track in enumerate(ids)}

draw = random.Random(args.seed)
ratios = []
for _ in range(args.pairs):
    a, b = draw.sample(ids, 2)
    walk = json.loads(voisin("path", f"id:{a}", f"id:{b}", "--format", "json"))
    rows = [row[track["id"]] for track in walk["tracks"]]
    largest = max(distance[i, j] for i, j in zip(rows, rows[1:], strict=False))
    least = np.where(np.arange(len(ids)) == row[a], 0.0, np.inf)
    for _ in range(len(rows) - 1):
        least = np.minimum(least, np.maximum(least[:, None], distance).min(axis=0))
    ratios.append(largest / least[row[b]])
ratios = np.array(ratios)
print(
    f"{args.pairs} pairs of {len(ids)} tracks: mean {ratios.mean():.3f}, largest {ratios.max():.3f} times the smallest"
)
