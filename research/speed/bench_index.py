#!/usr/bin/env python3
"""Compares voisin's index with hnswlib and FAISS on the same vectors, in one interleaved run.

    cargo build --release --example bench_index
    python research/speed/bench_index.py DIR [--rounds 7] [--build] [--parts hnsw,exact,filter,paths,file]

DIR holds base.npy, queries.npy, truth.npy (float32 unit vectors; exact neighbours by dot product).
Rivals get all queries in one call and one thread; voisin gets them one by one in one thread. For
each engine the smallest width with recall@10 >= 0.99 is found, then all engines are timed in turn,
ROUNDS times; medians of queries per CPU second are compared (CPU time: other work on the machine
affects it less). Rivals' indexes are stored in DIR; --build times building (with --parts build:
only voisin and hnswlib). The part "paths" forces each instruction set in turn (VOISIN_ISA) and
compares answers and speed. Rivals are loaded only by the parts that need them. Needs numpy,
hnswlib, faiss-cpu.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

import faiss
import hnswlib
import numpy as np

p = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
p.add_argument("dir")
p.add_argument("--rounds", type=int, default=7)
p.add_argument("--build", action="store_true")
p.add_argument("--parts", default="hnsw,exact,filter,paths,file")
p.add_argument("--recall", type=float, default=0.99)
p.add_argument("--binary", default="target/release/examples/bench_index")
p.add_argument("--threads", type=int, default=2)
p.add_argument("--isa", default="")
p.add_argument("--m", type=int, default=16)
p.add_argument("--efc", type=int, default=200)
a = p.parse_args()
D, K = a.dir, 10
base, queries = np.load(f"{D}/base.npy"), np.load(f"{D}/queries.npy")
truth = np.load(f"{D}/truth.npy")[:, :K]
n, d = base.shape
WIDTHS = [
    16,
    18,
    20,
    22,
    24,
    26,
    28,
    30,
    32,
    36,
    40,
    48,
    56,
    64,
    72,
    80,
    96,
    112,
    128,
    160,
    192,
    256,
    384,
    512,
    768,
    1024,
]
parts = a.parts.split(",")


def recall(found, truth=truth):
    return (
        np.mean(
            [len(set(f.tolist()) & set(t.tolist())) for f, t in zip(found, truth, strict=False)]
        )
        / K
    )


class Voisin:
    def __init__(self, isa=a.isa):
        env = dict(os.environ, RAYON_NUM_THREADS=str(a.threads), VOISIN_ISA=isa)
        self.p = subprocess.Popen(
            [a.binary], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
        )
        self("load", D)

    def __call__(self, *words):
        print(*words, file=self.p.stdin, flush=True)
        line = self.p.stdout.readline()
        if not line:
            sys.exit(f"voisin died on {words}")
        return json.loads(line)

    def found(self):
        return np.load(f"{D}/found.npy")


def timed(f):
    t = time.process_time()
    r = f()
    return time.process_time() - t, r


def built(name, make, load, save):
    path = f"{D}/{name}"
    if os.path.exists(path) and not a.build:
        return load(path)
    t, c = time.perf_counter(), time.process_time()
    index = make()
    print(
        f"  {name}: built in {time.perf_counter() - t:.1f} s, {time.process_time() - c:.1f} CPU s"
    )
    save(index, path)
    return index


def make_hnswlib():
    h = hnswlib.Index("ip", d)
    h.init_index(n, M=a.m, ef_construction=a.efc, random_seed=1)
    h.add_items(base, num_threads=a.threads)
    return h


def load_hnswlib(path):
    h = hnswlib.Index("ip", d)
    h.load_index(path)
    return h


def make_faiss():
    f = faiss.IndexHNSWFlat(d, a.m, faiss.METRIC_INNER_PRODUCT)
    f.hnsw.efConstruction = a.efc
    f.add(base)
    return f


print(
    f"{D}: {n} x {d}, {len(queries)} queries; hnswlib {getattr(hnswlib, '__version__', '?')}, FAISS {faiss.__version__}, load {os.getloadavg()[0]:.1f}"
)
faiss.omp_set_num_threads(a.threads)
file = f"{D}/voisin.bin"
v = Voisin()
if {"hnsw", "build"} & set(parts):
    h = built("hnswlib.bin", make_hnswlib, load_hnswlib, lambda i, path: i.save_index(path))
    h.set_num_threads(1)
if "hnsw" in parts:
    f = built("faiss.bin", make_faiss, faiss.read_index, faiss.write_index)
faiss.omp_set_num_threads(1)
if a.build or not os.path.exists(file):
    r = v("build", 1000, a.m, a.efc, "-")
    print(f"  voisin: built in {r['seconds']:.1f} s, {r['cpu']:.1f} CPU s\n  {r['stats']}")
    r = v("save", file)
    print(f"  file: {r['bytes'] / n:.0f} bytes a vector, written in {r['seconds']:.2f} s")
r = v("open", file)
print(
    f"  opened in {r['seconds'] * 1e3:.1f} ms, {r['cpu'] * 1e3:.0f} ms CPU (in the page cache)\n  {v('stats')['stats']}"
)


def search_h(ef):
    h.set_ef(ef)
    return h.knn_query(queries, K, num_threads=1)[0]


def search_f(ef):
    f.hnsw.efSearch = ef
    return f.search(queries, K)[1]


def search_v(width):
    return v("search", width, K, f"{D}/found.npy")


if "hnsw" in parts:
    width = {}
    for name, run in (
        ("hnswlib", search_h),
        ("faiss", search_f),
        ("voisin", lambda ef: (search_v(ef), v.found())[1]),
    ):
        for ef in WIDTHS:
            got = recall(run(ef))
            if got >= a.recall:
                break
        width[name] = ef
        print(f"  {name}: width {ef}, recall@10 {got:.4f}")
    rates = {name: [] for name in width}
    p50, p99, default = [], [], []
    for _ in range(a.rounds):
        rates["hnswlib"].append(len(queries) / timed(lambda: search_h(width["hnswlib"]))[0])
        r = search_v(width["voisin"])
        rates["voisin"].append(r["cpu_qps"])
        p50.append(r["p50"])
        p99.append(r["p99"])
        rates["faiss"].append(len(queries) / timed(lambda: search_f(width["faiss"]))[0])
        default.append(search_v(0))
    m = {name: statistics.median(r) for name, r in rates.items()}
    best = max(m["hnswlib"], m["faiss"])
    print(
        f"  queries per CPU second at recall@10 >= {a.recall:.3g}: "
        + ", ".join(f"{k} {x:.0f}" for k, x in m.items())
        + f"; voisin / better rival {m['voisin'] / best:.2f}"
    )
    print(
        f"  one query: p50 {statistics.median(p50):.1f} us, p99 {statistics.median(p99):.1f} us (best round {min(p50):.1f}, {min(p99):.1f})"
    )
    print(
        f"  default settings: recall@10 {recall(v.found()):.4f}, {statistics.median(r['cpu_qps'] for r in default):.0f} queries per CPU second, p50 {statistics.median(r['p50'] for r in default):.1f} us, p99 {statistics.median(r['p99'] for r in default):.1f} us (best round {min(r['p50'] for r in default):.1f}, {min(r['p99'] for r in default):.1f})"
    )
if "exact" in parts:
    flat = faiss.IndexFlatIP(d)
    flat.add(base)
    some = queries[:100]
    rounds = []
    for _ in range(max(3, a.rounds // 2)):
        t, _ = timed(lambda: [flat.search(some[i : i + 1], K) for i in range(len(some))])
        rounds.append((t / len(some) * 1e6, 1e6 / search_v("exact")["cpu_qps"]))
    t, e = (statistics.median(x) for x in zip(*rounds, strict=False))
    print(
        f"  CPU us a query without a graph: FAISS flat {t:.0f}, exact {e:.0f} (recall@10 {recall(v.found()):.4f}, {t / e:.1f} x)"
    )
if "filter" in parts:
    for share in (0.5, 0.1, 0.01, 0.001):
        # The quietest of several rounds: one interruption is longer than a hundred queries.
        r = min(
            (v("filter", share, K, f"{D}/found.npy") for _ in range(a.rounds)),
            key=lambda r: r["p99"],
        )
        got = v.found()
        print(
            f"  filter {share:.1%}: full lists {np.mean((got >= 0).all(1)):.4f}, p50 {r['p50']:.0f} us, p99 {r['p99']:.0f} us, {1e6 / r['cpu_qps']:.0f} CPU us"
        )
if "paths" in parts:
    answers, figures = {}, {}
    for isa in ("", "avx2", "portable"):
        one = Voisin(isa)
        one("open", file)
        name = one("stats")["stats"].split("isa: ")[1].split(",")[0].strip('"')
        rates = statistics.median(
            one("search", 0, K, f"{D}/found.npy")["cpu_qps"]
            for _ in range(3 if isa != "portable" else 1)
        )
        answers[name], figures[name] = np.load(f"{D}/found.npy"), rates
        one.p.stdin.close()
        one.p.wait()
    first = next(iter(answers))
    for name, rates in figures.items():
        print(
            f"  {name}: {rates:.0f} queries per CPU second ({rates / figures[first]:.2f} of {first}); same ids as {first}: {np.array_equal(answers[name], answers[first])}"
        )
if "file" in parts:
    r = v("check")
    print(f"  check: {r}")
    r = v("insert", 100)
    t = v("save", file)
    print(f"  adding 100: {r['seconds'] * 1e3:.1f} ms, saving {t['seconds'] * 1e3:.1f} ms")
    r = v("remove", 10)
    search_v(0)
    got = v.found()
    kept = got[(got >= 0) & (got < n)]
    print(
        f"  removed every tenth in {r['seconds'] * 1e3:.1f} ms; removed ones in results: {int((kept % 10 == 0).sum())}"
    )
