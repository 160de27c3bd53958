-- Schema 11.

-- Numbers from 0 to 100: measured of the sound (origin 0), learned from others (1), given by the owner (2). By content, so
-- that a track that is removed and added again still has its owner's; those go with it that can be made again. error: in
-- points; NULL where it is not known. Definitions of learned ones are settings 'scale.NAME'. Filled by: voisin add.
CREATE TABLE scales (
    content  BLOB    NOT NULL CHECK (length(content) = 32),
    scale    TEXT    NOT NULL,
    value    REAL    NOT NULL CHECK (value BETWEEN 0 AND 100),
    error    REAL    CHECK (error >= 0),
    origin   INTEGER NOT NULL CHECK (origin IN (0, 1, 2)),
    checksum BLOB,
    PRIMARY KEY (content, scale)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER scales_removed AFTER DELETE ON audio BEGIN
    DELETE FROM scales WHERE content = old.content AND origin <> 2;
END;
CREATE TRIGGER scale_given   AFTER INSERT ON scales BEGIN UPDATE state SET metadata = metadata + 1; END;
CREATE TRIGGER scale_changed AFTER UPDATE OF value, origin ON scales BEGIN UPDATE state SET metadata = metadata + 1; END;
CREATE TRIGGER scale_taken   AFTER DELETE ON scales BEGIN UPDATE state SET metadata = metadata + 1; END;
