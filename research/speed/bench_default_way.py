#!/usr/bin/env python3
"""The search mode that the index chooses by default, against its lists and its graph:
bench_default_way.py [NAME...]

    cargo build --release --example bench_index

Makes sets of unit vectors of several kinds (`SETS`: directions, noise in all, width, near copies,
unequal clusters), builds an index of each with the default options, and times single queries and
one call for all 1 000, by each mode in turn, on one thread: queries a second of CPU time, medians
of ROUNDS. A row has the cost of the build, the figures of each mode, and the default's rate divided
by that of the faster mode whose recall is within a thousandth of the target. `--churn`
removes every tenth vector, adds as many others, and compares with a new build of the same vectors.
Needs numpy.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import tempfile

import numpy as np

# name: vectors, width, latent directions, noise, clusters, spread of their sizes, share of near copies
SETS = {
    "8 directions": (100_000, 96, 8, 0.0, 30, 1.0, 0.0),
    "8 directions, noise": (100_000, 256, 8, 0.2, 30, 1.0, 0.0),
    "32 directions": (100_000, 256, 32, 0.02, 100, 1.0, 0.0),
    "64 directions, noise": (100_000, 512, 64, 0.25, 300, 1.0, 0.0),
    "128 directions": (100_000, 512, 128, 0.02, 300, 1.0, 0.0),
    "300 directions, noise": (100_000, 1024, 300, 0.2, 300, 1.0, 0.0),
    "near copies": (100_000, 256, 32, 0.1, 100, 1.0, 0.3),
    "unequal clusters": (100_000, 512, 48, 0.1, 300, 2.5, 0.0),
    "20 000": (20_000, 256, 48, 0.1, 100, 1.0, 0.0),
    "a million": (1_000_000, 512, 48, 0.1, 1_000, 1.0, 0.0),
}
K = 10
WAYS = ("auto", "lists", "hnsw")
LEAST = 0.15  # seconds of a measurement

p = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
p.add_argument("names", nargs="*", default=[name for name in SETS if name != "a million"])
p.add_argument("--rounds", type=int, default=7)
p.add_argument("--churn", action="store_true")
p.add_argument("--target", type=float, default=0.995, help="recall that the index aims at")
p.add_argument("--binary", default="target/release/examples/bench_index")
a = p.parse_args()


def make(name, seed):
    """The set `name`, 1 000 queries like it, and a tenth as many vectors that come later."""
    n, width, latent, noise, clusters, spread, copies = SETS[name]
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(clusters, latent)).astype(np.float32)
    weights = rng.lognormal(0, spread, clusters)
    mapping = rng.normal(size=(latent, width)).astype(np.float32) / np.sqrt(latent)

    def draw(count):
        out = np.empty((count, width), np.float32)
        for start in range(0, count, 100_000):
            rows = out[start : start + 100_000]
            which = rng.choice(clusters, len(rows), p=weights / weights.sum())
            points = centres[which] + 0.8 * rng.normal(size=(len(rows), latent)).astype(np.float32)
            rows[:] = points @ mapping
            rows += noise * rng.normal(size=rows.shape).astype(np.float32)
        return out

    base = draw(n)
    copied = int(n * copies)
    if copied:
        source = rng.integers(0, n - copied, copied)
        base[n - copied :] = base[source] + 0.003 * rng.normal(size=(copied, width))
        rng.shuffle(base)
    sets = base, draw(1_000), draw(n // 10)
    for rows in sets:
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return sets


def nearest(base, queries):
    """The cosine of each query's K-th nearest."""
    least = np.full(len(queries), -np.inf, np.float32)
    for start in range(0, len(queries), 100):
        products = queries[start : start + 100] @ base.T
        least[start : start + 100] = np.partition(products, -K, axis=1)[:, -K]
    return least - 1e-6


