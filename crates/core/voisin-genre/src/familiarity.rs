//! Whether a track is like the labelled ones at all: what the library lacks must not be called one
//! of its genres.
//!
//! Three things speak for that: a near labelled track by another artist, ten of them, and a
//! probable genre. Each is held against the same of the labelled tracks themselves, as a share of
//! them, and the product of the three shares once more. The form was chosen on music left out with
//! its kin, see `research/quality/open_set_figures.py`. Vectors are compared as they are stored:
//! bringing them into the space of the genres, or taking the mean off, hides what is foreign, since
//! both keep only what tells the library's own tracks apart.

use std::cmp::Ordering;

use ndarray::{Array2, ArrayView2, Axis};
use serde::{Deserialize, Serialize};

use super::{
    LabelledVectors, Near, UnknownReason, data::thinned, nearest::nearest, space::unit_rows,
};
use voisin_base::track::TrackId;

/// Nearest labelled tracks whose mean cosine counts, each for itself.
const NEAREST: [usize; 2] = [1, 10];
/// Labelled tracks that are compared with, at most.
const REFERENCE: usize = 4000;
/// Labelled tracks whose own familiarity is measured, at most.
const OWN: usize = 1000;
/// A track is foreign that fewer than this share of the labelled tracks are as foreign as: so many
/// known ones are called unknown by mistake. With those whose first guess is a genre that the
/// labels lack ([`super::PresentGenres`]) a tenth may be: fitted by
/// `research/quality/open_set_figures.py --fit`.
const FOREIGN_BELOW: f32 = 0.08;
/// Probabilities of tracks less familiar than this fall in proportion: fitted by
/// `research/quality/open_set_figures.py --fit` in an older space. Today's fit is 0.55, which
/// held-out tracks of real music speak against: of strangers named at 85 % it halves the share
/// (0.027 to 0.013 by a head), but what is stated of known tracks, already below their accuracy of
/// 0.785, falls from 0.700 to 0.631 and the Brier score rises from 0.186 to 0.221 (`--known`).
const DOUBT_BELOW: f32 = 0.35;
/// Mean distance (1 - cosine) between a track's windows below which it is a tone or noise: half of
/// the least that is found in the demo's music.
const STEADY_BELOW: f32 = 0.024;
/// Windows that it takes to say so: those of a few seconds of music overlap too far to differ.
const STEADY_WINDOWS: usize = 6;

/// Evidence for a track: cosines to the nearest, as [`NEAREST`] has them, then the probability of
/// its genre.
type Pleas = [f32; NEAREST.len() + 1];

/// How familiar the labelled tracks of a library are to each other, against which others are held.
#[derive(Debug, Clone)]
pub struct Familiarity {
    /// Unit rows.
    reference: Array2<f32>,
    groups: Vec<usize>,
    measured: MeasuredFamiliarity,
}

/// Measurements of labelled tracks; the vectors that others are compared with are not in it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct MeasuredFamiliarity {
    /// Who is compared with.
    pub reference: Vec<TrackId>,
    /// Of labelled tracks, each ascending.
    own: [Vec<f32>; NEAREST.len() + 1],
    /// Products of their shares, ascending.
    joint: Vec<f32>,
}

/// How familiar a track is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Familiar {
    /// Share of the labelled tracks that are no more familiar than this one, above 0 to 1.
    pub share: f32,
    /// Whether its distance to the labelled tracks speaks against it more than the probability of
    /// its genre.
    pub is_distant: bool,
}

impl Familiar {
    /// The answer where nothing is known.
    const YES: Self = Self {
        share: 1.0,
        is_distant: false,
    };

    /// Why it is unknown, if it is.
    pub fn unknown(self) -> Option<UnknownReason> {
        let reason = if self.is_distant {
            UnknownReason::Novel
        } else {
            UnknownReason::Unsure
        };
        (self.share < FOREIGN_BELOW).then_some(reason)
    }

