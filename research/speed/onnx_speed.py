#!/usr/bin/env python3
"""CPU time of ONNX networks in voisin and in onnxruntime, one thread each, in turns:

    cargo build --release -p voisin-onnx --example onnx_speed
    research/speed/onnx_speed.py target/release/examples/onnx_speed FILE[:OUTPUT[:SHAPE]]... [--runs N]

SHAPE (1x1x128x1000) is needed where an axis is open. For each file: the median CPU time of a window
in both, their ratio (above 1: voisin takes less), and the largest difference of the outputs
relative to their largest number. The first two runs of each are left out.

Needs numpy and onnxruntime; Linux, for the CPU time of another process.
"""

import argparse
import os
import statistics
import subprocess
import time

import numpy as np
import onnxruntime


def cpu_time(pid):
    with open(f"/proc/{pid}/schedstat", encoding="ascii") as handle:
        return int(handle.read().split()[0]) / 1e9


def measure(program, spec, runs):
    path, output, shape = (*spec.split(":"), "", "")[:3]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    shape = [int(n) for n in (shape.split("x") if shape else given.shape)]
    output = output or session.get_outputs()[0].name
    values = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    ours = subprocess.Popen(
        [program, path, output, f"{given.name}={','.join(map(str, shape))}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "RAYON_NUM_THREADS": "1"},
    )
    ours.stdin.write(values.tobytes())
    times = [[], []]
    for _ in range(runs + 2):
        before = time.process_time()
        (truth,) = session.run([output], {given.name: values})
        times[0].append(time.process_time() - before)
        before = cpu_time(ours.pid)
        ours.stdin.write(b"x")
        ours.stdin.flush()
        found = np.frombuffer(ours.stdout.read(truth.size * 4), np.float32)
        times[1].append(cpu_time(ours.pid) - before)
    ours.stdin.close()
    ours.wait()
    theirs, here = (statistics.median(t[2:]) for t in times)
    error = np.abs(found - truth.reshape(-1)).max() / np.abs(truth).max()
    print(
        f"{os.path.basename(path)}: onnxruntime {1000 * theirs:.1f} ms, "
        f"voisin {1000 * here:.1f} ms, ratio {theirs / here:.2f}, difference {error:.1e}",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("program")
    parser.add_argument("files", nargs="+")
    parser.add_argument("--runs", type=int, default=20)
    options = parser.parse_args()
    for spec in options.files:
        measure(options.program, spec, options.runs)


if __name__ == "__main__":
    main()
