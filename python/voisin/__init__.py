"""voisin ("neighbour"): a vector-search engine for music.

    from voisin import Embedder, Library, VectorIndex

    embedding = Embedder().embed("song.flac")       # or samples: embed(samples, sr)
    library = Library("/home/me/music-library", create=True)
    library.add("/home/me/Music")                   # as the program does: voisin add ~/Music
    for found in library.similar("nina simone"):
        print(f"{found.similarity:.3f}", found.track.artist, found.track.title)
    ids, vectors = library.vectors()                # NumPy, without a copy
    index = VectorIndex(vectors, ids)

Shapes, units and errors are in each class's documentation.
"""

from ._answers import Embedding, Found, Neighbor, NoSuchTrack, Track
from ._options import (
    ClassifyOptions,
    ClustersOptions,
    FindOptions,
    ListOptions,
    PathOptions,
    PlaylistOptions,
    SimilarOptions,
)
from ._voisin import Embedder, Library, Table, VectorIndex, __version__, models

__all__ = [
    "ClassifyOptions",
    "ClustersOptions",
    "Embedder",
    "Embedding",
    "FindOptions",
    "Found",
    "Library",
    "ListOptions",
    "Neighbor",
    "NoSuchTrack",
    "PathOptions",
    "PlaylistOptions",
    "SimilarOptions",
    "Table",
    "Track",
    "VectorIndex",
    "__version__",
    "models",
]
