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
    headings = ("1. What sounds like", "2. Which genre", "3. How close", "4. Where does punk land")
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
    section = text.split("2. Which genre", 1)[1].split("3. How close", 1)[0]
    answers = re.findall(r"held-out/([^:]+): (.+?) \(\d+ %", section)
    if len(answers) != 2:
        fail(f"expected two classified tracks, found {answers}")
    metal = dict(answers).get("sectoid-war-of-freedom.mp3")
    if metal != "Metal":
        fail(f"expected the held-out metal track to be classified as Metal, found {metal}")
    section = text.split("4. Where does punk land", 1)[1].split("The demo's library stays", 1)[0]
    distances = re.findall(r"^  (\w+) +(\d\.\d\d)$", section, re.MULTILINE)
    if len(distances) != 8 or distances[0][0] != "Rock" or distances[-1][0] == "Metal":
        fail(f"expected eight genres, Rock the nearest to punk, found {distances}")
    punk = re.findall(r"^(\S.*?) +\d+ %.*/punk/", section, re.MULTILINE)
    if punk != ["Rock"] * 3:
        fail(f"expected the three punk tracks to be classified as Rock, found {punk}")
    print("demo check: neighbours, genres, evidence and kinship are correct")


if __name__ == "__main__":
    main()
