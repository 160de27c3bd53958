//! Vector spaces: models whose vectors a library keeps beside those of its current model, by name.
//!
//! The current model's is the default space. A connection that [entered](super::SpaceTable::enter_space) another one
//! has temporary views that hide the tables `state` and `changes`: queries for the current model's vectors, counts and
//! generation then return those of the space.

use rusqlite::OptionalExtension;
use std::ops::{Deref, DerefMut};

use super::parts::SpaceTable;
use super::store::{self, ModelRow};
use super::{Library, LibraryError, OpenMode, Result, StoredModel, TrackWindows, now};
use voisin_base::track::TrackId;

/// A space and how full it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VectorSpace {
    /// Its name; a default space that was never named has its model's.
    pub name: String,
    /// The model of its vectors.
    pub model: StoredModel,
    /// Tracks with a vector in it.
    pub vectors: u64,
    /// Windows in it.
    pub windows: u64,
    /// Whether it is used if none is named.
    pub is_default: bool,
}

/// Most letters of a name.
const LONGEST_NAME: usize = 40;

/// Characters of a space's name, which is part of the file name of its index.
fn is_plain(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '-' | '_' | '.')
}

/// A valid, unused name for a space, as similar to `name` as possible: models may have any name.
fn free_name(name: &str, model: &StoredModel, others: &[VectorSpace]) -> String {
    let with_end = |end: &str| -> String {
        let room = LONGEST_NAME - end.chars().count();
        let letters = name.chars().take(room).chain(end.chars()).enumerate();
        letters
            // A leading dash would be an option on the command line.
            .map(|(at, c)| {
                if is_plain(c) && (at, c) != (0, '-') {
                    c
                } else {
                    '_'
                }
            })
            .collect()
    };
    let plain = with_end("");
    if plain.is_empty() || others.iter().any(|other| are_alike(&other.name, &plain)) {
        let short: String = model.fingerprint.chars().take(8).collect();
        with_end(&format!("-{short}"))
    } else {
        plain
    }
}

impl<L: Deref<Target = Library>> SpaceTable<L> {
    /// All spaces, the default one first, the others by name; none before the library has a model.
    #[doc(hidden)]
    pub fn all(&self) -> Result<Vec<VectorSpace>> {
        // `main.state`, as an entered space hides the library's own. Models in neither table belong
        // to an unfinished upgrade.
        let spaces = self.connection.prepare(
            "SELECT m.name, m.fingerprint, m.dimension, m.manifest, coalesce(s.name, m.name), coalesce(s.vectors, t.vectors),
             coalesce(s.windows, t.windows), m.id IS t.model
             FROM main.state t, models m LEFT JOIN spaces s ON s.model = m.id
             WHERE m.id IS t.model OR s.model IS NOT NULL ORDER BY 8 DESC, 5",
        );
        let spaces = spaces.and_then(|mut statement| {
            let space = |row: &rusqlite::Row<'_>| {
                Ok(VectorSpace {
                    name: row.get(4)?,
                    model: store::stored_model(row)?,
                    vectors: row.get::<_, i64>(5)? as u64,
                    windows: row.get::<_, i64>(6)? as u64,
                    is_default: row.get(7)?,
                })
            };
            statement.query_map([], space)?.collect()
        });
        self.sql(spaces)
    }

    /// The space of this name.
    ///
    /// # Errors
    /// [`LibraryError::NoSpace`] where there is none.
    #[doc(hidden)]
    pub fn space_named(&self, name: &str) -> Result<VectorSpace> {
        let spaces = self.all()?;
        if let Some(space) = spaces.iter().find(|space| space.name == name) {
            return Ok(space.clone());
        }
        Err(LibraryError::NoSpace {
            name: name.chars().take(LONGEST_NAME).collect(),
            known: spaces.into_iter().map(|space| space.name).collect(),
        })
    }

    /// The name of the space that this connection entered; `None` for the default one.
    #[doc(hidden)]
    pub fn entered_space(&self) -> Option<&str> {
        self.entered.as_ref().map(|(_, name)| name.as_str())
    }

    /// Tracks that have no vector of the model with this fingerprint, ascending.
    #[doc(hidden)]
    pub fn tracks_without_vector(&self, fingerprint: &str) -> Result<Vec<TrackId>> {
        let sql =
            "SELECT id FROM audio WHERE NOT EXISTS (SELECT 1 FROM vectors WHERE track = audio.id
            AND model = (SELECT id FROM models WHERE fingerprint = ?1)) ORDER BY id";
        let ids = self.connection.prepare(sql).and_then(|mut statement| {
            statement
                .query_map([fingerprint], |row| row.get(0).map(TrackId))?
                .collect::<rusqlite::Result<_>>()
        });
        self.sql(ids)
    }
}

