//! The nearest tracks: by the index, or by comparing all if a filter leaves few or the caller requires it.

use super::{OWN_PLAN, Postgres};
use crate::postgres::Result;
use crate::postgres::filter::Conditions;
use crate::postgres::parameter::SqlParameter;
use crate::postgres::row::{HalfVector, QUERY};
use voisin_base::track::TrackId;
use voisin_base::vector::dot;
use voisin_index::Neighbor;
use voisin_library::{SortBy, TrackFilter};

/// If at most this many tracks pass a filter, comparing with each is faster than the index, and exact: some 20 ms.
const COMPARED: usize = 20_000;

/// If the planner estimates more than this multiple of them, they are not counted: that takes as long as the search.
const SURELY_MORE: usize = 2;

/// Candidates that an unfiltered search keeps at least (`hnsw.ef_search`).
const WIDTH: usize = 100;

/// The largest width that pgvector allows.
const WIDEST: usize = 1000;

/// Width of a filtered walk. With a filter that follows the clusters of the music, a narrower one
/// ends among tracks that do not match.
const FILTERED_WIDTH: usize = WIDEST;

/// A filtered walk collects this many times the limit: the first matches are not the nearest.
const FILTERED_MORE: usize = 8;

/// Candidates beyond the limit, since they are ordered by a query of 16 bits a number.
const MARGIN: usize = 16;

/// The largest error of a similarity to a query of 16 bits a number: each number is rounded by at most 2⁻¹¹ of itself.
const ROUNDING: f32 = 1e-3;

impl Postgres {
    /// The number of matching tracks.
    ///
    /// - `most`: count only up to one more
    pub(crate) fn count(&mut self, conditions: &Conditions, most: Option<usize>) -> Result<i64> {
        let limit = most.map_or(String::new(), |most| format!(" limit {}", most + 1));
        let sql = format!(
            "select count(*) from (select 1 from voisin_track where {}{limit}) few",
            conditions.sql
        );
        self.run(|tx| {
            tx.batch_execute(OWN_PLAN)?;
            let values: Vec<&dyn SqlParameter> = conditions.values().collect();
            Ok(tx.query_one(&sql, &values)?.get(0))
        })
    }

    /// Whether so few tracks match that comparing with each is faster than the index.
    ///
    /// If the estimate is far too high, the walk finds too few and all are compared then.
    fn are_few(&mut self, conditions: &Conditions) -> Result<bool> {
        if self.estimate(conditions)? > (SURELY_MORE * COMPARED) as f64 {
            return Ok(false);
        }
        Ok(self.count(conditions, Some(COMPARED))? <= COMPARED as i64)
    }

    /// The planner's estimate of matching tracks; 0 for the plans of Citus, which contain none.
    fn estimate(&mut self, conditions: &Conditions) -> Result<f64> {
        let sql = format!(
            "explain select 1 from voisin_track where {}",
            conditions.sql
        );
        let plan: String = self.run(|tx| {
            let values: Vec<&dyn SqlParameter> = conditions.values().collect();
            Ok(tx
                .query(&sql, &values)?
                .first()
                .map_or_else(String::new, |row| row.get(0)))
        })?;
        let rows = plan
            .split_once(" rows=")
            .filter(|(node, _)| !node.starts_with("Custom Scan"));
        let rows = rows.and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
        Ok(rows.unwrap_or(0.0))
    }

    /// The nearest by distances at 16 bits.
    ///
    /// - `order`: the expression that the rows are sorted by
    fn search(
        &mut self,
        query: &HalfVector,
        order: &str,
        conditions: &Conditions,
        limit: usize,
        settings: &str,
    ) -> Result<Vec<Neighbor>> {
        let sql = format!(
            "select id, -(embedding <#> {QUERY}) as similarity from voisin_track where {} order by {order} limit {limit}",
            conditions.sql
        );
        self.run(|tx| {
            // Set in the transaction, which holds behind a pooler. A custom plan each time: a
            // generic one would use the index even if a filter leaves a handful of tracks.
            tx.batch_execute(&format!("{OWN_PLAN}{settings}"))?;
            let values: Vec<&dyn SqlParameter> = std::iter::once(query as &dyn SqlParameter)
                .chain(conditions.values())
                .collect();
            let rows = tx.query(&sql, &values)?;
            let found = rows.iter().map(|row| Neighbor {
                id: TrackId(row.get(0)),
                similarity: row.get::<_, f64>(1) as f32,
            });
            Ok(found.collect())
        })
    }

    /// The nearest of all matching tracks, by comparing all.
    fn compare_all(
        &mut self,
        query: &[f32],
        half: &HalfVector,
        limit: usize,
        conditions: &Conditions,
    ) -> Result<Vec<Neighbor>> {
        let mut candidates = limit.saturating_add(MARGIN);
        loop {
            // "+ 0.0" keeps the planner from using any vector index.
            let distance = format!("(embedding <#> {QUERY}) + 0.0, id");
            let found = self.search(half, &distance, conditions, candidates, "")?;
            let ranked = self.ranked(query, &found, limit)?;
            let last = found.last();
            let worst = ranked.last();
            // A track that was left out can be nearer only within the rounding error of the query.
            let is_sure = found.len() < candidates
                || last
                    .zip(worst)
                    .is_none_or(|(last, worst)| last.similarity < worst.similarity - ROUNDING);
            if is_sure {
                return Ok(ranked);
            }
            candidates = candidates.saturating_mul(2);
        }
    }

