"""Writes the golden files of tests/parts/features.rs: `python generate.py`, in this folder.

The mel filter banks are librosa's own. The spectrograms are written out in double precision from
the published descriptions (openl3, Essentia, musicnn), and share nothing with the Rust code
but the formulas of the signals. Files: filters_*.npy: rows of (band, bin, weight), non-zero weights
only, f64. *_CONFIG.npy: f32 [n_mels, n_frames]; all but the chirp keep every fourth frame.
"""

import json
import platform

import librosa
import numpy as np

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


def signals(rate, n):
    t = np.arange(n) / rate
    click = np.zeros(n)
    click[(2 * n) // 3] = 0.5
    click[(2 * n) // 3 + 1] = -0.25
    return {
        name: x.astype(np.float32)
        for name, x in {
            "noise": 0.25 * noise(n, 1),
            "chirp": 0.5 * np.sin(2 * np.pi * (40 * t + 0.2 * rate * t * t * rate / n))
            + 1e-4 * noise(n, 2),
            # No noise but that of rounding to 32 bits: cells down to the floor.
            "tones": 0.4 * np.sin(2 * np.pi * 220 * t)
            + 0.2 * np.sin(2 * np.pi * 1234.5 * t)
            + 0.01 * np.sin(2 * np.pi * 6000 * t),
            "click": click,
            # Music's way: loud and low, ever softer above, nothing above 0.3 of the rate; fades.
            "decay": np.exp(-3 * t)
            * sum(np.sin(2 * np.pi * 110 * k * t) / k**2 for k in range(1, 40)),
        }.items()
    }


def power_spectra(window, n_fft, hop, n_frames, left):
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    padded = np.concatenate([np.zeros(left), window.astype(np.float64), np.zeros(n_fft)])
    frames = np.stack([padded[i * hop : i * hop + n_fft] for i in range(n_frames)])
    return np.abs(np.fft.rfft(frames * hann)).T ** 2


def decibel(x):
    decibels = 10 * np.log10(np.maximum(x, 1e-10))
    decibels -= decibels.max()
    return np.maximum(decibels, -80)


def main():
    def bank(**options):
        return librosa.filters.mel(dtype=np.float64, norm="slaney", **options)

    htk = bank(sr=48000, n_fft=2048, n_mels=128, fmin=0, fmax=24000, htk=True)
    slaney = bank(sr=48000, n_fft=2048, n_mels=128, fmin=0, fmax=24000, htk=False)
    small = bank(sr=16000, n_fft=512, n_mels=96, htk=False)
    for name, weights in {"htk": htk, "slaney": slaney, "musicnn": small}.items():
        band, bin_ = np.nonzero(weights)
        np.save(f"filters_{name}.npy", np.stack([band, bin_, weights[band, bin_]], axis=1))

    def original(x):
        return decibel(np.sqrt(htk @ power_spectra(x, 2048, 242, 199, 982)))

    def essentia(x):
        return decibel(slaney @ np.sqrt(power_spectra(x, 2048, 242, 199, 1024)))

    def musicnn(x):
        mel = small @ power_spectra(x, 512, 256, 187, 0)
        return np.log10(10000 * mel.astype(np.float16).astype(np.float64) + 1)

    for config, rate, n in (
        (original, 48000, 48000),
        (essentia, 48000, 48000),
        (musicnn, 16000, 48128),
    ):
        for name, x in signals(rate, n).items():
            mel = config(x)
            np.save(
                f"{name}_{config.__name__}.npy",
                mel[:, :: 1 if name == "chirp" else 4].astype(np.float32),
            )
    with open("versions.json", "w") as file:
        versions = {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "librosa": librosa.__version__,
        }
        json.dump(versions, file, indent=1)
        file.write("\n")


main()