impl<L: DerefMut<Target = Library>> SpaceTable<L> {
    /// Switches this connection to the space of this name. It can add no tracks then.
    ///
    /// # Errors
    /// [`LibraryError::NoSpace`] where there is none.
    #[doc(hidden)]
    pub fn enter_space(&mut self, name: &str) -> Result<()> {
        let space = self.space_named(name)?;
        // The default needs no views. A connection enters a space once.
        if !space.is_default && self.entered.is_none() {
            let id = self.row(
                "SELECT id FROM models WHERE fingerprint = ?1",
                [&space.model.fingerprint],
                |row| row.get(0),
            );
            self.entered = Some((self.sql(id)?, space.name));
            self.sql(self.hide_default_space())?;
        }
        Ok(())
    }

    /// Begins or continues a space of a model's vectors.
    ///
    /// # Errors
    /// [`LibraryError::SpaceName`] for an invalid name; [`LibraryError::SpaceTaken`] if a space has this name (ignoring
    /// case) and another model, or this model and another name; [`LibraryError::NoModel`] if the library has no vectors
    /// yet.
    #[doc(hidden)]
    pub fn begin_space(&mut self, name: &str, model: &StoredModel) -> Result<()> {
        if name.is_empty()
            // It would be an option on the command line.
            || name.starts_with('-')
            || name.chars().count() > LONGEST_NAME
            || !name.chars().all(is_plain)
        {
            return Err(LibraryError::SpaceName {
                name: name.chars().take(LONGEST_NAME).collect(),
            });
        }
        let spaces = self.all()?;
        if spaces.is_empty() {
            return Err(LibraryError::NoModel);
        }
        // A space with both the same name and model is continued; only one of them is a conflict.
        let is_same_model = |space: &VectorSpace| space.model.fingerprint == model.fingerprint;
        let is_this = |space: &VectorSpace| space.name == name && is_same_model(space);
        let goes_on = spaces
            .iter()
            .any(|space| is_this(space) && !space.is_default);
        let taken = spaces
            .iter()
            .find(|space| is_same_model(space) || are_alike(&space.name, name));
        if let Some(space) = taken.filter(|_| !goes_on) {
            return Err(LibraryError::SpaceTaken {
                name: space.name.clone(),
                model: space.model.name.clone(),
            });
        }
        self.write(|tx| {
            store::put_model(tx, model)?;
            tx.execute(
                "INSERT INTO spaces (model, name, created_at) SELECT id, ?2, ?3 FROM models WHERE fingerprint = ?1
                 ON CONFLICT DO NOTHING",
                (&model.fingerprint, name, now()),
            )?;
            Ok(())
        })
    }

