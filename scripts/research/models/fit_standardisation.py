#!/usr/bin/env python3
"""Fits the standardisation after a network and writes it into a model.

    voisin --model models/NAME.json embed MUSIC --hop 10 --output DIR
    scripts/research/models/fit_standardisation.py DIR models/NAME.json

DIR holds the window vectors of the corpus, computed by the model without standardisation: arrays
(.npz) of `voisin embed`. Mean and deviation of each dimension over those windows go into the model's weights
as `standardise.mean` and `standardise.scale`, and the new digest into its manifest. The corpus is
the free music that scripts/research/models/fetch_corpus.py fetches; no evaluation set is used. Needs
numpy.
"""

import hashlib
import json
import pathlib
import struct
import sys

import numpy


def main():
    folder, manifest_path = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    arrays = [numpy.load(path)["embedding"] for path in sorted(folder.rglob("*.npz"))]
    windows = numpy.concatenate(arrays).astype(numpy.float64)
    fitted = {
        "standardise.mean": windows.mean(axis=0),
        "standardise.scale": 1.0 / windows.std(axis=0),
    }
    manifest = json.loads(manifest_path.read_text(encoding="utf-8"))
    weights = manifest_path.parent / manifest["weights"]
    data = weights.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    if any(name in header for name in fitted):
        sys.exit(f"{weights} is standardised already: start from the converted weights")
    for name, values in fitted.items():
        # Kept before the 16-bit tensors, so that every value stays aligned.
        blob = values.astype("<f4").tobytes()
        for entry in header.values():
            if "data_offsets" in entry:
                entry["data_offsets"] = [offset + len(blob) for offset in entry["data_offsets"]]
        header[name] = {"dtype": "F32", "shape": [len(values)], "data_offsets": [0, len(blob)]}
        body = blob + body
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    data = struct.pack("<Q", len(text)) + text + body
    weights.write_bytes(data)
    manifest["weights_sha256"] = hashlib.sha256(data).hexdigest()
    note = f"; outputs standardised over {len(windows)} windows of free music (scripts/research/models/fit_standardisation.py)"
    manifest["provenance"] = manifest["provenance"].split("; outputs standardised")[0] + note
    manifest_path.write_text(
        json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    print(f"{weights}: {len(windows)} windows, sha256 {manifest['weights_sha256']}")


if __name__ == "__main__":
    main()
