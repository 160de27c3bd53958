-- Schema 5.

-- Which song each track is a recording of, of those that were compared with others for it: equal numbers, one song. A track
-- without a row was not compared. Filled by: voisin duplicates --versions.
CREATE TABLE songs (
    track INTEGER PRIMARY KEY REFERENCES audio (id) ON DELETE CASCADE,
    song  INTEGER NOT NULL
) STRICT;

-- Under which id a server knows an artist. Filled by: voisin link.
CREATE TABLE linked_artists (
    server TEXT NOT NULL,
    item   TEXT NOT NULL,
    name   TEXT NOT NULL,
    PRIMARY KEY (server, item)
) STRICT, WITHOUT ROWID;
CREATE INDEX linked_artists_of_name ON linked_artists (server, name COLLATE NOCASE);
