#!/usr/bin/env python3
"""Compares voisin's index with other libraries', in one interleaved run.

    cargo build --release --example bench_index
    python scripts/research/speed/bench_index_rivals.py DIR [--rounds 5] [--only rabitqlib,lorann,...]
        [--recall .95,.99,.999] [--k 10]

DIR holds base.npy, queries.npy, truth.npy (float32 unit vectors; exact neighbours by dot product).
The rivals are SymphonyQG (rabitqlib), LoRANN, FAISS, hnswlib (pip install rabitqlib lorann
faiss-cpu hnswlib) and hnsw_rs. Each is built on two threads with the parameters that were its best;
for each requested recall@k the narrowest search that reaches it is found, then all are timed in
turn, ROUNDS times, on one thread: one query at a time, and all queries in one call. Queries per
second of CPU time, and of wall-clock time in brackets, medians. voisin's index is built for each
recall. Then, for each recall, voisin against the best rival. VOISIN_ISA=avx2 measures voisin as on
a processor without AVX-512.
"""

import argparse
import dataclasses
import importlib.metadata
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")
import numpy as np

THREADS = 2
LEAST = 0.15  # Seconds of a measurement: a pass over a small set takes milliseconds.
PROBES = [*range(2, 15), *range(16, 48, 4), *range(48, 128, 16), *range(128, 640, 64), 800, 1700]
WIDTHS = [*range(16, 48, 4), *range(48, 128, 16), *range(128, 512, 64), 640, 1024, 1536, 2048]


@dataclasses.dataclass
class Vectors:
    folder: str
    k: int

    def __post_init__(self):
        self.base = np.load(f"{self.folder}/base.npy")
        self.queries = np.load(f"{self.folder}/queries.npy")
        last = np.load(f"{self.folder}/truth.npy")[:, self.k - 1]
        self.farthest = np.einsum("ij,ij->i", self.queries, self.base[last]) - 1e-6

    def recall(self, found):
        """What is as near as the last of the nearest is one of them, whatever its number."""
        near = 0
        for query, last, ids in zip(self.queries, self.farthest, found, strict=True):
            ids = np.unique(ids[(ids >= 0) & (ids < len(self.base))])
            near += min(np.count_nonzero(self.base[ids] @ query >= last), self.k)
        return near / self.k / len(self.queries)


@dataclasses.dataclass
class Library:
    """One library with one set of parameters; both searches return ids."""

    label: str
    seconds: float
    in_batches: Callable
    alone: Callable
    # By recall: the narrowest width that reaches it, and what it finds.
    widths: dict = dataclasses.field(default_factory=dict)
    rates: dict = dataclasses.field(default_factory=dict)

    def fit(self, vectors, targets, widths):
        left, found, width = iter(widths), 0, None
        for target in targets:
            while found < target and (width := next(left, None)) is not None:
                found = vectors.recall(self.in_batches(vectors.queries, width))
            if found >= target:
                self.widths[target] = width, found

    def time(self, vectors):
        for target, (width, _) in self.widths.items():
            for kind, search in (("alone", self.alone), ("batch", self.in_batches)):
                cpu, wall, passes = time.process_time(), time.perf_counter(), 0
                while time.perf_counter() < wall + LEAST:
                    search(vectors.queries, width)
                    passes += 1
                spent = (time.process_time() - cpu, time.perf_counter() - wall)
                rate = [passes * len(vectors.queries) / seconds for seconds in spent]
                self.rates.setdefault((target, kind), []).append(rate)

    def rate(self, target, kind, which=0):
        return statistics.median(pair[which] for pair in self.rates[target, kind])


def built(make):
    begun = sum(os.times()[:2])
    return make(), sum(os.times()[:2]) - begun


def one_by_one(search):
    return lambda queries, width: [search(queries[i : i + 1], width) for i in range(len(queries))]


def graph_widths(vectors):
    return [width for width in WIDTHS if width >= vectors.k]


