#!/usr/bin/env python3
"""Small networks in ONNX with seeded weights, and onnxruntime's answers: tests/data/onnx/make.py

NAME.onnx takes what NAME.in holds and gives NAME.out (f32, or i64 for tokens; little-endian):

- convolutions: as EfficientNet has them (depthwise, squeeze and excitation, hard swish), batch and time open
- attention: convolutions of samples, a group norm, a transformer's block, as wav2vec 2.0 has them
- quantised: DynamicQuantizeLinear, MatMulInteger, QuantizeLinear, DequantizeLinear, int8 weights
- recurrent: a bidirectional GRU and an LSTM over frames
- text: embeddings of tokens, their mean where the mask is 1, a projection
- beside: `convolutions` of one layer with its weights in beside.data

Needs numpy, onnx 1.23 and onnxruntime 1.32.
"""

import pathlib

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

HERE = pathlib.Path(__file__).parent
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


class Graph:
    def __init__(self, seed):
        self.random = np.random.default_rng(seed)
        self.nodes, self.tensors = [], []

    def weight(self, *shape):
        size = np.prod(shape[1:]) if len(shape) > 1 else shape[0]
        return (self.random.standard_normal(shape) / np.sqrt(size)).astype(np.float32)

    def add(self, op, *inputs, output=None, outputs=1, **attributes):
        names = []
        for value in inputs:
            if not isinstance(value, str):
                value = np.asarray(value)
                if value.dtype == np.float64:
                    value = value.astype(np.float32)
                name = f"w{len(self.tensors)}"
                self.tensors.append(numpy_helper.from_array(value, name))
                value = name
            names.append(value)
        made = [output or f"v{len(self.nodes)}"]
        made += [f"v{len(self.nodes)}_{i}" for i in range(1, outputs)]
        self.nodes.append(helper.make_node(op, names, made, **attributes))
        return made[0] if outputs == 1 else made

    def save(self, name, inputs, fed, shape):
        infos = [helper.make_tensor_value_info(n, kind, s) for n, kind, s in inputs]
        out = helper.make_tensor_value_info("embedding", FLOAT, shape)
        graph = helper.make_graph(self.nodes, name, infos, [out], self.tensors)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(model)
        session = onnxruntime.InferenceSession(model.SerializeToString())
        (answer,) = session.run(None, dict(zip((i[0] for i in inputs), fed, strict=True)))
        onnx.save(model, HERE / f"{name}.onnx")
        (HERE / f"{name}.in").write_bytes(b"".join(f.tobytes() for f in fed))
        (HERE / f"{name}.out").write_bytes(answer.astype("<f4").tobytes())
        print(name, answer.shape, (HERE / f"{name}.onnx").stat().st_size, "bytes")
        return model

    def convolution(self, x, channels, out, size, act, stride=1, depthwise=False):
        weight = self.weight(out, 1 if depthwise else channels, size, size)
        x = self.add(
            "Conv",
            x,
            weight,
            self.weight(out),
            kernel_shape=[size, size],
            strides=[stride, stride],
            pads=[size // 2] * 4,
            group=out if depthwise else 1,
        )
        return self.add(act, x) if act else x


def convolutions():
    g = Graph(1)
    x = g.convolution("mel", 1, 8, 3, "HardSwish", stride=2)
    gamma, beta, mean, variance = (np.abs(g.weight(8)) + 0.1 for _ in range(4))
    x = g.add("BatchNormalization", x, gamma, beta, mean, variance, epsilon=1e-3)
    inner = g.convolution(x, 8, 24, 1, "Relu")
    inner = g.convolution(inner, 24, 24, 5, "HardSwish", depthwise=True)
    gate = g.add("GlobalAveragePool", inner)
    gate = g.convolution(gate, 24, 8, 1, "Relu")
    gate = g.add("HardSigmoid", g.convolution(gate, 8, 24, 1, None), alpha=1 / 6)
    inner = g.add("Mul", inner, gate)
    x = g.add("Add", x, g.convolution(inner, 24, 8, 1, None))
    x = g.convolution(x, 8, 16, 3, "Sigmoid", stride=2)
    x = g.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = g.add("Flatten", g.add("GlobalAveragePool", x))
    g.add("Gemm", x, g.weight(20, 16), g.weight(20), transB=1, output="embedding")
    mel = g.random.standard_normal((1, 1, 64, 96)).astype(np.float32)
    g.save("convolutions", [("mel", FLOAT, ["batch", 1, 64, "time"])], [mel], ["batch", 20])


def attention():
    g = Graph(2)
    wide, heads = 32, 4
    x = g.add("Unsqueeze", "samples", np.array([1]))
    for channels, size, stride in ((1, 10, 5), (wide, 3, 2), (wide, 3, 2), (wide, 2, 2)):
        weight = g.weight(wide, channels, size)
        x = g.add("Conv", x, weight, kernel_shape=[size], strides=[stride])
        if channels == 1:
            shape = g.add("Shape", x)
            x = g.add("Reshape", x, np.array([0, 8, -1]))
            x = g.add("InstanceNormalization", x, np.ones(8), np.zeros(8))
            x = g.add("Reshape", x, shape)
        x = g.add("Mul", x, g.add("Sigmoid", x))
    x = g.add("Transpose", x, perm=[0, 2, 1])
    normed = g.add("LayerNormalization", x, g.weight(wide) + 1, g.weight(wide), axis=-1)
    split = []
    for perm in ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]):
        part = g.add("Add", g.add("MatMul", normed, g.weight(wide, wide)), g.weight(wide))
        part = g.add("Reshape", part, np.array([0, 0, heads, wide // heads]))
        split.append(g.add("Transpose", part, perm=perm))
    scores = g.add("Mul", g.add("MatMul", split[0], split[1]), np.float32((wide / heads) ** -0.5))
    mixed = g.add("MatMul", g.add("Softmax", scores, axis=-1), split[2])
    mixed = g.add("Reshape", g.add("Transpose", mixed, perm=[0, 2, 1, 3]), np.array([0, 0, wide]))
    x = g.add("Add", x, g.add("MatMul", mixed, g.weight(wide, wide)))
    hidden = g.add("MatMul", x, g.weight(wide, 2 * wide))
    gelu = g.add("Erf", g.add("Mul", hidden, np.float32(2**-0.5)))
    hidden = g.add("Mul", g.add("Mul", hidden, np.float32(0.5)), g.add("Add", gelu, np.float32(1)))
    x = g.add("Add", x, g.add("MatMul", hidden, g.weight(2 * wide, wide)))
    g.add("Identity", x, output="embedding")
    samples = g.random.standard_normal((1, 4000)).astype(np.float32)
    g.save("attention", [("samples", FLOAT, ["batch", "time"])], [samples], ["b", "t", wide])


def quantised():
    g = Graph(3)
    x = g.add("ReduceMean", "mel", axes=[2], keepdims=0)
    for wide, out in ((64, 48), (48, 24)):
        values, scale, zero = g.add("DynamicQuantizeLinear", x, outputs=3)
        weight = g.random.integers(-127, 128, (wide, out)).astype(np.int8)
        x = g.add("MatMulInteger", values, weight, zero, np.int8(0))
        x = g.add("Mul", g.add("Cast", x, to=FLOAT), g.add("Mul", scale, np.float32(0.002)))
        x = g.add("Relu", g.add("Add", x, g.weight(out)))
    step, zero = np.float32(0.02), np.uint8(3)
    x = g.add("DequantizeLinear", g.add("QuantizeLinear", x, step, zero), step, zero)
    weight = g.random.integers(-127, 128, (24, 16)).astype(np.int8)
    weight = g.add("DequantizeLinear", weight, np.float32(0.01), np.int8(0))
    g.add("MatMul", x, weight, output="embedding")
    mel = g.random.standard_normal((1, 64, 50)).astype(np.float32)
    g.save("quantised", [("mel", FLOAT, ["batch", 64, "time"])], [mel], ["batch", 16])


def recurrent():
    g = Graph(4)
    x = g.add("Transpose", "mel", perm=[1, 0, 2])
    x = g.add(
        "GRU",
        x,
        g.weight(2, 36, 32),
        g.weight(2, 36, 12),
        g.weight(2, 72),
        hidden_size=12,
        direction="bidirectional",
        linear_before_reset=1,
    )
    x = g.add("Reshape", g.add("Transpose", x, perm=[0, 2, 1, 3]), np.array([0, 0, 24]))
    x = g.add("LSTM", x, g.weight(1, 64, 24), g.weight(1, 64, 16), g.weight(1, 128), hidden_size=16)
    x = g.add("Squeeze", x, np.array([1]))
    g.add("Transpose", x, perm=[1, 0, 2], output="embedding")
    mel = g.random.standard_normal((1, 40, 32)).astype(np.float32)
    g.save("recurrent", [("mel", FLOAT, [1, 40, 32])], [mel], [1, 40, 16])


def text():
    g = Graph(5)
    x = g.add("Gather", g.weight(400, 24) * 5, "input_ids")
    mask = g.add("Unsqueeze", g.add("Cast", "attention_mask", to=FLOAT), np.array([-1]))
    total = g.add("ReduceSum", g.add("Mul", x, mask), np.array([1]), keepdims=0)
    count = g.add("ReduceSum", mask, np.array([1]), keepdims=0)
    x = g.add("Tanh", g.add("Div", total, count))
    g.add("MatMul", x, g.weight(24, 20), output="embedding")
    ids = np.zeros((1, 9), np.int64)
    ids[0, :5] = g.random.integers(4, 400, 5)
    mask = (np.arange(9) < 5).astype(np.int64)[None]
    shape = ["batch", "tokens"]
    inputs = [("input_ids", INT64, shape), ("attention_mask", INT64, shape)]
    g.save("text", inputs, [ids, mask], ["batch", 20])


def beside():
    g = Graph(6)
    x = g.convolution("mel", 1, 20, 3, "Relu", stride=4)
    g.add("Flatten", g.add("GlobalAveragePool", x), output="embedding")
    mel = g.random.standard_normal((1, 1, 64, 96)).astype(np.float32)
    model = g.save("beside", [("mel", FLOAT, [1, 1, 64, 96])], [mel], [1, 20])
    (HERE / "beside.data").unlink(missing_ok=True)
    onnx.save(
        model,
        HERE / "beside.onnx",
        save_as_external_data=True,
        location="beside.data",
        size_threshold=0,
    )


for make in (convolutions, attention, quantised, recurrent, text, beside):
    make()
