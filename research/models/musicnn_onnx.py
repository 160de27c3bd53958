#!/usr/bin/env python3
"""MusiCNN as an ONNX file, from the checkpoint in the wheel `musicnn`:

    research/models/musicnn_onnx.py OUT.onnx

The input is `mel` [batch, 187, 96] (`--front-end musicnn`), the outputs `penultimate` [batch, 200]
and `logits` [batch, 50]. The graph is frozen for inference (`is_training` false), so that batch
normalisation uses its stored statistics, and must agree in onnxruntime with TensorFlow within 1e-4
of the largest number.

Needs tensorflow-cpu, tf_keras, tf2onnx, onnx, onnxruntime, and `pip install --no-deps musicnn`, whose
licence is ISC.
"""

import argparse
import os
import pathlib

os.environ["TF_USE_LEGACY_KERAS"] = "1"

import numpy as np
import onnx
import onnxruntime
import tensorflow as tf
import tf2onnx
from musicnn import configuration, models

MODEL = "MSD_musicnn"
FRAMES = 187
# Relative to the largest number.
TOLERANCE = 1e-4


def frozen():
    """The graph with its weights as constants, and TensorFlow's answers to random spectrograms."""
    v1 = tf.compat.v1
    v1.disable_eager_execution()
    mel = v1.placeholder(tf.float32, [None, FRAMES, configuration.N_MELS], name="mel")
    with tf.name_scope("model"):
        answers = models.define_model(mel, False, MODEL, len(configuration.MSD_LABELS))
    logits = tf.identity(answers[0], name="logits")
    penultimate = tf.identity(answers[-1], name="penultimate")
    folder = pathlib.Path(models.__file__).parent / MODEL
    # Noise between the levels of log10(10000 x + 1) of quiet and loud music.
    spectrograms = np.random.default_rng(1).uniform(0, 4, (8, FRAMES, configuration.N_MELS))
    spectrograms = spectrograms.astype(np.float32)
    with v1.Session() as session:
        session.run(v1.global_variables_initializer())
        v1.train.Saver().restore(session, str(folder) + os.sep)
        expected = session.run([penultimate, logits], {mel: spectrograms})
        graph = v1.graph_util.convert_variables_to_constants(
            session, session.graph_def, ["penultimate", "logits"]
        )
    return graph, spectrograms, expected


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=pathlib.Path)
    out = parser.parse_args().out
    graph, spectrograms, expected = frozen()
    outputs = ["penultimate", "logits"]
    model, _ = tf2onnx.convert.from_graph_def(
        graph,
        input_names=["mel:0"],
        output_names=[f"{name}:0" for name in outputs],
        opset=17,
    )
    # TensorFlow's names have the number of an operation's output.
    for node in model.graph.node:
        node.input[:] = [name.removesuffix(":0") for name in node.input]
        node.output[:] = [name.removesuffix(":0") for name in node.output]
    for value in [*model.graph.input, *model.graph.output, *model.graph.initializer]:
        value.name = value.name.removesuffix(":0")
    onnx.checker.check_model(model)
    onnx.save(model, out)
    found = onnxruntime.InferenceSession(str(out)).run(None, {"mel": spectrograms})
    for name, ours, theirs in zip(outputs, found, expected, strict=True):
        difference = np.abs(ours - theirs).max() / np.abs(theirs).max()
        print(f"{name} {ours.shape}: {difference:.1e} of the largest number")
        if difference > TOLERANCE:
            raise SystemExit(f"{name}: expected at most {TOLERANCE}")
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB")


main()
