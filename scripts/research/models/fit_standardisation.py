#!/usr/bin/env python3
"""Fits the standardisation of MusiCNN's vectors and folds it into the weights of a model.

    voisin --model models/NAME.json embed MUSIC --hop 10 --output DIR
    scripts/research/models/fit_standardisation.py DIR models/NAME.json

DIR holds the window vectors of the corpus, computed by the converted model: arrays (.npz) of
`voisin embed`. With mean and deviation of each dimension over those windows, the last batch norm
gives numbers of mean 0 and variance 1, and the layer of the tags after it undoes that; the new digest goes
into the manifest. The corpus is the free music that scripts/research/models/fetch_corpus.py
fetches; no evaluation set is used. Needs numpy, safetensors.
"""

import hashlib
import json
import pathlib
import sys

import numpy
from safetensors import safe_open
from safetensors.numpy import save_file


def main():
    folder, manifest_path = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    arrays = [numpy.load(path)["embedding"] for path in sorted(folder.rglob("*.npz"))]
    windows = numpy.concatenate(arrays).astype(numpy.float64)
    mean, scale = windows.mean(axis=0), 1.0 / windows.std(axis=0)
    manifest = json.loads(manifest_path.read_text(encoding="utf-8"))
    weights = manifest_path.parent / manifest["weights"]
    with safe_open(weights, "numpy") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    norm, tags = "batch_normalization_10.", "dense_1."
    weight = tensors[tags + "weight"].astype(float)
    tensors |= {
        norm + "weight": tensors[norm + "weight"] * scale,
        norm + "bias": (tensors[norm + "bias"] - mean) * scale,
        tags + "weight": weight / scale,
        tags + "bias": tensors[tags + "bias"] + weight @ mean,
    }
    for name in (norm + "weight", norm + "bias", tags + "weight", tags + "bias"):
        tensors[name] = tensors[name].astype(numpy.float32)
    save_file(tensors, weights, metadata)
    manifest["weights_sha256"] = hashlib.sha256(weights.read_bytes()).hexdigest()
    note = f"; outputs standardised over {len(windows)} windows of free music (scripts/research/models/fit_standardisation.py)"
    manifest["provenance"] = manifest["provenance"].split("; outputs standardised")[0] + note
    manifest_path.write_text(
        json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    print(f"{weights}: {len(windows)} windows, sha256 {manifest['weights_sha256']}")


if __name__ == "__main__":
    main()
