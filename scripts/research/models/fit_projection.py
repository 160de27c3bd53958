#!/usr/bin/env python3
"""Shortens the last network of a joined model: scripts/research/models/fit_projection.py MANIFEST EXPORT
... --out FOLDER --name NAME
    [--numbers 56] [--every 3] [--weight 0.7] [--keep-away TABLE]

    voisin --model MODEL add FREE_MUSIC; voisin export EXPORT

MANIFEST joins networks (scripts/research/models/join_models.py), the last one's layers being `projection`
and `told`; each EXPORT holds that model's vectors. The last network's part of them, at unit length,
is projected to --numbers by the leading right singular vectors of all tracks, not centred: the
share of the squares that they keep is printed. Writes FOLDER/NAME.json, whose last network uses one
window of --every with the weight --weight, and the two projected layers in a separate file; the
kept share of each logit of `told` is printed. --keep-away lists packages (kind, name) that evaluate
models: tracks below folders of these names are left out.

Needs numpy and safetensors.
"""

import argparse
import csv
import hashlib
import json
import pathlib

import numpy
import safetensors.numpy


def vectors(folder, away):
    """The vectors of an export, without those of packages that are kept away."""
    found = numpy.load(folder / "vectors.npy").astype(numpy.float64)
    with open(folder / "tracks.csv", newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    kept = [i for i, row in enumerate(rows) if not away & set(pathlib.PurePath(row["path"]).parts)]
    return found[kept]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("manifest", type=pathlib.Path)
    parser.add_argument("exports", type=pathlib.Path, nargs="+")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--numbers", type=int, default=56)
    parser.add_argument("--every", type=int, default=3)
    parser.add_argument("--weight", type=float, default=0.7)
    parser.add_argument("--keep-away", type=pathlib.Path)
    options = parser.parse_args()
    away = set()
    if options.keep_away:
        with open(options.keep_away, newline="", encoding="utf-8") as handle:
            away = {
                row["name"]
                for row in csv.DictReader(handle, delimiter="\t")
                if row["kind"] == "package"
            }

    card = json.loads(options.manifest.read_text(encoding="utf-8"))
    network = card["networks"][-1]
    weights = safetensors.numpy.load_file(options.manifest.with_name(network["weights"]))
    layer, bias = (
        weights[f"projection.{part}"].astype(numpy.float64) for part in ("weight", "bias")
    )
    # Tags that the first network has too are left to it.
    first = card["outputs"][0]
    again = first["labels"] == [f"{first['name']} {tag}" for tag in card["tags"]]
    if again:
        card["outputs"].pop(0)
    told, told_bias = (
        weights[f"told.{part}"].astype(numpy.float64)[len(card["tags"]) if again else 0 :]
        for part in ("weight", "bias")
    )

    tracks = numpy.concatenate([vectors(folder, away) for folder in options.exports])[
        :, -len(bias) :
    ]
    tracks /= numpy.linalg.norm(tracks, axis=1, keepdims=True)
    _, values, directions = numpy.linalg.svd(tracks, full_matrices=False)
    basis = directions[: options.numbers]
    share = (values[: options.numbers] ** 2).sum() / (values**2).sum()
    print(
        f"{len(tracks)} tracks: {options.numbers} of {len(bias)} numbers keep {share:.4f} of the squares"
    )
    before, after = tracks @ told.T, tracks @ basis.T @ basis @ told.T
    left = 1 - ((before - after) ** 2).sum(axis=0) / ((before - before.mean(axis=0)) ** 2).sum(
        axis=0
    )
    print(
        f"variance of each logit that is left: least {left.min():.3f}, median {numpy.median(left):.3f}"
    )

    short = options.out / (pathlib.Path(network["weights"]).stem + "-short.safetensors")
    safetensors.numpy.save_file(
        {
            "projection.weight": (basis @ layer).astype(numpy.float32),
            "projection.bias": (basis @ bias).astype(numpy.float32),
            "told.weight": (told @ basis.T).astype(numpy.float32),
            "told.bias": told_bias.astype(numpy.float32),
        },
        short,
    )
    network.update(every=options.every, weight=options.weight)
    network["projection"] = {
        "weights": short.name,
        "weights_sha256": hashlib.sha256(short.read_bytes()).hexdigest(),
        "dimension": options.numbers,
    }
    card.update(
        format=3, name=options.name, dimension=card["dimension"] - len(bias) + options.numbers
    )
    card["provenance"] += (
        f"; shortened on {len(tracks)} tracks of free music by scripts/research/models/fit_projection.py"
    )
    (options.out / f"{options.name}.json").write_text(
        json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    print(f"{options.out / options.name}.json: {card['dimension']} numbers")


if __name__ == "__main__":
    main()
