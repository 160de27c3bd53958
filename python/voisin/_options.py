"""Keyword arguments of questions, with the types that a checker knows; made of voisin's own questions."""

from collections.abc import Sequence
from os import PathLike
from typing import Literal, TypedDict


class Filters(TypedDict, total=False):
    """Which tracks may be in an answer.

    artist: Only tracks by this artist (several, also with commas: any of them).
    bpm: Only tracks of this tempo, in beats a minute, or of a span such as 120-128, 120- or -90; of
        half or twice as many beats as well where the span has two ends less than an octave apart.
    bpm_exact: Not half or twice that tempo.
    composer: Only tracks by this composer (several, also with commas: any of them).
    exclude_artist: No tracks by this artist.
    exclude_folder: No tracks below this folder, as the library has it (several: none of them).
    exclude_genre: No tracks of this genre (several, also with commas: none of them).
    folder: Only tracks below this folder, as the library has it (several: any of them).
    genre: Only tracks of this genre (several, also with commas: any of them).
    key: Only tracks in these keys: names (Am, F#), Camelot numbers (8A), several with commas, or
        `compatible`: those that mix with the seeds' keys.
    licence: Only tracks under this licence: cc-by (any version of it), cc-by-4.0, cc (all of
        Creative Commons), or a part of another licence's name (several, also with commas: any of
        them).
    loudness: Only tracks of this loudness, in LUFS, or of a span such as -16..-9, -14.. or ..-9.
    max_duration: Only tracks at most this long.
    min_duration: Only tracks at least this long: seconds.
    not_tag: No tracks that are this word or tag more than half of the library is; `voice:80`: more
        than 80 %.
    regex: Only tracks whose artist, title, album or path this regular expression fits;
        `title:(?i)remix`: whose title, without regard to case (several: all of them).
    scale: Only tracks with these values of a scale, 0 to 100: `energy=60-100`, `energy=60-`,
        `brightness=-30` (several: all of them).
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
    scale: str | Sequence[str]
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

    feel: From 0, alike in sound, to 1, alike in feel: tracks of the seeds' energy, and of the
        scales that you taught, come before nearer ones.
    include_seed: Keep the seeds and their duplicates in the answer.
    max_per_artist: At most this many tracks of one artist; 0: as many as there are.
    min_similarity: Only neighbours at least this similar (cosine, -1 to 1).
    search: How the nearest neighbours are found.
    sort: The neighbours' order: similarity, bpm, key, loudness, or a scale such as energy; those of
        which it is not known come last.
    steer: More of one thing and less of another than in what is nearest.
    unlike_weight: How strongly to stay away, 0 to 1.
    """

    feel: float
    include_seed: bool
    max_per_artist: int
    min_similarity: float
    search: Literal["auto", "exact", "scan", "lists", "hnsw"]
    sort: str
    steer: Steer
    unlike_weight: float


class Mixing(TypedDict, total=False):
    """What the mix is like.

    drift: 0: it stays with what it starts from; 1: it goes wherever what was played last leads
        [default: 0.3].
    feel: From 0, alike in sound, to 1, alike in feel: songs of the seeds' energy, and of the scales
        that you taught, come before nearer ones [default: 0].
    keep_versions: Other recordings of a song that is in it, too.
    listener: Whose listening that is, as `voisin heard` names them [default: that of all].
    longest: Nothing longer, in seconds, unless it is at most twice as long as what the mix starts
        from; 0: however long [default: 900].
    max_per_album: At most this many songs of one album; 0: as many as fit [default: 3].
    max_per_artist: At most this many songs of one artist; 0: as many as fit [default: 3].
    near_only: Fewer songs rather than strangers: what is farther than nearly all tracks here have
        their nearest.
    not_heard: What was heard within this time comes last, in seconds; 0: it makes no difference
        [default: 86400].
    random_seed: Where the random numbers start: the same mix again [default: another one each
        time].
    shortest: Nothing shorter, in seconds, unless it is at least half as long as what the mix starts
        from [default: 60].
    taste: How much it counts what was liked, rated and heard often; 0: nothing, and what is
        disliked may come [default: 0.5].
    variety: 0: always the nearest; 1: any of those that are near [default: 0.5].
    """

    drift: float
    feel: float
    keep_versions: bool
    listener: str
    longest: float
    max_per_album: int
    max_per_artist: int
    near_only: bool
    not_heard: float
    random_seed: int
    shortest: float
    taste: float
    variety: float


