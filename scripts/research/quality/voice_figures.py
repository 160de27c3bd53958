#!/usr/bin/env python3
"""How well a model separates sung music from music without a voice:
scripts/research/quality/voice_figures.py MANIFEST FIT [JUDGE ...]

FIT and JUDGEs are outputs of `voisin embed` of the same model (.npz) of music in folders
.../sung/... and .../plain/..., whose subfolders are its groups (as made by
scripts/research/music/make_clean_eval.py). Prints the area under the ROC curve (the probability that a sung
excerpt scores above a plain one) and the share of excerpts classified correctly, of:

- the model's tags for voices against "instrumental" (where it has that one), nothing fitted;
- logistic regression on the tag logits, and on the window means themselves, fitted on FIT.

The tags of an OpenL3-style network cannot be computed from its stored vectors: alone, it has only
the last row.

FIT is evaluated by cross-validation over its groups. The penalty is chosen by groups of the
training data. MANIFEST is the model's, with its weights in the same folder. Needs numpy and
scikit-learn.
"""

import json
import pathlib
import struct
import sys
import warnings

import numpy
from sklearn.linear_model import LogisticRegressionCV
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

VOICES = {"female vocalists", "female vocalist", "male vocalists", "instrument voice"}


def tensors(path):
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    kinds = {"F32": "<f4", "F16": "<f2"}
    return {
        name: numpy.frombuffer(data[8 + length :][slice(*e["data_offsets"])], kinds[e["dtype"]])
        .reshape(e["shape"])
        .astype(float)
        for name, e in json.loads(data[8 : 8 + length]).items()
        if name != "__metadata__"
    }


def tag_layers(manifest):
    """(first column, weight, bias) of each network with MusiCNN's tags, on embeddings as stored;
    the tags' names.
    """
    card = json.loads(manifest.read_text(encoding="utf-8"))
    layers, at, names = [], 0, list(card.get("tags", []))
    names += [label for output in card.get("outputs", []) for label in output["labels"]]
    for network in [card, *card.get("networks", [])]:
        weights = tensors(manifest.with_name(network["weights"]))
        size = {"musicnn": 200, "openl3": 512}[network["architecture"]]
        if network["architecture"] == "musicnn":
            layers.append((at, weights["dense_1.weight"], weights["dense_1.bias"]))
        at += size
    return layers, names


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
    folds = list(GroupKFold(5).split(x, y, groups))
    head = LogisticRegressionCV(
        Cs=numpy.logspace(-5, 1, 13), cv=folds, scoring="neg_log_loss", max_iter=5000
    )
    return make_pipeline(StandardScaler(), head).fit(x, y)


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    manifest, *folders = map(pathlib.Path, sys.argv[1:])
    warnings.simplefilter("ignore", FutureWarning)  # of defaults that scikit-learn is to change
    layers, names = tag_layers(manifest)
    sets = [(folder.name, *read(folder)) for folder in folders]
    logits = layers and [
        numpy.hstack([x[:, at : at + w.shape[1]] @ w.T + b for at, w, b in layers])
        for _, x, _, _ in sets
    ]
    tagged = (("tags alone", None), ("logistic regression on tags", logits)) if layers else ()
    voices = [i for i, name in enumerate(names) if name.lower() in VOICES]
    instrumental = [i for i, name in enumerate(names) if name.lower() == "instrumental"]
    print(f"fitted on {sets[0][0]}: {len(sets[0][1])} excerpts of {len(set(sets[0][3]))} groups")
    y, groups = sets[0][2:]
    for what, inputs in (*tagged, ("on window means", [x for _, x, _, _ in sets])):
        for i, (name, _, truth, _) in enumerate(sets):
            if inputs is None:
                scores = logits[i][:, voices].max(1) - (
                    logits[i][:, instrumental].max(1) if instrumental else 0
                )
            elif i:
                scores = fitted(inputs[0], y, groups).decision_function(inputs[i])
            else:
                scores = numpy.empty(len(y))
                for group in set(groups):
                    out = groups == group
                    scores[out] = fitted(inputs[0][~out], y[~out], groups[~out]).decision_function(
                        inputs[0][out]
                    )
            right = "" if inputs is None else f", {((scores > 0) == truth).mean():.3f} right"
            print(
                f"  {what}, {name}: AUC {roc_auc_score(truth, scores):.3f}{right} ({len(truth)} excerpts)"
            )


if __name__ == "__main__":
    main()
