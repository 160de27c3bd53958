#!/usr/bin/env python3
"""Compares voisin's lists with FAISS, hnswlib, ScaNN, USearch and SVS on the same vectors, in one interleaved run.

    cargo build --release --example bench_index
    python scripts/bench_index_rivals.py DIR [--rounds 5] [--venv FOLDER] [--only faiss,scann,hnswlib,usearch,svs]

DIR holds base.npy, queries.npy, truth.npy (float32 unit vectors; exact neighbours by dot product). The rivals are
installed with pip into FOLDER (default: .venv-rivals), and those that cannot be are left out and named. Each is built on
two threads with several sets of parameters; for each set the narrowest search with recall@10 >= 0.99 is found; then all are
timed in turn, ROUNDS times, on one thread: one query at a time, and all queries in one call. Queries per second of
processor time, medians; the best set of each rival is printed, alone and in batches, with its parameters and version.
voisin runs with its default settings (its target is above 0.99), its width is its own choice.
"""
import argparse, importlib.metadata, json, os, statistics, subprocess, sys, time, warnings

p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
p.add_argument("dir"); p.add_argument("--rounds", type=int, default=5); p.add_argument("--venv", default=".venv-rivals")
p.add_argument("--only", default="faiss,scann,hnswlib,usearch,svs"); p.add_argument("--recall", type=float, default=.99)
p.add_argument("--binary", default="target/release/examples/bench_index"); p.add_argument("--threads", type=int, default=2)
p.add_argument("--quick", action="store_true", help="one set of parameters for each rival: those that were best before")
a = p.parse_args(); D, K = a.dir, 10
PACKAGES = {"faiss": "faiss-cpu", "scann": "scann", "hnswlib": "hnswlib", "usearch": "usearch", "svs": "scalable-vs"}
python = os.path.join(os.path.abspath(a.venv), "bin", "python")
if os.path.abspath(sys.executable) != python:
    if not os.path.exists(python): subprocess.check_call([sys.executable, "-m", "venv", a.venv])
    subprocess.check_call([python, "-m", "pip", "install", "-q", "numpy"])
    for name in a.only.split(","):
        if subprocess.call([python, "-m", "pip", "install", "-q", PACKAGES[name]]): print(f"{name}: cannot be installed here")
    os.execv(python, [python, *sys.argv])

os.environ.setdefault("OMP_NUM_THREADS", "1"); warnings.filterwarnings("ignore")
import numpy as np
base, queries = np.load(f"{D}/base.npy"), np.load(f"{D}/queries.npy"); truth = np.load(f"{D}/truth.npy")[:, :K]; n, d = base.shape
some = queries[:300]


def recall(found): return float(np.mean([len(set(f.tolist()) & set(t.tolist())) for f, t in zip(found, truth)])) / K


class Rival:
    """One set of parameters: `search(queries, width)` returns ids."""
    def __init__(self, name, label, make, search, widths, alone=None):
        wall, cpu = time.perf_counter(), time.process_time(); self.index = make()
        self.wall, self.cpu = time.perf_counter() - wall, time.process_time() - cpu
        self.name, self.label, self.run = name, label, search; self.one_by_one = alone or (lambda q, w: [search(q[i:i + 1], w) for i in range(len(q))])
        self.alone, self.batch = [], []
        for self.width in widths:
            self.recall = recall(search(queries, self.width))
            if self.recall >= a.recall: break

    def reaches(self): return self.recall >= a.recall

    def time(self):
        for rates, run, q in ((self.alone, self.one_by_one, some), (self.batch, self.run, queries)):
            start = time.process_time(); run(q, self.width); rates.append(len(q) / (time.process_time() - start))


PROBES = [8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64, 72, 80, 96, 112, 128, 160, 192]
WIDTHS = [16, 24, 32, 40, 48, 56, 64, 72, 80, 96, 112, 128, 160, 192, 256, 384, 512]


def faiss_rivals():
    import faiss
    faiss.omp_set_num_threads(a.threads)
    for factory in (["IVF1024,PQ256x4fs,RFlat"] if a.quick else ["IVF512,PQ128x4fs,RFlat", "IVF1024,PQ128x4fs,RFlat", "IVF1024,PQ256x4fs,RFlat"]):
        for factor in ([10] if a.quick else [5, 10, 20]):
            def make():
                faiss.omp_set_num_threads(a.threads); index = faiss.index_factory(d, factory, faiss.METRIC_INNER_PRODUCT); index.train(base[::2]); index.add(base); faiss.omp_set_num_threads(1); return index
            made = []
            def search(q, width, made=made, factor=factor):
                index = made[0]; index.k_factor = factor; faiss.extract_index_ivf(index.base_index).nprobe = width; return index.search(q, K)[1]
            yield Rival("FAISS fast scan", f"{factory}, k_factor {factor}", lambda: made.append(make()) or made[0], search, PROBES)
    for factory in (["HNSW32,SQfp16"] if a.quick else ["HNSW16,Flat", "HNSW32,SQfp16"]):
        made = []
        def make_graph():
            faiss.omp_set_num_threads(a.threads); index = faiss.index_factory(d, factory, faiss.METRIC_INNER_PRODUCT); getattr(index, "hnsw").efConstruction = 200; index.train(base[:10000]); index.add(base); faiss.omp_set_num_threads(1); made.append(index); return index
        def search_graph(q, width, m=made): m[0].hnsw.efSearch = width; return m[0].search(q, K)[1]
        yield Rival("FAISS HNSW", factory, make_graph, search_graph, WIDTHS)


