#!/usr/bin/env python3
"""Makes a teacher of the Musicnn trained on MTG-Jamendo: scripts/research/models/convert_jamendo.py WEIGHTS
TAGS OUT [--float16] [--golden FILE]

WEIGHTS is the PyTorch state dictionary of `musicnn` in sota-music-tagging-models (Won, Ferraro,
Bogdanov, Serra, "Evaluation of CNN-based automatic music tagging models", SMC 2020; MIT), TAGS its
50 tags, one a line. Written are OUT/musicnn-jamendo.safetensors and its manifest, for `voisin train
encoder prepare --teacher`; they are not shipped.

The network is MusiCNN but for three things. Its batch norms come before ReLU: they are folded into
the layers before them. Its five front convolutions have 67, 38, then 129, 65 and 33 taps, and the
last three have the mean of the bands as input: voisin detects that by the shape of their kernels.
Its spectrogram is in decibels: voisin's log10(1e9 x + 1) is that to 0.01 dB above -70 dB, and its
factor and offset are folded into the batch norm of the input. Two things differ: a window has 187
frames and no reflection at its ends, instead of 188 centred ones.

With --float16 the kernels are rounded to float16, as for a model that ships. The tags are named in
words: "instrument piano", "mood relaxing", "style trip hop".

With --golden, an .npz with `audio_16k`, `jamendo_musicnn.pen` and `jamendo_musicnn.tags` (logits;
means over windows of 3 s), the converted tensors are run in NumPy on the original's own
spectrogram, and must agree. Needs numpy.
"""

import argparse
import collections
import hashlib
import json
import pathlib
import pickle
import struct

import numpy as np
from convert_musicnn import write_safetensors

EPSILON = 1e-5
# voisin's own epsilon: with this variance, its batch norm multiplies by `weight` and adds `bias`.
VARIANCE = 1 - 1e-3
SCALE = 1e9


class StateDictionary(pickle.Unpickler):
    """Reads PyTorch's format before 1.6 and builds nothing but dictionaries and tuples."""

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, stride, *_: (storage, offset, shape, stride)
        if module == "torch" and name.endswith("Storage"):
            return name
        raise pickle.UnpicklingError(f"{module}.{name} is not expected in a state dictionary")

    def persistent_load(self, reference):
        _, kind, key, *_ = reference
        return kind, key


def read(path):
    """Returns {name: array} of a state dictionary."""
    with open(path, "rb") as handle:
        for _ in range(3):  # magic number, version, sizes of the machine's types
            StateDictionary(handle).load()
        tensors = StateDictionary(handle).load()
        types = {
            key: {"FloatStorage": "<f4", "LongStorage": "<i8"}[kind]
            for (kind, key), *_ in tensors.values()
        }
        storages = {}
        for key in StateDictionary(handle).load():
            (count,) = struct.unpack("<q", handle.read(8))
            storages[key] = np.frombuffer(handle.read(count * int(types[key][2])), types[key])
    arrays = {}
    for name, ((_, key), offset, shape, stride) in tensors.items():
        count = int(np.prod(shape, dtype=int))
        if stride != tuple(np.cumprod((1, *shape[:0:-1]))[::-1])[: len(shape)]:
            raise SystemExit(f"{path}: {name} is not contiguous")
        arrays[name] = storages[key][offset : offset + count].reshape(shape)
    return arrays


def folded(state, layer, norm):
    """Weight and bias of a layer with the batch norm after it, in f64."""
    weight, bias = (state[f"{layer}.{field}"].astype(np.float64) for field in ("weight", "bias"))
    gamma, beta, mean, variance = (
        state[f"{norm}.{field}"].astype(np.float64)
        for field in ("weight", "bias", "running_mean", "running_var")
    )
    scale = gamma / np.sqrt(variance + EPSILON)
    return weight * scale.reshape(-1, *[1] * (weight.ndim - 1)), (bias - mean) * scale + beta


