-- Schema 6.

-- All tracks by artist, as a list shows them: its first page is read without the others.
CREATE INDEX tags_by_artist ON tags (coalesce(artist_key, album_artist_key));
