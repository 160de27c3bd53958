#!/usr/bin/env python3
"""How well `voisin find` finds music by word: research/quality/find_figures.py MUSIC… [--table TSV]
[--tagger MODEL] [--join pop,rock]

Adds MUSIC to a temporary library and searches for each genre by its word. Relevant are the tracks
of that genre: of the column `genre` of --table (columns file and genre, files relative to the first
MUSIC), or else of the files' own tags, each value split at commas, semicolons and slashes. With
--tagger, another model with tags analyses the music too, and each tag is assigned to the --share of
tracks for which it is strongest; of "instrument piano" the word is "piano". Genres of fewer than
--least tracks are left out, and those of unknown words are listed. --join A,B: tracks of A count
for B and vice versa. Precision@20 is the share of relevant tracks among the first twenty answers;
chance is their share of all tracks.
"""

import argparse
import collections
import csv
import json
import pathlib
import re
import sqlite3
import struct
import subprocess
import sys
import tempfile

FIRST = 20


def tagged(voisin, music, model, share):
    """The tags of each file, by path, from another model."""
    shown = json.loads(voisin("model", "show", model, "--format", "json").stdout)
    names = [re.sub("^(style|instrument|mood) ", "", tag).lower() for tag in shown["tags"]]
    with tempfile.TemporaryDirectory() as library:
        added = voisin("--model", model, "add", "--descriptors", "none", *music, library=library)
        if added.returncode not in (0, 1):
            sys.exit(added.stderr)
        database = sqlite3.connect(f"file:{library}/voisin.db?mode=ro", uri=True)
        rows = database.execute(
            "SELECT f.path, l.logits FROM files f JOIN logits l ON l.track = f.track"
        ).fetchall()
        database.close()
    logits = {
        path.decode(errors="surrogateescape"): struct.unpack(f"<{len(blob) // 4}f", blob)
        for path, blob in rows
    }
    found = {path: set() for path in logits}
    for i, name in enumerate(names):
        order = sorted(logits, key=lambda path: -logits[path][i])
        for path in order[: round(share * len(order))]:
            found[path].add(name)
    return found


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("music", type=pathlib.Path, nargs="+")
    parser.add_argument("--table", type=pathlib.Path)
    parser.add_argument(
        "--tagger", help="name of another model with tags (in the folder VOISIN_MODELS)"
    )
    parser.add_argument(
        "--share", default=0.2, type=float, help="share of the tracks that carry a tag (0.2)"
    )
    parser.add_argument("--join", default="")
    parser.add_argument("--least", default=20, type=int)
    parser.add_argument("--voisin", default="target/release/voisin")
    options = parser.parse_args()
    music = [str(path.resolve()) for path in options.music]
    joined = {name.strip() for name in options.join.split(",") if name.strip()}

    with tempfile.TemporaryDirectory() as own:

        def voisin(*words, library=own):
            return subprocess.run(
                [options.voisin, "--quiet", "--library", library, *words],
                capture_output=True,
                text=True,
                check=False,
            )

        added = voisin("add", "--descriptors", "none", *music)
        if added.returncode not in (0, 1):
            sys.exit(added.stderr)
        tracks = json.loads(voisin("list", "--format", "json").stdout)["tracks"]
        genres = {
            track["id"]: {
                part.strip().lower()
                for value in track["genres"]
                for part in re.split("[,;/]", value)
            }
            for track in tracks
        }
        if options.table:
            with open(options.table, encoding="utf-8", newline="") as file:
                of_file = {
                    (options.music[0] / row["file"]).resolve(): row["genre"]
                    for row in csv.DictReader(file, delimiter="\t")
                }
            genres = {
                track["id"]: {of_file[pathlib.Path(track["path"])]}
                for track in tracks
                if pathlib.Path(track["path"]) in of_file
            }
        if options.tagger:
            carried = tagged(voisin, music, options.tagger, options.share)
            genres = {track["id"]: set(carried.get(track["path"], ())) for track in tracks}
        for names in genres.values():
            if names & joined:
                names |= joined
        counts = collections.Counter(name for names in genres.values() for name in names)
        figures = []
        print(
            f"{len(tracks)} tracks\n\n| word | tracks | precision@{FIRST} | chance |\n|---|---|---|---|"
        )
        for name, count in sorted(counts.items()):
            if count < options.least or not name:
                continue
            done = voisin("find", name, "--limit", str(FIRST), "--format", "json")
            if done.returncode == 2:
                print(f"| {name} | {count} | not understood | |")
                continue
            answer = json.loads(done.stdout)
            if answer["unknown"]:
                print(f"| {name} | {count} | not understood: {', '.join(answer['unknown'])} | |")
                continue
            found = [track["id"] for track in answer["tracks"]]
            precision = sum(name in genres.get(track, ()) for track in found) / len(found)
            figures.append(precision)
            print(f"| {name} | {count} | {precision:.2f} | {count / len(tracks):.2f} |")
        if figures:
            print(f"| mean of {len(figures)} | | {sum(figures) / len(figures):.3f} | |")


if __name__ == "__main__":
    main()
