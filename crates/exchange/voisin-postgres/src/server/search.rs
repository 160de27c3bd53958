//! The nearest tracks: through the index, or in full where a filter leaves few or all are to be compared.

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

/// Up to so many tracks that pass a filter, comparing with each is faster than the index, and exact: some 20 ms.
const COMPARED: usize = 20_000;

/// From how many times as many on, by the planner's estimate, they are not counted: that takes as long as the walk.
const SURELY_MORE: usize = 2;

/// The widest walk that pgvector allows.
pub(super) const WIDEST: u32 = 1000;

/// Width of the walk where a filter is tried on the way: where it follows the groups of the music, a narrower one ends among
/// those that it leaves out.
const FILTERED_WIDTH: u32 = WIDEST;

/// How many times as many candidates the walk goes on for there: the first that fit are not the nearest.
const FILTERED_MORE: usize = 8;

/// How many times as many candidates the signs of their numbers choose: the true nearest are not among the first of these.
const SIGNS_MORE: usize = 4;

/// Candidates more than are asked for, since their order is by 16 bits of each of the query's numbers.
const MARGIN: usize = 16;

/// How far the similarity of a query of 16 bits a number may be from the true one: each number errs by at most 2⁻¹¹ of itself.
const ROUNDING: f32 = 1e-3;

impl Postgres {
    /// Sets the width of searches from now on: of all who search there, and of the shards if there are any.
    pub fn set_width(&mut self, width: u32) -> Result<()> {
        let width = width.clamp(1, WIDEST);
        self.set_shard_width(width)?;
        self.run(|tx| tx.execute("update voisin_state set width = $1", &[&(width as i32)]))?;
        self.width = width;
        // Connections to shards carry the former width.
        self.direct = Shards::Untried;
        Ok(())
    }

    /// Settings of a session do not reach the shards; those of the foreign servers do, from the next connection on.
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
            // The statement takes no parameters; the server writes it with its own quotes.
            let statement: String = self.run(|tx| {
                let sql =
                    "select format('alter server %I options (%s options %L)', $1::text, $2::text, $3::text)";
                Ok(tx.query_one(sql, &[&shard, &action, &joined])?.get(0))
            })?;
            self.run(|tx| tx.batch_execute(&statement)).map_err(|error| match error {
                BackendError::Server { place, problem, code } => BackendError::Server {
                    place,
                    problem: format!(
                        "{problem}: the width on shards is an option of their servers, which only their owner may set, with each: {statement}"
                    ),
                    code,
                },
                other => other,
            })?;
        }
        self.shard_width = Some(width);
        Ok(())
    }

    /// How many tracks fit; where this server has all, counted up to one more than `most`.
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

    /// Whether the tracks that fit are so few that comparing with each is faster than the index.
    ///
    /// Where the estimate is far too high, the walk of the index ends without enough of them, and all are compared.
    fn are_few(&mut self, conditions: &FilterSql) -> Result<bool> {
        // Plans over foreign tables estimate by fixed guesses: on shards all are counted.
        if self.shards.is_empty() && self.estimate(conditions)? > (SURELY_MORE * COMPARED) as f64 {
            return Ok(false);
        }
        Ok(self.count(conditions, COMPARED)? <= COMPARED as i64)
    }

    /// How many tracks fit by the planner's estimate; 0 where the plan is another one's (Citus), which estimates nothing.
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

    /// An aggregate (bigint) of the tracks that fit, and the sum of it over the parts of the table.
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

    /// A question to each part of the table of tracks, so that order, limit and aggregates reach the servers that have them.
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

    /// The question for the nearest by their distances at 16 bits.
    fn by_distance(
        &self,
        (distance, order): (&str, &str),
        conditions: &FilterSql,
        limit: usize,
    ) -> String {
        let each = format!("{} order by {order} limit {limit}", conditions.sql);
        // Parts are ordered by a column that is asked for, and all of them by another: so PostgreSQL has no step between a
        // part and the whole, does not merge, and asks the parts at the same time.
        let of_parts = self.of_parts(&format!("id, {distance} as distance"), &each);
        format!(
            "select id, -distance as similarity from ({of_parts}) parts order by similarity desc, id limit {limit}"
        )
    }

    /// The question for the nearest, by their distances at 16 bits, of candidates by their signs.
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
            // Within the transaction, so that it holds behind a pool of connections, and a custom plan each time: a
            // general one walks the index where a filter leaves a handful of tracks.
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

    /// The nearest of all tracks that fit.
    fn compare_all(
        &mut self,
        query: &[f32],
        half: &HalfVector,
        limit: usize,
        conditions: &FilterSql,
    ) -> Result<Vec<Neighbor>> {
        let mut candidates = limit.saturating_add(MARGIN);
        loop {
            // "+ 0.0" keeps every vector index away, by whatever name.
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
            // A track that was left out may be nearer only if the query's 16 bits could have hidden it.
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

    /// The best of some candidates, by all bits of the query.
    fn ranked(&mut self, query: &[f32], found: &[Neighbor], limit: usize) -> Result<Vec<Neighbor>> {
        let ids: Vec<TrackId> = found.iter().map(|found| found.id).collect();
        let mut ranked: Vec<Neighbor> = self
            .embeddings_of(&ids)?
            .into_iter()
            // A row with a vector of another length was written by another program; `dot` would
            // compare a part of it.
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
        // To be counted, and behind the query.
        let conditions = [self.conditions(filter, 1)?, self.conditions(filter, 2)?];
        let conditions = (!filter.is_empty(), &conditions[0], &conditions[1]);
        if let Some(parts) =
            self.on_shards(|shard| shard.find_fitting(query, limit, conditions, effort))
        {
            let mut found: Vec<Neighbor> = parts.into_iter().flatten().collect();
            found.sort_by(|a, b| b.similarity.total_cmp(&a.similarity).then(a.id.cmp(&b.id)));
            found.truncate(limit);
            return Ok(found);
        }
        self.find_fitting(query, limit, conditions, effort)
    }

    /// - `conditions`: whether there are any, and the same with values from the first and from the second number on
    fn find_fitting(
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
        // A walk gives at most its width, so long lists are compared in full.
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
            // Without a filter every candidate fits, and the walk need not go on.
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
            // The walk ended before enough were found that fit.
            return self.compare_all(query, &half, limit, conditions);
        }
        self.ranked(query, &found, limit)
    }
}
