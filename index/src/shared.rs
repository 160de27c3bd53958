//! An index that threads search while others change it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use ndarray::ArrayView2;
use voisin_base::track::Id;

use super::change_log::{KeptFile, LoggedChange};
use super::{Component, IndexError, VectorIndex};

/// A [`VectorIndex`] that is searched while it changes. Searches work on a snapshot: they never
/// wait for changes, nor changes for them. [`add`](Self::add) and [`remove`](Self::remove) make the
/// next state beside the present one, of which they copy the last few vectors and, for a removal, a
/// bit per vector; they rebuild automatically if that pays.
///
/// No lock is held while rayon works, so rayon's tasks may call all methods, too.
pub struct SharedIndex {
    /// Locked only to copy or replace a pointer.
    current: RwLock<Arc<VectorIndex>>,
    /// Locked while the next state is made.
    changes: Mutex<ChangeLog>,
    /// Locked during an automatic rebuild; others do not wait for it.
    rebuilding: Mutex<()>,
    build_in: BuildIn,
}

/// Runs a build in the chosen thread pool.
type BuildIn = Box<dyn Fn(&mut (dyn FnMut() + Send)) + Send + Sync>;

/// Changes made during builds, which have to be applied to the new index.
#[derive(Default)]
struct ChangeLog {
    builds: usize,
    /// Ids inserted or removed since the first of these builds began.
    tracks: Vec<Id>,
    /// How often the index was replaced.
    replaced: usize,
    /// Its file, if it has one.
    file: Option<KeptFile>,
}

/// A running build.
struct Build<'a> {
    shared: &'a SharedIndex,
    /// The state that it builds from.
    index: Arc<VectorIndex>,
    /// Number of changes when it began.
    changes: usize,
    replaced: usize,
}

impl Drop for Build<'_> {
    fn drop(&mut self) {
        let mut changes = self.shared.changes();
        changes.builds -= 1;
        if changes.builds == 0 {
            changes.tracks.clear();
        }
    }
}

impl SharedIndex {
    /// Shares an index.
    pub fn new(index: VectorIndex) -> Self {
        Self::building_in(index, Box::new(|build| build()))
    }

    /// As [`new`](Self::new), with builds in a pool of threads: `build_in` calls its argument
    /// there.
    #[allow(clippy::type_complexity)] // a name of its own would say less
    pub fn building_in(
        index: VectorIndex,
        build_in: Box<dyn Fn(&mut (dyn FnMut() + Send)) + Send + Sync>,
    ) -> Self {
        Self {
            current: RwLock::new(Arc::new(index)),
            changes: Mutex::default(),
            rebuilding: Mutex::default(),
            build_in,
        }
    }

    /// Opens the index saved at `path` and keeps it up to date there: when [`add`](Self::add),
    /// [`upsert`](Self::upsert) and [`remove`](Self::remove) return, their change is in the file,
    /// on the disk. Changes are appended; the whole file is only rewritten by a rebuild, or if
    /// changes are the larger part of it. It can be [opened](VectorIndex::open) at any moment. An
    /// index in two files becomes one.
    ///
    /// # Errors
    /// [`IndexError::Io`] if another process has the file open for changes; of later changes, if
    /// another file replaced it, or none has its name
    pub fn open(path: &Path) -> Result<Self, IndexError> {
        Self::open_building_in(path, Box::new(|build| build()))
    }

    /// As [`open`](Self::open), building as [`building_in`](Self::building_in) does.
    #[allow(clippy::type_complexity)] // a name of its own would say less
    pub fn open_building_in(
        path: &Path,
        build_in: Box<dyn Fn(&mut (dyn FnMut() + Send)) + Send + Sync>,
    ) -> Result<Self, IndexError> {
        let (index, file) = KeptFile::open(path)?;
        let shared = Self::building_in(index, build_in);
        shared.changes().file = Some(file);
        Ok(shared)
    }

    /// The present state of the index, which later changes do not affect.
    pub fn snapshot(&self) -> Arc<VectorIndex> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Calls `work` with a [`snapshot`](Self::snapshot).
    pub fn with<T>(&self, work: impl FnOnce(&VectorIndex) -> T) -> T {
        work(&self.snapshot())
    }

