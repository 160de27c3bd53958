//! The nearest tracks: by the index, or by comparing all if a filter leaves few or the caller requires it.

use super::{OWN_PLAN, Postgres, Shards};
use crate::ddl::{self, IndexCodes};
use crate::filter::values;
use crate::parameter::SqlParameter;
use crate::row::{HalfVector, QUERY};
use crate::{BackendError, Effort, Result};
use voisin_base::track::TrackId;
use voisin_base::vector::dot;
use voisin_index::Neighbor;
use voisin_library::{FilterSql, TrackFilter};

/// If at most this many tracks pass a filter, comparing with each is faster than the index, and exact: some 20 ms.
const COMPARED: usize = 20_000;

/// If the planner estimates more than this multiple of them, they are not counted: that takes as long as the search.
const SURELY_MORE: usize = 2;

/// The largest width (`hnsw.ef_search`) that pgvector allows.
pub(super) const WIDEST: u32 = 1000;

/// Width of a filtered walk. With a filter that follows the clusters of the music, a narrower one
/// ends among tracks that do not match.
const FILTERED_WIDTH: u32 = WIDEST;

/// A filtered walk collects this many times the limit: the first matches are not the nearest.
const FILTERED_MORE: usize = 8;

/// A search by signs collects this many times the limit: the nearest by signs are not the true nearest.
const SIGNS_MORE: usize = 4;

/// Candidates beyond the limit, since they are ordered by a query of 16 bits a number.
const MARGIN: usize = 16;

/// The largest error of a similarity to a query of 16 bits a number: each number is rounded by at most 2⁻¹¹ of itself.
const ROUNDING: f32 = 1e-3;

impl Postgres {
    /// Sets the width of all later searches in this database, on its shards too.
    pub fn set_width(&mut self, width: u32) -> Result<()> {
        let width = width.clamp(1, WIDEST);
        self.set_shard_width(width)?;
        self.run(|tx| tx.execute("update voisin_state set width = $1", &[&(width as i32)]))?;
        self.width = width;
        // The open connections to shards have the former width.
        self.direct = Shards::Untried;
        Ok(())
    }

    /// Session settings do not reach the shards; options of the foreign servers do, from the next connection on.
    fn set_shard_width(&mut self, width: u32) -> Result<()> {
        if self.shard_width == Some(width) {
            return Ok(());
        }
        for shard in self.shards.clone() {
            let options: Option<String> = self.run(|tx| {
                let sql =
                    "select option_value from pg_foreign_server, pg_options_to_table(srvoptions)
                    where srvname = $1 and option_name = 'options'";
                Ok(tx.query_opt(sql, &[&shard])?.map(|row| row.get(0)))
            })?;
            let mut kept: Vec<&str> = options
                .as_deref()
                .unwrap_or_default()
                .split("-c")
                .map(str::trim)
                .collect();
            kept.retain(|option| !option.is_empty() && !option.starts_with("hnsw.ef_search"));
            let setting = format!("hnsw.ef_search={width}");
            kept.push(&setting);
            let joined = kept
                .iter()
                .map(|option| format!("-c {option}"))
                .collect::<Vec<_>>()
                .join(" ");
            let action = if options.is_some() { "set" } else { "add" };
            // The statement takes no parameters, so the server builds it with the right quotes.
            let statement: String = self.run(|tx| {
                let sql =
                    "select format('alter server %I options (%s options %L)', $1::text, $2::text, $3::text)";
                Ok(tx.query_one(sql, &[&shard, &action, &joined])?.get(0))
            })?;
            self.run(|tx| tx.batch_execute(&statement)).map_err(|error| match error {
                BackendError::Server { place, problem, code } => BackendError::Server {
                    place,
                    problem: format!(
                        "{problem}: the width on shards is an option of the foreign servers, which only their owner may set, for each of them: {statement}"
                    ),
                    code,
                },
                other => other,
            })?;
        }
        self.shard_width = Some(width);
        Ok(())
    }

