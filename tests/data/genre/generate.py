"""Golden values for measures of classification, by scikit-learn.

Run in this folder: python generate.py   (numpy 2, scikit-learn 1.5 or later). Writes metrics.json; the
versions used are inside.
"""

import json

import numpy as np
import sklearn
from sklearn import metrics

rng = np.random.default_rng(20261120)
n, k = 180, 5
truth = rng.choice(k, n, p=[0.4, 0.25, 0.2, 0.1, 0.05])
scores = rng.normal(size=(n, k))
scores[np.arange(n), truth] += 1.4
p = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
p = np.round(p, 3)  # ties
p[:, 0] = np.round(1 - p[:, 1:].sum(1), 3)
answer = p.argmax(1)
precision, recall, f1, support = metrics.precision_recall_fscore_support(
    truth, answer, labels=range(k), zero_division=0
)
top, right = p.max(1), answer == truth

# expected calibration error by its definition: ten bins (0, 0.1], (0.1, 0.2], ...
ece = 0.0
for b in range(10):
    inside = (top > b / 10) & (top <= (b + 1) / 10)
    if inside.any():
        ece += inside.mean() * abs(right[inside].mean() - top[inside].mean())

roc = [metrics.roc_curve(truth == c, p[:, c], drop_intermediate=True)[:2] for c in range(k)]
json.dump(
    {
        "versions": {"numpy": np.__version__, "scikit-learn": sklearn.__version__},
        "truth": truth.tolist(),
        "probabilities": p.tolist(),
        "confusion": metrics.confusion_matrix(truth, answer, labels=range(k)).tolist(),
        "accuracy": metrics.accuracy_score(truth, answer),
        "balanced_accuracy": metrics.balanced_accuracy_score(truth, answer),
        "macro_f1": metrics.f1_score(truth, answer, average="macro", zero_division=0),
        "precision": precision.tolist(),
        "recall": recall.tolist(),
        "f1": f1.tolist(),
        "support": support.tolist(),
        "auc": [metrics.roc_auc_score(truth == c, p[:, c]) for c in range(k)],
        "roc_area": [float(np.trapezoid(t, f)) for f, t in roc],
        "top2": metrics.top_k_accuracy_score(truth, p, k=2, labels=range(k)),
        "log_loss": metrics.log_loss(truth, np.clip(p, 1e-15, 1), labels=range(k))
        if np.allclose(p.sum(1), 1)
        else None,
        "ece": ece,
    },
    open("metrics.json", "w"),
)
