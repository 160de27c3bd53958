//! Reopens a stored path and checks that it still holds the recording that was analysed there, before it is read,
//! served or written to.
//!
//! The file may have been replaced, also by a link, and a library may come from somebody else. Size and modification
//! time are compared on the open descriptor, and the time of the last change, which programs cannot set, with that of
//! the last scan; if they differ, tags may have been edited, and the digest of the audio decides. A file that no decoder
//! reads is refused in any case.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use voisin_base::regular_file::{changed_at, mtime_ns};
use voisin_base::track::ContentId;

use super::AudioError;
use super::demux::Demuxer;
use super::held::Hold;
use super::probe::probe;
use super::probe::{LEAST_SHARE, is_raw};
use super::source::{self, MediaBytes};

/// Files whose check is cached, so that reopening an unchanged one costs an `fstat`. Some 200 bytes each.
const KEPT: usize = 1 << 14;
/// Bytes of a raw stream, which has no magic number, that are examined: ten of the largest MP3 frames, and room for
/// what encoders put before the first.
const EXAMINED: u64 = 1 << 16;

/// A file as it was when it was analysed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnalysedFile {
    /// Its path.
    pub path: PathBuf,
    /// Size in bytes.
    pub size: u64,
    /// Modification time in nanoseconds since 1970 UTC.
    pub mtime_ns: i64,
    /// When it was last scanned, in seconds since 1970 UTC.
    pub seen_at: i64,
    /// The digest of its audio.
    pub content: ContentId,
}

/// An open file. While this lives, opening its path on this thread returns the same file or an error.
#[derive(Debug)]
pub struct HeldFile {
    file: File,
    metadata: Metadata,
    hold: Hold,
}

impl HeldFile {
    /// Opens a regular file with any content.
    pub fn open(path: &Path) -> Result<Self, AudioError> {
        let file = source::open(path)?;
        let metadata = file
            .metadata()
            .map_err(|error| AudioError::from_io(path, error))?;
        let hold = Hold::new(path, &metadata);
        Ok(Self {
            file,
            metadata,
            hold,
        })
    }

    /// Holds the file under another of its names, too.
    pub(super) fn also_known_as(&mut self, path: &Path) {
        self.hold.also(path, &self.metadata);
    }

    /// The path that was opened.
    pub fn path(&self) -> &Path {
        self.hold.path()
    }

    /// The file's metadata when it was opened.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The file, at its first byte.
    pub fn into_file(self) -> File {
        self.file
    }
}

/// State of a file, which differs after any change: path, device, inode, size, modification time, time of the last
/// change of any kind.
type StateKey = (PathBuf, [u64; 3], [i64; 2]);

/// The result of checking a file's contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CheckedContents {
    /// A decoder reads it.
    Audio,
    /// It holds this recording.
    Recording(ContentId),
    /// No decoder reads it.
    NotAudio,
}

static FOUND: Mutex<Option<HashMap<StateKey, CheckedContents>>> = Mutex::new(None);

impl AnalysedFile {
    /// Opens the file and checks that it still holds the recording; links are followed.
    ///
    /// A file of the same size and modification time is checked once, at its beginning; afterwards opening costs an
    /// `fstat`. One that differs is read as a whole, once for each of its states.
    ///
    /// # Errors
    /// [`AudioError::OtherRecording`] if the file holds another recording or none; those of the file system.
    pub fn open(&self) -> Result<HeldFile, AudioError> {
        let held = HeldFile::open(&self.path)?;
        let metadata = held.metadata();
        let mtime = mtime_ns(metadata);
        let is_unchanged = (metadata.len(), mtime) == (self.size, self.mtime_ns)
            && changed_at(metadata) <= self.seen_at;
        // With the time of the last change, which no program can set: a file rewritten with its old
        // size and modification time is checked again.
        let (ids, changed) = identity(metadata);
        let version = (
            self.path.clone(),
            [ids[0], ids[1], metadata.len()],
            [mtime, changed],
        );
        // For a recording known by its path alone there is no digest to compare with.
        let is_any = is_unchanged || self.content == content_of_path(&self.path);
        if self.matches(is_any, version)? {
            Ok(held)
        } else {
            Err(AudioError::OtherRecording {
                path: self.path.clone(),
            })
        }
    }

