//! Opening a library that is there, and making its tables where there are none.

use postgres::Transaction;
use postgres::error::SqlState;

use super::search::WIDEST;
use super::{Connection, Postgres, SYNONYMS};
use crate::ddl::{self, SCHEMA};
use crate::{BackendError, PostgresAddress, Result};
use voisin::{EngineError, check_model};
use voisin_learn::genre::Taxonomy;
use voisin_library::StoredModel;

/// The oldest pgvector that scans an index on where a filter leaves too few.
const OLDEST_PGVECTOR: &str = "0.8.0";

impl Postgres {
    /// Opens a library that is there.
    pub fn open(place: &PostgresAddress) -> Result<Self> {
        Self::connect(place, None)
    }

    /// Opens a library to send tracks of this model to; its tables are made where there are none.
    pub fn open_or_create(place: &PostgresAddress, model: &StoredModel) -> Result<Self> {
        Self::connect(place, Some(model))
    }

    fn connect(place: &PostgresAddress, create: Option<&StoredModel>) -> Result<Self> {
        let mut opened = Self {
            connection: Connection::open(place)?,
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
            mean: None,
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
        // What a newer voisin made stays as it is.
        self.check_schema()?;
        self.check_pgvector(true)?;
        let place = self.place().to_string();
        let dimension = model.dimension as i32;
        let of_column: Option<i32> = self.run(|tx| {
            // Several may come at once, and "if not exists" is no help against that.
            tx.batch_execute("select pg_advisory_xact_lock(1987013492)")?;
            if !is_there(tx, model)? {
                tx.batch_execute(&ddl::single(model.dimension))?;
                tx.execute("insert into voisin_state (schema) values ($1)", &[&SCHEMA])?;
            }
            let sql = "select atttypmod from pg_attribute
                where attrelid = to_regclass('voisin_track') and attname = 'embedding'";
            let of_column = tx.query_opt(sql, &[])?.map(|row| row.get(0));
            // Tables that an operator made wait for the name of their model.
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
            let held: Option<String> = tx.query_one("select fingerprint from voisin_state", &[])?.get(0);
            // Vectors of another model are refused by its name.
            let is_other = held.is_some_and(|held| held != model.fingerprint);
            Ok(if is_other { Some(dimension) } else { of_column })
        })?;
        match of_column {
            Some(found) if found != dimension => {
                Err(BackendError::OtherTables { place, found, expected: dimension })
            }
            Some(_) => Ok(()),
            None => Err(BackendError::NoLibrary { place }),
        }
    }

    /// Refuses tables of another schema; false where there are none.
    fn check_schema(&mut self) -> Result<bool> {
        let there: bool =
            self.run(|tx| Ok(tx.query_one("select to_regclass('voisin_state') is not null", &[])?.get(0)))?;
        if !there {
            return Ok(false);
        }
        let found: i32 = self.run(|tx| Ok(tx.query_one("select schema from voisin_state", &[])?.get(0)))?;
        if found == SCHEMA {
            return Ok(true);
        }
        let next = if found > SCHEMA {
            "use the newer voisin"
        } else {
            "drop the tables that begin with voisin_ and push again"
        };
        Err(BackendError::Schema { place: self.place().to_string(), found, expected: SCHEMA, next })
    }

    /// - `create`: make the extension where the server has it
    fn check_pgvector(&mut self, create: bool) -> Result<()> {
        let place = self.place().to_string();
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
        let has_one = installed.is_some();
        Err(BackendError::NoVector {
            place,
            expected: OLDEST_PGVECTOR,
            found: installed.map_or("found none".to_owned(), |found| format!("found {found}")),
            version: version.parse::<u32>().unwrap_or_default() / 10_000,
            command: if has_one { "alter extension vector update" } else { "create extension vector" },
        })
    }

    /// Reads what the database says of itself.
    fn read_head(&mut self) -> Result<()> {
        let place = self.place().to_string();
        if !self.check_schema()? {
            return Err(BackendError::NoLibrary { place });
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
        self.model = model.ok_or_else(|| BackendError::NoLibrary { place: place.clone() })?;
        check_model(&self.model).map_err(|problem| EngineError::ForeignModel {
            place,
            problem,
            next: "drop the tables that begin with voisin_ and push again".into(),
        })?;
        self.width = width.clamp(1, WIDEST);
        self.read_mean()?;
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
}

/// Whether the tables for a model's vectors are there; those of another model further along the search path are not they.
fn is_there(tx: &mut Transaction<'_>, model: &StoredModel) -> Result<bool, postgres::Error> {
    let sql = "select relnamespace::regnamespace::text = quote_ident(current_schema()) from pg_class
        where oid = to_regclass('voisin_state')";
    let Some(row) = tx.query_opt(sql, &[])? else { return Ok(false) };
    if row.get::<_, Option<bool>>(0) != Some(false) {
        return Ok(true);
    }
    let held: Option<String> = tx.query_one("select fingerprint from voisin_state", &[])?.get(0);
    Ok(held.is_none_or(|held| held == model.fingerprint))
}