    /// Stores a track's vectors of a model that is not the current one; nothing if the track was removed
    /// meanwhile.
    ///
    /// # Errors
    /// [`LibraryError::NoUpgrade`] if the model is no longer that of a space or an upgrade.
    #[doc(hidden)]
    pub fn put_other_vectors(
        &mut self,
        fingerprint: &str,
        track: TrackId,
        vector: &[f32],
        windows: &TrackWindows,
    ) -> Result<()> {
        self.write(|tx| {
            let model = tx
                .prepare_cached(
                    "SELECT id, dimension FROM models WHERE fingerprint = ?1 AND (id IN (SELECT model FROM spaces)
                     OR fingerprint IN (SELECT value FROM settings WHERE name = 'upgrade'))",
                )?
                .query_row([fingerprint], ModelRow::read)
                .optional()?
                .ok_or(LibraryError::NoUpgrade)?;
            // Checked before the track is looked for: a bad vector is a fault in any case.
            store::check_vectors(Some(model), vector, windows)?;
            let known: bool = tx
                .prepare_cached("SELECT EXISTS (SELECT 1 FROM audio WHERE id = ?1)")?
                .query_row([track.0], |row| row.get(0))?;
            if known {
                store::put_vectors(tx, model, track, vector, windows)?;
            }
            Ok(())
        })
    }

    /// Makes a space the default one, in one transaction, if every track has a vector there; else nothing changes. The
    /// former default stays as a space. Returns the number of tracks without a vector.
    ///
    /// The caller must hold the [writer's lock](Library::lock_for_writing), since `add` makes vectors of the default.
    ///
    /// - `leave_out`: switch even if tracks lack a vector
    ///
    /// # Errors
    /// [`LibraryError::NoSpace`] where there is none of this name.
    #[doc(hidden)]
    pub fn set_default_space(&mut self, name: &str, leave_out: bool) -> Result<u64> {
        let space = self.space_named(name)?;
        let fingerprint = space.model.fingerprint;
        // Outside of the transaction: the writer's lock keeps others from adding tracks.
        let missing = self.tracks_without_vector(&fingerprint)?.len() as u64;
        if space.is_default || missing > 0 && !leave_out {
            return Ok(missing);
        }
        let (former, others): (Vec<_>, Vec<_>) =
            self.all()?.into_iter().partition(|one| one.is_default);
        self.write(|tx| {
            for space in &former {
                tx.execute(
                    // A former space keeps its name.
                    "INSERT INTO spaces (model, name, created_at, generation)
                     SELECT t.model, ?1, ?2, t.generation FROM state t WHERE t.model NOT IN (SELECT model FROM spaces)",
                    (free_name(&space.name, &space.model, &others), now()),
                )?;
            }
            tx.execute(
                // A trigger of the schema sets generation and counts to those of the other model.
                "UPDATE state SET model = (SELECT id FROM models WHERE fingerprint = ?1)",
                [&fingerprint],
            )?;
            tx.execute(
                // An upgrade to this model is complete with this.
                "DELETE FROM settings WHERE name = 'upgrade' AND value = ?1",
                [&fingerprint],
            )?;
            Ok(missing)
        })
    }

    /// Removes a space with its vectors and windows and frees their disk space. Returns how many tracks had a vector
    /// there, and whether the database could be shrunk.
    ///
    /// # Errors
    /// [`LibraryError::NoSpace`] where there is none of this name, [`LibraryError::DefaultSpace`] if it is the default.
    #[doc(hidden)]
    pub fn remove_space(&mut self, name: &str) -> Result<(u64, bool)> {
        // remains of a removal that was killed
        self.upgrades_mut().forget_other_models()?;
        let space = self.space_named(name)?;
        if space.is_default {
            return Err(LibraryError::DefaultSpace {
                name: name.to_owned(),
            });
        }
        self.write(|tx| Ok(tx.execute("DELETE FROM spaces WHERE name = ?1", [name])?))?;
        self.upgrades_mut().forget_other_models()?;
        // `VACUUM` needs as much disk space again and fails on a lock; free pages are then reused later.
        let shrunk = self
            .connection
            .execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE)")
            .is_ok();
        Ok((space.vectors, shrunk))
    }
}

