#!/usr/bin/env python3
"""How often the voices that `voisin show` predicts are right: research/quality/voice_certainty.py
VOISIN LIBRARY MARKS

LIBRARY holds the marked tracks, MARKS is a tab-separated table with the columns file (the end of a
path), artist, and voice (yes, no). Printed per band of certainty: tracks, mean certainty, and the
share that is right; then the divisor of the logits that fits the marks best: for all, and least and
most with one artist left out.
"""

import csv
import json
import math
import subprocess
import sys

BANDS = [0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 1.01]


def chance(logit):
    return 1 / (1 + math.exp(-logit))


def best(tracks):
    def loss(by):
        return -sum(
            math.log(chance(logit / by) if voice else 1 - chance(logit / by))
            for _, logit, voice in tracks
        )

    return min((step / 20 for step in range(5, 100)), key=loss)


def run(voisin, library, *command):
    done = subprocess.run(
        [voisin, "--library", library, *command, "--format", "json"], capture_output=True, text=True
    )
    return json.loads(done.stdout) if done.returncode == 0 else sys.exit(done.stderr)


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    voisin, library, marks = sys.argv[1:]
    seeds = [
        f"id:{track['id']}" for track in run(voisin, library, "list", "--limit", "all")["tracks"]
    ]
    shown = run(voisin, library, "show", *seeds)["items"]
    tracks = []
    with open(marks, newline="", encoding="utf-8") as handle:
        for row in csv.DictReader(handle, delimiter="\t"):
            sung = next(
                track["sung"] for track in shown if track["path"].endswith("/" + row["file"])
            )
            tracks.append((row["artist"], math.log(sung / (1 - sung)), row["voice"] == "yes"))
    print(f"{len(tracks)} tracks, {sum(voice for *_, voice in tracks)} with a voice")
    for least, below in zip(BANDS, BANDS[1:], strict=False):
        predicted = [(chance(abs(logit)), (logit > 0) == voice) for _, logit, voice in tracks]
        predicted = [one for one in predicted if least <= one[0] < below]
        mean = [
            sum(values) / max(1, len(predicted)) for values in zip(*predicted, strict=False)
        ] or [0, 0]
        print(
            f"from {least:.2f}: {len(predicted):3} tracks, stated {mean[0]:.3f}, right {mean[1]:.3f}, wrong {sum(not right for _, right in predicted)}"
        )
    without = [
        best([track for track in tracks if track[0] != artist])
        for artist in {artist for artist, *_ in tracks}
    ]
    print(f"logits divided by: {best(tracks):.2f} ({min(without):.2f} to {max(without):.2f})")


if __name__ == "__main__":
    main()
