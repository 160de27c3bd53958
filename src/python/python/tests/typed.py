"""Uses that a type checker accepts and refuses: each line with "ignore" is an error, else mypy
--strict reports the comment as unused. None of this is run."""

from pathlib import Path
from typing import assert_type

import numpy as np
from numpy.typing import NDArray

import voisin


def allowed(library: voisin.Library, embedder: voisin.Embedder, index: voisin.VectorIndex) -> None:
    samples: NDArray[np.float32] = np.zeros((2, 48000), np.float32)
    embedder.embed("song.flac")["vector"]
    embedder.embed(Path("song.flac"))["vector"]
    embedder.embed(samples, 48000, threads=2)["vector"]
    embedder.embed([Path("song.flac"), Path("b.flac")])[0]["vector"]
    library.similar(["nina simone", 7, Path("a.flac"), samples[0]], None, genre="Jazz", year=1965)
    library.find("calm", bpm=90, limit=5)
    library.playlist(["a", 7], length=3600, variety=0.5)
    library.path_between("a", 7, via=["b", Path("c")], steps=9)
    library.query("similar", 7, unlike="id:8", limit=20, embedder=embedder)
    library.add(["a", Path("b")], remove_missing=True, progress=print)
    ids, similarities = index.search(samples, 5, ids=[1, 2])
    assert_type(ids, NDArray[np.int64])
    index.add(7, samples[0])


def refused(library: voisin.Library, embedder: voisin.Embedder, index: voisin.VectorIndex) -> None:
    samples: NDArray[np.float32] = np.zeros(48000, np.float32)
    embedder.embed("song.flac", 44100)  # type: ignore[arg-type]
    embedder.embed(7)  # type: ignore[call-overload]
    embedder.embed("song.flac", threads="some")  # type: ignore[call-overload]
    library.similar("a", "b")  # type: ignore[arg-type]
    library.path_between("a", ["b"])  # type: ignore[arg-type]
    library.find(7)  # type: ignore[arg-type]
    index.search("a")  # type: ignore[arg-type]
    index.search(samples, "5")  # type: ignore[arg-type]
