"""Golden values for the laboratory's descriptors, by librosa 0.11 and NumPy.

Run in this folder: python descriptors.py   (librosa 0.11.0, scipy). Writes descriptors.json: for each signal and set the
statistics in voisin's order, and the rows of three frames. The signals' formulas are those of ../features/generate.py.
"""

import json

import librosa
import numpy as np
from scipy import stats

RATE, LENGTH, FRAMES = 22050, 40000, (0, 30, 60)
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


def seven(rows):
    rows = np.asarray(rows, dtype=float)
    flat = rows.std(axis=1) ** 2 <= 1e-20 * np.maximum(rows.mean(axis=1) ** 2, 1e-20)
    skew, kurtosis = stats.skew(rows, axis=1), stats.kurtosis(rows, axis=1)
    skew[flat], kurtosis[flat] = 0, 0
    return [
        rows.mean(axis=1),
        rows.std(axis=1),
        skew,
        kurtosis,
        np.median(rows, axis=1),
        rows.min(axis=1),
        rows.max(axis=1),
    ]


def short(values):
    return [float(f"{v:.7g}") for v in np.ravel(values)]


def bark(hz):
    """Traunmüller's scale (1990), corrected at both ends."""
    z = 26.81 * hz / (1960 + hz) - 0.53
    return np.where(z < 2, z + 0.15 * (2 - z), np.where(z > 20.1, z + 0.22 * (z - 20.1), z))


def bark_bank(bands=24, n_fft=2048):
    """Triangles of unit area between edges that are evenly spaced in Bark, found on a fine grid of
    frequencies.
    """
    hz = np.linspace(0, RATE / 2, 2_000_001)
    edges = np.interp(np.linspace(bark(0.0), bark(RATE / 2), bands + 2), bark(hz), hz)
    bins = np.arange(n_fft // 2 + 1) * RATE / n_fft
    rows = [
        np.interp(bins, edges[b : b + 3], [0, 2 / (edges[b + 2] - edges[b]), 0])
        for b in range(bands)
    ]
    return np.array(rows)


golden = {"versions": {"numpy": np.__version__, "librosa": librosa.__version__}}
for name, y in signals(RATE, LENGTH).items():
    y = y.astype(np.float64)
    stft = np.abs(librosa.stft(y, n_fft=2048, hop_length=512, pad_mode="constant"))
    mel = librosa.power_to_db(
        librosa.feature.melspectrogram(S=stft**2, sr=RATE), ref=1.0, top_db=80
    )
    mfcc = librosa.feature.mfcc(S=mel, n_mfcc=40)
    critical = librosa.power_to_db(bark_bank() @ stft**2, ref=1.0, top_db=80)
    y32 = y.astype(np.float32)
    cqt = np.abs(
        librosa.cqt(y32, sr=RATE, hop_length=512, bins_per_octave=12, n_bins=84, tuning=None)
    )
    cens = librosa.feature.chroma_cens(C=cqt, n_chroma=12, n_octaves=7, bins_per_octave=12)
    kinds = [
        cens,
        librosa.feature.chroma_cqt(C=cqt, n_chroma=12, n_octaves=7, bins_per_octave=12),
        librosa.feature.chroma_stft(S=stft**2, sr=RATE, n_chroma=12),
        mfcc[:20],
        librosa.feature.rms(S=stft),
        librosa.feature.spectral_bandwidth(S=stft, sr=RATE),
        librosa.feature.spectral_centroid(S=stft, sr=RATE),
        librosa.feature.spectral_contrast(S=stft, sr=RATE),
        librosa.feature.spectral_rolloff(S=stft, sr=RATE),
        librosa.feature.tonnetz(chroma=cens),
        librosa.feature.zero_crossing_rate(y, frame_length=2048, hop_length=512),
    ]
    sets = {
        "mel": (mel, [mel.mean(axis=1), mel.std(axis=1)]),
        "bark": (critical, [critical.mean(axis=1), critical.std(axis=1)]),
        "mfcc": (mfcc[:20], seven(mfcc[:20])),
        "mfcc40-mean": (mfcc, [mfcc.mean(axis=1)]),
        # statistics stand together for each kind
        "fma": (
            np.vstack(kinds),
            [np.concatenate([np.ravel(s) for s in seven(kind)]) for kind in kinds],
        ),
    }
    golden[name] = {
        key: {
            "frames": [short(rows[:, frame]) for frame in FRAMES],
            "numbers": short(np.concatenate([np.ravel(v) for v in values])),
        }
        for key, (rows, values) in sets.items()
    }
json.dump(golden, open("descriptors.json", "w"))
