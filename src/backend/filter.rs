//! Filters over tags as conditions in SQL. What they let through is at least what fits, and is filtered again where it is
//! fetched: a track of several files is tried file by file there.

use postgres::types::ToSql;

use super::row::{hash, name_hash};
use super::{BackendError, Result};
use crate::genre::Taxonomy;
use crate::library::{TrackFilter, path_to_bytes, stored_path};

/// Conditions, and the values that they name by number.
pub(super) struct Conditions {
    pub(super) sql: String,
    pub(super) values: Vec<Box<dyn ToSql + Sync>>,
    first: usize,
}

impl Conditions {
    /// - `first`: the number of the first value
    pub(super) fn new(first: usize) -> Self {
        Self { sql: "true".to_owned(), values: Vec::new(), first }
    }

    /// One more condition: `before`, the value, `after`.
    pub(super) fn and(&mut self, before: &str, value: impl ToSql + Sync + 'static, after: &str) {
        let number = self.first + self.values.len();
        self.values.push(Box::new(value));
        self.sql.push_str(&format!(" and {before} ${number}{after}"));
    }

    /// The conditions of a filter.
    ///
    /// - `licences`: all licences there are, as files spell them
    pub(super) fn add(
        &mut self,
        filter: &TrackFilter,
        taxonomy: &Taxonomy,
        licences: impl FnOnce() -> Result<Vec<String>>,
    ) -> Result<()> {
        let genres = |names: &[String]| -> Vec<i64> {
            taxonomy.named(names).iter().map(|genre| hash(genre.key().as_bytes())).collect()
        };
        let names = |names: &[String]| -> Vec<i64> { names.iter().map(|name| name_hash(name)).collect() };
        if !filter.words.is_empty() {
            return Err(BackendError::Unsupported("a tag"));
        }
        for (keys, column, excluded) in [
            (genres(&filter.genres), "genre_keys", genres(&filter.exclude_genres)),
            (names(&filter.artists), "artist_keys", names(&filter.exclude_artists)),
        ] {
            if !keys.is_empty() {
                self.and(&format!("{column} &&"), keys, "");
            }
            if !excluded.is_empty() {
                self.and(&format!("not {column} &&"), excluded, "");
            }
        }
        if !filter.licences.is_empty() {
            let mut fitting = licences()?;
            fitting.retain(|licence| {
                filter.licences.iter().any(|wanted| crate::library::licence_fits(licence, wanted))
            });
            self.and("licences &&", fitting, "");
        }
        if let Some(year) = filter.year_from {
            self.and("year_max >=", year, "");
        }
        if let Some(year) = filter.year_to {
            self.and("year_min <=", year, "");
        }
        for (comparison, bound) in [
            ("seconds >=", filter.seconds_from),
            ("seconds <=", filter.seconds_to),
            ("loudness >=", filter.loudness_from),
            ("loudness <=", filter.loudness_to),
        ] {
            if let Some(bound) = bound {
                self.and(comparison, bound, "");
            }
        }
        if filter.tempo_from.is_some() || filter.tempo_to.is_some() {
            let (from, to) = (filter.tempo_from.unwrap_or(0.0), filter.tempo_to.unwrap_or(f64::MAX));
            let number = self.first + self.values.len();
            self.values.push(Box::new(from));
            self.values.push(Box::new(to));
            let times: &[&str] = if filter.tempo_octaves { &["1", "2", "0.5"] } else { &["1"] };
            let spans: Vec<String> = times
                .iter()
                .map(|times| format!("tempo * {times} between ${number} and ${}", number + 1))
                .collect();
            self.sql.push_str(&format!(" and ({})", spans.join(" or ")));
        }
        if !filter.keys.is_empty() {
            let keys: Vec<i16> = filter.keys.iter().map(|key| i16::from(key.number())).collect();
            self.and("key = any(", keys, ")");
        }
        if !filter.folders.is_empty() {
            let mut keys = Vec::new();
            for folder in &filter.folders {
                keys.push(hash(path_to_bytes(&stored_path(folder))?));
            }
            let number = self.first + self.values.len();
            self.values.push(Box::new(keys));
            // A folder's name may also be a file's.
            self.sql.push_str(&format!(" and (folders && ${number} or paths && ${number})"));
        }
        Ok(())
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &(dyn ToSql + Sync)> {
        self.values.iter().map(|value| &**value)
    }
}
