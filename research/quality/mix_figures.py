#!/usr/bin/env python3
"""Figures of a library's mixes over several evenings: artists, most songs of one artist, repeated
songs, and the share that was in the previous evening's mix; beside them those of the plain nearest
neighbours.

    research/quality/mix_figures.py --library DIR [--voisin PROGRAM] [--seeds 20] [--evenings 5]
    [--limit 25] [--show ID] \
        [-- OPTIONS OF voisin mix]

--show ID uses only that track, and prints the songs of each evening; those that no earlier evening
had are bold.
"""

import argparse
import json
import re
import statistics
import subprocess


def run(program, library, arguments):
    command = [program, "--quiet", "--library", library, *arguments, "--format", "json"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode not in (0, 1):
        raise SystemExit(f"{' '.join(command)}: {answer.stderr.strip()}")
    return json.loads(answer.stdout)


def artist(track):
    whole = (track.get("artist") or "").casefold()
    return re.split(r"; | feat\. | ft\. ", whole)[0] or None


def song(track):
    title = re.sub(r"\W+", " ", (track.get("title") or "").casefold()).strip()
    return (artist(track), title) if artist(track) and title else track["path"]


def figures(lists):
    """Figures of the lists of several evenings from one seed."""
    artists = [[artist(track) for track in one if artist(track)] for one in lists]
    ids = [{track["id"] for track in one} for one in lists]
    pairs = [len(a & b) / max(1, len(b)) for a, b in zip(ids, ids[1:], strict=False)]
    return {
        "songs": statistics.mean(len(one) for one in lists),
        "artists": statistics.mean(len(set(one)) for one in artists),
        "most of one artist": max((max(map(one.count, one)) for one in artists if one), default=0),
        "in a row": max((sum(1 for _ in run) for one in artists for run in runs(one)), default=0),
        "songs twice": max(len(one) - len({song(track) for track in one}) for one in lists),
        "as the evening before, %": 100 * statistics.mean(pairs) if pairs else 0,
        "different songs in all": len(set().union(*ids)),
        "similarity": statistics.mean(
            [track["similarity"] for one in lists for track in one] or [0]
        ),
    }


def runs(names):
    start = 0
    for at in range(1, len(names) + 1):
        if at == len(names) or names[at] != names[start]:
            yield names[start:at]
            start = at


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--library", required=True)
    parser.add_argument("--voisin", default="voisin")
    parser.add_argument(
        "--seeds",
        type=int,
        default=20,
        help="tracks that evenings begin with, spread over the library",
    )
    parser.add_argument("--evenings", type=int, default=5)
    parser.add_argument("--limit", type=int, default=25)
    parser.add_argument("--show", type=int, help="the id of a track: its evenings, song by song")
    parser.add_argument("options", nargs="*", help="more options of voisin mix, after --")
    given = parser.parse_args()
    tracks = run(given.voisin, given.library, ["list", "--limit", "all"])["tracks"]
    if given.show is None:
        tracks = tracks[:: max(1, len(tracks) // given.seeds)][: given.seeds]
    else:
        tracks = [track for track in tracks if track["id"] == given.show]

    def answers(verb, more):
        found = {}
        for track in tracks:
            evenings = range(1, given.evenings + 1)
            commands = [
                [verb, f"id:{track['id']}", "--limit", str(given.limit), *more(evening)]
                for evening in evenings
            ]
            found[track["id"]] = [
                run(given.voisin, given.library, one)["neighbours"] for one in commands
            ]
        return found

    before = answers("similar", lambda _: [])
    after = answers("mix", lambda evening: ["--random-seed", str(evening), *given.options])
    names = list(figures(next(iter(before.values()))))
    print(
        f"{len(tracks)} seeds, {given.evenings} evenings of {given.limit}: mean over the seeds, and the worst of them\n"
    )
    print("| | `similar` | worst | `mix` | worst |\n|---|---|---|---|---|")
    for name in names:
        columns = []
        for found in (before, after):
            values = [figures(lists)[name] for lists in found.values()]
            worst = (
                min if name in ("songs", "artists", "different songs in all", "similarity") else max
            )
            digits = 2 if name == "similarity" else 1
            columns += [f"{statistics.mean(values):.{digits}f}", f"{worst(values):.{digits}f}"]
        print(f"| {name} | {' | '.join(columns)} |")
    if given.show is not None:
        show(tracks[0], before[given.show][0], after[given.show])


def show(seed, before, evenings):
    known = set()
    columns = [[called(track) for track in before]]
    for evening in evenings:
        columns.append(
            [called(track) if track["id"] in known else f"**{called(track)}**" for track in evening]
        )
        known |= {track["id"] for track in evening}
    names = ["before", *(f"evening {number}" for number in range(1, len(evenings) + 1))]
    print(f"\nFrom {called(seed)}:\n\n| | {' | '.join(names)} |\n|{'---|' * (len(names) + 1)}")
    for place in range(max(map(len, columns))):
        row = [column[place] if place < len(column) else "" for column in columns]
        print(f"| {place + 1} | {' | '.join(row)} |")


def called(track):
    name = " – ".join(part for part in (track.get("artist"), track.get("title")) if part)
    return (name or track["path"].rsplit("/", 1)[-1]).replace("|", "/")


if __name__ == "__main__":
    main()
