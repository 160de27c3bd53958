//! Replaces the audio of a track whose files are gone by that of another track: id and label stay.

use rusqlite::{OptionalExtension as _, Transaction};
use std::ops::{Deref, DerefMut};

use super::parts::FileTable;
use super::store::{files_of, is_gone};
use super::{Library, LibraryError, Result, checksum, paths};
use voisin_base::track::TrackId;

impl<L: Deref<Target = Library>> FileTable<L> {
    /// Whether a track has files in the library, none of which is on the disk.
    #[doc(hidden)]
    pub fn is_gone(&self, track: TrackId) -> Result<bool> {
        let files = self.sql(files_of(&self.connection, track))?;
        Ok(!files.is_empty()
            && files
                .iter()
                .all(|(_, path)| is_gone(&paths::from_bytes(path))))
    }
}

impl<L: DerefMut<Target = Library>> FileTable<L> {
    /// Moves the files, audio, vectors and measurements of the track `by` to `gone`, whose files are
    /// missing, and deletes `by`. The id and the label given by hand of `gone` stay, unless `by` has a label.
    ///
    /// # Errors
    /// One of them is unknown, or a file of `gone` is on the disk.
    #[doc(hidden)]
    pub fn take_over(&mut self, gone: TrackId, by: TrackId) -> Result<()> {
        // The disk is read before the transaction, in which others wait: it may be slow to answer.
        let lost = self.sql(files_of(&self.connection, gone))?;
        let found = lost
            .iter()
            .map(|(_, path)| paths::from_bytes(path))
            .find(|path| !is_gone(path));
        if let Some(path) = found {
            return Err(LibraryError::StillThere { path });
        }
        self.write(|tx| {
            for track in [gone, by] {
                if !is_known(tx, track)? {
                    return Err(LibraryError::UnknownTrack(track).into());
                }
            }
            // Another run may have found the track again since the disk was read.
            let files = files_of(tx, gone)?;
            if let Some((_, path)) = files.iter().find(|file| !lost.contains(file)) {
                return Err(LibraryError::StillThere { path: paths::from_bytes(path) }.into());
            }
            // The order matters: rows move while both tracks exist, and `audio`, whose deletion
            // cascades to the rest of `by`, is last.
            move_vectors(tx, gone, by)?;
            let ids = (gone.0, by.0);
            // Computed from the former windows, which were replaced above.
            tx.execute("DELETE FROM logits WHERE track = ?1", [gone.0])?;
            tx.execute("UPDATE logits SET track = ?1 WHERE track = ?2", ids)?;
            tx.execute(
                "DELETE FROM descriptors WHERE track = ?1 AND EXISTS (SELECT 1 FROM descriptors WHERE track = ?2)",
                ids,
            )?;
            tx.execute("UPDATE descriptors SET track = ?1 WHERE track = ?2", ids)?;
            tx.execute("DELETE FROM files WHERE track = ?1", [gone.0])?;
            tx.execute("UPDATE files SET track = ?1 WHERE track = ?2", ids)?;
            // A label that stays behind can be undone for the former audio.
            tx.execute(
                "UPDATE label_changes SET content = (SELECT content FROM audio WHERE id = ?2)
                 WHERE content = (SELECT content FROM audio WHERE id = ?1)
                 AND NOT EXISTS (SELECT 1 FROM audio new, labels WHERE new.id = ?2 AND labels.content = new.content)",
                ids,
            )?;
            tx.execute(
                "INSERT INTO labels (content, genre, set_at)
                 SELECT new.content, labels.genre, labels.set_at FROM audio new, audio old, labels
                 WHERE new.id = ?2 AND old.id = ?1 AND labels.content = old.content
                 ON CONFLICT (content) DO NOTHING",
                ids,
            )?;
            // Values of the new audio are kept, except where the owner set values of the old one.
            tx.execute(
                "INSERT INTO scales (content, scale, value, error, origin)
                 SELECT new.content, s.scale, s.value, s.error, s.origin FROM audio new, audio old, scales s
                 WHERE new.id = ?2 AND old.id = ?1 AND s.content = old.content
                 ON CONFLICT (content, scale) DO UPDATE SET value = excluded.value, error = excluded.error,
                 origin = excluded.origin WHERE excluded.origin = 2 AND scales.origin < 2",
                ids,
            )?;
            tx.execute(
                "DELETE FROM scales WHERE content = (SELECT content FROM audio WHERE id = ?1)",
                [gone.0],
            )?;
            move_audio(tx, gone, by)?;
            Ok(())
        })
    }
}

