//! Labelled tracks, and the training set as numbers.

use std::collections::HashMap;

use ndarray::{Array2, ArrayView2, Axis};

use super::{Fold, split_folds};
use super::{Genre, GenreError, LabelCount, Spellings};
use voisin_base::random::Random;
use voisin_base::track::TrackId;

/// Labelled tracks.
#[derive(Debug, Clone, Copy)]
pub struct LabelledVectors<'a> {
    pub ids: &'a [TrackId],
    /// Track vectors, `[tracks, dimension]`.
    pub vectors: ArrayView2<'a, f32>,
    /// Genres of each track; tracks without any are not used for training.
    pub labels: &'a [Vec<Genre>],
    /// Group of each track that must not be on both sides of a split, such as its artist, as a number.
    pub groups: &'a [usize],
}

/// Labelled tracks with owned data.
#[derive(Debug, Clone)]
pub struct LabelledRows {
    pub ids: Vec<TrackId>,
    /// Track vectors, `[tracks, dimension]`.
    pub vectors: Array2<f32>,
    pub labels: Vec<Vec<Genre>>,
    /// Groups that must not be on both sides of a split.
    pub groups: Vec<usize>,
}

impl LabelledRows {
    pub fn set(&self) -> LabelledVectors<'_> {
        LabelledVectors {
            ids: &self.ids,
            vectors: self.vectors.view(),
            labels: &self.labels,
            groups: &self.groups,
        }
    }
}

impl LabelledVectors<'_> {
    pub fn select(&self, rows: &[usize]) -> LabelledRows {
        LabelledRows {
            ids: rows.iter().map(|&row| self.ids[row]).collect(),
            vectors: self.vectors.select(Axis(0), rows),
            labels: rows.iter().map(|&row| self.labels[row].clone()).collect(),
            groups: rows.iter().map(|&row| self.groups[row]).collect(),
        }
    }
}

pub(super) fn check_finite(what: &'static str, vectors: ArrayView2<f32>) -> Result<(), GenreError> {
    for (row, vector) in vectors.outer_iter().enumerate() {
        if !vector.iter().all(|v| v.is_finite()) {
            return Err(GenreError::NotFinite { what, row });
        }
    }
    Ok(())
}

pub(super) fn same_rows(
    what: &'static str,
    expected: usize,
    found: usize,
) -> Result<(), GenreError> {
    if expected == found {
        Ok(())
    } else {
        Err(GenreError::Rows {
            what,
            expected,
            found,
        })
    }
}

/// Rows spread over `0..n`, ascending, at most `most` (and at least half of that if `n` allows): one
/// of each run of equal length, at a pseudorandom place, so that regular orders of tracks have no
/// effect.
pub fn thinned(n: usize, most: usize) -> Vec<usize> {
    // Runs of equal length, because tracks that were added together are similar.
    let run = n.div_ceil(most.max(1)).max(1);
    // Always the same seed, so that the sample of a library is reproducible.
    let mut hashes = Random::new(0);
    (0..n.div_ceil(run))
        .map(|i| {
            let first = i * run;
            first + (hashes.u64() % run.min(n - first) as u64) as usize
        })
        .collect()
}

/// Scales each row to length 1; rows of zeros stay.
pub fn unit_rows(mut x: Array2<f32>) -> Array2<f32> {
    for mut row in x.outer_iter_mut() {
        let squares = row.iter().map(|v| f64::from(*v).powi(2));
        let norm = squares.sum::<f64>().sqrt();
        if norm > 1e-12 {
            row.mapv_inplace(|v| (f64::from(v) / norm) as f32);
        }
    }
    x
}

/// The training set as numbers: rows with at least one genre, their classes, groups.
#[derive(Debug, Clone)]
pub(super) struct Examples {
    pub(super) ids: Vec<TrackId>,
    /// `[n, d]`
    pub(super) x: Array2<f32>,
    pub(super) classes: Vec<Vec<usize>>,
    pub(super) genres: Vec<Genre>,
    pub(super) groups: Vec<usize>,
    /// Rows in the caller's set.
    pub(super) origin: Vec<usize>,
}

impl Examples {
    /// Checks the set and keeps its labelled rows.
    pub(super) fn new(set: &LabelledVectors) -> Result<Self, GenreError> {
        Self::some(set, usize::MAX)
    }