    /// The part of its probability that is left, from 0 to 1.
    pub fn certainty(self) -> f32 {
        (self.share / DOUBT_BELOW).min(1.0)
    }
}

impl Familiarity {
    /// Of the labelled tracks among these.
    ///
    /// - `ask`: is given rows of some of them; the probability of the genre of each, as others will
    ///   be asked
    ///
    /// # Errors
    /// Those of `ask`.
    pub fn of<E>(
        set: &LabelledVectors,
        ask: impl FnOnce(&[usize]) -> Result<Vec<f32>, E>,
    ) -> Result<Self, E> {
        // By their vectors: the same some of them stand for all, whatever numbers a library gave
        // its tracks. Their first numbers, which nearly always differ, are kept beside each other.
        let first = |row: usize| set.vectors.row(row).first().copied().unwrap_or(0.0);
        let mut labelled: Vec<(f32, usize)> = (0..set.labels.len())
            .filter(|&row| !set.labels[row].is_empty())
            .map(|row| (first(row), row))
            .collect();
        labelled.sort_by(|a, b| {
            let whole = || {
                let a = set.vectors.row(a.1);
                let b = set.vectors.row(b.1);
                let mut order = a.iter().zip(b).map(|(a, b)| a.total_cmp(b));
                order.find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
            };
            a.0.total_cmp(&b.0).then_with(whole)
        });
        let some = |most: usize| -> Vec<usize> {
            thinned(labelled.len(), most)
                .into_iter()
                .map(|at| labelled[at].1)
                .collect()
        };
        let groups_of =
            |rows: &[usize]| -> Vec<usize> { rows.iter().map(|&row| set.groups[row]).collect() };
        let rows = some(REFERENCE);
        let measured_rows = some(OWN);
        let mut familiarity = Self {
            reference: unit_rows(set.vectors.select(Axis(0), &rows)),
            groups: groups_of(&rows),
            measured: MeasuredFamiliarity {
                reference: rows.iter().map(|&row| set.ids[row]).collect(),
                ..MeasuredFamiliarity::default()
            },
        };
        let groups: Vec<Option<usize>> = groups_of(&measured_rows).into_iter().map(Some).collect();
        let probabilities = ask(&measured_rows)?;
        let vectors = set.vectors.select(Axis(0), &measured_rows);
        let pleas: Vec<Pleas> = familiarity
            .pleas(vectors, &groups, &probabilities)
            .into_iter()
            .flatten()
            .collect();
        for (at, values) in familiarity.measured.own.iter_mut().enumerate() {
            values.extend(pleas.iter().map(|pleas| pleas[at]));
            values.sort_by(f32::total_cmp);
        }
        familiarity.measured.joint = pleas
            .iter()
            .map(|pleas| familiarity.product(pleas))
            .collect();
        // Sorted, so that a share is found by binary search.
        familiarity.measured.joint.sort_by(f32::total_cmp);
        Ok(familiarity)
    }

    /// As it was measured before.
    ///
    /// - `vectors`, `groups`: of the tracks that are compared with, as far as they are still there
    pub fn again(measured: MeasuredFamiliarity, vectors: Array2<f32>, groups: Vec<usize>) -> Self {
        Self {
            reference: unit_rows(vectors),
            groups,
            measured,
        }
    }

    /// The measurements, to be kept.
    pub fn measured(&self) -> &MeasuredFamiliarity {
        &self.measured
    }

    /// Evidence for each row, from labelled tracks outside its group; `None` where there are none.
    fn pleas(
        &self,
        rows: Array2<f32>,
        groups: &[Option<usize>],
        probabilities: &[f32],
    ) -> Vec<Option<Pleas>> {
        let rows = unit_rows(rows);
        // Tracks of the same artist would make every labelled track familiar.
        let other = |q: usize, r: usize| groups[q] != Some(self.groups[r]);
        let lists = nearest(rows.view(), self.reference.view(), NEAREST[1], other);
        let mean = |list: &[Near]| {
            list.iter().map(|near| near.similarity).sum::<f32>() / list.len() as f32
        };
        let evidence_of = |(list, probability): (&Vec<Near>, &f32)| {
            let [nearest, around] = NEAREST.map(|most| mean(&list[..list.len().min(most)]));
            (!list.is_empty()).then_some([nearest, around, *probability])
        };
        lists.iter().zip(probabilities).map(evidence_of).collect()
    }