class Index:
    """bench_index at the end of a pipe."""

    def __init__(self, threads, folder):
        self.folder = folder
        self.process = subprocess.Popen(
            [a.binary],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=dict(os.environ, RAYON_NUM_THREADS=str(threads)),
        )

    def __call__(self, *words):
        print(*words, file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        try:
            return json.loads(line)
        except json.JSONDecodeError as error:
            raise SystemExit(f"{words}: {line!r}") from error

    def close(self):
        self.process.stdin.close()
        self.process.wait()

    def recall(self, way, vectors, queries, least):
        self("search", way, 0, K, f"{self.folder}/found.npy")
        found = np.load(f"{self.folder}/found.npy")
        rows = np.array([[vectors[i] for i in ids] for ids in found.tolist()])
        return float((np.einsum("qkd,qd->qk", rows, queries) >= least[:, None]).mean())

    def rate(self, *words):
        """Queries a second over as many passes as take LEAST seconds, after one to get warm."""
        self(*words)
        passes, wall, cpu = 0, 0.0, 0.0
        while wall < LEAST:
            answer = self(*words)
            passes += 1
            wall += 1_000 / answer["qps"]
            cpu += 1_000 / answer["cpu_qps"]
        return passes * 1_000 / cpu

    def rates(self, others=()):
        """Medians of single queries and batches by way; of the indexes `others` too, in turn."""
        indexes = (self, *others)
        times = [{(way, kind): [] for way in WAYS for kind in (0, 1)} for _ in indexes]
        for _ in range(a.rounds):
            for index, time in zip(indexes, times, strict=True):
                for way in WAYS:
                    time[way, 0].append(index.rate("search", way, 0, K, "-"))
                    time[way, 1].append(index.rate("batch", way, K, "-"))
        medians = [{key: statistics.median(t) for key, t in time.items()} for time in times]
        return medians if others else medians[0]


def build(folder):
    """Builds on two threads, and opens the file on one, as a command does."""
    index = Index(2, folder)
    index("load", folder)
    built = index("build", "-", 16, 200, "-", a.target)
    index("save", f"{folder}/index.bin")
    index.close()
    opened = Index(1, folder)
    opened("queries", folder)
    opened("open", f"{folder}/index.bin")
    return built, opened


def write(folder, base, queries):
    os.makedirs(folder, exist_ok=True)
    np.save(f"{folder}/base.npy", base)
    np.save(f"{folder}/queries.npy", queries)


for name in a.names:
    folder = tempfile.mkdtemp(prefix="voisin-way-")
    base, queries, later = make(name, 11)
    write(folder, base, queries)
    least = nearest(base, queries)
    built, index = build(folder)
    recalls = {way: index.recall(way, base, queries, least) for way in WAYS}
    rates = index.rates()
    print(index("stats")["stats"])
    row = f"{name}: {base.shape[0]} x {base.shape[1]}, built in {built['cpu']:.1f} s of CPU time"
    for kind, label in ((0, "alone"), (1, "batch")):
        reached = [way for way in WAYS[1:] if recalls[way] >= a.target - 0.001] or WAYS[1:]
        fastest = max(rates[way, kind] for way in reached)
        figures = " ".join(f"{way} {rates[way, kind]:.0f}" for way in WAYS)
        row += f"; {label} {figures}, default {rates['auto', kind] / fastest:.3f}"
    print(row + "; recall " + " ".join(f"{way} {recalls[way]:.4f}" for way in WAYS), flush=True)
    if a.churn:
        write(f"{folder}/later", later, later)
        index("load", folder)  # whose rows are removed
        index("remove", 10)
        index("queries", f"{folder}/later")
        index("insert", len(later))
        index("queries", folder)
        kept = np.arange(len(base)) % 10 > 0
        changed = np.concatenate([base[kept], later])
        numbers = [*np.flatnonzero(kept).tolist(), *(1_000_000_000 + i for i in range(len(later)))]
        vectors = dict(zip(numbers, changed, strict=True))
        least = nearest(changed, queries)
        write(f"{folder}/new", changed, queries)
        _, new = build(f"{folder}/new")
        recalls = (
            index.recall("auto", vectors, queries, least),
            new.recall("auto", changed, queries, least),
        )
        old_rates, new_rates = index.rates([new])
        ratios = [old_rates["auto", kind] / new_rates["auto", kind] for kind in (0, 1)]
        print(
            f"  a tenth removed and added: recall {recalls[0]:.4f}, built anew {recalls[1]:.4f};"
            f" speed {ratios[0]:.3f} alone, {ratios[1]:.3f} in batches",
            flush=True,
        )
        new.close()
    index.close()
    shutil.rmtree(folder)
