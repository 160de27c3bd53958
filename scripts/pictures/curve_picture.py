#!/usr/bin/env python3
"""Draws how a scale, tempo and key change along a list, as SVG:
voisin playlist … --curve energy=arc --format json | scripts/pictures/curve_picture.py energy > arc.svg
"""

import json
import sys
from xml.sax.saxutils import escape

STYLE = """  text { font: 12px system-ui, sans-serif; fill: #24292f; }
  .head { font-weight: 600; } .small { font-size: 10px; }
  .bar { fill: #1f77b4; } .line { fill: none; stroke: #d1701f; stroke-width: 1.5; }
  .dot { fill: #d1701f; }
  @media (prefers-color-scheme: dark) { text { fill: #e6edf3; } }"""
LEFT, STEP, BARS, LINE = 20, 34, 110, 60


def draw(tracks, scale):
    width = 2 * LEFT + STEP * len(tracks)
    parts = [f'<text class="head" x="{LEFT}" y="18">{escape(scale)}, 0 to 100</text>']
    tempo_top = 18 + BARS + 54
    tempos = [track["tempo"] for track in tracks if track["tempo"]]
    lowest = min(tempos, default=0)
    span = max(max(tempos, default=0) - lowest, 1)
    points = []
    for number, track in enumerate(tracks):
        middle = LEFT + STEP * number + STEP / 2
        value = track["scales"][scale]
        height = BARS * value / 100
        top = 34 + BARS - height
        parts.append(
            f'<rect class="bar" x="{middle - 12}" y="{top:.1f}" width="24" height="{height:.1f}"/>'
        )
        parts.append(
            f'<text x="{middle}" y="{top - 4:.1f}" text-anchor="middle">{value:.0f}</text>'
        )
        if track["tempo"]:
            y = tempo_top + LINE - LINE * (track["tempo"] - lowest) / span
            points.append((middle, y))
            parts.append(f'<circle class="dot" cx="{middle}" cy="{y:.1f}" r="2.5"/>')
            parts.append(
                f'<text class="small" x="{middle}" y="{y - 6:.1f}" text-anchor="middle">'
                f"{track['tempo']:.0f}</text>"
            )
        parts.append(
            f'<text x="{middle}" y="{tempo_top + LINE + 38}" text-anchor="middle">'
            f"{escape(track['key'] or '')}</text>"
        )
    line = " ".join(f"{x},{y:.1f}" for x, y in points)
    parts.append(f'<polyline class="line" points="{line}"/>')
    parts.append(
        f'<text class="head" x="{LEFT}" y="{tempo_top - 18}">beats a minute, and keys</text>'
    )
    height = tempo_top + LINE + 48
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img" aria-label="{escape(scale)} along a list of {len(tracks)} '
        f'tracks">\n<style>\n{STYLE}\n</style>\n{body}\n</svg>\n'
    )


if __name__ == "__main__":
    answer = json.load(sys.stdin)
    sys.stdout.write(draw(answer["items"] if isinstance(answer, dict) else answer, sys.argv[1]))