def convert(state):
    tensors = {}

    def norm(index, channels, scale=1.0, shift=0.0):
        name = "batch_normalization" + (f"_{index}" if index else "")
        for field, value in (
            ("weight", scale),
            ("bias", shift),
            ("running_mean", 0.0),
            ("running_var", VARIANCE),
        ):
            tensors[f"{name}.{field}"] = np.full(channels, value, np.float64)

    # Decibels are 10 log10(x): 10 · voisin's logarithm - 10 log10(SCALE).
    gamma, beta, mean, variance = (
        float(state[f"spec_bn.{f}"][0]) for f in ("weight", "bias", "running_mean", "running_var")
    )
    scale = gamma / np.sqrt(variance + EPSILON)
    norm(0, 1, 10 * scale, beta - scale * (mean + 10 * np.log10(SCALE)))
    layers = [(f"layers.{i}.conv", f"layers.{i}.bn") for i in (1, 0, 2, 3, 4)]
    layers += [(f"layer{i}.conv", f"layer{i}.bn") for i in (1, 2, 3)]
    # The bands' two convolutions change places.
    front = np.concatenate([np.arange(204, 408), np.arange(204), np.arange(408, 561)])
    for i, (layer, after) in enumerate(layers):
        weight, bias = folded(state, layer, after)
        if i < 2:
            weight = weight.transpose(0, 1, 3, 2)  # [out, 1, time, band]
        if i == 5:
            weight = weight[:, front]
        name = "conv2d" + (f"_{i}" if i else "")
        tensors[f"{name}.weight"], tensors[f"{name}.bias"] = weight, bias
        norm(i + 1, len(bias))
    weight, bias = folded(state, "dense1", "bn")
    # Maxima, then means, become the maximum and the mean of each channel in turn.
    joined = np.concatenate([front, np.arange(561, 753)])
    tensors["dense.weight"] = weight[:, np.stack([joined, 753 + joined], 1).reshape(-1)]
    tensors["dense.bias"] = bias
    norm(9, 1506)
    norm(10, 200)
    tensors["dense_1.weight"], tensors["dense_1.bias"] = (
        state["dense2.weight"],
        state["dense2.bias"],
    )
    return {name: np.ascontiguousarray(value, np.float32) for name, value in tensors.items()}


