//! Recordings with everything stored about them, for transfer from one library to another.

use std::collections::HashSet;

use rusqlite::{OptionalExtension, Transaction, params};
use serde::{Deserialize, Serialize};

use super::{
    AudioFacts, Descriptors, Failure, FileRecord, Library, LibraryError, Result, Track, TrackTags,
    WorkError, descriptors, failures, paths, read, scales, store,
};
use voisin_base::text::{LONGEST_TEXT, grouped};
use voisin_base::track::TrackId;

#[derive(Debug, Clone, PartialEq)]
pub struct TrackRecord {
    pub facts: TrackFacts,
    /// The pooled vector, of unit norm.
    pub vector: Vec<f32>,
    /// Logits of the model's tags and outputs, in their order; empty if it has none.
    pub logits: Vec<f32>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrackFacts {
    pub audio: AudioFacts,
    /// When it was added, in seconds since 1970 UTC.
    pub added_at: i64,
    /// Its files, the oldest entry first.
    pub files: Vec<TaggedFile>,
    pub descriptors: Option<Descriptors>,
    /// The genre given by hand.
    pub label: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaggedFile {
    pub record: FileRecord,
    pub tags: TrackTags,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct MergeOutcome {
    pub added: u64,
    /// Known recordings that gained a file, vectors, a label or measurements, or whose vectors or tags were replaced.
    pub updated: u64,
    pub unchanged: u64,
    /// Recordings left out, because their vectors are damaged, their texts too long or their numbers out of range, or
    /// because each of their paths belongs to other audio here; new files become failures.
    pub refused: u64,
    /// Why the first of those was refused.
    #[serde(skip)]
    pub refusal: Option<String>,
}

impl MergeOutcome {
    pub fn refuse(&mut self, reason: impl FnOnce() -> String) {
        self.refused += 1;
        self.refusal.get_or_insert_with(reason);
    }
}

impl std::ops::AddAssign for MergeOutcome {
    fn add_assign(&mut self, other: Self) {
        self.added += other.added;
        self.updated += other.updated;
        self.unchanged += other.unchanged;
        self.refused += other.refused;
        // Only the first reason is shown, with the number of the others.
        self.refusal = self.refusal.take().or(other.refusal);
    }
}

impl Library {
    /// The id of this library, which identifies it to others; a copy has the same.
    pub fn identity(&self) -> Result<String> {
        self.query_one("SELECT library_id FROM state", [], |row| row.get(0))
    }

    /// All data of a track but its vector.
    pub fn facts(&self, id: TrackId) -> Result<TrackFacts> {
        let track = self.track(id)?;
        let descriptors = self.descriptors(&[id])?.remove(&id);
        let sql = "SELECT genre FROM labels WHERE content = ?1";
        let label = self.query_opt(sql, [track.audio.content.0], |row| row.get(0))?;
        let Track {
            audio,
            added_at,
            files,
            tags,
            path,
            ..
        } = track;
        let mut tagged = Vec::with_capacity(files.len().max(1));
        // A track already holds its first file's tags.
        for (i, file) in files.into_iter().enumerate() {
            let tags = if i == 0 {
                tags.clone()
            } else {
                self.tags_of_file(&file.record.path)?
            };
            tagged.push(TaggedFile {
                record: file.record,
                tags,
            });
        }
        // A track without a file during a run keeps its last path; a record without any file could
        // not be imported.
        if tagged.is_empty() {
            let record = FileRecord {
                path,
                size: 0,
                mtime_ns: 0,
            };
            tagged.push(TaggedFile { record, tags });
        }
        Ok(TrackFacts {
            audio,
            added_at,
            files: tagged,
            descriptors,
            label,
        })
    }

    /// A track with all its data; `None` if it has no vector.
    pub fn record(&self, id: TrackId) -> Result<Option<TrackRecord>> {
        let Some(vector) = self.vector(id)? else {
            return Ok(None);
        };
        let logits = self.logits(Some(&[id]))?.pop();
        Ok(Some(TrackRecord {
            facts: self.facts(id)?,
            vector,
            logits: logits.map_or_else(Vec::new, |(_, logits)| logits),
        }))
    }

    /// Imports recordings of another library: new ones as they are, with this id if one is given; of known ones only
    /// what is missing here. Existing data stays. Each call is one transaction.
    pub fn take_in(&mut self, records: &[(Option<TrackId>, TrackRecord)]) -> Result<MergeOutcome> {
        self.take_in_over(records, false)
    }

    /// - `replaces`: whether known recordings get the vectors and tags of their record
    fn take_in_over(
        &mut self,
        records: &[(Option<TrackId>, TrackRecord)],
        replaces: bool,
    ) -> Result<MergeOutcome> {
        self.write(|tx| {
            let mut taken = MergeOutcome::default();
            for (id, record) in records {
                let checked = record.check().map_err(WorkError::Refused);
                match checked.and_then(|()| take_in(tx, *id, record, replaces)) {
                    Ok(counted) => taken += counted,
                    // A fault of this library ends the import; anything else is a fault of one record.
                    Err(error @ WorkError::Sql(_)) => return Err(error),
                    Err(WorkError::Refused(error)) => {
                        taken.refuse(|| record.refusal(&error));
                        failures::put_failures(tx, &record.failures(&error))?;
                    }
                }
            }
            Ok(taken)
        })
    }
}

/// Characters of a path that a message shows.
const MOST_OF_A_PATH: usize = 4096;

impl TrackRecord {
    /// Refuses texts longer than any in tags, invalid paths, and a length that is no number.
    fn check(&self) -> Result<()> {
        let refused = |problem: String| {
            Err(LibraryError::Refused(format!(
                "{problem}: analyse the file again with \"voisin add\""
            )))
        };
        let facts = &self.facts;
        for file in &facts.files {
            paths::check(&file.record.path)?;
        }
        let longest = facts
            .files
            .iter()
            .flat_map(TaggedFile::texts)
            .chain([&facts.audio.container, &facts.audio.codec].map(String::len))
            .chain(facts.label.as_ref().map(String::len))
            .max();
        if let Some(found) = longest.filter(|found| *found > LONGEST_TEXT) {
            return refused(format!(
                "a text of its tags has {} bytes, expected at most {}",
                grouped(found as u64),
                grouped(LONGEST_TEXT as u64)
            ));
        }
        let seconds = facts.audio.seconds;
        if !seconds.is_finite() {
            return refused(format!(
                "its length in seconds is {seconds}, expected a number"
            ));
        }
        Ok(())
    }

    /// Why it was left out, for messages.
    fn refusal(&self, error: &LibraryError) -> String {
        let path = self
            .facts
            .files
            .first()
            .map(|file| file.record.path.to_string_lossy())
            .unwrap_or_default();
        format!(
            "{}: {error}",
            path.chars().take(MOST_OF_A_PATH).collect::<String>()
        )
    }

    fn failures(&self, error: &LibraryError) -> Vec<Failure> {
        let paths = self.facts.files.iter().map(|file| file.record.path.clone());
        paths
            .map(|path| Failure::refused(path, error.to_string()))
            .collect()
    }

    /// Its approximate size in memory (bytes).
    fn size(&self) -> usize {
        let texts: usize = self.facts.files.iter().flat_map(TaggedFile::texts).sum();
        // f32, and an estimate of the structures themselves.
        4 * (self.vector.len() + self.logits.len()) + texts + 1000
    }
}

impl TaggedFile {
    /// Bytes of each of its texts; of all genres together, with the overhead of each.
    fn texts(&self) -> impl Iterator<Item = usize> {
        let tags = &self.tags;
        let texts = [
            &tags.title,
            &tags.artist,
            &tags.album,
            &tags.album_artist,
            &tags.composer,
            &tags.mbid,
            &tags.isrc,
            &tags.licence,
            &tags.musical_key,
        ];
        let genres = tags
            .genres
            .iter()
            .map(|genre| genre.len() + size_of::<String>())
            .sum();
        let path = self.record.path.as_os_str().len();
        texts
            .map(|text| text.as_ref().map_or(0, String::len))
            .into_iter()
            .chain([genres, path])
    }
}

/// Imports recordings by the thousand, in few large transactions.
///
/// Content ids and paths are spread over the database's indexes: each transaction writes nearly every page of
/// these, twice, and a page that does not stay in memory is written again for each row.
pub struct Intake<'a> {
    library: &'a mut Library,
    waiting: Vec<(Option<TrackId>, TrackRecord)>,
    /// Size of the pending records.
    bytes: usize,
    replaces: bool,
    /// The outcome so far.
    pub taken: MergeOutcome,
}

impl<'a> Intake<'a> {
    /// Bytes of a transaction: some 20 000 tracks.
    const TRANSACTION: usize = 64 << 20;
    /// KiB of pages that stay in memory: the indexes of a million tracks.
    const PAGES: u32 = 256 << 10;

    pub fn new(library: &'a mut Library) -> Result<Self> {
        library.limit_page_cache(Self::PAGES)?;
        library.keep_statements_in_memory()?;
        Ok(Self {
            library,
            waiting: Vec::new(),
            bytes: 0,
            replaces: false,
            taken: MergeOutcome::default(),
        })
    }

    /// Lets the records replace vectors and tags of known recordings, for a table whose rows are newer than those imported
    /// before.
    pub fn replace_known(&mut self) {
        self.replaces = true;
    }

    /// Imports one track; it is committed with others once enough are pending.
    pub fn add(&mut self, record: TrackRecord) -> Result<()> {
        self.bytes += record.size();
        self.waiting.push((None, record));
        if self.bytes >= Self::TRANSACTION {
            self.write()
        } else {
            Ok(())
        }
    }

    fn write(&mut self) -> Result<()> {
        self.taken += self.library.take_in_over(&self.waiting, self.replaces)?;
        self.waiting.clear();
        self.bytes = 0;
        Ok(())
    }

    /// Writes the remaining records; returns the outcome of all.
    pub fn finish(mut self) -> Result<MergeOutcome> {
        self.write()?;
        Ok(self.taken)
    }
}

/// Stores the measurements that a track lacks here; returns whether there are any.
fn take_in_measured(
    tx: &Transaction<'_>,
    track: i64,
    measured: &Descriptors,
) -> rusqlite::Result<bool> {
    let is_measured: bool = tx
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM descriptors WHERE track = ?1)")?
        .query_row([track], |row| row.get(0))?;
    let known = scales::of(tx, TrackId(track))?;
    let mut new = measured.clone();
    new.scales
        .retain(|scale, held| !known.contains_key(scale) && (0.0..=100.0).contains(&held.value));
    // Version 0 stores the scales alone: what was measured here stays.
    if is_measured {
        new.version = 0;
    }
    let is_new = new.version > 0 || !new.scales.is_empty();
    if is_new {
        descriptors::put(tx, TrackId(track), &new)?;
    }
    Ok(is_new)
}

/// Whether a track has a vector; if one is given, whether it is that one.
fn has_vector(tx: &Transaction<'_>, track: i64, vector: Option<&[u8]>) -> rusqlite::Result<bool> {
    let sql = "SELECT vector FROM vectors WHERE track = ?1";
    let is_held = |row: &rusqlite::Row<'_>| {
        let Some(vector) = vector else {
            return Ok(true);
        };
        Ok(row.get_ref(0)?.as_blob()? == vector)
    };
    let held = tx.prepare_cached(sql)?.query_row([track], is_held);
    Ok(held.optional()?.unwrap_or(false))
}

