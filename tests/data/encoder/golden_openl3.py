#!/usr/bin/env python3
"""Writes openl3.npy: torchopenl3's network with seeded random weights on five spectrograms.

    pip install numpy librosa soundfile torch && pip install --no-deps torchopenl3==1.0.1
    python golden_openl3.py

Made with torchopenl3 1.0.1, PyTorch 2.15.0, NumPy 2.4.6, on a CPU in float64. No file of weights:
`formulas.py` and `Weights::random` make the same ones.
"""

import pathlib
import sys
import types

import formulas
import numpy as np
import torch

# torchopenl3 imports these for reading audio and for its exceptions; the network needs none of
# them.
for name in ("julius", "resampy", "six"):
    sys.modules.setdefault(name, types.ModuleType(name))
from torchopenl3.models import PytorchOpenl3  # noqa: E402

SEED = 7

network = PytorchOpenl3("music", "mel128", 512).eval()
network.speclayer = torch.nn.Identity()  # spectrograms come from the formula
shapes = {
    n: tuple(v.shape)
    for n, v in network.state_dict().items()
    if not n.endswith("num_batches_tracked")
}
tensors = formulas.weights(shapes, SEED)
network.load_state_dict({n: torch.from_numpy(v) for n, v in tensors.items()}, strict=False)
network.double()
mels = formulas.spectrograms(5, 128, 199, -80.0)
with torch.no_grad():
    # The network squeezes a last axis that the spectrogram layer makes.
    output = network(torch.from_numpy(mels).double().unsqueeze(-1)).reshape(5, 512)
np.save(pathlib.Path(__file__).with_name("openl3.npy"), output.numpy().astype(np.float32))
print(output.shape, float(output.min()), float(output.max()), float(output.std()))