impl Library {
    /// Creates the views of the entered space.
    pub(super) fn hide_default_space(&self) -> rusqlite::Result<()> {
        let Some((model, _)) = self.entered else {
            return Ok(());
        };
        // The model's number is an integer from the database, so nothing needs to be quoted.
        self.connection.execute_batch(&format!(
            "CREATE TEMP VIEW state AS SELECT t.id, t.library_id, s.generation, t.tracks, t.files, s.vectors, s.windows,
                 t.failures, s.model, t.metadata FROM main.state t, main.spaces s WHERE s.model = {model};
             CREATE TEMP VIEW changes AS SELECT generation, track, change FROM main.space_changes
                 WHERE space = {model};
             CREATE TEMP TRIGGER space_generation INSTEAD OF UPDATE OF generation ON temp.state BEGIN
                 UPDATE spaces SET generation = new.generation WHERE model = {model};
             END;
             CREATE TEMP TRIGGER space_change INSTEAD OF INSERT ON temp.changes BEGIN
                 INSERT INTO space_changes VALUES ({model}, new.generation, new.track, new.change);
             END;
             CREATE TEMP TRIGGER space_track BEFORE INSERT ON main.audio BEGIN
                 SELECT RAISE(ABORT, 'tracks are added in the default space');
             END;"
        ))
    }

    /// Opens a library in the space of this name, or the default one, for writing if possible.
    #[doc(hidden)]
    pub fn open_to_write_if_possible(dir: &std::path::Path, space: Option<&str>) -> Result<Self> {
        match Self::open_in_space(dir, OpenMode::ReadWrite, space) {
            // Queries need no write; a new index is then kept in memory alone.
            Err(LibraryError::ReadOnly { .. } | LibraryError::DiskFull { .. }) => {
                Self::open_in_space(dir, OpenMode::ReadOnly, space)
            }
            opened => opened,
        }
    }

    /// Opens a library in the space of this name; `None`: in the default one.
    #[doc(hidden)]
    pub fn open_in_space(
        dir: &std::path::Path,
        mode: OpenMode,
        space: Option<&str>,
    ) -> Result<Self> {
        let mut library = Self::open(dir, mode)?;
        if let Some(space) = space {
            library.spaces_mut().enter_space(space)?;
        }
        Ok(library)
    }
}