    /// Re-ranks candidates by the exact query.
    fn ranked(&mut self, query: &[f32], found: &[Neighbor], limit: usize) -> Result<Vec<Neighbor>> {
        let ids: Vec<TrackId> = found.iter().map(|found| found.id).collect();
        let mut ranked: Vec<Neighbor> = self
            .embeddings_of(&ids)?
            .into_iter()
            // Another program may have written a vector of another length, of which `dot` would compare a part.
            .filter(|(_, vector)| vector.len() == query.len())
            .map(|(id, vector)| Neighbor {
                id,
                similarity: dot(query, &vector).clamp(-1.0, 1.0),
            })
            .collect();
        ranked.sort_by(|a, b| b.similarity.total_cmp(&a.similarity).then(a.id.cmp(&b.id)));
        ranked.truncate(limit);
        Ok(ranked)
    }

    /// The tracks nearest to a unit vector of the database's [space](Self::held_space) that fit a
    /// filter, nearest first.
    ///
    /// - `exact`: compare all tracks, without the index
    pub fn nearest(
        &mut self,
        query: &[f32],
        limit: usize,
        filter: &TrackFilter,
        exact: bool,
    ) -> Result<Vec<Neighbor>> {
        let half = HalfVector::new(query);
        let is_filtered = !filter.is_empty();
        // For use after the query's parameter.
        let conditions = &self.conditions(filter, 2)?;
        // A walk returns at most its width, so longer lists compare all tracks.
        if exact || limit > WIDEST / 2 {
            return self.compare_all(query, &half, limit, conditions);
        }
        if is_filtered {
            let counted = self.conditions(filter, 1)?;
            if self.are_few(&counted)? {
                return self.compare_all(query, &half, limit, conditions);
            }
        }
        let candidates = limit + MARGIN;
        let (width, candidates, scan) = if is_filtered {
            (FILTERED_WIDTH, FILTERED_MORE * candidates, "relaxed_order")
        } else {
            // Without a filter every candidate matches, and the walk need not continue.
            (WIDTH.max(candidates), candidates, "off")
        };
        let settings = format!(
            "set local hnsw.ef_search = {width}; set local hnsw.iterative_scan = {scan}; set local hnsw.max_scan_tuples = 100000"
        );
        let distance = format!("embedding <#> {QUERY}");
        let found = self.search(&half, &distance, conditions, candidates, &settings)?;
        if found.len() < limit {
            // The walk ended before it found enough matches.
            return self.compare_all(query, &half, limit, conditions);
        }
        self.ranked(query, &found, limit)
    }

    /// Ids of matching tracks in an order; those without its primary key come last.
    ///
    /// - `from`: rows to leave out before
    pub(crate) fn sorted(
        &mut self,
        by: SortBy,
        descending: bool,
        conditions: &Conditions,
        from: usize,
        limit: usize,
    ) -> Result<Vec<TrackId>> {
        let order = if descending { "desc" } else { "asc" };
        let keys: String = sort_keys(by)
            .iter()
            .map(|key| format!("{key} {order} nulls last, "))
            .collect();
        let sql = format!(
            "select id from voisin_track where {} order by {keys}id limit {limit} offset {from}",
            conditions.sql
        );
        self.ids_of(&sql, conditions)
    }
}

/// Text without case, byte by byte, instead of the database's collation.
fn folded(text: &str) -> String {
    format!("lower({text}) collate \"C\"")
}

/// A tag of a track's first file.
fn tag(name: &str) -> String {
    format!("facts->'files'->0->'tags'->>'{name}'")
}

/// Sort keys of an order, the primary one first.
fn sort_keys(by: SortBy) -> Vec<String> {
    let artist = || folded("coalesce(artist, album_artist)");
    let place = || ["disc_number", "track_number"].map(|name| format!("({})::bigint", tag(name)));
    let [disc, number] = place();
    match by {
        SortBy::Id => Vec::new(),
        SortBy::Artist => vec![artist(), folded("album"), disc, number, folded("title")],
        SortBy::Album => vec![folded("album"), artist(), disc, number, folded("title")],
        SortBy::Title => vec![folded("title"), artist()],
        SortBy::Genre => vec![folded("facts->'files'->0->'tags'->'genres'->>0"), artist()],
        SortBy::Year => vec!["year".to_owned(), artist(), folded("album"), disc, number],
        SortBy::Time => vec!["seconds".to_owned()],
        SortBy::Added => vec!["(facts->>'added_at')::bigint".to_owned()],
        SortBy::Path => vec!["path collate \"C\"".to_owned()],
        SortBy::Size => vec!["(facts->'files'->0->'record'->>'size')::numeric".to_owned()],
        SortBy::Codec => vec![folded("facts->'audio'->>'codec'"), artist()],
        SortBy::Licence => vec![folded(&tag("licence")), artist()],
        SortBy::Bpm => vec!["tempo".to_owned()],
        SortBy::Key => vec!["key".to_owned()],
        SortBy::Loudness => vec!["loudness".to_owned()],
        // Names of scales contain no quotes.
        SortBy::Scale(scale) => vec![format!(
            "(facts->'descriptors'->'scales'->'{scale}'->>'value')::float8"
        )],
    }
}
