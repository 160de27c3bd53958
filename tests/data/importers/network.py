"""Seeded weights with batch norm statistics that are not trivial."""

import json
import platform

import numpy as np

CHANNELS = [1, 64, 64, 128, 128, 256, 256, 512, 512]
SEED = 20
#: Everything is divided by this in the committed files; 1 for the published size.
REDUCTION = 16


def channels(reduction):
    return [1] + [c // reduction for c in CHANNELS[1:]]


def weights(reduction):
    """Tensors under torchopenl3's names, kernels [out, in, height, width]."""
    random = np.random.RandomState(SEED)
    widths = channels(reduction)
    tensors = {}
    for i in range(8):
        fan_in, out = widths[i], widths[i + 1]
        norm = f"batch_normalization_{i + 1}"
        tensors[f"{norm}.weight"] = random.uniform(0.5, 1.5, fan_in)
        tensors[f"{norm}.bias"] = random.normal(0, 0.2, fan_in)
        # The input is in dB: -80 to 0.
        tensors[f"{norm}.running_mean"] = random.normal(0, 0.5, fan_in) - (40 if i == 0 else 0)
        tensors[f"{norm}.running_var"] = random.uniform(0.5, 2, fan_in) * (400 if i == 0 else 1)
        name = "audio_embedding_layer" if i == 7 else f"conv2d_{i + 1}"
        tensors[f"{name}.weight"] = random.normal(0, np.sqrt(2 / (9 * fan_in)), (out, fan_in, 3, 3))
        tensors[f"{name}.bias"] = random.normal(0, 0.1, out)
    return {name: values.astype(np.float32) for name, values in tensors.items()}


def write_versions(path, **versions):
    with open(path, "w") as file:
        json.dump(
            {"python": platform.python_version(), "numpy": np.__version__, **versions},
            file,
            indent=1,
        )
        file.write("\n")
