#!/usr/bin/env python3
"""Compares voisin's lists, graph and scan with other libraries', in one interleaved run.

    cargo build --release --example bench_index
    python research/speed/bench_index_rivals.py DIR [--rounds 5] [--venv FOLDER] [--only rabitqlib,scann,...] [--recall .95,.99,.999] [--k 10] [--curves FILE.svg]

DIR holds base.npy, queries.npy, truth.npy (float32 unit vectors; exact neighbours by dot product).
The rivals are SymphonyQG and RaBitQ's lists (rabitqlib), Glass, VSAG, LoRANN, FAISS, ScaNN, NGT-QG,
hnswlib, USearch and SVS. They are installed with pip into FOLDER (default: .venv-rivals); those
that cannot be are listed and left out. Glass is built from its sources, beforehand: pip install
"pybind11<2.14", then pip install --no-build-isolation . in their python/; so is NGT, whose wheel
opens quantised graphs and cannot make them: cmake, make install, pip install --no-build-isolation .
in python/, and its programs ngt and qbg in the PATH. Each is built on two threads with several sets
of parameters, of which those that say how many lists there are follow the square root of the number
of vectors; for each set and each requested recall@k, the narrowest search that reaches it is found,
then all are timed in turn, ROUNDS times, on one thread: one query at a time, and all queries in one
call. Queries per second of CPU time, and of wall-clock time in brackets, medians; each set is
printed with its parameters and version. voisin's index is built for each recall, at whose widths it
is searched. Then, for each recall, voisin against the best rival. With --curves, last, recall and
speed drawn: of voisin at the requested recalls, of each rival's best set at all widths.
"""

import argparse
import importlib.metadata
import json
import os
import statistics
import subprocess
import sys
import time
import warnings

p = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
p.add_argument("dir")
p.add_argument("--rounds", type=int, default=5)
p.add_argument("--venv", default=".venv-rivals")
p.add_argument("--only", default="rabitqlib,glass,vsag,lorann,faiss,scann,ngt,hnswlib,usearch,svs")
p.add_argument("--recall", default=".99", help="recalls, ascending, with commas")
p.add_argument("--k", type=int, default=10, help="neighbours, up to 100")
p.add_argument("--curves")
p.add_argument("--binary", default="target/release/examples/bench_index")
p.add_argument("--threads", type=int, default=2)
p.add_argument(
    "--quick",
    action="store_true",
    help="one set of parameters for each rival: those that were best before",
)
a = p.parse_args()
D, K = a.dir, a.k
TARGETS = [float(x) for x in a.recall.split(",")]
PACKAGES = {
    "rabitqlib": "rabitqlib",
    "glass": "glass",
    "lorann": "lorann",
    "vsag": "pyvsag",
    "faiss": "faiss-cpu",
    "scann": "scann",
    "ngt": "ngt",
    "hnswlib": "hnswlib",
    "usearch": "usearch",
    "svs": "scalable-vs",
}
python = os.path.join(os.path.abspath(a.venv), "bin", "python")
if os.path.abspath(sys.executable) != python:
    if not os.path.exists(python):
        subprocess.check_call([sys.executable, "-m", "venv", a.venv])
    subprocess.check_call(
        [python, "-m", "pip", "install", "-q", "numpy", *(["matplotlib"] if a.curves else [])]
    )
    for name in a.only.split(","):
        if name not in ("glass", "ngt") and subprocess.call(
            [python, "-m", "pip", "install", "-q", PACKAGES[name]]
        ):
            print(f"{name}: cannot be installed here")
    os.execv(python, [python, *sys.argv])

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
warnings.filterwarnings("ignore")
import numpy as np

base, queries = np.load(f"{D}/base.npy"), np.load(f"{D}/queries.npy")
truth = np.load(f"{D}/truth.npy")[:, :K]
n, d = base.shape
median = statistics.median
LEAST = 0.15  # seconds of a measurement: a pass over a small set takes milliseconds, most of them to get warm


