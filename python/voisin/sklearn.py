"""voisin in scikit-learn's pipelines: audio to vectors, and vectors to their neighbours.

    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from voisin.sklearn import EmbeddingTransformer, NeighborsTransformer

    make_pipeline(EmbeddingTransformer(), LogisticRegression()).fit(paths, genres)
    make_pipeline(NeighborsTransformer(),
    KNeighborsClassifier(metric="precomputed")).fit(vectors, genres)

Needs scikit-learn 1.6 or newer: pip install voisin[sklearn].
"""

from collections.abc import Callable, Iterable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix  # type: ignore[import-untyped]
from sklearn.base import (  # type: ignore[import-untyped]
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.utils.validation import check_is_fitted, validate_data  # type: ignore[import-untyped]

from . import Embedder, VectorIndex

__all__ = ["EmbeddingTransformer", "NeighborsTransformer"]


class EmbeddingTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Audio to vectors, float32 [n, dimension], of length 1.

    model, device: as of `Embedder`. windows, threads, progress: as of `Embedder.embed`. Transforms
    paths, the bytes of files, file objects, or pairs (samples, sr); `fit` only loads the model. Raises the errors of `Embedder.embed`.
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        device: str = "auto",
        windows: int | Literal["all"] | None = None,
        threads: int | None = None,
        progress: Callable[[int, int | None], object] | None = None,
    ) -> None:
        self.model = model
        self.device = device
        self.windows = windows
        self.threads = threads
        self.progress = progress

    def fit(self, X: Iterable[Any], y: object = None) -> "EmbeddingTransformer":
        """Loads the model."""
        self.embedder_ = Embedder(self.model, device=self.device)
        self._n_features_out = self.embedder_.dimension
        return self

    def transform(self, X: Iterable[Any]) -> NDArray[np.float32]:
        """The vectors of the audio, in its order."""
        check_is_fitted(self)
        embeddings = self.embedder_.embed(
            iter(X), windows=self.windows, threads=self.threads, progress=self.progress
        )
        vectors = [embedding.vector for embedding in embeddings]
        return np.stack(vectors) if vectors else np.zeros((0, self._n_features_out), np.float32)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        tags.no_validation = True
        tags.requires_fit = True
        return tags


class NeighborsTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Vectors to the sparse graph of their neighbours among those of `fit`, found by a
    `VectorIndex` by cosines.

    Replaces scikit-learn's KNeighborsTransformer before estimators with metric="precomputed"
    (KNeighborsClassifier, TSNE, DBSCAN, Isomap): distances, float32 [queries, fitted],
    n_neighbors + 1 a row, since the nearest of each vector of `fit` is itself or a copy; 1 - cosine.
    target_recall: as of `VectorIndex`.
    """

    def __init__(
        self,
        *,
        n_neighbors: int = 5,
        target_recall: float = 0.995,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.target_recall = target_recall

    def fit(self, X: Any, y: object = None) -> "NeighborsTransformer":
        """Builds the index."""
        vectors = validate_data(self, X, dtype=np.float32)
        self.index_ = VectorIndex(vectors, target_recall=self.target_recall)
        self._n_features_out = self.n_samples_fit_ = len(vectors)
        return self

    def transform(self, X: Any) -> csr_matrix:
        """The distances of each to its neighbours."""
        check_is_fitted(self)
        vectors = validate_data(self, X, dtype=np.float32, reset=False)
        k = self.n_neighbors + 1
        if not 1 < k <= self.n_samples_fit_:
            most = self.n_samples_fit_ - 1
            raise ValueError(
                f"n_neighbors: expected 1 to {most}, one less than samples fitted, found {self.n_neighbors}"
            )
        distances, ids = self.index_.kneighbors(vectors, k)
        rows = np.arange(0, k * len(vectors) + 1, k)
        return csr_matrix(
            (distances.ravel(), ids.ravel(), rows), shape=(len(vectors), self.n_samples_fit_)
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags
