//! An index that threads search while others change it.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockWriteGuard};

use ndarray::ArrayView2;
use voisin_base::track::TrackId;

use super::{IndexError, VectorIndex};

/// A [`VectorIndex`] behind a lock: [`add`](Self::add) and [`remove`](Self::remove) hold searches up for microseconds, and
/// building again, which they do by themselves where it pays, for no longer.
pub struct SharedIndex {
    state: RwLock<SharedState>,
    /// Held by whoever builds.
    building: Mutex<()>,
}

struct SharedState {
    index: VectorIndex,
    /// What was put in or taken out since a build began.
    changed: Option<HashSet<TrackId>>,
}

impl SharedState {
    fn note(&mut self, track: TrackId) {
        if let Some(changed) = &mut self.changed {
            changed.insert(track);
        }
    }
}

impl SharedIndex {
    /// Takes an index over.
    pub fn new(index: VectorIndex) -> Self {
        Self { state: RwLock::new(SharedState { index, changed: None }), building: Mutex::new(()) }
    }

    /// The index as it is now, for searches; changes wait until `work` is done.
    pub fn with<T>(&self, work: impl FnOnce(&VectorIndex) -> T) -> T {
        work(&self.state.read().unwrap_or_else(PoisonError::into_inner).index)
    }

    fn write(&self) -> RwLockWriteGuard<'_, SharedState> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts vectors in (`[ids.len(), dimension]`): all of them, or none where there is an error. The first vectors of an
    /// empty index decide its dimension.
    pub fn add(&self, ids: &[TrackId], vectors: ArrayView2<'_, f32>) -> Result<(), IndexError> {
        if ids.len() != vectors.nrows() {
            return Err(IndexError::Count { ids: ids.len(), vectors: vectors.nrows() });
        }
        let inserted = {
            let mut state = self.write();
            let mut inserted = Ok(());
            for (at, (&track, vector)) in ids.iter().zip(vectors.outer_iter()).enumerate() {
                inserted = state.index.insert(track, &vector.to_vec());
                if inserted.is_err() {
                    ids[..at].iter().for_each(|&track| _ = state.index.remove(track));
                    break;
                }
                state.note(track);
            }
            inserted
        };
        match inserted {
            Ok(()) => self.rebuild_where_it_pays(),
            // Room is made by building.
            Err(IndexError::TooFar { .. }) => self.build(&self.building(), ids, vectors),
            Err(IndexError::Dimension { .. }) if self.with(VectorIndex::is_empty) => {
                self.build(&self.building(), ids, vectors)
            }
            Err(error) => Err(error),
        }
    }

    /// Takes a vector out; false if it was not there.
    pub fn remove(&self, track: TrackId) -> bool {
        let removed = {
            let mut state = self.write();
            state.note(track);
            state.index.remove(track)
        };
        // What was there before is as good, only slower.
        let _ = self.rebuild_where_it_pays();
        removed
    }

    fn building(&self) -> MutexGuard<'_, ()> {
        self.building.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rebuild_where_it_pays(&self) -> Result<(), IndexError> {
        if !self.with(VectorIndex::needs_rebuild) {
            return Ok(());
        }
        // Another thread may have built meanwhile.
        let building = self.building();
        if self.with(VectorIndex::needs_rebuild) { self.build_from_itself(&building) } else { Ok(()) }
    }

    /// Puts another index in this one's place.
    pub fn replace(&self, index: VectorIndex) {
        let _building = self.building();
        self.write().index = index;
    }

    /// Builds again from the vectors as the index holds them, while the old index is searched and changed.
    pub fn rebuild(&self) -> Result<(), IndexError> {
        self.build_from_itself(&self.building())
    }

    fn build_from_itself(&self, building: &MutexGuard<'_, ()>) -> Result<(), IndexError> {
        let none = ndarray::Array2::zeros((0, self.with(VectorIndex::dimension)));
        self.build(building, &[], none.view())
    }

    /// Builds of everything and these; `_building` says that nobody else does.
    fn build(
        &self,
        _building: &MutexGuard<'_, ()>,
        ids: &[TrackId],
        vectors: ArrayView2<'_, f32>,
    ) -> Result<(), IndexError> {
        self.write().changed = Some(HashSet::new());
        let built = self.with(|index| index.gathered(ids, vectors)).and_then(|gathered| gathered.build());
        let mut state = self.write();
        let changed = state.changed.take().unwrap_or_default();
        let mut new = built?;
        for track in changed {
            if !ids.contains(&track) {
                new.remove(track);
                if let Some(vector) = state.index.vector(track) {
                    new.insert(track, &vector)?;
                }
            }
        }
        state.index = new;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{IndexMetric, IndexOptions, SearchParams};
    use ndarray::{Array2, s};
    use rand::{Rng, SeedableRng, rngs::StdRng};
    use std::sync::atomic::{AtomicBool, Ordering};

    fn ids(range: std::ops::Range<i64>) -> Vec<TrackId> {
        range.map(TrackId).collect()
    }

    fn random(n: usize, dimension: usize) -> Array2<f32> {
        let mut rng = StdRng::seed_from_u64(n as u64);
        Array2::from_shape_simple_fn((n, dimension), || rng.random::<f32>() - 0.5)
    }

    #[test]
    fn searches_go_on_while_vectors_come_and_go() {
        let vectors = random(9000, 24);
        let options = IndexOptions { lists_from: 2000, ..IndexOptions::default() };
        let index = VectorIndex::build(&ids(0..1000), vectors.slice(s![..1000, ..]), &options).unwrap();
        let shared = SharedIndex::new(index);
        let done = AtomicBool::new(false);
        let finds = |row: i64| {
            let query = vectors.row(row as usize).to_vec();
            shared.with(|index| index.search(&query, 1, &SearchParams::default())).unwrap()[0].track
        };
        std::thread::scope(|scope| {
            let searching: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| {
                        let mut n = 0_i64;
                        while !done.load(Ordering::Relaxed) || n == 0 {
                            // The first five hundred are never taken out.
                            assert_eq!(finds(n % 500), TrackId(n % 500));
                            n += 1;
                        }
                    })
                })
                .collect();
            for from in (1000..9000).step_by(500) {
                let rows = vectors.slice(s![from..from + 500, ..]);
                shared.add(&ids(from as i64..from as i64 + 500), rows).unwrap();
                assert_eq!(finds(from as i64 + 499), TrackId(from as i64 + 499));
            }
            for id in 500..700 {
                assert!(shared.remove(TrackId(id)) && !shared.remove(TrackId(id)));
            }
            done.store(true, Ordering::Relaxed);
            searching.into_iter().for_each(|thread| thread.join().unwrap());
        });
        let (len, lists) = shared.with(|index| (index.len(), index.stats().list_count));
        // Lists were made on the way.
        assert!(len == 8800 && lists > 10, "{len} {lists}");
        assert!((500..700).all(|id| finds(id) != TrackId(id)));
    }

    #[test]
    fn changes_during_a_build_are_in_its_result() {
        let vectors = random(20_000, 16);
        let index =
            VectorIndex::build(&ids(0..19_000), vectors.slice(s![..19_000, ..]), &IndexOptions::default());
        let shared = SharedIndex::new(index.unwrap());
        std::thread::scope(|scope| {
            let builder = scope.spawn(|| shared.rebuild().unwrap());
            for id in 19_000..19_500 {
                shared.add(&[TrackId(id)], vectors.slice(s![id as usize..=id as usize, ..])).unwrap();
                assert!(shared.remove(TrackId(id - 19_000)));
            }
            // One that goes and comes back as another.
            shared.remove(TrackId(700));
            shared.add(&[TrackId(700)], vectors.slice(s![19_999.., ..])).unwrap();
            builder.join().unwrap();
        });
        shared.with(|index| {
            assert_eq!(index.tracks(), ids(500..19_500));
            let found = index.search(&vectors.row(19_999).to_vec(), 1, &SearchParams::default()).unwrap();
            assert_eq!(found[0].track, TrackId(700));
        });
    }

    #[test]
    fn a_batch_goes_in_whole_or_not_at_all_and_makes_itself_room() {
        let options = IndexOptions { metric: IndexMetric::Euclidean, ..IndexOptions::default() };
        let shared =
            SharedIndex::new(VectorIndex::build(&[], Array2::zeros((0, 1)).view(), &options).unwrap());
        let vectors = random(30, 5);
        shared.add(&ids(0..10), vectors.slice(s![..10, ..])).unwrap();
        let again = shared.add(&ids(9..12), vectors.slice(s![9..12, ..]));
        assert!(matches!(again, Err(IndexError::Duplicate(TrackId(9)))));
        let twice = [TrackId(10), TrackId(11), TrackId(10)];
        assert!(shared.add(&twice, vectors.slice(s![10..13, ..])).is_err());
        assert!(matches!(
            shared.add(&ids(10..12), vectors.slice(s![..1, ..])),
            Err(IndexError::Count { .. })
        ));
        assert_eq!(shared.with(VectorIndex::tracks), ids(0..10));
        // A hundred times as far out as anything before.
        let far = 100. * &vectors.slice(s![20.., ..]);
        shared.add(&ids(20..30), far.view()).unwrap();
        let found = shared.with(|index| index.search(&far.row(3).to_vec(), 1, &SearchParams::default()));
        let nearest = found.unwrap()[0];
        assert_eq!((nearest.track, shared.with(VectorIndex::len)), (TrackId(23), 20));
        assert!(nearest.similarity.abs() < 1e-2, "{}", nearest.similarity);
    }
}
