//! A library listens to its tracks again with another model, while the vectors that it has go on answering: to change over
//! to it at the end, or to keep both.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::add::stored_model;
use super::{Embedder, EngineError, WindowPlan};
use voisin_audio::AudioError;
use voisin_base::track::{ContentKind, TrackId};
use voisin_library::{Library, LibraryError, OpenMode, Track, TrackWindows};

/// How far an upgrade is.
#[derive(Debug)]
pub struct UpgradeProgress<'a> {
    /// Tracks that this call has looked at.
    pub done: usize,
    /// Tracks that it has to look at.
    pub total: usize,
    /// The one that was looked at last.
    pub track: &'a Track,
    /// Why it has no vector of the new model, if it has none.
    pub error: Option<&'a EngineError>,
}

/// Begins an upgrade to the embedder's model, or goes on with it: see [`hear_again`].
///
/// # Errors
/// Those of [`begin_upgrade`](voisin_library::UpgradeTable::begin_upgrade) and of [`hear_again`].
pub fn upgrade(
    library: &mut Library,
    embedder: &Embedder,
    windows: WindowPlan,
    threads: usize,
    progress: &mut dyn FnMut(UpgradeProgress<'_>),
    stop: &AtomicBool,
) -> Result<usize, EngineError> {
    library
        .upgrades_mut()
        .begin_upgrade(&stored_model(embedder)?)?;
    hear_again(library, embedder, windows, threads, progress, stop)
}

/// Listens to every track that has no vector of the embedder's model yet, and stores what it hears beside the current
/// vectors. Killed or stopped, the next call goes on. Returns the number of tracks that could not be listened to.
///
/// - `stop`: when it becomes true, the tracks in hand are finished
///
/// # Errors
/// The catalogue cannot be read or written, or its upgrade or space of this model ended meanwhile. What is wrong with a track is told to
/// `progress`.
pub fn hear_again(
    library: &mut Library,
    embedder: &Embedder,
    windows: WindowPlan,
    threads: usize,
    progress: &mut dyn FnMut(UpgradeProgress<'_>),
    stop: &AtomicBool,
) -> Result<usize, EngineError> {
    let fingerprint = embedder.encoder().manifest().fingerprint();
    let jobs = library.spaces().tracks_without_vector(&fingerprint)?;
    let workers = threads.clamp(1, jobs.len().max(1));
    let threads_each = (threads / workers).max(1);
    let next = AtomicUsize::new(0);
    let broken = AtomicBool::new(false);
    let dir = library.dir().to_owned();
    let (sender, receiver) = crossbeam_channel::bounded(2 * workers);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            let reader = Library::open(&dir, OpenMode::ReadOnly)?;
            let kind = reader.settings().content_kind()?;
            let sender = sender.clone();
            let next = &next;
            let broken = &broken;
            let jobs = &jobs;
            scope.spawn(move || {
                // This thread belongs to the pool while the pool lives: what it does in parallel stays inside.
                let _pool = rayon::ThreadPoolBuilder::new()
                    .num_threads(threads_each)
                    .use_current_thread()
                    .build();
                while !stop.load(Ordering::Relaxed) && !broken.load(Ordering::Relaxed) {
                    let Some(&id) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) else {
                        return;
                    };
                    let heard = match reader.track(id) {
                        // One that was removed meanwhile is no job any more.
                        Err(LibraryError::UnknownTrack(_)) => continue,
                        found => found.map(|track| {
                            let heard = listen(embedder, &track, windows, kind);
                            (track, heard)
                        }),
                    };
                    if sender.send(heard).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut result = Ok(());
        let mut done = 0;
        let mut failed = 0;
        // After an error the rest is received and dropped, so that no worker waits for room in the
        // channel.
        for found in receiver {
            if result.is_err() {
                continue;
            }
            let (track, heard) = match found {
                Ok(found) => found,
                // The catalogue itself is in trouble: no track will fare better.
                Err(error) => {
                    result = Err(error.into());
                    broken.store(true, Ordering::Relaxed);
                    continue;
                }
            };
            let stored = heard.and_then(|(vector, windows)| {
                Ok(library.spaces_mut().put_other_vectors(
                    &fingerprint,
                    track.id,
                    &vector,
                    &windows,
                )?)
            });
            let error = match stored {
                Ok(()) => None,
                // A fault of this track alone, unlike all other errors of the library.
                Err(error @ EngineError::Library(LibraryError::BadVector { .. })) => Some(error),
                Err(EngineError::Library(error)) => {
                    result = Err(error.into());
                    broken.store(true, Ordering::Relaxed);
                    continue;
                }
                Err(error) => Some(error),
            };
            done += 1;
            failed += usize::from(error.is_some());
            progress(UpgradeProgress {
                done,
                total: jobs.len(),
                track: &track,
                error: error.as_ref(),
            });
        }
        result.map(|()| failed)
    })
}

/// A track's vectors, from the first of its files that still holds its sound.
fn listen(
    embedder: &Embedder,
    track: &Track,
    windows: WindowPlan,
    kind: ContentKind,
) -> Result<(Vec<f32>, TrackWindows), EngineError> {
    let mut last = None;
    let files = track.files.iter().map(|file| &file.record.path);
    for path in files.chain(track.files.is_empty().then_some(&track.path)) {
        // A panic in a decoder costs this file, not the run.
        let heard = catch_unwind(AssertUnwindSafe(|| {
            let info = voisin_audio::probe_as(path, kind)?;
            // The file holds other audio than when it was added; its vectors would be those of
            // another recording.
            if info.content != track.audio.content {
                return Err(AudioError::OtherRecording { path: path.clone() }.into());
            }
            embedder.embed(path, &info, windows, None)
        }))
        .unwrap_or_else(|_| Err(fault(track.id, path.clone())));
        match heard {
            Ok(heard) => {
                let windows = TrackWindows {
                    vectors: heard.half_windows(),
                    starts: heard.starts,
                };
                return Ok((heard.vector.into_vec(), windows));
            }
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| EngineError::NotInLibrary {
        path: track.path.clone(),
    }))
}

fn fault(track: TrackId, path: PathBuf) -> EngineError {
    EngineError::Fault {
        path,
        message: format!("a panic while track {track} was listened to again"),
    }
}
