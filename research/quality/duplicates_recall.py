#!/usr/bin/env python3
"""Recall and false pairs of `voisin duplicates` on other versions of real tracks:
duplicates_recall.py SOURCE WORK [options]

Of each audio file below SOURCE it makes (with ffmpeg, in WORK/files): the original, 64 kbit/s MP3,
Opus 48, FLAC, 6 dB softer, and 2 s cut off the start. Then it adds all to a new library
(WORK/library), runs `voisin duplicates`, and prints recall by kind and every group with two
different tracks. A second library with only the originals gives the number of pairs among them.
"""

import argparse
import csv
import io
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

KINDS = {
    "mp3-64": (".mp3", ["-b:a", "64k"]),
    "opus-48": (".opus", ["-c:a", "libopus", "-b:a", "48k"]),
    "flac": (".flac", []),
    "soft": (".mp3", ["-filter:a", "volume=-6dB", "-b:a", "128k"]),
    "cut": (".mp3", ["-filter:a", "atrim=start=2,asetpts=PTS-STARTPTS", "-b:a", "128k"]),
}
ENDINGS = {".mp3", ".ogg", ".oga", ".flac", ".opus", ".m4a", ".wav"}


def make(job):
    number, source, out, start, seconds = job
    if (out / "cut" / f"{number}.mp3").exists():
        return
    ffmpeg = ["ffmpeg", "-nostdin", "-v", "error", "-y"]
    original = out / "original" / f"{number}{source.suffix.lower()}"
    if seconds:
        original = original.with_suffix(".mp3")
        subprocess.run(
            [
                *ffmpeg,
                "-ss",
                str(start),
                "-t",
                str(seconds),
                "-i",
                source,
                "-map",
                "0:a:0",
                "-b:a",
                "128k",
                original,
            ],
            check=True,
        )
    else:
        shutil.copy(source, original)
    made = []
    for kind, (ending, options) in KINDS.items():
        made += [
            "-map",
            "0:a:0",
            "-map_metadata",
            "0",
            *options,
            str(out / kind / f"{number}{ending}"),
        ]
    subprocess.run([*ffmpeg, "-i", original, *made], check=True)


def voisin(program, library, *arguments):
    done = subprocess.run(
        [program, "--library", library, *arguments], capture_output=True, text=True
    )
    if done.returncode not in (0, 1):
        sys.exit(f"voisin {' '.join(map(str, arguments))}: {done.stderr}")
    return done


def groups(program, library):
    rows = csv.DictReader(
        io.StringIO(voisin(program, library, "duplicates", "--format", "csv").stdout)
    )
    found = {}
    for row in rows:
        found.setdefault(row["group"], []).append(Path(row["path"]))
    return list(found.values())


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("source", type=Path)
    p.add_argument("work", type=Path)
    p.add_argument("--voisin", default="target/release/voisin")
    p.add_argument("--every", type=int, default=1, help="take every Nth file")
    p.add_argument(
        "--excerpt", type=float, default=0, help="seconds to which originals are cut first"
    )
    p.add_argument("--start", type=float, default=20, help="where an excerpt begins")
    p.add_argument("--only-make", action="store_true")
    a = p.parse_args()
    sources = sorted(f for f in a.source.rglob("*") if f.suffix.lower() in ENDINGS)[:: a.every]
    out = a.work / "files"
    for kind in ["original", *KINDS]:
        (out / kind).mkdir(parents=True, exist_ok=True)
    jobs = [(f"{i:04}", source, out, a.start, a.excerpt) for i, source in enumerate(sources)]
    failed = []

    def one(job):
        try:
            make(job)
        except subprocess.CalledProcessError:
            failed.append(job[1])

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(one, jobs))
    print(f"{len(sources)} tracks, {len(failed)} of them not readable by ffmpeg")
    if a.only_make:
        return

    both = a.work / "library"
    voisin(a.voisin, both, "add", "--quiet", out)
    found = groups(a.voisin, both)
    of = {path.resolve(): number for number, group in enumerate(found) for path in group}
    originals = {f.stem: f.resolve() for f in (out / "original").iterdir()}
    missed = []
    for kind in KINDS:
        files = sorted((out / kind).iterdir())
        hits = 0
        for file in files:
            group = of.get(file.resolve())
            if group is not None and group == of.get(originals[file.stem]):
                hits += 1
            else:
                missed.append(f"{kind}/{file.name}")
        print(f"{kind}: {hits} of {len(files)}")
    total = sum(len(list((out / kind).iterdir())) for kind in KINDS)
    print(
        f"recall {1 - len(missed) / total:.4f} ({total - len(missed)} of {total}); missed: {' '.join(missed)}"
    )
    mixed = [group for group in found if len({path.stem for path in group}) > 1]
    print(
        f"{len(mixed)} groups hold different tracks: {[sorted({p.stem for p in g}) for g in mixed]}"
    )
    alone = a.work / "library-originals"
    voisin(a.voisin, alone, "add", "--quiet", out / "original")
    pairs = groups(a.voisin, alone)
    print(
        f"{len(pairs)} groups among the {len(originals)} originals alone: {[[p.stem for p in g] for g in pairs]}"
    )


if __name__ == "__main__":
    main()
