//! Filters in a database. They select at least the matching tracks, which are filtered again once
//! fetched: there a track of several files is tested file by file.

use std::path::PathBuf;

use postgres::types::{ToSql, Type};

use super::row::{key, plain};
use super::{BackendError, Result};
use voisin_genre::Taxonomy;
use voisin_library::{ScaleBound, TrackFilter, fold, licence_fits, stored_path};

/// A value of a statement, and its type.
type SqlValue = (Box<dyn ToSql + Sync>, Type);

/// Conditions joined by "and", and the values that they refer to by number, from 1 on.
pub(super) struct Conditions {
    /// The text, which contains no value.
    pub(super) sql: String,
    values: Vec<SqlValue>,
}

impl Conditions {
    /// Those that every track fulfils.
    pub(super) fn none() -> Self {
        Self {
            // So that every condition can be appended with "and".
            sql: "true".to_owned(),
            values: Vec::new(),
        }
    }

    /// Adds a condition, with the value in place of each `{}`.
    fn and(&mut self, condition: &str, value: impl ToSql + Sync + 'static, kind: Type) {
        let named = format!("${}", self.values.len() + 1);
        self.values.push((Box::new(value), kind));
        self.sql.push_str(" and ");
        self.sql.push_str(&condition.replace("{}", &named));
    }

    /// Adds a condition on keys, unless there are none.
    pub(super) fn and_keys(&mut self, condition: &str, keys: Vec<String>) {
        if !keys.is_empty() {
            self.and(condition, keys, Type::TEXT_ARRAY);
        }
    }

    fn and_number(&mut self, condition: &str, number: Option<f64>) {
        if let Some(number) = number {
            self.and(condition, number, Type::FLOAT8);
        }
    }

    /// Adds the condition that a track's names contain all of these words; false if there are none.
    pub(super) fn and_words(&mut self, words: &str) -> bool {
        let folded = fold(words);
        let words = folded.split(' ').filter(|word| !word.is_empty());
        let before = self.values.len();
        for word in words {
            self.and("strpos(words, {}) > 0", plain(word), Type::TEXT);
        }
        self.values.len() > before
    }

    /// The values.
    pub(super) fn values(&self) -> Vec<(&(dyn ToSql + Sync), Type)> {
        let values = self.values.iter();
        values
            .map(|(value, kind)| (&**value, kind.clone()))
            .collect()
    }
}

/// Keys of folders and files.
pub(super) fn path_keys(paths: &[PathBuf]) -> Vec<String> {
    let stored = paths.iter().map(|path| stored_path(path));
    stored.map(|path| key(&path.to_string_lossy())).collect()
}

/// The conditions of a filter.
///
/// - `licences`: all licences in the database, as files spell them
pub(super) fn conditions(
    filter: &TrackFilter,
    taxonomy: &Taxonomy,
    licences: Vec<String>,
) -> Result<Conditions> {
    // Refused, not ignored: results without the filter would be wrong.
    if !filter.words.is_empty() {
        return Err(BackendError::Tag);
    }
    let genres = |names: &[String]| super::row::genre_keys(&taxonomy.named(names));
    let names = |names: &[String]| names.iter().map(|name| key(&fold(name))).collect();
    let mut all = Conditions::none();
    all.and_keys("genre_keys && {}", genres(&filter.genres));
    all.and_keys("not genre_keys && {}", genres(&filter.exclude_genres));
    all.and_keys("artist_keys && {}", names(&filter.artists));
    all.and_keys("not artist_keys && {}", names(&filter.exclude_artists));
    all.and_keys("folders && {}", path_keys(&filter.folders));
    all.and_keys("not folders && {}", path_keys(&filter.exclude_folders));
    if !filter.licences.is_empty() {
        // Licences are compared by rules that SQL does not have, so the matching ones are chosen here, by name.
        let fits = |text: &String| filter.licences.iter().any(|name| licence_fits(text, name));
        let fitting: Vec<String> = licences.into_iter().filter(fits).collect();
        all.and("licences && {}", fitting, Type::TEXT_ARRAY);
    }
    // A track's files may have different years: the latest of them is compared with the first year of the filter, the
    // earliest with the last.
    all.and_number("year_max >= {}", filter.year_from.map(f64::from));
    all.and_number("year_min <= {}", filter.year_to.map(f64::from));
    all.and_number("seconds >= {}", filter.seconds_from);
    all.and_number("seconds <= {}", filter.seconds_to);
    all.and_number("tempo >= {}", filter.tempo_from);
    all.and_number("tempo <= {}", filter.tempo_to);
    for ScaleBound { scale, from, to } in &filter.scales {
        // A comparison is null, and so false, for a track without a value.
        let value = scale_value(scale.as_str());
        all.and_number(&format!("{value} >= {{}}"), from.or(Some(0.0)));
        all.and_number(&format!("{value} <= {{}}"), to.or(Some(100.0)));
    }
    if !filter.keys.is_empty() {
        let keys = filter.keys.iter().map(|key| i64::from(key.number()));
        all.and(
            "key = any ({})",
            keys.collect::<Vec<i64>>(),
            Type::INT8_ARRAY,
        );
    }
    Ok(all)
}

/// The expression of a track's value of a scale, whose name has no quotes.
pub(super) fn scale_value(scale: &str) -> String {
    format!("(scales::jsonb->'{scale}'->>'value')::float8")
}