def scann_rivals():
    import scann
    for leaves in ([700] if a.quick else [700, 1000]):
        for reorder in ([50] if a.quick else [30, 50, 100]):
            made = []
            def make(): made.append(scann.scann_ops_pybind.builder(base, K, "dot_product").tree(num_leaves=leaves, num_leaves_to_search=60, training_sample_size=min(n, 100_000)).score_ah(2, anisotropic_quantization_threshold=.2).reorder(reorder).set_n_training_threads(a.threads).build()); return made[0]
            yield Rival("ScaNN", f"{leaves} leaves, {reorder} reordered", make, lambda q, w, m=made, r=reorder: m[0].search_batched(q, leaves_to_search=w, pre_reorder_num_neighbors=r)[0], PROBES,
                        lambda q, w, m=made, r=reorder: [m[0].search(x, leaves_to_search=w, pre_reorder_num_neighbors=r) for x in q])


def hnswlib_rivals():
    import hnswlib
    for m in ([16] if a.quick else [16, 32]):
        made = []
        def make(): h = hnswlib.Index("ip", d); h.init_index(n, M=m, ef_construction=200, random_seed=1); h.add_items(base, num_threads=a.threads); made.append(h); return h
        def search(q, w, made=made): made[0].set_ef(w); return made[0].knn_query(q, K, num_threads=1)[0]
        yield Rival("hnswlib", f"M {m}, ef_construction 200", make, search, WIDTHS)


def usearch_rivals():
    from usearch.index import Index
    for dtype in (["bf16"] if a.quick else ["bf16", "f16", "i8"]):
        made = []
        def make(): i = Index(ndim=d, metric="ip", dtype=dtype, connectivity=16, expansion_add=200); i.add(np.arange(n), base, threads=a.threads); made.append(i); return i
        def search(q, w, made=made): made[0].expansion_search = w; return np.asarray(made[0].search(q, K, threads=1).keys).reshape(len(q), -1)
        yield Rival("USearch", f"{dtype}, 16 links", make, search, WIDTHS)


def svs_rivals():
    import svs
    made = []
    def make():
        parameters = svs.VamanaBuildParameters(graph_max_degree=64, window_size=128, alpha=.95)
        made.append(svs.Vamana.build(parameters, base, svs.DistanceType.MIP, num_threads=a.threads)); made[0].num_threads = 1; return made[0]
    def search(q, w): made[0].search_window_size = w; return made[0].search(q, K)[0]
    yield Rival("SVS", "Vamana f32, degree 64", make, search, WIDTHS)


class Voisin:
    name, label = "voisin", "lists, default settings"
    def __init__(self):
        self.p = subprocess.Popen([a.binary], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=dict(os.environ, RAYON_NUM_THREADS=str(a.threads)))
        self("load", D); built = self("build", "-", 16, 200, 0, "-"); self.wall, self.cpu = built["seconds"], built["cpu"]; self("save", f"{D}/rivals.bin")
        self.p.stdin.close(); self.p.wait()
        self.p = subprocess.Popen([a.binary], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=dict(os.environ, RAYON_NUM_THREADS="1"))
        self("load", D); self("open", f"{D}/rivals.bin"); self.stats = self("stats")["stats"]; self.alone, self.batch = [], []; self.time(); self.alone, self.batch = [], []
        self.recall = recall(np.load(f"{D}/found.npy"))

    def __call__(self, *words):
        print(*words, file=self.p.stdin, flush=True); line = self.p.stdout.readline()
        if not line: sys.exit(f"voisin died on {words}")
        return json.loads(line)

    def time(self):
        self.alone.append(self("search", "lists", 0, K, f"{D}/found.npy")["cpu_qps"]); self.batch.append(self("batch", "lists", K, "-")["cpu_qps"])


voisin, rivals = Voisin(), []
print(f"{D}: {n} x {d}, {len(queries)} queries, load {os.getloadavg()[0]:.1f}\n  {voisin.stats}", flush=True)
for name, of in (("faiss", faiss_rivals), ("scann", scann_rivals), ("hnswlib", hnswlib_rivals), ("usearch", usearch_rivals), ("svs", svs_rivals)):
    if name not in a.only.split(","): continue
    try:
        print(f"  {PACKAGES[name]} {importlib.metadata.version(PACKAGES[name])}", flush=True)
        for rival in of():
            print(f"    {rival.name}, {rival.label}: built in {rival.wall:.1f} s ({rival.cpu:.1f} of the processor), width {rival.width}, recall@10 {rival.recall:.4f}" + ("" if rival.reaches() else ": too low"), flush=True)
            if rival.reaches(): rivals.append(rival)
    except Exception as error: print(f"    {name} does not run here: {str(error).splitlines()[0]}", flush=True)
for _ in range(a.rounds):
    for one in (voisin, *rivals): one.time()
rate = lambda rates: statistics.median(rates)
print(f"{'':34} {'recall@10':>9} {'alone':>8} {'batch':>8} {'build s':>8}")
for one in (voisin, *sorted(rivals, key=lambda r: -rate(r.batch))):
    print(f"{(one.name + ', ' + one.label)[:60]:60} {one.recall:.4f} {rate(one.alone):8.0f} {rate(one.batch):8.0f} {one.wall:8.1f}" + (f"  width {one.width}" if hasattr(one, "width") else ""))
if rivals:
    alone, batch = (max(rate(getattr(r, kind)) for r in rivals) for kind in ("alone", "batch"))
    print(f"voisin against the best rival: alone {rate(voisin.alone) / alone:.2f} x, in batches {rate(voisin.batch) / batch:.2f} x")
