#!/usr/bin/env python3
"""Computes the ranks for the built-in moods: scripts/research/models/fit_moods.py TRAIN.npz OUT.json

TRAIN.npz has MusiCNN's tag activations of real music of ten genres: `X` [windows, 50] and `IDS`,
the track of each window (GTZAN's fault-filtered training part of
jordipons/sklearn-audio-transfer-learning, ISC). A track's logit of a tag is the mean over its
windows. Writes, for each tag that is part of a mood, the logits below which 0, 5, 10 … 100 % of the
tracks are: data/mood_ranks.json.
"""

import argparse
import json
import pathlib

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[3]
# Those that src/voisin/moods.rs names.
TAGS = ["Mellow", "beautiful", "chill", "happy", "party", "sad"]
# Activations are stored as float32: none is nearer to 0 or 1 than this.
EDGE = 1e-6


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("train")
    parser.add_argument("out")
    args = parser.parse_args()
    names = json.loads((ROOT / "models/musicnn-msd.json").read_text())["tags"]
    data = np.load(args.train)
    shares = np.clip(data["X"].astype(np.float64), EDGE, 1 - EDGE)
    logits = np.log(shares / (1 - shares))
    tracks = np.array(
        [logits[data["IDS"] == track].mean(axis=0) for track in np.unique(data["IDS"])]
    )
    steps = np.linspace(0, 100, 21)
    ranks = {
        tag: [round(float(value), 4) for value in np.percentile(tracks[:, names.index(tag)], steps)]
        for tag in TAGS
    }
    document = {"tracks": len(tracks), "ranks": ranks}
    pathlib.Path(args.out).write_text(json.dumps(document, indent=1) + "\n")


main()