def paced(run):
    """Queries/s of processor time and by the clock, over as many passes as take LEAST seconds;
    `run` returns the seconds of one.
    """
    cpu = wall = passes = 0
    while wall < LEAST:
        c, w = run()
        cpu += c
        wall += w
        passes += 1
    return passes * len(queries) / cpu, passes * len(queries) / wall


farthest = np.einsum("ij,ij->i", queries, base[truth[:, -1]]) - 1e-6


def recall(found):
    """The share of the K nearest that was found; what is as near as the last of them is one of
    them, whatever its number.
    """
    near = 0
    for query, last, ids in zip(queries, farthest, found, strict=False):
        ids = np.unique(ids[(ids >= 0) & (ids < n)])
        near += min(np.count_nonzero(base[ids] @ query >= last), K)
    return near / K / len(queries)


class Built:
    """An index and what it cost."""

    def __init__(self, make):
        wall, cpu = time.perf_counter(), sum(os.times()[:4])
        self.index = make()  # programs that it starts included
        self.wall, self.cpu = time.perf_counter() - wall, sum(os.times()[:4]) - cpu


class Rival:
    """One set of parameters: `search(index, queries, width)` returns ids. `widths`: by recall, the
    narrowest that reaches it, and what it finds.
    """

    def __init__(self, name, label, built, search, widths, alone=None):
        self.name, self.label, self.built, self.search, self.widths, self.all = (
            name,
            label,
            built,
            search,
            {},
            [w for w in widths],
        )
        left = iter(self.all)
        self.one_by_one = alone or (
            lambda index, q, w: [search(index, q[i : i + 1], w) for i in range(len(q))]
        )
        self.rates, found, width = {}, 0, None
        for target in TARGETS:
            while found < target and (width := next(left, None)) is not None:
                found = recall(search(built.index, queries, width))
            if found >= target:
                self.widths[target] = width, found

    def time(self):
        for target, (width, _) in self.widths.items():
            for kind, run in (("alone", self.one_by_one), ("batch", self.search)):

                def once():
                    wall, cpu = time.perf_counter(), time.process_time()
                    run(self.built.index, queries, width)
                    return time.process_time() - cpu, time.perf_counter() - wall

                self.rates.setdefault((target, kind), []).append(paced(once))


MORE = 2 ** round(np.log2((n / 100_000) ** 0.5)) if n > 100_000 else 1  # times as many lists
LARGE = a.quick and n > 300_000  # leaves out what was slower at a hundred thousand, for memory, too
PROBES = [
    2,
    4,
    5,
    6,
    7,
    8,
    9,
    10,
    11,
    12,
    13,
    14,
    16,
    18,
    20,
    22,
    24,
    28,
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
    320,
    400,
    500,
    640,
    800,
    1000,
    1300,
    1700,
]
WIDTHS = [
    width
    for width in [
        16,
        18,
        20,
        22,
        24,
        28,
        32,
        36,
        40,
        44,
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
        320,
        384,
        512,
        640,
        768,
        1024,
        1536,
        2048,
    ]
    if width >= K
]


def rabitqlib_rivals():
    import rabitqlib

    def ids(found):
        return np.asarray(next(part for part in found if np.asarray(part).dtype.kind in "iu"))

    for degree, metric in (
        (degree, metric)
        for degree in ([32] if LARGE else [32, 64])
        for metric in (["l2"] if a.quick else ["ip", "l2"])
    ):  # of unit vectors: the same order

        def make():
            i = rabitqlib.SymqgIndex(d, degree, metric)
            i.build(base, 200, a.threads)
            return i

        yield Rival(
            "SymphonyQG",
            f"degree {degree}, {metric}, ef_construction 200",
            Built(make),
            lambda i, q, w: ids(i.search_batch(q, K, w, 1)),
            WIDTHS,
        )
    if LARGE:
        return
    import faiss

    lists = int(4 * n**0.5)
    kmeans = faiss.Kmeans(d, lists, niter=10, spherical=True, seed=1)
    for bits in [5] if a.quick else [4, 5, 7]:

        def make():
            faiss.omp_set_num_threads(a.threads)
            kmeans.train(base)
            own = kmeans.index.search(base, 1)[1][:, 0].astype(np.uint32)
            faiss.omp_set_num_threads(1)
            i = rabitqlib.IvfIndex(d, n, lists, bits, "ip")
            i.build(base, kmeans.centroids, own, a.threads)
            return i

        yield Rival(
            "RaBitQ",
            f"IVF{lists}, {bits} bits",
            Built(make),
            lambda i, q, w: ids(i.search(q, K, w, True, 1)),
            PROBES,
        )


