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

/// The vectors to fetch of tracks beside their facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WantedVectors {
    /// Window vectors, as far as they were sent.
    pub(super) windows: bool,
    /// The tracks' vectors to the last bit; else as they are searched, at 16 bits a number.
    pub(super) exact: bool,
}

/// Settings of a question's plan: by its own values, and no compilation, which takes longer than it saves.
const OWN_PLAN: &str = "set local plan_cache_mode = force_custom_plan; set local jit = off;";

/// Most rows of an answer that are asked for at once.
const ROWS: usize = 1000;

/// Bits of an id that a short one lacks.
// 63 - 10 = 53 bits, the whole numbers that a double holds exactly.
const SHORTER: u32 = 10;

/// A library in PostgreSQL.
pub struct Postgres {
    connection: Connection,
    /// That of those who send tracks, once it was taken.
    lock: Option<Lock>,
    /// The table of tracks.
    table: String,
    model: StoredModel,
    width: u32,
    /// The form of the vectors in this table's index.
    codes: IndexCodes,
    /// Foreign servers on which parts of the tracks lie; none where this server has them all.
    shards: Vec<String>,
    /// Tables of these parts.
    parts: Vec<String>,
    /// The servers that have these parts, asked without a detour.
    direct: Shards,
    /// The width that was last set there by this process.
    shard_width: Option<u32>,
    taxonomy: Taxonomy,
    /// The mean that embeddings are relative to, if it was ever set.
    mean: Option<Vec<f32>>,
}

/// The vector index of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IndexState {
    /// There is one, of this many bytes.
    There(u64),
    /// There is none.
    Missing,
    /// Each shard has its own.
    OnShards,
}

/// How much a database holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Recordings.
    pub tracks: u64,
    /// Files.
    pub files: u64,
    /// Window vectors.
    pub windows: u64,
    /// Counter of changes.
    pub generation: u64,
    /// Bytes of the tables of tracks and vectors with their indexes; of shards, only what is on the first server.
    pub bytes: u64,
}

/// A track with its genres, as the library that sent it has them.
pub(super) type Fetched = (TrackId, TrackRecord, Vec<String>);

/// Name of the setting that holds the library's own synonyms of genres.
pub(super) const SYNONYMS: &str = "genre-synonyms.tsv";

impl Postgres {
    /// Runs one transaction.
    pub(super) fn run<T>(
        &mut self,
        work: impl FnMut(&mut Transaction<'_>) -> Result<T, postgres::Error>,
    ) -> Result<T> {
        self.connection.run(work)
    }

    /// Does something in one transaction, while nobody else does the like with the same lock.
    pub(super) fn in_one<T>(
        &mut self,
        lock: i64,
        work: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        self.connection.begin(lock)?;
        // The transaction is ended whatever happened: an open one would keep its lock.
        let done = work(self);
        let ended = self.connection.end(done.is_ok());
        done.and_then(|value| ended.map(|()| value))
    }

    /// Runs statements outside of a transaction.
    pub(super) fn execute(&mut self, sql: &str) -> Result<()> {
        self.connection.execute(sql)
    }

    /// Where it is, without a password.
    pub fn place(&self) -> &PostgresAddress {
        self.connection.place()
    }

    /// The model whose vectors are there.
    pub fn model(&self) -> &StoredModel {
        &self.model
    }

    /// Candidates that a search through the index keeps.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// The form of each vector in the index; of shards, each knows its own.
    pub fn codes(&self) -> IndexCodes {
        self.codes
    }

    /// Reads what the vector index holds; where there are two, the one that holds more serves.
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

    /// Notes that a vector index was made. One that holds something else is a change, so that who answers from here for long
    /// looks again.
    pub(super) fn index_made(&mut self) -> Result<()> {
        let former = self.codes;
        self.read_codes()?;
        if self.codes != former {
            self.run(rows::next_generation)?;
        }
        Ok(())
    }

    /// Foreign servers on which parts of the tracks lie.
    pub fn shards(&self) -> &[String] {
        &self.shards
    }

    /// Settings of the library, and files of its folder, that came with it.
    pub(super) fn settings(&mut self) -> Result<HashMap<String, Vec<u8>>> {
        self.run(|tx| {
            let rows = tx.query("select name, value from voisin_setting", &[])?;
            Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
        })
    }

    /// How many tracks there are, and what generation they belong to.
    pub fn size(&mut self) -> Result<(u64, u64)> {
        let count = self.sum("count(*)", &filter::no_conditions(1))?;
        Ok((count as u64, self.generation()?))
    }

    /// A counter of its changes.
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
        // Of windows only the lengths are read: four bytes for their number, then a start and a vector each.
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

    /// Whether there is a vector index.
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
    /// - `finished`: those that serve; else those whose making was broken off
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

    /// The id of a track where numbers of more than 53 bits are not safe, as in a browser: the first 53 bits of its content id.
    pub fn short_id(id: TrackId) -> TrackId {
        TrackId(id.0 >> SHORTER)
    }

    /// The ids of tracks by their short ones; those that are not there are left out.
    pub(crate) fn of_short(&mut self, short: &[TrackId]) -> Result<Vec<TrackId>> {
        if let Some(parts) = self.on_shards(|shard| shard.of_short(short)) {
            return Ok(parts.into_iter().flatten().collect());
        }
        let first: Vec<i64> = short
            .iter()
            // A longer number is no short id, and shifting it would hit another track.
            .filter(|id| id.0 >> (63 - SHORTER) == 0)
            .map(|id| id.0 << SHORTER)
            .collect();
        // Citus knows no limit in a lateral subquery.
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

    /// Vectors of some tracks as they are searched, which are as good as drawn at random: ids are digests.
    pub fn sample(&mut self, most: usize) -> Result<Vec<Vec<f32>>> {
        let ids = self.ids(&filter::no_conditions(1), most)?;
        let mut known = self.embeddings_of(&ids)?;
        Ok(ids.iter().filter_map(|id| known.remove(id)).collect())
    }

    /// The vectors of those of these tracks that are there, as they are searched: at 16 bits a number.
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

    /// Ids that fit conditions, the first ones, ascending; of one, any.
    pub(super) fn ids(&mut self, conditions: &FilterSql, limit: usize) -> Result<Vec<TrackId>> {
        if let Some(parts) = self.on_shards(|shard| shard.ids(conditions, limit)) {
            let mut ids: Vec<TrackId> = parts.into_iter().flatten().collect();
            ids.sort_unstable();
            ids.truncate(limit);
            return Ok(ids);
        }
        // Whichever comes first where one is asked for: in order of ids it would be looked for along all of them.
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

    /// All licences there are, as files spell them.
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

    /// Tracks that came after a generation, by id.
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
        // The database was put back from a backup: what it says of changes since then is not true.
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
        // A changed row is a new one to whoever keeps the old: it goes before it comes.
        removed.extend(&added);
        removed.sort_unstable();
        Ok(Some(Changes {
            generation,
            added,
            removed,
        }))
    }
}
