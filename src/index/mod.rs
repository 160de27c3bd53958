//! Nearest-neighbour search over track vectors: exact scan and HNSW. A cache of the library.
