#!/usr/bin/env python3
"""What scikit-learn, leidenalg and umap-learn make of the same vectors: explore_reference.py
VECTORS.npy [LABELS.npy] [--layout] [--clusters]

VECTORS.npy [n, dim] float32 of unit norm, LABELS.npy [n] integers. Needs scikit-learn, igraph,
leidenalg, umap-learn. With --gtzan FOLDER OUT it first writes OUT/gtzan.npy and
OUT/gtzan_labels.npy from gtzan-taggrams' files; with --export FOLDER OUT, OUT/export.npy and
OUT/export_labels.npy from what `voisin export` wrote, the label being the file's folder.
"""

import argparse
import time
import warnings

import numpy as np

warnings.filterwarnings("ignore")


def gtzan(folder, out):
    vectors, labels = [], []
    for part in ("train", "test"):
        data = np.load(f"{folder}/{part}.npz", allow_pickle=True)
        for track in np.unique(data["IDS"]):
            mask = data["IDS"] == track
            vectors.append(data["X"][mask].mean(0))
            labels.append(data["Y"][mask][0])
    vectors = np.array(vectors, np.float32)
    np.save(f"{out}/gtzan.npy", vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    np.save(f"{out}/gtzan_labels.npy", np.array(labels, np.int64))


def exported(folder, out):
    import csv
    import os

    with open(f"{folder}/tracks.csv", newline="") as file:
        names = [os.path.basename(os.path.dirname(row["path"])) for row in csv.DictReader(file)]
    np.save(f"{out}/export.npy", np.load(f"{folder}/vectors.npy"))
    np.save(f"{out}/export_labels.npy", np.unique(names, return_inverse=True)[1].astype(np.int64))


def clusters(x, y, classes):
    import igraph
    import leidenalg
    import sklearn
    from sklearn.cluster import HDBSCAN, KMeans
    from sklearn.metrics import adjusted_rand_score as ari
    from sklearn.metrics import normalized_mutual_info_score as nmi
    from sklearn.neighbors import kneighbors_graph

    print(
        "scikit-learn",
        sklearn.__version__,
        "leidenalg",
        leidenalg.version,
        "igraph",
        igraph.__version__,
    )

    def score(labels):
        return (nmi(y, labels), ari(y, labels), len(set(labels)))

    for k in (classes // 2, classes, 2 * classes):
        r = np.mean(
            [score(KMeans(k, n_init=10, random_state=s).fit_predict(x)) for s in range(10)], 0
        )
        print(f"k-means, {k} clusters, mean of 10 seeds: NMI {r[0]:.3f} ARI {r[1]:.3f}")
    for m in (5, 10, 15):
        r = score(HDBSCAN(min_cluster_size=m).fit_predict(x))
        print(f"HDBSCAN, at least {m}: NMI {r[0]:.3f} ARI {r[1]:.3f}, {r[2] - 1} clusters")
    for k in (10, 15, 20, 30):
        g = kneighbors_graph(x, k)
        g = g.maximum(g.T).tocoo()
        m = g.row < g.col
        graph = igraph.Graph(len(x), list(zip(g.row[m], g.col[m], strict=False)))
        for resolution in (0.5, 1, 2):
            runs = [
                score(
                    leidenalg.find_partition(
                        graph,
                        leidenalg.RBConfigurationVertexPartition,
                        resolution_parameter=resolution,
                        seed=s,
                        n_iterations=-1,
                    ).membership
                )
                for s in range(10)
            ]
            r = np.mean(runs, 0)
            print(
                f"leidenalg, k {k}, resolution {resolution}, mean of 10 seeds: NMI {r[0]:.3f} ARI {r[1]:.3f}, {r[2]:.1f} clusters"
            )


def layout(x, seeds):
    import umap
    from sklearn.manifold import trustworthiness
    from sklearn.neighbors import NearestNeighbors

    print("umap-learn", umap.__version__)

    def near(z, k=15):
        return (
            NearestNeighbors(n_neighbors=k + 1).fit(z).kneighbors(z, return_distance=False)[:, 1:]
        )

    high = near(x)
    for seed in range(seeds):
        began = time.time()
        z = umap.UMAP(
            n_neighbors=15, min_dist=0.1, metric="cosine", random_state=seed
        ).fit_transform(x)
        kept = np.mean([len(set(a) & set(b)) / 15 for a, b in zip(high, near(z), strict=False)])
        print(
            f"seed {seed}: {time.time() - began:.1f} s, trustworthiness {trustworthiness(x, z, n_neighbors=15):.4f}, preservation {kept:.4f}",
            flush=True,
        )


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("vectors", nargs="?")
    p.add_argument("labels", nargs="?")
    p.add_argument("--gtzan", nargs=2, metavar=("FOLDER", "OUT"))
    p.add_argument("--export", nargs=2, metavar=("FOLDER", "OUT"))
    p.add_argument("--layout", action="store_true")
    p.add_argument("--clusters", action="store_true")
    p.add_argument("--seeds", type=int, default=3)
    a = p.parse_args()
    if a.gtzan:
        gtzan(*a.gtzan)
        a.vectors, a.labels = f"{a.gtzan[1]}/gtzan.npy", f"{a.gtzan[1]}/gtzan_labels.npy"
    if a.export:
        exported(*a.export)
        a.vectors, a.labels = f"{a.export[1]}/export.npy", f"{a.export[1]}/export_labels.npy"
    x = np.load(a.vectors)
    if a.clusters:
        y = np.load(a.labels)
        clusters(x, y, len(set(y)))
    if a.layout:
        layout(x, a.seeds)
