#!/usr/bin/env python3
"""A training step of `baseline-cnn` by voisin beside PyTorch: scripts/bench_classifier.py [--batch 8] [--steps 30] [--rounds 5]

Both take the same shape (batch x 1 x 128 x 1288), dropout as the recipe has it, cross-entropy and Adam, on as many threads.
Counted is processor time (user and system), which other work on the machine disturbs least: of voisin by runs of few and of
more steps, whose difference leaves out the start. Rounds alternate; told are all, and the median of the ratios. Needs cargo
and PyTorch.
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
        subprocess.run(["target/release/examples/classifier_speed", recipe, str(batch), str(count)], check=True,
                       stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    return (spent(1 + steps) - spent(1)) / steps


class Torch:
    def __init__(self, batch):
        layers, channels = [], 1
        for out in (16, 32, 64, 128):
            layers += [nn.Conv2d(channels, out, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.1)]
            channels = out
        self.net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(128 * 8 * 80, 8)).train()
        self.x, self.truth = torch.randn(batch, 1, 128, 1288), torch.arange(batch) % 8
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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    subprocess.run(["cargo", "build", "--quiet", "--release", "--example", "classifier_speed"], check=True)
    rival = Torch(args.batch)
    print(f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads, batches of {args.batch}")
    ratios = []
    for _ in range(args.rounds):
        ours, theirs = voisin("baseline-cnn", args.batch, args.steps), rival.seconds(args.steps)
        ratios.append(theirs / ours)
        print(f"processor seconds a track: voisin {ours / args.batch:.3f}, PyTorch {theirs / args.batch:.3f}, ratio {ratios[-1]:.2f}")
    print(f"voisin is {statistics.median(ratios):.2f} x as fast (median)")


if __name__ == "__main__":
    main()
