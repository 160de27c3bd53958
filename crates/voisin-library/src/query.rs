//! Filters over tags, as a set of tracks.

use rusqlite::types::Value;

use super::licence::licence_fits;
use super::{Library, Result, TrackFilter, TrackSet, fold, store};
use voisin_base::track::TrackId;

impl Library {
    /// Licences as files spell them, each once, that any of these names means.
    fn licences_like(&self, wanted: &[String]) -> Result<Vec<String>> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let known = self.connection.prepare("SELECT DISTINCT licence FROM tags WHERE licence IS NOT NULL");
        let known = known.and_then(|mut statement| {
            let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        });
        let mut known = self.sql(known)?;
        known.retain(|licence| wanted.iter().any(|wanted| licence_fits(licence, wanted)));
        Ok(known)
    }

    /// The tracks that fit a filter. Names from the filter are bound, never written into the query.
    pub fn matching(&self, filter: &TrackFilter) -> Result<TrackSet> {
        let licences = self.licences_like(&filter.licences)?;
        let (sql, values) = to_sql(filter, &licences)?;
        let set = self.connection.prepare(&sql).and_then(|mut statement| {
            let rows =
                statement.query_map(rusqlite::params_from_iter(values), |row| row.get(0).map(TrackId))?;
            rows.collect()
        });
        self.sql(set)
    }
}

/// - `licences`: as files spell them, those that the filter allows
fn to_sql(filter: &TrackFilter, licences: &[String]) -> Result<(String, Vec<Value>)> {
    let mut sql = String::from(
        "SELECT f.track FROM files f JOIN audio a ON a.id = f.track LEFT JOIN tags t ON t.file = f.id
         LEFT JOIN descriptors d ON d.track = f.track WHERE 1",
    );
    let mut values: Vec<Value> = Vec::new();
    let mut bind = |value: Value| {
        values.push(value);
        format!("?{}", values.len())
    };
    let list = |names: &[String], bind: &mut dyn FnMut(Value) -> String| {
        names.iter().map(|name| bind(Value::Text(fold(name)))).collect::<Vec<_>>().join(", ")
    };
    let mut and = |condition: String| {
        sql.push_str(" AND ");
        sql.push_str(&condition);
    };
    if !filter.genres.is_empty() {
        let names = list(&filter.genres, &mut bind);
        and(format!("EXISTS (SELECT 1 FROM genres g WHERE g.file = f.id AND g.genre_key IN ({names}))"));
    }
    if !filter.exclude_genres.is_empty() {
        let names = list(&filter.exclude_genres, &mut bind);
        and(format!(
            "f.track NOT IN (SELECT x.track FROM genres y JOIN files x ON x.id = y.file WHERE y.genre_key IN ({names}))"
        ));
    }
    if !filter.artists.is_empty() {
        let names = list(&filter.artists, &mut bind);
        and(format!("(t.artist_key IN ({names}) OR t.album_artist_key IN ({names}))"));
    }
    if !filter.exclude_artists.is_empty() {
        let names = list(&filter.exclude_artists, &mut bind);
        and(format!(
            "f.track NOT IN (SELECT x.track FROM tags y JOIN files x ON x.id = y.file
             WHERE y.artist_key IN ({names}) OR y.album_artist_key IN ({names}))"
        ));
    }
    if !filter.licences.is_empty() {
        let names: Vec<String> = licences.iter().map(|name| bind(Value::Text(name.clone()))).collect();
        and(format!("t.licence IN ({})", names.join(", ")));
    }
    let bounds = [
        ("t.year >=", filter.year_from.map(|year| Value::Integer(year.into()))),
        ("t.year <=", filter.year_to.map(|year| Value::Integer(year.into()))),
        ("a.seconds >=", filter.seconds_from.map(Value::Real)),
        ("a.seconds <=", filter.seconds_to.map(Value::Real)),
        ("d.loudness >=", filter.loudness_from.map(Value::Real)),
        ("d.loudness <=", filter.loudness_to.map(Value::Real)),
    ];
    for (comparison, bound) in bounds {
        if let Some(bound) = bound {
            and(format!("{comparison} {}", bind(bound)));
        }
    }
    if filter.tempo_from.is_some() || filter.tempo_to.is_some() {
        let from = bind(Value::Real(filter.tempo_from.unwrap_or(0.0)));
        let to = bind(Value::Real(filter.tempo_to.unwrap_or(f64::MAX)));
        let times: &[&str] = if filter.tempo_octaves { &["1", "2", "0.5"] } else { &["1"] };
        let within: Vec<String> =
            times.iter().map(|times| format!("d.tempo * {times} BETWEEN {from} AND {to}")).collect();
        and(format!("({})", within.join(" OR ")));
    }
    if !filter.keys.is_empty() {
        let keys: Vec<String> = filter.keys.iter().map(|key| key.number().to_string()).collect();
        and(format!("d.key IN ({})", keys.join(", ")));
    }
    if !filter.folders.is_empty() {
        let mut ranges = Vec::new();
        for folder in &filter.folders {
            let (exact, from, to) = store::below(folder)?;
            let (exact, from, to) =
                (bind(Value::Blob(exact)), bind(Value::Blob(from)), bind(Value::Blob(to)));
            ranges.push(format!("f.path = {exact} OR (f.path >= {from} AND f.path < {to})"));
        }
        and(format!("({})", ranges.join(" OR ")));
    }
    Ok((sql, values))
}