fn is_known(tx: &Transaction<'_>, track: TrackId) -> rusqlite::Result<bool> {
    let found = tx
        .query_row("SELECT 1 FROM audio WHERE id = ?1", [track.0], |_| Ok(()))
        .optional()?;
    Ok(found.is_some())
}

/// Moves vectors and windows of all models; their checksums contain the track's id.
fn move_vectors(tx: &Transaction<'_>, gone: TrackId, by: TrackId) -> rusqlite::Result<()> {
    let vectors: Vec<(i64, Vec<u8>)> = tx
        .prepare("SELECT model, vector FROM vectors WHERE track = ?1")?
        .query_map([by.0], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (model, vector) in vectors {
        tx.execute(
            "INSERT INTO vectors (track, model, vector, checksum) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (track, model) DO UPDATE SET vector = excluded.vector, checksum = excluded.checksum",
            (gone.0, model, &vector, checksum::of(gone.0, &[&vector])),
        )?;
    }
    let windows: Vec<(i64, i64, Vec<u8>, Vec<u8>)> = tx
        .prepare("SELECT model, count, starts, vectors FROM windows WHERE track = ?1")?
        .query_map([by.0], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        })?
        .collect::<rusqlite::Result<_>>()?;
    for (model, count, starts, vectors) in windows {
        tx.execute(
            "INSERT INTO windows (track, model, count, starts, vectors, checksum) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (track, model) DO UPDATE SET count = excluded.count, starts = excluded.starts,
             vectors = excluded.vectors, checksum = excluded.checksum",
            (gone.0, model, count, &starts, &vectors, checksum::of(gone.0, &[&starts, &vectors])),
        )?;
    }
    Ok(())
}

