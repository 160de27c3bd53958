"""Numbers that this folder's generators and `tests/parts/encoder.rs` make in exactly the same way.

`uniform` is SplitMix64 started at FNV-1a of a name plus a seed; see `Weights::random` in
src/encoder/weights.rs.
"""

import numpy as np

MASK = (1 << 64) - 1


def uniform(name, seed, count):
    """`count` float64 in [0, 1)."""
    start = 0xCBF29CE484222325
    for byte in name.encode():
        start = ((start ^ byte) * 0x0100000001B3) & MASK
    with np.errstate(over="ignore"):
        z = np.uint64((start + seed) & MASK) + np.uint64(0x9E3779B97F4A7C15) * np.arange(
            1, count + 1, dtype=np.uint64
        )
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return (z >> np.uint64(40)).astype(np.float64) / float(1 << 24)


def weights(shapes, seed):
    """{name: float32 array} for {name: shape}, as `Weights::random`."""
    tensors = {}
    for name, shape in shapes.items():
        field = name.rpartition(".")[2]
        count = int(np.prod(shape))
        if field == "running_var":
            low, high = 0.5, 1.5
        elif field == "running_mean":
            low, high = -0.2, 0.2
        elif field == "weight" and len(shape) == 1:
            low, high = 0.75, 1.25
        elif field == "weight":
            high = float(np.sqrt(6.0 / (count // shape[0])))
            low = -high
        else:
            low, high = -0.1, 0.1
        tensors[name] = (
            (low + (high - low) * uniform(name, seed, count)).astype(np.float32).reshape(shape)
        )
    return tensors


def spectrograms(n, bands, frames, scale):
    """[n, bands, frames] float32: scale · cell · band · frame, each uniform; the last window is
    constant.
    """
    cell = uniform("cell", 0, n * bands * frames).reshape(n, bands, frames)
    band = uniform("band", 0, n * bands).reshape(n, bands, 1)
    frame = uniform("frame", 0, n * frames).reshape(n, 1, frames)
    x = scale * cell * band * frame
    x[-1] = scale * 0.25
    return x.astype(np.float32)
