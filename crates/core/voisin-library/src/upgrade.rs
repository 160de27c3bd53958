//! Upgrades to another model: its vectors are stored beside the current ones, which are used until the switch.
//!
//! The setting [`SETTING`] has the fingerprint of the next model. Vectors of models that are neither current nor next
//! nor of a [space](super::spaces) are garbage of an upgrade that was abandoned, or killed at its end.

use rusqlite::{Connection, OptionalExtension, Transaction};
use std::ops::{Deref, DerefMut};

use super::parts::UpgradeTable;
use super::store::{self, ModelRow};
use super::{Library, LibraryError, OpenMode, Result, StoredModel, Upgrade, mean};

const SETTING: &str = "upgrade";

/// SQL for the id of the next model.
const NEXT: &str = "(SELECT m.id FROM models m JOIN settings s ON s.value = m.fingerprint WHERE s.name = 'upgrade')";

impl<L: Deref<Target = Library>> UpgradeTable<L> {
    /// The unfinished upgrade of this library.
    #[doc(hidden)]
    pub fn upgrade(&self) -> Result<Option<Upgrade>> {
        let sql = format!(
            "SELECT name, fingerprint, dimension, manifest, (SELECT count(*) FROM vectors WHERE model = models.id),
             (SELECT count(*) FROM audio) FROM models WHERE id = {NEXT}"
        );
        let found = self
            .connection
            .prepare_cached(&sql)
            .and_then(|mut statement| {
                let upgrade = |row: &rusqlite::Row<'_>| {
                    Ok(Upgrade {
                        model: store::stored_model(row)?,
                        done: row.get::<_, i64>(4)? as u64,
                        tracks: row.get::<_, i64>(5)? as u64,
                    })
                };
                statement.query_row([], upgrade).optional()
            });
        self.sql(found)
    }
}

impl<L: DerefMut<Target = Library>> UpgradeTable<L> {
    /// Begins or continues an upgrade to a model.
    ///
    /// # Errors
    /// [`LibraryError::OtherUpgrade`] while one to another model is under way; [`LibraryError::SameModel`] if it is the
    /// library's model; [`LibraryError::NoModel`] if the library has none.
    #[doc(hidden)]
    pub fn begin_upgrade(&mut self, model: &StoredModel) -> Result<()> {
        // A library without vectors needs no upgrade: the next `add` can use any model.
        let current = self.model()?.ok_or(LibraryError::NoModel)?;
        if current.fingerprint == model.fingerprint {
            return Err(LibraryError::SameModel { name: current.name });
        }
        if let Some(Upgrade {
            model: next,
            done,
            tracks,
        }) = self.upgrade()?
            && next.fingerprint != model.fingerprint
        {
            return Err(LibraryError::OtherUpgrade {
                next: next.name,
                done,
                tracks,
            });
        }
        self.write(|tx| {
            store::put_model(tx, model)?;
            Ok(put_setting(tx, Some(&model.fingerprint))?)
        })
    }

    /// Makes the next model the current one, in one transaction, if every track has its vector; else nothing changes.
    /// Returns the number of tracks without one.
    ///
    /// The caller must hold the [writer's lock](Library::lock_for_writing), since a running `add` makes vectors of
    /// the old model.
    ///
    /// - `leave_out`: switch even if tracks lack a vector; the next `add` embeds them
    #[doc(hidden)]
    pub fn finish_upgrade(&mut self, leave_out: bool) -> Result<u64> {
        self.write(|tx| {
            // Counted and switched in one transaction, so that no track is added between the two.
            let model = next(tx)?.ok_or(LibraryError::NoUpgrade)?;
            let missing: i64 = tx.query_row(
                "SELECT count(*) FROM audio
                 WHERE NOT EXISTS (SELECT 1 FROM vectors WHERE track = audio.id AND model = ?1)",
                [model.id],
                |row| row.get(0),
            )?;
            if missing == 0 || leave_out {
                // The former model is removed, even if it was a space once.
                tx.execute(
                    "DELETE FROM spaces WHERE model = (SELECT model FROM state)",
                    [],
                )?;
                // The trigger `model_chosen` counts the new vectors and clears the log of changes.
                tx.execute("UPDATE state SET model = ?1", [model.id])?;
                put_setting(tx, None)?;
            }
            Ok(missing as u64)
        })
    }

    /// Abandons an upgrade: the library stays as it is. Returns whether there was one.
    #[doc(hidden)]
    pub fn abandon_upgrade(&mut self) -> Result<bool> {
        let was = self.upgrade()?.is_some();
        self.write(|tx| Ok(put_setting(tx, None)?))?;
        self.forget_other_models()?;
        Ok(was)
    }

    /// Removes the data of models that are neither current nor next nor of a space, some hundred tracks at a time, so
    /// that no writer waits long.
    #[doc(hidden)]
    pub fn forget_other_models(&mut self) -> Result<()> {
        if self.mode == OpenMode::ReadOnly || !self.sql(has_others(&self.connection))? {
            return Ok(());
        }
        for table in ["windows", "logits", "vectors"] {
            let sql = format!(
                "DELETE FROM {table} WHERE id IN (SELECT id FROM {table} WHERE model IN ({OTHERS}) LIMIT 500)"
            );
            // one transaction each, so that other writers get their turn between them
            while self.write(|tx| Ok(tx.execute(&sql, [])?))? > 0 {}
        }
        self.write(|tx| {
            tx.execute(&format!("DELETE FROM models WHERE id IN ({OTHERS})"), [])?;
            mean::forget_unknown(tx)?;
            Ok(())
        })
    }
}

/// SQL for the models that are neither current nor next nor of a space, if one is current.
// `main.state`, as an entered space hides the library's own, which would delete the default's
// vectors.
const OTHERS: &str = "SELECT id FROM models WHERE id <> (SELECT model FROM main.state)
    AND id NOT IN (SELECT model FROM spaces) AND fingerprint NOT IN (SELECT value FROM settings WHERE name = 'upgrade')";

fn has_others(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row(&format!("SELECT EXISTS ({OTHERS})"), [], |row| row.get(0))
}

fn next(tx: &Transaction<'_>) -> rusqlite::Result<Option<ModelRow>> {
    tx.prepare_cached(&format!(
        "SELECT id, dimension FROM models WHERE id = {NEXT}"
    ))?
    .query_row([], ModelRow::read)
    .optional()
}

fn put_setting(tx: &Transaction<'_>, fingerprint: Option<&str>) -> rusqlite::Result<()> {
    tx.execute("DELETE FROM settings WHERE name = ?1", [SETTING])?;
    if let Some(fingerprint) = fingerprint {
        tx.execute(
            "INSERT INTO settings (name, value) VALUES (?1, ?2)",
            (SETTING, fingerprint),
        )?;
    }
    Ok(())
}
