"""Results as plain data, which can be compared, copied and pickled, and errors."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


class NoSuchTrack(KeyError):
    """No track matches, or several do; the text lists candidates."""

    # KeyError would quote its text and join its lines.
    __str__ = Exception.__str__


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Embedding:
    """The result of analysing audio.

    vector: the track's, float32 [dimension], of length 1: the mean of its windows. Cosines are
    inner products. windows: those of the windows, the network's output, float32 [windows,
    dimension]. starts: where each window begins, float32 [windows], in seconds.
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

    id: its number in this library. path: its file, the first if there are several. title, artist,
    album, album_artist, composer, year, licence, mbid, isrc, replay_gain: from its tags, None if
    missing. genres: by the library's label source. seconds: its length. content: its content id,
    64 hexadecimal digits, the same for the same audio in every library of this kind. codec: its
    compression. tempo (beats a minute), key (such as "Am"), camelot, loudness (LUFS): measured,
    else None. scales: its values by name, 0 to 100. added: in seconds since 1970 UTC.
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
    """A similar track.

    track: the track. similarity: cosine to the seeds' mean, relative to the library's, -1 to 1.
    percentile: share of the library's tracks whose nearest by another artist is no nearer than
    this, 0 to 1; None in a library that is too small.
    """

    track: Track
    similarity: float
    percentile: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A track that fits words.

    track: the track. fit: how well it fits, 0 to 1: the geometric mean of the terms. terms: the
    strength of each, 0 to 1: the share of the library that fits less. captions: for each
    sentence, with CLAP models, the share of a thousand captions that fit the track less.
    """

    track: Track
    fit: float
    terms: dict[str, float]
    captions: dict[str, float]
