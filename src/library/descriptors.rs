//! Measurements of the sound itself: tempo, key, loudness, scales.

use std::collections::HashMap;

use rusqlite::{Row, Transaction, params};

use super::{Descriptors, Library, Result, Scales, scales};
use crate::musical_key::MusicalKey;
use voisin_base::track::TrackId;

impl Library {
    /// The descriptors of these tracks, with all their values of scales. Tracks that were never measured and have no
    /// value are left out.
    pub fn descriptors(&self, ids: &[TrackId]) -> Result<HashMap<TrackId, Descriptors>> {
        let list = serde_json::json!(ids).to_string();
        let sql = "SELECT track, version, tempo, key, loudness, loudness_is_exact, is_steady FROM descriptors
            WHERE track IN (SELECT value FROM json_each(?1))";
        let mut found: HashMap<TrackId, Descriptors> = self.query_all(sql, [list], descriptors)?;
        for (track, scales) in self.scale_values(ids)? {
            found.entry(track).or_default().scales = scales;
        }
        Ok(found)
    }

    /// Stores the measurements of a track, replacing earlier ones.
    pub fn set_descriptors(&mut self, track: TrackId, measured: &Descriptors) -> Result<()> {
        self.write(|tx| Ok(put(tx, track, measured)?))
    }

    /// Stores how many packets of a track could not be decoded when it was analysed last.
    pub fn set_damaged_packets(&mut self, track: TrackId, packets: u64) -> Result<()> {
        self.write(|tx| {
            // A row with this number already is not written again.
            tx.prepare_cached(
                "UPDATE audio SET damaged_packets = ?2 WHERE id = ?1 AND damaged_packets IS NOT ?2",
            )?
            .execute((track.0, packets as i64))?;
            Ok(())
        })
    }
}

fn descriptors(row: &Row<'_>) -> rusqlite::Result<(TrackId, Descriptors)> {
    Ok((
        TrackId(row.get(0)?),
        Descriptors {
            version: row.get(1)?,
            tempo: row.get(2)?,
            key: row
                .get::<_, Option<u8>>(3)?
                // The schema bounds the number; of a damaged row no key is better than a wrong one.
                .and_then(MusicalKey::from_number),
            loudness: row.get(4)?,
            loudness_is_exact: row.get::<_, Option<bool>>(5)?.unwrap_or(false),
            is_steady: row.get(6)?,
            scales: Scales::new(),
        },
    ))
}

/// Stores nothing for a recording that was removed meanwhile.
pub(super) fn put(
    tx: &Transaction<'_>,
    track: TrackId,
    measured: &Descriptors,
) -> rusqlite::Result<()> {
    scales::put(tx, track, &measured.scales)?;
    // Values alone, of a track that was never measured.
    if measured.version == 0 {
        return Ok(());
    }
    tx.prepare_cached(
        "INSERT INTO descriptors (track, version, tempo, key, loudness, loudness_is_exact, is_steady)
         SELECT id, ?2, ?3, ?4, ?5, ?6, ?7 FROM audio WHERE id = ?1
         ON CONFLICT (track) DO UPDATE SET version = excluded.version, tempo = excluded.tempo, key = excluded.key,
         loudness = excluded.loudness, loudness_is_exact = excluded.loudness_is_exact,
         is_steady = excluded.is_steady",
    )?
    .execute(params![
        track.0,
        measured.version,
        measured.tempo,
        measured.key.map(MusicalKey::number),
        measured.loudness,
        // Without a loudness this is null, too.
        measured.loudness.map(|_| measured.loudness_is_exact),
        measured.is_steady
    ])
    .map(drop)
}