class MixOptions(Filters, total=False):
    """Of `Library.mix`.

    curve: How a scale changes along the mix: rise, fall, arc, warm-up, peak or cool-down:
        `energy=arc`.
    mixing: What the mix is like.
    """

    curve: str
    mixing: Mixing


class PlaylistOptions(Filters, total=False):
    """Of `Library.playlist`.

    cluster: All tracks of this cluster as seeds.
    curve: How a scale changes along the list: rise, fall, arc (up to a late peak and down), warm-up
        (slowly, up to two thirds), peak (never below that) or cool-down, between what the tracks
        near the seeds have least and most of: `energy=arc`.
    diversity: 0: nearest only; 1: as varied as the neighbourhood allows.
    harmonic: Each track's key mixes with that of the one before: the same, a fifth up or down, or
        the relative key.
    keep_duplicates: Leave copies of the same recording in the list.
    keep_versions: Leave other versions of a song in the list: by the same artist, with a title that
        differs in words such as live, remaster, radio edit or remix alone.
    length: How long, in seconds, instead of how many tracks.
    max_bpm_step: At most this many beats a minute from one track to the next.
    max_per_album: At most this many tracks of one album; 0: as many as fit.
    max_per_artist: At most this many tracks of one artist; 0: as many as fit.
    min_similarity: Least similarity to the seed a track is there for.
    no_duplicates: Listen to tracks of the list that may be copies of the same recording: finds
        those of low bit rates, which would pass otherwise. Where a file cannot be read, vectors,
        lengths and titles decide.
    shuffle: Shuffle instead of ordering by small steps: where the random numbers start.
    """

    cluster: int
    curve: str
    diversity: float
    harmonic: bool
    keep_duplicates: bool
    keep_versions: bool
    length: float
    max_bpm_step: float
    max_per_album: int
    max_per_artist: int
    min_similarity: float
    no_duplicates: bool
    shuffle: int


class PathOptions(TypedDict, total=False):
    """Of `Library.path_between`.

    curve: How a scale changes on the way: rise, fall, arc, warm-up, peak or cool-down, between what
        tracks near the way have least and most of. Steps are a quarter larger for it, or more:
        `energy=rise`.
    max_per_artist: At most this many tracks of one artist; 0: as many as there are.
    steps: Number of steps [default: as many as it takes].
    """

    curve: str
    max_per_artist: int
    steps: int


class FindOptions(Filters, total=False):
    """Of `Library.find`.

    length: As many as fill this time, in seconds, in place of a number.
    max_per_artist: At most this many tracks of one artist; 0: as many as there are.
    """

    length: float
    max_per_artist: int


class ListOptions(Filters, total=False):
    """Of `Library.tracks`.

    query: Words that artist, title, album or file name have.
    reverse: The other way round.
    sort: The order: id, artist, album, title, genre, year, time, added, path, size, codec, licence,
        bpm, key, loudness, or a scale such as energy; what a track lacks puts it last.
    """

    query: str
    reverse: bool
    sort: str


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

    rough: Read no file: faster, and nothing is confirmed by listening. Copies are then those of one
        length (within 5 s, without silence at the ends) whose stored vectors fit and whose titles
        and artists do not differ; those of low bit rates, those under other titles and altered ones
        without tags are missed. Versions go by titles alone.
    versions: Group versions of a song instead of copies of a recording: by the same artist, with
        titles that differ in words such as live, remaster, radio edit or remix alone, or near in
        sound, and with chords that go together; nothing should be deleted for it.
    """

    rough: bool
    versions: bool
