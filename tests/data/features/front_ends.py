"""Writes front_ends.json: spectrograms of other programs' networks, of noise that the test makes too.

    pip install torch transformers
    python front_ends.py

`ast` is ASTFeatureExtractor of transformers 5.24 itself; `discogs` its mel_filter_bank and
spectrogram with the numbers of Essentia's TensorflowInputMusiCNN; `efficientat` and `vggish` are
written out with torch.stft from EfficientAT's preprocess.py and AudioSet's mel_features.py. A few
frames of each, all bands.
"""

import json
from pathlib import Path

import numpy as np
import torch
from transformers import ASTFeatureExtractor
from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

U64 = (1 << 64) - 1


def noise(n, seed):
    """SplitMix64, upper 24 bits, in [-1, 1)."""
    out = np.empty(n)
    for i in range(n):
        seed = (seed + 0x9E3779B97F4A7C15) & U64
        z = seed
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & U64
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & U64
        z ^= z >> 31
        out[i] = (z >> 40) / (1 << 23) - 1
    return out


def ast(samples):
    extractor = ASTFeatureExtractor()
    return extractor(samples, sampling_rate=16_000, return_tensors="np").input_values[0]


def discogs(samples):
    bank = mel_filter_bank(257, 96, 0.0, 8000.0, 16_000, norm="slaney", mel_scale="slaney")
    window = window_function(512, "hann")
    options = {"frame_length": 512, "hop_length": 256, "power": 2.0, "center": False}
    mel = spectrogram(samples, window, mel_filters=bank, **options)
    return np.log10(10_000 * mel.T + 1)


def triangles(bins, bands, low, high, rate, n_fft):
    """Triangles whose sides are straight over mels: [bins, bands]."""

    def mels(hz):
        return 1127 * np.log(1 + np.asarray(hz) / 700)

    edges = np.linspace(mels(low), mels(high), bands + 2)
    at = mels(np.arange(bins) * rate / n_fft)[:, None]
    rise = (at - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - at) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(rise, fall))


def vggish(samples):
    frames = torch.from_numpy(samples).double().unfold(0, 400, 160)
    spectra = torch.fft.rfft(frames * torch.hann_window(400, dtype=torch.double), 512).abs()
    return np.log(spectra.numpy() @ triangles(257, 64, 125, 7500, 16_000, 512) + 0.01)


def efficientat(samples):
    x = torch.from_numpy(samples).double()
    x = x[1:] - 0.97 * x[:-1]
    window = torch.hann_window(800, periodic=False, dtype=torch.double)
    spectra = torch.stft(x, 1024, 320, 800, window, center=True, return_complex=True)
    power = spectra.abs().numpy().T ** 2
    return (np.log(power @ triangles(513, 128, 0, 15_000, 32_000, 1024) + 1e-5) + 4.5) / 5


def main():
    found = {}
    for make, length in (
        (ast, 164_080),
        (discogs, 33_024),
        (vggish, 15_600),
        (efficientat, 320_000),
    ):
        samples = (0.25 * noise(length, 7)).astype(np.float32)
        mel = make(samples)
        frames = [0, 1, len(mel) // 2, len(mel) - 2, len(mel) - 1]
        cells = [[round(float(x), 6) for x in mel[frame]] for frame in frames]
        found[make.__name__] = {"n_frames": len(mel), "frames": frames, "cells": cells}
    path = Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(found) + "\n")


main()
