#!/usr/bin/env python3
"""How often `similar` reports that nothing is near: research/quality/far_figures.py VOISIN MUSIC
[--library DIR]

VOISIN is the program, MUSIC a folder with one folder of files for each genre (emotify-dev).
Prints the share of queries that are reported as far from all tracks: of MUSIC's own tracks (each
against the others), and of genres that the library lacks (each of PARTS is removed from a copy of
the library, and its files are the queries); and the results for noise, tones and clicks. --library:
where the library of MUSIC is stored, or was by an earlier run.
"""

import concurrent.futures
import json
import math
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import wave

PARTS = [["classical"], ["electronic"], ["pop", "rock"], ["pop"], ["rock"]]
RATE = 22_050
SECONDS = 30


def run(*command):
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False
    )
    if done.returncode not in (0, 1):
        sys.exit(f"{' '.join(map(str, command))}: {done.stderr}")
    return done.stdout


def pink(white):
    """Paul Kellet's filter."""
    b = [0.0] * 3
    for x in white:
        b = [
            0.99765 * b[0] + 0.0990460 * x,
            0.96300 * b[1] + 0.2965164 * x,
            0.57000 * b[2] + 1.0526913 * x,
        ]
        yield (sum(b) + 0.1848 * x) / 8


def brown(white):
    level = 0.0
    for x in white:
        level = 0.999 * level + 0.05 * x
        yield level


def sounds():
    draw = random.Random(1)
    n = RATE * SECONDS
    white = [draw.uniform(-0.5, 0.5) for _ in range(n)]
    yield "white noise", white
    yield "pink noise", pink(white)
    yield "brown noise", brown(white)
    for hertz in (60, 440, 1000):
        yield f"sine, {hertz} Hz", (0.5 * math.sin(math.tau * hertz * i / RATE) for i in range(n))
    yield "sine, 440 Hz, at -60 dB", (0.001 * math.sin(math.tau * 440 * i / RATE) for i in range(n))
    yield (
        "hum",
        (
            0.3 * sum(math.sin(math.tau * 50 * h * i / RATE) / h for h in range(1, 9))
            for i in range(n)
        ),
    )
    for a_second in (1, 2, 8):
        yield (
            f"clicks, {a_second} a second",
            (0.5 * (i % (RATE // a_second) == 0) for i in range(n)),
        )
    at = {draw.randrange(n) for _ in range(60)}
    yield "clicks, irregular", (0.5 * (i in at) for i in range(n))


def write(path, samples):
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        values = (round(32_767 * max(-1.0, min(1.0, sample))) for sample in samples)
        file.writeframes(b"".join(value.to_bytes(2, "little", signed=True) for value in values))


def far(program, library, seeds):
    """Share of the seeds that are far, and the answers."""

    def one(seed):
        return json.loads(
            run(program, "--library", library, "similar", seed, "--limit", "1", "--format", "json")
        )

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(one, seeds))
    return sum(answer["far"] for answer in answers) / len(answers), answers


def figures(program, music, library, folder):
    if not any(library.glob("*")):
        run(program, "--library", library, "add", music)
    tracks = json.loads(
        run(program, "--library", library, "list", "--limit", "all", "--format", "json")
    )["tracks"]
    share, _ = far(program, library, [f"id:{track['id']}" for track in tracks])
    print(f"own tracks, each of {len(tracks)} against the others: {100 * share:.1f} % far")
    for part in PARTS:
        copy = folder / "+".join(part)
        shutil.copytree(library, copy, ignore=shutil.ignore_patterns("*.lock"))
        run(program, "--library", copy, "remove", *(music / genre for genre in part))
        files = [path for genre in part for path in sorted((music / genre).iterdir())]
        share, _ = far(program, copy, files)
        print(f"{' and '.join(part)}, left out: {100 * share:.0f} % far")
    for name, samples in sounds():
        path = folder / (name.replace(", ", " ").replace(" ", "-") + ".wav")
        write(path, samples)
        share, (answer,) = far(program, library, [path])
        nearest = answer["neighbours"][0]
        print(
            f"{name}: {'far' if share else 'not far'}; nearest {nearest['similarity']:.2f}, percentile"
            f" {nearest['percentile']:.2f}"
        )


def main():
    arguments = sys.argv[1:]
    kept = None
    if len(arguments) == 4 and arguments[2] == "--library":
        kept = pathlib.Path(arguments[3])
    elif len(arguments) != 2:
        sys.exit(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        library = kept or pathlib.Path(folder) / "library"
        library.mkdir(exist_ok=True)
        figures(arguments[0], pathlib.Path(arguments[1]).resolve(), library, pathlib.Path(folder))


if __name__ == "__main__":
    main()
