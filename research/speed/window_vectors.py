#!/usr/bin/env python3
"""Real window embeddings for the index benchmarks: window_vectors.py SOURCE OUT [--queries 1000]
[--tracks 42] [--seed 1]

SOURCE is an output of `voisin embed --hop 1` (.npz; their mean is subtracted), or a cache of `voisin-train-encoder prepare`, of which the first teacher's
penultimate layer is used. Windows are scaled to unit norm. Random tracks are left out of the base,
and the queries are drawn from their windows, so that no query has another window of its own track
in the base. Writes OUT/base.npy, OUT/queries.npy (float32) and
OUT/truth.npy (int32, the 100 exact neighbours by dot product), as research/speed/bench_index.py,
bench_index_sizes.py and bench_hnsw_rs.py read them. Needs numpy.
"""

import argparse
import glob
import json
import os
import struct

import numpy as np

p = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
p.add_argument("source")
p.add_argument("out")
p.add_argument("--queries", type=int, default=1000)
p.add_argument(
    "--tracks",
    type=int,
    default=42,
    help="tracks that give the queries, or as many more as it takes",
)
p.add_argument("--seed", type=int, default=1)
a = p.parse_args()


def embedded(paths):
    each = [np.load(path)["embedding"] for path in paths]
    windows = np.concatenate(each)
    tracks = np.repeat(np.arange(len(each)), [len(rows) for rows in each])
    return windows - windows.mean(0), tracks


def cached():
    """Reads no more of each file than its head and one tensor."""
    windows, tracks = [], []
    for path in sorted(glob.glob(f"{a.source}/*.crops.safetensors")):
        with open(path, "rb") as file:
            length = struct.unpack("<Q", file.read(8))[0]
            head = json.loads(file.read(length))
            name = min(k for k in head if k.startswith("teacher."))
            begin, end = head[name]["data_offsets"]
            file.seek(8 + length + begin)
            values = np.frombuffer(file.read(end - begin), np.float32).reshape(head[name]["shape"])
        windows.append(values[:, : values.shape[1] - 50])  # the last fifty are tags
        tracks += [head["__metadata__"]["track"]] * len(values)
    return np.concatenate(windows), np.array(tracks)


paths = sorted(glob.glob(f"{a.source}/**/*.npz", recursive=True))
windows, tracks = embedded(paths) if paths else cached()
assert len(tracks) == len(windows), f"{len(tracks)} labels for {len(windows)} windows"
norms = np.linalg.norm(windows, axis=1)
windows, tracks = windows[norms > 0] / norms[norms > 0, None], tracks[norms > 0]
generator = np.random.default_rng(a.seed)
order = generator.permutation(np.unique(tracks))
counts = dict(zip(*np.unique(tracks, return_counts=True), strict=False))
held, n = set(), 0
for track in order:
    if n >= a.queries and len(held) >= a.tracks:
        break
    held.add(track)
    n += counts[track]
out = np.isin(tracks, list(held))
base, queries = windows[~out], generator.permutation(windows[out])[: a.queries]
truth = np.empty((len(queries), 100), np.int32)
for i in range(0, len(queries), 50):
    s = queries[i : i + 50] @ base.T
    best = np.argpartition(-s, 100, axis=1)[:, :100]
    truth[i : i + 50] = np.take_along_axis(
        best, np.argsort(-np.take_along_axis(s, best, 1), 1, kind="stable"), 1
    )
os.makedirs(a.out, exist_ok=True)
for name, values in (("base", base), ("queries", queries), ("truth", truth)):
    np.save(f"{a.out}/{name}.npy", values)
print(
    f"{len(base)} windows of {len(order) - len(held)} tracks, {len(queries)} queries of {len(held)} others, "
    f"nearest cosine (median) {np.median((queries * base[truth[:, 0]]).sum(1)):.3f}"
)
