#!/usr/bin/env python3
"""Converts a model of the `musicnn` wheel (PyPI, ISC licence) to voisin's safetensors and manifest.

    pip download --no-deps musicnn==0.1.0
    python scripts/research/models/convert_musicnn.py musicnn-0.1.0-py3-none-any.whl models            # MSD_musicnn, as shipped
    python scripts/research/models/convert_musicnn.py musicnn-0.1.0-py3-none-any.whl DIR --model MTT_musicnn MSD_vgg --float32

Needs Python 3.9 and NumPy only: the TensorFlow 1 checkpoints in the wheel are read here (an index
in LevelDB's table format whose values are BundleEntryProto messages, and a file of raw tensors).
The output depends on nothing but the wheel, so a second run gives the same bytes.

Layouts become PyTorch's (and Candle's): convolutions [out, in, time, frequency], those over all
channels [out, in, time], dense layers [out, in]. Batch norm's gamma, beta, moving mean and variance
are named weight, bias, running_mean and running_var. Kernels are rounded to float16 unless
--float32; all one-dimensional tensors stay float32 (they are few, and variances span more than
float16 holds).
"""

import argparse
import ast
import hashlib
import json
import pathlib
import struct
import zipfile

import numpy as np

WHEEL_SHA256 = "f38a4890c648c1ddbb141c5d96d2b0a8cfcd36746002d896989f7b88beb65cfa"
TABLE_MAGIC = 0xDB4775248B80FB57
DT_FLOAT = 1
# MTT_vgg is left out: its pools are not those of MSD_vgg, and voisin runs one VGG network.
MODELS = ["MSD_musicnn", "MTT_musicnn", "MSD_vgg"]
# MelConfig::musicnn() as JSON; a test compares it with the shipped manifest.
FRONT_END = {
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
    "mel_scale": "slaney",
    "mel_norm": "slaney",
    "compression": {"log_half": {"scale": 10000.0}},
    # MusiCNN hears level: every window is brought to -20 dB RMS first.
    "level_dbfs": -20.0,
}


def varint(data, at):
    """Returns the little-endian base-128 number at `at`, and the position after it."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def fields(message):
    """Yields (number, value) of a protocol-buffer message: numbers for varints, bytes for the rest."""
    at = 0
    while at < len(message):
        key, at = varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = varint(message, at)
        elif kind == 2:
            length, at = varint(message, at)
            value, at = message[at : at + length], at + length
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
            value, at = message[at : at + length], at + length
        else:
            raise ValueError(f"wire type {kind}")
        yield number, value


def block(table, handle):
    """Yields (key, value) of a table's block; keys are stored as differences from their
    predecessors.
    """
    offset, size = handle
    if table[offset + size] != 0:
        raise ValueError("the checkpoint's index is compressed")
    data = table[offset : offset + size]
    end = len(data) - 4 - 4 * struct.unpack("<I", data[-4:])[0]
    at, key = 0, b""
    while at < end:
        shared, at = varint(data, at)
        fresh, at = varint(data, at)
        length, at = varint(data, at)
        key = key[:shared] + data[at : at + fresh]
        at += fresh
        yield key, data[at : at + length]
        at += length


def handle(data, at=0):
    offset, at = varint(data, at)
    size, at = varint(data, at)
    return (offset, size), at


def read_checkpoint(index, data):
    """Returns {variable: array} of a TensorFlow checkpoint, given its `.index` and `.data` files."""
    if struct.unpack("<Q", index[-8:])[0] != TABLE_MAGIC:
        raise ValueError("not a checkpoint index")
    _, at = handle(index[-48:])
    root, _ = handle(index[-48:], at)
    variables = {}
    for _, child in block(index, root):
        for key, value in block(index, handle(child)[0]):
            entry = dict(fields(value))
            if not key or entry.get(1) != DT_FLOAT:
                continue
            # TensorShapeProto: repeated dim = 2 {size = 1}
            shape = [
                dict(fields(dim)).get(1, 0)
                for number, dim in fields(entry.get(2, b""))
                if number == 2
            ]
            offset, size = entry.get(4, 0), entry[5]
            variables[key.decode()] = np.frombuffer(data[offset : offset + size], "<f4").reshape(
                shape
            )
    return variables


FIELDS = {
    "kernel": "weight",
    "gamma": "weight",
    "beta": "bias",
    "bias": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def convert(variables):
    """Renames and transposes; drops the optimiser's variables."""
    tensors = {}
    for name, value in sorted(variables.items()):
        layer, _, field = name.rpartition("/")
        if field not in FIELDS:
            continue
        if value.ndim == 4:  # [time, frequency, in, out]
            value = value.transpose(3, 2, 0, 1)
            if layer in (
                "conv2d_5",
                "conv2d_6",
                "conv2d_7",
            ):  # all "frequencies" are channels: [out, in, time]
                value = value[:, 0].transpose(0, 2, 1)
        elif value.ndim == 2:
            value = value.T
        tensors[f"{layer}.{FIELDS[field]}"] = np.ascontiguousarray(value)
    return tensors


