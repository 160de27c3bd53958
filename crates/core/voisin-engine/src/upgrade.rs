//! Analyses a library's tracks with another model, to replace the current model at the end or to keep both. Searches use the
//! current vectors meanwhile.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::add::stored_model;
use super::{Embedder, EngineError, WindowPlan};
use voisin_audio::AudioError;
use voisin_base::track::TrackId;
use voisin_library::{Library, LibraryError, OpenMode, Track, TrackWindows};

/// Progress of an upgrade.
#[derive(Debug)]
pub struct UpgradeProgress<'a> {
    /// Tracks that this call has processed.
    pub done: usize,
    /// Tracks that it has to process.
    pub total: usize,
    /// The track that was processed last.
    pub track: &'a Track,
    /// Why it has no vector of the new model, if it has none.
    pub error: Option<&'a EngineError>,
}

/// Begins an upgrade to the embedder's model, or resumes it: see [`embed_missing`].
///
/// # Errors
/// Those of [`begin_upgrade`](voisin_library::UpgradeTable::begin_upgrade) and of [`embed_missing`].
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
    embed_missing(library, embedder, windows, threads, progress, stop)
}

/// Analyses every track that has no vector of the embedder's model yet, and stores the result beside the current vectors.
/// After a kill or a stop the next call resumes. Returns the number of tracks that failed.
///
/// - `stop`: when it becomes true, the tracks being processed are finished
///
/// # Errors
/// The catalogue cannot be read or written, or the upgrade or the space of this model was ended meanwhile. Errors of single
/// tracks go to `progress`.
pub fn embed_missing(
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
            let sender = sender.clone();
            let next = &next;
            let broken = &broken;
            let jobs = &jobs;
            scope.spawn(move || {
                // Keeps parallel work of this thread inside its own pool.
                let _pool = rayon::ThreadPoolBuilder::new()
                    .num_threads(threads_each)
                    .use_current_thread()
                    .build();
                while !stop.load(Ordering::Relaxed) && !broken.load(Ordering::Relaxed) {
                    let Some(&id) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) else {
                        return;
                    };
                    let embedded = match reader.track(id) {
                        // The track was removed meanwhile.
                        Err(LibraryError::UnknownTrack(_)) => continue,
                        found => found.map(|track| {
                            let embedded = embed_track(embedder, &track, windows);
                            (track, embedded)
                        }),
                    };
                    if sender.send(embedded).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut result = Ok(());
        let mut done = 0;
        let mut failed = 0;
        // After an error, drains the channel so that no worker blocks on sending.
        for found in receiver {
            if result.is_err() {
                continue;
            }
            let (track, embedded) = match found {
                Ok(found) => found,
                // An error of the catalogue itself affects all tracks.
                Err(error) => {
                    result = Err(error.into());
                    broken.store(true, Ordering::Relaxed);
                    continue;
                }
            };
            let stored = embedded.and_then(|(vector, windows)| {
                Ok(library.spaces_mut().put_other_vectors(
                    &fingerprint,
                    track.id,
                    &vector,
                    &windows,
                )?)
            });
            let error = match stored {
                Ok(()) => None,
                // Concerns this track alone, unlike all other errors of the library.
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

/// A track's vectors, from the first of its files whose audio is still the same.
fn embed_track(
    embedder: &Embedder,
    track: &Track,
    windows: WindowPlan,
) -> Result<(Vec<f32>, TrackWindows), EngineError> {
    let mut last = None;
    let files = track.files.iter().map(|file| &file.record.path);
    for path in files.chain(track.files.is_empty().then_some(&track.path)) {
        // A panic in a decoder fails this file, not the run.
        let embedded = catch_unwind(AssertUnwindSafe(|| {
            let info = voisin_audio::probe(path)?;
            // The file holds other audio than when it was added; its vectors would be those of
            // another recording.
            if info.content != track.audio.content {
                return Err(AudioError::OtherRecording { path: path.clone() }.into());
            }
            embedder.embed(path, &info, windows, None)
        }))
        .unwrap_or_else(|_| Err(fault(track.id, path.clone())));
        match embedded {
            Ok(embedding) => {
                let windows = TrackWindows {
                    vectors: embedding.half_windows(),
                    starts: embedding.starts,
                };
                return Ok((embedding.vector.into_vec(), windows));
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
        message: format!("a panic while track {track} was analysed again"),
    }
}