    /// - `is_any`: whether any audio is accepted
    fn matches(&self, is_any: bool, version: StateKey) -> Result<bool, AudioError> {
        // The lock is not held while a file is read, which may take seconds; two threads may both
        // read.
        let known = {
            let findings = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
            findings
                .as_ref()
                .and_then(|findings| findings.get(&version).copied())
        };
        let finding = match known {
            Some(CheckedContents::NotAudio) => CheckedContents::NotAudio,
            Some(finding) if is_any => finding,
            Some(CheckedContents::Recording(content)) => CheckedContents::Recording(content),
            _ => {
                let found = if is_any {
                    beginning(&self.path)?
                } else {
                    whole(&self.path)?
                };
                let mut findings = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
                let findings = findings.get_or_insert_default();
                // Cleared as a whole, as a result only costs one more check.
                if findings.len() >= KEPT {
                    findings.clear();
                }
                findings.insert(version, found);
                found
            }
        };
        Ok(match finding {
            CheckedContents::NotAudio => false,
            CheckedContents::Audio => is_any,
            CheckedContents::Recording(content) => is_any || content == self.content,
        })
    }
}

/// The content id of a recording of which only the path is known, as its vector was imported.
pub fn content_of_path(path: &Path) -> ContentId {
    ContentId(blake3::derive_key(
        "voisin: a recording known by its path",
        path.as_os_str().as_encoded_bytes(),
    ))
}

/// Device and inode of a file, and the time of its last change of any kind.
fn identity(metadata: &Metadata) -> ([u64; 2], i64) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        let changed = metadata
            .ctime()
            .wrapping_mul(1_000_000_000)
            .wrapping_add(metadata.ctime_nsec());
        ([metadata.dev(), metadata.ino()], changed)
    }
    #[cfg(not(unix))]
    {
        let _ = metadata;
        ([0, 0], 0)
    }
}

/// Checks a file as a whole, by its content id.
fn whole(path: &Path) -> Result<CheckedContents, AudioError> {
    match probe(path) {
        Ok(info) => Ok(CheckedContents::Recording(info.content)),
        Err(error) if error.is_of_contents() => Ok(CheckedContents::NotAudio),
        Err(error) => Err(error),
    }
}

/// Checks only whether a decoder reads the file's beginning.
fn beginning(path: &Path) -> Result<CheckedContents, AudioError> {
    if is_audio(path)? {
        return Ok(CheckedContents::Audio);
    }
    whole(path).map(|found| match found {
        CheckedContents::Recording(..) => CheckedContents::Audio,
        other => other,
    })
}

/// Whether the first packet decodes and, of a raw stream, most of the first bytes are packets, as random bytes hold
/// some by chance; else the file as a whole decides.
fn is_audio(path: &Path) -> Result<bool, AudioError> {
    let demuxer = match Demuxer::open(path) {
        Err(error) if error.is_of_contents() => return Ok(false),
        opened => opened?,
    };
    if !is_raw(demuxer.container()) {
        return Ok(true);
    }
    let mut first = MediaBytes::open(path)?;
    // Only the share of packets at the beginning, as the whole stream may be hours long.
    first.cut(EXAMINED);
    let Ok(mut demuxer) = Demuxer::of_bytes(path, first) else {
        return Ok(false);
    };
    // The last packet is cut off here, which is no fault of the file.
    while let Ok(Some(_)) = demuxer.next() {}
    Ok(demuxer.totals().bytes as f64 >= LEAST_SHARE * demuxer.bytes_in_source() as f64)
}

#[cfg(test)]
mod tests {
    use crate::tags::PreparedWrite;

    use super::*;

    /// A WAV file of 8 kHz and eight bits.
    fn wav(samples: &[u8]) -> Vec<u8> {
        let mut file =
            b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x40\x1f\0\0\x01\0\x08\0data"
                .to_vec();
        file.extend((samples.len() as u32).to_le_bytes());
        file.extend(samples);
        file
    }

    fn analysed(path: &Path) -> AnalysedFile {
        let metadata = std::fs::metadata(path).unwrap();
        AnalysedFile {
            path: path.to_owned(),
            size: metadata.len(),
            mtime_ns: mtime_ns(&metadata),
            seen_at: changed_at(&metadata),
            content: crate::probe(path).unwrap().content,
        }
    }

