-- Schema 10.

-- What gives a file back the bytes that it had: the ranges that differ, with the digests of both states
-- (voisin_audio::tags::ReversePatch). NULL where that was too large to be kept, and in rows of before.
ALTER TABLE written_tags ADD COLUMN patch BLOB;
