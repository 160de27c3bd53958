-- Times are seconds since 1970 UTC unless the name ends in _ns. Paths are the system's bytes.

-- The model whose vectors are here: those of two are never compared.
CREATE TABLE model (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    name        TEXT    NOT NULL,
    fingerprint TEXT    NOT NULL,
    dimension   INTEGER NOT NULL CHECK (dimension > 0),
    manifest    TEXT    NOT NULL
) STRICT;

-- One row: who this library is, and counters that triggers keep. generation counts the changes to vectors, metadata those
-- to tags and to labels given by hand.
CREATE TABLE state (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    library_id  TEXT    NOT NULL,
    generation  INTEGER NOT NULL DEFAULT 0,
    metadata    INTEGER NOT NULL DEFAULT 0,
    tracks      INTEGER NOT NULL DEFAULT 0,
    files       INTEGER NOT NULL DEFAULT 0,
    vectors     INTEGER NOT NULL DEFAULT 0,
    failures    INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO state (id, library_id) VALUES (1, lower(hex(randomblob(16))));

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
    mtime_ns INTEGER NOT NULL
) STRICT;
CREATE INDEX files_of_track ON files (track);

-- The *_key columns and search hold text without case and accents. mbid: the recording's id at MusicBrainz; licence: its
-- name or address as the file has it; replay_gain: of the track, dB; bpm: beats a minute; musical_key: as the file spells it.
CREATE TABLE tags (
    file             INTEGER PRIMARY KEY REFERENCES files (id) ON DELETE CASCADE,
    title            TEXT,
    artist           TEXT,
    album            TEXT,
    album_artist     TEXT,
    composer         TEXT,
    year             INTEGER,
    track_number     INTEGER,
    disc_number      INTEGER,
    artist_key       TEXT,
    album_artist_key TEXT,
    title_key        TEXT,
    album_key        TEXT,
    search           TEXT NOT NULL,
    mbid             TEXT,
    isrc             TEXT,
    licence          TEXT,
    replay_gain      REAL,
    bpm              REAL,
    musical_key      TEXT
) STRICT;
-- A list by name reads its first page without the others.
CREATE INDEX tags_by_artist ON tags (coalesce(artist_key, album_artist_key) COLLATE numbers);
CREATE INDEX tags_by_album ON tags (album_key COLLATE numbers);
CREATE INDEX tags_by_title ON tags (title_key COLLATE numbers);

CREATE TABLE genres (
    file      INTEGER NOT NULL REFERENCES files (id) ON DELETE CASCADE,
    position  INTEGER NOT NULL,
    genre     TEXT    NOT NULL,
    genre_key TEXT    NOT NULL,
    PRIMARY KEY (file, position)
) STRICT, WITHOUT ROWID;
-- Genres as they are written, and whose they are, are found without reading the rows.
CREATE INDEX genres_by_key ON genres (genre_key, genre, file);

-- f32 little-endian, unit norm. Apart from the rest so that one pass reads them all.
CREATE TABLE vectors (
    track  INTEGER PRIMARY KEY REFERENCES audio (id) ON DELETE CASCADE,
    vector BLOB    NOT NULL
) STRICT;

-- What the model says of a track besides its vector (tags, voice): f16 little-endian logits, the mean over its windows, in
-- the order of the manifest's tags and outputs.
CREATE TABLE logits (
    track  INTEGER PRIMARY KEY REFERENCES audio (id) ON DELETE CASCADE,
    logits BLOB    NOT NULL
) STRICT;

-- What is measured of the sound itself. version: of the method. tempo: beats a minute; key: 0 to 11 from C major upwards,
-- 12 to 23 from C minor; loudness: LUFS, exact if the whole file was decoded, else estimated from parts of it; is_steady:
-- the sound never changes, as a tone or noise.
CREATE TABLE descriptors (
    track             INTEGER PRIMARY KEY REFERENCES audio (id) ON DELETE CASCADE,
    version           INTEGER NOT NULL,
    tempo             REAL,
    key               INTEGER CHECK (key BETWEEN 0 AND 23),
    loudness          REAL,
    loudness_is_exact INTEGER CHECK (loudness_is_exact IN (0, 1)),
    is_steady         INTEGER NOT NULL CHECK (is_steady IN (0, 1))
) STRICT;

