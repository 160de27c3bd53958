"""Golden values for the laboratory's algorithms, by scikit-learn and XGBoost.

Run in this folder: python generate.py   (numpy 2, scikit-learn 1.9, xgboost 3.2). Writes algorithms.json; the versions
used are inside.
"""

import json

import numpy as np
import sklearn
import xgboost
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

VERSIONS = {
    "numpy": np.__version__,
    "scikit-learn": sklearn.__version__,
    "xgboost": xgboost.__version__,
}


def rounded(a, digits=9):
    return np.round(np.asarray(a, dtype=float), digits).tolist()


rng = np.random.default_rng(20261121)
n, d, k = 120, 7, 3
y = np.arange(n) % k
x = rng.normal(size=(n, d))
x[np.arange(n), y] += 1.1
x[:, 3] += 0.6 * x[:, 4]
x = np.round(x * [1, 4, 0.3, 1, 1, 20, 1] + [0, 3, 0, 0, -9, 0, 5], 3).astype(np.float32)
q = rng.normal(size=(40, d)) * [1, 4, 0.3, 1, 1, 20, 1] + [0, 3, 0, 0, -9, 0, 5]
q = np.round(q, 3).astype(np.float32)
scale = StandardScaler().fit(x.astype(float))
# what voisin's algorithms see: standardised in double precision, kept in single
xs, qs = scale.transform(x).astype(np.float32), scale.transform(q).astype(np.float32)
xd, qd = xs.astype(float), qs.astype(float)

algorithms = {"versions": VERSIONS, "x": rounded(xs, 8), "y": y.tolist(), "queries": rounded(qs, 8)}
knn = KNeighborsClassifier(n_neighbors=10, metric="cosine", algorithm="brute").fit(xd, y)
algorithms["knn_cosine"] = rounded(knn.predict_proba(qd))
algorithms["knn_cosine_neighbours"] = knn.kneighbors(qd, return_distance=False).tolist()
logistic = LogisticRegression(C=1.0, tol=1e-8, max_iter=10000).fit(xd, y)
algorithms["logistic"] = rounded(logistic.predict_proba(qd))
svm = SVC(C=1.5, gamma="scale", decision_function_shape="ovo", tol=1e-6).fit(xd, y)
algorithms["svm_decisions"] = rounded(svm.decision_function(qd))
tree = DecisionTreeClassifier(max_depth=3, random_state=0).fit(xs, y)
algorithms["tree"] = rounded(tree.predict_proba(qs))
booster = xgboost.train(
    {
        "objective": "multi:softprob",
        "num_class": k,
        "max_depth": 4,
        "eta": 0.1,
        "lambda": 1.0,
        "tree_method": "exact",
        "base_score": 0.5,
        "min_child_weight": 1.0,
        "nthread": 1,
    },
    xgboost.DMatrix(xs, label=y),
    num_boost_round=10,
)
algorithms["boost"] = rounded(booster.predict(xgboost.DMatrix(qs)))
algorithms["boost_margins"] = rounded(
    booster.predict(xgboost.DMatrix(qs), output_margin=True) - 0.5
)

# pairwise coupling: the distribution that minimises the authors' sum of squares, by a solver that
# knows nothing of it
pairs = rng.uniform(0.1, 0.9, size=(4, 4))
for i in range(4):
    pairs[i, i] = 0
    for j in range(i):
        pairs[i, j] = 1 - pairs[j, i]


def off(p):
    return sum(
        (pairs[j, i] * p[i] - pairs[i, j] * p[j]) ** 2 for i in range(4) for j in range(4) if i != j
    )


solved = minimize(
    off,
    np.full(4, 0.25),
    bounds=[(0, 1)] * 4,
    method="SLSQP",
    options={"ftol": 1e-16, "maxiter": 1000},
    constraints={"type": "eq", "fun": lambda p: p.sum() - 1},
)
# polished by the optimality conditions
Q = np.diag([sum(pairs[j, i] ** 2 for j in range(4) if j != i) for i in range(4)])
Q -= np.array([[pairs[j, i] * pairs[i, j] if i != j else 0 for j in range(4)] for i in range(4)])
exact = np.linalg.solve(
    np.block([[Q, np.ones((4, 1))], [np.ones((1, 4)), np.zeros((1, 1))]]), [0, 0, 0, 0, 1]
)[:4]
assert np.abs(exact - solved.x).max() < 1e-5
algorithms["pairs"], algorithms["coupled"] = rounded(pairs, 12), rounded(exact, 12)
json.dump(algorithms, open("algorithms.json", "w"))