/// Whether two names are equal on file systems that ignore case: a space's index is a file of its name.
fn are_alike(a: &str, b: &str) -> bool {
    a.to_lowercase() == b.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, library as open, track};
    use std::path::Path;

    fn model(name: &str) -> StoredModel {
        StoredModel {
            name: name.into(),
            fingerprint: format!("fingerprint-of-{name}"),
            ..testing::model(2)
        }
    }

    /// Three tracks of a model of four numbers, and a space "words" of two numbers for the first two.
    fn two_spaces(dir: &Path) -> (Library, Vec<TrackId>) {
        let mut library = open(dir, 4);
        let ids: Vec<TrackId> = (1..=3)
            .map(|seed| {
                let new = track(seed, vec![0.5; 4], 2);
                library.insert_track(&new).unwrap()
            })
            .collect();
        library
            .spaces_mut()
            .begin_space("words", &model("clap"))
            .unwrap();
        for (&id, vector) in ids.iter().zip([[0.6, 0.8], [0.8, 0.6]]) {
            put(&mut library, id, vector);
        }
        (library, ids)
    }

    fn put(library: &mut Library, id: TrackId, vector: [f32; 2]) {
        let new = track(0, vector.to_vec(), 3);
        library
            .spaces_mut()
            .put_other_vectors("fingerprint-of-clap", id, &new.vector, &new.windows)
            .unwrap();
    }

    fn names(library: &Library) -> Vec<(String, u64, bool)> {
        let spaces = library.spaces().all().unwrap().into_iter();
        spaces
            .map(|space| (space.name, space.vectors, space.is_default))
            .collect()
    }

    #[test]
    fn a_connection_that_entered_a_space_answers_from_it() {
        let dir = tempfile::tempdir().unwrap();
        let (mut library, ids) = two_spaces(dir.path());
        let generation = library.changes().generation().unwrap();
        for mode in [OpenMode::ReadOnly, OpenMode::ReadWrite] {
            let mut inside = Library::open_in_space(dir.path(), mode, Some("words")).unwrap();
            assert_eq!(inside.spaces().entered_space(), Some("words"));
            assert_eq!(inside.model().unwrap(), Some(model("clap")));
            let vectors = inside.vectors().unwrap();
            assert_eq!((&vectors.ids[..], vectors.generation), (&ids[..2], 2));
            assert_eq!(vectors.values, ndarray::array![[0.6, 0.8], [0.8, 0.6]]);
            assert_eq!(inside.vector(ids[2]).unwrap(), None);
            assert_eq!(inside.windows(ids[0]).unwrap().unwrap().starts.len(), 3);
            let status = inside.status().unwrap();
            assert_eq!((status.tracks, status.vectors, status.windows), (3, 2, 6));
            assert_eq!(
                inside.changes().changes_since(1).unwrap().unwrap().added,
                ids[1..2]
            );
            assert_eq!(inside.track(ids[2]).unwrap().id, ids[2]);
            let refused = inside.insert_track(&track(9, vec![0.6, 0.8], 1));
            assert!(refused.is_err(), "tracks belong to the default space");
        }
        // Changes by other connections are visible, with this space's generations.
        let inside = Library::open_in_space(dir.path(), OpenMode::ReadOnly, Some("words")).unwrap();
        put(&mut library, ids[0], [0.0, 1.0]);
        let changes = inside.changes().changes_since(2).unwrap().unwrap();
        assert_eq!((changes.generation, changes.added), (3, vec![ids[0]]));
        library.remove_tracks(&ids[1..2]).unwrap();
        let changes = inside.changes().changes_since(3).unwrap().unwrap();
        assert_eq!((changes.generation, changes.removed), (4, vec![ids[1]]));
        assert_eq!(library.changes().generation().unwrap(), generation + 1);
        assert_eq!(
            names(&library),
            [("m".into(), 2, true), ("words".into(), 1, false)]
        );
        assert_eq!(library.check().unwrap().findings, vec![]);
    }

    #[test]
    fn the_mean_of_a_space_is_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let (library, ids) = two_spaces(dir.path());
        let generation = library.changes().generation().unwrap();
        let mut inside =
            Library::open_in_space(dir.path(), OpenMode::ReadWrite, Some("words")).unwrap();
        let mean = crate::StoredMean {
            values: vec![0.1, 0.2],
            tracks: 2,
            generation: 2,
            is_fixed: false,
        };
        assert_eq!(inside.derived_mut().set_mean(&mean).unwrap(), 3);
        assert_eq!(inside.derived().mean().unwrap(), Some(mean));
        assert_eq!(inside.changes().generation().unwrap(), 3);
        assert_eq!(
            inside.changes().changes_since(0).unwrap().unwrap().added,
            ids[..2]
        );
        assert_eq!(
            (
                library.derived().mean().unwrap(),
                library.changes().generation().unwrap()
            ),
            (None, generation)
        );
        // the views outlive a change of `temp_store`
        inside.keep_statements_in_memory().unwrap();
        assert_eq!(inside.changes().generation().unwrap(), 3);
    }

    #[test]
    fn another_default_keeps_the_former_one_as_a_space() {
        let dir = tempfile::tempdir().unwrap();
        let (mut library, ids) = two_spaces(dir.path());
        assert_eq!(
            library
                .spaces_mut()
                .set_default_space("words", false)
                .unwrap(),
            1
        );
        assert_eq!(library.model().unwrap(), Some(testing::model(4)));
        put(&mut library, ids[2], [1.0, 0.0]);
        let generation = library.changes().generation().unwrap();
        assert_eq!(
            library
                .spaces_mut()
                .set_default_space("words", false)
                .unwrap(),
            0
        );
        assert_eq!(library.model().unwrap(), Some(model("clap")));
        assert_eq!(library.changes().changes_since(generation).unwrap(), None);
        assert_eq!(
            names(&library),
            [("words".into(), 3, true), ("m".into(), 3, false)]
        );
        library.upgrades_mut().forget_other_models().unwrap();
        let former = Library::open_in_space(dir.path(), OpenMode::ReadOnly, Some("m")).unwrap();
        assert_eq!(former.vector(ids[0]).unwrap().unwrap(), vec![0.5; 4]);
        drop(former);
        assert!(matches!(
            library.spaces_mut().remove_space("words"),
            Err(LibraryError::DefaultSpace { .. })
        ));
        assert_eq!(
            library.spaces_mut().set_default_space("m", false).unwrap(),
            0
        );
        assert_eq!(
            names(&library),
            [("m".into(), 3, true), ("words".into(), 3, false)]
        );
        assert_eq!(library.check().unwrap().findings, vec![]);
        // An upgrade removes the former model.
        library
            .upgrades_mut()
            .begin_upgrade(&model("next"))
            .unwrap();
        assert_eq!(library.upgrades_mut().finish_upgrade(true).unwrap(), 3);
        library.upgrades_mut().forget_other_models().unwrap();
        assert_eq!(
            names(&library),
            [("next".into(), 0, true), ("words".into(), 3, false)]
        );
    }

    #[test]
    fn names_and_models_of_spaces_are_each_their_own() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(
            Library::open(dir.path(), OpenMode::Create)
                .unwrap()
                .spaces_mut()
                .begin_space("words", &model("clap")),
            Err(LibraryError::NoModel)
        ));
        let (mut library, _) = two_spaces(dir.path());
        library
            .spaces_mut()
            .begin_space("words", &model("clap"))
            .unwrap();
        for (name, other) in [
            ("words", model("other")),
            ("more", model("clap")),
            ("m", model("other")),
            ("more", testing::model(4)),
            ("m", testing::model(4)),
            ("Words", model("other")),
            ("Words", model("clap")),
        ] {
            let refused = library.spaces_mut().begin_space(name, &other);
            assert!(
                matches!(refused, Err(LibraryError::SpaceTaken { .. })),
                "{name} {refused:?}"
            );
        }
        for name in ["", "a,b", "-x", "two words", "../up", &"x".repeat(41)] {
            let refused = library.spaces_mut().begin_space(name, &model("other"));
            assert!(
                matches!(refused, Err(LibraryError::SpaceName { .. })),
                "{name}"
            );
        }
        let missing = library.spaces().space_named("wrods").unwrap_err();
        assert_eq!(
            missing.to_string(),
            "no space \"wrods\": expected one of m, words"
        );
    }

    #[test]
    fn a_removed_space_gives_its_bytes_back_and_takes_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let (mut library, ids) = two_spaces(dir.path());
        for seed in 10..400 {
            let id = library.insert_track(&track(seed, vec![0.5; 4], 0)).unwrap();
            let new = track(seed, vec![0.6, 0.8], 500);
            library
                .spaces_mut()
                .put_other_vectors("fingerprint-of-clap", id, &new.vector, &new.windows)
                .unwrap();
        }
        let bytes = library.status().unwrap().bytes;
        assert_eq!(
            library.spaces_mut().remove_space("words").unwrap(),
            (392, true)
        );
        let status = library.status().unwrap();
        assert!(status.bytes < bytes / 3, "{} of {bytes}", status.bytes);
        assert_eq!(
            (status.tracks, status.vectors, status.windows),
            (393, 393, 6)
        );
        assert_eq!(library.vector(ids[1]).unwrap().unwrap(), vec![0.5; 4]);
        assert_eq!(names(&library), [("m".into(), 393, true)]);
        assert_eq!(library.check().unwrap().findings, vec![]);
        let late = track(0, vec![0.6, 0.8], 1);
        let late = library.spaces_mut().put_other_vectors(
            "fingerprint-of-clap",
            ids[0],
            &late.vector,
            &late.windows,
        );
        assert!(matches!(late, Err(LibraryError::NoUpgrade)));
    }

    #[test]
    fn an_entered_space_leaves_the_default_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (library, ids) = two_spaces(dir.path());
        let mut inside =
            Library::open_in_space(dir.path(), OpenMode::ReadWrite, Some("words")).unwrap();
        inside.upgrades_mut().forget_other_models().unwrap();
        assert!(!inside.upgrades_mut().abandon_upgrade().unwrap());
        assert_eq!(library.vector(ids[0]).unwrap().unwrap(), vec![0.5; 4]);
        assert_eq!(
            names(&library),
            [("m".into(), 3, true), ("words".into(), 2, false)]
        );
    }
}
