"""voisin ("neighbour"): a vector-search engine for music.

    from voisin import Embedder, Library, VectorIndex

    embedding = Embedder().embed("song.flac")       # or samples: embed(samples, sr)
    library = Library("/home/me/music-library", create=True)
    library.add("/home/me/Music")                   # as the program does: voisin add ~/Music
    for found in library.similar("nina simone"):
        print(f"{found['similarity']:.3f}", found["artist"], found["title"])
    ids, vectors = library.vectors()                # NumPy, without a copy
    index = VectorIndex(vectors, ids)

Shapes, units and errors are in each class's documentation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from . import _voisin
from ._voisin import Embedder, VectorIndex, __version__, models

if TYPE_CHECKING:
    from ._voisin import _Named, _Seeds

__all__ = ["Embedder", "Library", "NoSuchTrack", "VectorIndex", "__version__", "models"]


class NoSuchTrack(KeyError):
    """No track matches, or several do; the text lists candidates."""

    # KeyError would quote its text and join its lines.
    __str__ = Exception.__str__


class Library(_voisin.Library):
    """A library of music that was added from Python or by the program (`voisin add ~/Music`). It
    sees changes by other processes.

    Library(path=None, *, create=False)

    path: its folder; None: the default one. create: create a library in a folder without one.
    Raises FileNotFoundError without a folder.

    Answers are those of the program as dictionaries (docs/serve.md); options are its options.
    """

    def similar(
        self, seeds: _Seeds, limit: int | None = 10, **options: Any
    ) -> list[dict[str, Any]]:
        """The tracks nearest to the seeds' mean, nearest first; limit: None: all."""
        return self.query("similar", seeds, limit=limit or 0, **options)["neighbours"]

    def find(self, words: str, limit: int | None = 20, **options: Any) -> list[dict[str, Any]]:
        """Tracks that match words for their sound, "calm piano no drums", best first."""
        return self.query("find", query=words, limit=limit or 0, **options)["tracks"]

    def playlist(
        self, seeds: _Seeds | None = None, limit: int | None = 20, **options: Any
    ) -> dict[str, Any]:
        """A playlist around tracks; without seeds, around those that pass the filters."""
        if "length" not in options:
            options["limit"] = limit or 0
        return self.query("playlist", seeds, **options)

    def path_between(
        self, start: _Named, end: _Named, *, via: Sequence[_Named] = (), **options: Any
    ) -> dict[str, Any]:
        """A path from one track to another, through `via`."""
        return self.query("path", [start, end, *via], **options)

    def classify(self, tracks: _Seeds, **options: Any) -> list[dict[str, Any]]:
        """The genres of tracks: for each its answer with the evidence."""
        return self.query("classify", tracks, **options)["items"]

    def genres(self, **options: Any) -> dict[str, Any]:
        """How close the genres are to one another."""
        return self.query("genres", **options)

    def clusters(self, **options: Any) -> dict[str, Any]:
        """Groups of tracks that sound alike."""
        return self.query("clusters", **options)

    def duplicates(self, **options: Any) -> list[dict[str, Any]]:
        """Recordings in several files, largest saving first."""
        return self.query("duplicates", **options)["items"]

    def tracks(self, limit: int | None = None, **options: Any) -> list[dict[str, Any]]:
        """Tracks that pass the filters, with tags and measurements: genre="Jazz", sort="title"."""
        return self.query("list", limit=limit or 0, **options)["tracks"]