    #[test]
    fn a_file_is_known_by_its_state_and_else_by_its_sound() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.wav");
        let sound: Vec<u8> = (0..4000).map(|i| (i * 7 % 251) as u8).collect();
        std::fs::write(&path, wav(&sound)).unwrap();
        let file = analysed(&path);
        assert_eq!(file.open().unwrap().metadata().len(), file.size);
        let is_other = || matches!(file.open(), Err(AudioError::OtherRecording { .. }));
        // Another time, and bytes after the sound.
        std::fs::write(
            &path,
            [wav(&sound), b"LIST\x04\0\0\0INFO".to_vec()].concat(),
        )
        .unwrap();
        assert!(file.open().is_ok());
        std::fs::write(&path, wav(&sound[1..])).unwrap();
        assert!(is_other());
        std::fs::write(&path, "no sound").unwrap();
        assert!(is_other());
        // A file that matches the row but is no audio is refused, too.
        let metadata = std::fs::metadata(&path).unwrap();
        let forged = AnalysedFile {
            size: metadata.len(),
            mtime_ns: mtime_ns(&metadata),
            seen_at: changed_at(&metadata),
            ..file.clone()
        };
        assert!(matches!(
            forged.open(),
            Err(AudioError::OtherRecording { .. })
        ));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(file.open(), Err(AudioError::NotFound { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn a_file_with_a_forged_time_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.wav");
        let sound: Vec<u8> = (0..4000).map(|i| (i * 7 % 251) as u8).collect();
        std::fs::write(&path, wav(&sound)).unwrap();
        let file = analysed(&path);
        let time = std::fs::metadata(&path).unwrap().modified().unwrap();
        let other: Vec<u8> = sound.iter().rev().copied().collect();
        std::fs::write(&path, wav(&other)).unwrap();
        let written = File::options().write(true).open(&path).unwrap();
        written.set_modified(time).unwrap();
        let scanned_before = AnalysedFile {
            seen_at: file.seen_at - 1,
            ..file
        };
        assert!(matches!(
            scanned_before.open(),
            Err(AudioError::OtherRecording { .. })
        ));
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_is_held_is_opened_or_none() {
        let folder = tempfile::tempdir().unwrap();
        let [path, other] = ["a.wav", "b.wav"].map(|name| folder.path().join(name));
        std::fs::write(&path, wav(&[7; 4000])).unwrap();
        std::fs::write(&other, wav(&[9; 4000])).unwrap();
        let held = analysed(&path).open().unwrap();
        assert!(crate::probe(&path).is_ok());
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        let error = crate::probe(&path).unwrap_err();
        assert!(matches!(error, AudioError::Io { .. }), "{error}");
        drop(held);
        assert!(crate::probe(&path).is_ok());
    }

    #[cfg(unix)]
    #[test]
    fn a_link_that_comes_while_tags_are_written_leads_to_no_harm() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
        let sound = std::fs::read(root.join("tests/data/audio/mono.flac")).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let [path, victim] = ["a.flac", "b.flac"].map(|name| folder.path().join(name));
        std::fs::write(&path, &sound).unwrap();
        // Of the same size, and of the same time.
        let other: Vec<u8> = sound.iter().rev().copied().collect();
        std::fs::write(&victim, &other).unwrap();
        let time = std::fs::metadata(&path).unwrap().modified().unwrap();
        let times = std::fs::FileTimes::new().set_modified(time);
        File::options()
            .write(true)
            .open(&victim)
            .unwrap()
            .set_times(times)
            .unwrap();
        let genres = ["Polka".to_owned()];
        let mut swap = |_: &Path| {
            std::fs::rename(&path, folder.path().join("kept")).unwrap();
            std::os::unix::fs::symlink(&victim, &path).unwrap();
        };
        let options = crate::tags::WriteOptions::default();
        let written = crate::tags::prepare(&path, &genres, options, &mut swap)
            .and_then(PreparedWrite::commit);
        assert!(written.is_err());
        assert!(std::fs::read(&victim).unwrap() == other);
        assert!(path.is_symlink(), "nothing took its place");
    }
}
