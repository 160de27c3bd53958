#!/usr/bin/env python3
"""Measures that separate copies from similar music, on free music: duplicates_thresholds.py MUSIC
WORK [--voisin PROGRAM]

The thresholds of `voisin duplicates` (crates/core/voisin-explore/src/duplicates.rs) were chosen
from its output. Of every audio file below MUSIC (research/models/fetch_corpus.py) it cuts 30 s
without encoding them again; 300 of the excerpts, drawn by a seed, are also made as 64 kbit/s MP3
and AAC, Opus 48 and 2 s late. Then it adds all to a library, exports it, and prints for true pairs
(excerpt and copy) and for the nearest pairs of different excerpts: similarity and distinctness of
the windows laid over each other, and the correlation of the audio's band energies. Needs numpy,
scipy and ffmpeg (used: 2.4.6, 1.17.1, 5.1.9).
"""

import argparse
import csv
import random
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import scipy
from scipy.ndimage import uniform_filter1d

KINDS = {
    "mp3-64": (".mp3", ["-b:a", "64k"]),
    "opus-48": (".opus", ["-c:a", "libopus", "-b:a", "48k"]),
    "aac-64": (".m4a", ["-c:a", "aac", "-b:a", "64k"]),
    "cut": (".mp3", ["-filter:a", "atrim=start=2,asetpts=PTS-STARTPTS", "-b:a", "128k"]),
}
FFMPEG = ["ffmpeg", "-nostdin", "-v", "error", "-y"]
RATE, FRAME, HOP = 8000, 1024, 256


def make(music, out):
    sources = sorted(
        f for f in music.rglob("*") if f.suffix.lower() in {".mp3", ".ogg", ".oga", ".opus"}
    )
    for kind in ["original", *KINDS]:
        (out / kind).mkdir(parents=True, exist_ok=True)

    def cut(job):
        name, source = job
        excerpt = out / "original" / (name + source.suffix.lower())
        if not excerpt.exists():
            subprocess.run(
                [
                    *FFMPEG,
                    "-ss",
                    "20",
                    "-t",
                    "30",
                    "-i",
                    source,
                    "-map",
                    "0:a:0",
                    "-map_metadata",
                    "-1",
                    "-c",
                    "copy",
                    excerpt,
                ]
            )
        return excerpt

    def copies(excerpt):
        made = []
        for kind, (ending, options) in KINDS.items():
            made += [
                "-map",
                "0:a:0",
                "-map_metadata",
                "-1",
                *options,
                str(out / kind / (excerpt.stem + ending)),
            ]
        if not Path(made[-1]).exists():
            subprocess.run([*FFMPEG, "-i", excerpt, *made])

    with ThreadPoolExecutor() as pool:
        excerpts = list(pool.map(cut, [(f"{i:04}", f) for i, f in enumerate(sources)]))
        random.Random(1).shuffle(excerpts)
        list(pool.map(copies, excerpts[:300]))


class Exported:
    """What `voisin export` wrote, and windows of two tracks laid over each other as
    crates/core/voisin-explore/src/align.rs does.
    """

    def __init__(self, folder):
        def rows(name):
            return list(csv.DictReader(open(folder / name, newline="")))

        tracks, windows = rows("tracks.csv"), rows("windows.csv")
        self.files = [Path(t["path"]) for t in tracks]
        self.vectors = np.load(folder / "vectors.npy")
        raw = np.load(folder / "windows.npy").astype(np.float32)
        unit = raw / np.maximum(np.linalg.norm(raw, axis=1, keepdims=True), 1e-9)
        track = np.array([int(w["track_row"]) for w in windows])
        start = np.array([float(w["start_seconds"]) for w in windows], np.float32)
        self.windows = [(start[track == i], unit[track == i]) for i in range(len(tracks))]

    def fit(self, i, j, most=15.0, coverage=0.7):
        (a, va), (b, vb) = self.windows[i], self.windows[j]
        if len(a) < 2 or len(b) < 2:
            return None
        products = va @ vb.T
        usual = min(products.mean(), 0.9999)
        if len(b) < len(a):
            a, b, products = b, a, products.T
        tolerance = max(np.median(np.diff(a)) / 2, np.median(np.diff(b)) / 2, 0.5) + 0.01
        times = a[None, :] + np.arange(-most, most + 0.05, 0.1)[:, None]
        k = np.clip(np.searchsorted(b, times), 1, len(b) - 1)
        k = np.where(np.abs(b[k - 1] - times) <= np.abs(b[k] - times), k - 1, k)
        apart = np.abs(b[k] - times)
        near = apart <= tolerance
        weight = (np.exp(-((apart / 0.35) ** 2)) + 0.02) * near
        similarity = (weight * products[np.arange(len(a))[None, :], k]).sum(1) / np.maximum(
            weight.sum(1), 1e-9
        )
        slack = (apart * near).sum(1) / np.maximum(near.sum(1), 1)
        score = np.where(near.mean(1) >= coverage, similarity - 0.02 * slack, -9)
        best = score.argmax()
        return (
            None
            if score[best] < -5
            else (similarity[best], (similarity[best] - usual) / (1 - usual))
        )


