//! Filters in a database. They select at least the matching tracks, which are filtered again once
//! fetched: there a track of several files is tested file by file.

use std::path::PathBuf;

use super::parameter::SqlParameter;
use super::row::{hash, name_hash};
use super::{BackendError, Result};
use voisin_genre::Taxonomy;
use voisin_library::{ScaleBound, TrackFilter, licence_fits, path_to_bytes, stored_path};

/// Conditions joined by "and", and the values that they refer to by number.
pub(crate) struct Conditions {
    /// The text, which contains no value.
    pub(super) sql: String,
    values: Vec<Box<dyn SqlParameter>>,
    first: usize,
}

impl Conditions {
    /// Those that every track fulfils.
    ///
    /// - `first`: the number of the first value
    pub(super) fn none(first: usize) -> Self {
        Self {
            // So that every condition can be appended with "and".
            sql: "true".to_owned(),
            values: Vec::new(),
            first,
        }
    }

    /// Adds a condition, with the value in place of each `{}`.
    pub(super) fn and(&mut self, condition: &str, value: impl SqlParameter + 'static) {
        let named = format!("${}", self.first + self.values.len());
        self.values.push(Box::new(value));
        self.sql.push_str(" and ");
        self.sql.push_str(&condition.replace("{}", &named));
    }

    fn and_names(&mut self, condition: &str, names: &[String]) {
        if !names.is_empty() {
            let keys: Vec<i64> = names.iter().map(|name| name_hash(name)).collect();
            self.and(condition, keys);
        }
    }

    fn and_folders(&mut self, condition: &str, folders: &[PathBuf]) -> Result<()> {
        let mut keys = Vec::new();
        for folder in folders {
            keys.push(hash(path_to_bytes(&stored_path(folder))?));
        }
        if !keys.is_empty() {
            self.and(condition, keys);
        }
        Ok(())
    }

    /// The values.
    pub(super) fn values(&self) -> impl Iterator<Item = &dyn SqlParameter> {
        self.values.iter().map(|value| &**value)
    }
}

/// The conditions of a filter.
///
/// - `first`: the number of the first value
/// - `licences`: all licences in the database, as files spell them
pub(super) fn conditions(
    filter: &TrackFilter,
    first: usize,
    taxonomy: &Taxonomy,
    licences: impl FnOnce() -> Result<Vec<String>>,
) -> Result<Conditions> {
    // Filters for which a database has no data are refused, not ignored: results without the filter would be wrong.
    if !filter.words.is_empty() {
        return Err(BackendError::Tag);
    }
    let keys = |names: &[String]| -> Vec<String> {
        let genres = taxonomy.named(names);
        genres.iter().map(|genre| genre.key().to_owned()).collect()
    };
    let mut all = Conditions::none(first);
    all.and_names("genre_keys && {}", &keys(&filter.genres));
    all.and_names("not genre_keys && {}", &keys(&filter.exclude_genres));
    all.and_names("artist_keys && {}", &filter.artists);
    all.and_names("not artist_keys && {}", &filter.exclude_artists);
    if !filter.licences.is_empty() {
        // Licences are compared by rules that SQL does not have, so the matching ones are chosen here, by name.
        let mut fitting = licences()?;
        fitting.retain(|licence| {
            let mut wanted = filter.licences.iter();
            wanted.any(|wanted| licence_fits(licence, wanted))
        });
        all.and("licences && {}", fitting);
    }
    // A track's files may have different years: the latest of them is compared with the first year of the filter, the
    // earliest with the last.
    for (condition, year) in [
        ("year_max >= {}", filter.year_from),
        ("year_min <= {}", filter.year_to),
    ] {
        if let Some(year) = year {
            all.and(condition, year);
        }
    }
    for (condition, bound) in [
        ("seconds >= {}", filter.seconds_from),
        ("seconds <= {}", filter.seconds_to),
        ("tempo >= {}", filter.tempo_from),
        ("tempo <= {}", filter.tempo_to),
    ] {
        if let Some(bound) = bound {
            all.and(condition, bound);
        }
    }
    for ScaleBound { scale, from, to } in &filter.scales {
        // A name has no quotes. A comparison is null, and so false, for a track without a value.
        let value = format!("(facts->'descriptors'->'scales'->'{scale}'->>'value')::float8");
        all.and(&format!("{value} >= {{}}"), from.unwrap_or(0.0));
        all.and(&format!("{value} <= {{}}"), to.unwrap_or(100.0));
    }
    if !filter.keys.is_empty() {
        let keys = filter.keys.iter().map(|key| i64::from(key.number()));
        all.and("key = any ({})", keys.collect::<Vec<i64>>());
    }
    // A folder given by the user may also be the path of a file.
    let below = "(folders && {} or paths && {})";
    all.and_folders(below, &filter.folders)?;
    all.and_folders(&format!("not {below}"), &filter.exclude_folders)?;
    Ok(all)
}
