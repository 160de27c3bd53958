"""voisin's mel front end against librosa's, in turns, one thread each on the same core, in CPU time
(Linux), which other programs on the machine affect little.

    cargo bench --bench mel --no-run            # prints the executable's name
    taskset -c 0 python scripts/research/speed/bench_mel.py target/release/deps/mel-…

librosa is measured twice: its one call (feature.melspectrogram, which computes the filter bank each
time), and the faster way of a careful user: the filter bank computed once, librosa.stft, one matrix
product.
"""

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[variable] = "1"

import platform
import statistics
import subprocess
import sys
import time

import librosa
import numpy as np

ROUNDS = 11
WINDOWS = 2000


def decibel(mel):
    decibels = 10 * np.log10(np.maximum(mel, 1e-10))
    decibels -= decibels.max()
    return np.maximum(decibels, -80)


def openl3(window, basis):
    """Variant `original`, one second."""
    padded = np.pad(window, 982)
    if basis is None:
        power = librosa.feature.melspectrogram(
            y=padded,
            sr=48000,
            n_fft=2048,
            hop_length=242,
            center=False,
            n_mels=128,
            htk=True,
            fmax=24000,
        )
    else:
        spectrum = librosa.stft(padded, n_fft=2048, hop_length=242, center=False)
        power = basis @ (spectrum.real**2 + spectrum.imag**2)
    return decibel(np.sqrt(power))


def musicnn(window, basis):
    if basis is None:
        power = librosa.feature.melspectrogram(
            y=window, sr=16000, n_fft=512, hop_length=256, center=False, n_mels=96
        )
    else:
        spectrum = librosa.stft(window, n_fft=512, hop_length=256, center=False)
        power = basis @ (spectrum.real**2 + spectrum.imag**2)
    return np.log10(10000 * power.astype(np.float16).astype(np.float32) + 1)


def cpu_seconds(pid):
    """CPU time of a process with one thread."""
    with open(f"/proc/{pid}/schedstat") as file:
        return int(file.read().split()[0]) / 1e9


def main():
    server = subprocess.Popen(
        [sys.argv[1], "--serve"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    )
    print(
        f"librosa {librosa.__version__}, numpy {np.__version__}, Python {platform.python_version()}"
    )
    random = np.random.default_rng(1)
    for name, function, length, shape, basis in (
        (
            "original",
            openl3,
            48000,
            (128, 199),
            librosa.filters.mel(sr=48000, n_fft=2048, n_mels=128, htk=True, fmax=24000),
        ),
        ("musicnn", musicnn, 48128, (96, 187), librosa.filters.mel(sr=16000, n_fft=512, n_mels=96)),
    ):
        window = random.standard_normal(length).astype(np.float32) * 0.1
        assert function(window, None).shape == shape
        results = {"one call": [], "basis kept": [], "voisin": []}
        for _ in range(ROUNDS):
            for label, given in (("one call", None), ("basis kept", basis)):
                start = time.process_time()
                for _ in range(20):
                    function(window, given)
                results[label].append(20 / (time.process_time() - start))
            start = cpu_seconds(server.pid)
            server.stdin.write(f"{name} {WINDOWS}\n")
            server.stdout.readline()
            results["voisin"].append(WINDOWS / (cpu_seconds(server.pid) - start))
        for label, rates in results.items():
            ratio = statistics.median(v / r for v, r in zip(results["voisin"], rates, strict=False))
            faster = "" if label == "voisin" else f", voisin {ratio:.1f} times as fast"
            print(
                f"{name:9} {label:10} {statistics.median(rates):7.0f} windows per CPU second"
                f" ({min(rates):.0f} to {max(rates):.0f}){faster}"
            )
    server.stdin.close()
    server.wait()


main()
