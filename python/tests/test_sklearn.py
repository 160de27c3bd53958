"""voisin.sklearn in pipelines; run where scikit-learn is, as .ci/run has it."""

import pickle

import numpy as np
import pytest
from conftest import DEMO, FILES

pytest.importorskip("sklearn")

from sklearn.base import clone  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.neighbors import KNeighborsClassifier, KNeighborsTransformer  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.utils.estimator_checks import check_estimator  # noqa: E402
from voisin.sklearn import EmbeddingTransformer, NeighborsTransformer  # noqa: E402


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_estimators_are_as_scikit_learn_wants_them():
    checked = {
        type(one).__name__: check_estimator(one, on_fail=None)
        for one in (EmbeddingTransformer("musicnn-msd"), NeighborsTransformer())
    }
    wrong = [
        (name, one["check_name"], one["exception"])
        for name, all in checked.items()
        for one in all
        if one["status"] == "failed"
    ]
    assert wrong == []
    assert sum(one["status"] == "passed" for one in checked["NeighborsTransformer"]) > 40


def test_audio_is_classified_in_a_pipeline(embedder):
    paths = [str(DEMO / name) for name in FILES]
    genres = [name.split("/")[0] for name in FILES]
    calls = []
    audio = EmbeddingTransformer(
        "musicnn-msd", windows=4, threads=2, progress=lambda *one: calls.append(one)
    )
    pipeline = make_pipeline(audio, LogisticRegression(C=100.0)).fit(paths, genres)
    assert len(calls) == len(FILES)
    assert list(pipeline.predict(paths)) == genres
    again = pickle.loads(
        pickle.dumps(make_pipeline(clone(audio).set_params(progress=None), LogisticRegression()))
    )
    vectors = again[0].fit_transform([(DEMO / name).read_bytes() for name in FILES])
    assert (vectors == np.stack([embedder.embed(path, windows=4).vector for path in paths])).all()
    assert vectors.dtype == np.float32 and again[0].transform([]).shape == (0, embedder.dimension)
    assert len(again[0].get_feature_names_out()) == embedder.dimension
    with pytest.raises(FileNotFoundError):
        pipeline.predict(["nope.flac"])


def test_neighbours_take_the_place_of_scikit_learns():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(4, 24)) * 2
    classes = rng.integers(0, 4, 1200)
    vectors = (centres[classes] + rng.normal(size=(1200, 24))).astype(np.float32)
    train, test = vectors[:1000], vectors[1000:]
    theirs = KNeighborsTransformer(n_neighbors=8, metric="cosine").fit(train)
    ours = NeighborsTransformer(n_neighbors=8).fit(train)
    a, b = theirs.transform(test).toarray(), ours.transform(test).toarray()
    assert ((a > 0) == (b > 0)).all(axis=1).mean() > 0.9
    both = (a > 0) & (b > 0)
    np.testing.assert_allclose(b[both], a[both], rtol=5e-3, atol=1e-3)
    classify = [
        make_pipeline(clone(one), KNeighborsClassifier(8, metric="precomputed")).fit(
            train, classes[:1000]
        )
        for one in (theirs, ours)
    ]
    assert (classify[0].predict(test) == classify[1].predict(test)).mean() > 0.98
    with pytest.raises(ValueError, match="n_neighbors: expected 1 to 999, .* found 1000"):
        clone(ours).set_params(n_neighbors=1000).fit_transform(train)
