#!/usr/bin/env python3
"""Rivals of the brute force on a GPU: cuVS' CAGRA and brute force, and PyTorch's products in bf16.

    cargo run --release -p voisin-encoder --features cuda --example device_speed -- cuda 100000
    python scripts/bench_gpu_rivals.py [--n 100000] [--dimension 512]

Needs a GPU, torch, cupy, and cuvs of the card's CUDA (`cuvs-cu13`). The vectors are those of the example: clusters around a
thousand centres, noise as long as the centres. Questions of a batch: 10 000, of which 1 000 differ.
"""
import argparse
import time

import cupy
import numpy as np
import torch
from cuvs.neighbors import brute_force, cagra

parser = argparse.ArgumentParser()
parser.add_argument("--n", type=int, default=100_000)
parser.add_argument("--dimension", type=int, default=512)
arguments = parser.parse_args()
n, dimension = arguments.n, arguments.dimension

random = np.random.default_rng(5)
centres = random.standard_normal((1000, dimension), dtype="f4")
vectors = centres[random.integers(1000, size=n + 1000)] + random.standard_normal((n + 1000, dimension), dtype="f4")
vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
base, questions = vectors[:n], vectors[n:]
exact = torch.tensor(questions).cuda().double() @ torch.tensor(base).cuda().double().T
truth = exact.topk(100).indices.cpu().numpy()
del exact
batch = np.tile(questions, (10, 1))


def measure(name, k, search, batch, sync):
    """Prints recall, questions a second of the batch, and microseconds of one question alone."""
    try:
        found = search(batch)
        found = found.get() if isinstance(found, cupy.ndarray) else found.cpu().numpy()
        right = sum(len(set(found[i]) & set(truth[i, :k])) for i in range(1000))
        times, alone = [], []
        for _ in range(4):
            sync()
            start = time.perf_counter()
            search(batch)
            sync()
            times.append(time.perf_counter() - start)
        for i in range(100):
            sync()
            start = time.perf_counter()
            search(batch[i : i + 1])
            sync()
            alone.append(time.perf_counter() - start)
        speed, one = len(batch) / min(times), 1e6 * np.median(alone)
        print(f"{name:36} k = {k:3}: recall {right / (1000 * k):.4f}, {speed:9.0f} questions/s, {one:4.0f} us alone", flush=True)
    except Exception as error:  # a setting that a library does not take
        print(f"{name:36} k = {k:3}: {str(error)[:100]}", flush=True)


def of_torch(k):
    long, short = torch.tensor(base).cuda(), torch.tensor(base).cuda().bfloat16()

    def search(rows):
        parts = []
        for part in rows.split(2**31 // (2 * n)):
            chosen = (part.bfloat16() @ short.T).topk(4 * k, sorted=False).indices
            scores = torch.bmm(long[chosen], part.unsqueeze(2)).squeeze(2)
            parts.append(chosen.gather(1, scores.topk(k).indices))
        return torch.cat(parts)

    return search


with torch.inference_mode():
    for k in (10, 100):
        measure("PyTorch, bf16, ranked in f32", k, of_torch(k), torch.tensor(batch).cuda(), torch.cuda.synchronize)
sync = lambda: cupy.cuda.Device().synchronize()
for kind in ("float32", "float16"):
    rows, on_card = cupy.asarray(base.astype(kind)), cupy.asarray(batch.astype(kind))
    index = brute_force.build(rows, metric="sqeuclidean")
    for k in (10, 100):
        measure(f"cuVS brute force, {kind}", k, lambda q: cupy.asarray(brute_force.search(index, q, k)[1]), on_card, sync)
    for degree in (32, 64):
        start = time.perf_counter()
        options = cagra.IndexParams(
            metric="sqeuclidean", graph_degree=degree, intermediate_graph_degree=2 * degree, build_algo="nn_descent"
        )
        index_of_graph = cagra.build(options, rows)
        sync()
        print(f"CAGRA, {kind}, degree {degree}: built in {time.perf_counter() - start:.2f} s")
        for k, widths in ((10, (16, 32, 64, 128, 256)), (100, (128, 256, 512))):
            for width in widths:
                params = cagra.SearchParams(itopk_size=width)
                search = lambda q: cupy.asarray(cagra.search(params, index_of_graph, q, k)[1])
                measure(f"CAGRA, {kind}, degree {degree}, itopk {width}", k, search, on_card, sync)