def forward(tensors, mel):
    """MusiCNN in NumPy on voisin's spectrogram [96, frames]: the penultimate layer and the tag
    logits.
    """

    def norm(index, x):
        name = "batch_normalization" + (f"_{index}" if index else "")
        gamma, beta, mean, variance = (
            tensors[f"{name}.{f}"] for f in ("weight", "bias", "running_mean", "running_var")
        )
        shape = (-1, *[1] * (x.ndim - 1))
        scale = gamma / np.sqrt(variance + 1e-3)
        return x * scale.reshape(shape) + (beta - mean * scale).reshape(shape)

    def convolution(index, x, width=1):
        """Correlation over time (and `width` bands) of [channels, time, bands], ReLU, batch norm:
        [out, time, bands]
        """
        name = "conv2d" + (f"_{index}" if index else "")
        weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
        weight = weight.reshape(len(weight), x.shape[0], -1, width)
        taps = weight.shape[2]
        x = np.pad(x, ((0, 0), ((taps - 1) // 2, taps // 2), (0, 0)))
        views = np.lib.stride_tricks.sliding_window_view(x, (taps, width), (1, 2))
        return norm(
            index + 1,
            np.maximum(
                np.einsum("ctbij,ocij->otb", views, weight, optimize=True) + bias[:, None, None], 0
            ),
        )

    x = norm(0, mel[None]).transpose(0, 2, 1)  # [1, time, bands]
    front = [convolution(0, x, 38), convolution(1, x, 67)]
    front += [convolution(i, x.mean(2, keepdims=True)) for i in (2, 3, 4)]
    front = np.concatenate([y.max(2, keepdims=True) for y in front])
    first = convolution(5, front)
    second = convolution(6, first) + first
    third = convolution(7, second) + second
    joined = np.concatenate([front, first, second, third])[:, :, 0]
    pools = norm(9, np.stack([joined.max(1), joined.mean(1)], 1).reshape(-1))
    penultimate = norm(10, np.maximum(tensors["dense.weight"] @ pools + tensors["dense.bias"], 0))
    return penultimate, tensors["dense_1.weight"] @ penultimate + tensors["dense_1.bias"]


def check(tensors, state, golden):
    golden = np.load(golden)
    audio = golden["audio_16k"] / 32768.0
    found = []
    for start in range(0, len(audio) - 48000 + 1, 48000):
        samples = np.pad(audio[start : start + 48000], 256, mode="reflect")
        frames = np.lib.stride_tricks.sliding_window_view(samples, 512)[::256]
        power = abs(np.fft.rfft(frames * state["spec.spectrogram.window"])) ** 2
        mel = (power @ state["spec.mel_scale.fb"]).T
        decibels = 10 * np.log10(np.maximum(mel, 1e-10))
        if start == 0:
            print(
                "spectrogram: largest difference",
                abs(decibels - golden["jamendo_musicnn.mel_db_first_window"]).max(),
                "dB",
            )
        found.append(forward(tensors, decibels / 10 + np.log10(SCALE)))
    for name, values in zip(("pen", "tags"), zip(*found, strict=False), strict=False):
        expected = golden[f"jamendo_musicnn.{name}"]
        error = abs(np.mean(values, 0) - expected).max() / abs(expected).max()
        print(f"{name}: largest difference {error:.2e} of the largest value")
        if not error < 1e-3:
            raise SystemExit("the converted network does not agree with the golden answers")


SPLIT = {
    "acousticguitar": "acoustic guitar",
    "drummachine": "drum machine",
    "easylistening": "easy listening",
    "electricguitar": "electric guitar",
    "electricpiano": "electric piano",
    "hiphop": "hip hop",
    "instrumentalpop": "instrumental pop",
    "newage": "new age",
    "popfolk": "pop folk",
    "poprock": "pop rock",
    "triphop": "trip hop",
}


def tag(name):
    """`mood/theme---happy` as `mood happy`, genres as styles."""
    kind, word = name.split("---")
    return f"{kind.split('/')[0].replace('genre', 'style')} {SPLIT.get(word, word)}"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("weights", type=pathlib.Path)
    parser.add_argument("tags", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--golden", type=pathlib.Path)
    parser.add_argument("--float16", action="store_true")
    options = parser.parse_args()
    state = read(options.weights)
    tensors = convert(state)
    if options.float16:
        tensors = {
            name: value.astype(np.float16) if value.ndim > 1 else value
            for name, value in tensors.items()
        }
    if options.golden:
        check(tensors, state, options.golden)
    options.out.mkdir(parents=True, exist_ok=True)
    weights = options.out / "musicnn-jamendo.safetensors"
    write_safetensors(
        weights,
        tensors,
        {"source": "sota-music-tagging-models, musicnn, MTG-Jamendo", "licence": "MIT"},
    )
    manifest = {
        "format": 1,
        "name": "musicnn-jamendo",
        "description": "MusiCNN trained on MTG-Jamendo's 50 most used tags",
        "architecture": "musicnn",
        "front_end": {
            "sample_rate": 16000,
            "window_samples": 48128,
            "n_fft": 512,
            "hop": 256,
            "n_frames": 187,
            "pad_left": 0,
            "spectrum": "power",
            "n_mels": 96,
            "f_min": 0.0,
            "f_max": 8000.0,
            "mel_scale": "htk",
            "mel_norm": "peak",
            "compression": {"log_half": {"scale": SCALE}},
            "level_dbfs": -20.0,
        },
        "dimension": 200,
        "licence": "MIT",
        "provenance": "musicnn of sota-music-tagging-models (Minz Won, Music Technology Group, Universitat Pompeu Fabra), "
        "trained on MTG-Jamendo, converted by scripts/research/models/convert_jamendo.py"
        + ("; kernels rounded to float16" if options.float16 else ""),
        "weights": weights.name,
        "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
        # The network's outputs are in the order of a label binariser: that of the alphabet.
        "tags": [
            tag(line)
            for line in sorted(filter(None, map(str.strip, options.tags.read_text().splitlines())))
        ],
    }
    (options.out / "musicnn-jamendo.json").write_text(json.dumps(manifest, indent=2) + "\n")
    print(f"{weights}: {weights.stat().st_size} bytes")


if __name__ == "__main__":
    main()
