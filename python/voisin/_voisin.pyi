"""Types of the native half; the documentation of each class is in the classes themselves."""

from collections.abc import Callable, Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Literal, TypeAlias, final, overload

import numpy as np
from _typeshed import SupportsRead
from numpy.typing import ArrayLike, NDArray

from ._answers import Embedding, Neighbor, Track

__all__ = ["Embedder", "Library", "VectorIndex", "__version__", "models"]

__version__: str

_Seed: TypeAlias = int | str | PathLike[str] | Sequence[float] | NDArray[np.floating]
_Numbers: TypeAlias = NDArray[np.floating | np.integer] | Sequence[float] | Sequence[Sequence[float]]
_File: TypeAlias = str | PathLike[str] | bytes | bytearray | memoryview | SupportsRead[bytes]
_Ids: TypeAlias = NDArray[np.integer] | Sequence[int]

def models() -> list[str]: ...
@final
class Embedder:
    def __new__(cls, model: str | PathLike[str] | None = None, *, device: str = "auto") -> Embedder: ...
    @property
    def model(self) -> str: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def dimension(self) -> int: ...
    @property
    def sample_rate(self) -> int: ...
    @property
    def window_seconds(self) -> float: ...
    @overload
    def embed(  # type: ignore[overload-overlap]  # a str is an Iterable[str], too
        self,
        audio: _File | tuple[_Numbers, int],
        sr: None = None,
        *,
        windows: int | Literal["all"] | None = None,
        threads: int | None = None,
        progress: Callable[[int, int], object] | None = None,
        return_exceptions: bool = False,
    ) -> Embedding: ...
    @overload
    def embed(
        self,
        audio: _Numbers,
        sr: int,
        *,
        windows: int | Literal["all"] | None = None,
        threads: int | None = None,
        progress: Callable[[int, int], object] | None = None,
        return_exceptions: bool = False,
    ) -> Embedding: ...
    @overload
    def embed(
        self,
        audio: Iterable[_File | tuple[_Numbers, int]],
        sr: None = None,
        *,
        windows: int | Literal["all"] | None = None,
        threads: int | None = None,
        progress: Callable[[int, int | None], object] | None = None,
        return_exceptions: Literal[False] = False,
    ) -> list[Embedding]: ...
    @overload
    def embed(
        self,
        audio: Iterable[_File | tuple[_Numbers, int]],
        sr: None = None,
        *,
        windows: int | Literal["all"] | None = None,
        threads: int | None = None,
        progress: Callable[[int, int | None], object] | None = None,
        return_exceptions: Literal[True],
    ) -> list[Embedding | Exception]: ...
    def __getnewargs_ex__(self) -> tuple[tuple[str | None], dict[str, str]]: ...

@final
class Library:
    def __new__(cls, path: str | PathLike[str] | None = None) -> Library: ...
    @property
    def path(self) -> Path: ...
    @property
    def model(self) -> str: ...
    @property
    def dimension(self) -> int: ...
    def __len__(self) -> int: ...
    def similar(
        self,
        seeds: _Seed | list[_Seed],
        limit: int = 10,
        *,
        genre: Sequence[str] | None = None,
        exclude_genre: Sequence[str] | None = None,
        artist: Sequence[str] | None = None,
        exclude_artist: Sequence[str] | None = None,
        year_from: int | None = None,
        year_to: int | None = None,
        folder: str | PathLike[str] | None = None,
        max_per_artist: int | None = None,
        min_similarity: float | None = None,
        include_seed: bool = False,
        exact: bool = False,
        embedder: Embedder | None = None,
    ) -> list[Neighbor]: ...
    def vectors(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]: ...
    def mean(self) -> NDArray[np.float32]: ...
    def centred(self, vectors: _Numbers) -> NDArray[np.float32]: ...
    def windows(self, id: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]: ...
    def tracks(self) -> list[Track]: ...
    def track(self, id: int) -> Track: ...
    def __getnewargs__(self) -> tuple[Path]: ...

@final
class VectorIndex:
    def __new__(
        cls,
        vectors: _Numbers | None = None,
        ids: _Ids | None = None,
        *,
        metric: Literal["cosine", "ip", "l2"] = "cosine",
        graph: bool = False,
        m: int = 16,
        ef_construction: int = 200,
        target_recall: float = 0.995,
    ) -> VectorIndex: ...
    @staticmethod
    def load(path: str | PathLike[str]) -> VectorIndex: ...
    def save(self, path: str | PathLike[str]) -> None: ...
    def search(
        self,
        queries: _Numbers,
        k: int = 10,
        *,
        exact: bool = False,
        width: int | None = None,
        filter: _Ids | Callable[[int], bool] | None = None,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]: ...
    def add(self, ids: int | _Ids, vectors: _Numbers) -> None: ...
    def remove(self, id: int) -> None: ...
    def vector(self, id: int) -> NDArray[np.float32]: ...
    def fit(self, X: _Numbers, y: object = None) -> VectorIndex: ...
    @overload
    def kneighbors(
        self, X: _Numbers | None = None, n_neighbors: int = 5, return_distance: Literal[True] = True
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]: ...
    @overload
    def kneighbors(
        self, X: _Numbers | None = None, n_neighbors: int = 5, *, return_distance: Literal[False]
    ) -> NDArray[np.int64]: ...
    @property
    def ids(self) -> NDArray[np.int64]: ...
    @property
    def options(self) -> dict[str, object]: ...
    @property
    def dimension(self) -> int: ...
    def __len__(self) -> int: ...
    def __contains__(self, id: int, /) -> bool: ...
