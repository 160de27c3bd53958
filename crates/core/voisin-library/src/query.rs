//! Filters over tags as SQL conditions: the one place that maps a filter's fields to a database's
//! columns.

use std::collections::BTreeSet;
use std::path::PathBuf;

use rusqlite::ToSql;
use rusqlite::types::ToSqlOutput;

use super::licence::licence_fits;
use super::{
    Library, Result, ScaleBound, TrackFilter, TrackSet, fold, path_to_bytes, store, stored_path,
};
use voisin_base::track::TrackId;

/// A value that a condition refers to by number.
#[derive(Debug, Clone, PartialEq)]
pub enum FilterValue {
    /// A year.
    Year(i32),
    /// Seconds, beats a minute, LUFS.
    Real(f64),
    /// A name.
    Text(String),
    /// Names, any of which matches.
    Texts(Vec<String>),
    /// A path.
    Path(Vec<u8>),
    /// Keys of names and paths, any of which matches.
    Keys(Vec<i64>),
}

impl ToSql for FilterValue {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match self {
            Self::Year(year) => year.to_sql(),
            Self::Real(number) => number.to_sql(),
            Self::Text(text) => text.to_sql(),
            Self::Path(bytes) => bytes.to_sql(),
            // Never bound: for SQLite each text of a list becomes a value of its own (see `texts`).
            Self::Texts(_) | Self::Keys(_) => Err(rusqlite::Error::ToSqlConversionFailure(
                "SQLite has no lists".into(),
            )),
        }
    }
}

/// The layout of a database's tables of tracks.
#[derive(Debug, Clone, Copy)]
pub enum FilterDialect {
    /// A library: a row for each file `f`, its audio `a`, tags `t` and descriptors `d`, with folded names.
    Sqlite,
    /// One table with lists of keys of names and paths.
    Postgres {
        /// The key of a folded name, or of a path.
        key: fn(&[u8]) -> i64,
    },
}

/// Conditions joined by "and", and the values that they refer to by number. The text contains no value of a filter.
#[derive(Debug)]
pub struct FilterSql {
    dialect: FilterDialect,
    /// The condition.
    pub sql: String,
    /// The values.
    pub values: Vec<FilterValue>,
    first: usize,
    /// The tables of a library that conditions read beside its files.
    joins: BTreeSet<Join>,
}

/// A table that is joined to a library's files `f`, in the order of the joins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Join {
    /// `a`.
    Audio,
    /// `t`.
    Tags,
    /// `d`.
    Descriptors,
}

impl Join {
    const fn sql(self) -> &'static str {
        match self {
            Self::Audio => " JOIN audio a ON a.id = f.track",
            Self::Tags => " LEFT JOIN tags t ON t.file = f.id",
            Self::Descriptors => " LEFT JOIN descriptors d ON d.track = f.track",
        }
    }
}

impl FilterSql {
    /// A condition that always holds.
    ///
    /// - `first`: the number of the first value
    pub fn new(dialect: FilterDialect, first: usize) -> Self {
        Self {
            dialect,
            // So that every condition can be appended with "and".
            sql: "true".to_owned(),
            values: Vec::new(),
            first,
            joins: BTreeSet::new(),
        }
    }

    /// Adds a condition, with the value in place of each `{}`.
    pub fn and(&mut self, condition: &str, value: FilterValue) {
        let named = self.bind(value);
        self.also(&condition.replace("{}", &named));
    }

    fn also(&mut self, condition: &str) {
        self.sql.push_str(" and ");
        self.sql.push_str(condition);
    }

    fn bind(&mut self, value: FilterValue) -> String {
        let sign = if matches!(self.dialect, FilterDialect::Sqlite) {
            '?'
        } else {
            '$'
        };
        self.values.push(value);
        format!("{sign}{}", self.first + self.values.len() - 1)
    }

    /// One of these names.
    fn names(&mut self, names: &[String], sqlite: &str, postgres: &str) {
        let folded = names.iter().map(|name| fold(name));
        match self.dialect {
            // "in ()" would hold for no track, and an empty filter holds for all.
            _ if names.is_empty() => {}
            FilterDialect::Sqlite => self.texts(folded.collect(), sqlite),
            FilterDialect::Postgres { key } => {
                self.and(
                    postgres,
                    FilterValue::Keys(folded.map(|name| key(name.as_bytes())).collect()),
                );
            }
        }
    }

