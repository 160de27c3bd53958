"""Keras' and TensorFlow's files of the network: `python generate_keras.py [FOLDER REDUCTION]`.

Needs tensorflow, tf_keras and tf2onnx. With FOLDER and 1, files of the published size (18 MB each).
"""

import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import keras as keras3
import network
import numpy as np
import tensorflow as tf
import tf2onnx
import tf_keras
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2
from tf_keras.src import backend

FOLDER = sys.argv[1] if len(sys.argv) > 1 else "."
REDUCTION = int(sys.argv[2]) if len(sys.argv) > 2 else network.REDUCTION
WIDTHS = network.channels(REDUCTION)
WEIGHTS = network.weights(REDUCTION)
MELS = network.mels()[..., np.newaxis]


def spectrogram(keras):
    """A layer with the weights that openl3's old files have for the spectrogram; hands its input
    on.
    """

    class Melspectrogram(keras.layers.Layer):
        def build(self, _):
            for name, shape in (
                ("real_kernels", (8, 1, 1, 5)),
                ("imag_kernels", (8, 1, 1, 5)),
                ("freq2mel", (5, 128)),
            ):
                self.add_weight(name=name, shape=shape, initializer="ones", trainable=False)

        def call(self, x):
            return x

    return Melspectrogram(name="melspectrogram_1")


def build(keras, named, fused=True):
    """openl3's audio model; `named` as openl3 0.3 names its layers, else as Keras does."""
    layers = keras.layers

    def name(kind, i):
        return {"name": f"{kind}_{i}"} if named else {}

    def norm(i):
        more = {} if fused else {"fused": False}
        return layers.BatchNormalization(**name("batch_normalization", i), **more)

    inputs = x = layers.Input((128, 199, 1), name="melspectrogram")
    if named:
        x = spectrogram(keras)(x)
    x = norm(1)(x)
    for i in range(1, 8):
        x = layers.Conv2D(WIDTHS[i], (3, 3), padding="same", **name("conv2d", i))(x)
        x = norm(i + 1)(x)
        x = layers.Activation("relu")(x)
        if i % 2 == 0:
            x = layers.MaxPooling2D((2, 2), strides=2)(x)
    last = {"name": "audio_embedding_layer"} if named else {}
    x = layers.Conv2D(WIDTHS[8], (3, 3), padding="same", **last)(x)
    x = layers.MaxPooling2D((16, 24), padding="same")(x)
    model = keras.Model(inputs, layers.Flatten(name="embeddings")(x))
    convolutions = [layer for layer in model.layers if isinstance(layer, layers.Conv2D)]
    norms = [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]
    for i, layer in enumerate(convolutions):
        layer_name = "audio_embedding_layer" if i == 7 else f"conv2d_{i + 1}"
        kernel = WEIGHTS[f"{layer_name}.weight"].transpose(2, 3, 1, 0)
        layer.set_weights([kernel, WEIGHTS[f"{layer_name}.bias"]])
    for i, layer in enumerate(norms):
        fields = ("weight", "bias", "running_mean", "running_var")
        layer.set_weights([WEIGHTS[f"batch_normalization_{i + 1}.{field}"] for field in fields])
    return model


def path(name):
    return os.path.join(FOLDER, name)


def save(name, embeddings):
    np.save(path(name), np.asarray(embeddings, dtype=np.float32))


def freeze(model):
    function = tf.function(lambda x: model(x, training=False)).get_concrete_function(
        tf.TensorSpec((None, 128, 199, 1), tf.float32, name="melspectrogram")
    )
    return convert_variables_to_constants_v2(function)


def main():
    named = build(tf_keras, True)
    named.save_weights(path("openl3_0_3.h5"))
    save("keras_expected.npy", named.predict(MELS, verbose=0))

    unnamed = build(tf_keras, False)
    unnamed.save(path("whole_model.h5"))
    frozen = freeze(unnamed)
    graph = frozen.graph.as_graph_def()
    with open(path("frozen.pb"), "wb") as file:
        file.write(graph.SerializeToString())
    save("frozen_expected.npy", frozen(tf.constant(MELS))[0])

    build(keras3, False).save_weights(path("keras3.weights.h5"))

    onnx, _ = tf2onnx.convert.from_graph_def(
        graph, input_names=[frozen.inputs[0].name], output_names=[frozen.outputs[0].name], opset=13
    )
    with open(path("tf2onnx.onnx"), "wb") as file:
        file.write(onnx.SerializeToString())

    # TensorFlow 1's way: batch norms as multiplications and additions, variables frozen in a
    # session.
    v1 = tf.compat.v1
    with v1.Graph().as_default(), v1.Session() as session:
        backend.set_session(session)
        backend.set_learning_phase(0)
        model = build(tf_keras, False, fused=False)
        output = model.output.op.name
        graph = v1.graph_util.convert_variables_to_constants(
            session, v1.graph_util.remove_training_nodes(session.graph.as_graph_def()), [output]
        )
        save("frozen_v1_expected.npy", session.run(model.output, {model.input: MELS}))
    with open(path("frozen_v1.pb"), "wb") as file:
        file.write(graph.SerializeToString())
    network.write_versions(
        path("versions_keras.json"),
        tensorflow=tf.__version__,
        tf_keras=tf_keras.__version__,
        keras=keras3.__version__,
        tf2onnx=tf2onnx.__version__,
    )


main()