    fn changes(&self) -> MutexGuard<'_, ChangeLog> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the present state by the next one, once that is stored.
    fn publish(
        &self,
        changes: &mut ChangeLog,
        index: VectorIndex,
        changed: &[Id],
        change: &LoggedChange<'_>,
    ) -> Result<(), IndexError> {
        if let Some(file) = &mut changes.file {
            file.write(change, &index)?;
        }
        if changes.builds > 0 {
            changes.tracks.extend(changed);
        }
        let next = Arc::new(index);
        let last = {
            let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *current, next)
        };
        // Freeing memory takes longer than searches should wait.
        drop(last);
        Ok(())
    }

    /// Inserts vectors (`[ids.len(), dimension]`): all of them, or none on an error. The first
    /// vectors of an empty index set its dimension.
    pub fn add<T: Component>(
        &self,
        ids: &[Id],
        vectors: ArrayView2<'_, T>,
    ) -> Result<(), IndexError> {
        let vectors = T::rows(vectors);
        let vectors = vectors.view();
        if ids.len() != vectors.nrows() {
            return Err(IndexError::Count {
                ids: ids.len(),
                vectors: vectors.nrows(),
            });
        }
        loop {
            let is_room_made = match self.insert(ids, vectors) {
                Ok(()) => {
                    // The vectors are inserted: if the rebuild fails, searches are only slower.
                    let _ = self.rebuild_where_it_pays();
                    return Ok(());
                }
                // A rebuild makes room.
                Err(IndexError::TooFar { .. }) => self.build(ids, vectors)?,
                Err(IndexError::Dimension { .. }) if self.with(VectorIndex::is_empty) => {
                    self.build(ids, vectors)?
                }
                Err(error) => return Err(error),
            };
            if is_room_made {
                return Ok(());
            }
        }
    }

    fn insert(&self, ids: &[Id], vectors: ArrayView2<'_, f32>) -> Result<(), IndexError> {
        self.put(ids, vectors, VectorIndex::insert)
    }

    fn put<T>(
        &self,
        ids: &[Id],
        vectors: ArrayView2<'_, f32>,
        put: impl Fn(&mut VectorIndex, Id, &[f32]) -> Result<T, IndexError>,
    ) -> Result<(), IndexError> {
        let mut changes = self.changes();
        let mut next = VectorIndex::clone(&self.snapshot());
        for (&track, vector) in ids.iter().zip(vectors.outer_iter()) {
            put(&mut next, track, &vector.to_vec())?;
        }
        self.publish(&mut changes, next, ids, &LoggedChange::Put(ids, vectors))
    }

    /// As [`add`](Self::add), but replaces the vectors of existing items.
    ///
    /// # Errors
    /// [`IndexError::TooFar`] for an inner-product vector that is too long for the built index:
    /// [`remove`](Self::remove) the item and add it.
    pub fn upsert<T: Component>(
        &self,
        ids: &[Id],
        vectors: ArrayView2<'_, T>,
    ) -> Result<(), IndexError> {
        let vectors = T::rows(vectors);
        let vectors = vectors.view();
        if ids.len() != vectors.nrows() || self.with(VectorIndex::is_empty) {
            return self.add(ids, vectors);
        }
        self.put(ids, vectors, VectorIndex::upsert)?;
        // As in `add`.
        let _ = self.rebuild_where_it_pays();
        Ok(())
    }

    /// Removes an item; returns false if it did not exist.
    ///
    /// # Errors
    /// [`IndexError::Io`] if the change cannot be stored
    pub fn remove(&self, id: Id) -> Result<bool, IndexError> {
        {
            let mut changes = self.changes();
            let current = self.snapshot();
            if !current.contains(id) {
                return Ok(false);
            }
            let mut next = VectorIndex::clone(&current);
            next.remove(id);
            self.publish(&mut changes, next, &[id], &LoggedChange::Removed(id))?;
        }
        // If the rebuild fails, searches are only slower.
        let _ = self.rebuild_where_it_pays();
        Ok(true)
    }

    fn rebuild_where_it_pays(&self) -> Result<(), IndexError> {
        // The builder might wait for the very rayon task that would wait here.
        let Ok(_rebuilding) = self.rebuilding.try_lock() else {
            return Ok(());
        };
        if self.with(VectorIndex::needs_rebuild) {
            self.rebuild()
        } else {
            Ok(())
        }
    }

    /// Replaces the index by another one.
    ///
    /// # Errors
    /// [`IndexError::Io`] if it cannot be stored
    pub fn replace(&self, index: VectorIndex) -> Result<(), IndexError> {
        let mut changes = self.changes();
        self.publish(&mut changes, index, &[], &LoggedChange::Whole)?;
        changes.replaced += 1;
        Ok(())
    }

    /// Rebuilds from the stored vectors, while the old index is searched and changed.
    pub fn rebuild(&self) -> Result<(), IndexError> {
        let none = || ndarray::Array2::zeros((0, self.with(VectorIndex::dimension)));
        while !self.build(&[], none().view())? {}
        Ok(())
    }

    /// Rebuilds with additional vectors; returns false if the index was replaced meanwhile, or the
    /// new one has no room for later insertions.
    fn build(&self, ids: &[Id], vectors: ArrayView2<'_, f32>) -> Result<bool, IndexError> {
        let build = {
            let mut changes = self.changes();
            changes.builds += 1;
            Build {
                shared: self,
                index: self.snapshot(),
                changes: changes.tracks.len(),
                replaced: changes.replaced,
            }
        };
        // Without a lock, as both take long and others search and change meanwhile.
        let gathered = build.index.gathered(ids, vectors)?;
        let mut built = Err(IndexError::NoVectors);
        (self.build_in)(&mut || built = gathered.build());
        let mut new = built?;
        let mut changes = self.changes();
        if changes.replaced != build.replaced {
            return Ok(false);
        }
        let current = self.snapshot();
        if let Some(&track) = ids.iter().find(|&&track| current.contains(track)) {
            return Err(IndexError::Duplicate(track));
        }
        let changed: BTreeSet<Id> = changes.tracks[build.changes..].iter().copied().collect();
        // Changes made during the build are applied now.
        for track in changed.into_iter().filter(|track| !ids.contains(track)) {
            new.remove(track);
            if let Some(vector) = current.vector(track) {
                match new.insert(track, &vector) {
                    Err(IndexError::TooFar { .. }) => return Ok(false),
                    inserted => inserted?,
                }
            }
        }
        self.publish(&mut changes, new, ids, &LoggedChange::Whole)?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{IndexMetric, IndexOptions, SearchParams};
    use ndarray::{Array2, s};
    use rand::{Rng, SeedableRng, rngs::StdRng};
    use rayon::prelude::*;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use std::sync::mpsc::RecvTimeoutError;
    use std::time::{Duration, Instant};

    fn ids(range: std::ops::Range<i64>) -> Vec<Id> {
        range.map(Id).collect()
    }

    fn random(n: usize, dimension: usize) -> Array2<f32> {
        let mut rng = StdRng::seed_from_u64(n as u64);
        Array2::from_shape_simple_fn((n, dimension), || rng.random::<f32>() - 0.5)
    }

    #[test]
    fn searches_go_on_while_vectors_come_and_go() {
        let vectors = random(9000, 24);
        let options = IndexOptions {
            lists_from: 2000,
            ..IndexOptions::default()
        };
        let index =
            VectorIndex::build(&ids(0..1000), vectors.slice(s![..1000, ..]), &options).unwrap();
        let shared = SharedIndex::new(index);
        let done = AtomicBool::new(false);
        let finds = |row: i64| {
            let query = vectors.row(row as usize).to_vec();
            shared
                .with(|index| index.search(&query, 1, &SearchParams::default()))
                .unwrap()[0]
                .id
        };
        std::thread::scope(|scope| {
            let searching: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| {
                        let mut n = 0_i64;
                        while !done.load(Ordering::Relaxed) || n == 0 {
                            // The first five hundred are never removed.
                            assert_eq!(finds(n % 500), Id(n % 500));
                            n += 1;
                        }
                    })
                })
                .collect();
            for from in (1000..9000).step_by(500) {
                let rows = vectors.slice(s![from..from + 500, ..]);
                shared
                    .add(&ids(from as i64..from as i64 + 500), rows)
                    .unwrap();
                assert_eq!(finds(from as i64 + 499), Id(from as i64 + 499));
            }
            for id in 500..700 {
                assert!(shared.remove(Id(id)).unwrap() && !shared.remove(Id(id)).unwrap());
            }
            done.store(true, Ordering::Relaxed);
            searching
                .into_iter()
                .for_each(|thread| thread.join().unwrap());
        });
        let (len, lists) = shared.with(|index| (index.len(), index.stats().list_count));
        // A rebuild made lists.
        assert!(len == 8800 && lists > 10, "{len} {lists}");
        assert!((500..700).all(|id| finds(id) != Id(id)));
    }

    #[test]
    fn changes_during_a_build_are_in_its_result() {
        let vectors = random(20_000, 16);
        let index = VectorIndex::build(
            &ids(0..19_000),
            vectors.slice(s![..19_000, ..]),
            &IndexOptions::default(),
        );
        let shared = SharedIndex::new(index.unwrap());
        std::thread::scope(|scope| {
            let builder = scope.spawn(|| shared.rebuild().unwrap());
            for id in 19_000..19_500 {
                shared
                    .add(&[Id(id)], vectors.slice(s![id as usize..=id as usize, ..]))
                    .unwrap();
                assert!(shared.remove(Id(id - 19_000)).unwrap());
            }
            // An item that is removed and added with another vector.
            shared.remove(Id(700)).unwrap();
            shared
                .add(&[Id(700)], vectors.slice(s![19_999.., ..]))
                .unwrap();
            builder.join().unwrap();
        });
        shared.with(|index| {
            assert_eq!(index.ids(), ids(500..19_500));
            let found = index
                .search(&vectors.row(19_999).to_vec(), 1, &SearchParams::default())
                .unwrap();
            assert_eq!(found[0].id, Id(700));
        });
    }

    #[test]
    fn a_snapshot_stays_as_it_is_and_shares_what_was_built() {
        let vectors = random(3000, 16);
        let index = VectorIndex::build(
            &ids(0..2000),
            vectors.slice(s![..2000, ..]),
            &IndexOptions::default(),
        );
        let shared = SharedIndex::new(index.unwrap());
        shared
            .add(&ids(2000..2300), vectors.slice(s![2000..2300, ..]))
            .unwrap();
        let before = shared.snapshot();
        for id in 2300..3000 {
            shared
                .add(&[Id(id)], vectors.slice(s![id as usize..=id as usize, ..]))
                .unwrap();
            assert!(
                shared.remove(Id(id - 1000)).unwrap() && !shared.remove(Id(id - 1000)).unwrap()
            );
        }
        let after = shared.snapshot();
        assert_eq!((before.ids(), after.len()), (ids(0..2300), 2300));
        assert!(
            Arc::ptr_eq(&before.base.codes, &after.base.codes)
                && Arc::ptr_eq(&before.base.ids, &after.base.ids)
        );
        let left: Vec<Id> = ids(0..1300).into_iter().chain(ids(2000..3000)).collect();
        assert_eq!(after.ids(), left);
        for (row, query) in vectors.outer_iter().enumerate() {
            let nearest = |index: &VectorIndex| {
                index
                    .search(&query.to_vec(), 1, &SearchParams::default())
                    .unwrap()[0]
                    .id
                    .0
            };
            assert_eq!(nearest(&before) == row as i64, row < 2300, "{row}");
            assert_eq!(
                nearest(&after) == row as i64,
                !(1300..2000).contains(&row),
                "{row}"
            );
        }
        // There are few shared parts, each larger than the later ones.
        let parts: Vec<usize> = after
            .tail
            .parts()
            .iter()
            .map(|part| part.live.count)
            .collect();
        assert!(parts.len() <= 6 && after.tail.live() == 1000, "{parts:?}");
    }

    /// Runs for `VOISIN_SOAK_SECONDS`, six by default, with 2 to 8 threads in turn.
    #[test]
    fn tasks_search_and_change_beside_a_writer() {
        let seconds = std::env::var("VOISIN_SOAK_SECONDS")
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(6.);
        let rounds = if seconds > 60. { 2..=8 } else { 3..=5 };
        let each = Duration::from_secs_f64(seconds / rounds.clone().count() as f64);
        for threads in rounds {
            let moved = Arc::new(AtomicU64::new(0));
            let (ended, end) = std::sync::mpsc::channel();
            let of_round = Arc::clone(&moved);
            std::thread::spawn(move || {
                search_and_change(threads, each, &of_round);
                let _ = ended.send(());
            });
            let mut last = 0;
            // A build of a loaded machine takes seconds; nothing else takes as long.
            while let Err(error) = end.recv_timeout(Duration::from_secs(30)) {
                assert_eq!(error, RecvTimeoutError::Timeout, "{threads} threads");
                let now = moved.load(Ordering::Relaxed);
                assert!(
                    now > last,
                    "{threads} threads: nothing moves after {now} calls"
                );
                last = now;
            }
        }
    }

    /// One thread inserts and removes while tasks of a pool search, each in parallel, and insert
    /// and remove, too.
    fn search_and_change(threads: usize, time: Duration, moved: &AtomicU64) {
        /// Base of the ids that each task inserts and removes.
        const OF_TASK: i64 = 1 << 40;
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let vectors = random(8000, 32);
        let options = IndexOptions {
            metric: IndexMetric::Euclidean,
            ..IndexOptions::default()
        };
        let built = pool
            .install(|| VectorIndex::build(&ids(0..6000), vectors.slice(s![..6000, ..]), &options));
        let shared = SharedIndex::new(built.unwrap());
        // Vectors that no query is near.
        let row_of = |at: usize| vectors.slice(s![6000 + at % 2000..=6000 + at % 2000, ..]);
        let start = Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for id in 6000_i64.. {
                    if start.elapsed() > time {
                        break;
                    }
                    if id % 10 == 0 {
                        shared.add(&[Id(id)], row_of(id as usize)).unwrap();
                    }
                    assert_eq!(
                        shared.remove(Id(id - 50)).unwrap(),
                        id < 6050 || id % 10 == 0
                    );
                    moved.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(Duration::from_micros(50));
                }
            });
            let work = |round: usize, task: usize| {
                let row = (round * 7 + task) % 5900;
                let query = vectors.slice(s![row..row + 40, ..]);
                let found =
                    shared.with(|index| index.search_batch(query, 3, &SearchParams::default()));
                for (at, found) in found.unwrap().iter().enumerate() {
                    // Ids up to 5950 are never removed.
                    assert_eq!(found[0].id, Id((row + at) as i64));
                }
                let id = Id(OF_TASK * (task as i64 + 1) + round as i64);
                match task {
                    0 => shared.add(&[id], row_of(row)).unwrap(),
                    1 => {
                        // Farther away in each round.
                        let far = (1. + (round % 8) as f32) * &row_of(row);
                        shared.add(&[id], far.view()).unwrap();
                        assert!(shared.remove(id).unwrap());
                    }
                    // Not at once: on a loaded machine that alone takes the time there is.
                    2 if round % 50 == 5 => shared.rebuild().unwrap(),
                    _ => {}
                }
                moved.fetch_add(1, Ordering::Relaxed);
            };
            let mut rounds = 0;
            while start.elapsed() < time {
                pool.install(|| {
                    (0..5_usize)
                        .into_par_iter()
                        .with_max_len(1)
                        .for_each(|task| work(rounds, task));
                });
                rounds += 1;
            }
            assert!(rounds > 3, "{rounds}");
            let added = (0..rounds as i64)
                .all(|round| shared.with(|index| index.contains(Id(OF_TASK + round))));
            assert!(added, "something that was put in is not there");
        });
        let tracks = shared.with(VectorIndex::ids);
        assert!(tracks.iter().filter(|track| track.0 < 5950).count() == 5950);
        assert!(
            !tracks.iter().any(|track| track.0 >= 2 * OF_TASK),
            "something that was taken out is there"
        );
    }

    #[test]
    fn a_batch_goes_in_whole_or_not_at_all_and_makes_itself_room() {
        let options = IndexOptions {
            metric: IndexMetric::Euclidean,
            ..IndexOptions::default()
        };
        let shared = SharedIndex::new(
            VectorIndex::build(&[], Array2::<f32>::zeros((0, 1)).view(), &options).unwrap(),
        );
        let vectors = random(30, 5);
        shared
            .add(&ids(0..10), vectors.slice(s![..10, ..]))
            .unwrap();
        let again = shared.add(&ids(9..12), vectors.slice(s![9..12, ..]));
        assert!(matches!(again, Err(IndexError::Duplicate(Id(9)))));
        let twice = [Id(10), Id(11), Id(10)];
        assert!(shared.add(&twice, vectors.slice(s![10..13, ..])).is_err());
        assert!(matches!(
            shared.add(&ids(10..12), vectors.slice(s![..1, ..])),
            Err(IndexError::Count { .. })
        ));
        assert_eq!(shared.with(VectorIndex::ids), ids(0..10));
        // A hundred times as far out as anything before.
        let far = 100. * &vectors.slice(s![20.., ..]);
        shared.add(&ids(20..30), far.view()).unwrap();
        let found =
            shared.with(|index| index.search(&far.row(3).to_vec(), 1, &SearchParams::default()));
        let nearest = found.unwrap()[0];
        assert_eq!((nearest.id, shared.with(VectorIndex::len)), (Id(23), 20));
        assert!(nearest.similarity.abs() < 1e-2, "{}", nearest.similarity);
    }

    /// Its ids, and its results for each of them.
    fn state(index: &VectorIndex) -> (Vec<Id>, Vec<Option<Vec<f32>>>) {
        let ids = index.ids();
        let vectors = ids.iter().map(|&id| index.vector(id)).collect();
        (ids, vectors)
    }

    fn saved(folder: &Path, n: i64, vectors: &Array2<f32>) -> std::path::PathBuf {
        let path = folder.join("x.index");
        let rows = vectors.slice(s![..n as usize, ..]);
        let index = VectorIndex::build(&ids(0..n), rows, &IndexOptions::default()).unwrap();
        index.save(&path, &stamp(vectors.ncols())).unwrap();
        path
    }

    fn stamp(dimension: usize) -> crate::IndexStamp {
        crate::IndexStamp {
            generation: 3,
            model_fingerprint: "made".to_owned(),
            dimension,
        }
    }

    #[test]
    fn each_change_is_in_the_file_when_it_was_taken() {
        let vectors = random(700, 24);
        let folder = tempfile::tempdir().unwrap();
        let path = saved(folder.path(), 500, &vectors);
        let shared = SharedIndex::open(&path).unwrap();
        let held = SharedIndex::open(&path);
        assert!(matches!(
            held,
            Err(IndexError::Io {
                doing: "locking",
                ..
            })
        ));
        let mut lengths = vec![path.metadata().unwrap().len()];
        let mut states = vec![state(&shared.snapshot())];
        let changes: [&dyn Fn(); 5] = [
            &|| {
                shared
                    .add(&ids(500..600), vectors.slice(s![500..600, ..]))
                    .unwrap();
            },
            &|| assert!(shared.remove(Id(7)).unwrap()),
            &|| {
                shared
                    .upsert(&ids(590..610), vectors.slice(s![..20, ..]))
                    .unwrap();
            },
            &|| assert!(shared.remove(Id(600)).unwrap() && !shared.remove(Id(600)).unwrap()),
            &|| {
                shared
                    .add(&[Id(7)], vectors.slice(s![650..651, ..]))
                    .unwrap();
            },
        ];
        for change in changes {
            change();
            let now = shared.snapshot();
            // Another process may read it meanwhile.
            let (read, read_stamp) = VectorIndex::open(&path).unwrap();
            assert_eq!((state(&read), read_stamp), (state(&now), stamp(24)));
            lengths.push(path.metadata().unwrap().len());
            states.push(state(&now));
        }
        assert!(shared.add(&[Id(7)], vectors.slice(s![..1, ..])).is_err());
        drop(shared);
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(
            bytes.len() as u64,
            lengths[5],
            "what is refused is not written"
        );
        // For each possible length of the last, incomplete change.
        for length in lengths[0]..lengths[5] {
            // Each byte of the short ones, some of the long ones.
            if length > lengths[0] + 100 && length < lengths[1] && length % 97 > 0 {
                continue;
            }
            std::fs::write(&path, &bytes[..length as usize]).unwrap();
            let whole = lengths.iter().rposition(|&end| end <= length).unwrap();
            assert!(
                state(&VectorIndex::open(&path).unwrap().0) == states[whole],
                "{length}"
            );
        }
        let mut room = bytes[..lengths[4] as usize].to_vec();
        room.resize(bytes.len(), 0);
        std::fs::write(&path, &room).unwrap();
        let again = SharedIndex::open(&path).unwrap();
        assert!(state(&again.snapshot()) == states[4]);
        again
            .add(&[Id(7)], vectors.slice(s![650..651, ..]))
            .unwrap();
        drop(again);
        assert!(std::fs::read(&path).unwrap() == bytes);
        // Damage to a change before the last is an error.
        let mut wrong = bytes.clone();
        wrong[lengths[0] as usize + 60] ^= 1;
        std::fs::write(&path, &wrong).unwrap();
        assert!(matches!(
            VectorIndex::open(&path),
            Err(IndexError::Damaged { .. })
        ));
        let without_one = [&bytes[..lengths[1] as usize], &bytes[lengths[2] as usize..]].concat();
        std::fs::write(&path, &without_one).unwrap();
        assert!(matches!(
            SharedIndex::open(&path),
            Err(IndexError::Damaged { .. })
        ));
    }

    #[test]
    fn an_index_that_keeps_itself_is_written_whole_where_it_builds() {
        let vectors = random(9000, 16);
        let folder = tempfile::tempdir().unwrap();
        let path = saved(folder.path(), 3000, &vectors);
        // In two files at first.
        let (mut index, _) = VectorIndex::open(&path).unwrap();
        index.insert(Id(3000), &vectors.row(3000).to_vec()).unwrap();
        index.save_changes(&path, &stamp(16)).unwrap();
        let beside = folder.path().join("x.index.tail");
        assert!(beside.exists());
        let shared = SharedIndex::open(&path).unwrap();
        assert!(!beside.exists() && shared.with(VectorIndex::len) == 3001);
        for from in (3001..8001).step_by(1000) {
            let rows = vectors.slice(s![from..from + 1000, ..]);
            shared
                .add(&ids(from as i64..from as i64 + 1000), rows)
                .unwrap();
            let read = VectorIndex::open(&path).unwrap().0;
            assert_eq!(read.ids(), shared.with(VectorIndex::ids));
        }
        let lists = |index: &VectorIndex| index.stats().list_count;
        let built = shared.with(lists);
        let read = VectorIndex::open(&path).unwrap().0;
        assert!(built > 0 && lists(&read) == built);
        assert!(state(&read) == state(&shared.snapshot()));
        let other = VectorIndex::build(
            &ids(0..10),
            vectors.slice(s![..10, ..3]),
            &IndexOptions::default(),
        );
        shared.replace(other.unwrap()).unwrap();
        drop(shared);
        assert_eq!(
            SharedIndex::open(&path)
                .unwrap()
                .with(|index| (index.len(), index.dimension())),
            (10, 3)
        );
    }

    #[test]
    fn a_file_of_changes_does_not_grow_for_ever() {
        let vectors = random(1200, 16);
        let folder = tempfile::tempdir().unwrap();
        let path = saved(folder.path(), 300, &vectors);
        let whole = path.metadata().unwrap().len();
        let shared = SharedIndex::open(&path).unwrap();
        let mut lengths = Vec::new();
        for round in 0..9 {
            let rows = vectors.slice(s![round * 100..round * 100 + 100, ..]);
            shared.upsert(&ids(0..100), rows).unwrap();
            lengths.push(path.metadata().unwrap().len());
        }
        assert!(
            lengths.iter().all(|&length| length < 3 * whole),
            "{lengths:?}"
        );
        assert!(!lengths.is_sorted(), "{lengths:?}");
        assert!(state(&VectorIndex::open(&path).unwrap().0) == state(&shared.snapshot()));
    }
}
