#!/usr/bin/env python3
"""Writes vgg.npy: the VGG graph of the musicnn wheel, with seeded random weights, on five
spectrograms.

    pip install tensorflow-cpu && pip download --no-deps musicnn==0.1.0
    python golden_vgg.py musicnn-0.1.0-py3-none-any.whl [FOLDER]

Columns: the 256 values of the last pool, then the 50 logits. The graph is the `.meta` file of the
wheel with its training nodes cut away; no file of weights is needed: `formulas.py` and
`Weights::random` make the same ones. With a FOLDER, the wheel's own weights are run too, into
FOLDER/vgg-msd.npy, for the test that compares converted weights. Made with TensorFlow 2.21.0, NumPy
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
from tensorflow.core.protobuf import meta_graph_pb2

SEED = 7
FIELDS = {
    "kernel": "weight",
    "gamma": "weight",
    "beta": "bias",
    "bias": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def seeded(name, shape):
    """The variable `name` in TensorFlow's layout, from the formula for voisin's name and layout."""
    layer, _, field = name.rpartition("/")
    order = {4: (3, 2, 0, 1), 2: (1, 0)}.get(len(shape), tuple(range(len(shape))))
    ours = f"{layer}.{FIELDS[field]}"
    value = formulas.weights({ours: tuple(shape[axis] for axis in order)}, SEED)[ours]
    return value.transpose(np.argsort(order))


def run(wheel, model, mels, value):
    """[n, 306] of the wheel's graph for [n, bands, frames]; `value(reader, name, shape)` gives the
    variables.
    """
    v1 = tf.compat.v1
    with tempfile.TemporaryDirectory() as folder:
        zipfile.ZipFile(wheel).extractall(folder)
        prefix = f"{folder}/musicnn/{model}/"
        meta = meta_graph_pb2.MetaGraphDef()
        meta.ParseFromString(pathlib.Path(prefix + ".meta").read_bytes())
        pools = [
            n.name
            for n in meta.graph_def.node
            if n.op == "MaxPool" and "grad" not in n.name.lower()
        ]
        outputs = [pools[-1], "model/dense/BiasAdd"]
        graph = v1.graph_util.extract_sub_graph(meta.graph_def, outputs)
        for node in graph.node:
            node.attr.pop("_output_shapes", None)
        variables = [node.name for node in graph.node if node.op == "VariableV2"]
        reader = v1.train.NewCheckpointReader(prefix)
        shapes = reader.get_variable_to_shape_map()
        with tf.Graph().as_default() as g, v1.Session() as session:
            tf.import_graph_def(graph, name="")
            for name in variables:
                tensor = tf.constant(value(reader, name, shapes[name]))
                session.run(tf.raw_ops.Assign(ref=g.get_tensor_by_name(f"{name}:0"), value=tensor))
            feed = {}
            for node in [node for node in graph.node if node.op == "Placeholder"]:
                tensor = g.get_tensor_by_name(f"{node.name}:0")
                feed[tensor] = False if tensor.dtype == tf.bool else mels.transpose(0, 2, 1)
            pool, logits = session.run([f"{name}:0" for name in outputs], feed)
            print(model, outputs, pool.shape, logits.shape)
            return np.concatenate([pool.reshape(len(mels), -1), logits], axis=1).astype(np.float32)


if __name__ == "__main__":
    print("TensorFlow", tf.__version__, "NumPy", np.__version__)
    mels = formulas.spectrograms(5, 96, 187, 7.0)
    golden = run(sys.argv[1], "MSD_vgg", mels, lambda reader, name, shape: seeded(name, shape))
    np.save(pathlib.Path(__file__).with_name("vgg.npy"), golden)
    for model in ["MSD_vgg"] if len(sys.argv) > 2 else []:

        def halves(reader, name, _):
            tensor = reader.get_tensor(name)
            return tensor.astype(np.float16).astype(np.float32) if tensor.ndim > 1 else tensor

        dataset, network = model.split("_")
        path = pathlib.Path(sys.argv[2]) / f"{network}-{dataset.lower()}.npy"
        np.save(path, run(sys.argv[1], model, mels, halves))
