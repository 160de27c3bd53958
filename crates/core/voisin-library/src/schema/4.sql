-- Schema 4.

-- checksum: the first 16 bytes of BLAKE3 of the row's other columns, but for files.seen_at and audio.last_path, which are
-- hints. Each as a byte for its type (0 null, 1 integer, 2 real, 3 text, 4 blob), its length (8 bytes, little-endian) and its
-- bytes. Filled by whoever writes the row.
ALTER TABLE audio       ADD COLUMN checksum BLOB;
ALTER TABLE files       ADD COLUMN checksum BLOB;
ALTER TABLE tags        ADD COLUMN checksum BLOB;
ALTER TABLE genres      ADD COLUMN checksum BLOB;
ALTER TABLE descriptors ADD COLUMN checksum BLOB;
ALTER TABLE logits      ADD COLUMN checksum BLOB;
ALTER TABLE labels      ADD COLUMN checksum BLOB;
