#!/usr/bin/env python3
"""Hubs among labelled tracks, and what correcting them does: bench_hubness.py EXPORT TRACKS.tsv

EXPORT is what `voisin export` wrote for the tracks; TRACKS.tsv has columns file (folder/name), genre, artist. For plain cosine, local
scaling and mutual proximity: skewness of the 10-occurrence, the share of tracks that are nobody's neighbour, the most
popular track's count, and the share of the ten nearest by other artists that have the query's genre (four classes; pop
and rock as one), with the standard error of the paired difference to plain cosine. Needs numpy.
"""
import argparse, csv, json, os, subprocess, tempfile
import numpy as np

p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
p.add_argument("export"); p.add_argument("tracks"); p.add_argument("--binary", default="target/release/examples/bench_index"); a = p.parse_args()
label = {r["file"]: r for r in csv.DictReader(open(a.tracks), delimiter="\t")}
rows = [label["/".join(r["path"].split("/")[-2:])] for r in csv.DictReader(open(f"{a.export}/tracks.csv"))]
genre, artist = np.array([r["genre"] for r in rows]), np.array([r["artist"] for r in rows])
joined = np.where(genre == "rock", "pop", genre); X = np.load(f"{a.export}/vectors.npy"); plain = {}
with tempfile.TemporaryDirectory() as D:
    np.save(f"{D}/base.npy", X); np.save(f"{D}/queries.npy", X[:1])
    v = subprocess.Popen([a.binary], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    def ask(*words): print(*words, file=v.stdin, flush=True); return json.loads(v.stdout.readline())
    ask("load", D)
    print(f"{len(X)} tracks, {len(set(artist))} artists\n{'':>8} {'skewness':>8} {'other artists':>13} {'never':>6} {'most':>5} {'4 classes':>10} {'3 classes':>10}  difference to plain ± SE")
    for kind in ("none", "local", "mutual"):
        skewness = ask("hubs", kind, len(X) - 1, f"{D}/found.npy")["skewness"]; found = np.load(f"{D}/found.npy")
        near = np.array([[j for j in f if j >= 0 and artist[j] != artist[i]][:10] for i, f in enumerate(found)])
        c = np.bincount(near.ravel(), minlength=len(X)).astype(float); s = ((c - c.mean()) ** 3).mean() / c.std() ** 3
        hits = {name: (g[near] == g[:, None]).mean(1) for name, g in (("4", genre), ("3", joined))}
        plain = plain or hits; d = {k: h - plain[k] for k, h in hits.items()}
        print(f"{kind:>8} {skewness:8.2f} {s:13.2f} {(c == 0).mean():6.3f} {int(c.max()):5d} {hits['4'].mean():10.4f} {hits['3'].mean():10.4f}  " + ", ".join(f"{x.mean():+.4f} ± {x.std() / len(x) ** .5:.4f}" for x in d.values()))
