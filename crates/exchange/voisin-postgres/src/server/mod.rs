//! PostgreSQL with pgvector as a store of tracks.

mod connection;
mod opening;
mod order;
mod rows;
mod search;
mod shards;
mod space;

use std::collections::HashMap;

use super::ddl::{IndexCodes, OF_VECTORS};
use super::filter;
use super::parameter::SqlParameter;
use super::row::{FETCHED, HalfVector, TrackRow};
use super::{Effort, PostgresAddress, Result, StoredTrack, TrackStore};
use voisin_base::track::{ContentId, TrackId};
use voisin_engine::LibrarySpace;
use voisin_genre::Taxonomy;
use voisin_index::Neighbor;
use voisin_library::{Changes, FilterSql, StoredModel, TrackFilter, TrackRecord};

pub(super) use connection::{Connection, Lock, Transaction};
pub use opening::Upgraded;
use shards::Shards;

/// The vectors to fetch besides the facts of tracks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WantedVectors {
    /// Window vectors, if they were sent.
    pub(super) windows: bool,
    /// The tracks' exact vectors; else those that are searched, of 16 bits a number.
    pub(super) exact: bool,
}

/// Settings of a query's plan: planned for its values, and without JIT compilation, which takes longer than it saves.
const OWN_PLAN: &str = "set local plan_cache_mode = force_custom_plan; set local jit = off;";

/// Rows that one statement fetches at most.
const ROWS: usize = 1000;

/// Bits by which short ids are shorter.
// 63 - 10 = 53 bits, the whole numbers that a double holds exactly.
const SHORTER: u32 = 10;

/// A library in PostgreSQL.
pub struct Postgres {
    connection: Connection,
    /// The lock of pushes, once it was taken.
    lock: Option<Lock>,
    /// The table of tracks.
    table: String,
    model: StoredModel,
    width: u32,
    /// The encoding of the vectors in this table's index.
    codes: IndexCodes,
    /// Foreign servers that hold parts of the tracks; empty if all are on this server.
    shards: Vec<String>,
    /// Foreign tables of these parts.
    parts: Vec<String>,
    /// Direct connections to the shards.
    direct: Shards,
    /// The width that this process last set on the shards.
    shard_width: Option<u32>,
    taxonomy: Taxonomy,
    /// The mean that embeddings are relative to, once set.
    mean: Option<Vec<f32>>,
}

/// The vector index of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IndexState {
    /// It exists, and has this many bytes.
    There(u64),
    /// It does not exist.
    Missing,
    /// Each shard has its own.
    OnShards,
}

/// The size of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Recordings.
    pub tracks: u64,
    /// Files.
    pub files: u64,
    /// Window vectors.
    pub windows: u64,
    /// The generation, a counter of changes.
    pub generation: u64,
    /// Bytes of the tables of tracks and vectors with their indexes; with shards, those of the first server only.
    pub bytes: u64,
}

/// A track with its genres in the library that sent it.
pub(super) type Fetched = (TrackId, TrackRecord, Vec<String>);

/// Setting with the library's synonyms of genres.
pub(super) const SYNONYMS: &str = "genre-synonyms.tsv";

