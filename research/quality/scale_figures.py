#!/usr/bin/env python3
"""Figures of scales: research/quality/scale_figures.py TRACKS.json MOODS.tsv [--oracle ORACLE.json]
or scale_figures.py --pieces FOLDER VOISIN

TRACKS.json is `voisin list --format json` of a library of the tracks in MOODS.tsv (columns file,
genre, artist, and what listeners felt: power, calmness, tenderness, joyful_activation, sadness);
ORACLE.json has for each file energy and danceability of another program (`--make-oracle` writes it
with PyPI's vibenet, which is neither shipped nor trained on). Prints rank correlations of all
tracks, of the half of the artists on which weights were chosen, of the other half, and within each
genre.

--pieces takes three pieces of 20 s out of each file of FOLDER, and prints by how much two of three
values differ from the median of their track: the error of a measured scale.

Needs scipy; --pieces needs ffmpeg.
"""

import argparse
import csv
import json
import pathlib
import statistics
import subprocess
import tempfile

import numpy as np
from scipy.stats import spearmanr

PIECES = (0.25, 0.5, 0.75)


def tracks_of(path):
    return json.loads(pathlib.Path(path).read_text())["tracks"]


def correlations(args):
    moods = list(csv.DictReader(open(args.moods, encoding="utf-8"), delimiter="\t"))
    known = {}
    for track in tracks_of(args.tracks):
        known["/".join(track["path"].split("/")[-2:])] = track["scales"]
    rows = [row for row in moods if row["file"] in known]
    for row in rows:
        row.update({f"scale:{name}": value for name, value in known[row["file"]].items()})
    felt = ["power", "calmness", "tenderness", "joyful_activation", "sadness"]
    truths = {name: name for name in felt if name in moods[0]}
    if args.oracle:
        oracle = json.loads(pathlib.Path(args.oracle).read_text())
        for row in rows:
            row.update({f"oracle:{name}": value for name, value in oracle[row["file"]].items()})
        truths |= {name: f"oracle:{name}" for name in ("energy", "danceability")}
    artists = sorted({row["artist"] for row in rows})
    np.random.default_rng(65).shuffle(artists)
    chosen = set(artists[: len(artists) // 2])
    parts = {
        "all": rows,
        "chosen on": [row for row in rows if row["artist"] in chosen],
        "others": [row for row in rows if row["artist"] not in chosen],
    }
    for genre in sorted({row["genre"] for row in rows}):
        parts[genre] = [row for row in rows if row["genre"] == genre]
    names = sorted({key for row in rows for key in row if key.startswith("scale:")})
    for name in names:
        for part, members in parts.items():
            members = [row for row in members if name in row]
            figures = []
            for truth, column in truths.items():
                pairs = [(float(row[name]), float(row[column])) for row in members]
                figures.append(f"{truth} {spearmanr(*zip(*pairs, strict=True)).statistic:5.2f}")
            print(f"{name[6:]:14} {part:10} {len(members):4}  {'  '.join(figures)}")


def make_oracle(args):
    import vibenet

    model = vibenet.load_model()
    found = {}
    for row in csv.DictReader(open(args.moods, encoding="utf-8"), delimiter="\t"):
        result = model.predict(str(pathlib.Path(args.make_oracle, row["file"])))
        result = result[0] if isinstance(result, list) else result
        found[row["file"]] = {name: float(getattr(result, name)) for name in vibenet.labels}
    pathlib.Path(args.oracle).write_text(json.dumps(found))


def pieces(folder, program):
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        (work / "pieces").mkdir()
        for number, path in enumerate(sorted(pathlib.Path(folder).rglob("*"))):
            if path.suffix not in {".mp3", ".ogg", ".opus", ".flac", ".m4a"}:
                continue
            command = [
                "ffprobe",
                "-v",
                "error",
                "-show_entries",
                "format=duration",
                "-of",
                "csv=p=0",
            ]
            seconds = float(subprocess.check_output([*command, path]))
            if seconds < 80:
                continue
            for place in PIECES:
                start = str(place * seconds - 10)
                target = work / "pieces" / f"{number:04}-{place}.wav"
                cut = ["ffmpeg", "-v", "error", "-ss", start, "-t", "20", "-i", path, target]
                subprocess.run(cut, check=True)
        voisin = [program, "--library", work / "library", "--quiet"]
        subprocess.run([*voisin, "add", work / "pieces"], check=True)
        answer = subprocess.check_output([*voisin, "list", "--limit", "all", "--format", "json"])
        values = {}
        for track in json.loads(answer)["tracks"]:
            number = pathlib.Path(track["path"]).name[:4]
            for name, value in track["scales"].items():
                values.setdefault(name, {}).setdefault(number, []).append(value)
        for name, of_tracks in sorted(values.items()):
            off = sorted(
                abs(value - statistics.median(track))
                for track in of_tracks.values()
                for value in track
                if value != statistics.median(track)
            )
            print(f"{name:14} {len(of_tracks)} tracks: {off[len(off) * 2 // 3]:.1f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("tracks")
    parser.add_argument("moods")
    parser.add_argument("--oracle")
    parser.add_argument("--make-oracle", metavar="MUSIC")
    parser.add_argument("--pieces", action="store_true", help="TRACKS: a folder, MOODS: voisin")
    args = parser.parse_args()
    if args.pieces:
        pieces(args.tracks, args.moods)
    elif args.make_oracle:
        make_oracle(args)
    else:
        correlations(args)


main()
