#!/usr/bin/env python3
"""Writes tests/data/lab/twin.json: what the laboratory's networks of layers give in PyTorch, in
double precision.

    python3 -m venv twin && twin/bin/pip install torch && twin/bin/python tests/data/lab/twin.py

Weights and inputs come from formulas that tests/program/lab/twin.rs repeats, so that the file stays
small. Of each network, without dropout: outputs in training and in the end, gradients of the
cross-entropy (64 places of each tensor, and the largest), and the loss of ten steps of Adam on two
batches by turns, of the LSTM along coefficients of a hundred; of one network also the outputs at
its full size.
"""

import json
import math
import pathlib

import torch
from torch import nn

torch.set_default_dtype(torch.float64)

CNN = []
for channels in (16, 32, 64, 128):
    CNN += [f"conv {channels} 3x3 same", "relu", "pool 2x2"]
CNN += ["flatten", "linear classes"]
CNN_BN = [
    part
    for layer in CNN
    for part in ([layer, "batch-norm"] if layer.startswith("conv ") else [layer])
]
MFCC = [
    "sequence",
    "conv1 16 2 valid",
    "relu",
    "pool1 2",
    "lstm 64 last one-bias",
    "linear classes",
]
TIME = ["frames", "conv1 64 5 same", "batch-norm", "relu", "pool1 4"]
TIME += ["conv1 128 5 same", "batch-norm", "relu", "pool1 4", "lstm 128 last", "linear classes"]

NETWORKS = [
    ("baseline-cnn", CNN, [1, 128, 67], 8),
    ("baseline-cnn-bn", CNN_BN, [1, 128, 67], 8),
    ("cnn-lstm-mfcc", MFCC, [40], 10),
    ("cnn-lstm-time", TIME, [1, 128, 67], 8),
]
FULL = ("baseline-cnn", CNN, [1, 128, 1288], 8)
BATCH = 4


def wave(count, number):
    """Numbers within ±1 that all differ; `number` distinguishes tensors."""
    i = torch.arange(count)
    return torch.sin(0.7 * i + 0.9 * number + 3.0 * torch.sin(0.011 * i + number))


class Lstm(nn.Module):
    """Gates i, f, g, o with one bias or two."""

    def __init__(self, inputs, units, every, one_bias):
        super().__init__()
        self.net = nn.LSTM(inputs, units, batch_first=True)
        self.every, self.one_bias = every, one_bias

    def forward(self, x):
        out, _ = self.net(x.transpose(1, 2))
        return out.transpose(1, 2) if self.every else out[:, -1]


class Shape(nn.Module):
    def __init__(self, change):
        super().__init__()
        self.change = change

    def forward(self, x):
        return self.change(x)


def build(layers, shape, classes):
    """The network, and its tensors in the order of the list."""
    parts, tensors = [], []
    x = torch.zeros(1, *shape)
    for layer in layers:
        kind, *rest = layer.split()
        named = ["weight", "bias"]
        if kind == "conv":
            rows, columns = map(int, rest[1].split("x"))
            part = nn.Conv2d(
                x.shape[1], int(rest[0]), (rows, columns), padding="same" if "same" in rest else 0
            )
        elif kind == "conv1":
            part = nn.Conv1d(
                x.shape[1], int(rest[0]), int(rest[1]), padding="same" if "same" in rest else 0
            )
        elif kind == "batch-norm":
            part = (nn.BatchNorm2d if x.dim() == 4 else nn.BatchNorm1d)(x.shape[1])
            named += ["running_mean", "running_var"]
        elif kind in ("relu", "elu"):
            part, named = nn.ReLU() if kind == "relu" else nn.ELU(), []
        elif kind == "pool":
            part, named = nn.MaxPool2d(tuple(map(int, rest[0].split("x")))), []
        elif kind == "pool1":
            part, named = nn.MaxPool1d(int(rest[0])), []
        elif kind == "lstm":
            part = Lstm(x.shape[1], int(rest[0]), "all" in rest, "one-bias" in rest)
            named = ["net.weight_ih_l0", "net.weight_hh_l0", "net.bias_ih_l0", "net.bias_hh_l0"]
            if part.one_bias:
                part.net.bias_hh_l0.data.zero_()
                part.net.bias_hh_l0.requires_grad_(False)
                named.pop()
        elif kind == "frames":
            part, named = Shape(lambda x: x.reshape(x.shape[0], -1, x.shape[3])), []
        elif kind == "sequence":
            part, named = Shape(lambda x: x.unsqueeze(1)), []
        elif kind == "flatten":
            part, named = nn.Flatten(), []
        elif kind == "linear":
            part = nn.Linear(x.shape[1], classes if rest[0] == "classes" else int(rest[0]))
        else:
            raise ValueError(layer)
        parts.append(part)
        x = part.eval()(x)
        known = dict(part.named_parameters()) | dict(part.named_buffers())
        tensors += [(name, known[name]) for name in named]
    net = nn.Sequential(*parts)
    for number, (name, tensor) in enumerate(tensors):
        values = wave(tensor.numel(), number).reshape(tensor.shape)
        if name == "running_var":
            values = 1.0 + 0.3 * values
        elif name == "weight" and tensor.dim() == 1:
            values = 1.0 + 0.2 * values
        elif tensor.dim() > 1:
            values = values / math.sqrt(tensor[0].numel())
        else:
            values = 0.1 * values
        tensor.data.copy_(values)
    return net, tensors


def examples(shape, number):
    count = math.prod(shape)
    return wave(BATCH * count, 100 + number).reshape(BATCH, *shape) * 1.5


def figures(name, layers, shape, classes):
    net, tensors = build(layers, shape, classes)
    truth = torch.arange(BATCH) * 3 % classes
    found = {"name": name, "layers": layers, "input": shape, "classes": classes}
    found["judged"] = net.eval()(examples(shape, 0)).flatten().tolist()
    out = net.train()(examples(shape, 0))
    found["outputs"] = out.flatten().tolist()
    nn.functional.cross_entropy(out, truth).backward()
    found["gradients"] = []
    for _, tensor in tensors:
        if tensor.grad is None:
            continue
        flat = tensor.grad.flatten()
        places = [at * len(flat) // 64 for at in range(64)] if len(flat) > 64 else range(len(flat))
        found["gradients"].append(
            {"largest": flat.abs().max().item(), "values": [flat[at].item() for at in places]}
        )
    net, _ = build(layers, shape, classes)
    adam = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=1e-3)
    found["losses"] = []
    for step in range(100 if name == "cnn-lstm-mfcc" else 10):
        loss = nn.functional.cross_entropy(net.train()(examples(shape, step % 2)), truth)
        adam.zero_grad()
        loss.backward()
        adam.step()
        found["losses"].append(loss.item())
    return found


def rounded(value):
    if isinstance(value, float):
        return float(f"{value:.9g}")
    if isinstance(value, list):
        return [rounded(one) for one in value]
    return {key: rounded(one) for key, one in value.items()} if isinstance(value, dict) else value


def main():
    networks = [figures(*network) for network in NETWORKS]
    name, layers, shape, classes = FULL
    net, _ = build(layers, shape, classes)
    full = {"name": name, "layers": layers, "input": shape, "classes": classes}
    full["judged"] = net.eval()(examples(shape, 0)).flatten().tolist()
    path = pathlib.Path(__file__).with_name("twin.json")
    path.write_text(
        json.dumps(rounded({"torch": torch.__version__, "networks": networks, "full": full})) + "\n"
    )


if __name__ == "__main__":
    main()
