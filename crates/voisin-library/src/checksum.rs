//! Checksums of stored vectors: what is read is what was written, or it is not served.

use rusqlite::Transaction;

/// Bytes of a checksum.
const LENGTH: usize = 16;

/// The checksum of a track's vector, or of its windows, kept beside it: BLAKE3 of the track's id and these bytes, cut.
pub(super) fn of(track: i64, parts: &[&[u8]]) -> [u8; LENGTH] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&track.to_le_bytes());
    for part in parts {
        hasher.update(part);
    }
    let mut checksum = [0; LENGTH];
    checksum.copy_from_slice(&hasher.finalize().as_bytes()[..LENGTH]);
    checksum
}

/// Gives every row of a library that had no checksums its own.
pub(super) fn fill(tx: &Transaction<'_>) -> rusqlite::Result<()> {
    for (table, starts) in [("vectors", "x''"), ("windows", "starts")] {
        let column = if table == "vectors" { "vector" } else { "vectors" };
        let mut select =
            tx.prepare(&format!("SELECT track, {starts}, {column} FROM {table} WHERE id = ?1"))?;
        let mut update = tx.prepare(&format!("UPDATE {table} SET checksum = ?2 WHERE id = ?1"))?;
        let ids: Vec<i64> = tx
            .prepare(&format!("SELECT id FROM {table}"))?
            .query_map([], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        for id in ids {
            let checksum = select.query_row([id], |row| {
                Ok(of(row.get(0)?, &[row.get_ref(1)?.as_blob()?, row.get_ref(2)?.as_blob()?]))
            })?;
            update.execute((id, checksum))?;
        }
    }
    Ok(())
}
