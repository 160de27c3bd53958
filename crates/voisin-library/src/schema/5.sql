-- Schema 5.

-- Which song each track is a recording of, of those that were compared with others for it: equal numbers, one song. A track
-- without a row was not compared. Filled by: voisin duplicates --versions.
CREATE TABLE songs (
    track INTEGER PRIMARY KEY REFERENCES audio (id) ON DELETE CASCADE,
    song  INTEGER NOT NULL
) STRICT;
