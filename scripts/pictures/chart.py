#!/usr/bin/env python3
"""Draws the README's chart, docs/against-bliss.svg, from the table at the head of BENCHMARKS.md:
scripts/pictures/chart.py [--check]

With --check it writes nothing, and fails if the chart differs from the table.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "docs/against-bliss.svg"
# rows of the table, and their labels in the chart
PANELS = [
    (
        "Of ten neighbours by other artists, the share with the same genre",
        [
            ("nearest ten of the same genre, of 4", "4 genres"),
            ("nearest ten of the same genre, of 3", "3 genres"),
        ],
    ),
    (
        "Tracks added in an hour of one core",
        [("adding music, default model, tracks/h and core", "1 core")],
    ),
]
STYLE = """  text { font: 13px system-ui, sans-serif; fill: #24292f; }
  .head { font-weight: 600; }
  .voisin { fill: #1f77b4; } .rival { fill: #b0b7bf; }
  @media (prefers-color-scheme: dark) { text { fill: #e6edf3; } .rival { fill: #6e7681; } }"""
LEFT, WIDTH, ROW = 150, 360, 20


def number(cell):
    """The last number of a cell, and its text: "bliss-audio 38 %" is 38.0 and "38 %"."""
    words = re.search(r"\d[\d ]*(?:\.\d+)?(?: %)?$", cell).group()
    return float(words.replace(" ", "").rstrip("%")), words


def rows():
    """{row: ((voisin, text), (bliss-audio, text))}"""
    found = {}
    table = (ROOT / "BENCHMARKS.md").read_text(encoding="utf-8").partition("## Conditions")[0]
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 4 and cells[2].startswith("bliss-audio"):
            found[cells[0]] = number(cells[1]), number(cells[2])
    return found


def draw():
    known, parts, y = rows(), [], 20
    for title, lines in PANELS:
        most = (
            100 if "share" in title else max(value for what, _ in lines for value, _ in known[what])
        )
        parts.append(f'<text class="head" x="8" y="{y}">{title}</text>')
        for what, label in lines:
            for kind, name, (value, words) in zip(
                ("voisin", "rival"), ("voisin", "bliss-audio"), known[what], strict=False
            ):
                y += ROW
                length = max(1, round(WIDTH * value / most))
                parts.append(
                    f'<text x="{LEFT - 8}" y="{y}" text-anchor="end">{label}, {name}</text>'
                )
                parts.append(
                    f'<rect class="{kind}" x="{LEFT}" y="{y - 12}" width="{length}" height="15" rx="2"/>'
                )
                parts.append(f'<text x="{LEFT + length + 6}" y="{y}">{words}</text>')
            y += 6
        y += 28
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 600 {y - 24}" width="600" height="{y - 24}" role="img" '
        f'aria-label="voisin and bliss-audio compared">\n<style>\n{STYLE}\n</style>\n{body}\n</svg>\n'
    )


if __name__ == "__main__":
    chart = draw()
    if sys.argv[1:] == ["--check"]:
        if CHART.read_text(encoding="utf-8") != chart:
            sys.exit(
                f"{CHART.relative_to(ROOT)} differs from BENCHMARKS.md: run scripts/pictures/chart.py"
            )
    else:
        CHART.write_text(chart, encoding="utf-8")
