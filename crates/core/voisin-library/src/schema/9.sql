-- Schema 9.

-- Genres as they are written, and whose they are, are found without reading the rows.
DROP INDEX genres_by_key;
CREATE INDEX genres_by_key ON genres (genre_key, genre, file);
