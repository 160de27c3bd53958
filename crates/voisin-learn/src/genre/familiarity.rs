//! Whether a track is like the labelled ones at all: what the library lacks must not be called one of its genres.
//!
//! The form was chosen on music left out with its kin, see `scripts/open_set_figures.py`: the mean cosine to the nearest
//! labelled tracks by other artists, of vectors as they are stored. Bringing them into the space of the genres, or taking
//! the mean off, hides what is foreign: both keep only what tells the library's own tracks apart.

use ndarray::{Array2, ArrayView2, Axis};

use super::{LabelledVectors, Near, data::thinned, nearest::nearest, space::unit_rows};

/// Nearest labelled tracks that count.
const NEAREST: usize = 10;
/// Labelled tracks that are compared with, at most.
const REFERENCE: usize = 4000;
/// Labelled tracks whose own familiarity is measured, at most.
const OWN: usize = 1000;
/// A track is foreign that fewer than this share of the labelled tracks are as far from the others: so many known ones are
/// called unknown by mistake. With those whose first guess is a genre that the labels lack ([`super::PresentGenres`]) a tenth
/// may be: fitted by `scripts/open_set_figures.py --fit`.
pub const FOREIGN_BELOW: f32 = 0.08;
/// Probabilities of tracks less familiar than this fall in proportion: fitted by `scripts/open_set_figures.py --fit`.
const DOUBT_BELOW: f32 = 0.25;
/// Mean distance (1 - cosine) between a track's windows below which it is a tone or noise: half of the least that is found
/// in the demo's music.
const STEADY_BELOW: f32 = 0.024;
/// Windows that it takes to say so: those of a few seconds of music overlap too far to differ.
const STEADY_WINDOWS: usize = 6;

/// How near the labelled tracks of a library are to each other, against which others are held.
#[derive(Debug, Clone)]
pub struct Familiarity {
    /// Unit rows.
    reference: Array2<f32>,
    groups: Vec<usize>,
    /// Nearness of the labelled tracks to those by other artists, ascending.
    own: Vec<f32>,
}

impl Familiarity {
    /// Of the labelled tracks among these.
    pub fn of(set: &LabelledVectors) -> Self {
        let mut labelled: Vec<usize> =
            (0..set.labels.len()).filter(|&row| !set.labels[row].is_empty()).collect();
        // By their vectors: the same some of them stand for all, whatever numbers a library gave its tracks.
        labelled.sort_by(|&a, &b| {
            let (a, b) = (set.vectors.row(a), set.vectors.row(b));
            let order = a.iter().zip(b).map(|(a, b)| a.total_cmp(b));
            order.into_iter().find(|order| order.is_ne()).unwrap_or(std::cmp::Ordering::Equal)
        });
        let some = |most: usize| -> Vec<usize> {
            thinned(labelled.len(), most).into_iter().map(|at| labelled[at]).collect()
        };
        let groups_of = |rows: &[usize]| -> Vec<usize> { rows.iter().map(|&row| set.groups[row]).collect() };
        let (rows, judged) = (some(REFERENCE), some(OWN));
        let mut familiarity = Self {
            reference: unit_rows(set.vectors.select(Axis(0), &rows)),
            groups: groups_of(&rows),
            own: Vec::new(),
        };
        let groups: Vec<Option<usize>> = groups_of(&judged).into_iter().map(Some).collect();
        let near = familiarity.nearness(set.vectors.select(Axis(0), &judged), &groups);
        familiarity.own = near.into_iter().flatten().collect();
        familiarity.own.sort_by(f32::total_cmp);
        familiarity
    }

    /// Mean cosine of each row to the nearest labelled tracks outside its group; `None` where there are none.
    fn nearness(&self, rows: Array2<f32>, groups: &[Option<usize>]) -> Vec<Option<f32>> {
        let rows = unit_rows(rows);
        let other = |q: usize, r: usize| groups[q] != Some(self.groups[r]);
        let lists = nearest(rows.view(), self.reference.view(), NEAREST, other);
        let mean = |list: &Vec<Near>| {
            (!list.is_empty())
                .then(|| list.iter().map(|near| near.similarity).sum::<f32>() / list.len() as f32)
        };
        lists.iter().map(mean).collect()
    }

    /// How usual it is among the labelled tracks to be as far from the others as each row is, above 0 to 1; 1 where
    /// nothing can be said.
    ///
    /// - `groups`: of rows that are labelled tracks themselves, as they were given
    pub fn shares(&self, rows: ArrayView2<f32>, groups: &[Option<usize>]) -> Vec<f32> {
        let share = |near: Option<f32>| {
            near.map_or(1.0, |near| {
                let as_far = self.own.partition_point(|own| *own <= near);
                (1 + as_far) as f32 / (1 + self.own.len()) as f32
            })
        };
        self.nearness(rows.to_owned(), groups).into_iter().map(share).collect()
    }
}