    fn texts(&mut self, texts: Vec<String>, condition: &str) {
        let named: Vec<String> = texts
            .into_iter()
            // Bound once each, even if a condition uses the list twice: its numbers can be
            // repeated.
            .map(|text| self.bind(FilterValue::Text(text)))
            .collect();
        self.also(&condition.replace("{}", &named.join(", ")));
    }

    /// Adds a filter's conditions, except words, which have no column.
    ///
    /// - `licences`: those that the filter allows, as spelt in files
    pub fn add(&mut self, filter: &TrackFilter, licences: Vec<String>) -> Result<()> {
        self.names(
            &filter.genres,
            "exists (select 1 from genres g where g.file = f.id and g.genre_key in ({}))",
            "genre_keys && {}",
        );
        self.names(
            &filter.exclude_genres,
            // Of any file of the track: a copy with other tags must not bring back an excluded
            // track.
            "f.track not in (select x.track from genres y join files x on x.id = y.file where y.genre_key in ({}))",
            "not genre_keys && {}",
        );
        self.names(
            &filter.artists,
            // A subquery, so that artists alone need no join.
            "f.id in (select y.file from tags y where y.artist_key in ({}) or y.album_artist_key in ({}))",
            "artist_keys && {}",
        );
        self.names(
            &filter.exclude_artists,
            "f.track not in (select x.track from tags y join files x on x.id = y.file
             where y.artist_key in ({}) or y.album_artist_key in ({}))",
            "not artist_keys && {}",
        );
        let is_sqlite = matches!(self.dialect, FilterDialect::Sqlite);
        // Spellings were matched with licences in Rust before; SQL compares whole texts.
        match (filter.licences.is_empty(), is_sqlite) {
            (true, _) => {}
            (_, true) => {
                self.joins.insert(Join::Tags);
                self.texts(licences, "t.licence in ({})");
            }
            (_, false) => self.and("licences && {}", FilterValue::Texts(licences)),
        }
        let column = |sqlite: &'static str, postgres: &'static str| {
            if is_sqlite { sqlite } else { postgres }
        };
        let seconds = column("a.seconds", "seconds");
        let tempo = column("d.tempo", "tempo");
        let key = column("d.key", "key");
        // A server has one row per track, whose files may have different years: the latest of them
        // is compared with the first year of the filter, the earliest with the last.
        let year_least = column("t.year", "year_max");
        let year_most = column("t.year", "year_min");
        let years = [filter.year_from, filter.year_to].map(|year| year.map(FilterValue::Year));
        let [year_from, year_to] = years;
        let lengths = [filter.seconds_from, filter.seconds_to];
        let [seconds_from, seconds_to] = lengths.map(|number| number.map(FilterValue::Real));
        for (join, column, comparison, bound) in [
            (Join::Tags, year_least, ">=", year_from),
            (Join::Tags, year_most, "<=", year_to),
            (Join::Audio, seconds, ">=", seconds_from),
            (Join::Audio, seconds, "<=", seconds_to),
        ] {
            if let Some(bound) = bound {
                self.joins.insert(join);
                self.and(&format!("{column} {comparison} {{}}"), bound);
            }
        }
        for ScaleBound { scale, from, to } in &filter.scales {
            let value = if is_sqlite {
                self.joins.insert(Join::Audio);
                // a name has no quotes
                format!(
                    "(select s.value from scales s where s.content = a.content and s.scale = '{scale}')"
                )
            } else {
                format!("(facts->'descriptors'->'scales'->'{scale}'->>'value')::float8")
            };
            // "between" is null, and so false, for a track without a value.
            let [from, to] = [from.unwrap_or(0.0), to.unwrap_or(100.0)]
                .map(|bound| self.bind(FilterValue::Real(bound)));
            self.also(&format!("{value} between {from} and {to}"));
        }
        if filter.tempo_from.is_some() || filter.tempo_to.is_some() {
            self.joins.insert(Join::Descriptors);
            let from = filter.tempo_from.unwrap_or(0.0);
            let to = filter.tempo_to.unwrap_or(f64::MAX);
            let [from, to] = [from, to].map(|bound| self.bind(FilterValue::Real(bound)));
            self.also(&format!("{tempo} between {from} and {to}"));
        }
        if !filter.keys.is_empty() {
            self.joins.insert(Join::Descriptors);
            let keys: Vec<String> = filter
                .keys
                .iter()
                // Numbers from 0 to 23, which are safe in the text.
                .map(|key| key.number().to_string())
                .collect();
            self.also(&format!("{key} in ({})", keys.join(", ")));
        }
        let below = "(f.path = {} or (f.path >= {} and f.path < {}))";
        // One value, used twice.
        let paths = "(folders && {} or paths && {})";
        self.folders(&filter.folders, ("", below, ""), paths)?;
        self.folders(
            &filter.exclude_folders,
            (
                "f.track not in (select f.track from files f where ",
                below,
                ")",
            ),
            &format!("not {paths}"),
        )
    }

    /// One of these folders.
    ///
    /// - `sqlite`: text before the folders, for each of them, and after them
    fn folders(
        &mut self,
        folders: &[PathBuf],
        sqlite: (&str, &str, &str),
        postgres: &str,
    ) -> Result<()> {
        let mut ranges = Vec::new();
        let mut keys = Vec::new();
        for folder in folders {
            match self.dialect {
                FilterDialect::Sqlite => {
                    // A range of bytes can use the index of paths; LIKE, which folds ASCII case,
                    // could not.
                    let (exact, from, to) = store::below(folder)?;
                    let bound = [exact, from, to].map(|path| self.bind(FilterValue::Path(path)));
                    let each = bound.iter().fold(sqlite.1.to_owned(), |text, name| {
                        text.replacen("{}", name, 1)
                    });
                    ranges.push(each);
                }
                FilterDialect::Postgres { key } => {
                    keys.push(key(path_to_bytes(&stored_path(folder))?));
                }
            }
        }
        if !ranges.is_empty() {
            self.also(&format!(
                "{}({}){}",
                sqlite.0,
                ranges.join(" or "),
                sqlite.2
            ));
        }
        if !keys.is_empty() {
            // a folder given by the user may also be the path of a file
            self.and(postgres, FilterValue::Keys(keys));
        }
        Ok(())
    }
}

