-- Schema 1. Times are seconds since 1970 UTC unless the name ends in _ns. Paths are the system's bytes.

-- One row: who this library is, and counters that triggers keep.
CREATE TABLE state (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    library_id  TEXT    NOT NULL,
    generation  INTEGER NOT NULL DEFAULT 0,
    tracks      INTEGER NOT NULL DEFAULT 0,
    files       INTEGER NOT NULL DEFAULT 0,
    vectors     INTEGER NOT NULL DEFAULT 0,
    windows     INTEGER NOT NULL DEFAULT 0,
    failures    INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO state (id, library_id) VALUES (1, lower(hex(randomblob(16))));

-- At most one row: the model whose vectors are here.
CREATE TABLE model (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    name        TEXT    NOT NULL,
    fingerprint TEXT    NOT NULL,
    dimension   INTEGER NOT NULL CHECK (dimension > 0),
    manifest    TEXT    NOT NULL
) STRICT;

CREATE TABLE settings (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- A recording. AUTOINCREMENT: the id of a removed track never comes back, or a lagging index would show ghosts.
CREATE TABLE audio (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    content         BLOB    NOT NULL UNIQUE CHECK (length(content) = 32),
    seconds         REAL    NOT NULL,
    sample_rate     INTEGER NOT NULL,
    channels        INTEGER NOT NULL,
    container       TEXT    NOT NULL,
    codec           TEXT    NOT NULL,
    packets         INTEGER NOT NULL,
    damaged_packets INTEGER NOT NULL,
    added_at        INTEGER NOT NULL,
    last_path       BLOB    NOT NULL
) STRICT;

CREATE TABLE files (
    id       INTEGER PRIMARY KEY,
    track    INTEGER NOT NULL REFERENCES audio (id) ON DELETE CASCADE,
    path     BLOB    NOT NULL UNIQUE,
    size     INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    seen_at  INTEGER NOT NULL
) STRICT;
CREATE INDEX files_of_track ON files (track);

-- The *_key columns and search hold text without case and accents.
CREATE TABLE tags (
    file             INTEGER PRIMARY KEY REFERENCES files (id) ON DELETE CASCADE,
    title            TEXT,
    artist           TEXT,
    album            TEXT,
    album_artist     TEXT,
    year             INTEGER,
    track_number     INTEGER,
    disc_number      INTEGER,
    artist_key       TEXT,
    album_artist_key TEXT,
    search           TEXT NOT NULL
) STRICT;

CREATE TABLE genres (
    file      INTEGER NOT NULL REFERENCES files (id) ON DELETE CASCADE,
    position  INTEGER NOT NULL,
    genre     TEXT    NOT NULL,
    genre_key TEXT    NOT NULL,
    PRIMARY KEY (file, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX genres_by_key ON genres (genre_key, file);

-- f32 little-endian, unit norm. Apart from the rest so that one pass reads them all.
CREATE TABLE vectors (
    track  INTEGER PRIMARY KEY REFERENCES audio (id) ON DELETE CASCADE,
    vector BLOB NOT NULL
) STRICT;

-- vectors: f16 little-endian, [count, dimension]; starts: f32 little-endian, seconds, [count].
CREATE TABLE windows (
    track   INTEGER PRIMARY KEY REFERENCES audio (id) ON DELETE CASCADE,
    count   INTEGER NOT NULL,
    starts  BLOB    NOT NULL,
    vectors BLOB    NOT NULL
) STRICT;

CREATE TABLE failures (
    id        INTEGER PRIMARY KEY,
    path      BLOB    NOT NULL UNIQUE,
    size      INTEGER,
    mtime_ns  INTEGER,
    reason    TEXT    NOT NULL,
    transient INTEGER NOT NULL,
    attempts  INTEGER NOT NULL,
    failed_at INTEGER NOT NULL
) STRICT;

-- One row for each of the last generations. change: 0 added, 1 replaced, 2 removed.
CREATE TABLE changes (
    generation INTEGER PRIMARY KEY,
    track      INTEGER NOT NULL,
    change     INTEGER NOT NULL
) STRICT;

-- Whatever changes a vector, by whatever way, takes a new generation in the same transaction.
CREATE TRIGGER vector_added AFTER INSERT ON vectors BEGIN
    UPDATE state SET generation = generation + 1, vectors = vectors + 1;
    INSERT INTO changes SELECT generation, new.track, 0 FROM state;
    DELETE FROM changes WHERE generation <= (SELECT generation FROM state) - 131072;
END;
CREATE TRIGGER vector_replaced AFTER UPDATE ON vectors BEGIN
    UPDATE state SET generation = generation + 1;
    INSERT INTO changes SELECT generation, new.track, 1 FROM state;
    DELETE FROM changes WHERE generation <= (SELECT generation FROM state) - 131072;
END;
CREATE TRIGGER vector_removed AFTER DELETE ON vectors BEGIN
    UPDATE state SET generation = generation + 1, vectors = vectors - 1;
    INSERT INTO changes SELECT generation, old.track, 2 FROM state;
    DELETE FROM changes WHERE generation <= (SELECT generation FROM state) - 131072;
END;

CREATE TRIGGER track_counted     AFTER INSERT ON audio    BEGIN UPDATE state SET tracks = tracks + 1; END;
CREATE TRIGGER track_discounted  AFTER DELETE ON audio    BEGIN UPDATE state SET tracks = tracks - 1; END;
CREATE TRIGGER file_counted      AFTER INSERT ON files    BEGIN UPDATE state SET files = files + 1; END;
CREATE TRIGGER file_discounted   AFTER DELETE ON files    BEGIN UPDATE state SET files = files - 1; END;
CREATE TRIGGER failure_counted   AFTER INSERT ON failures BEGIN UPDATE state SET failures = failures + 1; END;
CREATE TRIGGER failure_discounted AFTER DELETE ON failures BEGIN UPDATE state SET failures = failures - 1; END;
CREATE TRIGGER windows_counted   AFTER INSERT ON windows  BEGIN UPDATE state SET windows = windows + new.count; END;
CREATE TRIGGER windows_recounted AFTER UPDATE ON windows  BEGIN UPDATE state SET windows = windows - old.count + new.count; END;
CREATE TRIGGER windows_discounted AFTER DELETE ON windows BEGIN UPDATE state SET windows = windows - old.count; END;
