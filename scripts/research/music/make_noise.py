#!/usr/bin/env python3
"""Writes noise, tones and clicks, which no library may take for music: scripts/research/music/make_noise.py
OUT

Each is 30 s long, as OUT/NAME.wav; existing files are kept. The rule for "nothing is near" was
chosen on them, and scripts/gates asks for them.
"""

import math
import pathlib
import random
import sys
import wave

RATE = 22_050
SECONDS = 30


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
    yield "white-noise", white
    yield "pink-noise", pink(white)
    yield "brown-noise", brown(white)
    for hertz in (60, 440, 1000):
        yield f"sine-{hertz}", (0.5 * math.sin(math.tau * hertz * i / RATE) for i in range(n))
    yield "quiet-sine-440", (0.001 * math.sin(math.tau * 440 * i / RATE) for i in range(n))
    yield (
        "hum",
        (
            0.3 * sum(math.sin(math.tau * 50 * h * i / RATE) / h for h in range(1, 9))
            for i in range(n)
        ),
    )
    for a_second in (1, 2, 8):
        yield f"clicks-{a_second}", (0.5 * (i % (RATE // a_second) == 0) for i in range(n))
    at = {draw.randrange(n) for _ in range(60)}
    yield "clicks-irregular", (0.5 * (i in at) for i in range(n))


def write(path, samples):
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        values = (round(32_767 * max(-1.0, min(1.0, sample))) for sample in samples)
        file.writeframes(b"".join(value.to_bytes(2, "little", signed=True) for value in values))


def make(out):
    """The files."""
    out.mkdir(parents=True, exist_ok=True)
    for name, samples in sounds():
        if not (out / f"{name}.wav").exists():
            write(out / f"{name}.wav", samples)
    return sorted(out.glob("*.wav"))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    make(pathlib.Path(sys.argv[1]))