    fn shares_of(&self, pleas: &Pleas) -> Pleas {
        std::array::from_fn(|at| share_up_to(&self.measured.own[at], pleas[at]))
    }

    fn product(&self, pleas: &Pleas) -> f32 {
        self.shares_of(pleas).iter().product()
    }

    /// How familiar each row is.
    ///
    /// - `groups`: of rows that are labelled tracks themselves, as they were given
    /// - `probabilities`: of the genre of each
    pub fn judge(
        &self,
        rows: ArrayView2<f32>,
        groups: &[Option<usize>],
        probabilities: &[f32],
    ) -> Vec<Familiar> {
        let familiar = |pleas: Option<Pleas>| {
            pleas.map_or(Familiar::YES, |pleas| {
                let [nearest, around, sure] = self.shares_of(&pleas);
                Familiar {
                    share: share_up_to(&self.measured.joint, self.product(&pleas)),
                    is_distant: nearest.min(around) <= sure,
                }
            })
        };
        self.pleas(rows.to_owned(), groups, probabilities)
            .into_iter()
            .map(familiar)
            .collect()
    }
}

/// Share of ascending values, and this one among them, that are no greater.
fn share_up_to(ascending: &[f32], value: f32) -> f32 {
    let no_greater = ascending.partition_point(|other| *other <= value);
    // The value itself counts with the others, so that no share is 0.
    (1 + no_greater) as f32 / (1 + ascending.len()) as f32
}