def glass_rivals():
    import glass

    for degree, codes in (
        [(32, "SQ4U"), (32, "SQ8U")]
        if a.quick
        else [(32, "SQ4U"), (32, "SQ8U"), (48, "SQ4U"), (48, "SQ8U")]
    ):

        def make():
            glass.set_num_threads(a.threads)
            graph = glass.Index("HNSW", "IP", "SQ8U", degree, 200).build(base)
            s = glass.Searcher(graph, base, "IP", codes, "FP16")
            s.set_ef(max(64, K))
            s.optimize(1)
            glass.set_num_threads(1)
            return s

        def search(s, q, w):
            s.set_ef(w)
            return s.batch_search(q, K, 1)[0]

        def alone(s, q, w):
            s.set_ef(w)
            return [s.search(x, K) for x in q]

        yield Rival(
            "Glass", f"HNSW degree {degree}, {codes}, FP16", Built(make), search, WIDTHS, alone
        )


def lorann_rivals():
    import lorann

    for lists, to, rank in (
        [(1024, 256, 32)] if a.quick else [(512, 128, 32), (1024, 256, 32), (1024, 128, 32)]
    ):
        lists *= MORE

        def make():
            i = lorann.LorannIndex(
                base, min(lists, n // 32), to if to < d else None, 8, rank, 5, lorann.IP
            )
            i.build(n_threads=a.threads)
            return i

        built = Built(make)
        for reorder in (4, 10):

            def search(i, q, w, more=reorder * K):
                return np.asarray(i.search(q, K, w, more, n_threads=1))

            def alone(i, q, w, more=reorder * K):
                return [i.search(x, K, w, more) for x in q]

            yield Rival(
                "LoRANN",
                f"{lists} lists, {to} dimensions, rank {rank}, {reorder} k reordered",
                built,
                search,
                PROBES,
                alone,
            )


def vsag_rivals():
    import pyvsag

    for degree, codes in (
        [(32, "sq8")] if a.quick else [(32, "sq8"), (32, "sq8_uniform"), (64, "sq8_uniform")]
    ):

        def make():
            i = pyvsag.Index(
                "hgraph",
                json.dumps(
                    {
                        "dtype": "float32",
                        "metric_type": "ip",
                        "dim": d,
                        "index_param": {
                            "base_quantization_type": codes,
                            "max_degree": degree,
                            "ef_construction": 200,
                            "build_thread_count": a.threads,
                            "use_reorder": True,
                            "precise_quantization_type": "fp32",
                        },
                    }
                ),
            )
            i.build(vectors=base, ids=np.arange(n, dtype=np.int64), num_elements=n, dim=d)
            return i

        def search(i, q, w):
            return np.array(
                [
                    i.knn_search(
                        vector=x, k=K, parameters=json.dumps({"hgraph": {"ef_search": w}})
                    )[0]
                    for x in q
                ]
            )

        yield Rival(
            "VSAG",
            f"HGraph {codes}, degree {degree}, ef_construction 200",
            Built(make),
            search,
            WIDTHS,
        )


def faiss_rivals():
    import faiss

    def make(factory, prepare=lambda index: None):
        faiss.omp_set_num_threads(a.threads)
        index = faiss.index_factory(d, factory, faiss.METRIC_INNER_PRODUCT)
        prepare(index)
        index.train(base)
        index.add(base)
        faiss.omp_set_num_threads(1)
        return index

    fast = [lists * MORE for lists in (512, 1024) if lists * 39 <= n] or [256]
    half, quarter = d // 2, d // 4  # two dimensions a quarter byte, or four
    for lists, m in dict.fromkeys(
        [(fast[0], quarter), *([] if LARGE else [(fast[-1], half)])]
        if a.quick
        else [(fast[0], quarter), (fast[-1], quarter), (fast[-1], half)]
    ):
        factory = f"IVF{lists},PQ{m}x4fs,RFlat"
        built = Built(lambda: make(factory))
        for factor in (5, 10, 20):

            def search(index, q, width, factor=factor):
                index.k_factor = factor
                faiss.extract_index_ivf(index.base_index).nprobe = width
                return index.search(q, K)[1]

            yield Rival("FAISS fast scan", f"{factory}, k_factor {factor}", built, search, PROBES)
    for factory in (
        [] if LARGE else ["HNSW32,SQfp16"] if a.quick else ["HNSW16,Flat", "HNSW32,SQfp16"]
    ):

        def search_graph(index, q, width):
            index.hnsw.efSearch = width
            return index.search(q, K)[1]

        def prepare(index):
            index.hnsw.efConstruction = 200

        yield Rival(
            "FAISS HNSW",
            f"{factory}, efConstruction 200",
            Built(lambda: make(factory, prepare)),
            search_graph,
            WIDTHS,
        )


def scann_rivals():
    import scann

    for leaves in [
        leaves * MORE for leaves in ([700] if a.quick else [700, 1000]) if leaves * 20 <= n
    ]:

        def make():
            return (
                scann.scann_ops_pybind.builder(base, K, "dot_product")
                .tree(
                    num_leaves=leaves, num_leaves_to_search=60, training_sample_size=min(n, 100_000)
                )
                .score_ah(2, anisotropic_quantization_threshold=0.2)
                .reorder(50)
                .set_n_training_threads(a.threads)
                .build()
            )

        built = Built(make)
        for reorder in (3 * K, 5 * K, 10 * K):
            yield Rival(
                "ScaNN",
                f"{leaves} leaves, {reorder} reordered",
                built,
                lambda s, q, w, r=reorder: s.search_batched(
                    q, leaves_to_search=w, pre_reorder_num_neighbors=r
                )[0],
                PROBES,
                lambda s, q, w, r=reorder: [
                    s.search(x, leaves_to_search=w, pre_reorder_num_neighbors=r) for x in q
                ],
            )


def ngt_rivals():
    import shutil

    import ngtpy

    def run(*command):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    for edges in [96] if a.quick else [64, 96, 128]:

        def make():
            neighbours, graph = f"{D}/ngt-neighbours", f"{D}/ngt-graph"
            for folder in (neighbours, graph):
                shutil.rmtree(folder, ignore_errors=True)
            ngtpy.create(
                neighbours, d, edge_size_for_creation=100, distance_type="L2", object_type="Float"
            )  # of unit vectors: the same order
            index = ngtpy.Index(neighbours)
            index.batch_insert(base, num_threads=a.threads)
            index.save()
            index.close()
            run("ngt", "reconstruct-graph", "-mS", "-o64", "-i120", neighbours, graph)
            run("qbg", "create-qg", graph)
            run("qbg", "build-qg", f"-E{edges}", graph)
            index = ngtpy.QuantizedIndex(graph, edges, log_disabled=True)
            index.set_with_distance(False)
            return index

        def search(index, q, w):
            return np.array([index.search(x, K, epsilon=w[1], result_expansion=w[0]) for x in q])

        widths = [
            (more, near)
            for more, near in zip(
                [1, 1.5, 2, 2, 3, 3, 4, 4, 5, 6, 8, 10, 12, 16, 20, 30, 50, 80, 120],
                [
                    0,
                    0,
                    0,
                    0.01,
                    0.01,
                    0.02,
                    0.02,
                    0.03,
                    0.03,
                    0.04,
                    0.04,
                    0.05,
                    0.06,
                    0.07,
                    0.08,
                    0.1,
                    0.12,
                    0.15,
                    0.2,
                ],
                strict=False,
            )
        ]
        yield Rival("NGT-QG", f"{edges} edges, 64 out, 120 in", Built(make), search, widths)


def hnswlib_rivals():
    import hnswlib

    for m in [16] if a.quick else [16, 32]:

        def make():
            h = hnswlib.Index("ip", d)
            h.init_index(n, M=m, ef_construction=200, random_seed=1)
            h.add_items(base, num_threads=a.threads)
            return h

        def search(index, q, w):
            index.set_ef(w)
            return index.knn_query(q, K, num_threads=1)[0]

        yield Rival("hnswlib", f"M {m}, ef_construction 200", Built(make), search, WIDTHS)


def usearch_rivals():
    from usearch.index import Index

    for dtype in ["bf16"] if a.quick else ["bf16", "f16", "i8"]:

        def make():
            i = Index(ndim=d, metric="ip", dtype=dtype, connectivity=16, expansion_add=200)
            i.add(np.arange(n), base, threads=a.threads)
            return i

        def search(index, q, w):
            index.expansion_search = w
            return np.asarray(index.search(q, K, threads=1).keys).reshape(len(q), -1)

        yield Rival("USearch", f"{dtype}, 16 links", Built(make), search, WIDTHS)


def svs_rivals():
    import svs

    svs.write_vecs(base, f"{D}/svs.fvecs")
    file = svs.VectorDataLoader(f"{D}/svs.fvecs", svs.DataType.float32, dims=d)
    short, half, four, eight = (
        max(d // 4, 128),
        svs.LeanVecKind.float16,
        svs.LeanVecKind.lvq4,
        svs.LeanVecKind.lvq8,
    )
    nearest = np.load(f"{D}/truth.npy").astype(np.uint32)
    kinds = {f"LeanVec {short} at 8 bits, f16": lambda: svs.LeanVecLoader(file, short, eight, half)}
    if not LARGE:
        kinds |= {"LVQ 4x8": lambda: svs.LVQLoader(file, 4, 8)}
    if not a.quick:
        kinds |= {
            "LVQ 4x4": lambda: svs.LVQLoader(file, 4, 4),
            "LVQ 8": lambda: svs.LVQLoader(file, 8),
            f"LeanVec {d // 2} at 4 bits, f16": lambda: svs.LeanVecLoader(file, d // 2, four, half),
        }
    for kind, data in kinds.items():

        def make():
            parameters = svs.VamanaBuildParameters(graph_max_degree=64, window_size=200, alpha=0.95)
            index = svs.Vamana.build(
                parameters, data(), svs.DistanceType.MIP, num_threads=a.threads
            )
            index.num_threads = 1
            return index

        try:
            built = Built(make)
        except Exception as error:
            print(f"    SVS, {kind} does not run here: {str(error).splitlines()[0]}", flush=True)
            continue

        def search(index, q, w):
            parameters = index.search_parameters
            parameters.buffer_config = svs.SearchBufferConfig(*w[:2])
            parameters.prefetch_lookahead, parameters.prefetch_step = w[2:]
            index.search_parameters = parameters
            return index.search(q, K)[0]

        def alone(index, q, w):
            search(index, q[:1], w)
            return [index.search(x[None], K) for x in q[1:]]

        def calibrated(
            k, target
        ):  # its own choice, a little wider than requested: recall is defined differently there
            built.index.experimental_calibrate(queries, nearest, k, min(target + 0.0003, 0.9999))
            found = built.index.search_parameters
            buffer = found.buffer_config
            return (
                buffer.search_window_size,
                buffer.search_buffer_capacity,
                found.prefetch_lookahead,
                found.prefetch_step,
            )

        if K > 10:
            prefetches = calibrated(10, 0.95)[2:]
            widths = [
                (w, w, *prefetches) for w in WIDTHS
            ]  # to choose windows for a hundred takes it more than ten minutes
        else:
            widths = []
            for target in sorted({0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, *TARGETS}):
                widths.append(calibrated(K, target))
                if recall(search(built.index, queries, widths[-1])) < target:
                    break
        yield Rival("SVS", f"Vamana {kind}, degree 64, window 200", built, search, widths, alone)


class Process:
    """voisin at the end of a pipe."""

    def __init__(self, threads, what="queries"):
        self.p = subprocess.Popen(
            [a.binary],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=dict(os.environ, RAYON_NUM_THREADS=str(threads)),
        )
        self(what, D)

    def __call__(self, *words):
        print(*words, file=self.p.stdin, flush=True)
        line = self.p.stdout.readline()
        if not line:
            sys.exit(f"voisin died on {words}")
        return json.loads(line)


class Voisin:
    """One index, alone by its graph and in batches by its lists, at the width that the build finds
    for each recall.
    """

    name, mode = "voisin", ""

    def __init__(self):
        self.rates, self.widths, self.processes, file = {}, {}, {}, f"{D}/rivals.bin"
        self.label = "voisin"
        for target in TARGETS:
            process = Process(a.threads, "load")
            built = process("build", 0, 16, 200, target)
            process("save", file)
            process.p.stdin.close()
            process.p.wait()
            self.built = argparse.Namespace(wall=built["seconds"], cpu=built["cpu"])
            process = self.processes[target] = Process(1)
            process("open", file)
            self.stats = process("stats")["stats"]
            found = []
            for what in ("search", "batch"):
                process(what, 0, K, f"{D}/found.npy")
                found.append(recall(np.load(f"{D}/found.npy")))
            if min(found) >= target:
                self.widths[target] = 0, min(found)

    def time(self):
        for target in self.widths:
            for kind, what in (("alone", "search"), ("batch", "batch")):

                def once():
                    r = self.processes[target](what, 0, K, "-")
                    return len(queries) / r["cpu_qps"], len(queries) / r["qps"]

                self.rates.setdefault((target, kind), []).append(paced(once))


print(f"{D}: {n} x {d}, {len(queries)} queries, load {os.getloadavg()[0]:.1f}", flush=True)
rivals = []
ours = [Voisin()]
print(f"  {ours[-1].stats}", flush=True)
for name, of in (
    ("rabitqlib", rabitqlib_rivals),
    ("glass", glass_rivals),
    ("lorann", lorann_rivals),
    ("vsag", vsag_rivals),
    ("faiss", faiss_rivals),
    ("scann", scann_rivals),
    ("ngt", ngt_rivals),
    ("hnswlib", hnswlib_rivals),
    ("usearch", usearch_rivals),
    ("svs", svs_rivals),
):
    if name not in a.only.split(","):
        continue
    try:
        print(f"  {PACKAGES[name]} {importlib.metadata.version(PACKAGES[name])}", flush=True)
        for rival in of():
            reached = (
                ", ".join(f"width {width}: {found:.4f}" for width, found in rival.widths.values())
                or "too low"
            )
            print(
                f"    {rival.name}, {rival.label}: built in {rival.built.wall:.1f} s ({rival.built.cpu:.1f} of the processor), {reached}",
                flush=True,
            )
            if rival.widths:
                rivals.append(rival)
    except Exception as error:
        print(f"    {name} does not run here: {str(error).splitlines()[0]}", flush=True)
for _ in range(a.rounds):
    for one in (*ours, *rivals):
        one.time()


def rate(one, target, kind, which=0):
    return median(pair[which] for pair in one.rates[target, kind])


def show(one, target):
    speed = " ".join(
        f"{rate(one, target, kind):7.0f} ({rate(one, target, kind, 1):6.0f})"
        for kind in ("alone", "batch")
    )
    width, found = one.widths[target]
    print(
        f"{(one.name + ', ' + one.label)[:60]:60} {found:.4f} {speed} {one.built.wall:6.1f} ({one.built.cpu:5.1f})  width {width or 'fitted'}"
    )


print(
    f"{'queries/s of processor time (by the clock)':60} {'recall':>6} {'alone':>16} {'batch':>16} {'build s (cpu)':>14}"
)
for target in TARGETS:
    print(f"recall@{K} of {target} or more")

    def reach(some):
        return [one for one in some if target in one.widths]

    for one in (*reach(ours), *sorted(reach(rivals), key=lambda r: -rate(r, target, "batch"))):
        show(one, target)
    if reach(ours) and reach(rivals):
        alone, batch = (
            max(rate(r, target, kind) for r in reach(ours))
            / max(rate(r, target, kind) for r in reach(rivals))
            for kind in ("alone", "batch")
        )
        print(
            f"voisin against the best rival at {target}, processor time: alone {alone:.2f} x, in batches {batch:.2f} x"
        )


def curve(one):
    """Recall, and queries/s alone and in batches, at every width from a recall of 0.8 to one of
    0.9995.
    """
    if one.name == "voisin":
        return [
            (found, *(rate(one, target, kind) for kind in ("alone", "batch")))
            for target, (_, found) in one.widths.items()
        ]
    points = []
    for width in one.all:
        found = recall(one.search(one.built.index, queries, width))
        if found < 0.8:
            continue
        one.rates, one.widths = {}, {TARGETS[-1]: (width, found)}
        for _ in range(min(3, a.rounds)):
            one.time()
        points.append((found, *(rate(one, TARGETS[-1], kind) for kind in ("alone", "batch"))))
        if found > 0.9995:
            break
    return points


if a.curves:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "voisin", "svg.fonttype": "none"})
    import matplotlib.pyplot as plt

    best = {}
    for one in rivals:
        target = max(one.widths)
        key = target, rate(one, target, "batch")
        if key > best.get(one.name, ((0, 0),))[0]:
            best[one.name] = key, one
    figure, panes = plt.subplots(1, 2, figsize=(11.5, 4.2), sharey=True)
    for at, one in enumerate([*ours, *(one for _, one in best.values())]):
        label = one.name
        points = sorted(curve(one))
        points = [
            point
            for point in points
            if not any(other[0] >= point[0] and other[2] > point[2] for other in points)
        ]
        print(label, [tuple(round(x, 4) for x in point) for point in points], flush=True)
        for kind, pane in enumerate(panes):
            style = (
                {"color": "#d62728", "linewidth": 2.2}
                if at < 1
                else {
                    "color": plt.cm.Greys(0.95 - 0.06 * at),
                    "linestyle": ["-", "--", ":", "-."][at % 4],
                    "linewidth": 1.2,
                }
            )
            pane.plot(
                [1 - point[0] for point in points],
                [point[1 + kind] for point in points],
                label=label,
                marker=".",
                **style,
            )
    for pane, title in zip(
        panes, ("one query at a time", "1 000 queries in one call"), strict=False
    ):
        pane.set(xscale="log", yscale="log", title=title, xlabel=f"recall@{K}")
        pane.invert_xaxis()
        pane.grid(alpha=0.3, which="both")
        pane.set_xticks(
            [0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.001],
            [".8", ".9", ".95", ".98", ".99", ".995", ".999"],
        )
        pane.minorticks_off()
    panes[0].set_ylabel("queries/s of processor time, one thread")
    panes[1].legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.tight_layout()
    figure.savefig(a.curves, metadata={"Date": None, "Creator": None})
    text = open(a.curves).read()
    open(a.curves, "w").write(
        " ".join(text.split()) + "\n"
    )  # one line: a picture, no text to compare
