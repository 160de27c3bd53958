#!/usr/bin/env python3
"""Joins models into one of several networks: scripts/research/models/join_models.py OUT NAME FIRST.json
OTHER.json[:WEIGHT] ...

Writes OUT/NAME.json, a manifest of format 2; the networks' weights are copied into the same folder
if missing. The vectors are concatenated, FIRST's at length 1, each OTHER's at length WEIGHT (1).
The tags of an OTHER become an output, named after the model; a tag that FIRST has too keeps its
name with the model's before it. The tags of an OTHER with exactly the tags of FIRST are left out.
Its own outputs follow. OTHERs of OpenL3's shape must have the layer `told` (as `voisin train
encoder export` writes it): their tags are left out otherwise, since a last linear layer prevents
computing them from stored vectors.
"""

import json
import pathlib
import shutil
import struct
import sys


def is_told(card, weights):
    """Whether stored vectors tell what the network says."""
    with open(weights, "rb") as handle:
        names = json.loads(handle.read(struct.unpack("<Q", handle.read(8))[0]))
    return card["architecture"] == "musicnn" or "told.weight" in names


def main():
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    out, name = pathlib.Path(sys.argv[1]), sys.argv[2]
    first, *others = sys.argv[3:]
    first = pathlib.Path(first)
    card = json.loads(first.read_text(encoding="utf-8"))
    files = [first.with_name(card["weights"])]
    card.update(format=2, name=name, networks=[], outputs=card.get("outputs", []))
    parts, licences, provenance = [card["description"]], [card["licence"]], [card["provenance"]]
    known = {
        tag.lower()
        for tag in card.get("tags", [])
        + [label for output in card["outputs"] for label in output["labels"]]
    }
    for argument in others:
        path, _, weight = argument.partition(".json")
        path = pathlib.Path(path + ".json")
        other = json.loads(path.read_text(encoding="utf-8"))
        files.append(path.with_name(other["weights"]))
        weight = float(weight.lstrip(":") or 1)
        card["networks"].append(
            {key: other[key] for key in ("architecture", "front_end", "weights", "weights_sha256")}
            | {"weight": weight}
        )
        card["dimension"] += other["dimension"]
        if is_told(other, files[-1]):
            own = {"name": other["name"], "labels": other.get("tags", [])}
            for output in [own] + other.get("outputs", []):
                labels = [
                    f"{other['name']} {tag}" if tag.lower() in known else tag
                    for tag in output["labels"]
                ]
                if labels:
                    card["outputs"].append({"name": output["name"], "labels": labels})
                    known.update(label.lower() for label in labels)
        parts.append(other["description"])
        licences.append(other["licence"])
        provenance.append(other["provenance"])
    if not card["outputs"]:
        del card["outputs"]
    card["description"] = "; beside it: ".join(parts)
    card["licence"] = " AND ".join(dict.fromkeys(licences))
    card["provenance"] = (
        "; beside it: ".join(provenance) + "; joined by scripts/research/models/join_models.py"
    )
    out.mkdir(parents=True, exist_ok=True)
    for file in files:
        if not (out / file.name).exists():
            shutil.copyfile(file, out / file.name)
    (out / f"{name}.json").write_text(
        json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    print(
        f"{out / name}.json: {card['dimension']} dimensions, {sum((out / f.name).stat().st_size for f in set(files))} bytes"
    )


if __name__ == "__main__":
    main()
