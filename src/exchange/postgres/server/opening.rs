//! Opens a library, and creates its tables if they are missing.

use super::connection::MAKE_EXTENSION;
use super::{Connection, Lock, OTHER_SCHEMA, Postgres, SYNONYMS, Transaction};
use crate::postgres::ddl::{self, SCHEMA};
use crate::postgres::row::vector_of;
use crate::postgres::{BackendError, PostgresAddress, Result};
use voisin::{EngineError, LibrarySpace, check_model};
use voisin_genre::Taxonomy;
use voisin_library::StoredModel;

/// The oldest pgvector with iterative index scans, which continue if a filter leaves too few.
const OLDEST_PGVECTOR: &str = "0.8.0";

impl Postgres {
    /// Opens an existing library.
    pub fn open(place: &PostgresAddress) -> Result<Self> {
        Self::connect(place, None)
    }

    /// Opens a library to send tracks of this model to, and creates its tables if they are missing.
    pub fn open_or_create(place: &PostgresAddress, model: &StoredModel) -> Result<Self> {
        Self::connect(place, Some(model))
    }

    fn connect(place: &PostgresAddress, create: Option<&StoredModel>) -> Result<Self> {
        let mut opened = Self {
            connection: Connection::open(place)?,
            lock: None,
            model: StoredModel {
                name: String::new(),
                fingerprint: String::new(),
                dimension: 0,
                manifest_json: String::new(),
            },
            taxonomy: Taxonomy::default(),
            mean: None,
        };
        if let Some(model) = create {
            opened.create_tables(model)?;
        }
        opened.read_head()?;
        if let Some(model) = create
            && model.fingerprint != opened.model.fingerprint
        {
            let held = &opened.model;
            return Err(opened.refused(format!(
                "holds vectors of model {} ({}), not of {} ({}): vectors of two models never mix; use another database, or {OTHER_SCHEMA}",
                held.name, held.fingerprint, model.name, model.fingerprint
            )));
        }
        Ok(opened)
    }

    /// Creates what is missing: the extension, the tables, the name of the model.
    fn create_tables(&mut self, model: &StoredModel) -> Result<()> {
        // The longest halfvec that an HNSW index takes.
        if model.dimension > 4000 {
            let dimension = model.dimension;
            return Err(self.refused(format!(
                "vectors of {dimension} numbers: pgvector takes at most 4 000"
            )));
        }
        // Refuses tables of another voisin.
        self.check_schema()?;
        self.check_pgvector(true)?;
        let place = self.place().to_string();
        let dimension = model.dimension as i32;
        let of_column: Option<i32> = self.run(|tx| {
            // Several processes may do so at once, against which "if not exists" does not help.
            tx.batch_execute("select pg_advisory_xact_lock(1987013492)")?;
            if !tables_exist(tx)? {
                tx.batch_execute(&ddl::tables(model.dimension))?;
                tx.execute("insert into voisin_state (schema) values ($1)", &[&SCHEMA])?;
            }
            let sql = "select atttypmod from pg_attribute
                where attrelid = to_regclass('voisin_track') and attname = 'embedding'";
            let of_column = tx.query_opt(sql, &[])?.map(|row| row.get(0));
            // Tables that an operator created have no model yet.
            tx.execute(
                "update voisin_state set model = $1, fingerprint = $2, dimension = $3, manifest = $4
                 where fingerprint is null and $5",
                &[
                    &model.name,
                    &model.fingerprint,
                    &dimension,
                    &model.manifest_json,
                    &(of_column == Some(dimension)),
                ],
            )?;
            let held: Option<String> = tx
                .query_one("select fingerprint from voisin_state", &[])?
                .get(0);
            // Vectors of another model are refused.
            let is_other = held.is_some_and(|held| held != model.fingerprint);
            Ok(if is_other { Some(dimension) } else { of_column })
        })?;
        match of_column {
            Some(found) if found != dimension => Err(self.refused(format!(
                "its tables are for vectors of {found} numbers, those of this library have {dimension}: voisin push --print-ddl prints tables for them"
            ))),
            Some(_) => Ok(()),
            None => Err(BackendError::NoLibrary { place }),
        }
    }

    /// Takes the lock of pushes, and holds it as long as this value lives.
    pub(crate) fn lock(&mut self) -> Result<()> {
        if self.lock.is_none() {
            self.lock = Some(lock(self.place())?);
        }
        Ok(())
    }

    /// Fails if the lock was lost.
    pub(crate) fn check_lock(&mut self) -> Result<()> {
        if self.lock.as_mut().is_none_or(Lock::is_held) {
            return Ok(());
        }
        let problem =
            "the connection that held the lock against other pushes was lost: run it again";
        Err(BackendError::Connect {
            place: self.place().to_string(),
            problem: problem.to_owned(),
        })
    }

    /// Refuses tables of another schema; false if there are none.
    fn check_schema(&mut self) -> Result<bool> {
        match schema(&mut self.connection)? {
            Some(SCHEMA) => Ok(true),
            Some(found) => Err(self.refused(format!(
                "it has tables of schema {found}, expected {SCHEMA}: drop the tables that begin with voisin_ and push again"
            ))),
            None => Ok(false),
        }
    }