def rabitqlib(vectors):
    import rabitqlib

    # Of unit vectors the order by distance is that by product, and its estimates are of distances.
    for degree in (32, 64):
        index = rabitqlib.SymqgIndex(vectors.base.shape[1], degree, "l2")
        _, seconds = built(lambda index=index: index.build(vectors.base, 200, THREADS))

        def search(queries, width, index=index):
            parts = map(np.asarray, index.search_batch(queries, vectors.k, width, 1))
            return next(part for part in parts if part.dtype.kind in "iu")

        label = f"SymphonyQG, degree {degree}"
        yield Library(label, seconds, search, one_by_one(search)), graph_widths(vectors)


def lorann(vectors):
    import lorann

    n, dimension = vectors.base.shape
    # As many more lists as the square root of the number of vectors.
    lists = min(1024 * 2 ** round(np.log2(max(n / 100_000, 1) ** 0.5)), n // 32)
    to = 256 if dimension > 256 else None
    index = lorann.LorannIndex(vectors.base, lists, to, 8, 32, 5, lorann.IP)
    _, seconds = built(lambda: index.build(n_threads=THREADS))
    for times in (4, 10):

        def search(queries, width, more=times * vectors.k):
            return np.asarray(index.search(queries, vectors.k, width, more, n_threads=1))

        def alone(queries, width, more=times * vectors.k):
            return [index.search(query, vectors.k, width, more) for query in queries]

        label = f"LoRANN, {lists} lists, {times} k reordered"
        yield Library(label, seconds, search, alone), PROBES


def faiss(vectors):
    import faiss

    n, dimension = vectors.base.shape

    def make(factory):
        faiss.omp_set_num_threads(THREADS)
        index = faiss.index_factory(dimension, factory, faiss.METRIC_INNER_PRODUCT)
        index.train(vectors.base)
        index.add(vectors.base)
        faiss.omp_set_num_threads(1)
        return index

    lists = 512 if n >= 512 * 39 else 256
    factory = f"IVF{lists},PQ{dimension // 4}x4fs,RFlat"
    index, seconds = built(lambda: make(factory))
    for factor in (5, 20):

        def search(queries, width, factor=factor):
            index.k_factor = factor
            faiss.extract_index_ivf(index.base_index).nprobe = width
            return index.search(queries, vectors.k)[1]

        label = f"FAISS, {factory}, k_factor {factor}"
        yield Library(label, seconds, search, one_by_one(search)), PROBES


def hnswlib(vectors):
    import hnswlib

    index = hnswlib.Index("ip", vectors.base.shape[1])
    index.init_index(len(vectors.base), M=16, ef_construction=200, random_seed=1)
    _, seconds = built(lambda: index.add_items(vectors.base, num_threads=THREADS))

    def search(queries, width):
        index.set_ef(width)
        return index.knn_query(queries, vectors.k, num_threads=1)[0]

    yield Library("hnswlib, M 16", seconds, search, one_by_one(search)), graph_widths(vectors)


class Process:
    """The program bench_index at the end of a pipe."""

    def __init__(self, threads, folder):
        self.program = subprocess.Popen(
            ["target/release/examples/bench_index"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=dict(os.environ, RAYON_NUM_THREADS=str(threads)),
        )
        self("load", folder)

    def __call__(self, *words):
        print(*words, file=self.program.stdin, flush=True)
        line = self.program.stdout.readline()
        if not line:
            sys.exit(f"bench_index ended on {words}")
        return json.loads(line)


class Piped(Library):
    """What bench_index searches and times; `ask(target, kind)` is one pass over the queries."""

    def time(self, _vectors):
        for target in self.widths:
            for kind in ("alone", "batch"):
                begun, rates = time.perf_counter(), []
                while time.perf_counter() < begun + LEAST:
                    answer = self.ask(target, kind)
                    rates.append((answer["cpu_qps"], answer["qps"]))
                mean = [statistics.harmonic_mean(part) for part in zip(*rates, strict=True)]
                self.rates.setdefault((target, kind), []).append(mean)


class Voisin(Piped):
    """An index for each recall, whose width the build finds if it can."""

    def __init__(self, vectors, targets):
        super().__init__("voisin", 0, None, None)
        self.processes, file, self.k = {}, f"{vectors.folder}/rivals.bin", vectors.k
        self.walks = {}
        for target in targets:
            builder = Process(THREADS, vectors.folder)
            self.seconds = builder("build", 0, 16, 200, target)["cpu"]
            builder("save", file)
            builder.program.communicate()
            self.processes[target] = Process(1, vectors.folder)
            self.processes[target]("open", file)
            # A walk of an explicit width where what the build finds falls short.
            for self.walks[target] in (0, *WIDTHS):
                found = []
                for kind in ("alone", "batch"):
                    self.ask(target, kind, f"{vectors.folder}/found.npy")
                    found.append(vectors.recall(np.load(f"{vectors.folder}/found.npy")))
                if min(found) >= target:
                    self.widths[target] = self.walks[target] or "fitted", min(found)
                    break

    def ask(self, target, kind, out="-"):
        what = {"alone": "search", "batch": "batch"}[kind]
        return self.processes[target](what, self.walks[target], self.k, out)


class HnswRs(Piped):
    """The crate hnsw_rs over the same vectors, which has no search in batches."""

    def __init__(self, vectors):
        process = Process(THREADS, vectors.folder)
        seconds = process("hnsw_rs", 16, 200)["cpu"]

        def search(_queries, width, out=f"{vectors.folder}/found.npy"):
            answer = process("hnsw_rs_search", width, vectors.k, out)
            return answer if out == "-" else np.load(out)

        super().__init__("hnsw_rs, M 16", seconds, search, search)

    def ask(self, target, _kind):
        return self.alone(None, self.widths[target][0], "-")


def hnsw_rs(vectors):
    yield HnswRs(vectors), graph_widths(vectors)


RIVALS = {
    "rabitqlib": (rabitqlib, "rabitqlib"),
    "lorann": (lorann, "lorann"),
    "faiss": (faiss, "faiss-cpu"),
    "hnswlib": (hnswlib, "hnswlib"),
    "hnsw_rs": (hnsw_rs, None),
}


def show(library, target):
    speed = " ".join(
        f"{library.rate(target, kind):7.0f} ({library.rate(target, kind, 1):6.0f})"
        for kind in ("alone", "batch")
    )
    width, found = library.widths[target]
    print(f"{library.label[:50]:50} {found:.4f} {speed} {library.seconds:6.1f}  width {width}")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dir")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default=",".join(RIVALS))
    parser.add_argument("--recall", default=".99", help="recalls, ascending, with commas")
    parser.add_argument("--k", type=int, default=10, help="neighbours, up to 100")
    options = parser.parse_args()
    targets = [float(text) for text in options.recall.split(",")]
    vectors = Vectors(options.dir, options.k)
    print(f"{options.dir}: {vectors.base.shape}, {len(vectors.queries)} queries", flush=True)
    ours, rivals = Voisin(vectors, targets), []
    for name in options.only.split(","):
        make, package = RIVALS[name]
        if package:
            print(f"  {package} {importlib.metadata.version(package)}", flush=True)
        for library, widths in make(vectors):
            library.fit(vectors, targets, widths)
            rivals.append(library)
    for _ in range(options.rounds):
        for library in (ours, *rivals):
            library.time(vectors)
    print(f"{'queries/s of CPU time (wall)':50} recall            alone            batch  build s")
    for target in targets:
        print(f"recall@{options.k} of {target} or more")
        reach = [rival for rival in rivals if target in rival.widths]
        reach.sort(key=lambda rival: -rival.rate(target, "alone"))
        for library in [ours] * (target in ours.widths) + reach:
            show(library, target)
        if target in ours.widths and reach:
            alone, batch = (
                ours.rate(target, kind) / max(rival.rate(target, kind) for rival in reach)
                for kind in ("alone", "batch")
            )
            print(
                f"voisin against the best rival at {target}, CPU time: "
                f"alone {alone:.2f} x, in batches {batch:.2f} x"
            )


main()
