//! Logits of the model's tags, beside the tracks' vectors.

use half::f16;

use super::{Library, Result};
use voisin_base::track::TrackId;

impl Library {
    /// The logits of every track that has them, ascending by id.
    ///
    /// - `among`: limits the result to these tracks
    pub fn logits(&self, among: Option<&[TrackId]>) -> Result<Vec<(TrackId, Vec<f32>)>> {
        let list = among.map(|ids| serde_json::json!(ids).to_string());
        let filter = if list.is_some() {
            "WHERE track IN (SELECT value FROM json_each(?1))"
        } else {
            ""
        };
        let sql = format!("SELECT track, logits FROM logits {filter} ORDER BY track");
        self.query_all(&sql, rusqlite::params_from_iter(list), |row| {
            let (halves, _) = row.get_ref(1)?.as_blob()?.as_chunks();
            let values = halves.iter().map(|half| f16::from_le_bytes(*half).to_f32());
            Ok((TrackId(row.get(0)?), values.collect()))
        })
    }
}
