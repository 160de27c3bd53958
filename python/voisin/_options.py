"""Keyword arguments of questions, with the types that a checker knows; made of voisin's own questions."""

from collections.abc import Sequence
from os import PathLike
from typing import Literal, TypedDict


class Filters(TypedDict, total=False):
    """Which tracks may be in an answer.

    artist: Only tracks by this artist (several: any of them).
    bpm: Only tracks of this tempo, in beats a minute, or of a span such as 120-128, 120- or -90; of
        half or twice as many beats as well where the span has two ends less than an octave apart.
    bpm_exact: Not half or twice that tempo.
    composer: Only tracks by this composer (several: any of them).
    exclude_artist: No tracks by this artist.
    exclude_folder: No tracks below this folder, as the library has it (several: none of them).
    exclude_genre: No tracks of this genre (several: none of them).
    folder: Only tracks below this folder, as the library has it (several: any of them).
    genre: Only tracks of this genre (several: any of them).
    key: Only tracks in these keys: names (Am, F#), Camelot numbers (8A), several with commas, or
        `compatible`: those that mix with the seeds' keys.
    licence: Only tracks under this licence: cc-by (any version of it), cc-by-4.0, cc (all of
        Creative Commons), or a part of another licence's name (several: any of them).
    loudness: Only tracks of this loudness, in LUFS, or of a span such as -16..-9, -14.. or ..-9.
    max_duration: Only tracks at most this long.
    min_duration: Only tracks at least this long: seconds.
    not_tag: No tracks that are this word or tag more than half of the library is; `voice:80`: more
        than 80 %.
    regex: Only tracks whose artist, title, album or path this regular expression fits;
        `title:(?i)remix`: whose title, without regard to case (several: all of them).
    tag: Only tracks that are this word or tag, as `find` understands it, more than 80 % of the
        library is; `calm:95`: more than 95 % (several: all of them).
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
    tag: str | Sequence[str]
    year: str | float


class Steer(TypedDict, total=False):
    """More of one thing and less of another than in what is nearest.

    faster: Higher tempos.
    keep: Share of the unmoved answer's mean similarity that is kept at least: 1 moves nothing, 0
        goes farthest.
    less: Less of it.
    louder: Louder recordings.
    more: More of what these words say, as `find` knows them.
    quieter: Softer recordings.
    slower: Lower tempos.
    """

    faster: bool
    keep: float
    less: str | Sequence[str]
    louder: bool
    more: str | Sequence[str]
    quieter: bool
    slower: bool


class SimilarOptions(Filters, total=False):
    """Of `Library.similar`.

    include_seed: Keep the seeds and their duplicates in the answer.
    max_per_artist: At most this many tracks of one artist.
    min_similarity: Only neighbours at least this similar (cosine, -1 to 1).
    search: How the nearest neighbours are found.
    sort: What the neighbours are sorted by; those of which it is not known come last.
    steer: More of one thing and less of another than in what is nearest.
    unlike_weight: How strongly to stay away, 0 to 1.
    """

    include_seed: bool
    max_per_artist: int
    min_similarity: float
    search: Literal["auto", "exact", "scan", "lists", "hnsw"]
    sort: Literal["similarity", "bpm", "key", "loudness"]
    steer: Steer
    unlike_weight: float


class FindOptions(Filters, total=False):
    """Of `Library.find`.

    length: As many as fill this time, in seconds, in place of a number.
    max_per_artist: At most this many tracks of one artist.
    """

    length: float
    max_per_artist: int


class ListOptions(Filters, total=False):
    """Of `Library.tracks`.

    query: Words that artist, title, album or file name have.
    reverse: The other way round.
    sort: What the order goes by; what a track lacks puts it last.
    """

    query: str
    reverse: bool
    sort: Literal["id", "artist", "album", "title", "genre", "year", "time", "added", "path", "size", "codec", "licence", "bpm", "key", "loudness"]


class ClassifyOptions(TypedDict, total=False):
    """Of `Library.classify`.

    among: Answer with one of these genres only.
    label_from: Where genres come from, this once.
    neighbours: Let so many neighbours vote, without the trained head [default: 15, where there is
        no head].
    other_artists: Voters by other artists only.
    precision: Say "unknown" unless answers this sure are right this often; needs a trained head.
    search: How the nearest neighbours are found.
    """

    among: str | Sequence[str]
    label_from: Literal["tags", "folder"]
    neighbours: int
    other_artists: bool
    precision: float
    search: Literal["auto", "exact", "scan", "lists", "hnsw"]


class ClustersOptions(TypedDict, total=False):
    """Of `Library.clusters`.

    clusters: This many clusters instead of what the music suggests.
    detail: How finely to divide.
    """

    clusters: int
    detail: Literal["coarse", "default", "fine"]


class DuplicatesOptions(TypedDict, total=False):
    """Of `Library.duplicates`.

    rough: Judge by the stored vectors alone (versions: by titles alone): faster, reads no file,
        misses more copies of low bit rates.
    versions: Group versions of a song instead of copies of a recording: by the same artist, with
        titles that differ in words such as live, remaster, radio edit or remix alone, or near in
        sound, and with chords that go together; nothing should be deleted for it.
    """

    rough: bool
    versions: bool
