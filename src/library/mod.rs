//! The SQLite catalogue: tracks, files, tags, vectors, failures. The source of truth.
