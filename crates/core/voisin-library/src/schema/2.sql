-- Schema 2, as steps from schema 1. Columns that nothing fills yet are named with the command that will.

-- How a recording's content id was made: 0 from all its compressed packets, 1 from samples of them (--identity quick).
-- Ids of the two kinds are never compared.
ALTER TABLE audio ADD COLUMN identity INTEGER NOT NULL DEFAULT 0 CHECK (identity IN (0, 1));

-- What else a file's tags say. mbid: the recording's id at MusicBrainz; licence: its name or address as the file has it;
-- replay_gain: of the track, dB; bpm: beats a minute; musical_key: as the file spells it. The last three: voisin list.
ALTER TABLE tags ADD COLUMN mbid        TEXT;
ALTER TABLE tags ADD COLUMN isrc        TEXT;
ALTER TABLE tags ADD COLUMN licence     TEXT;
ALTER TABLE tags ADD COLUMN replay_gain REAL;
ALTER TABLE tags ADD COLUMN bpm         REAL;
ALTER TABLE tags ADD COLUMN musical_key TEXT;

-- Models whose vectors are here. state.model names the current one: all that searches, counts and generations speak of.
-- Vectors of two models are never compared.
CREATE TABLE models (
    id          INTEGER PRIMARY KEY,
    name        TEXT    NOT NULL,
    fingerprint TEXT    NOT NULL UNIQUE,
    dimension   INTEGER NOT NULL CHECK (dimension > 0),
    manifest    TEXT    NOT NULL
) STRICT;
INSERT INTO models SELECT id, name, fingerprint, dimension, manifest FROM model;
DROP TABLE model;
ALTER TABLE state ADD COLUMN model INTEGER REFERENCES models (id) ON DELETE SET NULL;
UPDATE state SET model = (SELECT id FROM models);

-- f32 little-endian, unit norm. checksum: the first 16 bytes of BLAKE3 of the track's id (8 bytes, little-endian) and the
-- vector's bytes. Apart from the rest so that one pass reads them all; with an id of their own because rows of this size
-- would not fit into an index.
CREATE TABLE vectors_2 (
    id       INTEGER PRIMARY KEY,
    track    INTEGER NOT NULL REFERENCES audio (id) ON DELETE CASCADE,
    model    INTEGER NOT NULL REFERENCES models (id) ON DELETE CASCADE,
    vector   BLOB    NOT NULL,
    checksum BLOB    NOT NULL CHECK (length(checksum) = 16),
    UNIQUE (track, model)
) STRICT;
INSERT INTO vectors_2 (track, model, vector, checksum)
    SELECT v.track, m.id, v.vector, zeroblob(16) FROM vectors v, models m ORDER BY v.track;
DROP TABLE vectors;
ALTER TABLE vectors_2 RENAME TO vectors;

-- vectors: f16 little-endian, [count, dimension]; starts: f32 little-endian, seconds, [count]; checksum: as above, of the
-- track's id, starts and vectors.
CREATE TABLE windows_2 (
    id       INTEGER PRIMARY KEY,
    track    INTEGER NOT NULL REFERENCES audio (id) ON DELETE CASCADE,
    model    INTEGER NOT NULL REFERENCES models (id) ON DELETE CASCADE,
    count    INTEGER NOT NULL,
    starts   BLOB    NOT NULL,
    vectors  BLOB    NOT NULL,
    checksum BLOB    NOT NULL CHECK (length(checksum) = 16),
    UNIQUE (track, model)
) STRICT;
INSERT INTO windows_2 (track, model, count, starts, vectors, checksum)
    SELECT w.track, m.id, w.count, w.starts, w.vectors, zeroblob(16) FROM windows w, models m ORDER BY w.track;
DROP TABLE windows;
ALTER TABLE windows_2 RENAME TO windows;

-- The triggers of schema 1 went with their tables. Only the current model's vectors are counted and logged.
CREATE TRIGGER vector_added AFTER INSERT ON vectors WHEN new.model = (SELECT model FROM state) BEGIN
    UPDATE state SET generation = generation + 1, vectors = vectors + 1;
    INSERT INTO changes SELECT generation, new.track, 0 FROM state;
    DELETE FROM changes WHERE generation <= (SELECT generation FROM state) - 131072;
END;
CREATE TRIGGER vector_replaced AFTER UPDATE OF vector ON vectors WHEN new.model = (SELECT model FROM state) BEGIN
    UPDATE state SET generation = generation + 1;
    INSERT INTO changes SELECT generation, new.track, 1 FROM state;
    DELETE FROM changes WHERE generation <= (SELECT generation FROM state) - 131072;