def motion(file):
    """Band energies in dB less their local mean, as crates/core/voisin-explore/src/audio_match.rs (with
    twice its hop): [frames, 24].
    """
    done = subprocess.run(
        [*FFMPEG, "-i", file, "-ac", "1", "-ar", str(RATE), "-f", "f32le", "-"], capture_output=True
    )
    samples = np.frombuffer(done.stdout, np.float32)
    if len(samples) < 4 * FRAME:
        return None
    edges, bins = np.geomspace(150, 3400, 25), np.fft.rfftfreq(FRAME, 1 / RATE)
    bands = np.array(
        [(bins >= a) & (bins < b) for a, b in zip(edges, edges[1:], strict=False)], float
    )
    frames = np.lib.stride_tricks.sliding_window_view(samples, FRAME)[::HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(FRAME), axis=1)) ** 2 @ bands.T
    decibels = 10 * np.log10(power / (power.mean() + 1e-20) + 1e-5)
    return decibels - uniform_filter1d(decibels, 31, axis=0, mode="nearest")


def correlation(a, b, most=15.0, stretch=12.0):
    """Largest normalised cross-correlation of the middle of `a` with `b`; None where one does not
    move.
    """
    half = int(stretch * RATE / HOP / 2)
    shift = max(0, len(a) // 2 - half)
    a = a[shift : len(a) // 2 + half]
    size = 1 << int(np.ceil(np.log2(len(a) + len(b))))
    cross = np.fft.irfft(
        (np.fft.rfft(b, size, axis=0) * np.conj(np.fft.rfft(a, size, axis=0))).sum(1), size
    )

    def sums(x):
        return np.r_[0, np.cumsum((x**2).sum(1))]

    ea, eb, best = sums(a), sums(b), None
    for lag in range(-len(a) + 1, len(b)):
        low, high = max(0, -lag), min(len(a), len(b) - lag)
        if high - low < 0.6 * min(len(a), len(b)) or abs(lag - shift) * HOP / RATE > most:
            continue
        pa, pb = ea[high] - ea[low], eb[high + lag] - eb[low + lag]
        if min(pa, pb) >= (high - low) * a.shape[1]:  # 1 dB root mean square
            value = cross[lag % size] / np.sqrt(pa * pb)
            best = value if best is None else max(best, value)
    return best


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("music", type=Path)
    p.add_argument("work", type=Path)
    p.add_argument("--voisin", default="target/release/voisin")
    a = p.parse_args()
    make(a.music, a.work / "files")
    library = [a.voisin, "--library", str(a.work / "library")]
    subprocess.run([*library, "add", "--quiet", str(a.work / "files")])
    subprocess.run([*library, "export", str(a.work / "export")], check=True)
    print("numpy", np.__version__, "scipy", scipy.__version__)
    x = Exported(a.work / "export")
    of = {(f.parent.name, f.stem): i for i, f in enumerate(x.files)}
    with ThreadPoolExecutor() as pool:
        moves = list(pool.map(motion, x.files))

    def correlate(i, j):
        return (
            correlation(moves[i], moves[j])
            if moves[i] is not None and moves[j] is not None
            else None
        )

    for kind in KINDS:
        pairs = [
            (of["original", s], i)
            for (k, s), i in of.items()
            if k == kind and ("original", s) in of
        ]
        fits = np.array([f for f in (x.fit(*pair) for pair in pairs) if f])
        correlations = [h for h in (correlate(*pair) for pair in pairs) if h is not None]

        def low(values):
            return " ".join(f"{v:.2f}" for v in np.percentile(values, [0, 1, 2, 5, 10, 50]))

        print(
            f"{kind}, {len(pairs)} true pairs, least and 1, 2, 5, 10, 50 %: similarity {low(fits[:, 0])}; distinctness {low(fits[:, 1])}; correlation {low(correlations)}"
        )
        for s, d in [
            (0.5, 0.2),
            (0.5, 0.25),
            (0.6, 0.3),
            (0.75, 0.5),
            (0.75, 0.6),
            (0.9, 0.5),
            (0.9, 0.8),
        ]:
            print(f"   reach {s}, {d}: {np.mean((fits[:, 0] >= s) & (fits[:, 1] >= d)):.3f}")
    originals = np.array([i for (k, _), i in of.items() if k == "original"])
    near = x.vectors[originals] @ x.vectors[originals].T
    np.fill_diagonal(near, -1)
    pairs = {
        tuple(sorted((originals[r], originals[c])))
        for r in range(len(originals))
        for c in np.argsort(-near[r])[:10]
    }
    fitted = [(*f, i, j) for i, j in sorted(pairs) if (f := x.fit(i, j))]
    for s, d in [
        (0.5, 0.2),
        (0.5, 0.25),
        (0.6, 0.3),
        (0.75, 0.5),
        (0.75, 0.6),
        (0.9, 0.5),
        (0.9, 0.8),
    ]:
        print(
            f"{sum(f[0] >= s and f[1] >= d for f in fitted)} of the nearest pairs of {len(originals)} excerpts reach {s}, {d}"
        )
    correlations = sorted(
        (
            (h, *f)
            for f in fitted
            if f[0] >= 0.5 and f[1] >= 0.2
            if (h := correlate(f[2], f[3])) is not None
        ),
        reverse=True,
    )
    print(
        "of those that reach 0.5, 0.2 the audio correlates most in (some are one recording in two packages):"
    )
    for h, s, d, i, j in correlations[:20]:
        print(f"   {h:.2f} (windows {s:.2f}, {d:.2f}): {x.files[i].stem} {x.files[j].stem}")


if __name__ == "__main__":
    main()
