#!/usr/bin/env python3
"""Rivals of the brute force on a GPU: cuVS' CAGRA and brute force, and PyTorch's products in bf16.

    scripts/cuda-build build -p voisin-encoder --example device_speed python
    research/speed/bench_gpu_rivals.py [--n 100000] [--dimension 512] [--voisin
    target/release/examples/device_speed]

Needs a GPU, torch, and for its rivals cupy and cuvs of the GPU's CUDA (`cuvs-cu13`). The vectors
are generated as in the example: clusters around a thousand centres, noise as long as the centres.
A batch has 10 000 queries, of which 1 000 differ. voisin reads queries from host memory and writes
results there; the others do so in the first column of speeds, and use GPU memory in the second.
"""

import argparse
import subprocess
import time

import numpy as np
import torch

try:
    import cupy
    from cuvs.neighbors import brute_force, cagra
except ImportError as error:
    cupy = None
    print(f"cuVS is left out: {error}")

parser = argparse.ArgumentParser()
parser.add_argument("--n", type=int, default=100_000)
parser.add_argument("--dimension", type=int, default=512)
parser.add_argument("--voisin", help="the example, to be run before and after the others")
arguments = parser.parse_args()
n, dimension = arguments.n, arguments.dimension

random = np.random.default_rng(5)
centres = random.standard_normal((1000, dimension), dtype="f4")
vectors = centres[random.integers(1000, size=n + 1000)] + random.standard_normal(
    (n + 1000, dimension), dtype="f4"
)
vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
base, questions = vectors[:n], vectors[n:]
exact = torch.tensor(questions).cuda().double() @ torch.tensor(base).cuda().double().T
truth = exact.topk(100).indices.cpu().numpy()
del exact
batch = np.tile(questions, (10, 1))


def voisin():
    """In the same run."""
    if arguments.voisin:
        lines = subprocess.run(
            [arguments.voisin, "cuda", str(n)], capture_output=True, text=True, check=True
        ).stdout
        print(
            "".join(
                f"voisin, {line}\n" for line in lines.splitlines() if f" {dimension}, k" in line
            ),
            end="",
            flush=True,
        )


def measure(name, k, search, there, back, sync):
    """Prints recall, questions a second of the batch from memory to memory and on the card,
    microseconds of one alone.
    """
    try:
        found = back(search(there(batch)))
        right = sum(len(set(found[i]) & set(truth[i, :k])) for i in range(1000))

        def seconds(run, repeats):
            times = []
            for i in range(repeats):
                sync()
                start = time.perf_counter()
                run(i)
                sync()
                times.append(time.perf_counter() - start)
            return times

        on_card = there(batch)
        memory = len(batch) / min(seconds(lambda i: back(search(there(batch))), 4))
        card = len(batch) / min(seconds(lambda i: search(on_card), 4))
        one = 1e6 * np.median(seconds(lambda i: back(search(there(batch[i : i + 1]))), 100))
        print(
            f"{name:36} k = {k:3}: recall {right / (1000 * k):.4f}, {memory:9.0f} and {card:9.0f} questions/s, {one:4.0f} us alone",
            flush=True,
        )
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


def cuvs():
    """Brute force and CAGRA."""

    def sync():
        return cupy.cuda.Device().synchronize()

    for kind in ("float32", "float16"):
        rows = cupy.asarray(base.astype(kind))
        there, back = lambda q: cupy.asarray(q.astype(kind, copy=False)), lambda found: found.get()
        index = brute_force.build(rows, metric="sqeuclidean")
        for k in (10, 100):

            def search(q):
                return cupy.asarray(brute_force.search(index, q, k)[1])

            measure(f"cuVS brute force, {kind}", k, search, there, back, sync)
        for degree in (32, 64):
            start = time.perf_counter()
            options = cagra.IndexParams(
                metric="sqeuclidean",
                graph_degree=degree,
                intermediate_graph_degree=2 * degree,
                build_algo="nn_descent",
            )
            graph = cagra.build(options, rows)
            sync()
            print(f"CAGRA, {kind}, degree {degree}: built in {time.perf_counter() - start:.2f} s")
            for k, widths in ((10, (16, 32, 64, 128, 256)), (100, (128, 256, 512))):
                for width in widths:
                    params = cagra.SearchParams(itopk_size=width)

                    def search(q):
                        return cupy.asarray(cagra.search(params, graph, q, k)[1])

                    measure(
                        f"CAGRA, {kind}, degree {degree}, itopk {width}",
                        k,
                        search,
                        there,
                        back,
                        sync,
                    )


voisin()
with torch.inference_mode():
    there, back = lambda rows: torch.from_numpy(rows).cuda(), lambda found: found.cpu().numpy()
    for k in (10, 100):
        measure("PyTorch, bf16, ranked in f32", k, of_torch(k), there, back, torch.cuda.synchronize)
if cupy:
    cuvs()
voisin()