    /// The number of matching tracks; without shards, counted up to `most` + 1.
    pub(crate) fn count(&mut self, conditions: &FilterSql, most: usize) -> Result<i64> {
        if !self.shards.is_empty() {
            return self.sum("count(*)", conditions);
        }
        let sql = format!(
            "select count(*) from (select 1 from {} where {} limit {}) few",
            self.table,
            conditions.sql,
            most + 1
        );
        self.one_number(&sql, conditions)
    }

    /// Whether so few tracks match that comparing with each is faster than the index.
    ///
    /// If the estimate is far too high, the walk finds too few and all are compared then.
    fn are_few(&mut self, conditions: &FilterSql) -> Result<bool> {
        // Plans over foreign tables have fixed estimates, so shards are always counted.
        if self.shards.is_empty() && self.estimate(conditions)? > (SURELY_MORE * COMPARED) as f64 {
            return Ok(false);
        }
        Ok(self.count(conditions, COMPARED)? <= COMPARED as i64)
    }

    /// The planner's estimate of matching tracks; 0 for the plans of Citus, which contain none.
    fn estimate(&mut self, conditions: &FilterSql) -> Result<f64> {
        let sql = format!(
            "explain select 1 from {} where {}",
            self.table, conditions.sql
        );
        let plan: String = self.run(|tx| {
            let values: Vec<&dyn SqlParameter> = values(conditions).collect();
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

    /// The sum of an aggregate (bigint) of the matching tracks over the parts of the table.
    pub(crate) fn sum(&mut self, aggregate: &str, conditions: &FilterSql) -> Result<i64> {
        if let Some(parts) = self.on_shards(|shard| shard.sum(aggregate, conditions)) {
            return Ok(parts.into_iter().sum());
        }
        let of_parts = self.of_parts(&format!("{aggregate} as number"), &conditions.sql);
        self.one_number(
            &format!("select sum(number)::bigint from ({of_parts}) parts"),
            conditions,
        )
    }

    fn one_number(&mut self, sql: &str, conditions: &FilterSql) -> Result<i64> {
        self.run(|tx| {
            tx.batch_execute(OWN_PLAN)?;
            let values: Vec<&dyn SqlParameter> = values(conditions).collect();
            Ok(tx.query_one(sql, &values)?.get(0))
        })
    }

    /// A subquery for each part of the table of tracks, so that order, limit and aggregates are computed on the shards.
    fn of_parts(&self, columns: &str, rest: &str) -> String {
        let whole = std::slice::from_ref(&self.table);
        let parts = if self.parts.is_empty() {
            whole
        } else {
            &self.parts[..]
        };
        let parts = parts
            .iter()
            .map(|part| format!("(select {columns} from {part} where {rest})"));
        parts.collect::<Vec<_>>().join(" union all ")
    }

    /// The statement for the nearest by distances at 16 bits.
    fn by_distance(
        &self,
        (distance, order): (&str, &str),
        conditions: &FilterSql,
        limit: usize,
    ) -> String {
        let each = format!("{} order by {order} limit {limit}", conditions.sql);
        // Parts are sorted by a selected column and the union by another expression, so PostgreSQL
        // plans no merge, and queries the parts at the same time.
        let of_parts = self.of_parts(&format!("id, {distance} as distance"), &each);
        format!(
            "select id, -distance as similarity from ({of_parts}) parts order by similarity desc, id limit {limit}"
        )
    }

    /// The statement for the nearest by distances at 16 bits, of candidates chosen by signs.
    fn by_signs(&self, candidates: usize, conditions: &FilterSql, limit: usize) -> String {
        format!(
            "select id, -(embedding <#> {QUERY}) as similarity from (select id, embedding from {} where {}
                order by {} <~> binary_quantize({QUERY}) limit {candidates}) candidates
             order by similarity desc, id limit {limit}",
            self.table,
            conditions.sql,
            ddl::signs(self.model.dimension)
        )
    }

    fn search(
        &mut self,
        query: &HalfVector,
        sql: &str,
        conditions: &FilterSql,
        settings: &str,
    ) -> Result<Vec<Neighbor>> {
        self.run(|tx| {
            // Set in the transaction, which holds behind a pooler. A custom plan each time: a
            // generic one would use the index even if a filter leaves a handful of tracks.
            tx.batch_execute(&format!("{OWN_PLAN}{settings}"))?;
            let values: Vec<&dyn SqlParameter> = std::iter::once(query as &dyn SqlParameter)
                .chain(values(conditions))
                .collect();
            let rows = tx.query(sql, &values)?;
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
        conditions: &FilterSql,
    ) -> Result<Vec<Neighbor>> {
        let mut candidates = limit.saturating_add(MARGIN);
        loop {
            // "+ 0.0" keeps the planner from using any vector index.
            let distance = format!("(embedding <#> {QUERY}) + 0.0");
            let compared = (distance.as_str(), "distance, id");
            let found = self.search(
                half,
                &self.by_distance(compared, conditions, candidates),
                conditions,
                "",
            )?;
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

    /// As [`TrackStore::nearest`](crate::TrackStore::nearest).
    pub(super) fn find(
        &mut self,
        query: &[f32],
        limit: usize,
        filter: &TrackFilter,
        effort: Effort,
    ) -> Result<Vec<Neighbor>> {
        // For counting, and for use after the query's parameter.
        let conditions = [self.conditions(filter, 1)?, self.conditions(filter, 2)?];
        let conditions = (!filter.is_empty(), &conditions[0], &conditions[1]);
        if let Some(parts) =
            self.on_shards(|shard| shard.find_matching(query, limit, conditions, effort))
        {
            let mut found: Vec<Neighbor> = parts.into_iter().flatten().collect();
            found.sort_by(|a, b| b.similarity.total_cmp(&a.similarity).then(a.id.cmp(&b.id)));
            found.truncate(limit);
            return Ok(found);
        }
        self.find_matching(query, limit, conditions, effort)
    }

    /// - `conditions`: whether there is a filter, and its conditions with parameters numbered from 1 and from 2
    fn find_matching(
        &mut self,
        query: &[f32],
        limit: usize,
        (is_filtered, counted, conditions): (bool, &FilterSql, &FilterSql),
        effort: Effort,
    ) -> Result<Vec<Neighbor>> {
        let half = HalfVector::new(query);
        let width = match effort {
            Effort::Exact => return self.compare_all(query, &half, limit, conditions),
            Effort::Index => self.width,
            Effort::Width(width) => width.clamp(1, WIDEST),
        };
        // A walk returns at most its width, so longer lists compare all tracks.
        if is_filtered && self.are_few(counted)? || limit > WIDEST as usize / 2 {
            return self.compare_all(query, &half, limit, conditions);
        }
        if let (Effort::Width(width), false) = (effort, self.shards.is_empty()) {
            self.set_shard_width(width)?;
        }
        let candidates = limit + MARGIN;
        let (width, candidates, scan) = if is_filtered {
            (
                width.max(FILTERED_WIDTH),
                FILTERED_MORE * candidates,
                "relaxed_order",
            )
        } else {
            // Without a filter every candidate matches, and the walk need not continue.
            (width, candidates, "off")
        };
        let (width, sql) = match self.codes {
            IndexCodes::Halves => (
                width.max(candidates as u32),
                self.by_distance(
                    (&format!("embedding <#> {QUERY}"), "distance"),
                    conditions,
                    candidates,
                ),
            ),
            IndexCodes::Signs => {
                let candidates = SIGNS_MORE
                    * if is_filtered {
                        candidates
                    } else {
                        candidates.max(width as usize)
                    };
                (
                    width.max(candidates as u32),
                    self.by_signs(candidates, conditions, candidates),
                )
            }
        };
        let settings = format!(
            "set local hnsw.ef_search = {}; set local hnsw.iterative_scan = {scan}; set local hnsw.max_scan_tuples = 100000",
            width.min(WIDEST)
        );
        let found = self.search(&half, &sql, conditions, &settings)?;
        if found.len() < limit {
            // The walk ended before it found enough matches.
            return self.compare_all(query, &half, limit, conditions);
        }
        self.ranked(query, &found, limit)
    }
}
