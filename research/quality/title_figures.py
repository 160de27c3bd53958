#!/usr/bin/env python3
"""Counts which titles and altered recordings `voisin` treats as versions of one song:
title_figures.py TITLES SOURCE WORK [options]

TITLES has titles of versions (the first line is the song itself), then tab-separated pairs of
titles of different pieces; lines beginning with # are comments. SOURCE is a folder with
`tracks.tsv` (file, artist). Three libraries are made in WORK with ffmpeg:

pairs     each pair by a separate artist, on two recordings by one artist if SOURCE has them
versions  each title of a version on an altered copy of one recording
others    each title of a version on another recording

All tracks of a song have one artist. A title counts as joined if `duplicates --versions` has it in
the group of the song itself, and, for lists, if `playlist` leaves it out.
"""

import argparse
import csv
import io
import os
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from pathlib import Path

SEMITONE = 2 ** (1 / 12)
HALL = "aecho=0.8:0.7:60|110|170:0.5|0.4|0.3"
KINDS = {
    "a semitone higher": f"asetrate=44100*{SEMITONE},aresample=44100,atempo={1 / SEMITONE}",
    "two semitones lower": f"asetrate=44100/{SEMITONE**2},aresample=44100,atempo={SEMITONE**2}",
    "faster by 10 %": "atempo=1.1",
    "slower by 10 %": "atempo=0.9",
    "sped up by 20 %": "asetrate=44100*1.2,aresample=44100",
    "slowed, in a hall": f"asetrate=44100*0.85,aresample=44100,{HALL}",
    "in a hall": HALL,
    "its middle": "atrim=start=6:end=24,asetpts=PTS-STARTPTS",
    "without what is in the centre": "stereotools=mlev=0.25",
    "another mix": "bass=g=7:f=150,treble=g=-5:f=5000,acompressor=threshold=0.05:ratio=6:makeup=3",
    "eight-D": "apulsator=hz=0.15,aecho=0.8:0.6:40:0.3",
}


def titles(path):
    ways, pairs = [], []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            pairs.append(line.split("\t")) if "\t" in line else ways.append(line)
    return ways, pairs


def encode(job):
    source, target, filters, artist, title = job
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        ["ffmpeg", "-nostdin", "-v", "error", "-i", source, "-af", f"aresample=44100,{filters}"]
        + ["-vn", "-b:a", "128k", "-map_metadata", "-1", "-metadata", f"artist={artist}"]
        + ["-metadata", f"title={title}", target],
        check=True,
    )


def run(program, library, *command):
    done = subprocess.run(
        [program, "--library", library, *command], capture_output=True, text=True, check=False
    )
    if done.returncode not in (0, 1):
        sys.exit(f"voisin {command[0]}: {done.stderr}")
    return done.stdout


def groups(program, library, *options):
    table = run(program, library, "duplicates", "--versions", "--format", "csv", *options)
    return {Path(row["path"]).stem: row["group"] for row in csv.DictReader(io.StringIO(table))}


def in_list(program, library, artist):
    paths = run(
        program, library, "playlist", "--artist", artist, "-l", "all", "--max-per-artist", "0",
        "--format", "paths",
    )  # fmt: skip
    return {Path(path).stem for path in paths.splitlines()}


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("titles", type=Path)
    p.add_argument("source", type=Path)
    p.add_argument("work", type=Path)
    p.add_argument("--voisin", default="target/release/voisin")
    p.add_argument("--songs", type=int, default=4, help="number of recordings with versions")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--libraries", nargs="+", default=["pairs", "versions", "others"])
    p.add_argument("--names", action="store_true", help="also print the errors")
    a = p.parse_args()
    ways, pairs = titles(a.titles)
    rows = list(csv.DictReader(open(a.source / "tracks.tsv", encoding="utf-8"), delimiter="\t"))
    draw = random.Random(a.seed)
    draw.shuffle(rows)
    of_one = [
        pair for pair in combinations(rows, 2) if pair[0]["artist"] == pair[1]["artist"]
    ] or list(combinations(rows, 2))
    draw.shuffle(of_one)
    jobs, used = [], set()
    for n, names in enumerate(pairs):
        # Each recording once, while there are others.
        free = (pair for pair in of_one if not used & {row["file"] for row in pair})
        two = next(free, of_one[n % len(of_one)])
        used |= {row["file"] for row in two}
        for side, (row, title) in enumerate(zip(two, names, strict=True)):
            target = a.work / "pairs" / f"{n:03}-{side}.mp3"
            jobs.append((a.source / row["file"], target, "anull", f"Artist {n:03}", title))
    for song in range(a.songs):
        base, *others = rows[song:] + rows[:song]
        for library in ("versions", "others"):
            for n, title in enumerate(ways):
                altered = list(KINDS.values())[n % len(KINDS)]
                row = base if n == 0 or library == "versions" else others[n + song * len(ways)] \
                    if n + song * len(ways) < len(others) else draw.choice(others)  # fmt: skip
                # Equal sounds would be one track: each use of a recording begins a little later.
                use = n // len(KINDS) if library == "versions" else song
                later = f"atrim=start={0.3 * use},asetpts=PTS-STARTPTS"
                is_altered = n > 0 and library == "versions"
                filters = f"{later},{altered}" if is_altered else later
                target = a.work / library / f"{song}-{n:03}.mp3"
                jobs.append((a.source / row["file"], target, filters, f"Singer {song}", title))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(encode, jobs))
    named = {job[1].stem: job[4] for job in jobs}
    for library in a.libraries:
        folder = a.work / library
        database = a.work / f"library {library}"
        run(a.voisin, database, "add", folder)
        artists = range(len(pairs)) if library == "pairs" else range(a.songs)
        name = "Artist {:03}" if library == "pairs" else "Singer {}"
        # Before audio is compared, since its results are stored and would apply to lists.
        lists = {n: in_list(a.voisin, database, name.format(n)) for n in artists}
        decisions = {
            "--rough": groups(a.voisin, database, "--rough"),
            "by audio": groups(a.voisin, database),
        }

        def together(found, x, y):
            return x in found and found.get(x) == found.get(y)

        for how in ("playlist", *decisions):
            found = decisions.get(how, {})
            joined = []
            if library == "pairs":
                for n in artists:
                    one, two = f"{n:03}-0", f"{n:03}-1"
                    left_out = not {one, two} <= lists[n]
                    if left_out if how == "playlist" else together(found, one, two):
                        joined.append(two)
                print(f"pairs, {how}: {len(pairs) - len(joined)} of {len(pairs)} kept apart")
            else:
                for song in artists:
                    versions = [f"{song}-{n:03}" for n in range(1, len(ways))]
                    first = f"{song}-000"
                    out = [
                        v for v in versions
                        if (v not in lists[song] if how == "playlist" else together(found, first, v))
                    ]  # fmt: skip
                    joined += out
                    print(f"{library}, {how}: {len(out)} of {len(versions)} joined, song {song}")
                if library == "versions":
                    joined = [v for v in named if (a.work / "versions" / f"{v}.mp3").exists()
                              and not v.endswith("-000") and v not in joined]  # fmt: skip
            if a.names:
                for stem in joined:
                    path = a.work / library / f"{stem}.mp3"
                    kind = list(KINDS)[int(stem[2:]) % len(KINDS)] if library == "versions" else ""
                    title = next(job[4] for job in jobs if job[1] == path)
                    print(f"    {stem} {title} {kind}")


if __name__ == "__main__":
    main()
