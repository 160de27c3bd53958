"""Keyword arguments of queries, with their types; generated from voisin's own queries."""

from collections.abc import Sequence
from os import PathLike
from typing import Literal, TypedDict


class Filters(TypedDict, total=False):
    """Which tracks may be in an answer.

    artist: Only tracks by this artist (several, also with commas: any of them).
    bpm: Only tracks of this tempo, in beats a minute, or of a span such as 120-128, 120- or -90; a
        span with two ends less than an octave apart also matches half and twice the tempo.
    bpm_exact: Do not match half or twice that tempo.
    composer: Only tracks by this composer (several, also with commas: any of them).
    exclude_artist: No tracks by this artist.
    exclude_folder: No tracks below this folder, as the library stores it (several: none of them).
    exclude_genre: No tracks of this genre (several, also with commas: none of them).
    folder: Only tracks below this folder, as the library stores it (several: any of them).
    genre: Only tracks of this genre (several, also with commas: any of them).
    key: Only tracks in these keys: names (Am, F#), Camelot numbers (8A), several with commas, or
        with seeds `compatible`: those that mix with their keys.
    licence: Only tracks under this licence: cc-by (any version of it), cc-by-4.0, cc (all of
        Creative Commons), or a part of another licence's name (several, also with commas: any of
        them).
    loudness: Only tracks of this loudness, in LUFS, or of a span such as -16..-9, -14.. or ..-9.
    max_duration: Only tracks at most this long.
    min_duration: Only tracks at least this long: seconds.
    not_tag: No tracks that this word or tag fits better than half of the library; `voice:80`:
        better than 80 %.
    regex: Only tracks whose artist, title, album or path matches this regular expression;
        `title:(?i)remix`: whose title, ignoring case (several: all of them).
    scale: Only tracks with these values of a scale, 0 to 100: `energy=60-100`, `energy=60-`,
        `brightness=-30` (several: all of them).
    tag: Only tracks that this word or tag of `find` fits better than 80 % of the library;
        `calm:95`: better than 95 % (several: all of them).
    year: Only tracks of this year, or of a span such as 1970-1979, 1990- or -1965.
    """

    artist: str | Sequence[str]
    bpm: str | float
    bpm_exact: bool
    composer: str | Sequence[str]
    exclude_artist: str | Sequence[str]
    exclude_folder: str | PathLike[str] | Sequence[str | PathLike[str]]
    exclude_genre: str | Sequence[str]
    folder: str | PathLike[str] | Sequence[str | PathLike[str]]
    genre: str | Sequence[str]
    key: str | Sequence[str]
    licence: str | Sequence[str]
    loudness: str | float
    max_duration: float
    min_duration: float
    not_tag: str | Sequence[str]
    regex: str | Sequence[str]
    scale: str | Sequence[str]
    tag: str | Sequence[str]
    year: str | float


class SimilarOptions(Filters, total=False):
    """Of `Library.similar`.

    include_seed: Keep the seeds and their duplicates in the results.
    max_per_artist: At most this many tracks of one artist; 0: no limit.
    min_similarity: Only neighbours at least this similar (cosine, -1 to 1).
    search: Search method.
    sort: The neighbours' order: similarity, bpm, key, loudness, or a scale such as energy; tracks
        without a value come last.
    unlike_weight: Weight of `unlike`, 0 to 1.
    """

    include_seed: bool
    max_per_artist: int
    min_similarity: float
    search: Literal["auto", "exact", "scan", "lists", "hnsw"]
    sort: str
    unlike_weight: float


class PlaylistOptions(Filters, total=False):
    """Of `Library.playlist`.

    cluster: Use all tracks of this cluster as seeds.
    diversity: 0: nearest only; 1: as varied as the neighbourhood allows.
    keep_duplicates: Leave copies of the same recording, and tracks with one artist and title, in
        the list.
    length: Length of the list in seconds, instead of a number of tracks.
    max_per_album: At most this many tracks of one album; 0: as many as fit.
    max_per_artist: At most this many tracks of one artist; 0: as many as fit.
    min_similarity: Least similarity of a track to its seed.
    random_seed: Where random numbers of variety and shuffle start: the same number gives the same
        list [default: another one each time].
    shuffle: Shuffle instead of ordering by small steps.
    variety: Draw each track from the nearest 1 + 40 × this that fit: 0 always takes the best, so
        that the list is the same each time.
    """

    cluster: int
    diversity: float
    keep_duplicates: bool
    length: float
    max_per_album: int
    max_per_artist: int
    min_similarity: float
    random_seed: int
    shuffle: bool
    variety: float


class PathOptions(TypedDict, total=False):
    """Of `Library.path_between`.

    max_per_artist: At most this many tracks of one artist; 0: no limit.
    steps: Number of steps [default: nine from one stop to the next].
    """

    max_per_artist: int
    steps: int


class FindOptions(Filters, total=False):
    """Of `Library.find`.

    length: Fill this much time, in seconds, instead of giving a count.
    max_per_artist: At most this many tracks of one artist; 0: no limit.
    """

    length: float
    max_per_artist: int


class ListOptions(Filters, total=False):
    """Of `Library.tracks`.

    query: Words in artist, title, album or file name.
    reverse: Reverse the order.
    sort: The order: id, artist, album, title, genre, year, time, added, path, size, codec, licence,
        bpm, key, loudness, or a scale such as energy; tracks without a value come last.
    """

    query: str
    reverse: bool
    sort: str


class ClassifyOptions(TypedDict, total=False):
    """Of `Library.classify`.

    label_from: Source of genres for this query.
    precision: Share of right answers that is required, else the answer is "unknown"; needs a
        trained head.
    search: Search method.
    """

    label_from: Literal["tags", "folder"]
    precision: float
    search: Literal["auto", "exact", "scan", "lists", "hnsw"]


class ClustersOptions(TypedDict, total=False):
    """Of `Library.clusters`.

    clusters: Find exactly this many clusters [default: as the data suggests].
    """

    clusters: int