/// Moves the facts from decoding; the time of adding stays.
fn move_audio(tx: &Transaction<'_>, gone: TrackId, by: TrackId) -> rusqlite::Result<()> {
    let content: Vec<u8> =
        tx.query_row("SELECT content FROM audio WHERE id = ?1", [by.0], |row| {
            row.get(0)
        })?;
    // content is unique: `by` gets a random one until its row, which is still read, is deleted
    tx.execute(
        "UPDATE audio SET content = randomblob(32) WHERE id = ?1",
        [by.0],
    )?;
    let columns = "seconds, sample_rate, channels, container, codec, packets, damaged_packets, last_path, identity";
    let sql = format!(
        "UPDATE audio SET content = ?3, ({columns}) = (SELECT {columns} FROM audio WHERE id = ?2) WHERE id = ?1"
    );
    tx.execute(&sql, (gone.0, by.0, content))?;
    tx.execute("DELETE FROM audio WHERE id = ?1", [by.0])
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{library, track};
    use crate::{OpenMode, TrackTags};
    use voisin_base::vector::make_unit;

    fn vector(seed: u64) -> Vec<f32> {
        let mut vector = vec![0.1, 0.2, 0.3, seed as f32];
        make_unit(&mut vector);
        vector
    }

    #[test]
    fn the_id_and_the_label_go_on_with_the_new_audio() {
        let dir = tempfile::tempdir().unwrap();
        let mut library = library(dir.path(), 4);
        let old = track(1, vector(1), 2);
        let mut new = track(2, vector(2), 3);
        new.tags = TrackTags {
            title: Some("the same".into()),
            ..TrackTags::default()
        };
        let there = dir.path().join("new.opus");
        std::fs::write(&there, "x").unwrap();
        new.file.path.clone_from(&there);
        let gone = library.insert_track(&old).unwrap();
        library.insert_track(&track(3, vector(3), 1)).unwrap();
        let by = library.insert_track(&new).unwrap();
        let before = library.track(gone).unwrap();
        library
            .labels_mut()
            .set_labels(&[old.audio.content], Some("My genre"))
            .unwrap();
        assert!(library.files().is_gone(gone).unwrap() && !library.files().is_gone(by).unwrap());
        let generation = library.status().unwrap().generation;

        library.files_mut().take_over(gone, by).unwrap();
        let after = library.track(gone).unwrap();
        assert_eq!(
            (after.audio.content, after.added_at),
            (new.audio.content, before.added_at)
        );
        assert_eq!(
            (after.path.as_path(), after.tags.title.as_deref()),
            (there.as_path(), Some("the same"))
        );
        assert_eq!(library.vector(gone).unwrap().unwrap(), vector(2));
        assert_eq!(library.windows(gone).unwrap().unwrap().starts.len(), 3);
        assert_eq!(
            library.labels().tracks_labelled_by_hand().unwrap(),
            1,
            "that of the former audio is of no track"
        );
        assert_eq!(
            library.labels().hand_labels().unwrap()[&new.audio.content],
            "My genre"
        );
        let undone = library.labels_mut().undo_label().unwrap().unwrap();
        assert_eq!(undone.content, new.audio.content);
        assert_eq!(
            library
                .labels()
                .hand_labels()
                .unwrap()
                .get(&new.audio.content),
            None
        );
        assert!(matches!(
            library.track(by),
            Err(LibraryError::UnknownTrack(_))
        ));
        let status = library.status().unwrap();
        assert_eq!((status.tracks, status.files, status.vectors), (2, 2, 2));
        assert!(status.generation > generation, "an index has to follow");
        assert_eq!(library.check(true).unwrap().findings, vec![]);
        drop(library);
        let library = Library::open(dir.path(), OpenMode::ReadOnly).unwrap();
        assert_eq!(
            library.files().find_by_content(&new.audio.content).unwrap(),
            Some(gone)
        );
    }

    #[test]
    fn existing_files_are_not_taken_over_and_an_own_label_stays() {
        let dir = tempfile::tempdir().unwrap();
        let mut library = library(dir.path(), 4);
        let mut old = track(1, vector(1), 0);
        old.file.path = dir.path().join("old.mp3");
        std::fs::write(&old.file.path, "x").unwrap();
        let gone = library.insert_track(&old).unwrap();
        let new = track(2, vector(2), 0);
        let by = library.insert_track(&new).unwrap();
        let refused = library.files_mut().take_over(gone, by).unwrap_err();
        assert!(
            matches!(&refused, LibraryError::StillThere { path } if *path == old.file.path),
            "{refused}"
        );
        assert_eq!(library.track(by).unwrap().audio.content, new.audio.content);
        std::fs::remove_file(&old.file.path).unwrap();
        assert!(matches!(
            library.files_mut().take_over(gone, TrackId(99)),
            Err(LibraryError::UnknownTrack(TrackId(99)))
        ));
        assert_eq!(
            library.track(gone).unwrap().audio.content,
            old.audio.content
        );
        library
            .labels_mut()
            .set_labels(&[old.audio.content], Some("A"))
            .unwrap();
        library
            .labels_mut()
            .set_labels(&[new.audio.content], Some("B"))
            .unwrap();
        library.files_mut().take_over(gone, by).unwrap();
        assert_eq!(
            library.labels().hand_labels().unwrap()[&new.audio.content],
            "B"
        );
        let mut undo = || library.labels_mut().undo_label().unwrap().unwrap().content;
        assert_eq!(undo(), new.audio.content);
        assert_eq!(undo(), old.audio.content, "its label stayed behind");
    }
}
