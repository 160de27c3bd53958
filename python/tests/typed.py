"""Uses that a type checker accepts and refuses: each line with "ignore" is an error, else mypy
--strict reports the comment as unused. None of this is run."""

from collections.abc import Iterator
from pathlib import Path
from typing import assert_type

import numpy as np
import voisin
from numpy.typing import NDArray


def allowed(library: voisin.Library, embedder: voisin.Embedder, index: voisin.VectorIndex) -> None:
    samples: NDArray[np.float32] = np.zeros((2, 48000), np.float32)
    assert_type(embedder.embed("song.flac"), voisin.Embedding)
    assert_type(embedder.embed(Path("song.flac"), windows="all"), voisin.Embedding)
    assert_type(embedder.embed(b"bytes"), voisin.Embedding)
    assert_type(embedder.embed(samples, 48000, threads=2), voisin.Embedding)
    assert_type(embedder.embed((samples, 48000)), voisin.Embedding)
    assert_type(
        embedder.embed([b"bytes", Path("song.flac"), (samples, 48000)]), list[voisin.Embedding]
    )
    assert_type(embedder.embed(audio()), list[voisin.Embedding])
    assert_type(
        embedder.embed([open("a.flac", "rb")], return_exceptions=True),
        list[voisin.Embedding | Exception],
    )
    for found in library.similar(
        ["nina simone", 7, Path("a.flac"), samples[0]], None, genre="Jazz", year=1965
    ):
        assert_type(found.track.tempo, float | None)
    library.similar(
        "a",
        artist=["b", "c"],
        folder=Path("d"),
        search="exact",
    )
    options: voisin.SimilarOptions = {"genre": ["Jazz"], "bpm": "120-128", "include_seed": True}
    library.similar(7, 20, unlike=8, embedder=embedder, **options)
    assert_type(library.find("calm", bpm=90, length=3600)[0].terms, dict[str, float])
    assert_type(library.tracks(sort="bpm", reverse=True), list[voisin.Track])
    library.classify(["a.flac", 7], precision=0.9)
    library.playlist(["a", 7], length=3600, variety=0.5)
    library.playlist(limit=None, genre="Jazz")
    library.path_between("a", 7, via=["b", Path("c")], steps=9)
    library.table(100, after=7, vectors=False, sort="year")
    library.clusters(clusters=9)
    library.duplicates()
    library.add(["a", Path("b")], windows="all", remove_missing=True, progress=print)
    ids, similarities = index.search(samples, 5, filter=lambda id: id % 2 == 0)
    assert_type(ids, NDArray[np.int64])
    index.add(7, samples[0])
    assert_type(index.kneighbors(samples, return_distance=False), NDArray[np.int64])


def audio() -> Iterator[bytes]:
    yield b"bytes"


def refused(library: voisin.Library, embedder: voisin.Embedder, index: voisin.VectorIndex) -> None:
    samples: NDArray[np.float32] = np.zeros(48000, np.float32)
    embedder.embed("song.flac", 44100)  # type: ignore[arg-type]
    embedder.embed(7)  # type: ignore[call-overload]
    embedder.embed("song.flac", windows="some")  # type: ignore[call-overload]
    library.similar("a", "b")  # type: ignore[arg-type]
    library.similar("a", genr="Jazz")  # type: ignore[call-arg]
    library.similar("a", genre=7)  # type: ignore[arg-type]
    library.similar("a", search="quick")  # type: ignore[arg-type]
    library.playlist(samples)  # type: ignore[arg-type]
    library.path_between("a", ["b"])  # type: ignore[arg-type]
    library.find(7)  # type: ignore[arg-type]
    library.tracks(sort=7)  # type: ignore[arg-type]
    library.clusters(rough=True)  # type: ignore[call-arg]
    library.track("a")  # type: ignore[arg-type]
    library.track(7).title = "b"  # type: ignore[misc]
    index.search("a")  # type: ignore[arg-type]
    index.search(samples, "5")  # type: ignore[arg-type]
    voisin.VectorIndex(samples, metric="taxicab")  # type: ignore[arg-type]
