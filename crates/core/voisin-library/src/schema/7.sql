-- Schema 7.

-- What else a file's tags name. A file without a row was read before there was this table: the next add reads its tags again.
CREATE TABLE credits (
    file         INTEGER PRIMARY KEY REFERENCES files (id) ON DELETE CASCADE,
    composer     TEXT,
    composer_key TEXT,
    checksum     BLOB
) STRICT;
CREATE INDEX credits_by_composer ON credits (composer_key) WHERE composer_key IS NOT NULL;
