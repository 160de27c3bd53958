#!/usr/bin/env python3
"""The number of lists to search to find a copy: copies_width.py DIR

    cargo build --release --example bench_index

DIR holds base.npy (float32 unit vectors). Queries are 2 000 of them, rotated in a random direction
until their cosine with the original is 0.9 to 0.5. Prints the share whose original is among the
nine nearest, by the number of lists searched, the fitted number first. Needs numpy.
"""

import argparse
import json
import os
import re
import subprocess
import tempfile

import numpy as np

p = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
p.add_argument("dir")
p.add_argument("--binary", default="target/release/examples/bench_index")
a = p.parse_args()
base = np.load(f"{a.dir}/base.npy", mmap_mode="r")
draw = np.random.default_rng(3)
rows = np.sort(draw.choice(len(base), min(2000, len(base)), replace=False))
own = np.asarray(base[rows])
program = subprocess.Popen([a.binary], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def ask(*words):
    print(*words, file=program.stdin, flush=True)
    return json.loads(program.stdout.readline())


with tempfile.TemporaryDirectory() as work:
    np.save(f"{work}/queries.npy", own)
    os.symlink(os.path.abspath(f"{a.dir}/base.npy"), f"{work}/base.npy")
    ask("load", work)
    stats = ask("build", "-", 16, 200, 0, "-")["stats"]
    fitted = int(re.search(r"lists: (\d+)", stats)[1])
    widths = [max(fitted // part, 1) for part in (1, 2, 4, 8, 16)]
    print(f"{len(base)} vectors; lists looked at: {widths}")
    for cosine in (0.9, 0.8, 0.7, 0.6, 0.5):
        away = draw.normal(size=own.shape).astype(np.float32)
        away -= (away * own).sum(1, keepdims=True) * own
        away /= np.linalg.norm(away, axis=1, keepdims=True)
        np.save(
            f"{work}/queries.npy", (cosine * own + np.sqrt(1 - cosine**2) * away).astype(np.float32)
        )
        ask("queries", work)
        shares = []
        for width in widths:
            ask("search", "lists", width, 9, f"{work}/found.npy")
            found = np.load(f"{work}/found.npy")
            shares.append(f"{(found == rows[:, None]).any(1).mean():.4f}")
        print(f"cosine {cosine}: {' '.join(shares)}", flush=True)
