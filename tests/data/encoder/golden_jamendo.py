"""Writes jamendo.npy: golden_jamendo.py WEIGHTS, the state dictionary that
research/models/convert_jamendo.py takes.

[5, 250]: penultimate layer and tag logits of the original float32 weights, run in NumPy by
research/models/convert_jamendo.py (whose --golden holds it against the original program's answers),
for `formulas.spectrograms(5, 96, 187, 9)`. Made with NumPy 2.
"""

import pathlib
import sys

import numpy as np

here = pathlib.Path(__file__).resolve().parent
sys.path += [str(here), str(here.parents[2] / "scripts")]
import convert_jamendo
import formulas

tensors = convert_jamendo.convert(convert_jamendo.read(sys.argv[1]))
rows = [
    np.concatenate(convert_jamendo.forward(tensors, mel))
    for mel in formulas.spectrograms(5, 96, 187, 9.0)
]
np.save(here / "jamendo.npy", np.stack(rows).astype(np.float32))
