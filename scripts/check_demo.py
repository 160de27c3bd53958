#!/usr/bin/env python3
"""Checks the output of `voisin demo` and its library: scripts/check_demo.py DIR

DIR holds demo.txt (the demo's standard output) and library (its --library). Fails with a message
when a neighbour list, a genre, its evidence or the kinship of genres is missing or wrong.
"""

import json
import pathlib
import re
import subprocess
import sys


def fail(message):
    sys.exit(f"demo check: {message}")


def voisin(folder, *arguments):
    root = pathlib.Path(__file__).resolve().parent.parent
    command = [root / "target/release/voisin", "--library", folder / "library", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        fail(f"voisin {' '.join(arguments)} ended with {done.returncode}: {done.stderr}")
    return done.stdout


def main():
    folder = pathlib.Path(sys.argv[1])
    text = (folder / "demo.txt").read_text(encoding="utf-8")
    headings = ("What sounds like", "Which genre", "How far is punk")
    for heading in (*headings, "voisin add ~/Music"):
        if heading not in text:
            fail(f'expected "{heading}" in the output, found none')
    status = json.loads(voisin(folder, "status", "--format", "json"))
    if status["tracks"] != 60 or status["failed"]:
        fail(f"expected 60 tracks and no failure, found {status}")
    answer = json.loads(voisin(folder, "similar", "muldjord chaos god", "--format", "json"))
    neighbours = answer["neighbours"]
    if len(neighbours) != 10 or neighbours[0]["artist"] != "Muldjord":
        fail(f"expected ten neighbours, Muldjord's other track first, found {neighbours[:2]}")
    similarities = [neighbour["similarity"] for neighbour in neighbours]
    if similarities != sorted(similarities, reverse=True):
        fail(f"expected neighbours by descending similarity, found {similarities}")
    answers = re.findall(r"held-out/([^:]+): (.+?) \(\d+ %", text)
    if answers != [("sectoid-war-of-freedom.mp3", "Metal")]:
        fail(f"expected the held-out track to be classified as Metal, found {answers}")
    distances = re.findall(r"^  (\w+) +(\d\.\d\d)$", text.split("How far is punk")[1], re.MULTILINE)
    if len(distances) != 8 or distances[0][0] != "rock" or distances[-1][0] == "metal":
        fail(f"expected eight genres, rock the nearest to punk, found {distances}")
    print("demo check: neighbours, genres, evidence and kinship are correct")


if __name__ == "__main__":
    main()