/// Whether sound hardly changes from window to window, as a tone or noise: music does.
///
/// - `windows`: `[windows, dimension]`
pub fn is_steady(windows: ArrayView2<f32>) -> bool {
    let n = windows.nrows() as f64;
    let sum = unit_rows(windows.to_owned())
        .mapv(f64::from)
        .sum_axis(Axis(0));
    // The mean over pairs from the square of the sum: n² cosines without comparing n² pairs.
    let mean_cosine = (sum.dot(&sum) - n) / (n * (n - 1.0));
    windows.nrows() >= STEADY_WINDOWS && 1.0 - mean_cosine < f64::from(STEADY_BELOW)
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;
    use crate::Genre;
    use voisin_base::track::TrackId;

    /// Tracks around a direction, three an artist.
    fn around(axis: usize, n: usize, seed: u64) -> Array2<f32> {
        let mut rng = StdRng::seed_from_u64(seed);
        Array2::from_shape_fn((n, 12), |(_, j)| {
            f32::from(u8::from(j == axis)) + 0.5 * (rng.random::<f32>() - 0.5)
        })
    }

    /// Probabilities of tracks whose genre is as sure as these, from 0.5 to nearly 1.
    fn sure(n: usize) -> Vec<f32> {
        (0..n)
            .map(|i| 0.5 + (i * 37 % n) as f32 / (2 * n) as f32)
            .collect()
    }

    fn of(set: &LabelledVectors) -> Familiarity {
        // by their numbers, so that the order of tracks does not matter
        let ask = |rows: &[usize]| {
            let all = sure(set.ids.len());
            Ok::<_, std::convert::Infallible>(
                rows.iter()
                    .map(|&row| all[set.ids[row].0 as usize % all.len()])
                    .collect(),
            )
        };
        let Ok(familiarity) = Familiarity::of(set, ask);
        familiarity
    }

    #[test]
    fn strangers_are_less_familiar_than_nearly_all_labelled_tracks() {
        let vectors =
            ndarray::concatenate![Axis(0), around(0, 60, 1), around(1, 60, 2), around(5, 6, 3)];
        let ids: Vec<TrackId> = (0..126).map(TrackId).collect();
        let groups: Vec<usize> = (0..126).map(|i| i / 3).collect();
        let genre = |i: usize| match i {
            0..60 => vec![Genre::plain("a")],
            60..120 => vec![Genre::plain("b")],
            // never labelled, and so no part of what is known
            _ => Vec::new(),
        };
        let labels: Vec<Vec<Genre>> = (0..126).map(genre).collect();
        let set = LabelledVectors {
            ids: &ids,
            vectors: vectors.view(),
            labels: &labels,
            groups: &groups,
        };
        let known = of(&set);
        let foreign = |rows: Array2<f32>, probability: f32| {
            let n = rows.nrows();
            let verdicts = known.judge(rows.view(), &vec![None; n], &vec![probability; n]);
            verdicts
                .iter()
                .filter(|verdict| verdict.unknown().is_some())
                .count() as f64
                / n as f64
        };
        assert!(foreign(around(5, 50, 4), 0.9) > 0.95 && foreign(around(0, 200, 5), 0.9) < 0.2);
        // as near, and of no genre
        let unsure = known.judge(around(0, 50, 5).view(), &[None; 50], &[0.1; 50]);
        assert!(unsure.iter().filter(|verdict| verdict.share < 0.35).count() > 25);
        assert!(foreign(around(0, 200, 5), 0.1) > 2.0 * foreign(around(0, 200, 5), 0.9));
        // the labelled tracks themselves, their own artists left out: so many, by what the words
        // mean
        let own_groups: Vec<Option<usize>> = groups[..120].iter().copied().map(Some).collect();
        let verdicts = known.judge(
            vectors.slice(ndarray::s![..120, ..]),
            &own_groups,
            &sure(126)[..120],
        );
        let lost = verdicts
            .iter()
            .filter(|verdict| verdict.unknown().is_some())
            .count();
        assert!((8..=11).contains(&lost), "{lost}");
        // four tracks are too few to call anything foreign
        let few = set.select(&[0, 3, 60, 63]);
        let verdicts = of(&few.set()).judge(around(5, 5, 6).view(), &[None; 5], &[0.1; 5]);
        assert!(
            verdicts.iter().all(|verdict| verdict.unknown().is_none()),
            "{verdicts:?}"
        );
    }

    #[test]
    fn familiarity_does_not_depend_on_the_order_of_tracks() {
        let n = OWN + 300;
        let vectors = around(0, n, 7);
        let ids: Vec<TrackId> = (0..n as i64).map(TrackId).collect();
        let groups: Vec<usize> = (0..n).collect();
        let labels = vec![vec![Genre::plain("a")]; n];
        let set = LabelledVectors {
            ids: &ids,
            vectors: vectors.view(),
            labels: &labels,
            groups: &groups,
        };
        let backwards: Vec<usize> = (0..n).rev().collect();
        let turned = set.select(&backwards);
        let some = around(3, 20, 8);
        let verdicts = |set: &LabelledVectors| of(set).judge(some.view(), &[None; 20], &[0.5; 20]);
        assert_eq!(verdicts(&set), verdicts(&turned.set()));
        assert!(of(&set).measured.joint.len() < n);
    }

    #[test]
    fn sound_without_change_is_steady() {
        let steady = |noise: f32, n: usize| {
            let mut rng = StdRng::seed_from_u64(9);
            let windows = Array2::from_shape_fn((n, 50), |(_, j)| {
                (j % 7) as f32 + noise * (rng.random::<f32>() - 0.5)
            });
            is_steady(windows.view())
        };
        assert!(steady(0.0, 10) && steady(0.5, 10) && !steady(5.0, 10));
        assert!(!steady(0.0, 5) && !steady(0.0, 0));
    }
}
