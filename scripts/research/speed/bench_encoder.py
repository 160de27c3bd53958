#!/usr/bin/env python3
"""OpenL3 mel128/512 on a CPU: voisin against ONNX Runtime and PyTorch, same weights, one
interleaved run.

    cargo build --release --bench encoder
    python scripts/research/speed/bench_encoder.py [--threads 2] [--rounds 5] [--batches 1,8,32] [--only onnx,int8]

Needs torch, onnx, onnxruntime, numpy and safetensors. Every round times each engine once at each
batch; figures are medians over rounds, ratios are medians of the rounds' own ratios (so that a slow
minute of the machine affects both sides).
"""

import argparse
import glob
import os
import statistics
import subprocess
import tempfile
import time

parser = argparse.ArgumentParser()
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--batches", default="1,8,32")
parser.add_argument("--seconds", type=float, default=0.5, help="of each measurement")
parser.add_argument("--only", default="onnx,int8,eager,channels_last,traced,compiled,bf16")
parser.add_argument(
    "--clock",
    choices=["wall", "cpu"],
    default="wall",
    help="cpu: CPU seconds of each process, for a machine that others use (take --threads 1)",
)
parser.add_argument(
    "--bench", help="the bench executable (default: the newest in target/release/deps)"
)
args = parser.parse_args()
os.environ["OMP_NUM_THREADS"] = str(args.threads)

import numpy as np
import onnxruntime
import torch
from safetensors.numpy import save_file
from torch import nn

torch.set_num_threads(args.threads)
torch.manual_seed(1)


class OpenL3(nn.Module):
    widths = [64, 64, 128, 128, 256, 256, 512, 512]

    def __init__(self):
        super().__init__()
        previous = 1
        self.batch_normalization_1 = nn.BatchNorm2d(1, eps=1e-3)
        for i, width in enumerate(self.widths):
            name = "audio_embedding_layer" if i == 7 else f"conv2d_{i + 1}"
            self.add_module(name, nn.Conv2d(previous, width, 3, padding=1))
            if i < 7:
                self.add_module(f"batch_normalization_{i + 2}", nn.BatchNorm2d(width, eps=1e-3))
            previous = width
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.uniform_(module.bias, -0.1, 0.1)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.7, 1.3)
                nn.init.uniform_(module.bias, -0.2, 0.2)
                nn.init.uniform_(module.running_mean, -0.2, 0.2)
                nn.init.uniform_(module.running_var, 0.7, 1.3)
        self.batch_normalization_1.running_mean.fill_(-40.0)
        self.batch_normalization_1.running_var.fill_(400.0)

    def forward(self, x):
        x = self.batch_normalization_1(x)
        for i in range(1, 8):
            x = getattr(self, f"conv2d_{i}")(x)
            x = torch.relu(getattr(self, f"batch_normalization_{i + 1}")(x))
            if i in (2, 4, 6):
                x = torch.max_pool2d(x, 2)
        x = self.audio_embedding_layer(x)
        return torch.max_pool2d(x, (16, 24)).flatten(1)


net = OpenL3().eval()
folder = tempfile.mkdtemp()
weights = os.path.join(folder, "weights.safetensors")
save_file({k: v.numpy() for k, v in net.state_dict().items() if not k.endswith("tracked")}, weights)
mels = (torch.rand(max(32, *map(int, args.batches.split(","))), 1, 128, 199) - 1) * 80

