#!/usr/bin/env python3
"""Precision and recall of `voisin duplicates --versions` on generated versions: versions_figures.py
SOURCE WORK [options]

Of every Nth track below SOURCE (a folder with `tracks.tsv`: file, artist) it makes one version of
each kind with ffmpeg, in WORK/files. In the first library a version has its track's artist, and its
title with a word such as (Live) added; then the song of another track by the same artist gets that
title as well, which is the negative: a group that holds both is wrong. In the second library all
versions have different titles, so that only sound can find them.
"""

import argparse
import csv
import io
import os
import subprocess
import sys
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SEMITONE = 2 ** (1 / 12)
KINDS = {
    "slower by 6 %": "atempo=0.94",
    "faster by 6 %": "atempo=1.06",
    "a semitone lower": f"asetrate=44100/{SEMITONE},aresample=44100,atempo={SEMITONE}",
    "a semitone higher": f"asetrate=44100*{SEMITONE},aresample=44100,atempo={1 / SEMITONE}",
    "mastered anew": "bass=g=5:f=120,treble=g=4:f=6000,acompressor=threshold=0.05:ratio=6:makeup=4,alimiter=limit=0.9",
    "without the first 8 s": "atrim=start=8,asetpts=PTS-STARTPTS",
    "Opus, 48 kbit/s": None,
    "as if live": "asetrate=43000,aresample=44100,atempo=0.95,aecho=0.8:0.7:60|110|170:0.5|0.4|0.3,atrim=start=3,asetpts=PTS-STARTPTS",
}


def encode(source, target, filters, artist, title):
    if target.exists():
        return
    inputs, graph = ["-i", source], ["-af", f"aresample=44100,{filters}"] if filters else []
    if filters and "aecho" in filters:  # An audience beside it.
        inputs += ["-f", "lavfi", "-i", "anoisesrc=color=pink:amplitude=0.08:duration=600:seed=1"]
        graph = [
            "-filter_complex",
            f"[0:a]aresample=44100,{filters}[m];[m][1:a]amix=duration=first:normalize=0",
        ]
    codec = ["-b:a", "48k"] if target.suffix == ".opus" else ["-b:a", "128k"]
    tags = ["-map_metadata", "-1", "-metadata", f"artist={artist}", "-metadata", f"title={title}"]
    subprocess.run(
        ["ffmpeg", "-nostdin", "-v", "error", "-y", *inputs, *graph, "-vn", *codec, *tags, target],
        check=True,
    )


def groups(program, library, folder, *options):
    for command in (["add", folder], ["duplicates", "--versions", "--format", "csv", *options]):
        done = subprocess.run(
            [program, "--library", library, *command], capture_output=True, text=True
        )
        if done.returncode not in (0, 1):
            sys.exit(f"voisin {command[0]}: {done.stderr}")
    found = {}
    for row in csv.DictReader(io.StringIO(done.stdout)):
        found[Path(row["path"]).stem] = row["group"]
    return found


def share(part, whole):
    return f"{part} of {whole}" + (f" ({100 * part / whole:.1f} %)" if whole else "")


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("source", type=Path)
    p.add_argument("work", type=Path)
    p.add_argument("--voisin", default="target/release/voisin")
    p.add_argument("--every", type=int, default=5, help="take every Nth track")
    a = p.parse_args()
    rows = list(csv.DictReader(open(a.source / "tracks.tsv", encoding="utf-8"), delimiter="\t"))
    by_artist = defaultdict(list)
    for row in rows:
        by_artist[row["artist"]].append(row)
    jobs, others = [], {}
    for n, row in enumerate(rows[:: a.every]):
        song, name = f"Song {n:03} of all", f"{n:03}"
        # Another song of the artist under the same title; not one that has the title of this one.
        other = next(
            (
                o
                for o in by_artist[row["artist"]]
                if o["title"] != row["title"] and o not in others.values()
            ),
            None,
        )
        for library in ("agreeing", "apart"):
            (a.work / library).mkdir(parents=True, exist_ok=True)
            title = (
                (lambda i: f"{song} (Take {i})")
                if library == "agreeing"
                else (lambda i: f"{name} of {i:03}")
            )
            jobs.append((row, a.work / library / f"{name} original.mp3", "anull", song))
            for i, filters in enumerate(KINDS.values()):
                ending = "mp3" if filters else "opus"
                jobs.append((row, a.work / library / f"{name} {i}.{ending}", filters, title(i)))
            if other:
                others[name] = other
                jobs.append(
                    (
                        other,
                        a.work / library / f"{name} other.mp3",
                        "anull",
                        f"{song} (Live)" if library == "agreeing" else f"{name} else",
                    )
                )
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(
            pool.map(
                lambda j: encode(a.source / j[0]["file"], j[1], j[2], j[0]["artist"], j[3]), jobs
            )
        )
    songs = sorted({job[1].stem.split()[0] for job in jobs})
    # A song may be another's negative, so the source file identifies a recording.
    music = {job[1].stem: job[0]["file"] for job in jobs}
    for library, options, what in (
        ("agreeing", [], "titles agree, as shipped"),
        ("agreeing", ["--rough"], "titles agree, by titles alone"),
        ("apart", [], "titles differ"),
    ):
        found = groups(a.voisin, a.work / f"library {library}", a.work / library, *options)

        def together(x, y):
            return x in found and found.get(x) == found.get(y)

        print(f"{what}: {len(songs)} songs")
        for i, kind in enumerate(KINDS):
            print(
                f"  {kind:24} found {share(sum(together(f'{s} original', f'{s} {i}') for s in songs), len(songs))}"
            )
        wrong = sum(together(f"{s} original", f"{s} other") for s in others)
        print(
            f"  {'another song, one title' if library == 'agreeing' else 'another song':24} taken for one {share(wrong, len(others))}"
        )
        right = all_pairs = 0
        names = sorted(found)
        for n, x in enumerate(names):
            for y in names[n + 1 :]:
                if together(x, y):
                    all_pairs += 1
                    right += music[x] == music[y]
        print(f"  {'pairs in groups':24} of one song {share(right, all_pairs)}")


if __name__ == "__main__":
    main()
