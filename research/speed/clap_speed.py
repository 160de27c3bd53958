#!/usr/bin/env python3
"""CLAP's audio tower in voisin and in PyTorch, same sizes and windows of 10 s, in turns:

    python research/models/seeded_clap.py FOLDER --real
    voisin model import FOLDER --name clap
    cargo build --release -p voisin-encoder --example device_speed
    python research/speed/clap_speed.py FOLDER MODEL.json target/release/examples/device_speed \\
        [--threads 2] [--batch 1] [--runs 11]

MODEL.json is the manifest that the import wrote. Printed are the medians of both sides' wall-clock
and CPU seconds a window, and the medians of the runs' own ratios (above 1: voisin takes less). The
first two runs of each are left out. Needs torch and transformers; Linux, for the CPU time of
another process.
"""

import argparse
import os
import statistics
import subprocess
import time


def cpu_time(pid):
    """Of all threads, those that have ended among them; in hundredths of a second."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as handle:
        fields = handle.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder")
    parser.add_argument("manifest")
    parser.add_argument("program")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--runs", type=int, default=11)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)

    import torch
    from transformers import ClapModel

    torch.set_num_threads(options.threads)
    model = ClapModel.from_pretrained(options.folder).eval()
    # Frames and bands of a window of 10 s.
    values = torch.randn(options.batch, 1, 1001, 64)
    longer = torch.zeros(options.batch, 1, dtype=torch.bool)
    ours = subprocess.Popen(
        [options.program, "cpu", options.manifest, str(options.batch)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "RAYON_NUM_THREADS": str(options.threads)},
    )

    def theirs_once():
        with torch.inference_mode():
            model.get_audio_features(input_features=values, is_longer=longer)

    def ours_once():
        ours.stdin.write(b"x")
        ours.stdin.flush()
        ours.stdout.read(1)

    rows = []
    for _ in range(options.runs + 2):
        row = []
        for once, pid in ((theirs_once, os.getpid()), (ours_once, ours.pid)):
            wall = time.perf_counter()
            cpu = cpu_time(pid)
            once()
            row.append((time.perf_counter() - wall, cpu_time(pid) - cpu))
        rows.append(row)
    ours.stdin.close()
    ours.wait()
    for at, name in enumerate(("wall clock", "CPU time")):
        theirs, here, ratio = (
            statistics.median(map(figure, rows[2:]))
            for figure in (
                lambda row: row[0][at],
                lambda row: row[1][at],
                lambda row: row[0][at] / row[1][at],
            )
        )
        print(
            f"{name}, {options.threads} threads, batch {options.batch}: "
            f"PyTorch {1000 * theirs / options.batch:.0f} ms a window, "
            f"voisin {1000 * here / options.batch:.0f} ms, ratio {ratio:.2f}"
        )


if __name__ == "__main__":
    main()
