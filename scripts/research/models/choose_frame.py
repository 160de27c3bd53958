#!/usr/bin/env python3
"""Compares teachers' frames for the search vector, on free music only: choose_frame.py CACHE

CACHE is an output of `voisin-train-encoder prepare`. For each mixture of the teachers' z-scored
penultimate layers (`voisin-train-encoder export --frame NAME:WEIGHT`) and tag logits, on the means
of each track's crops:

- packages: share of a track's ten nearest, of other packages only, whose package has the same of
  four rough styles (electronic, orchestral, rock, light; at most 40 tracks a package, mean over
  styles);
- grooves: share of a rendered groove's five nearest that have its style, of some hundred.

Both are rough and only for this choice, so that nothing is chosen on labelled music of users. Needs
numpy.
"""

import argparse
import collections
import glob
import json
import struct
import zlib

import numpy as np

STYLES = {
    "electronic": "ufoai-music naev-data warzone2100-music nexuiz-music singularity-music wizznic-data hyperrogue-music",
    "orchestral": "0ad-data wesnoth-1.16-music widelands-data flare-game megaglest-data",
    "rock": "supertuxkart-data marsshooter-data fretsonfire-songs-muldjord fretsonfire-songs-sectoid",
    "light": "supertux-data hedgewars-data frozen-bubble-data drascula-music",
}
STYLE = {package: style for style, packages in STYLES.items() for package in packages.split()}
MOST = 40


def read(cache):
    """{teacher: {track: mean outputs}} and {track: package}, of crops that are no mixtures."""
    outputs, group = collections.defaultdict(lambda: collections.defaultdict(list)), {}
    for path in sorted(glob.glob(f"{cache}/*.crops.safetensors")):
        with open(path, "rb") as file:
            size = struct.unpack("<Q", file.read(8))[0]
            head = json.loads(file.read(size))
            about = head["__metadata__"]
            if "mixed" in about or not (
                about["group"] in STYLE or about["track"].startswith("grooves/")
            ):
                continue
            group[about["track"]] = about["group"]
            for name, tensor in head.items():
                if name.startswith("teacher."):
                    begin, end = tensor["data_offsets"]
                    file.seek(8 + size + begin)
                    rows = np.frombuffer(file.read(end - begin), "<f4").reshape(tensor["shape"])
                    outputs[name.split(".", 1)[1]][about["track"]].append(rows)
    return {
        teacher: {track: np.concatenate(rows).mean(0) for track, rows in tracks.items()}
        for teacher, tracks in outputs.items()
    }, group


def precision(vectors, labels, groups, k):
    """Mean over labels of the share of the `k` nearest of other groups that have the query's label;
    standard error.
    """
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    labels, groups = np.array(labels), np.array(groups)
    similarity = vectors @ vectors.T
    similarity[groups[:, None] == groups[None, :]] = -2
    nearest = np.argsort(-similarity, axis=1)[:, :k]
    share = (labels[nearest] == labels[:, None]).mean(1)
    return np.mean(
        [share[labels == label].mean() for label in np.unique(labels)]
    ), share.std() / len(share) ** 0.5


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cache")
    teachers, group = read(parser.parse_args().cache)
    tags = 50  # of every teacher that there is
    names, taken = sorted(teachers), collections.Counter()
    music, grooves = [], sorted(track for track in group if track.startswith("grooves/"))
    for track in sorted(
        (t for t in group if group[t] in STYLE), key=lambda t: zlib.crc32(t.encode())
    ):
        taken[group[track]] += 1
        if taken[group[track]] <= MOST:
            music.append(track)
    print(f"{len(music)} tracks, {len(grooves)} grooves; first teacher {names[0]}")
    for weight in (0, 0.5, 0.7, 1) if len(names) > 1 else (0,):
        for share in (0, 0.5, 1):
            line = f"{names[-1]} {weight}, tags {share}:"
            for what, tracks, label, apart, k in (
                ("packages", music, lambda t: STYLE[group[t]], lambda t: group[t], 10),
                ("grooves", grooves, lambda t: t.split("/")[1], lambda t: t, 5),
            ):
                parts = []
                for scale, teacher in ((1, names[0]), (weight, names[-1])):
                    rows = np.stack([teachers[teacher][track] for track in tracks])
                    rows = scale * (rows - rows.mean(0)) / (rows.std(0) + 1e-6)
                    parts += [rows[:, :-tags], share * rows[:, -tags:]]
                mean, error = precision(
                    np.hstack(parts), [label(t) for t in tracks], [apart(t) for t in tracks], k
                )
                line += f"  {what} {mean:.3f} ± {error:.3f}"
            print(line)


if __name__ == "__main__":
    main()