END;
CREATE TRIGGER vector_removed AFTER DELETE ON vectors WHEN old.model = (SELECT model FROM state) BEGIN
    UPDATE state SET generation = generation + 1, vectors = vectors - 1;
    INSERT INTO changes SELECT generation, old.track, 2 FROM state;
    DELETE FROM changes WHERE generation <= (SELECT generation FROM state) - 131072;
END;
CREATE TRIGGER windows_counted AFTER INSERT ON windows WHEN new.model = (SELECT model FROM state) BEGIN
    UPDATE state SET windows = windows + new.count;
END;
CREATE TRIGGER windows_recounted AFTER UPDATE OF count ON windows WHEN new.model = (SELECT model FROM state) BEGIN
    UPDATE state SET windows = windows - old.count + new.count;
END;
CREATE TRIGGER windows_discounted AFTER DELETE ON windows WHEN old.model = (SELECT model FROM state) BEGIN
    UPDATE state SET windows = windows - old.count;
END;
-- Another current model: other vectors under the same ids, so that no index of before can be caught up.
CREATE TRIGGER model_chosen AFTER UPDATE OF model ON state
WHEN new.model IS NOT old.model AND EXISTS (SELECT 1 FROM vectors) BEGIN
    DELETE FROM changes;
    UPDATE state SET generation = generation + 1,
        vectors = (SELECT count(*) FROM vectors WHERE model = new.model),
        windows = (SELECT coalesce(sum(count), 0) FROM windows WHERE model = new.model);
END;

-- What a model says of a track besides its vector (tags, moods, voice): f32 little-endian logits, the mean over its windows,
-- in the order of the manifest's outputs. Filled by: voisin find.
CREATE TABLE logits (
    id     INTEGER PRIMARY KEY,
    track  INTEGER NOT NULL REFERENCES audio (id) ON DELETE CASCADE,
    model  INTEGER NOT NULL REFERENCES models (id) ON DELETE CASCADE,
    logits BLOB    NOT NULL,
    UNIQUE (track, model)
) STRICT;

-- What is measured of the sound itself. version: of the method. tempo: beats a minute; key: 0 to 11 from C major upwards,
-- 12 to 23 from C minor; loudness: LUFS, exact if the whole file was decoded, else estimated from parts of it.
-- Filled by: voisin add.
CREATE TABLE descriptors (
    track             INTEGER PRIMARY KEY REFERENCES audio (id) ON DELETE CASCADE,
    version           INTEGER NOT NULL,
    tempo             REAL,
    key               INTEGER CHECK (key BETWEEN 0 AND 23),
    loudness          REAL,
    loudness_is_exact INTEGER CHECK (loudness_is_exact IN (0, 1))
) STRICT;

-- Genres that the owner gave single recordings by hand; they stand above every label source, which is the setting 'labels'.
-- By content, so that a track that is removed and added again still has its own. Filled by: voisin labels.
CREATE TABLE labels (
    content BLOB PRIMARY KEY CHECK (length(content) = 32),
    genre   TEXT    NOT NULL,
    set_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What each change of a label replaced, so that it can be undone, last first; NULL where there was, or is, none.
CREATE TABLE label_changes (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    content    BLOB    NOT NULL CHECK (length(content) = 32),
    before     TEXT,
    after      TEXT,
    changed_at INTEGER NOT NULL
) STRICT;

-- Pairs that were listened to: whether they are one recording, as the method of this version heard it.
-- Filled by: voisin duplicates.
CREATE TABLE duplicate_verdicts (
    first        INTEGER NOT NULL REFERENCES audio (id) ON DELETE CASCADE,
    second       INTEGER NOT NULL REFERENCES audio (id) ON DELETE CASCADE,
    version      INTEGER NOT NULL,
    is_duplicate INTEGER NOT NULL CHECK (is_duplicate IN (0, 1)),
    PRIMARY KEY (first, second),
    CHECK (first < second)
) STRICT, WITHOUT ROWID;
CREATE INDEX duplicate_verdicts_of_second ON duplicate_verdicts (second);

-- Under which id a server knows a track. Filled by: voisin link.
CREATE TABLE links (
    server TEXT    NOT NULL,
    item   TEXT    NOT NULL,
    track  INTEGER NOT NULL REFERENCES audio (id) ON DELETE CASCADE,
    PRIMARY KEY (server, item)
) STRICT, WITHOUT ROWID;
CREATE INDEX links_of_track ON links (track);

-- Genres that voisin wrote into files, with those it found there: lists as JSON. Each call is a run. Filled by:
-- voisin classify --write-tags, read by voisin undo.
CREATE TABLE written_tags (
    run        INTEGER NOT NULL,
    path       BLOB    NOT NULL,
    before     TEXT    NOT NULL,
    after      TEXT    NOT NULL,
    written_at INTEGER NOT NULL,
    PRIMARY KEY (run, path)
) STRICT, WITHOUT ROWID;
