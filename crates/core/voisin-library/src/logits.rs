//! The model's logits of its tags, stored beside the vectors.

use rusqlite::params;
use std::ops::{Deref, DerefMut};

use super::parts::DerivedTable;
use super::store::f32_bytes;
use super::{Library, Result, read};
use voisin_base::track::TrackId;

impl<L: Deref<Target = Library>> DerivedTable<L> {
    /// The current model's logits of every track that has them, ascending by id.
    ///
    /// - `among`: limits the result to these tracks
    pub fn logits(&self, among: Option<&[TrackId]>) -> Result<Vec<(TrackId, Vec<f32>)>> {
        let list = among.map(|ids| serde_json::json!(ids).to_string());
        let those = if list.is_some() {
            "AND track IN (SELECT value FROM json_each(?1))"
        } else {
            ""
        };
        let sql = format!(
            "SELECT track, logits FROM logits WHERE model = (SELECT model FROM state) {those} ORDER BY track"
        );
        self.query_all(&sql, rusqlite::params_from_iter(list), |row| {
            let values = read::f32_values(row.get_ref(1)?.as_blob()?);
            Ok((TrackId(row.get(0)?), values))
        })
    }
}

impl<L: DerefMut<Target = Library>> DerivedTable<L> {
    /// Stores logits of the current model, replacing earlier ones. A track that was removed meanwhile is skipped.
    pub fn set_logits(&mut self, all: &[(TrackId, Vec<f32>)]) -> Result<()> {
        self.write(|tx| {
            let mut insert = tx.prepare_cached(
                // From `audio` and `state`, so that a removed track
                // or a library without a model stores nothing.
                "INSERT INTO logits (track, model, logits) SELECT a.id, s.model, ?2 FROM audio a, state s
                 WHERE a.id = ?1 AND s.model IS NOT NULL
                 ON CONFLICT (track, model) DO UPDATE SET logits = excluded.logits",
            )?;
            for (track, logits) in all {
                insert.execute(params![track.0, f32_bytes(logits)])?;
            }
            Ok(())
        })
    }
}
