//! Results of comparing pairs of tracks: whether they are one recording.

use std::collections::HashMap;

use super::{Library, Result};
use voisin_base::track::TrackId;

impl Library {
    /// Results of this version of the method, by the smaller and the greater id of each pair.
    pub fn duplicate_verdicts(&self, version: u32) -> Result<HashMap<(TrackId, TrackId), bool>> {
        let sql = "SELECT first, second, is_duplicate FROM duplicate_verdicts WHERE version = ?1";
        self.query_all(sql, [version], |row| {
            Ok(((TrackId(row.get(0)?), TrackId(row.get(1)?)), row.get(2)?))
        })
    }

    /// Stores the result for a pair, replacing a former one. It is deleted with either track.
    pub fn remember_duplicate(
        &mut self,
        a: TrackId,
        b: TrackId,
        version: u32,
        same: bool,
    ) -> Result<()> {
        self.write(|tx| {
            tx.prepare_cached(
                // Only if both still exist: comparing takes seconds, in which one may be removed.
                "INSERT INTO duplicate_verdicts (first, second, version, is_duplicate)
                 SELECT ?1, ?2, ?3, ?4 WHERE (SELECT count(*) FROM audio WHERE id IN (?1, ?2)) = 2
                 ON CONFLICT (first, second) DO UPDATE SET version = excluded.version,
                 is_duplicate = excluded.is_duplicate",
            )?
            // The schema has each pair once, smaller id first.
            .execute((a.min(b).0, a.max(b).0, version, same))?;
            Ok(())
        })
    }
}