    /// - `create`: create the extension if the server has it
    fn check_pgvector(&mut self, create: bool) -> Result<()> {
        let version = |tx: &mut Transaction<'_>| {
            let sql = "select extversion from pg_extension where extname = 'vector'";
            Ok(tx.query_opt(sql, &[])?.map(|row| row.get::<_, String>(0)))
        };
        let mut installed = self.run(version)?;
        if installed.is_none() && create {
            // Of two concurrent attempts one fails; what counts is whether it exists afterwards.
            let made = self.run(|tx| tx.batch_execute("create extension vector"));
            installed = self.run(version)?;
            if installed.is_none()
                && let Err(BackendError::Refused { problem, .. }) = &made
                && problem.ends_with(MAKE_EXTENSION)
            {
                return made;
            }
        }
        let parts = |text: &str| -> Vec<u32> {
            text.split('.')
                .map_while(|part| part.parse().ok())
                .collect()
        };
        if installed
            .as_deref()
            .is_some_and(|found| parts(found) >= parts(OLDEST_PGVECTOR))
        {
            return Ok(());
        }
        let version: String =
            self.run(|tx| Ok(tx.query_one("show server_version_num", &[])?.get(0)))?;
        let version = version.parse::<u32>().unwrap_or_default() / 10_000;
        let (found, command) = match &installed {
            Some(found) => (found.as_str(), "alter extension vector update"),
            None => ("none", "create extension vector"),
        };
        Err(self.refused(format!(
            "it has no pgvector {OLDEST_PGVECTOR} or newer (found {found}): install it on the server (Debian and Ubuntu: apt install postgresql-{version}-pgvector) and run as its owner: {command}"
        )))
    }

    /// Reads model, mean and settings.
    fn read_head(&mut self) -> Result<()> {
        let place = self.place().to_string();
        if !self.check_schema()? {
            return Err(BackendError::NoLibrary { place });
        }
        self.check_pgvector(false)?;
        let model = self.run(|tx| {
            let sql = "select model, fingerprint, dimension, manifest from voisin_state";
            let row = tx.query_one(sql, &[])?;
            Ok(row.get::<_, Option<String>>(0).map(|name| StoredModel {
                name,
                fingerprint: row.get::<_, Option<String>>(1).unwrap_or_default(),
                dimension: row.get::<_, Option<i32>>(2).unwrap_or_default() as usize,
                manifest_json: row.get::<_, Option<String>>(3).unwrap_or_default(),
            }))
        })?;
        self.model = model.ok_or_else(|| BackendError::NoLibrary {
            place: place.clone(),
        })?;
        // The database is not trusted, so its manifest is checked.
        check_model(&self.model).map_err(|problem| {
            EngineError::foreign_model(
                &place,
                &problem,
                "drop the tables that begin with voisin_ and push again",
            )
        })?;
        self.read_mean()?;
        let synonyms = self.settings()?.remove(SYNONYMS);
        // The taxonomy reads files only. If it refuses the synonyms, the built-in ones are used.
        if let Some(text) = synonyms {
            let file = tempfile::NamedTempFile::new()?;
            std::fs::write(file.path(), text)?;
            if let Ok(taxonomy) = Taxonomy::default().with_user_file(file.path()) {
                self.taxonomy = taxonomy;
            }
        }
        Ok(())
    }

    /// Reads the mean.
    fn read_mean(&mut self) -> Result<()> {
        let mean: Option<Vec<u8>> =
            self.run(|tx| Ok(tx.query_one("select mean from voisin_state", &[])?.get(0)))?;
        let mean = mean.map(|bytes| vector_of(&bytes));
        if let Some(mean) = &mean
            && (mean.len() != self.model.dimension || !mean.iter().all(|value| value.is_finite()))
        {
            return Err(self.refused(format!(
                "the mean in voisin_state has {} numbers, expected {} that are finite",
                mean.len(),
                self.model.dimension
            )));
        }
        self.mean = mean;
        Ok(())
    }

    /// Sets the mean unless there is one; returns the space in which the database compares.
    pub(crate) fn settle_space(&mut self, offered: &[f32]) -> Result<LibrarySpace> {
        if self.mean.is_none() {
            let bytes: Vec<u8> = offered
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect();
            // A mean that rows are relative to is kept.
            let sql = "update voisin_state set mean = $1 where mean is null";
            self.run(|tx| tx.execute(sql, &[&bytes]))?;
            self.read_mean()?;
        }
        Ok(self.held_space())
    }
}

/// Takes the lock of pushes.
fn lock(place: &PostgresAddress) -> Result<Lock> {
    let held = Lock::take(
        place,
        "1987013491, hashint8('voisin_state'::regclass::oid::bigint)",
    )?;
    held.ok_or_else(|| BackendError::Refused {
        place: place.to_string(),
        problem: "another voisin is sending tracks there: wait until it is done".to_owned(),
    })
}

/// Version of the tables; `None` if there are none.
fn schema(connection: &mut Connection) -> Result<Option<i32>> {
    connection.run(|tx| {
        let there: bool = tx
            .query_one("select to_regclass('voisin_state') is not null", &[])?
            .get(0);
        let sql = "select schema from voisin_state";
        Ok(if there {
            tx.query_opt(sql, &[])?.map(|row| row.get(0))
        } else {
            None
        })
    })
}

/// Whether the tables exist in the first schema of the search path, where new ones would be made.
fn tables_exist(tx: &mut Transaction<'_>) -> Result<bool, postgres::Error> {
    let sql = "select count(*) > 0 from pg_class where oid = to_regclass('voisin_state')
        and relnamespace::regnamespace::text = quote_ident(current_schema())";
    Ok(tx.query_one(sql, &[])?.get(0))
}
