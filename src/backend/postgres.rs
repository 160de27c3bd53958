//! PostgreSQL with pgvector as a store of tracks.

use std::collections::HashMap;

use postgres::binary_copy::BinaryCopyInWriter;
use postgres::error::SqlState;
use postgres::types::{ToSql, Type};
use postgres::{Client, Transaction};

use super::ddl::{self, COLUMNS, SCHEMA};
use super::filter::Conditions;
use super::place::causes;
use super::row::{HalfVector, Row, id_of, record, vector_of};
use super::{BackendError, Effort, Place, Result, StoredTrack, TrackStore};
use crate::base::vector::dot;
use crate::genre::Taxonomy;
use crate::index::Neighbor;
use crate::library::{Changes, StoredModel, TrackFilter, TrackRecord};
use crate::track::{ContentId, TrackId};

/// The oldest pgvector that scans an index on where a filter leaves too few.
const OLDEST_PGVECTOR: &str = "0.8.0";

/// Up to so many tracks that pass a filter, comparing with each is faster than the index, and exact: some 20 ms.
const COMPARED: i64 = 20_000;

/// The widest walk that pgvector allows.
const WIDEST: u32 = 1000;

/// Width of the walk where a filter is tried on the way.
const FILTERED_WIDTH: u32 = 400;

/// Candidates more than are asked for, since their order is that of 16 bits a number.
const MARGIN: usize = 16;

/// How far a similarity of 16 bits a number may be from the true one: each number errs by at most 2⁻¹¹ of itself.
const ROUNDING: f32 = 1e-3;

/// Most rows of an answer that are asked for at once.
const ROWS: usize = 1000;

/// A library in PostgreSQL. Where the connection was lost it is made anew by the next question.
pub struct Postgres {
    place: Place,
    client: Option<Client>,
    model: StoredModel,
    width: u32,
    /// Foreign servers on which parts of the tracks lie; none where this server has them all.
    shards: Vec<String>,
    /// The width that was last set there by this process.
    shard_width: Option<u32>,
    taxonomy: Taxonomy,
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
    /// Bytes of the table of tracks with its indexes; of shards, only what is on the first server.
    pub bytes: u64,
}

/// A track with its genres, as the library that sent it has them.
pub(super) type Fetched = (TrackId, TrackRecord, Vec<String>);

impl Postgres {
    /// Opens a library that is there.
    pub fn open(place: &Place) -> Result<Self> {
        Self::connect(place, None)
    }

    /// Opens a library to send tracks of this model to; its tables are made where there are none.
    pub fn open_or_create(place: &Place, model: &StoredModel) -> Result<Self> {
        Self::connect(place, Some(model))
    }

    fn connect(place: &Place, create: Option<&StoredModel>) -> Result<Self> {
        let client = place.connect()?;
        let mut opened = Self {
            place: place.clone(),
            client: Some(client),
            model: StoredModel {
                name: String::new(),
                fingerprint: String::new(),
                dimension: 0,
                manifest_json: String::new(),
            },
            width: 0,
            shards: Vec::new(),
            shard_width: None,
            taxonomy: Taxonomy::default(),
        };
        if let Some(model) = create {
            opened.create_tables(model)?;
        }
        opened.read_head()?;
        if let Some(model) = create
            && model.fingerprint != opened.model.fingerprint
        {
            return Err(BackendError::OtherModel {
                place: place.to_string(),
                held: opened.model.name,
                held_fingerprint: opened.model.fingerprint,
                offered: model.name.clone(),
                offered_fingerprint: model.fingerprint.clone(),
            });
        }
        Ok(opened)
    }