impl Library {
    /// The distinct licences, as spelt in files.
    pub fn licences(&self) -> Result<Vec<String>> {
        let sql = "SELECT DISTINCT licence FROM tags WHERE licence IS NOT NULL";
        self.query_all(sql, [], |row| row.get(0))
    }

    /// The distinct genres in tags, as spelt there.
    pub fn genre_texts(&self) -> Result<Vec<String>> {
        // Skips along the index from each to the next, so that only as many rows are read as there are
        // texts.
        let sql = "WITH RECURSIVE keys (key) AS (
                 SELECT min(genre_key) FROM genres
                 UNION ALL SELECT (SELECT min(genre_key) FROM genres WHERE genre_key > key)
                 FROM keys WHERE key IS NOT NULL
             ), texts (key, text) AS (
                 SELECT key, (SELECT min(genre) FROM genres WHERE genre_key = key) FROM keys WHERE key IS NOT NULL
                 UNION ALL SELECT key, (SELECT min(genre) FROM genres WHERE genre_key = key AND genre > text)
                 FROM texts WHERE text IS NOT NULL
             ) SELECT text FROM texts WHERE text IS NOT NULL";
        self.query_all(sql, [], |row| row.get(0))
    }

    /// The tracks whose first file's tags have one of these genres in this spelling.
    pub fn tracks_with_genres(&self, texts: &[&str]) -> Result<TrackSet> {
        // The key is in the index; the text distinguishes spellings with one key.
        let keys: BTreeSet<String> = texts.iter().map(|text| fold(text)).collect();
        let sql = "SELECT f.track FROM genres g JOIN files f ON f.id = g.file
             WHERE g.genre_key IN (SELECT value FROM json_each(?1)) AND g.genre IN (SELECT value FROM json_each(?2))
             AND NOT EXISTS (SELECT 1 FROM files o WHERE o.track = f.track AND o.id < f.id)";
        let lists = (
            serde_json::json!(keys).to_string(),
            serde_json::json!(texts).to_string(),
        );
        self.query_all(sql, lists, |row| row.get(0).map(TrackId))
    }
}

