"""Types of the native half; the documentation of each class is in the classes themselves."""

from collections.abc import Callable, Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias, TypedDict, final, overload

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self, disjoint_base

__all__ = [
    "Embedder",
    "Library",
    "VectorIndex",
    "__version__",
    "models",
]

__version__: str

_Named: TypeAlias = int | str | PathLike[str]
_Seed: TypeAlias = _Named | NDArray[np.floating]
_Seeds: TypeAlias = _Seed | Sequence[_Seed]
_Numbers: TypeAlias = (
    NDArray[np.floating | np.integer] | Sequence[float] | Sequence[Sequence[float]]
)
_Ids: TypeAlias = NDArray[np.integer] | Sequence[int]

class _Embedding(TypedDict):
    vector: NDArray[np.float32]
    windows: NDArray[np.float32]
    starts: NDArray[np.float32]

def models() -> list[str]: ...

@final
class Embedder:
    def __new__(
        cls, model: str | PathLike[str] | None = None, *, device: str = "auto"
    ) -> Embedder: ...
    @property
    def model(self) -> str: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def dimension(self) -> int: ...
    @overload
    def embed(
        self,
        audio: str | PathLike[str],
        sr: None = None,
        *,
        threads: int | None = None,
        progress: Callable[[int, int], object] | None = None,
    ) -> _Embedding: ...
    @overload
    def embed(
        self,
        audio: _Numbers,
        sr: int,
        *,
        threads: int | None = None,
        progress: Callable[[int, int], object] | None = None,
    ) -> _Embedding: ...
    @overload
    def embed(
        self,
        audio: Iterable[Path],
        sr: None = None,
        *,
        threads: int | None = None,
        progress: Callable[[int, int], object] | None = None,
    ) -> list[_Embedding]: ...

@disjoint_base
class Library:
    def __new__(cls, path: str | PathLike[str] | None = None, *, create: bool = False) -> Self: ...
    @property
    def path(self) -> Path: ...
    @property
    def model(self) -> str: ...
    @property
    def dimension(self) -> int: ...
    def __len__(self) -> int: ...
    def add(
        self,
        paths: str | PathLike[str] | Iterable[str | PathLike[str]],
        *,
        embedder: Embedder | None = None,
        force: bool = False,
        retry: bool = False,
        remove_missing: bool = False,
        threads: int | None = None,
        progress: Callable[[int, int], object] | None = None,
    ) -> dict[str, Any]: ...
    def query(
        self,
        name: str,
        seeds: _Seeds | None = None,
        *,
        embedder: Embedder | None = None,
        **options: Any,
    ) -> Any: ...
    def vectors(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]: ...
    def __getnewargs__(self) -> tuple[str]: ...

@final
class VectorIndex:
    def __new__(cls, vectors: _Numbers | None = None, ids: _Ids | None = None) -> VectorIndex: ...
    @staticmethod
    def load(path: str | PathLike[str]) -> VectorIndex: ...
    def save(self, path: str | PathLike[str], *, force: bool = False) -> None: ...
    def search(
        self,
        queries: _Numbers,
        k: int = 10,
        *,
        exact: bool = False,
        width: int | None = None,
        ids: _Ids | None = None,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]: ...
    def add(self, ids: int | _Ids, vectors: _Numbers) -> None: ...
    def remove(self, id: int) -> None: ...
    @property
    def ids(self) -> NDArray[np.int64]: ...
    @property
    def dimension(self) -> int: ...
    def __len__(self) -> int: ...
