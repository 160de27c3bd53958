#!/usr/bin/env python3
"""Vectors of two networks that voisin does not run, to evaluate them as teachers:

    research/models/teacher_vectors.py fcn|mn04 WEIGHTS MUSIC OUT [--golden FILE]

`fcn` is the FCN of sota-music-tagging-models trained on MTG-Jamendo (Won and others, SMC 2020;
crops of 29.1 s, 64 numbers: the input of its last layer), `mn04` EfficientAT's MobileNetV3 of width
0.4 trained on AudioSet (Schmid, Koutini, Widmer, ICASSP 2023; windows of 10 s, 527 tag logits).
WEIGHTS is the state dictionary of PyTorch. At most three crops (fcn) or six windows (mn04) of each
track below MUSIC are analysed, spread over its length and each scaled to -20 dB RMS;
OUT/vectors.npy and OUT/tracks.csv hold the means, as research/quality/neighbour_quality.py reads
them. With --golden, an .npz of the original programs' output (`audio_16k`, `jamendo_fcn.pen`,
`audio_32k`, `mn04.tags`), the port must agree with it first.

Needs numpy and ffmpeg.
"""

import argparse
import csv
import io
import pathlib
import pickle
import subprocess
import zipfile

import convert_jamendo
import numpy as np

AUDIO = {".ogg", ".mp3", ".flac", ".wav", ".opus", ".oga", ".m4a"}


class Zipped(convert_jamendo.StateDictionary):
    """Reads PyTorch's format since 1.6: the storages are files of their own."""

    def __init__(self, archive, root):
        super().__init__(io.BytesIO(archive.read(f"{root}data.pkl")))
        self.archive, self.root = archive, root

    def find_class(self, module, name):
        if (module, name) != ("torch._utils", "_rebuild_tensor_v2"):
            return super().find_class(module, name)

        def tensor(storage, offset, shape, stride, *_):
            expected = tuple(np.cumprod((1, *shape[:0:-1]))[::-1])[: len(shape)]
            if tuple(stride) != expected:
                raise pickle.UnpicklingError("a tensor is not contiguous")
            return storage[offset : offset + int(np.prod(shape, dtype=int))].reshape(shape)

        return tensor

    def persistent_load(self, reference):
        _, kind, key, *_ = reference
        return np.frombuffer(
            self.archive.read(f"{self.root}data/{key}"),
            {"FloatStorage": "<f4", "LongStorage": "<i8"}[kind],
        )


def read(path):
    if not zipfile.is_zipfile(path):
        return convert_jamendo.read(path)
    with zipfile.ZipFile(path) as archive:
        pickled = next(name for name in archive.namelist() if name.endswith("data.pkl"))
        return Zipped(archive, pickled[: -len("data.pkl")]).load()