    /// Makes what is missing: the extension, the tables, the name of the model.
    fn create_tables(&mut self, model: &StoredModel) -> Result<()> {
        if model.dimension > 4000 {
            return Err(BackendError::Dimension { dimension: model.dimension });
        }
        self.check_pgvector(true)?;
        let place = self.place.to_string();
        self.run(|tx| {
            let there: bool = tx.query_one("select to_regclass('voisin_state') is not null", &[])?.get(0);
            if !there {
                tx.batch_execute(&ddl::single(model.dimension))?;
                tx.execute("insert into voisin_state (schema) values ($1)", &[&SCHEMA])?;
            }
            // Tables that an operator made wait for the name of their model.
            tx.execute(
                "update voisin_state set model = $1, fingerprint = $2, dimension = $3, manifest = $4
                 where fingerprint is null",
                &[&model.name, &model.fingerprint, &(model.dimension as i32), &model.manifest_json],
            )?;
            Ok(())
        })?;
        let of_column: Option<i32> = self.run(|tx| {
            let sql = "select atttypmod from pg_attribute
                where attrelid = to_regclass('voisin_track') and attname = 'embedding'";
            Ok(tx.query_opt(sql, &[])?.map(|row| row.get(0)))
        })?;
        match of_column {
            Some(found) if found != model.dimension as i32 => Err(BackendError::Server {
                place,
                problem: format!(
                    "the tables are for vectors of {found} numbers, those of this library have {}: voisin push --print-ddl prints tables for them",
                    model.dimension
                ),
                code: None,
            }),
            Some(_) => Ok(()),
            None => Err(BackendError::NoLibrary { place }),
        }
    }

