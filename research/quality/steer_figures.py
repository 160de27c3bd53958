#!/usr/bin/env python3
"""How far `similar --more WORD` and `--less WORD` move the results, and at what cost in similarity.

    research/quality/steer_figures.py LIBRARY [--seeds 40] [--keep 0.8] [--voisin
    target/release/voisin]

Queries are every n-th track of the library with each word, in both directions. The percentiles of
the word among the library's tracks, for the ten nearest and the moved ten, and the similarities are
those of the program's output. The table has, for each word, the mean rise (fall, for less) in
points over the queries with room for 20 of them, and the remaining share of the mean similarity; no
row counts a query twice.
"""

import argparse
import json
import os
import statistics
import subprocess
from concurrent.futures import ThreadPoolExecutor

WORDS = [
    "guitar",
    "piano",
    "voice",
    "female voice",
    "calm",
    "energetic",
    "electronic",
    "acoustic",
    "sad",
    "dance",
    "metal",
    "fast",
    "louder",
]


def answer(voisin, library, *arguments):
    run = subprocess.run(
        [voisin, *arguments, "--format", "json"],
        capture_output=True,
        check=True,
        env={**os.environ, "VOISIN_LIBRARY": library},
    )
    return json.loads(run.stdout)


def steered(options, seed, word, direction):
    query = ["similar", f"id:{seed}", "--limit", "10"]
    nearest = answer(options.voisin, options.library, *query)["neighbours"]
    moved = answer(
        options.voisin,
        options.library,
        *query,
        f"--{direction}",
        word,
        "--keep",
        str(options.keep),
    )
    reached = moved["steered"]["words"][0]
    before, after = (
        statistics.mean(one["similarity"] for one in tracks)
        for tracks in (nearest, moved["neighbours"])
    )
    sign = 1 if direction == "more" else -1
    room = 1 - reached["unmoved_percentile"] if sign > 0 else reached["unmoved_percentile"]
    farthest = min(one["similarity"] for one in moved["neighbours"])
    return (
        room,
        sign * 100 * (reached["percentile"] - reached["unmoved_percentile"]),
        after / before,
        farthest,
    )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("library")
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--keep", type=float, default=0.8)
    parser.add_argument("--voisin", default="target/release/voisin")
    options = parser.parse_args()
    tracks = [
        track["id"]
        for track in answer(options.voisin, options.library, "list", "--limit", "all")["tracks"]
    ]
    seeds = tracks[:: max(1, len(tracks) // options.seeds)][: options.seeds]
    print(f"{len(tracks)} tracks, {len(seeds)} seeds, keep {options.keep}")
    print(
        "| word | more: rise, points | of queries | less: fall, points | of queries | similarity kept |"
    )
    print("|---|---|---|---|---|---|")
    all_rises, all_kept, farthest = [], [], []
    with ThreadPoolExecutor(2) as pool:
        for word in WORDS:
            cells, kept = [], []
            for direction in ("more", "less"):
                found = list(pool.map(lambda seed: steered(options, seed, word, direction), seeds))
                rises = [rise for room, rise, _, _ in found if room >= 0.2]
                kept += [share for _, _, share, _ in found]
                farthest += [one for *_, one in found]
                all_rises += rises
                cells += [f"{statistics.mean(rises):.0f}" if rises else "", str(len(rises))]
            all_kept += kept
            print(f"| {word} | {' | '.join(cells)} | {statistics.mean(kept):.2f} |", flush=True)
    print(
        f"all: {statistics.mean(all_rises):.1f} points over {len(all_rises)} queries, "
        f"20 or more in {100 * sum(rise >= 20 for rise in all_rises) / len(all_rises):.0f} %; "
        f"similarity kept {statistics.mean(all_kept):.3f}, at least {min(all_kept):.3f}; "
        f"farthest track of an answer: median {statistics.median(farthest):.2f}, least {min(farthest):.2f}"
    )


if __name__ == "__main__":
    main()