def spectrum(samples, window, n_fft, hop):
    """Power, centred with reflection: [bins, frames]."""
    padded = np.pad(samples, n_fft // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop]
    before = (n_fft - len(window)) // 2
    taper = np.pad(window, (before, n_fft - len(window) - before))
    return np.abs(np.fft.rfft(frames * taper, axis=1).T) ** 2


def convolve(x, weight, stride=1, groups=1):
    """ "Same" convolution of [channels, height, width]; `groups` is 1 or the number of channels."""
    size = weight.shape[2]
    height, width = (-(-n // stride) for n in x.shape[1:])
    padded = np.pad(x, ((0, 0), (size // 2,) * 2, (size // 2,) * 2))
    out = np.zeros((weight.shape[0], height, width), np.float32)
    for i in range(size):
        for j in range(size):
            piece = padded[:, i : i + x.shape[1] : stride, j : j + x.shape[2] : stride]
            if groups == 1:
                out += (weight[:, :, i, j] @ piece.reshape(len(piece), -1)).reshape(out.shape)
            else:
                out += weight[:, 0, i, j, None, None] * piece
    return out


class Fcn:
    rate, samples, most = 16_000, 465_984, 3
    # Bands and frames that become one.
    pools = [(2, 4), (2, 4), (2, 4), (3, 5), (4, 4)]

    def __init__(self, state):
        self.state = state
        self.layers = [
            convert_jamendo.folded(state, f"layer{i}.conv", f"layer{i}.bn") for i in range(1, 6)
        ]

    def __call__(self, samples):
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(512) / 512)
        mel = self.state["spec.mel_scale.fb"].T @ spectrum(samples, window, 512, 256)
        x = 10 * np.log10(np.maximum(mel, 1e-10))
        gamma, beta, mean, variance = (
            self.state[f"spec_bn.{f}"][0] for f in ("weight", "bias", "running_mean", "running_var")
        )
        x = ((x - mean) * gamma / np.sqrt(variance + 1e-5) + beta).astype(np.float32)[None]
        for (weight, bias), (high, wide) in zip(self.layers, self.pools, strict=False):
            x = np.maximum(
                convolve(x, weight.astype(np.float32)) + bias.astype(np.float32)[:, None, None], 0
            )
            h, w = x.shape[1] // high, x.shape[2] // wide
            x = x[:, : h * high, : w * wide].reshape(len(x), h, high, w, wide).max((2, 4))
        return x.reshape(-1)


class Mn04:
    rate, samples, most = 32_000, 320_000, 6
    # Blocks with a stride of two, and with ReLU; the others have hard swish.
    strides, plain = {0, 2, 4, 7, 13}, range(1, 7)

    def __init__(self, state):
        self.state = state
        edges = np.linspace(0, 1127 * np.log(1 + 15_000 / 700), 130)
        at = 1127 * np.log(1 + np.arange(513) * self.rate / 1024 / 700)
        low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
        self.banks = np.maximum(
            0, np.minimum((at - low) / (middle - low), (high - at) / (high - middle))
        )
        self.banks[:, 512] = 0

    def layer(self, x, name, act, **options):
        """Convolution, batch norm, activation."""
        weight, gamma, beta, mean, variance = (
            self.state[f"{name}.{f}"]
            for f in ("0.weight", "1.weight", "1.bias", "1.running_mean", "1.running_var")
        )
        scale = gamma / np.sqrt(variance + 1e-3)
        x = (
            convolve(x, weight * scale[:, None, None, None], **options)
            + (beta - mean * scale)[:, None, None]
        )
        return act(x)

    def __call__(self, samples):
        emphasised = samples[1:] - 0.97 * samples[:-1]
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(800) / 799)
        mel = self.banks @ spectrum(emphasised, window, 1024, 320)
        x = ((np.log(mel + 1e-5) + 4.5) / 5).astype(np.float32)[None]

        def swish(x):
            return x * np.clip(x + 3, 0, 6) / 6

        def relu(x):
            return np.maximum(x, 0)

        x = self.layer(x, "features.0", swish, stride=2)
        for i in range(1, 16):
            act, before = relu if i in self.plain else swish, x

            def name(j):
                return f"features.{i}.block.{j}"

            j = 0
            if f"{name(2)}.0.weight" in self.state or f"{name(3)}.0.weight" in self.state:
                x = self.layer(x, name(0), act)
                j = 1
            x = self.layer(x, name(j), act, stride=2 if i in self.strides else 1, groups=len(x))
            j += 1
            squeeze = f"{name(j)}.conc_se_layers.0"
            if f"{squeeze}.fc1.weight" in self.state:
                w1, b1, w2, b2 = (
                    self.state[f"{squeeze}.{f}"]
                    for f in ("fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias")
                )
                x = x / (1 + np.exp(-(w2 @ relu(w1 @ x.mean((1, 2)) + b1) + b2)))[:, None, None]
                j += 1
            x = self.layer(x, name(j), lambda x: x)
            if x.shape == before.shape:
                x = x + before
        x = self.layer(x, "features.16", swish).mean((1, 2))
        x = swish(self.state["classifier.2.weight"] @ x + self.state["classifier.2.bias"])
        return self.state["classifier.5.weight"] @ x + self.state["classifier.5.bias"]


def decode(path, rate):
    done = subprocess.run(
        [
            "ffmpeg",
            "-nostdin",
            "-v",
            "error",
            "-threads",
            "1",
            "-i",
            path,
            "-f",
            "f32le",
            "-ac",
            "1",
            "-ar",
            str(rate),
            "-",
        ],
        capture_output=True,
    )
    return np.frombuffer(done.stdout, "<f4").astype(np.float64)


def level(samples):
    return samples * 0.1 / max(np.sqrt((samples**2).mean()), 1e-6)


def embed(network, samples):
    """Mean over crops that are spread over the track; a short track is repeated."""
    if len(samples) < network.samples:
        samples = np.resize(samples, network.samples)
    room = len(samples) - network.samples
    count = min(network.most, 1 + 2 * room // network.samples)
    starts = [room // 2] if count == 1 else [room * i // (count - 1) for i in range(count)]
    return np.mean([network(level(samples[at : at + network.samples])) for at in starts], axis=0)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("network", choices=["fcn", "mn04"])
    for name in ("weights", "music", "out"):
        parser.add_argument(name, type=pathlib.Path)
    parser.add_argument("--golden", type=pathlib.Path)
    options = parser.parse_args()
    network = {"fcn": Fcn, "mn04": Mn04}[options.network](read(options.weights))
    if options.golden:
        golden = np.load(options.golden)
        audio, answer = {
            "fcn": ("audio_16k", "jamendo_fcn.pen"),
            "mn04": ("audio_32k", "mn04.tags"),
        }[options.network]
        samples = golden[audio].astype(np.float64)[: network.samples] / 32768
        error = np.abs(network(samples) - golden[answer]).max() / np.abs(golden[answer]).max()
        print(f"largest difference from the original program {error:.2g} of the largest value")
        if error > 1e-3:
            raise SystemExit("the port does not agree with the original program")
    options.out.mkdir(parents=True, exist_ok=True)
    rows, vectors = [], []
    for path in sorted(p for p in options.music.rglob("*") if p.suffix.lower() in AUDIO):
        samples = decode(path, network.rate)
        if len(samples) < network.rate:
            print(f"{path}: shorter than a second, or not to be decoded: left out")
            continue
        rows.append({"row": len(rows), "path": path})
        vectors.append(embed(network, samples))
    np.save(options.out / "vectors.npy", np.array(vectors, np.float32))
    with open(options.out / "tracks.csv", "w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, ["row", "path"])
        writer.writeheader()
        writer.writerows(rows)
    print(f"{len(rows)} tracks")


if __name__ == "__main__":
    main()