impl Postgres {
    /// Runs one transaction.
    pub(super) fn run<T>(
        &mut self,
        work: impl FnMut(&mut Transaction<'_>) -> Result<T, postgres::Error>,
    ) -> Result<T> {
        self.connection.run(work)
    }

    /// Runs `work` in one transaction that holds a lock.
    pub(super) fn in_one<T>(
        &mut self,
        lock: i64,
        work: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        self.connection.begin(lock)?;
        // The transaction is ended also after an error: an open one would keep its lock.
        let done = work(self);
        let ended = self.connection.end(done.is_ok());
        done.and_then(|value| ended.map(|()| value))
    }

    /// Runs statements outside of a transaction.
    pub(super) fn execute(&mut self, sql: &str) -> Result<()> {
        self.connection.execute(sql)
    }

    /// Its address, without a password.
    pub fn place(&self) -> &PostgresAddress {
        self.connection.place()
    }

    /// The model of its vectors.
    pub fn model(&self) -> &StoredModel {
        &self.model
    }

    /// Candidates that a search of the index keeps.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// The encoding of vectors in the index; with shards, each has its own.
    pub fn codes(&self) -> IndexCodes {
        self.codes
    }

    /// Reads the encoding of the vector index; of two, the more exact one is used.
    fn read_codes(&mut self) -> Result<()> {
        let sql = format!(
            "select bool_and(pg_get_indexdef(indexrelid) like '%binary_quantize%') from pg_index
             where indrelid = $1::text::regclass and indisvalid and {OF_VECTORS}"
        );
        let table = self.table.clone();
        let are_signs: Option<bool> = self.run(|tx| Ok(tx.query_one(&sql, &[&table])?.get(0)))?;
        self.codes = if are_signs == Some(true) {
            IndexCodes::Signs
        } else {
            IndexCodes::Halves
        };
        Ok(())
    }

    /// Updates the state after a vector index was built. Another encoding counts as a change, so that running servers read it.
    pub(super) fn index_made(&mut self) -> Result<()> {
        let former = self.codes;
        self.read_codes()?;
        if self.codes != former {
            self.run(rows::next_generation)?;
        }
        Ok(())
    }

    /// Foreign servers that hold parts of the tracks.
    pub fn shards(&self) -> &[String] {
        &self.shards
    }

    /// Settings of the library and files of its folder, as they were sent.
    pub(super) fn settings(&mut self) -> Result<HashMap<String, Vec<u8>>> {
        self.run(|tx| {
            let rows = tx.query("select name, value from voisin_setting", &[])?;
            Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
        })
    }

    /// The number of tracks, and the generation.
    pub fn size(&mut self) -> Result<(u64, u64)> {
        let count = self.sum("count(*)", &filter::no_conditions(1))?;
        Ok((count as u64, self.generation()?))
    }

    /// A counter of changes.
    pub fn generation(&mut self) -> Result<u64> {
        let sql = "select generation from voisin_state";
        let generation: i64 = self.run(|tx| Ok(tx.query_one(sql, &[])?.get(0)))?;
        Ok(generation as u64)
    }

    /// Counts of the rows.
    pub fn counts(&mut self) -> Result<Counts> {
        let (tracks, generation) = self.size()?;
        let all = filter::no_conditions(1);
        let files = self.sum("coalesce(sum(cardinality(paths)), 0)::bigint", &all)?;
        // The number of windows follows from the length: four bytes, then a start and a vector for each.
        let each = 4 + 2 * self.model.dimension;
        let windows = self.sum(
            &format!("coalesce(sum((octet_length(windows) - 4) / {each}), 0)::bigint"),
            &all,
        )?;
        let sql = "select pg_total_relation_size('voisin_track') + pg_total_relation_size('voisin_vector')";
        let bytes: i64 = self.run(|tx| Ok(tx.query_one(sql, &[])?.get(0)))?;
        let [files, windows, bytes] = [files, windows, bytes].map(|number| number as u64);
        Ok(Counts {
            tracks,
            files,
            windows,
            generation,
            bytes,
        })
    }

    /// The database's identity; a copy of it has the same.
    pub fn identity(&mut self) -> Result<String> {
        self.run(|tx| {
            Ok(tx
                .query_one("select identity::text from voisin_state", &[])?
                .get(0))
        })
    }

    /// The state of the vector index.
    pub fn index_state(&mut self) -> Result<IndexState> {
        if !self.shards.is_empty() {
            return Ok(IndexState::OnShards);
        }
        let sql = format!(
            "select pg_relation_size(indexrelid) from pg_index
             where indrelid = 'voisin_track'::regclass and indisvalid and {OF_VECTORS} limit 1"
        );
        let bytes: Option<i64> =
            self.run(|tx| Ok(tx.query_opt(&sql, &[])?.map(|row| row.get(0))))?;
        Ok(bytes.map_or(IndexState::Missing, |bytes| IndexState::There(bytes as u64)))
    }

    /// Names of the vector indexes.
    ///
    /// - `finished`: valid ones; else those whose build was interrupted
    pub(super) fn vector_indexes(&mut self, finished: bool) -> Result<Vec<String>> {
        let sql = format!(
            "select indexrelid::regclass::text from pg_index
             where indrelid = 'voisin_track'::regclass and indisvalid = $1 and {OF_VECTORS}"
        );
        self.run(|tx| {
            Ok(tx
                .query(&sql, &[&finished])?
                .iter()
                .map(|row| row.get(0))
                .collect())
        })
    }

    pub(super) fn drop_indexes(&mut self, names: &[String]) -> Result<()> {
        names
            .iter()
            .try_for_each(|name| self.execute(&format!("drop index concurrently if exists {name}")))
    }

    /// The id of a track for clients with numbers of 53 bits, such as browsers: the first 53 bits of its content id.
    pub fn short_id(id: TrackId) -> TrackId {
        TrackId(id.0 >> SHORTER)
    }

    /// The ids that belong to short ones; unknown ones are left out.
    pub(crate) fn of_short(&mut self, short: &[TrackId]) -> Result<Vec<TrackId>> {
        if let Some(parts) = self.on_shards(|shard| shard.of_short(short)) {
            return Ok(parts.into_iter().flatten().collect());
        }
        let first: Vec<i64> = short
            .iter()
            // A longer number is no short id, and would be shifted to another track's.
            .filter(|id| id.0 >> (63 - SHORTER) == 0)
            .map(|id| id.0 << SHORTER)
            .collect();
        // Citus does not support a limit in a lateral subquery.
        let sql = format!(
            "select min(id) from unnest($1::bigint[]) as first join {} on id between first and first + {}
             group by first",
            self.table,
            (1_i64 << SHORTER) - 1
        );
        self.run(|tx| {
            tx.batch_execute(OWN_PLAN)?;
            Ok(tx
                .query(&sql, &[&first])?
                .iter()
                .map(|row| TrackId(row.get(0)))
                .collect())
        })
    }

    /// Vectors of a random sample of tracks, as they are searched. The first ids are random, since ids are digests.
    pub fn sample(&mut self, most: usize) -> Result<Vec<Vec<f32>>> {
        let ids = self.ids(&filter::no_conditions(1), most)?;
        let mut known = self.embeddings_of(&ids)?;
        Ok(ids.iter().filter_map(|id| known.remove(id)).collect())
    }

    /// The vectors of tracks as they are searched, at 16 bits a number; unknown tracks are left out.
    fn embeddings_of(&mut self, ids: &[TrackId]) -> Result<HashMap<TrackId, Vec<f32>>> {
        if let Some(parts) = self.on_shards(|shard| shard.embeddings_of(ids)) {
            return Ok(parts.into_iter().flatten().collect());
        }
        let sql = format!(
            "select id, {FETCHED} from {} where id = any ($1)",
            self.table
        );
        let mut known = HashMap::with_capacity(ids.len());
        for some in ids.chunks(ROWS) {
            let some: Vec<i64> = some.iter().map(|id| id.0).collect();
            let rows = self.run(|tx| tx.query(&sql, &[&some]))?;
            known.extend(
                rows.iter()
                    .map(|row| (TrackId(row.get(0)), row.get::<_, HalfVector>(1).values())),
            );
        }
        Ok(known)
    }

    /// The first ids that match conditions, ascending; with a limit of one, any.
    pub(super) fn ids(&mut self, conditions: &FilterSql, limit: usize) -> Result<Vec<TrackId>> {
        if let Some(parts) = self.on_shards(|shard| shard.ids(conditions, limit)) {
            let mut ids: Vec<TrackId> = parts.into_iter().flatten().collect();
            ids.sort_unstable();
            ids.truncate(limit);
            return Ok(ids);
        }
        // One id is fetched unsorted: the search in order of ids might scan all of them.
        let order = if limit > 1 { " order by id" } else { "" };
        let sql = format!(
            "select id from {} where {}{order} limit {limit}",
            self.table, conditions.sql
        );
        self.run(|tx| {
            tx.batch_execute(OWN_PLAN)?;
            let values: Vec<&dyn SqlParameter> = filter::values(conditions).collect();
            Ok(tx
                .query(&sql, &values)?
                .iter()
                .map(|row| TrackId(row.get(0)))
                .collect())
        })
    }

    /// The conditions of a filter; their values are numbered from `first` on.
    pub(super) fn conditions(&mut self, filter: &TrackFilter, first: usize) -> Result<FilterSql> {
        let taxonomy = self.taxonomy.clone();
        filter::conditions(filter, first, &taxonomy, || self.licences())
    }

    /// All licences in the database, as files spell them.
    fn licences(&mut self) -> Result<Vec<String>> {
        if let Some(parts) = self.on_shards(Self::licences) {
            return Ok(parts.into_iter().flatten().collect());
        }
        let sql = format!("select distinct licences from {}", self.table);
        self.run(|tx| {
            Ok(tx
                .query(&sql, &[])?
                .iter()
                .flat_map(|row| row.get::<_, Vec<String>>(0))
                .collect())
        })
    }

    /// Tracks that changed after a generation, by id.
    fn changed_since(&mut self, since: i64) -> Result<Vec<TrackId>> {
        if let Some(parts) = self.on_shards(|shard| shard.changed_since(since)) {
            let mut ids: Vec<TrackId> = parts.into_iter().flatten().collect();
            ids.sort_unstable();
            return Ok(ids);
        }
        let sql = format!(
            "select id from {} where changed > $1 order by id",
            self.table
        );
        self.run(|tx| {
            Ok(tx
                .query(&sql, &[&since])?
                .iter()
                .map(|row| TrackId(row.get(0)))
                .collect())
        })
    }
}

impl TrackStore for Postgres {
    fn space(&mut self) -> Result<LibrarySpace> {
        Ok(self.held_space())
    }