/// What is left of a probability, of a track so familiar: a part, from 0 to 1.
pub fn certainty(share: f32) -> f32 {
    (share / DOUBT_BELOW).min(1.0)
}

/// Whether sound hardly changes from window to window, as a tone or noise: music does.
///
/// - `windows`: `[windows, dimension]`
pub fn is_steady(windows: ArrayView2<f32>) -> bool {
    let n = windows.nrows() as f64;
    let sum = unit_rows(windows.to_owned()).mapv(f64::from).sum_axis(Axis(0));
    let mean_cosine = (sum.dot(&sum) - n) / (n * (n - 1.0));
    windows.nrows() >= STEADY_WINDOWS && 1.0 - mean_cosine < f64::from(STEADY_BELOW)
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;
    use crate::genre::Genre;
    use voisin_base::track::TrackId;

    /// Tracks around a direction, three an artist.
    fn around(axis: usize, n: usize, seed: u64) -> Array2<f32> {
        let mut rng = StdRng::seed_from_u64(seed);
        Array2::from_shape_fn((n, 12), |(_, j)| {
            f32::from(u8::from(j == axis)) + 0.5 * (rng.random::<f32>() - 0.5)
        })
    }

    #[test]
    fn strangers_are_less_familiar_than_nearly_all_labelled_tracks() {
        let vectors = ndarray::concatenate![Axis(0), around(0, 60, 1), around(1, 60, 2), around(5, 6, 3)];
        let ids: Vec<TrackId> = (0..126).map(TrackId).collect();
        let groups: Vec<usize> = (0..126).map(|i| i / 3).collect();
        let genre = |i: usize| match i {
            0..60 => vec![Genre::plain("a")],
            60..120 => vec![Genre::plain("b")],
            // never labelled, and so no part of what is known
            _ => Vec::new(),
        };
        let labels: Vec<Vec<Genre>> = (0..126).map(genre).collect();
        let set = LabelledVectors { ids: &ids, vectors: vectors.view(), labels: &labels, groups: &groups };
        let known = Familiarity::of(&set);
        let foreign = |rows: Array2<f32>| {
            let shares = known.shares(rows.view(), &vec![None; rows.nrows()]);
            shares.iter().filter(|share| **share < FOREIGN_BELOW).count() as f64 / shares.len() as f64
        };
        assert!(foreign(around(5, 50, 4)) > 0.95 && foreign(around(0, 200, 5)) < 0.2);
        // the labelled tracks themselves, their own artists left out: so many, by what the words mean
        let own: Vec<Option<usize>> = groups[..120].iter().copied().map(Some).collect();
        let shares = known.shares(vectors.slice(ndarray::s![..120, ..]), &own);
        let lost = shares.iter().filter(|share| **share < FOREIGN_BELOW).count();
        assert!((8..=11).contains(&lost), "{lost}");
        // four tracks are too few to call anything foreign
        let few = set.select(&[0, 3, 60, 63]);
        let shares = Familiarity::of(&few.set()).shares(around(5, 5, 6).view(), &[None; 5]);
        assert!(shares.iter().all(|share| *share >= FOREIGN_BELOW), "{shares:?}");
    }

    #[test]
    fn familiarity_does_not_depend_on_the_order_of_tracks() {
        let n = OWN + 300;
        let vectors = around(0, n, 7);
        let ids: Vec<TrackId> = (0..n as i64).map(TrackId).collect();
        let groups: Vec<usize> = (0..n).collect();
        let labels = vec![vec![Genre::plain("a")]; n];
        let set = LabelledVectors { ids: &ids, vectors: vectors.view(), labels: &labels, groups: &groups };
        let backwards: Vec<usize> = (0..n).rev().collect();
        let turned = set.select(&backwards);
        let some = around(3, 20, 8);
        let shares = |set: &LabelledVectors| Familiarity::of(set).shares(some.view(), &[None; 20]);
        assert_eq!(shares(&set), shares(&turned.set()));
        assert!(Familiarity::of(&set).own.len() < n);
    }

    #[test]
    fn sound_without_change_is_steady() {
        let steady = |noise: f32, n: usize| {
            let mut rng = StdRng::seed_from_u64(9);
            let windows =
                Array2::from_shape_fn((n, 50), |(_, j)| (j % 7) as f32 + noise * (rng.random::<f32>() - 0.5));
            is_steady(windows.view())
        };
        assert!(steady(0.0, 10) && steady(0.5, 10) && !steady(5.0, 10));
        assert!(!steady(0.0, 5) && !steady(0.0, 0));
    }
}