def write_safetensors(path, tensors, metadata):
    """Header length, JSON header, raw values; tensors sorted by name, data aligned to 8 bytes."""
    header, blobs, offset = {"__metadata__": metadata}, [], 0
    for name, value in sorted(tensors.items(), key=lambda item: (-item[1].dtype.itemsize, item[0])):
        blob = value.tobytes()
        kind = {"float16": "F16", "float32": "F32"}[str(value.dtype)]
        header[name] = {
            "dtype": kind,
            "shape": list(value.shape),
            "data_offsets": [offset, offset + len(blob)],
        }
        blobs.append(blob)
        offset += len(blob)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def labels(configuration, dataset):
    """The list named {dataset}_LABELS in the wheel's configuration.py, read without running it."""
    for node in ast.parse(configuration).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == f"{dataset}_LABELS":
            return ast.literal_eval(node.value)
    raise ValueError(f"no {dataset}_LABELS")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--model", nargs="+", choices=MODELS, default=["MSD_musicnn"])
    parser.add_argument(
        "--float32", action="store_true", help="do not round the kernels to float16"
    )
    options = parser.parse_args()

    digest = hashlib.sha256(options.wheel.read_bytes()).hexdigest()
    if digest != WHEEL_SHA256:
        raise SystemExit(f"{options.wheel}: SHA-256 is {digest}, expected {WHEEL_SHA256}")
    options.output.mkdir(parents=True, exist_ok=True)
    wheel = zipfile.ZipFile(options.wheel)
    configuration = wheel.read("musicnn/configuration.py").decode()
    for model in options.model:
        folder = f"musicnn/{model}/"
        tensors = convert(
            read_checkpoint(
                wheel.read(folder + ".index"), wheel.read(folder + ".data-00000-of-00001")
            )
        )
        if not options.float32:
            tensors = {n: v.astype(np.float16) if v.ndim > 1 else v for n, v in tensors.items()}
        dataset, network = model.split("_")
        name = f"{network}-{dataset.lower()}"
        weights = options.output / f"{name}.safetensors"
        write_safetensors(
            weights, tensors, {"source": f"PyPI musicnn 0.1.0, {model}", "licence": "ISC"}
        )
        sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
        parameters = sum(v.size for v in tensors.values())
        print(
            f"{weights}: {len(tensors)} tensors, {parameters} values, {weights.stat().st_size} bytes, {sha256}"
        )
        trained_on = {"MSD": "the Million Song Dataset", "MTT": "MagnaTagATune"}[dataset]
        title, dimension = {"musicnn": ("MusiCNN", 200), "vgg": ("VGG", 256)}[network]
        manifest = {
            "format": 1,
            "name": name,
            "description": f"{title} trained on {trained_on}'s 50 most used tags",
            "architecture": network,
            "front_end": FRONT_END,
            "dimension": dimension,
            "licence": "ISC",
            "provenance": f"{model} of the PyPI package musicnn 0.1.0 (Jordi Pons, Music Technology Group, "
            "Universitat Pompeu Fabra), converted by scripts/research/models/convert_musicnn.py; "
            + ("float32" if options.float32 else "kernels rounded to float16"),
            "weights": weights.name,
            "weights_sha256": sha256,
            "tags": labels(configuration, dataset),
        }
        (options.output / f"{name}.json").write_text(
            json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
        )


if __name__ == "__main__":
    main()
