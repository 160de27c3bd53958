#!/usr/bin/env python3
"""OpenL3's published weights as safetensors and a manifest: openl3_weights.py FILE OUT.safetensors

FILE is the authors' .h5, or Essentia's .onnx or .pb. Needs numpy, safetensors, h5py, onnx, tf2onnx.
"""

import hashlib
import json
import pathlib
import subprocess
import sys

import numpy as np
from safetensors.numpy import save_file

EPSILON = 1e-3


def of_keras(path):
    """Kernels [out, in, 3, 3] with biases, norms, and the numbers of the publisher's spectrogram."""
    import h5py

    layers, names = {}, []
    with h5py.File(path) as file:
        file.visit(names.append)
        for name in names:
            if isinstance(file[name], h5py.Dataset):
                layer, field = name.split("/")[-2:]
                layers.setdefault(layer, {})[field.split(":")[0]] = np.asarray(file[name])
    # By the layers' numbers; the first may have none.
    layers = [layers[name] for name in sorted(layers, key=lambda name: (len(name), name))]
    fields = ["gamma", "beta", "moving_mean", "moving_variance"]
    convs = [(x["kernel"].transpose(3, 2, 0, 1), x["bias"]) for x in layers if "kernel" in x]
    norms = [[x[field] for field in fields] for x in layers if "gamma" in x]
    if any("spectrogram" in name for name in names):
        return convs, norms, (982, "root_of_power", "htk", "slaney")
    return convs, norms, (0, "magnitude", "slaney", "slaney")


def of_onnx(path):
    """The same; a norm is what the graph does to a channel before ReLU, however it is written."""
    import onnx

    graph = onnx.load(path).graph
    known = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    convs, norms = [], [np.array([[1.0], [0.0]])]
    for node in graph.node:
        c = [known[name] for name in node.input if name in known and known[name].dtype.kind == "f"]
        if node.op_type == "Constant":
            known[node.output[0]] = onnx.numpy_helper.to_array(node.attribute[0].t)
        elif node.op_type == "Conv":
            convs.append((c[0], c[1] if len(c) > 1 else np.zeros(len(c[0]))))
            norms.append(np.array([np.ones(len(c[0])), np.zeros(len(c[0]))]))
        elif node.op_type == "BatchNormalization":
            factor = c[0] / np.sqrt(c[3] + EPSILON)
            norms[-1] = norms[-1] * factor + [[0.0], [1.0]] * (c[1] - c[2] * factor)
        elif node.op_type == "Mul" and c:
            norms[-1] = norms[-1] * c[0].ravel()
        elif node.op_type in ("Add", "Sub") and c:
            norms[-1][1] += c[0].ravel() * (1 if node.op_type == "Add" else -1)
    norms = [[a, b, 0 * a, 0 * a + 1 - EPSILON] for a, b in norms[:8]]
    return convs, norms, (1024, "magnitude", "slaney", "slaney")


source, out = map(pathlib.Path, sys.argv[1:])
card = json.loads((pathlib.Path(__file__).parents[1] / "models/voisin-3.json").read_text())
if source.suffix == ".pb":
    graph, source = source, out.with_suffix(".onnx")
    ends = ["--inputs", "melspectrogram:0", "--outputs", "embeddings:0", "--output", source]
    subprocess.run(
        [sys.executable, "-m", "tf2onnx.convert", "--graphdef", graph, *ends], check=True
    )
convs, norms, front = of_keras(source) if source.suffix == ".h5" else of_onnx(source)
assert len(convs) == len(norms) == 8, f"found {len(convs)} convolutions, {len(norms)} norms"
convs.sort(key=lambda conv: sum(conv[0].shape[:2]))  # each is wider than the one before it
tensors = {}
for i, ((kernel, bias), norm) in enumerate(zip(convs, norms, strict=True), 1):
    name = f"conv2d_{i}" if i < 8 else "audio_embedding_layer"
    tensors |= {f"{name}.weight": kernel, f"{name}.bias": bias}
    for field, values in zip(["weight", "bias", "running_mean", "running_var"], norm, strict=True):
        tensors[f"batch_normalization_{i}.{field}"] = values
save_file({name: np.ascontiguousarray(x, np.float32) for name, x in tensors.items()}, out)
for field, value in zip(["pad_left", "spectrum", "mel_scale", "mel_norm"], front, strict=True):
    card["front_end"][field] = value
card |= {"name": out.stem, "description": "OpenL3 mel128 / 512", "weights": out.name}
card["licence"] = "CC-BY-4.0" if source.suffix == ".h5" else "CC-BY-NC-SA-4.0"
card["provenance"] = f"{source.name}, converted by scripts/openl3_weights.py"
card["weights_sha256"] = hashlib.sha256(out.read_bytes()).hexdigest()
del card["tags"], card["outputs"]
out.with_suffix(".json").write_text(json.dumps(card, indent=2) + "\n")
