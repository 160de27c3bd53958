#!/usr/bin/env python3
"""A training step of voisin against PyTorch: research/speed/bench_classifier.py [--recipe R]
[--batch 8] [--steps 30] [--rounds 5]

Recipes: baseline-cnn, cnn-lstm-mfcc, cnn-lstm-time, or an LSTM alone: "frames, lstm 128 last,
linear classes". Both take the same shape, dropout as the recipe has it, cross-entropy and Adam, on
as many threads. Measured is CPU time (user and system), which other work on the machine affects
least: of voisin by runs of few and of more steps, whose difference excludes the start. Rounds
alternate; all are printed, with the median of the ratios. Needs cargo and PyTorch.
"""

import argparse
import resource
import statistics
import subprocess
import time

import torch
from torch import nn


def voisin(recipe, batch, steps):
    """Processor seconds of a step."""

    def spent(count):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            ["target/release/examples/classifier_speed", recipe, str(batch), str(count)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    return (spent(1 + steps) - spent(1)) / steps


class Recurrent(nn.Module):
    """An LSTM's state after the last step of a signal [n, channels, steps]."""

    def __init__(self, channels, units):
        super().__init__()
        self.lstm = nn.LSTM(channels, units, batch_first=True)

    def forward(self, x):
        return self.lstm(x.transpose(1, 2))[0][:, -1]


def baseline_cnn():
    layers, channels = [], 1
    for out in (16, 32, 64, 128):
        layers += [
            nn.Conv2d(channels, out, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Dropout(0.1),
        ]
        channels = out
    return [*layers, nn.Flatten(), nn.Linear(128 * 8 * 80, 8)], (1, 128, 1288)


def cnn_lstm_mfcc():
    return [
        nn.Conv1d(1, 16, 2),
        nn.ReLU(),
        nn.MaxPool1d(2),
        nn.Dropout(0.2),
        Recurrent(16, 64),
        nn.Linear(64, 8),
    ], (1, 40)


def cnn_lstm_time():
    layers, channels = [], 128
    for out in (64, 128):
        layers += [
            nn.Conv1d(channels, out, 5, padding=2),
            nn.BatchNorm1d(out),
            nn.ReLU(),
            nn.MaxPool1d(4),
            nn.Dropout(0.2),
        ]
        channels = out
    return [*layers, Recurrent(128, 128), nn.Dropout(0.3), nn.Linear(128, 8)], (128, 1288)


def lstm():
    return [Recurrent(128, 128), nn.Linear(128, 8)], (128, 80)


LSTM = "frames, lstm 128 last, linear classes"
RECIPES = {
    "baseline-cnn": baseline_cnn,
    LSTM: lstm,
    "cnn-lstm-mfcc": cnn_lstm_mfcc,
    "cnn-lstm-time": cnn_lstm_time,
}


class Torch:
    def __init__(self, recipe, batch):
        layers, shape = RECIPES[recipe]()
        self.net = nn.Sequential(*layers).train()
        self.x, self.truth = torch.randn(batch, *shape), torch.arange(batch) % 8
        self.adam = torch.optim.Adam(self.net.parameters(), lr=1e-3)
        self.step()

    def step(self):
        loss = nn.functional.cross_entropy(self.net(self.x), self.truth)
        self.adam.zero_grad()
        loss.backward()
        self.adam.step()

    def seconds(self, steps):
        start = time.process_time()
        for _ in range(steps):
            self.step()
        return (time.process_time() - start) / steps


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipe", choices=RECIPES, default="baseline-cnn")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    subprocess.run(
        ["cargo", "build", "--quiet", "--release", "--example", "classifier_speed"], check=True
    )
    rival = Torch(args.recipe, args.batch)
    print(
        f"{args.recipe}, PyTorch {torch.__version__}, {torch.get_num_threads()} threads, batches of {args.batch}"
    )
    ratios = []
    for _ in range(args.rounds):
        ours, theirs = voisin(args.recipe, args.batch, args.steps), rival.seconds(args.steps)
        ratios.append(theirs / ours)
        print(
            f"processor seconds a track: voisin {ours / args.batch:.5f}, PyTorch {theirs / args.batch:.5f}, ratio {ratios[-1]:.2f}"
        )
    print(f"voisin is {statistics.median(ratios):.2f} x as fast (median)")


if __name__ == "__main__":
    main()
