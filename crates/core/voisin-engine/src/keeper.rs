//! Updates the index in the background of a run that adds tracks.

use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use super::Engine;
use voisin_library::OpenMode;

/// Share of new tracks after which the index is updated.
///
/// A build costs about as much as analysing a hundredth of the tracks. With a build at each quarter, a first run spends less
/// than a twentieth of its time on indexes that later ones replace.
const SHARE: f64 = 0.25;
/// Fewest new tracks for an update before the end of the run.
const LEAST: u64 = if cfg!(test) { 20 } else { 1000 };

/// Updates the index of a library, and rebuilds it after too many changes, on a thread of its own while tracks are being
/// added, so that other processes find a recent index and little is left for the end of the run.
#[derive(Debug)]
pub struct IndexKeeper {
    dir: PathBuf,
    /// Tracks when the keeper last started.
    tracks: u64,
    /// New ones since.
    added: u64,
    thread: Option<JoinHandle<()>>,
}

impl IndexKeeper {
    /// A keeper for the library in `dir`, which has `tracks` tracks.
    pub fn new(dir: &Path, tracks: u64) -> Self {
        Self {
            dir: dir.to_owned(),
            tracks,
            added: 0,
            thread: None,
        }
    }

    /// Counts a committed track. Starts the thread if an update is due, without waiting for it.
    pub fn added(&mut self) {
        self.added += 1;
        let due = self.added >= LEAST.max((SHARE * self.tracks as f64) as u64);
        // A build that is still running includes the new tracks at its end or leaves them to the next.
        if due && self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
            self.tracks += std::mem::take(&mut self.added);
            let dir = self.dir.clone();
            // The index is a cache: errors here are detected and reported at its next use.
            let work = move || {
                // One thread, since the others analyse music.
                let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
                // The run's own connection is in use on another thread.
                let mut engine = Engine::open(&dir, OpenMode::ReadWrite);
                if let (Ok(pool), Ok(engine)) = (pool, &mut engine) {
                    let _ = pool.install(|| engine.maintain_index());
                }
            };
            self.thread = std::thread::Builder::new()
                .name("index".to_owned())
                .spawn(work)
                .ok();
        }
    }

    /// Waits for the thread, if it runs.
    pub fn finish(self) {
        if let Some(thread) = self.thread {
            // A panic in it affects only the cache.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{INDEX_FILE, IndexRefresh};
    use voisin_base::track::TrackId;
    use voisin_index::{SearchParams, VectorIndex};
    use voisin_library::Library;
    use voisin_library::testing::{library, track};

    fn insert(library: &mut Library, seed: u8) {
        let angle = f32::from(seed) * 0.02;
        library
            .insert_track(&track(seed.into(), vec![angle.cos(), angle.sin()]))
            .unwrap();
    }

    #[test]
    fn the_index_follows_while_tracks_are_added() {
        let dir = tempfile::tempdir().unwrap();
        let mut library = library(dir.path(), 2);
        let index = dir.path().join(INDEX_FILE);
        let mut keeper = IndexKeeper::new(dir.path(), 0);
        for seed in 0..19 {
            insert(&mut library, seed);
            keeper.added();
        }
        assert!(
            keeper.thread.is_none() && !index.exists(),
            "too few for an update"
        );
        for seed in 19..50 {
            insert(&mut library, seed);
            keeper.added();
        }
        keeper.finish();
        let (kept, stamp) = VectorIndex::open(&index).unwrap();
        // Each new mean raises the generation: that of the first tracks, and one after more of them.
        let means = stamp.generation.checked_sub(kept.len() as u64);
        assert!(
            (20..=50).contains(&kept.len()) && means.is_some_and(|means| means <= 2),
            "{stamp:?}"
        );
        // The end of the run adds the rest, and only the rest.
        let mut engine = Engine::open(dir.path(), OpenMode::ReadWrite).unwrap();
        let added = 50 - kept.len();
        let is_current = stamp.generation == engine.library().changes().generation().unwrap();
        let expected = if is_current {
            IndexRefresh::Loaded
        } else {
            IndexRefresh::Updated { added, removed: 0 }
        };
        assert_eq!(engine.refresh_index().unwrap(), expected);
        engine.maintain_index().unwrap();
        let query = engine
            .space()
            .unwrap()
            .centre(&[0.98_f32.cos(), 0.98_f32.sin()]);
        let all = engine.index().unwrap();
        assert_eq!(all.len(), 50);
        let last = all.search(&query, 1, &SearchParams::default()).unwrap();
        assert_eq!(last[0].id, TrackId(50));
        // A few new tracks in a large library start no update.
        let mut keeper = IndexKeeper::new(dir.path(), 1000);
        (0..249).for_each(|_| keeper.added());
        assert!(keeper.thread.is_none());
        keeper.added();
        assert!(keeper.thread.is_some());
        keeper.finish();
    }
}