impl Library {
    /// The distinct spellings in files of the licences with any of these names.
    fn licences_like(&self, wanted: &[String]) -> Result<Vec<String>> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let mut known = self.licences()?;
        known.retain(|licence| wanted.iter().any(|wanted| licence_fits(licence, wanted)));
        Ok(known)
    }

    /// The tracks that fit a filter.
    pub fn matching(&self, filter: &TrackFilter) -> Result<TrackSet> {
        // SQLite numbers values from 1.
        let mut fitting = FilterSql::new(FilterDialect::Sqlite, 1);
        fitting.add(filter, self.licences_like(&filter.licences)?)?;
        // A table that no condition reads is not joined.
        let joined: String = fitting.joins.iter().map(|join| join.sql()).collect();
        let sql = format!("SELECT f.track FROM files f{joined} WHERE {}", fitting.sql);
        let values = rusqlite::params_from_iter(fitting.values);
        self.query_all(&sql, values, |row| row.get(0).map(TrackId))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_joins_the_tables_that_it_reads() {
        let joins = |filter: TrackFilter| -> Vec<Join> {
            let mut sql = FilterSql::new(FilterDialect::Sqlite, 1);
            let licences = filter.licences.clone();
            sql.add(&filter, licences).unwrap();
            for (join, table) in [
                (Join::Audio, " a."),
                (Join::Tags, " t."),
                (Join::Descriptors, " d."),
            ] {
                let reads = sql.sql.replace('(', " ").contains(table);
                assert_eq!(reads, sql.joins.contains(&join), "{}", sql.sql);
            }
            sql.joins.into_iter().collect()
        };
        let filter = TrackFilter::default;
        let names = || vec!["a.t.d".to_owned()];
        assert_eq!(joins(filter()), []);
        let by_name = TrackFilter {
            genres: names(),
            exclude_genres: names(),
            artists: names(),
            exclude_artists: names(),
            folders: vec!["/t.a/d.".into()],
            ..filter()
        };
        assert_eq!(joins(by_name), []);
        let by_length = TrackFilter {
            seconds_to: Some(60.0),
            ..filter()
        };
        assert_eq!(joins(by_length), [Join::Audio]);
        let by_tags = TrackFilter {
            year_from: Some(1990),
            licences: names(),
            ..filter()
        };
        assert_eq!(joins(by_tags), [Join::Tags]);
        let by_key = TrackFilter {
            keys: vec!["8A".parse().unwrap()],
            ..filter()
        };
        assert_eq!(joins(by_key), [Join::Descriptors]);
        let by_sound = TrackFilter {
            tempo_from: Some(100.0),
            year_to: Some(1999),
            ..filter()
        };
        assert_eq!(joins(by_sound), [Join::Tags, Join::Descriptors]);
    }

    #[test]
    fn a_filter_is_the_same_in_both_dialects() {
        let names = |names: &[&str]| {
            names
                .iter()
                .map(|&name| name.to_owned())
                .collect::<Vec<_>>()
        };
        let filter = TrackFilter {
            genres: names(&["Trip-Hop", "JAZZ"]),
            exclude_artists: names(&["Björk"]),
            year_from: Some(1990),
            year_to: Some(1999),
            tempo_to: Some(90.0),
            ..TrackFilter::default()
        };
        let sql_for = |dialect, first| {
            let mut sql = FilterSql::new(dialect, first);
            sql.add(&filter, Vec::new()).unwrap();
            (sql.sql, sql.values)
        };
        let (sql, values) = sql_for(FilterDialect::Sqlite, 1);
        assert!(
            sql.contains("g.genre_key in (?1, ?2))") && sql.contains("y.album_artist_key in (?3)"),
            "{sql}"
        );
        assert!(
            sql.ends_with(" and t.year >= ?4 and t.year <= ?5 and d.tempo between ?6 and ?7"),
            "{sql}"
        );
        assert_eq!(
            values[..3],
            ["trip hop", "jazz", "bjork"].map(|name| FilterValue::Text(name.to_owned()))
        );
        let key = |bytes: &[u8]| bytes.len() as i64;
        let (sql, values) = sql_for(FilterDialect::Postgres { key }, 2);
        assert_eq!(
            sql,
            "true and genre_keys && $2 and not artist_keys && $3 and year_max >= $4 and year_min <= $5 \
             and tempo between $6 and $7"
        );
        let bounds = [
            FilterValue::Year(1990),
            FilterValue::Year(1999),
            FilterValue::Real(0.0),
        ];
        assert_eq!(
            values[..2],
            [FilterValue::Keys(vec![8, 4]), FilterValue::Keys(vec![5])]
        );
        assert_eq!(values[2..5], bounds);
        assert_eq!(values[5..], [FilterValue::Real(90.0)]);
    }
}
