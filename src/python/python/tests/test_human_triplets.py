"""scripts/research/quality/human_triplets.py on synthetic triplets with known answers."""

import csv
import pathlib
import subprocess
import sys

import numpy

SCRIPT = pathlib.Path(__file__).parents[4] / "scripts/research/quality/human_triplets.py"
# Directions in degrees: a, b and c lie near each other, d and e apart.
ANGLES = {"0/a.mp3": 0, "0/b.mp3": 10, "1/c.mp3": 25, "1/d.mp3": 90, "2/e.mp3": 180}
# Clips by their letters, and votes for each being the odd one out.
THREES = [
    ("abd", (0, 1, 5)),  # agrees
    ("aec", (0, 2, 0)),  # agrees, with two votes only
    ("abc", (4, 0, 1)),  # a and b are nearest, people chose a: disagrees
    ("ade", (3, 3, 0)),  # a tie
    ("bcd", (0, 0, 1)),  # one vote
    ("abx", (0, 0, 9)),  # a missing clip
]


def write(folder):
    folder.mkdir()
    angles = numpy.radians(list(ANGLES.values()))
    numpy.save(
        folder / "vectors.npy",
        numpy.stack([numpy.cos(angles), numpy.sin(angles)], 1).astype(numpy.float32),
    )
    with open(folder / "tracks.csv", "w", newline="", encoding="utf-8") as handle:
        rows = csv.writer(handle)
        rows.writerows([["path"], *[[f"/music/{path}"] for path in ANGLES]])
    names = {pathlib.Path(path).stem: path for path in ANGLES}
    with open(folder / "comparisons.csv", "w", newline="", encoding="utf-8") as handle:
        rows = csv.writer(handle, delimiter="\t")
        columns = [f"clip{i}_{what}" for what in ("id", "numvotes", "mp3_path") for i in (1, 2, 3)]
        rows.writerow(columns)
        for clips, votes in THREES:
            rows.writerow(
                [*map(ord, clips), *votes, *[names.get(clip, f"9/{clip}.mp3") for clip in clips]]
            )


def test_people_and_vectors_agree_where_they_should(tmp_path):
    write(tmp_path / "made")
    command = [sys.executable, SCRIPT, tmp_path / "made" / "comparisons.csv", tmp_path / "made"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert lines[0] == "at least 3 votes: 3 of 6 threes, 2 of them with all clips"
    assert lines[1].startswith("  made: 50.0% (")
    assert lines[2] == "at least 2 votes: 4 of 6 threes, 3 of them with all clips"
    assert lines[3].startswith("  made: 66.7% (")
