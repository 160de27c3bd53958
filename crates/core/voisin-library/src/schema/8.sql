-- Schema 8.

-- Counter of the changes to files, tags and labels, as generation is of those to vectors. Rows of tags and credits come with
-- their file, which is counted.
ALTER TABLE state ADD COLUMN metadata INTEGER NOT NULL DEFAULT 0;

DROP TRIGGER file_counted;
DROP TRIGGER file_discounted;
CREATE TRIGGER file_counted    AFTER INSERT ON files BEGIN UPDATE state SET files = files + 1, metadata = metadata + 1; END;
CREATE TRIGGER file_discounted AFTER DELETE ON files BEGIN UPDATE state SET files = files - 1, metadata = metadata + 1; END;
CREATE TRIGGER file_changed    AFTER UPDATE OF track, path, size ON files BEGIN UPDATE state SET metadata = metadata + 1; END;

CREATE TRIGGER tags_changed AFTER UPDATE OF title, artist, album, album_artist, year, track_number, disc_number, artist_key,
    album_artist_key, search, mbid, isrc, licence, replay_gain, bpm, musical_key ON tags
    BEGIN UPDATE state SET metadata = metadata + 1; END;
CREATE TRIGGER tags_removed AFTER DELETE ON tags BEGIN UPDATE state SET metadata = metadata + 1; END;

CREATE TRIGGER credits_changed AFTER UPDATE OF composer, composer_key ON credits
    BEGIN UPDATE state SET metadata = metadata + 1; END;
CREATE TRIGGER credits_removed AFTER DELETE ON credits BEGIN UPDATE state SET metadata = metadata + 1; END;

CREATE TRIGGER genre_added   AFTER INSERT ON genres BEGIN UPDATE state SET metadata = metadata + 1; END;
CREATE TRIGGER genre_changed AFTER UPDATE OF file, position, genre, genre_key ON genres
    BEGIN UPDATE state SET metadata = metadata + 1; END;
CREATE TRIGGER genre_removed AFTER DELETE ON genres BEGIN UPDATE state SET metadata = metadata + 1; END;

CREATE TRIGGER label_given   AFTER INSERT ON labels BEGIN UPDATE state SET metadata = metadata + 1; END;
CREATE TRIGGER label_changed AFTER UPDATE OF content, genre ON labels BEGIN UPDATE state SET metadata = metadata + 1; END;
CREATE TRIGGER label_taken   AFTER DELETE ON labels BEGIN UPDATE state SET metadata = metadata + 1; END;
