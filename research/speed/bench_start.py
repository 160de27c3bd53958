#!/usr/bin/env python3
"""Whole processes on a large library: bench_start.py VOISIN LIBRARY [--rounds N]

Wall-clock milliseconds of `status` and of `similar id:N` with the library's files in the page
cache, and of `similar` after the index (or index and database) was put out of it (posix_fadvise, as
the system does when memory is short). Linux only.
"""

import argparse
import glob
import os
import statistics
import subprocess
import time

p = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
p.add_argument("voisin")
p.add_argument("library")
p.add_argument("--rounds", type=int, default=15)
a = p.parse_args()


def drop(*names):
    for name in names:
        for path in glob.glob(f"{a.library}/{name}"):
            f = os.open(path, os.O_RDONLY)
            os.fsync(f)
            os.posix_fadvise(f, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(f)


def run(*words):
    t = time.perf_counter()
    subprocess.run(
        [a.voisin, "--library", a.library, *words], check=True, stdout=subprocess.DEVNULL
    )
    return (time.perf_counter() - t) * 1e3


def report(name, before, *words):
    times = []
    for i in range(a.rounds):
        before()
        times.append(run(*[w.replace("N", str(1 + 997 * i)) for w in words]))
    print(
        f"{name:<52} p50 {statistics.median(times):7.1f} ms, best {min(times):7.1f}, worst {max(times):7.1f}"
    )


run("similar", "id:1")


def nothing():
    return None


report("status", nothing, "status")
report("similar, everything in the page cache", nothing, "similar", "id:N")
report("similar, index not in the page cache", lambda: drop("index.bin*"), "similar", "id:N")
report(
    "similar, index and database not in the page cache",
    lambda: drop("index.bin*", "voisin.db*"),
    "similar",
    "id:N",
)
report("status, database not in the page cache", lambda: drop("voisin.db*"), "status")
