"""Golden values for `eval::retrieval`, by scikit-learn on the same vectors.

Run in this folder: python generate.py   (numpy 2, scikit-learn 1.5 or later). Writes retrieval.json; the versions
used are inside.
"""

import json

import numpy as np
import sklearn
from sklearn.neighbors import NearestNeighbors

K = 7
rng = np.random.default_rng(20261120)
n, d, classes, artists = 150, 12, 4, 30
centres = rng.normal(size=(classes, d)) * 1.1
artist = rng.integers(0, artists, n)
style = rng.normal(size=(artists, d)) * 0.7
label = rng.choice(classes, n, p=[0.4, 0.3, 0.2, 0.1])
x = (centres[label] + style[artist] + rng.normal(size=(n, d)) * 1.2).astype(np.float32)
alone = rng.random(n) < 0.1  # tracks without an artist


def figures(x):
    precision, by_label = [], [[] for _ in range(classes)]
    for i in range(n):
        others = np.array(
            [j for j in range(n) if j != i and (alone[i] or alone[j] or artist[j] != artist[i])]
        )
        search = NearestNeighbors(n_neighbors=K, metric="cosine", algorithm="brute").fit(x[others])
        found = search.kneighbors(x[i : i + 1], return_distance=False)
        near = label[others[found[0]]]
        same = near == label[i]
        precision.append(same.mean())
        by_label[label[i]].append(same.mean())
    return {
        "precision": float(np.mean(precision)),
        "by_label": [float(np.mean(v)) for v in by_label],
    }


json.dump(
    {
        "versions": {"numpy": np.__version__, "scikit-learn": sklearn.__version__},
        "k": K,
        "vectors": [[float(v) for v in row] for row in x],
        "labels": label.tolist(),
        "artists": [
            None if lonely else int(who) for lonely, who in zip(alone, artist, strict=False)
        ],
        "plain": figures(x),
    },
    open("retrieval.json", "w"),
)
