#!/usr/bin/env python3
"""EfficientAT's MobileNetV3 of width 0.4 as an ONNX file, from the state dictionary of PyTorch:

    research/models/export_onnx.py WEIGHTS OUT.onnx [--golden FILE] [--dynamic]

The input is `mel` [batch, 1, 128, 1000] (128 Kaldi bands, `--front-end efficientat`), the outputs
`embedding` [batch, 384], what the classifier begins with, and `tags` [batch, 527]. `--dynamic`
leaves batch and time open. With --golden, an .npz of the original program's answers (`audio_32k`,
`mn04.pen`, `mn04.tags`), the file must agree with them in onnxruntime first.

Needs numpy, onnx and onnxruntime.
"""

import argparse
import pathlib

import numpy as np
import onnx
import onnxruntime
import teacher_vectors
from onnx import TensorProto, helper, numpy_helper


class Graph:
    def __init__(self, state):
        self.state, self.nodes, self.tensors = state, [], []

    def add(self, op, *inputs, output=None, **attributes):
        names = []
        for value in inputs:
            if not isinstance(value, str):
                value = np.asarray(value)
                name = f"w{len(self.tensors)}"
                kind = np.int64 if value.dtype.kind == "i" else np.float32
                self.tensors.append(numpy_helper.from_array(value.astype(kind), name))
                value = name
            names.append(value)
        output = output or f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, names, [output], **attributes))
        return output

    def layer(self, x, name, act, stride=1, depthwise=False):
        weight, gamma, beta, mean, variance = (
            self.state[f"{name}.{f}"]
            for f in ("0.weight", "1.weight", "1.bias", "1.running_mean", "1.running_var")
        )
        scale = gamma / np.sqrt(variance + 1e-3)
        size = weight.shape[2]
        x = self.add(
            "Conv",
            x,
            weight * scale[:, None, None, None],
            beta - mean * scale,
            kernel_shape=[size, size],
            strides=[stride, stride],
            pads=[size // 2] * 4,
            group=len(weight) if depthwise else 1,
        )
        return self.add(act, x) if act else x


def graph_of(state, frames):
    graph = Graph(state)
    network = teacher_vectors.Mn04(state)
    x = graph.layer("mel", "features.0", "HardSwish", stride=2)
    channels = len(state["features.0.0.weight"])
    for i in range(1, 16):
        act, before, width = ("Relu" if i in network.plain else "HardSwish"), x, channels

        def name(j, i=i):
            return f"features.{i}.block.{j}"

        j = 0
        if f"{name(2)}.0.weight" in state or f"{name(3)}.0.weight" in state:
            x = graph.layer(x, name(0), act)
            j = 1
        stride = 2 if i in network.strides else 1
        x = graph.layer(x, name(j), act, stride=stride, depthwise=True)
        j += 1
        squeeze = f"{name(j)}.conc_se_layers.0"
        if f"{squeeze}.fc1.weight" in state:
            w1, b1, w2, b2 = (
                state[f"{squeeze}.{f}"]
                for f in ("fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias")
            )
            mean = graph.add("Flatten", graph.add("GlobalAveragePool", x))
            hidden = graph.add("Relu", graph.add("Gemm", mean, w1, b1, transB=1))
            gate = graph.add("Sigmoid", graph.add("Gemm", hidden, w2, b2, transB=1))
            gate = graph.add("Reshape", gate, np.array([0, len(b2), 1, 1]))
            x = graph.add("Mul", x, gate)
            j += 1
        x = graph.layer(x, name(j), None)
        channels = len(state[f"{name(j)}.0.weight"])
        if stride == 1 and channels == width:
            x = graph.add("Add", x, before)
    x = graph.layer(x, "features.16", "HardSwish")
    x = graph.add("Flatten", graph.add("GlobalAveragePool", x), output="embedding")
    for out, act in (("classifier.2", "HardSwish"), ("classifier.5", None)):
        weight, bias = state[f"{out}.weight"], state[f"{out}.bias"]
        x = graph.add("Gemm", x, weight, bias, transB=1, output=None if act else "tags")
        x = graph.add(act, x) if act else x
    batch = "batch" if frames == "time" else 1
    outputs = [("embedding", len(state["classifier.2.weight"][0])), ("tags", 527)]
    made = helper.make_graph(
        graph.nodes,
        "mn04",
        [helper.make_tensor_value_info("mel", TensorProto.FLOAT, [batch, 1, 128, frames])],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, [batch, w]) for n, w in outputs],
        graph.tensors,
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def mel(network, samples):
    emphasised = samples[1:] - 0.97 * samples[:-1]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(800) / 799)
    bands = network.banks @ teacher_vectors.spectrum(emphasised, window, 1024, 320)
    return ((np.log(bands + 1e-5) + 4.5) / 5).astype(np.float32)[None, None]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("weights", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--golden", type=pathlib.Path)
    parser.add_argument("--dynamic", action="store_true")
    options = parser.parse_args()
    state = teacher_vectors.read(options.weights)
    model = graph_of(state, "time" if options.dynamic else 1000)
    onnx.checker.check_model(model)
    if options.golden:
        golden = np.load(options.golden)
        samples = golden["audio_32k"].astype(np.float64) / 32768
        session = onnxruntime.InferenceSession(model.SerializeToString())
        found = session.run(
            ["embedding", "tags"], {"mel": mel(teacher_vectors.Mn04(state), samples)}
        )
        for name, key, answer in zip(("embedding", "tags"), ("pen", "tags"), found, strict=True):
            truth = golden[f"mn04.{key}"]
            error = np.abs(answer.reshape(-1) - truth).max() / np.abs(truth).max()
            print(f"{name}: {error:.2g} of the largest value from the original program")
            if error > 1e-3:
                raise SystemExit("the file does not agree with the original program")
    onnx.save(model, options.out)
    print(f"{options.out}: {options.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
