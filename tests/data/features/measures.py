"""Writes measures.json: what Essentia 2.1b6.dev1389 and librosa 0.11.0 measure of a piece that is
computed here and, in the same way, in the test.

    pip install essentia librosa
    python measures.py
"""

import json
from pathlib import Path

import essentia.standard as es
import librosa
import numpy as np

RATE = 16_000


def piece() -> np.ndarray:
    """12 s of a drum that hurries, a hiss and two tones."""
    state = 1
    samples = np.zeros(12 * RATE)
    since = 0.0
    for i in range(samples.size):
        state = (state * 1_103_515_245 + 12_345) % 2**31
        time = i / RATE
        since = 0.0 if since > 0.6 - 0.02 * time else since + 1 / RATE
        drum = np.exp(-25 * since) * np.sin(2 * np.pi * 180 * since)
        hiss = np.exp(-60 * (since % 0.15)) * (state / 2**31 - 0.5)
        tones = np.sin(2 * np.pi * 440 * time) + np.sin(2 * np.pi * 1_250 * time)
        samples[i] = 0.4 * drum + 0.2 * hiss + 0.05 * tones * np.sin(0.7 * time)
    return samples.astype(np.float32)


def main() -> None:
    samples = piece()
    dfa = {}
    for rate in (8_000, RATE, 44_100):
        dfa[rate] = float(es.Danceability(sampleRate=rate)(samples)[0])
    rng = np.random.default_rng(3)
    cells = (rng.gamma(0.6, size=(24, 30)) + 2 * (np.arange(30) % 9 == 0)).astype(np.float32)
    cells[5] += 3
    cells[20:, 25:] = 0
    cells = cells.round(6)
    _, percussive = librosa.decompose.hpss(cells, kernel_size=17, power=2.0, mask=True)
    golden = {
        "dfa": dfa,
        "bins": cells.shape[0],
        # a row for each frame
        "cells": [round(float(cell), 6) for cell in cells.T.ravel()],
        "percussive": [round(float(share), 6) for share in percussive.T.ravel()],
    }
    Path(__file__).with_suffix(".json").write_text(json.dumps(golden) + "\n")


main()
