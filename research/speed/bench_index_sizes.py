#!/usr/bin/env python3
"""Recall at default settings from small libraries to large ones: bench_index_sizes.py DIR...

Each DIR holds base.npy, queries.npy and truth.npy as music_vectors.py writes them. Prints for each
the size, the search mode, the width, recall@10 of the default search, p50 and p99 of a query
(one thread), self-recall, and bytes a vector. An existing index (DIR/voisin.bin) is opened instead
of built. Needs numpy.

A million vectors take minutes to build, so the steps can be run separately:

    bench_index_sizes.py DIR --step build      # writes DIR/voisin.bin and the cost of the build (DIR/built.json)
    bench_index_sizes.py DIR --step measure    # reads the queries and the index only
"""

import argparse
import json
import os
import re
import subprocess

import numpy as np

p = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
p.add_argument("dirs", nargs="+")
p.add_argument("--binary", default="target/release/examples/bench_index")
p.add_argument("--threads", type=int, default=2)
p.add_argument("--step", choices=["build", "measure", "both"], default="both")
a = p.parse_args()
K = 10
print(
    f"{'vectors':>9} {'mode':>5} {'ef':>5} {'recall@10':>9} {'p50 us':>7} {'p99 us':>7} {'build s':>8} {'CPU s':>6} {'GB':>5} {'open ms':>8} {'lost':>4} {'bytes':>6}"
)


def start():
    v = subprocess.Popen(
        [a.binary],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=dict(os.environ, RAYON_NUM_THREADS=str(a.threads)),
    )

    def ask(*words):
        print(*words, file=v.stdin, flush=True)
        return json.loads(v.stdout.readline())

    return v, ask


def peak(process):
    """The most memory that a process has had, in GB (Linux)."""
    try:
        return (
            int(re.search(r"VmHWM:\s+(\d+)", open(f"/proc/{process.pid}/status").read())[1]) / 1e6
        )
    except OSError:
        return float("nan")


for D in a.dirs:
    file, notes = f"{D}/voisin.bin", f"{D}/built.json"
    if a.step != "measure" and not os.path.exists(file):
        v, ask = start()
        ask("load", D)
        built = ask("build", "-", 16, 200, "-", "-")
        ask("save", file)
        built["gigabytes"] = peak(v)
        json.dump(built, open(notes, "w"))
        v.stdin.close()
        v.wait()
    if a.step == "build":
        continue
    built = json.load(open(notes)) if os.path.exists(notes) else {}
    v, ask = start()
    ask("queries", D)
    opened = ask("open", file)
    stats = ask("stats")["stats"]

    def field(name):
        return re.search(rf"\b{name}: (\w+)", stats)[1]

    n = int(field("tracks"))
    for _ in range(3):
        timed = ask("search", "auto", 0, K, f"{D}/found.npy")
    found, truth = np.load(f"{D}/found.npy"), np.load(f"{D}/truth.npy")[:, :K]
    recall = (
        np.mean(
            [len(set(x.tolist()) & set(y.tolist())) for x, y in zip(found, truth, strict=False)]
        )
        / K
    )
    lost = ask("check")["lost"]
    nan = float("nan")
    print(
        f"{n:9d} {field('mode'):>5} {field('ef'):>5} {recall:9.4f} {timed['p50']:7.1f} {timed['p99']:7.1f} {built.get('seconds', nan):8.1f} {built.get('cpu', nan):6.1f} {built.get('gigabytes', nan):5.1f} {opened['seconds'] * 1e3:8.1f} {lost:4d} {os.path.getsize(file) / n:6.0f}",
        flush=True,
    )
    v.stdin.close()
    v.wait()
