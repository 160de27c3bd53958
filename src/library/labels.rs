//! Genres that the owner gave single recordings by hand. They are stored by content id, so that a track that is removed
//! and added again keeps its label.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{OptionalExtension, Transaction, params};
use serde::{Deserialize, Serialize};

use super::{Library, Result, now};
use voisin_base::track::ContentId;

/// Counts of labels, at a cost that hardly grows with the library.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelTotals {
    /// Number of labels given by hand, and number of their last change.
    by_hand: (u64, u64),
    /// Files whose tags have each genre, by its key.
    tagged: BTreeMap<String, u64>,
}

impl LabelTotals {
    /// Least number of labels that were given, removed or changed; labels exchanged between files do
    /// not count.
    pub fn changes(&self, other: &Self) -> u64 {
        let count_of = |totals: &Self, key: &String| totals.tagged.get(key).copied().unwrap_or(0);
        let fewer = |a: &Self, b: &Self| -> u64 {
            a.tagged
                .iter()
                .map(|(key, count)| count.saturating_sub(count_of(b, key)))
                .sum()
        };
        // A label given and removed again leaves the count as it was.
        let by_hand = self
            .by_hand
            .0
            .abs_diff(other.by_hand.0)
            .max(self.by_hand.1.abs_diff(other.by_hand.1));
        by_hand + fewer(self, other).max(fewer(other, self))
    }
}

impl Library {
    /// Counts of labels.
    pub fn label_totals(&self) -> Result<LabelTotals> {
        let count = |value: i64| value.unsigned_abs();
        let sql = "SELECT (SELECT count(*) FROM labels), (SELECT coalesce(max(id), 0) FROM label_changes)";
        let by_hand =
            self.query_one(sql, [], |row| Ok((count(row.get(0)?), count(row.get(1)?))))?;
        // A covering index.
        let sql = "SELECT genre_key, count(*) FROM genres GROUP BY genre_key";
        let tagged = self.query_all(sql, [], |row| Ok((row.get(0)?, count(row.get(1)?))))?;
        Ok(LabelTotals { by_hand, tagged })
    }

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
}

impl Library {
    /// Gives recordings this label, or removes theirs; returns how many changed.
    pub fn set_labels(&mut self, contents: &[ContentId], genre: Option<&str>) -> Result<u64> {
        self.write(|tx| {
            let mut changed = 0;
            for content in contents {
                if label(tx, *content)?.as_deref() != genre {
                    put(tx, *content, genre)?;
                    tx.prepare_cached(
                        "INSERT INTO label_changes (content, changed_at) VALUES (?1, ?2)",
                    )?
                    .execute(params![content.0, now()])?;
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
