"""What the package gives: plain data, which can be compared, copied and pickled, and the error for
what is not there.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


class NoSuchTrack(KeyError):
    """What was asked for is not there, or is there several times; the text says what is."""

    # A KeyError would show its text quoted, with its lines in one.
    __str__ = Exception.__str__


class DatabaseError(RuntimeError):
    """A library in a database gives no answer: the server is not there or refuses, it holds no
    library, or what was asked is about all tracks and takes a library in a folder; the text says
    which, and the next step."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Embedding:
    """What listening gave.

    vector: the track's, float32 [dimension], of length 1: the mean of its windows. Cosines are
    inner products. windows: the windows' as the network gave them, float32 [windows, dimension].
    starts: where each window begins, float32 [windows], in seconds.
    """

    vector: NDArray[np.float32]
    windows: NDArray[np.float32]
    starts: NDArray[np.float32]

    def __repr__(self) -> str:
        windows, dimension = self.windows.shape
        return f"Embedding({windows} windows of {dimension} numbers)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """A track of a library.

    id: its number in this library. path: its file, of several the first. title, artist, album,
    album_artist, composer, year, licence, mbid, isrc, replay_gain: as its tags say, None where they
    are silent. genres: as the library's label source has them. seconds: its length. content: its
    content id, 64 hexadecimal digits, the same for the same audio in every library of this kind.
    codec: how it is compressed. tempo (beats a minute), key (such as "Am"), camelot, loudness
    (LUFS): as measured, None where they were not. scales: its values by their names, 0 to 100.
    added: when, in seconds since 1970 UTC.
    """

    id: int
    path: Path
    title: str | None
    artist: str | None
    album: str | None
    album_artist: str | None
    composer: str | None
    genres: tuple[str, ...]
    year: int | None
    seconds: float
    codec: str
    content: str
    licence: str | None
    mbid: str | None
    isrc: str | None
    replay_gain: float | None
    tempo: float | None
    key: str | None
    camelot: str | None
    loudness: float | None
    scales: dict[str, float] = field(hash=False)
    added: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbor:
    """A track that was found.

    track: which. similarity: cosine to the seeds' mean, relative to the library's, -1 to 1.
    percentile: share of the library's tracks whose nearest by another artist is no nearer than
    this, 0 to 1; None in a library that is too small to tell.
    """

    track: Track
    similarity: float
    percentile: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A track that fits words.

    track: which. fit: how well, 0 to 1: the geometric mean of the terms. terms: the strength of
    each, 0 to 1: the share of the library that is less so. captions: of each sentence, which a
    CLAP model reads, the share of a thousand captions that the track sounds less like.
    """

    track: Track
    fit: float
    terms: dict[str, float]
    captions: dict[str, float]