    fn nearest(
        &mut self,
        query: &[f32],
        limit: usize,
        filter: &TrackFilter,
        effort: Effort,
    ) -> Result<Vec<Neighbor>> {
        self.find(query, limit, filter, effort)
    }

    fn upsert(&mut self, tracks: &[StoredTrack]) -> Result<()> {
        for some in tracks.chunks(ROWS) {
            let space = self.settle_space(|sum| {
                some.iter().for_each(|track| sum.add(&track.record.vector));
                Ok(sum.mean())
            })?;
            let rows = some.iter().map(|track| TrackRow::new(track, true, &space));
            let rows = rows.collect::<Result<Vec<_>>>()?;
            self.send(&rows, "")?;
        }
        Ok(())
    }

    fn remove(&mut self, contents: &[ContentId]) -> Result<u64> {
        self.take_out(contents, false)
    }

    fn changes(&mut self, since: u64) -> Result<Option<Changes>> {
        let (_, generation) = self.size()?;
        // The database was restored from a backup, so changes since then are not known.
        if since > generation {
            return Ok(None);
        }
        let since = since as i64;
        let added = self.changed_since(since)?;
        let sql = "select id from voisin_gone where changed > $1 order by id";
        let mut removed: Vec<TrackId> = self.run(|tx| {
            Ok(tx
                .query(sql, &[&since])?
                .iter()
                .map(|row| TrackId(row.get(0)))
                .collect())
        })?;
        // A changed row is removed and added again.
        removed.extend(&added);
        removed.sort_unstable();
        Ok(Some(Changes {
            generation,
            added,
            removed,
        }))
    }
}
