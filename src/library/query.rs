//! Filters over tags as SQL conditions.

use std::collections::BTreeSet;
use std::path::PathBuf;

use rusqlite::types::Value;

use super::licence::licence_fits;
use super::{Library, Result, ScaleBound, TrackFilter, TrackSet, fold, store};
use voisin_base::track::TrackId;

/// Conditions joined by "and", and the values that they refer to by number. The text contains no value of a filter.
#[derive(Debug, Default)]
struct FilterSql {
    sql: String,
    values: Vec<Value>,
    /// The tables that conditions read beside the files.
    joins: BTreeSet<Join>,
}

/// A table that is joined to the files `f`, in the order of the joins.
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
    /// The conditions of a filter, except words, which have no column.
    ///
    /// - `licences`: those that the filter allows, as spelt in files
    fn new(filter: &TrackFilter, licences: Vec<String>) -> Result<Self> {
        // So that every condition can be appended with "and".
        let mut conditions = Self {
            sql: "true".to_owned(),
            ..Self::default()
        };
        conditions.add_names(filter);
        if !filter.licences.is_empty() {
            conditions.joins.insert(Join::Tags);
            // Spellings were matched with licences before; SQL compares whole texts.
            conditions.texts(licences, "t.licence in ({})");
        }
        conditions.add_numbers(filter);
        conditions.folders(&filter.folders, "", "")?;
        conditions.folders(
            &filter.exclude_folders,
            "f.track not in (select f.track from files f where ",
            ")",
        )?;
        Ok(conditions)
    }

    fn also(&mut self, condition: &str) {
        self.sql.push_str(" and ");
        self.sql.push_str(condition);
    }

    /// Adds a value; returns its number as SQLite writes it.
    fn bind(&mut self, value: impl Into<Value>) -> String {
        self.values.push(value.into());
        format!("?{}", self.values.len())
    }

    /// One of these texts.
    fn texts(&mut self, texts: Vec<String>, condition: &str) {
        // Bound once each, even if a condition uses the list twice: its numbers can be repeated.
        let bound: Vec<String> = texts.into_iter().map(|text| self.bind(text)).collect();
        self.also(&condition.replace("{}", &bound.join(", ")));
    }

    fn add_names(&mut self, filter: &TrackFilter) {
        for (names, condition) in [
            (
                &filter.genres,
                "exists (select 1 from genres g where g.file = f.id and g.genre_key in ({}))",
            ),
            (
                &filter.exclude_genres,
                // Of any file of the track: a copy with other tags must not bring back an excluded track.
                "f.track not in (select x.track from genres y join files x on x.id = y.file where y.genre_key in ({}))",
            ),
            (
                &filter.artists,
                // A subquery, so that artists alone need no join.
                "f.id in (select y.file from tags y where y.artist_key in ({}) or y.album_artist_key in ({}))",
            ),
            (
                &filter.exclude_artists,
                "f.track not in (select x.track from tags y join files x on x.id = y.file
                 where y.artist_key in ({}) or y.album_artist_key in ({}))",
            ),
        ] {
            // "in ()" would hold for no track, and an empty filter holds for all.
            if !names.is_empty() {
                self.texts(names.iter().map(|name| fold(name)).collect(), condition);
            }
        }
    }

    fn add_numbers(&mut self, filter: &TrackFilter) {
        let year = |year: Option<i32>| year.map(f64::from);
        for (join, condition, bound) in [
            (Join::Tags, "t.year >=", year(filter.year_from)),
            (Join::Tags, "t.year <=", year(filter.year_to)),
            (Join::Audio, "a.seconds >=", filter.seconds_from),
            (Join::Audio, "a.seconds <=", filter.seconds_to),
            (Join::Descriptors, "d.tempo >=", filter.tempo_from),
            (Join::Descriptors, "d.tempo <=", filter.tempo_to),
        ] {
            if let Some(bound) = bound {
                self.joins.insert(join);
                let bound = self.bind(bound);
                self.also(&format!("{condition} {bound}"));
            }
        }
        for ScaleBound { scale, from, to } in &filter.scales {
            self.joins.insert(Join::Audio);
            let from = self.bind(from.unwrap_or(0.0));
            let to = self.bind(to.unwrap_or(100.0));
            // "between" is null, and so false, for a track without a value.
            self.also(&format!(
                "(select s.\"{scale}\" from scales s where s.track = a.id) between {from} and {to}"
            ));
        }
        if !filter.keys.is_empty() {
            self.joins.insert(Join::Descriptors);
            // Numbers from 0 to 23, which are safe in the text.
            let keys = filter.keys.iter().map(|key| key.number().to_string());
            let keys: Vec<String> = keys.collect();
            self.also(&format!("d.key in ({})", keys.join(", ")));
        }
    }

    /// One of these folders.
    ///
    /// - `before`, `after`: text around the condition
    fn folders(&mut self, folders: &[PathBuf], before: &str, after: &str) -> Result<()> {
        let mut ranges = Vec::new();
        for folder in folders {
            // A range of bytes can use the index of paths; LIKE, which folds ASCII case, could not.
            let (exact, from, to) = store::below(folder)?;
            let [exact, from, to] = [exact, from, to].map(|path| self.bind(path));
            ranges.push(format!(
                "(f.path = {exact} or (f.path >= {from} and f.path < {to}))"
            ));
        }
        if !ranges.is_empty() {
            self.also(&format!("{before}({}){after}", ranges.join(" or ")));
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
        let FilterSql { sql, values, joins } =
            FilterSql::new(filter, self.licences_like(&filter.licences)?)?;
        // A table that no condition reads is not joined.
        let joined: String = joins.iter().map(|join| join.sql()).collect();
        let sql = format!("SELECT f.track FROM files f{joined} WHERE {sql}");
        let values = rusqlite::params_from_iter(values);
        self.query_all(&sql, values, |row| row.get(0).map(TrackId))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_joins_the_tables_that_it_reads() {
        let joins = |filter: TrackFilter| -> Vec<Join> {
            let sql = FilterSql::new(&filter, filter.licences.clone()).unwrap();
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
}