/// Replaces the tags of a file that belongs to this track, if they differ.
fn replace_tags(tx: &Transaction<'_>, track: i64, file: &TaggedFile) -> Result<bool, WorkError> {
    let path = paths::to_bytes(&file.record.path)?;
    let is_of_track: bool = tx
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM files WHERE path = ?1 AND track = ?2)")?
        .query_row((path, track), |row| row.get(0))?;
    if !is_of_track || read::tags_of_path(tx, path)?.as_ref() == Some(&file.tags) {
        return Ok(false);
    }
    store::put_file(tx, TrackId(track), path, &file.record, &file.tags)?;
    Ok(true)
}

/// Imports one recording, which is checked before anything is written.
#[expect(clippy::too_many_lines, reason = "one sequence of steps")]
fn take_in(
    tx: &Transaction<'_>,
    id: Option<TrackId>,
    record: &TrackRecord,
    replaces: bool,
) -> Result<MergeOutcome, WorkError> {
    store::check_vector(tx, &record.vector, &record.logits)?;
    let TrackFacts {
        audio,
        added_at,
        files,
        descriptors,
        label,
    } = &record.facts;
    let known: Option<i64> = tx
        .prepare_cached("SELECT id FROM audio WHERE content = ?1")?
        .query_row([&audio.content.0[..]], |row| row.get(0))
        .optional()?;
    // A path that is known here keeps its track.
    let mut new_files = Vec::new();
    let mut seen = HashSet::new();
    for file in files {
        let Ok(path) = paths::to_bytes(&file.record.path) else {
            continue;
        };
        let taken: bool = tx
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM files WHERE path = ?1)")?
            .query_row([path], |row| row.get(0))?;
        // A record may contain a path twice, which the database would refuse.
        if !taken && seen.insert(path) {
            new_files.push((path, file));
        }
    }
    let mut changed = !new_files.is_empty();
    let track = if let Some(track) = known {
        let vector = replaces.then(|| store::f32_bytes(&record.vector));
        if !has_vector(tx, track, vector.as_deref())? {
            store::put_vector(tx, TrackId(track), &record.vector, &record.logits)?;
            changed = true;
        }
        track
    } else {
        // Every path of a new recording belongs to other audio here.
        let Some((path, _)) = new_files.first() else {
            let problem = "this library has other audio under its path";
            return Err(LibraryError::Refused(problem.to_owned()).into());
        };
        let track = store::insert_audio(tx, id, audio, *added_at, path)?.0;
        store::put_vector(tx, TrackId(track), &record.vector, &record.logits)?;
        track
    };
    if replaces {
        // Tags that a record lacks are not unset.
        for file in files
            .iter()
            .filter(|file| file.tags != TrackTags::default())
        {
            changed |= replace_tags(tx, track, file)?;
        }
    }
    for (path, file) in new_files {
        store::put_file(tx, TrackId(track), path, &file.record, &file.tags)?;
    }
    if let Some(measured) = descriptors {
        changed |= take_in_measured(tx, track, measured)?;
    }
    if let Some(label) = label {
        // IGNORE: a label given by hand here is not replaced by one of the other library.
        let added = tx
            .prepare_cached(
                "INSERT OR IGNORE INTO labels (content, genre, set_at) VALUES (?1, ?2, ?3)",
            )?
            .execute(params![&audio.content.0[..], label, super::now()])?;
        changed |= added > 0;
    }
    Ok(MergeOutcome {
        added: known.is_none().into(),
        updated: (known.is_some() && changed).into(),
        unchanged: (known.is_some() && !changed).into(),
        ..MergeOutcome::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NewTrack, ScaleValue, Scales, testing};

    fn record(seed: u64, seconds: f64, energy: f64) -> TrackRecord {
        let NewTrack {
            mut audio,
            file,
            tags,
            vector,
            logits,
            ..
        } = testing::track(seed, vec![0.6, 0.8]);
        audio.seconds = seconds;
        let value = ScaleValue {
            value: energy,
            error: None,
        };
        let descriptors = Descriptors {
            scales: Scales::from([("energy".parse().unwrap(), value)]),
            ..Descriptors::default()
        };
        let facts = TrackFacts {
            audio,
            added_at: 0,
            files: vec![TaggedFile { record: file, tags }],
            descriptors: Some(descriptors),
            label: None,
        };
        TrackRecord {
            facts,
            vector,
            logits,
        }
    }

    #[test]
    fn numbers_of_no_track_refuse_their_record_alone() {
        let dir = tempfile::tempdir().unwrap();
        let mut library = testing::library(dir.path(), 2);
        let records = [
            record(1, 100.0, 100.0),
            record(2, f64::NAN, 50.0),
            record(3, f64::INFINITY, 50.0),
            record(4, 100.0, f64::NAN),
            record(5, 100.0, 100.5),
        ];
        let records = records.map(|record| (None, record));
        let taken = library.take_in(&records).unwrap();
        assert_eq!((taken.added, taken.refused), (3, 2));
        assert_eq!(
            taken.refusal.as_deref(),
            Some(
                "/m/2.ogg: its length in seconds is NaN, expected a number: analyse the file again with \"voisin add\""
            )
        );
        assert_eq!(library.failures().unwrap().len(), 2);
        let all: Vec<TrackId> = library.track_ids().unwrap();
        assert_eq!(library.scale_values(&all).unwrap().len(), 1);
    }

    #[test]
    fn a_newer_table_replaces_vectors_and_tags() {
        let dir = tempfile::tempdir().unwrap();
        let mut library = testing::library(dir.path(), 2);
        let import = |library: &mut Library, rows: &[(u64, [f32; 2], Option<&str>)]| {
            let mut intake = Intake::new(library).unwrap();
            intake.replace_known();
            for (seed, vector, title) in rows {
                let mut record = record(*seed, 100.0, 50.0);
                record.vector = vector.to_vec();
                record.facts.files[0].tags = TrackTags {
                    title: title.map(str::to_owned),
                    ..TrackTags::default()
                };
                intake.add(record).unwrap();
            }
            let taken = intake.finish().unwrap();
            [taken.added, taken.updated, taken.unchanged]
        };
        let here = |library: &Library| {
            let track = library.track(TrackId(1)).unwrap();
            (library.vector(track.id).unwrap().unwrap(), track.tags.title)
        };
        let old = [(1, [0.6, 0.8], Some("a")), (2, [0.6, 0.8], Some("b"))];
        assert_eq!(import(&mut library, &old), [2, 0, 0]);
        assert_eq!(import(&mut library, &old), [0, 0, 2]);
        assert_eq!(import(&mut library, &[(1, [0.8, 0.6], None)]), [0, 1, 0]);
        assert_eq!(here(&library), (vec![0.8, 0.6], Some("a".into())));
        assert_eq!(
            import(&mut library, &[(1, [0.8, 0.6], Some("d"))]),
            [0, 1, 0]
        );
        assert_eq!(here(&library), (vec![0.8, 0.6], Some("d".into())));
        // Other imports keep the data here.
        let other = record(1, 100.0, 50.0);
        let taken = library.take_in(&[(None, other)]).unwrap();
        assert_eq!((taken.unchanged, here(&library).0), (1, vec![0.8, 0.6]));
    }
}
