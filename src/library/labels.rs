//! Genres that the owner gave single recordings by hand. They are stored by content id, so that a track that is removed
//! and added again keeps its label.

use std::collections::HashMap;

use rusqlite::{OptionalExtension, Transaction, params};

use super::{Library, Result, now};
use voisin_base::track::ContentId;

impl Library {
    /// Number of tracks with a label given by hand; labels of removed recordings are kept but not counted.
    pub fn tracks_labelled_by_hand(&self) -> Result<u64> {
        let sql = "SELECT count(*) FROM labels WHERE content IN (SELECT content FROM audio)";
        let found = self.query_one(sql, [], |row| row.get::<_, i64>(0));
        found.map(i64::unsigned_abs)
    }

    /// All labels given by hand.
    pub fn hand_labels(&self) -> Result<HashMap<ContentId, String>> {
        let sql = "SELECT content, genre FROM labels";
        self.query_all(sql, [], |row| Ok((ContentId(row.get(0)?), row.get(1)?)))
    }

    /// Gives recordings this label, or removes theirs; returns how many changed.
    pub fn set_labels(&mut self, contents: &[ContentId], genre: Option<&str>) -> Result<u64> {
        self.write(|tx| {
            let mut changed = 0;
            for content in contents {
                if label(tx, *content)?.as_deref() != genre {
                    put(tx, *content, genre)?;
                    changed += 1;
                }
            }
            Ok(changed)
        })
    }
}

fn label(tx: &Transaction<'_>, content: ContentId) -> rusqlite::Result<Option<String>> {
    tx.prepare_cached("SELECT genre FROM labels WHERE content = ?1")?
        .query_row([content.0], |row| row.get(0))
        .optional()
}

fn put(tx: &Transaction<'_>, content: ContentId, genre: Option<&str>) -> rusqlite::Result<()> {
    match genre {
        Some(genre) => tx
            .prepare_cached(
                "INSERT INTO labels (content, genre, set_at) VALUES (?1, ?2, ?3)
                 ON CONFLICT (content) DO UPDATE SET genre = excluded.genre, set_at = excluded.set_at",
            )?
            .execute(params![content.0, genre, now()]),
        None => tx.prepare_cached("DELETE FROM labels WHERE content = ?1")?.execute([content.0]),
    }
    .map(drop)
}
