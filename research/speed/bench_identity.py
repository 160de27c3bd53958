#!/usr/bin/env python3
"""Savings of `--identity quick` on large files: bytes that `voisin add` reads, and seconds.

    cargo build --release
    python research/speed/bench_identity.py DIR [--files 8] [--minutes 15] [--binary target/release/voisin]

Makes stereo WAV files of noise at 44.1 kHz in DIR, and FLAC files of them if `flac` or `ffmpeg` is
installed, adds each kind with `--identity full` and `quick` to separate libraries, and prints JSON.
Bytes are those that the process read (rchar of /proc/PID/io, Linux), from the disk or from the page
cache. Needs numpy.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import time
import wave

import numpy as np

p = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
p.add_argument("dir")
p.add_argument("--files", type=int, default=8)
p.add_argument("--minutes", type=float, default=15)
p.add_argument("--binary", default="target/release/voisin")
a = p.parse_args()
root = pathlib.Path(a.dir)
root.mkdir(parents=True, exist_ok=True)


def make():
    rng = np.random.default_rng(1)
    (root / "wav").mkdir(exist_ok=True)
    for i in range(a.files):
        with wave.open(str(root / "wav" / f"{i}.wav"), "wb") as file:
            file.setnchannels(2)
            file.setsampwidth(2)
            file.setframerate(44100)
            for _ in range(int(a.minutes * 60)):
                # Noise that is duller for each file, so that FLAC has something to do.
                x = np.cumsum(rng.normal(size=(44100, 2)), axis=0) * (0.2 + i / 20)
                x -= x.mean(axis=0)
                file.writeframes(np.clip(x * 100, -32000, 32000).astype("<i2").tobytes())
    encoder = next((name for name in ("flac", "ffmpeg") if shutil.which(name)), None)
    if encoder:
        (root / "flac").mkdir(exist_ok=True)
    for path in (root / "wav").glob("*.wav") if encoder else []:
        target = root / "flac" / path.with_suffix(".flac").name
        words = (
            ["flac", "-s", "-f", path, "-o", target]
            if encoder == "flac"
            else ["ffmpeg", "-v", "error", "-y", "-i", path, target]
        )
        subprocess.run(words, check=True)
    return ["wav", "flac"] if encoder else ["wav"]


def add(kind, identity):
    library = root / f"library-{kind}-{identity}"
    shutil.rmtree(library, ignore_errors=True)
    words = [
        a.binary,
        "--quiet",
        "--library",
        library,
        "add",
        root / kind,
        "--identity",
        identity,
        "--descriptors",
        "none",
    ]
    start = time.perf_counter()
    child = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    # It has ended but is not yet waited for: what it did can still be read.
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    seconds = time.perf_counter() - start
    counters = dict(line.split(": ") for line in open(f"/proc/{child.pid}/io").read().splitlines())
    user = os.wait4(child.pid, 0)[2]
    shutil.rmtree(library, ignore_errors=True)
    return {
        "read_bytes": int(counters["rchar"]),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(user.ru_utime + user.ru_stime, 1),
    }


report = {"files": a.files, "minutes": a.minutes, "load": os.getloadavg()}
for kind in make():
    size = sum(path.stat().st_size for path in (root / kind).iterdir())
    report[kind] = {"bytes": size} | {
        identity: add(kind, identity) for identity in ("full", "quick")
    }
report["load_after"] = os.getloadavg()
print(json.dumps(report, indent=1))