-- Genres that the owner gave single recordings by hand; they stand above every label source, which is the setting 'labels'.
-- By content, so that a track that is removed and added again still has its own.
CREATE TABLE labels (
    content BLOB PRIMARY KEY CHECK (length(content) = 32),
    genre   TEXT    NOT NULL,
    set_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Pairs that were listened to: whether they are one recording, as the method of this version heard it.
CREATE TABLE duplicate_verdicts (
    first        INTEGER NOT NULL REFERENCES audio (id) ON DELETE CASCADE,
    second       INTEGER NOT NULL REFERENCES audio (id) ON DELETE CASCADE,
    version      INTEGER NOT NULL,
    is_duplicate INTEGER NOT NULL CHECK (is_duplicate IN (0, 1)),
    PRIMARY KEY (first, second),
    CHECK (first < second)
) STRICT, WITHOUT ROWID;
CREATE INDEX duplicate_verdicts_of_second ON duplicate_verdicts (second);

-- Genres that voisin wrote into files, with those it found there: lists as JSON. Each call is a run. patch: what gives the
-- file back the bytes that it had, with the digests of both states; NULL where it was too large to be kept.
CREATE TABLE written_tags (
    run        INTEGER NOT NULL,
    path       BLOB    NOT NULL,
    before     TEXT    NOT NULL,
    after      TEXT    NOT NULL,
    written_at INTEGER NOT NULL,
    patch      BLOB,
    PRIMARY KEY (run, path)
) STRICT, WITHOUT ROWID;

-- Numbers from 0 to 100, measured of the sound.
CREATE TABLE scales (
    track           INTEGER PRIMARY KEY REFERENCES audio (id) ON DELETE CASCADE,
    energy          REAL,
    danceability    REAL,
    dfa             REAL,
    percussiveness  REAL,
    brightness      REAL,
    dynamics        REAL,
    "pulse-clarity" REAL,
    calm            REAL,
    sad             REAL,
    happy           REAL,
    party           REAL,
    mellow          REAL,
    beautiful       REAL
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
CREATE TRIGGER vector_replaced AFTER UPDATE OF vector ON vectors BEGIN
    UPDATE state SET generation = generation + 1;
    INSERT INTO changes SELECT generation, new.track, 1 FROM state;
    DELETE FROM changes WHERE generation <= (SELECT generation FROM state) - 131072;
END;
CREATE TRIGGER vector_removed AFTER DELETE ON vectors BEGIN
    UPDATE state SET generation = generation + 1, vectors = vectors - 1;
    INSERT INTO changes SELECT generation, old.track, 2 FROM state;
    DELETE FROM changes WHERE generation <= (SELECT generation FROM state) - 131072;
END;
CREATE TRIGGER tags_written AFTER INSERT ON tags BEGIN UPDATE state SET metadata = metadata + 1; END;
CREATE TRIGGER tags_removed AFTER DELETE ON tags BEGIN UPDATE state SET metadata = metadata + 1; END;
CREATE TRIGGER label_given AFTER INSERT ON labels BEGIN UPDATE state SET metadata = metadata + 1; END;
CREATE TRIGGER label_changed AFTER UPDATE ON labels BEGIN UPDATE state SET metadata = metadata + 1; END;
CREATE TRIGGER label_removed AFTER DELETE ON labels BEGIN UPDATE state SET metadata = metadata + 1; END;
CREATE TRIGGER track_counted AFTER INSERT ON audio BEGIN UPDATE state SET tracks = tracks + 1; END;
CREATE TRIGGER track_discounted AFTER DELETE ON audio BEGIN UPDATE state SET tracks = tracks - 1; END;
CREATE TRIGGER failure_counted AFTER INSERT ON failures BEGIN UPDATE state SET failures = failures + 1; END;
CREATE TRIGGER failure_discounted AFTER DELETE ON failures BEGIN UPDATE state SET failures = failures - 1; END;

CREATE TRIGGER file_counted AFTER INSERT ON files BEGIN UPDATE state SET files = files + 1; END;
CREATE TRIGGER file_discounted AFTER DELETE ON files BEGIN UPDATE state SET files = files - 1; END;