    /// - `create`: make the extension where the server has it
    fn check_pgvector(&mut self, create: bool) -> Result<()> {
        let place = self.place.to_string();
        let version = |tx: &mut Transaction<'_>| {
            let sql = "select extversion from pg_extension where extname = 'vector'";
            Ok(tx.query_opt(sql, &[])?.map(|row| row.get::<_, String>(0)))
        };
        let mut installed = self.run(version)?;
        if installed.is_none() && create {
            let made = self.run(|tx| tx.batch_execute("create extension vector"));
            installed = self.run(version)?;
            if installed.is_none()
                && let Err(BackendError::Server { problem, code, .. }) = &made
                && code.as_deref() == Some(SqlState::INSUFFICIENT_PRIVILEGE.code())
            {
                return Err(BackendError::Server {
                    place,
                    problem: format!("{problem}; run as the database's owner: create extension vector"),
                    code: None,
                });
            }
        }
        let parts =
            |text: &str| -> Vec<u32> { text.split('.').map_while(|part| part.parse().ok()).collect() };
        if installed.as_deref().is_some_and(|found| parts(found) >= parts(OLDEST_PGVECTOR)) {
            return Ok(());
        }
        let version: String = self.run(|tx| Ok(tx.query_one("show server_version_num", &[])?.get(0)))?;
        Err(BackendError::NoVector {
            place,
            expected: OLDEST_PGVECTOR,
            found: installed.map_or("found none".to_owned(), |found| format!("found {found}")),
            version: version.parse::<u32>().unwrap_or_default() / 10_000,
        })
    }

    /// Reads what the database says of itself.
    fn read_head(&mut self) -> Result<()> {
        let place = self.place.to_string();
        let there: bool =
            self.run(|tx| Ok(tx.query_one("select to_regclass('voisin_state') is not null", &[])?.get(0)))?;
        if !there {
            return Err(BackendError::NoLibrary { place });
        }
        let found: i32 = self.run(|tx| Ok(tx.query_one("select schema from voisin_state", &[])?.get(0)))?;
        if found != SCHEMA {
            let next = if found > SCHEMA {
                "use the newer voisin"
            } else {
                "drop the tables that begin with voisin_ and push again"
            };
            return Err(BackendError::Schema { place, found, expected: SCHEMA, next });
        }
        self.check_pgvector(false)?;
        let (model, width) = self.run(|tx| {
            let sql = "select model, fingerprint, dimension, manifest, width from voisin_state";
            let row = tx.query_one(sql, &[])?;
            let model = row.get::<_, Option<String>>(0).map(|name| StoredModel {
                name,
                fingerprint: row.get::<_, Option<String>>(1).unwrap_or_default(),
                dimension: row.get::<_, Option<i32>>(2).unwrap_or_default() as usize,
                manifest_json: row.get::<_, Option<String>>(3).unwrap_or_default(),
            });
            Ok((model, row.get::<_, i32>(4) as u32))
        })?;
        self.model = model.ok_or(BackendError::NoLibrary { place })?;
        self.width = width.clamp(1, WIDEST);
        self.shards = self.run(|tx| {
            let sql = "select distinct s.srvname::text from pg_inherits i
                join pg_foreign_table t on t.ftrelid = i.inhrelid join pg_foreign_server s on s.oid = t.ftserver
                where i.inhparent = 'voisin_track'::regclass order by 1";
            Ok(tx.query(sql, &[])?.iter().map(|row| row.get(0)).collect())
        })?;
        let synonyms = self.settings()?.remove(SYNONYMS);
        if let Some(text) = synonyms {
            let file = tempfile::NamedTempFile::new()?;
            std::fs::write(file.path(), text)?;
            if let Ok(taxonomy) = Taxonomy::default().with_user_file(file.path()) {
                self.taxonomy = taxonomy;
            }
        }
        Ok(())
    }

    /// Where it is, without a password.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// The model whose vectors are there.
    pub fn model(&self) -> &StoredModel {
        &self.model
    }

    /// Candidates that a search through the index keeps.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Foreign servers on which parts of the tracks lie.
    pub fn shards(&self) -> &[String] {
        &self.shards
    }

    /// Runs one transaction. A connection that was lost before it began is made anew.
    pub(super) fn run<T>(
        &mut self,
        work: impl FnMut(&mut Transaction<'_>) -> Result<T, postgres::Error>,
    ) -> Result<T> {
        self.run_again(work, true)
    }

    fn run_again<T>(
        &mut self,
        mut work: impl FnMut(&mut Transaction<'_>) -> Result<T, postgres::Error>,
        again: bool,
    ) -> Result<T> {
        if self.client.as_ref().is_none_or(Client::is_closed) {
            self.client = Some(self.place.connect()?);
        }
        let client = self.client.as_mut().expect("it was connected above");
        let done = client.transaction().and_then(|mut tx| {
            let value = work(&mut tx)?;
            tx.commit()?;
            Ok(value)
        });
        match done {
            Ok(value) => Ok(value),
            // A server that was started again leaves a connection behind that ends at its first use, and so does a shard;
            // a fault that lasts says more the second time.
            Err(error) if again && is_lost(&error) => {
                if error.as_db_error().is_none() {
                    self.client = None;
                }
                self.run_again(work, false)
            }
            Err(error) => {
                if error.as_db_error().is_none() {
                    self.client = None;
                }
                Err(self.fault(&error))
            }
        }
    }

    /// An error of the client as a caller can act on it.
    pub(super) fn fault(&self, error: &postgres::Error) -> BackendError {
        let place = self.place.to_string();
        let Some(said) = error.as_db_error() else {
            return BackendError::Connect { place, problem: causes(error) };
        };
        let mut problem = said.message().to_owned();
        if let Some(detail) = said.detail() {
            problem = format!("{problem} ({detail})");
        }
        if let Some(hint) = said.hint() {
            problem = format!("{problem}; {hint}");
        }
        let problem = problem.split_whitespace().collect::<Vec<_>>().join(" ");
        if is_lost(error) {
            return BackendError::Shard { place, problem };
        }
        if *said.code() == SqlState::UNIQUE_VIOLATION {
            return BackendError::Clash(problem);
        }
        BackendError::Server { place, problem, code: Some(said.code().code().to_owned()) }
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
        self.run(|tx| {
            tx.batch_execute("set local enable_partitionwise_aggregate = on")?;
            let count: i64 = tx.query_one("select count(*) from voisin_track", &[])?.get(0);
            let generation: i64 = tx.query_one("select generation from voisin_state", &[])?.get(0);
            Ok((count as u64, generation as u64))
        })
    }

    /// What there is.
    pub fn counts(&mut self) -> Result<Counts> {
        let (tracks, generation) = self.size()?;
        // Of windows only the lengths are read: four bytes for their number, then a start and a vector each.
        let each = 4 + 2 * self.model.dimension as i64;
        self.run(|tx| {
            tx.batch_execute("set local enable_partitionwise_aggregate = on")?;
            let row = tx.query_one(
                "select coalesce(sum(cardinality(paths)), 0)::bigint,
                 coalesce(sum((octet_length(windows) - 4) / $1::bigint), 0)::bigint from voisin_track",
                &[&each],
            )?;
            let bytes = tx.query_one("select pg_total_relation_size('voisin_track')", &[])?;
            Ok(Counts {
                tracks,
                files: row.get::<_, i64>(0) as u64,
                windows: row.get::<_, i64>(1) as u64,
                generation,
                bytes: bytes.get::<_, i64>(0) as u64,
            })
        })
    }

    /// What the database calls itself; a copy of it has the same.
    pub fn identity(&mut self) -> Result<String> {
        self.run(|tx| Ok(tx.query_one("select identity::text from voisin_state", &[])?.get(0)))
    }

    /// Whether there is a vector index.
    pub fn index_state(&mut self) -> Result<IndexState> {
        if !self.shards.is_empty() {
            return Ok(IndexState::OnShards);
        }
        let bytes: Option<i64> = self.run(|tx| {
            let sql = "select pg_relation_size(i.indexrelid) from pg_index i join pg_attribute a
                on a.attrelid = i.indrelid and a.attnum = any (i.indkey::smallint[])
                where i.indrelid = 'voisin_track'::regclass and a.attname = 'embedding' and i.indisvalid limit 1";
            Ok(tx.query_opt(sql, &[])?.map(|row| row.get(0)))
        })?;
        Ok(bytes.map_or(IndexState::Missing, |bytes| IndexState::There(bytes as u64)))
    }

    /// Vectors of some tracks, which are as good as drawn at random: ids are digests.
    pub fn sample(&mut self, most: usize) -> Result<Vec<Vec<f32>>> {
        let ids = self.ids(&Conditions::new(1), most)?;
        Ok(self.vectors_of(&ids)?.into_iter().flatten().collect())
    }

    /// Sets the width of searches from now on: of all who search there, and of the shards if there are any.
    pub fn set_width(&mut self, width: u32) -> Result<()> {
        let width = width.clamp(1, WIDEST);
        self.set_shard_width(width)?;
        self.run(|tx| tx.execute("update voisin_state set width = $1", &[&(width as i32)]))?;
        self.width = width;
        Ok(())
    }

    /// Settings of a session do not reach the shards; those of the foreign servers do, from the next connection on.
    fn set_shard_width(&mut self, width: u32) -> Result<()> {
        if self.shard_width == Some(width) {
            return Ok(());
        }
        for shard in self.shards.clone() {
            let options: Option<String> = self.run(|tx| {
                let sql = "select option_value from pg_foreign_server, pg_options_to_table(srvoptions)
                    where srvname = $1 and option_name = 'options'";
                Ok(tx.query_opt(sql, &[&shard])?.map(|row| row.get(0)))
            })?;
            let mut kept: Vec<&str> =
                options.as_deref().unwrap_or_default().split("-c").map(str::trim).collect();
            kept.retain(|option| !option.is_empty() && !option.starts_with("hnsw.ef_search"));
            let setting = format!("hnsw.ef_search={width}");
            kept.push(&setting);
            let joined = kept.iter().map(|option| format!("-c {option}")).collect::<Vec<_>>().join(" ");
            let action = if options.is_some() { "set" } else { "add" };
            // The statement takes no parameters; the server writes it with its own quotes.
            let altered = self.run(|tx| {
                let sql =
                    "select format('alter server %I options (%s options %L)', $1::text, $2::text, $3::text)";
                let statement: String = tx.query_one(sql, &[&shard, &action, &joined])?.get(0);
                tx.batch_execute(&statement)
            });
            altered.map_err(|error| match error {
                BackendError::Server { place, problem, code } => BackendError::Server {
                    place,
                    problem: format!(
                        "{problem}: the width on shards is an option of their servers, which only their owner may set"
                    ),
                    code,
                },
                other => other,
            })?;
        }
        self.shard_width = Some(width);
        Ok(())
    }

    /// Takes the lock of those who send tracks, for as long as the connection lasts.
    pub(super) fn lock(&mut self) -> Result<()> {
        let sql = "select pg_try_advisory_lock(1987013491, hashtext(current_schema()))";
        if self.run(|tx| Ok(tx.query_one(sql, &[])?.get(0)))? {
            return Ok(());
        }
        Err(BackendError::Busy { place: self.place.to_string() })
    }

    /// Runs statements outside of a transaction.
    pub(super) fn execute(&mut self, sql: &str) -> Result<()> {
        let client = self.client.as_mut().filter(|client| !client.is_closed());
        let Some(client) = client else {
            return Err(BackendError::Connect {
                place: self.place.to_string(),
                problem: "the connection was lost: run it again".to_owned(),
            });
        };
        let done = client.batch_execute(sql);
        done.map_err(|error| self.fault(&error))
    }

    /// Sends rows, in place of those of the same recordings, and says with which generation.
    pub(super) fn send(&mut self, rows: &[Row], source: &str) -> Result<u64> {
        let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
        let contents: Vec<&[u8]> = rows.iter().map(|row| row.content.as_slice()).collect();
        // A clash of ids ends in an error of the key: rows of other recordings are not taken out.
        self.run(|tx| {
            let changed: i64 = next_generation(tx)?;
            // Foreign tables know neither "on conflict" nor copies of 16-bit vectors in one round.
            tx.batch_execute(
                "create temporary table if not exists voisin_staging (like voisin_track) on commit delete rows",
            )?;
            let columns = tx.prepare(&format!("select {COLUMNS} from voisin_staging"))?;
            let types: Vec<Type> = columns.columns().iter().map(|column| column.type_().clone()).collect();
            let sink = tx.copy_in(&format!("copy voisin_staging ({COLUMNS}) from stdin binary"))?;
            let mut writer = BinaryCopyInWriter::new(sink, &types);
            for row in rows {
                row.write(source, changed, |values| writer.write(values))?;
            }
            writer.finish()?;
            tx.execute(
                "delete from voisin_track where id = any ($1) and content = any ($2)",
                &[&ids, &contents],
            )?;
            tx.execute("delete from voisin_gone where id = any ($1)", &[&ids])?;
            tx.execute(
                &format!("insert into voisin_track ({COLUMNS}) select {COLUMNS} from voisin_staging"),
                &[],
            )?;
            Ok(changed as u64)
        })
    }

    /// Takes rows out.
    pub(super) fn take_out(&mut self, contents: &[ContentId]) -> Result<u64> {
        let mut removed = 0;
        for some in contents.chunks(ROWS) {
            let ids: Vec<i64> = some.iter().map(|content| id_of(content).0).collect();
            let contents: Vec<&[u8]> = some.iter().map(|content| &content.0[..]).collect();
            removed += self.run(|tx| {
                let changed: i64 = next_generation(tx)?;
                let sql =
                    "delete from voisin_track where id = any ($1) and content = any ($2) returning id, content";
                let rows = tx.query(sql, &[&ids, &contents])?;
                let ids: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
                let contents: Vec<&[u8]> = rows.iter().map(|row| row.get(1)).collect();
                tx.execute(
                    "insert into voisin_gone (id, content, changed) select id, content, $3
                     from unnest($1::bigint[], $2::bytea[]) as gone (id, content)
                     on conflict (id) do update set content = excluded.content, changed = excluded.changed",
                    &[&ids, &contents, &changed],
                )?;
                Ok(rows.len() as u64)
            })?;
        }
        Ok(removed)
    }

    /// Ids that fit conditions, ascending, at most `limit`.
    pub(super) fn ids(&mut self, conditions: &Conditions, limit: usize) -> Result<Vec<TrackId>> {
        let sql = format!("select id from voisin_track where {} order by id limit {limit}", conditions.sql);
        self.run(|tx| {
            tx.batch_execute("set local plan_cache_mode = force_custom_plan")?;
            let values: Vec<&(dyn ToSql + Sync)> = conditions.values().collect();
            Ok(tx.query(&sql, &values)?.iter().map(|row| TrackId(row.get(0))).collect())
        })
    }

    /// The conditions of a filter; their values are numbered from `first` on.
    pub(super) fn conditions(&mut self, filter: &TrackFilter, first: usize) -> Result<Conditions> {
        let mut conditions = Conditions::new(first);
        let taxonomy = self.taxonomy.clone();
        conditions.add(filter, &taxonomy, || {
            self.run(|tx| {
                let rows = tx.query("select distinct licences from voisin_track", &[])?;
                Ok(rows.iter().flat_map(|row| row.get::<_, Vec<String>>(0)).collect())
            })
        })?;
        Ok(conditions)
    }

    /// How many tracks fit; where this server has all, no more than are worth counting.
    pub(super) fn count(&mut self, conditions: &Conditions) -> Result<i64> {
        let sql = if self.shards.is_empty() {
            format!(
                "select count(*) from (select 1 from voisin_track where {} limit {}) few",
                conditions.sql,
                COMPARED + 1
            )
        } else {
            format!("select count(*) from voisin_track where {}", conditions.sql)
        };
        self.run(|tx| {
            tx.batch_execute(
                "set local plan_cache_mode = force_custom_plan; set local enable_partitionwise_aggregate = on",
            )?;
            let values: Vec<&(dyn ToSql + Sync)> = conditions.values().collect();
            Ok(tx.query_one(&sql, &values)?.get(0))
        })
    }

    fn search(
        &mut self,
        query: &HalfVector,
        limit: usize,
        conditions: &Conditions,
        settings: &str,
        order: &str,
    ) -> Result<Vec<Neighbor>> {
        let sql = format!(
            "select id, -(embedding <#> $1) from voisin_track where {} order by {order} limit {limit}",
            conditions.sql
        );
        self.run(|tx| {
            // Within the transaction, so that it holds behind a pool of connections, and a custom plan each time: a
            // general one walks the index where a filter leaves a handful of tracks.
            tx.batch_execute(&format!("set local plan_cache_mode = force_custom_plan;{settings}"))?;
            let values: Vec<&(dyn ToSql + Sync)> =
                std::iter::once(query as &(dyn ToSql + Sync)).chain(conditions.values()).collect();
            let rows = tx.query(&sql, &values)?;
            let found = rows
                .iter()
                .map(|row| Neighbor { track: TrackId(row.get(0)), similarity: row.get::<_, f64>(1) as f32 });
            Ok(found.collect())
        })
    }

    /// The nearest of all tracks that fit.
    fn compare_all(
        &mut self,
        query: &[f32],
        half: &HalfVector,
        limit: usize,
        conditions: &Conditions,
    ) -> Result<Vec<Neighbor>> {
        let mut asked = limit.saturating_add(MARGIN);
        loop {
            // "+ 0.0" keeps every vector index away, by whatever name.
            let found = self.search(half, asked, conditions, "", "(embedding <#> $1) + 0.0, id")?;
            let ranked = self.ranked(query, &found, limit)?;
            let (last, worst) = (found.last(), ranked.last());
            // What was left out may be nearer only if 16 bits could have hidden it.
            let is_sure = found.len() < asked
                || last.zip(worst).is_none_or(|(last, worst)| last.similarity < worst.similarity - ROUNDING);
            if is_sure {
                return Ok(ranked);
            }
            asked = asked.saturating_mul(2);
        }
    }

    /// The best of some candidates, by the vectors that the 16 bits were made of.
    fn ranked(&mut self, query: &[f32], found: &[Neighbor], limit: usize) -> Result<Vec<Neighbor>> {
        let ids: Vec<TrackId> = found.iter().map(|found| found.track).collect();
        let vectors = self.vectors_of(&ids)?;
        let mut ranked: Vec<Neighbor> = ids
            .into_iter()
            .zip(vectors)
            .filter_map(|(track, vector)| {
                let vector = vector.filter(|vector| vector.len() == query.len())?;
                Some(Neighbor { track, similarity: dot(query, &vector).clamp(-1.0, 1.0) })
            })
            .collect();
        ranked.sort_by(|a, b| b.similarity.total_cmp(&a.similarity).then(a.track.cmp(&b.track)));
        ranked.truncate(limit);
        Ok(ranked)
    }

    /// Fetches tracks, in no order; those that are not there are left out. The second number counts rows that make no sense.
    pub(super) fn fetch(&mut self, ids: &[TrackId], windows: bool) -> Result<(Vec<Fetched>, u64)> {
        let (mut records, mut damaged) = (Vec::with_capacity(ids.len()), 0);
        let column = if windows { "windows" } else { "null::bytea" };
        let sql = format!("select id, facts, {column}, vector, genres from voisin_track where id = any ($1)");
        for some in ids.chunks(ROWS) {
            let some: Vec<i64> = some.iter().map(|id| id.0).collect();
            let rows = self.run(|tx| tx.query(&sql, &[&some]))?;
            for row in rows {
                match record(row.get(1), row.get(2), row.get(3)) {
                    Some(record) => records.push((TrackId(row.get(0)), record, row.get(4))),
                    None => damaged += 1,
                }
            }
        }
        Ok((records, damaged))
    }
}

/// Name of the setting that holds the library's own synonyms of genres.
pub(super) const SYNONYMS: &str = "genre-synonyms.tsv";

fn next_generation(tx: &mut Transaction<'_>) -> Result<i64, postgres::Error> {
    let sql = "update voisin_state set generation = generation + 1 returning generation";
    Ok(tx.query_one(sql, &[])?.get(0))
}

/// Whether a connection was lost: to the server, or from there to a shard.
fn is_lost(error: &postgres::Error) -> bool {
    let Some(said) = error.as_db_error() else { return error.is_closed() || error.code().is_none() };
    let code = said.code().code();
    code.starts_with("08") || code.starts_with("57P0")
}

impl TrackStore for Postgres {
    fn nearest(
        &mut self,
        query: &[f32],
        limit: usize,
        filter: &TrackFilter,
        effort: Effort,
    ) -> Result<Vec<Neighbor>> {
        let half = HalfVector::new(query);
        let conditions = self.conditions(filter, 2)?;
        let width = match effort {
            Effort::Exact => return self.compare_all(query, &half, limit, &conditions),
            Effort::Index => self.width,
            Effort::Width(width) => width.clamp(1, WIDEST),
        };
        let is_filtered = !filter.is_empty();
        let few = is_filtered && {
            let counted = self.conditions(filter, 1)?;
            self.count(&counted)? <= COMPARED
        };
        if few || limit as u32 > WIDEST / 2 {
            return self.compare_all(query, &half, limit, &conditions);
        }
        if let (Effort::Width(width), false) = (effort, self.shards.is_empty()) {
            self.set_shard_width(width)?;
        }
        let asked = limit + MARGIN;
        let (width, asked, scan) = if is_filtered {
            (width.max(FILTERED_WIDTH), 2 * asked, "relaxed_order")
        } else {
            (width, asked, "off")
        };
        let settings = format!(
            "set local hnsw.ef_search = {}; set local hnsw.iterative_scan = {scan}; set local hnsw.max_scan_tuples = 100000",
            width.max(asked as u32).min(WIDEST)
        );
        let found = self.search(&half, asked, &conditions, &settings, "embedding <#> $1")?;
        if found.len() < limit {
            // The walk ended before enough were found that fit.
            return self.compare_all(query, &half, limit, &conditions);
        }
        self.ranked(query, &found, limit)
    }

    fn vectors_of(&mut self, ids: &[TrackId]) -> Result<Vec<Option<Vec<f32>>>> {
        let mut known = HashMap::with_capacity(ids.len());
        for some in ids.chunks(ROWS) {
            let some: Vec<i64> = some.iter().map(|id| id.0).collect();
            let rows =
                self.run(|tx| tx.query("select id, vector from voisin_track where id = any ($1)", &[&some]))?;
            known.extend(rows.iter().map(|row| (TrackId(row.get(0)), vector_of(row.get(1)))));
        }
        Ok(ids.iter().map(|id| known.get(id).cloned()).collect())
    }

    fn upsert(&mut self, tracks: &[StoredTrack]) -> Result<()> {
        for some in tracks.chunks(ROWS) {
            let rows = some.iter().map(|track| Row::new(track, true)).collect::<Result<Vec<_>>>()?;
            self.send(&rows, "")?;
        }
        Ok(())
    }

    fn remove(&mut self, contents: &[ContentId]) -> Result<u64> {
        self.take_out(contents)
    }

    fn changes(&mut self, since: u64) -> Result<Option<Changes>> {
        let (_, generation) = self.size()?;
        if since > generation {
            return Ok(None);
        }
        let since = since as i64;
        let of = |store: &mut Self, sql: &str| -> Result<Vec<TrackId>> {
            store.run(|tx| Ok(tx.query(sql, &[&since])?.iter().map(|row| TrackId(row.get(0))).collect()))
        };
        let added = of(self, "select id from voisin_track where changed > $1 order by id")?;
        let mut removed = of(self, "select id from voisin_gone where changed > $1 order by id")?;
        removed.extend(&added);
        removed.sort_unstable();
        Ok(Some(Changes { generation, added, removed }))
    }
}
