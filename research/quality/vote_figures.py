#!/usr/bin/env python3
"""How often the vote of neighbours is right, by its share:
research/quality/vote_figures.py VOISIN MUSIC [--library DIR]

VOISIN is the program, MUSIC a folder with one folder of files for each genre and tracks.tsv beside
them (emotify-dev). Small libraries are drawn from it: numbers of labelled tracks of three random
genres by SIZES; all tracks of those genres by other artists are classified, and each genre has the
same weight. The last line labels all, and only other artists vote. Printed per size, and separately
for the first genre if it is rarer: the part of the answers between two shares, their mean share,
and the part that is right. --library: where the library of MUSIC is stored, or was by an earlier
run.
"""

import argparse
import collections
import csv
import json
import pathlib
import random
import tempfile

from open_set_figures import run

SIZES = [(1, 5, 4), (3, 9, 9), (8, 8, 8), (15, 15, 15)]
EDGES = [0.0, 0.5, 0.7, 0.85, 1.01]
TRIALS = 30


def classify(program, library, labels, *more):
    table = library.parent / "labels.csv"
    table.write_text(
        "path,genre\n" + "".join(f"{name},{genre}\n" for name, genre in labels.items()),
        encoding="utf-8",
    )
    output = run(
        program,
        "--library",
        library,
        "classify",
        "--all",
        "-k",
        15,
        "--label-from",
        table,
        *more,
        "--format",
        "json",
    )
    for answer in json.loads(output)["items"]:
        if answer["votes"]:
            genre, share = max(answer["votes"].items(), key=lambda vote: vote[1])
            yield "/".join(pathlib.Path(answer["path"]).parts[-2:]), genre, share


def show(name, answers):
    """answers: (share, is right, weight)"""
    line = [f"{name:24}"]
    whole = sum(weight for *_, weight in answers)
    for low, high in zip(EDGES, EDGES[1:], strict=False):
        some = [answer for answer in answers if low <= answer[0] < high]
        weight = sum(w for *_, w in some)
        if len(some) < 10:
            line.append(f"{'-':>17}")
            continue
        stated = sum(share * w for share, _, w in some) / weight
        right = sum(is_right * w for _, is_right, w in some) / weight
        line.append(f"{weight / whole:5.2f} {stated:5.2f} {right:5.2f}")
    print("  ".join(line))


def main():
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("program", type=pathlib.Path)
    options.add_argument("music", type=pathlib.Path)
    options.add_argument("--library", type=pathlib.Path)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        library = given.library or pathlib.Path(folder) / "library"
        if not any(library.glob("*")):
            run(given.program, "--library", library, "add", given.music)
        with open(given.music / "tracks.tsv", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
        genre = {row["file"]: row["genre"] for row in rows}
        artist = {row["file"]: row["artist"] for row in rows}
        draw = random.Random(1)
        print(
            f"{'':24}  "
            + "  ".join(
                f"share {low:.2f}-{min(high, 1):.2f}  "
                for low, high in zip(EDGES, EDGES[1:], strict=False)
            )
        )
        print(f"{'labelled':24}  " + "  ".join(["part share right"] * (len(EDGES) - 1)))
        for size in SIZES:
            rare, rest = [], []
            for _ in range(TRIALS):
                drawn = draw.sample(sorted(set(genre.values())), 3)
                labels = {}
                for one, number in zip(drawn, size, strict=False):
                    own = sorted(name for name in genre if genre[name] == one)
                    labels |= {name: one for name in draw.sample(own, number)}
                known = {artist[name] for name in labels}
                others = [
                    name for name in genre if genre[name] in drawn and artist[name] not in known
                ]
                count = collections.Counter(genre[name] for name in others)
                for name, voted, share in classify(given.program, library, labels):
                    if name in others:
                        answer = (share, voted == genre[name], 1 / count[genre[name]])
                        (rare if voted == drawn[0] and size[0] < size[1] else rest).append(answer)
            if rare:
                show(f"{size}, the rarest", rare)
            show(f"{size}", rest)
        everything = classify(given.program, library, genre, "--other-artists")
        show(
            "all, other artists",
            [(share, voted == genre[name], 1) for name, voted, share in everything],
        )


if __name__ == "__main__":
    main()