engines = {}
if "onnx" in args.only:
    path = os.path.join(folder, "net.onnx")
    torch.onnx.export(
        net,
        (mels[:1],),
        path,
        input_names=["x"],
        output_names=["y"],
        dynamic_axes={"x": {0: "n"}, "y": {0: "n"}},
        dynamo=False,
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = args.threads, 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    engines["onnx"] = lambda x: session.run(None, {"x": x.numpy()})[0]
if "int8" in args.only:
    from onnxruntime import quantization

    class Windows(quantization.CalibrationDataReader):
        left = iter([{"x": mels[i : i + 1].numpy()} for i in range(16)])

        def get_next(self):
            return next(self.left, None)

    prepared, small = os.path.join(folder, "prepared.onnx"), os.path.join(folder, "int8.onnx")
    quantization.quant_pre_process(path, prepared)
    quantization.quantize_static(
        prepared,
        small,
        Windows(),
        per_channel=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
    )
    quantised = onnxruntime.InferenceSession(small, options, providers=["CPUExecutionProvider"])
    engines["int8"] = lambda x: quantised.run(None, {"x": x.numpy()})[0]
if "eager" in args.only:
    engines["eager"] = lambda x: net(x).numpy()
if "channels_last" in args.only:
    last = OpenL3().eval()
    last.load_state_dict(net.state_dict())
    last = last.to(memory_format=torch.channels_last)
    engines["channels_last"] = lambda x: last(x.to(memory_format=torch.channels_last)).numpy()
if "traced" in args.only:
    traced = torch.jit.optimize_for_inference(torch.jit.trace(net, mels[:1]))
    engines["traced"] = lambda x: traced(x).numpy()
if "compiled" in args.only:
    import torch._inductor.config

    torch._inductor.config.freezing = True
    compiled = torch.compile(net)
    try:
        with torch.no_grad():
            for batch in {8, *map(int, args.batches.split(","))}:
                compiled(mels[:batch])
        engines["compiled"] = lambda x: compiled(x).numpy()
    except Exception as error:
        print("torch.compile does not work here:", str(error).splitlines()[0])
if "bf16" in args.only:
    half = OpenL3().eval()
    half.load_state_dict(net.state_dict())
    half = half.bfloat16().to(memory_format=torch.channels_last)
    engines["bf16"] = lambda x: (
        half(x.bfloat16().to(memory_format=torch.channels_last)).float().numpy()
    )

bench = args.bench or max(
    (
        p
        for p in glob.glob("target/release/deps/encoder-*")
        if os.access(p, os.X_OK) and "." not in os.path.basename(p)
    ),
    key=os.path.getmtime,
)
voisins = {"voisin f32": []}
serving = {}
for name, extra in voisins.items():
    process = subprocess.Popen(
        [bench, "--serve", "--weights", weights, "--threads", str(args.threads), *extra],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    ready = process.stdout.readline().split()
    if ready[:1] == ["ready"]:
        serving[name] = (process, ready[1])


def ask(name, line):
    process = serving[name][0]
    print(line, file=process.stdin, flush=True)
    return process.stdout.readline()


def cpu_seconds(pid="self"):
    total = 0
    for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
        total += int(open(path).read().split()[0])
    return total / 1e9


def seconds_of(name, x, batch, repeats):
    """Median wall seconds of a batch, or mean CPU seconds (one unmeasured batch comes first in
    both).
    """
    if name in serving:
        before = cpu_seconds(serving[name][0].pid)
        wall = float(ask(name, f"time {batch} {repeats}"))
        used = cpu_seconds(serving[name][0].pid) - before
        return wall if args.clock == "wall" else used / (repeats + 1)
    samples = []
    before = cpu_seconds()
    for _ in range(repeats + 1):
        start = time.perf_counter()
        engines[name](x)
        samples.append(time.perf_counter() - start)
    used = cpu_seconds() - before
    return statistics.median(samples[1:]) if args.clock == "wall" else used / (repeats + 1)


cpu = next(
    (line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")),
    "?",
)
print(
    f"{cpu}, {args.threads} threads; onnxruntime {onnxruntime.__version__}, torch {torch.__version__}, "
    f"voisin {', '.join(f'{n} ({isa})' for n, (_, isa) in serving.items())}"
)
with torch.no_grad():
    raw = os.path.join(folder, "mels.raw")
    mels[:8].numpy().astype("<f4").tofile(raw)
    reference = net.double()(mels[:8].double()).numpy()
    net.float()
    found = {name: run(mels[:8]) for name, run in engines.items()}
    found |= {
        name: np.array(ask(name, f"embed {raw} 8").split(), np.float64).reshape(8, -1)
        for name in serving
    }
    print("against PyTorch in f64: largest error / largest value; cosine of the mean vectors")
    for name, y in found.items():
        a, b = y.mean(0), reference.mean(0)
        print(
            f"  {name:14} {np.abs(y - reference).max() / np.abs(reference).max():.1e}   "
            f"{a @ b / np.linalg.norm(a) / np.linalg.norm(b):.7f}"
        )
    names = [*serving, *engines]
    for batch in map(int, args.batches.split(",")):
        x = mels[:batch]
        guess = {name: batch / 60 for name in names}
        rates = {name: [] for name in names}
        for _ in range(args.rounds):
            for name in names:
                repeats = max(1, int(args.seconds / guess[name]))
                seconds = seconds_of(name, x, batch, repeats)
                guess[name] = seconds
                rates[name].append(batch / seconds)
        unit = "windows/s" if args.clock == "wall" else "windows per CPU second"
        print(f"batch {batch}: {unit}, and ratio to onnx")
        for name in names:
            ratio = ""
            if "onnx" in rates:
                ratio = f"{statistics.median(a / b for a, b in zip(rates[name], rates['onnx'], strict=False)):.2f} ×"
            print(f"  {name:14} {statistics.median(rates[name]):8.1f}   {ratio}", flush=True)
for process, _ in serving.values():
    process.stdin.close()
    process.wait()
