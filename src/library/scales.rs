//! Scales: numbers from 0 to 100 of a track, measured of its sound. They are stored by content id.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::str::FromStr;

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ValueRef};
use rusqlite::{Transaction, params};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Library, Result};
use voisin_base::track::{ContentId, TrackId};

const LONGEST: usize = 24;

/// The name of a scale: up to 24 letters a to z, digits and hyphens, a letter first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
// Of a fixed size so that it is `Copy`: filters and orders hold names by value.
pub struct ScaleName([u8; LONGEST]);

impl ScaleName {
    pub fn as_str(&self) -> &str {
        let length = self.0.iter().position(|byte| *byte == 0);
        // Always ASCII, as names are only made by `from_str`.
        std::str::from_utf8(&self.0[..length.unwrap_or(LONGEST)]).unwrap_or_default()
    }
}

impl FromStr for ScaleName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name = text.trim().to_ascii_lowercase();
        // Names are inserted into SQL and names of settings: no quote, blank or dot is allowed.
        let is_name = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if !is_name || name.len() > LONGEST {
            return Err(format!(
                "expected the name of a scale (up to {LONGEST} letters a to z, digits and hyphens), found \"{text}\""
            ));
        }
        let mut bytes = [0; LONGEST];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        Ok(Self(bytes))
    }
}

impl fmt::Display for ScaleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for ScaleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl Serialize for ScaleName {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ScaleName {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl FromSql for ScaleName {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value
            .as_str()?
            .parse()
            .map_err(|_| FromSqlError::InvalidType)
    }
}

/// A track's value of a scale.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ScaleValue {
    /// 0 to 100.
    pub value: f64,
    /// In points, if known: two thirds of such values are off by at most this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<f64>,
}

impl ScaleValue {
    /// A value clamped to 0 to 100 and rounded to hundredths; `None` for NaN.
    pub fn new(value: f64, error: Option<f64>) -> Option<Self> {
        let hundredths = |number: f64| (number * 100.0).round() / 100.0;
        value.is_finite().then(|| Self {
            // The schema refuses other values, which would roll back the transaction.
            value: hundredths(value.clamp(0.0, 100.0)),
            error: error.filter(|error| *error >= 0.0).map(hundredths),
        })
    }
}

/// A track's values by the names of their scales.
pub type Scales = BTreeMap<ScaleName, ScaleValue>;

/// A range of values of a scale.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScaleBound {
    pub scale: ScaleName,
    /// Least value, inclusive. A track without a value never fits.
    pub from: Option<f64>,
    pub to: Option<f64>,
}

impl Library {
    /// The values of these tracks, in one read.
    pub fn scale_values(&self, ids: &[TrackId]) -> Result<HashMap<TrackId, Scales>> {
        let sql = "SELECT a.id, s.scale, s.value, s.error FROM audio a JOIN scales s ON s.content = a.content
            WHERE a.id IN (SELECT value FROM json_each(?1))";
        let list = serde_json::json!(ids).to_string();
        let read = |row: &rusqlite::Row<'_>| {
            let value = ScaleValue {
                value: row.get(2)?,
                error: row.get(3)?,
            };
            Ok((TrackId(row.get(0)?), row.get(1)?, value))
        };
        let rows: Vec<(TrackId, ScaleName, ScaleValue)> = self.query_all(sql, [list], read)?;
        let mut found: HashMap<TrackId, Scales> = HashMap::new();
        for (track, scale, value) in rows {
            found.entry(track).or_default().insert(scale, value);
        }
        Ok(found)
    }

    /// Tracks with a value of the scale `having` and logits of the current model that lack a value of any of
    /// `scales`.
    pub fn tracks_lacking(&self, scales: &[ScaleName], having: ScaleName) -> Result<Vec<TrackId>> {
        let sql = "SELECT l.track FROM logits l JOIN audio a ON a.id = l.track
            JOIN scales h ON h.content = a.content AND h.scale = ?1
            WHERE ?3 > (SELECT count(*) FROM scales s
                WHERE s.content = a.content AND s.scale IN (SELECT value FROM json_each(?2)))
            ORDER BY l.track";
        let list = serde_json::json!(scales).to_string();
        let given = params![having.as_str(), list, scales.len() as i64];
        self.query_all(sql, given, |row| row.get(0).map(TrackId))
    }

    /// Stores recordings' values of a scale. Returns how many were stored.
    pub fn set_scale(
        &mut self,
        scale: ScaleName,
        values: &[(ContentId, ScaleValue)],
    ) -> Result<u64> {
        self.write(|tx| {
            let mut changed = 0;
            for (content, value) in values {
                changed += put(tx, *content, scale, value)?;
            }
            Ok(changed)
        })
    }
}

/// Stores a value; returns how many were stored.
pub(super) fn put(
    tx: &Transaction<'_>,
    content: ContentId,
    scale: ScaleName,
    value: &ScaleValue,
) -> rusqlite::Result<u64> {
    let stored = tx
        .prepare_cached(
            "INSERT INTO scales (content, scale, value, error) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (content, scale) DO UPDATE SET value = excluded.value, error = excluded.error",
        )?
        .execute(params![
            content.0,
            scale.as_str(),
            value.value,
            value.error
        ])?;
    Ok(stored as u64)
}

/// Stores values of a track's recording as [`put`] does; nothing if the track was removed meanwhile.
pub(super) fn put_all(
    tx: &Transaction<'_>,
    track: TrackId,
    scales: &Scales,
) -> rusqlite::Result<u64> {
    // `query_map` and `next`, since a track that was removed meanwhile is no error.
    let content = tx
        .prepare_cached("SELECT content FROM audio WHERE id = ?1")?
        .query_map([track.0], |row| row.get(0).map(ContentId))?
        .next()
        .transpose()?;
    let mut stored = 0;
    if let Some(content) = content {
        for (scale, value) in scales {
            stored += put(tx, content, *scale, value)?;
        }
    }
    Ok(stored)
}

/// The scales that a track has a value of.
pub(super) fn names(tx: &Transaction<'_>, track: TrackId) -> rusqlite::Result<BTreeSet<ScaleName>> {
    let sql = "SELECT scale FROM scales WHERE content = (SELECT content FROM audio WHERE id = ?1)";
    tx.prepare_cached(sql)?
        .query_map([track.0], |row| row.get(0))?
        .collect()
}
