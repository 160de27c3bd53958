#!/usr/bin/env python3
"""Writes musicnn.npy: the wheel's own TensorFlow graph (MSD_musicnn) on five spectrograms.

    pip install tensorflow-cpu && pip download --no-deps musicnn==0.1.0
    python golden_musicnn.py musicnn-0.1.0-py3-none-any.whl

Columns: the 200 values of the penultimate layer, with the shipped weights' last norm, then the 50 logits. The graph is the `.meta` file
of the wheel with its training nodes cut away. Kernels are rounded to float16 first, as in the
shipped weights, so that the test sees the network and not the rounding; what the rounding changes
is printed here, and stands in BENCHMARKS.md for real music. Made with TensorFlow 2.21.0, NumPy
2.4.6, on a CPU in float32.
"""

import os
import pathlib
import sys
import tempfile
import zipfile

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"

import formulas
import numpy as np
import tensorflow as tf
from safetensors.numpy import load_file
from tensorflow.core.protobuf import meta_graph_pb2

MODEL = "MSD_musicnn"
OUTPUTS = ["model/batch_normalization_10/batchnorm/add_1", "model/dense_1/BiasAdd"]


def run(wheel, mels, half):
    """[n, 250] of the wheel's graph for [n, bands, frames]."""
    v1 = tf.compat.v1
    with tempfile.TemporaryDirectory() as folder:
        zipfile.ZipFile(wheel).extractall(folder)
        prefix = f"{folder}/musicnn/{MODEL}/"
        meta = meta_graph_pb2.MetaGraphDef()
        meta.ParseFromString(pathlib.Path(prefix + ".meta").read_bytes())
        graph = v1.graph_util.extract_sub_graph(meta.graph_def, OUTPUTS)
        for node in graph.node:
            node.attr.pop("_output_shapes", None)
        variables = [node.name for node in graph.node if node.op == "VariableV2"]
        reader = v1.train.NewCheckpointReader(prefix)
        with tf.Graph().as_default() as g, v1.Session() as session:
            tf.import_graph_def(graph, name="")
            for name in variables:
                value = reader.get_tensor(name)
                if half and value.ndim > 1:
                    value = value.astype(np.float16).astype(np.float32)
                reference = g.get_tensor_by_name(f"{name}:0")
                session.run(tf.raw_ops.Assign(ref=reference, value=tf.constant(value)))
            placeholders = [node for node in graph.node if node.op == "Placeholder"]
            feed = {}
            for node in placeholders:
                tensor = g.get_tensor_by_name(f"{node.name}:0")
                feed[tensor] = False if tensor.dtype == tf.bool else mels.transpose(0, 2, 1)
            return np.concatenate(session.run([f"{name}:0" for name in OUTPUTS], feed), axis=1)


def with_shipped_norm(wheel, rows):
    """The wheel's last norm replaced by the shipped one, which holds the standardisation too."""
    root = pathlib.Path(__file__).parents[3]
    shipped = load_file(root / "models/musicnn-msd.safetensors")
    with tempfile.TemporaryDirectory() as folder:
        zipfile.ZipFile(wheel).extractall(folder)
        reader = tf.compat.v1.train.NewCheckpointReader(f"{folder}/musicnn/{MODEL}/")
        name = "model/batch_normalization_10/"
        gamma, beta = (reader.get_tensor(name + field) for field in ("gamma", "beta"))
    name = "batch_normalization_10."
    rows = rows.astype(np.float64)
    rows[:, :200] = (rows[:, :200] - beta) * shipped[name + "weight"] / gamma
    rows[:, :200] += shipped[name + "bias"]
    return rows


def cosine(a, b):
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


if __name__ == "__main__":
    print("TensorFlow", tf.__version__, "NumPy", np.__version__)
    mels = formulas.spectrograms(5, 96, 187, 7.0)
    halves, singles = (run(sys.argv[1], mels, half) for half in (True, False))
    print(
        "cosine of float16 to float32 kernels, penultimate:",
        cosine(halves[:, :200], singles[:, :200]),
    )
    print("largest difference of logits:", np.abs(halves - singles)[:, 200:].max())
    rows = with_shipped_norm(sys.argv[1], halves)
    np.save(pathlib.Path(__file__).with_name("musicnn.npy"), rows.astype(np.float32))
