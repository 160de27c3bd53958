"""torchopenl3's files of the network: `python generate_torch.py [FOLDER REDUCTION]`.

Needs torch, torchopenl3 and safetensors. With FOLDER and 1, files of the published size.
"""

import os
import sys
import types

import network
import safetensors.torch
import torch

# Only the module is needed, not the audio reading around it.
sys.modules["torchopenl3.core"] = types.ModuleType("torchopenl3.core")
package = types.ModuleType("torchopenl3")
package.__path__ = [
    os.path.join(p, "torchopenl3")
    for p in sys.path
    if os.path.isdir(os.path.join(p, "torchopenl3"))
]
package.core = sys.modules["torchopenl3.core"]
sys.modules["torchopenl3"] = package
from torchopenl3.models import PytorchOpenl3

FOLDER = sys.argv[1] if len(sys.argv) > 1 else "."
REDUCTION = int(sys.argv[2]) if len(sys.argv) > 2 else network.REDUCTION
WIDTHS = network.channels(REDUCTION)


def path(name):
    return os.path.join(FOLDER, name)


class Spectrogram(torch.nn.Module):
    """Hands spectrograms on, with buffers of the names that the real layer has."""

    def __init__(self):
        super().__init__()
        self.register_buffer("dft_real_kernels", torch.ones(5, 1, 8))
        self.register_buffer("dft_imag_kernels", torch.ones(5, 1, 8))
        self.register_buffer("mel_basis", torch.ones(128, 5))

    def forward(self, mels):
        return mels.unsqueeze(-1)


def build():
    model = PytorchOpenl3("music", "mel128", 512)
    real = model.speclayer
    model.speclayer = Spectrogram()
    for i in range(8):
        name = "audio_embedding_layer" if i == 7 else f"conv2d_{i + 1}"
        setattr(model, name, torch.nn.Conv2d(WIDTHS[i], WIDTHS[i + 1], 3))
        setattr(
            model,
            f"batch_normalization_{i + 1}",
            torch.nn.BatchNorm2d(WIDTHS[i], eps=0.001, momentum=0.99),
        )
    state = model.state_dict()
    for name, values in network.weights(REDUCTION).items():
        state[name].copy_(torch.from_numpy(values))
    return model.eval(), real


def main():
    torch.manual_seed(0)
    model, real = build()
    if REDUCTION == 1:
        model.speclayer = real
    torch.save(model.state_dict(), path("torchopenl3.pth.tar"))
    model.speclayer = Spectrogram()
    safetensors.torch.save_file(
        {k: v for k, v in model.state_dict().items() if not k.startswith("speclayer")},
        path("openl3.safetensors"),
    )
    network.write_versions(
        path("versions_torch.json"),
        torch=torch.__version__,
        torchopenl3="1.0.1",
        safetensors=safetensors.__version__,
    )


main()
