#!/usr/bin/env python3
"""Figures of scales: research/quality/scale_figures.py TRACKS.json MOODS.tsv [--oracle ORACLE.json]
or scale_figures.py --pieces FOLDER VOISIN
or scale_figures.py LIBRARY VOISIN --few MOODS.tsv --oracle ORACLE.json

TRACKS.json is `voisin list --format json` of a library of the tracks in MOODS.tsv (columns file,
genre, artist, and what listeners felt: power, calmness, tenderness, joyful_activation, sadness);
ORACLE.json has for each file energy and danceability of another program (`--make-oracle` writes it
with PyPI's vibenet, which is neither shipped nor trained on). Prints rank correlations of all
tracks, of the half of the artists on which weights were chosen, of the other half, and within each
genre.

--pieces takes three pieces of 20 s out of each file of FOLDER, and prints by how much two of three
values differ from the median of their track: the error of a measured scale.

--few trains scales (`train scale`, in a copy of LIBRARY) on 40, 100 and 150 values of the tracks of
three quarters of the artists, and prints rank correlations with the values of the others, means of
20 splits; then how much nearer in mood than chance ten neighbours by other artists are, and how
many have the genre, if the scale trained on 100 is added to their similarity.

Needs scipy; --pieces needs ffmpeg.
"""

import argparse
import csv
import json
import pathlib
import shutil
import statistics
import subprocess
import tempfile

import numpy as np
from scipy.stats import spearmanr

PIECES = (0.25, 0.5, 0.75)
LEARNT = ("energy", "danceability", "valence")
FELT = ("power", "calmness")


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


def few(library, program, moods, oracle):
    moods = list(csv.DictReader(open(moods, encoding="utf-8"), delimiter="\t"))
    oracle = json.loads(pathlib.Path(oracle).read_text())
    emotions = [name for name in list(moods[0])[5:] if name != "emotion"]
    felt = {row["file"]: row for row in moods}
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        shutil.copytree(library, work / "library")
        voisin = [program, "--library", work / "library", "--quiet"]

        def tracks():
            answer = subprocess.check_output([*voisin, "list", "-l", "all", "--format", "json"])
            found = {}
            for track in json.loads(answer)["tracks"]:
                file = "/".join(track["path"].split("/")[-2:])
                if file in felt:
                    found[file] = track
            return found

        subprocess.run([*voisin, "export", "--no-windows", work / "export"], check=True)
        rows = csv.DictReader(open(work / "export" / "tracks.csv", encoding="utf-8"))
        rows = {"/".join(row["path"].split("/")[-2:]): at for at, row in enumerate(rows)}
        known = tracks()
        files = sorted(known)
        vectors = np.load(work / "export" / "vectors.npy")[[rows[file] for file in files]]
        vectors = vectors - np.load(work / "export" / "mean.npy")
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        likeness = vectors @ vectors.T
        artists = np.array([felt[file]["artist"] for file in files])
        genres = np.array([felt[file]["genre"] for file in files])
        emotion = np.array([[float(felt[file][name]) for name in emotions] for file in files])
        apart = np.sqrt(((emotion[:, None] - emotion[None]) ** 2).sum(2))
        others = artists[:, None] != artists[None]
        chance = (apart * others).sum(1) / others.sum(1)

        def feel(scales, weight, queries):
            off = sum(np.abs(values[:, None] - values[None]) / 100 for values in scales)
            off = off / max(len(scales), 1)
            score = np.where(others, likeness - weight * off, -9)
            near = np.argsort(-score, 1)[:, :10]
            distance = np.take_along_axis(apart, near, 1).mean(1)
            alike = (genres[near] == genres[:, None]).mean(1)
            return 1 - distance[queries].mean() / chance[queries].mean(), alike[queries].mean()

        energy = np.array([known[file]["scales"]["energy"] for file in files])
        everybody = np.arange(len(files))
        print("neighbours", np.round(feel([], 0, everybody), 3))
        print("with energy, 0.5", np.round(feel([energy], 0.5, everybody), 3))
        truths = {f"predicted {name}": [oracle[file][name] for file in files] for name in LEARNT}
        truths |= {name: [float(felt[file][name]) for file in files] for name in FELT}
        for truth, values in truths.items():
            values = np.array(values)
            random = np.random.default_rng(1)
            figures = {size: [] for size in (40, 100, 150)}
            refused = dict.fromkeys(figures, 0)
            gains = []
            for _ in range(20):
                held = random.permutation(sorted(set(artists)))
                held = np.isin(artists, held[: len(held) // 4])
                order = random.permutation(np.flatnonzero(~held))
                for size in figures:
                    table = work / "table.csv"
                    lines = [f"{known[files[at]]['id']},{values[at]}" for at in order[:size]]
                    table.write_text("\n".join(["id,value", *lines]))
                    command = [*voisin, "train", "scale", "mine", "--from", table]
                    if subprocess.run(command, capture_output=True).returncode:
                        refused[size] += 1
                        continue
                    learned = tracks()
                    mine = np.array([learned[f]["scales"].get("mine", np.nan) for f in files])
                    there = held & np.isfinite(mine)
                    figures[size].append(spearmanr(mine[there], values[there]).statistic)
                    if size == 100:
                        mine = np.where(np.isfinite(mine), mine, np.nanmean(mine))
                        # As in the program, energy with the trained scale; and that scale alone.
                        ways = [[], 0], [[mine, energy], 0.5], [[mine, energy], 1], [[mine], 1]
                        rows = np.flatnonzero(held)
                        gains.append([feel(scales, weight, rows) for scales, weight in ways])
            means = {size: round(float(np.mean(found)), 2) for size, found in figures.items()}
            gain = np.round(np.mean(gains, 0), 3).tolist() if gains else None
            print(
                truth,
                means,
                "refused",
                refused,
                "gain and precision at 0, 0.5, 1, and without energy at 1:",
                gain,
                flush=True,
            )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("tracks")
    parser.add_argument("moods")
    parser.add_argument("--oracle")
    parser.add_argument("--make-oracle", metavar="MUSIC")
    parser.add_argument("--pieces", action="store_true", help="TRACKS: a folder, MOODS: voisin")
    parser.add_argument("--few", metavar="MOODS", help="TRACKS: a library, MOODS: voisin")
    args = parser.parse_args()
    if args.few:
        few(args.tracks, args.moods, args.few, args.oracle)
    elif args.pieces:
        pieces(args.tracks, args.moods)
    elif args.make_oracle:
        make_oracle(args)
    else:
        correlations(args)


main()
