//! PostgreSQL with pgvector as a store of tracks.

mod connection;
mod opening;
mod rows;
mod search;

use std::collections::HashMap;

use super::ddl::OF_VECTORS;
use super::filter::{self, Conditions};
use super::parameter::SqlParameter;
use super::row::{FETCHED, HalfVector};
use super::{BackendError, PostgresAddress, Result};
use voisin::LibrarySpace;
use voisin_base::track::TrackId;
use voisin_genre::Taxonomy;
use voisin_library::{Changes, StoredModel, TrackFilter, TrackRecord};

pub(super) use connection::{Connection, Lock, Transaction};

/// Settings of a query's plan: planned for its values, and without JIT compilation, which takes longer than it saves.
const OWN_PLAN: &str = "set local plan_cache_mode = force_custom_plan; set local jit = off;";

/// Rows that one statement fetches at most.
const ROWS: usize = 1000;

/// A library in PostgreSQL.
pub struct Postgres {
    connection: Connection,
    /// The lock of pushes, once it was taken.
    lock: Option<Lock>,
    model: StoredModel,
    taxonomy: Taxonomy,
    /// The mean that embeddings are relative to, once set.
    mean: Option<Vec<f32>>,
}

/// Why a table cannot hold two recordings.
pub(super) const CLASH: &str =
    "two recordings have ids that share their first 63 bits, which one table cannot hold";

/// How one database holds several libraries.
pub(super) const OTHER_SCHEMA: &str =
    "another schema (create schema NAME; ?options=-csearch_path%3DNAME,public)";

/// A track with its genres in the library that was pushed.
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

    /// Runs statements outside of a transaction.
    pub(super) fn execute(&mut self, sql: &str) -> Result<()> {
        self.connection.execute(sql)
    }

    /// An error of this database.
    pub(super) fn refused(&self, problem: String) -> BackendError {
        BackendError::Refused {
            place: self.place().to_string(),
            problem,
        }
    }

    /// Its address, without a password.
    pub fn place(&self) -> &PostgresAddress {
        self.connection.place()
    }

    /// The model of its vectors.
    pub fn model(&self) -> &StoredModel {
        &self.model
    }

    /// The space in which the database compares: that of raw vectors if nothing was sent yet.
    pub fn held_space(&self) -> LibrarySpace {
        let mean = self
            .mean
            .clone()
            .unwrap_or_else(|| vec![0.0; self.model.dimension]);
        LibrarySpace::new(mean, &self.model.manifest_json)
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
        let count = self.count(&Conditions::none(1), None)?;
        Ok((count as u64, self.generation()?))
    }

    /// A counter of changes.
    pub(super) fn generation(&mut self) -> Result<u64> {
        let sql = "select generation from voisin_state";
        let generation: i64 = self.run(|tx| Ok(tx.query_one(sql, &[])?.get(0)))?;
        Ok(generation as u64)
    }

    /// The database's identity; a copy of it has the same.
    pub(super) fn identity(&mut self) -> Result<String> {
        self.run(|tx| {
            Ok(tx
                .query_one("select identity::text from voisin_state", &[])?
                .get(0))
        })
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

    /// The vectors of tracks as they are searched, at 16 bits a number; unknown tracks are left out.
    fn embeddings_of(&mut self, ids: &[TrackId]) -> Result<HashMap<TrackId, Vec<f32>>> {
        let sql = format!("select id, {FETCHED} from voisin_track where id = any ($1)");
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
    pub(super) fn ids(&mut self, conditions: &Conditions, limit: usize) -> Result<Vec<TrackId>> {
        // One id is fetched unsorted: the search in order of ids might scan all of them.
        let order = if limit > 1 { " order by id" } else { "" };
        let sql = format!(
            "select id from voisin_track where {}{order} limit {limit}",
            conditions.sql
        );
        self.ids_of(&sql, conditions)
    }

    fn ids_of(&mut self, sql: &str, conditions: &Conditions) -> Result<Vec<TrackId>> {
        self.run(|tx| {
            tx.batch_execute(OWN_PLAN)?;
            let values: Vec<&dyn SqlParameter> = conditions.values().collect();
            Ok(tx
                .query(sql, &values)?
                .iter()
                .map(|row| TrackId(row.get(0)))
                .collect())
        })
    }

    /// The conditions of a filter; their values are numbered from `first` on.
    pub(super) fn conditions(&mut self, filter: &TrackFilter, first: usize) -> Result<Conditions> {
        let taxonomy = self.taxonomy.clone();
        filter::conditions(filter, first, &taxonomy, || self.licences())
    }

    /// All licences in the database, as files spell them.
    fn licences(&mut self) -> Result<Vec<String>> {
        self.run(|tx| {
            Ok(tx
                .query("select distinct licences from voisin_track", &[])?
                .iter()
                .flat_map(|row| row.get::<_, Vec<String>>(0))
                .collect())
        })
    }

    /// Changes since a generation; `None` if they are not known and everything has to be read again.
    pub(super) fn changes(&mut self, since: u64) -> Result<Option<Changes>> {
        let generation = self.generation()?;
        // The database was restored from a backup, so changes since then are not known.
        if since > generation {
            return Ok(None);
        }
        let since = since as i64;
        let ids = |tx: &mut Transaction<'_>, table: &str| {
            let sql = format!("select id from {table} where changed > $1 order by id");
            let rows = tx.query(&sql, &[&since])?;
            Ok::<Vec<TrackId>, postgres::Error>(
                rows.iter().map(|row| TrackId(row.get(0))).collect(),
            )
        };
        let added = self.run(|tx| ids(tx, "voisin_track"))?;
        let mut removed = self.run(|tx| ids(tx, "voisin_gone"))?;
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
