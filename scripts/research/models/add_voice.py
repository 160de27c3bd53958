#!/usr/bin/env python3
"""Gives a model an output for voices: scripts/research/models/add_voice.py MODEL.json FIT OUT NAME

FIT is an output of `voisin embed` with that model (.npz) of sung and plain music, in folders
sung/GROUP/ and plain/GROUP/ as scripts/research/music/make_clean_eval.py makes them. Logistic regression on
the means of a track's windows, its penalty chosen by groups, becomes one more row of the layer
`told`, which computes logits from stored vectors, and the output "voice" with the label "sung".
Written are OUT/NAME.json and OUT/NAME.safetensors; the vectors are unchanged, but the fingerprint
is new. For a model of several networks, apply this to each before they are joined. Needs numpy and
scikit-learn.
"""

import hashlib
import json
import pathlib
import struct
import sys
import warnings

import numpy
from sklearn.linear_model import LogisticRegressionCV
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def read(folder):
    """Means of windows [tracks, dimension], whether sung, and groups."""
    x, y, groups = [], [], []
    for path in sorted(folder.rglob("*.npz")):
        parts = path.relative_to(folder).parts
        at = next((i for i, part in enumerate(parts) if part in ("sung", "plain")), None)
        if at is not None:
            x.append(numpy.load(path)["embedding"].astype(float).mean(axis=0))
            y.append(parts[at] == "sung")
            groups.append(parts[at + 1])
    return numpy.array(x), numpy.array(y), numpy.array(groups)


def fitted(x, y, groups):
    """A scaler and logistic regression, its penalty chosen by groups."""
    folds = list(GroupKFold(5).split(x, y, groups))
    head = LogisticRegressionCV(
        Cs=numpy.logspace(-5, 1, 13), cv=folds, scoring="neg_log_loss", max_iter=5000
    )
    return make_pipeline(StandardScaler(), head).fit(x, y)


def with_row(data, weight, bias):
    """The bytes of a safetensors file with one more row of `told`."""
    length = struct.unpack("<Q", data[:8])[0]
    head = json.loads(data[8 : 8 + length])
    about = head.pop("__metadata__", None)
    tensors = {
        name: (e["dtype"], e["shape"], data[8 + length :][slice(*e["data_offsets"])])
        for name, e in head.items()
    }
    for name, new, kind in (("told.weight", weight, "F32"), ("told.bias", bias, "F32")):
        dtype, shape, old = tensors.get(name, (kind, [0, *new.shape[1:]], b""))
        kinds = {"F32": "<f4", "F16": "<f2"}
        values = numpy.frombuffer(old, kinds[dtype]).reshape(shape)
        values = numpy.concatenate([values, new.astype(kinds[dtype])])
        tensors[name] = (dtype, list(values.shape), values.tobytes())
    head, body = {} if about is None else {"__metadata__": about}, b""
    for name in sorted(tensors, key=lambda name: (-len(tensors[name][2]) % 4, name)):
        dtype, shape, raw = tensors[name]
        head[name] = {
            "dtype": dtype,
            "shape": shape,
            "data_offsets": [len(body), len(body) + len(raw)],
        }
        body += raw
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + body


def main():
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    manifest, folder, out, name = (
        pathlib.Path(sys.argv[1]),
        pathlib.Path(sys.argv[2]),
        pathlib.Path(sys.argv[3]),
        sys.argv[4],
    )
    warnings.simplefilter("ignore", FutureWarning)  # of defaults that scikit-learn is to change
    card = json.loads(manifest.read_text(encoding="utf-8"))
    if card.get("networks"):
        sys.exit(
            f"{manifest}: joins several networks; add the output to one of them, then join them (scripts/research/models/join_models.py)"
        )
    x, y, groups = read(folder)
    scaler, head = (step for _, step in fitted(x, y, groups).steps)
    weight = head.coef_ / scaler.scale_
    bias = head.intercept_ - weight @ scaler.mean_
    data = with_row(manifest.with_name(card["weights"]).read_bytes(), weight, bias)
    card.update(
        format=2,
        name=name,
        weights=f"{name}.safetensors",
        weights_sha256=hashlib.sha256(data).hexdigest(),
    )
    card["outputs"] = card.get("outputs", []) + [{"name": "voice", "labels": ["sung"]}]
    card["provenance"] += "; its output for voices fitted by scripts/research/models/add_voice.py"
    out.mkdir(parents=True, exist_ok=True)
    (out / card["weights"]).write_bytes(data)
    (out / f"{name}.json").write_text(
        json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    right = ((x @ weight[0] + bias[0] > 0) == y).mean()
    print(
        f"{out / name}.json: fitted on {len(y)} excerpts of {len(set(groups))} groups, {right:.3f} of these right"
    )


if __name__ == "__main__":
    main()