    /// The same, thinned to `most` rows, with all genres.
    pub(super) fn some(set: &LabelledVectors, most: usize) -> Result<Self, GenreError> {
        let n = set.vectors.nrows();
        same_rows("ids", n, set.ids.len())?;
        same_rows("labels", n, set.labels.len())?;
        same_rows("groups", n, set.groups.len())?;
        check_finite("vectors", set.vectors)?;
        let genres = Spellings::count(set.labels.iter().flatten()).genres();
        let classes: Vec<Vec<usize>> = set
            .labels
            .iter()
            .map(|labels| {
                let mut c: Vec<usize> = labels
                    .iter()
                    .filter_map(|g| genres.binary_search(g).ok())
                    .collect();
                // A genre in two spellings counts once.
                c.sort_unstable();
                c.dedup();
                c
            })
            .collect();
        let labelled: Vec<usize> = (0..n).filter(|&i| !classes[i].is_empty()).collect();
        // Checked before anything is fitted.
        GenreError::check_enough(LabelCount::of(set.labels))?;
        let rows: Vec<usize> = thinned(labelled.len(), most)
            .into_iter()
            .map(|at| labelled[at])
            .collect();
        Ok(Self {
            ids: rows.iter().map(|&r| set.ids[r]).collect(),
            x: set.vectors.select(Axis(0), &rows),
            classes: rows.iter().map(|&r| classes[r].clone()).collect(),
            genres,
            groups: rows.iter().map(|&r| set.groups[r]).collect(),
            origin: rows,
        })
    }

    /// Whole groups up to some number of tracks, in a seeded order.
    pub(super) fn sampled(self, most: usize, seed: u64) -> Self {
        if self.len() <= most {
            return self;
        }
        let mut groups = self.groups.clone();
        groups.sort_unstable();
        groups.dedup();
        // Groups are drawn, so that an artist is in the sample with all tracks.
        Random::new(seed).shuffle(&mut groups);
        let place: HashMap<usize, usize> =
            groups.iter().enumerate().map(|(i, g)| (*g, i)).collect();
        let mut order: Vec<usize> = (0..self.len()).collect();
        order.sort_by_key(|&i| place[&self.groups[i]]);
        order.truncate(most);
        order.sort_unstable();
        self.subset(&order)
    }

    pub(super) fn len(&self) -> usize {
        self.x.nrows()
    }

    pub(super) fn n_classes(&self) -> usize {
        self.genres.len()
    }

    /// Soft targets, `[n, classes]`: each track's genres sum to 1.
    pub(super) fn targets(&self) -> Array2<f32> {
        targets(&self.classes, self.n_classes())
    }

    pub(super) fn genres_of(&self, row: usize) -> Vec<Genre> {
        self.classes[row]
            .iter()
            .map(|&class| self.genres[class].clone())
            .collect()
    }

    pub(super) fn subset(&self, rows: &[usize]) -> Self {
        Self {
            ids: rows.iter().map(|&r| self.ids[r]).collect(),
            x: self.x.select(Axis(0), rows),
            classes: rows.iter().map(|&r| self.classes[r].clone()).collect(),
            genres: self.genres.clone(),
            groups: rows.iter().map(|&r| self.groups[r]).collect(),
            origin: rows.iter().map(|&r| self.origin[r]).collect(),
        }
    }

    /// At most `k` folds of its rows.
    pub(super) fn folds(&self, k: usize, seed: u64) -> Vec<Fold> {
        split_folds(&self.classes, self.n_classes(), &self.groups, k, [seed])
    }

    /// Tracks per class; a track with several genres counts for each.
    pub(super) fn counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.n_classes()];
        for &class in self.classes.iter().flatten() {
            counts[class] += 1;
        }
        counts
    }
}

pub(super) fn targets(classes: &[Vec<usize>], n_classes: usize) -> Array2<f32> {
    let mut targets = Array2::zeros((classes.len(), n_classes));
    for (i, of_track) in classes.iter().enumerate() {
        for &class in of_track {
            targets[[i, class]] = 1.0 / of_track.len() as f32;
        }
    }
    targets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thinning_keeps_every_genre_of_a_regular_order() {
        assert_eq!(thinned(5, 10), [0, 1, 2, 3, 4]);
        assert!(thinned(0, 10).is_empty());
        let rows = thinned(20_000, 4000);
        assert!(rows.len() == 4000 && rows.is_sorted() && rows.iter().all(|r| *r < 20_000));
        for genre in 0..20 {
            let n = rows.iter().filter(|r| **r % 20 == genre).count();
            assert!((140..260).contains(&n), "{genre}: {n}");
        }
    }
}
