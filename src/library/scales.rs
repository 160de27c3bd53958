//! Scales: numbers from 0 to 100 of a track, measured of its sound.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::str::FromStr;

use rusqlite::types::Value;
use rusqlite::{OptionalExtension, Row, Transaction, params_from_iter};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Library, Result};
use voisin_base::track::TrackId;

/// The scales, each a column, and by how many points two of three pieces of a track deviate at most from its median piece:
/// those of the sound alone, then the moods.
pub const SCALES: [(&str, f64); 13] = [
    ("energy", 3.1),
    ("danceability", 3.5),
    ("dfa", 9.5),
    ("percussiveness", 3.6),
    ("brightness", 3.4),
    ("dynamics", 7.1),
    ("pulse-clarity", 6.2),
    ("calm", 4.1),
    ("sad", 4.3),
    ("happy", 2.9),
    ("party", 3.9),
    ("mellow", 5.8),
    ("beautiful", 4.8),
];

/// The name of one of the [`SCALES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScaleName(&'static str);

impl ScaleName {
    pub const ENERGY: Self = Self(SCALES[0].0);

    pub fn as_str(&self) -> &str {
        self.0
    }

    fn column(self) -> String {
        format!("\"{self}\"")
    }
}

impl FromStr for ScaleName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut names = SCALES.iter().map(|(name, _)| *name);
        names.find(|name| *name == text).map(Self).ok_or_else(|| {
            let names = SCALES.map(|(name, _)| name).join(", ");
            format!("expected a scale ({names}), found \"{text}\"")
        })
    }
}

impl fmt::Display for ScaleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
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
        let value = (value.clamp(0.0, 100.0) * 100.0).round() / 100.0;
        value.is_finite().then_some(Self { value, error })
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
        let columns = columns();
        let sql = format!(
            "SELECT track, {columns} FROM scales WHERE track IN (SELECT value FROM json_each(?1))"
        );
        let list = serde_json::json!(ids).to_string();
        self.query_all(&sql, [list], |row| Ok((TrackId(row.get(0)?), scales(row)?)))
    }

    /// Tracks with energy and logits of the current model that lack a value of any of `scales`.
    pub fn tracks_lacking(&self, scales: &[ScaleName]) -> Result<Vec<TrackId>> {
        let lacks = scales
            .iter()
            .map(|scale| format!("{} IS NULL", scale.column()));
        let lacks: Vec<String> = lacks.collect();
        let sql = format!(
            "SELECT track FROM logits JOIN scales USING (track) WHERE energy IS NOT NULL AND ({}) ORDER BY track",
            lacks.join(" OR ")
        );
        self.query_all(&sql, [], |row| row.get(0).map(TrackId))
    }

    /// Stores values of tracks beside those that they have; a track that was removed meanwhile gets none.
    pub fn set_scales(&mut self, values: &[(TrackId, Scales)]) -> Result<()> {
        self.write(|tx| {
            for (track, scales) in values {
                put(tx, *track, scales)?;
            }
            Ok(())
        })
    }
}

fn columns() -> String {
    SCALES.map(|(name, _)| ScaleName(name).column()).join(", ")
}

/// The values in a row of `track` and all columns.
fn scales(row: &Row<'_>) -> rusqlite::Result<Scales> {
    let mut found = Scales::new();
    for (at, (name, error)) in SCALES.into_iter().enumerate() {
        if let Some(value) = row.get(at + 1)? {
            let error = Some(error);
            found.insert(ScaleName(name), ScaleValue { value, error });
        }
    }
    Ok(found)
}

/// Stores a track's values beside those that it has; nothing if it was removed meanwhile.
pub(super) fn put(tx: &Transaction<'_>, track: TrackId, scales: &Scales) -> rusqlite::Result<()> {
    if scales.is_empty() {
        return Ok(());
    }
    let columns: Vec<String> = scales.keys().map(|scale| scale.column()).collect();
    let places = (2..).take(columns.len()).map(|at| format!("?{at}"));
    let renewed = columns
        .iter()
        .map(|column| format!("{column} = excluded.{column}"));
    let sql = format!(
        "INSERT INTO scales (track, {}) SELECT id, {} FROM audio WHERE id = ?1
         ON CONFLICT (track) DO UPDATE SET {}",
        columns.join(", "),
        places.collect::<Vec<_>>().join(", "),
        renewed.collect::<Vec<_>>().join(", ")
    );
    let values = scales.values().map(|held| Value::from(held.value));
    let given = std::iter::once(Value::from(track.0)).chain(values);
    let mut statement = tx.prepare_cached(&sql)?;
    statement.execute(params_from_iter(given)).map(drop)
}

/// The values that a track has.
pub(super) fn of(tx: &Transaction<'_>, track: TrackId) -> rusqlite::Result<Scales> {
    let sql = format!("SELECT track, {} FROM scales WHERE track = ?1", columns());
    let found = tx
        .prepare_cached(&sql)?
        .query_row([track.0], scales)
        .optional()?;
    Ok(found.unwrap_or_default())
}
