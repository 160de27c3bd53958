#!/usr/bin/env python3
"""voisin's search against that of hnsw_rs on graphs built with the same M and ef_construction:
bench_hnsw_rs.py DIR

DIR holds base.npy, queries.npy and truth.npy as music_vectors.py writes them. Each side gets the
smallest width that reaches recall@10 of 0.99; then both run all queries seven times in turn, one
thread. Prints queries a second of CPU time (medians) and their ratio, and the times of both
builds. Needs numpy and `cargo build --release --example bench_index --config
profile.release.package.hnsw_rs.opt-level=3` (the release profile does not optimise hnsw_rs).
hnsw_rs's graph is only in memory, and building it takes minutes: with --wait the script waits
before the timing for a line on standard input, so that the timing can run on an idle machine.
"""

import argparse
import json
import os
import subprocess

import numpy as np

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument("dir")
parser.add_argument("--binary", default="target/release/examples/bench_index")
parser.add_argument(
    "--wait", action="store_true", help="wait for a line on standard input before the timing"
)
arguments = parser.parse_args()
WIDTHS = (16, 20, 24, 28, 32, 40, 48, 64, 80, 96, 128, 160, 192, 256, 384, 512)
K, RECALL, ROUNDS = 10, 0.99, 7

program = subprocess.Popen(
    [arguments.binary],
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    text=True,
    env=dict(os.environ, RAYON_NUM_THREADS="2"),
)


def ask(*words):
    print(*words, file=program.stdin, flush=True)
    return json.loads(program.stdout.readline())


truth = np.load(f"{arguments.dir}/truth.npy")[:, :K].tolist()
out = f"{arguments.dir}/found.npy"


def width(*command):
    """The smallest width with the recall that is asked for, and that recall."""
    for w in WIDTHS:
        ask(*command, w, K, out)
        recall = (
            np.mean(
                [len(set(a) & set(b)) for a, b in zip(np.load(out).tolist(), truth, strict=False)]
            )
            / K
        )
        if recall >= RECALL:
            return w, recall
    raise SystemExit(f"{command}: no width reaches a recall of {RECALL}")


ask("load", arguments.dir)
theirs_built = ask("hnsw_rs", 16, 200)
theirs, theirs_recall = width("hnsw_rs_search")
file = f"{arguments.dir}/voisin.bin"
print(f"voisin built: {ask('build', 1000, 16, 200, '-', '-', 'hnsw_rs')}")
ask("save", file)
ask("open", file)
ours, ours_recall = width("search", "hnsw")
if arguments.wait:
    print(f"built, widths {ours} and {theirs}; waiting for a line", flush=True)
    input()
rates = [
    (
        ask("search", "hnsw", ours, K, "-")["cpu_qps"],
        ask("hnsw_rs_search", theirs, K, "-")["cpu_qps"],
    )
    for _ in range(ROUNDS)
]
a, b = np.median(rates, axis=0)
print(f"hnsw_rs built: {theirs_built}")
print(f"voisin  ef {ours:4d} recall {ours_recall:.4f} {a:9.0f} queries/s")
print(f"hnsw_rs ef {theirs:4d} recall {theirs_recall:.4f} {b:9.0f} queries/s")
print(f"ratio {np.median([x / y for x, y in rates]):.2f}")
