-- Schema 3.

-- What listeners heard, and what they think of it. The recording is named by its content id, not by its row: it is the same
-- when its file was removed and comes again. listener: as the player names them; at: seconds since 1970 UTC, when it began.
CREATE TABLE heard (
    content  BLOB    NOT NULL,
    listener TEXT    NOT NULL,
    at       INTEGER NOT NULL,
    PRIMARY KEY (content, listener, at)
) STRICT, WITHOUT ROWID;

-- liked: 1 starred or loved, -1 hated; rating: 1 to 5.
CREATE TABLE opinions (
    content  BLOB    NOT NULL,
    listener TEXT    NOT NULL,
    liked    INTEGER CHECK (liked IN (-1, 1)),
    rating   INTEGER CHECK (rating BETWEEN 1 AND 5),
    PRIMARY KEY (content, listener)
) STRICT, WITHOUT ROWID;
