//! Familiarity: how similar a track is to the labelled ones, so that music of genres that the
//! library lacks is called unknown.
//!
//! It has three parts: similarity to the nearest labelled track by another artist, to the ten
//! nearest, and the probability of the genre. Each is converted to the share of labelled tracks with
//! no greater value, and so is the product of the three shares. The method was chosen on music left
//! out together with related genres, see `research/quality/open_set_figures.py`. It compares raw
//! vectors: centring or the space of genres would hide foreign music, since they keep only
//! directions in which the library's own tracks differ.

use std::cmp::Ordering;

use ndarray::{Array2, ArrayView2, Axis};
use serde::{Deserialize, Serialize};

use super::{
    LabelledVectors, Near, UnknownReason, data::thinned, nearest::nearest, space::unit_rows,
};
use voisin_base::track::TrackId;

/// Numbers of nearest labelled tracks over which mean cosines are taken.
const NEAREST: [usize; 2] = [1, 10];
/// Most labelled tracks to compare with.
const REFERENCE: usize = 4000;
/// Most labelled tracks whose familiarity is measured.
const MEASURED: usize = 1000;
/// A track is foreign if fewer than this share of the labelled tracks are as foreign; so many known
/// tracks are called unknown by mistake: fitted by `research/quality/open_set_figures.py --fit`.
const FOREIGN_BELOW: f32 = 0.08;
/// Probabilities of tracks less familiar than this are reduced in proportion: fitted by
/// `research/quality/open_set_figures.py --fit` in an older space. A new fit gives 0.55, which is
/// worse on held-out tracks: it halves the share of foreign tracks that are named at 85 % (0.027 to
/// 0.013 with a head), but the mean probability of known tracks, already below their accuracy of
/// 0.785, falls from 0.700 to 0.631 and the Brier score rises from 0.186 to 0.221 (`--known`).
const DOUBT_BELOW: f32 = 0.35;
/// Mean distance (1 - cosine) between a track's windows below which it is a tone or noise: half of
/// the minimum in the demo's music.
const STEADY_BELOW: f32 = 0.024;
/// Fewest windows for that, because windows of a few seconds of music overlap too much to differ.
const STEADY_WINDOWS: usize = 6;

/// Mean cosines to the nearest tracks, in the order of [`NEAREST`], and the probability of the
/// genre.
type FamiliarityEvidence = [f32; NEAREST.len() + 1];

/// Familiarity of the labelled tracks of a library to each other, with which other tracks are compared.
#[derive(Debug, Clone)]
pub struct Familiarity {
    /// Unit rows.
    reference: Array2<f32>,
    groups: Vec<usize>,
    measured: MeasuredFamiliarity,
}

/// Measurements of labelled tracks, without the reference vectors.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct MeasuredFamiliarity {
    /// The tracks to compare with.
    pub reference: Vec<TrackId>,
    /// Each part of the evidence of labelled tracks, ascending.
    #[serde(rename = "own")]
    evidence: [Vec<f32>; NEAREST.len() + 1],
    /// Products of their shares, ascending.
    joint: Vec<f32>,
}

/// How familiar a track is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Familiar {
    /// Share of the labelled tracks that are no more familiar than this one, above 0 to 1.
    pub share: f32,
    /// Whether the share of its distance is lower than that of its genre's probability.
    pub is_distant: bool,
}

impl Familiar {
    /// Without any reference track.
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

    /// The factor by which its probability is reduced, from 0 to 1.
    pub fn certainty(self) -> f32 {
        (self.share / DOUBT_BELOW).min(1.0)
    }
}

impl Familiarity {
    /// Measures the familiarity of the labelled tracks.
    ///
    /// - `predict`: returns the genre's probability for each of the given rows, as it is predicted
    ///   for other tracks
    ///
    /// # Errors
    /// Those of `predict`.
    pub fn of<E>(
        set: &LabelledVectors,
        predict: impl FnOnce(&[usize]) -> Result<Vec<f32>, E>,
    ) -> Result<Self, E> {
        // Sorted by vectors, so that the sample does not depend on the ids of tracks. The first
        // components, which nearly always differ, are copied for speed.
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
        let measured_rows = some(MEASURED);
        let mut familiarity = Self {
            reference: unit_rows(set.vectors.select(Axis(0), &rows)),
            groups: groups_of(&rows),
            measured: MeasuredFamiliarity {
                reference: rows.iter().map(|&row| set.ids[row]).collect(),
                ..MeasuredFamiliarity::default()
            },
        };
        let groups: Vec<Option<usize>> = groups_of(&measured_rows).into_iter().map(Some).collect();
        let probabilities = predict(&measured_rows)?;
        let vectors = set.vectors.select(Axis(0), &measured_rows);
        let evidence: Vec<FamiliarityEvidence> = familiarity
            .evidence(vectors, &groups, &probabilities)
            .into_iter()
            .flatten()
            .collect();
        for (at, values) in familiarity.measured.evidence.iter_mut().enumerate() {
            values.extend(evidence.iter().map(|evidence| evidence[at]));
            values.sort_by(f32::total_cmp);
        }
        familiarity.measured.joint = evidence
            .iter()
            .map(|evidence| familiarity.product(evidence))
            .collect();
        // Sorted for binary searches of shares.
        familiarity.measured.joint.sort_by(f32::total_cmp);
        Ok(familiarity)
    }

    /// Restores an earlier measurement.
    ///
    /// - `vectors`, `groups`: of the reference tracks that still exist
    pub fn restore(
        measured: MeasuredFamiliarity,
        vectors: Array2<f32>,
        groups: Vec<usize>,
    ) -> Self {
        Self {
            reference: unit_rows(vectors),
            groups,
            measured,
        }
    }

    /// The measurements, to be stored.
    pub fn measured(&self) -> &MeasuredFamiliarity {
        &self.measured
    }

    /// Evidence for each row from reference tracks outside its group; `None` if there are none.
    fn evidence(
        &self,
        rows: Array2<f32>,
        groups: &[Option<usize>],
        probabilities: &[f32],
    ) -> Vec<Option<FamiliarityEvidence>> {
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

    fn shares_of(&self, evidence: &FamiliarityEvidence) -> FamiliarityEvidence {
        std::array::from_fn(|at| share_up_to(&self.measured.evidence[at], evidence[at]))
    }

    fn product(&self, evidence: &FamiliarityEvidence) -> f32 {
        self.shares_of(evidence).iter().product()
    }

    /// Measures how familiar each row is.
    ///
    /// - `groups`: of rows that are labelled tracks
    /// - `probabilities`: of the genre of each
    pub fn assess(
        &self,
        rows: ArrayView2<f32>,
        groups: &[Option<usize>],
        probabilities: &[f32],
    ) -> Vec<Familiar> {
        let familiar = |evidence: Option<FamiliarityEvidence>| {
            evidence.map_or(Familiar::YES, |evidence| {
                let [nearest, around, sure] = self.shares_of(&evidence);
                Familiar {
                    share: share_up_to(&self.measured.joint, self.product(&evidence)),
                    is_distant: nearest.min(around) <= sure,
                }
            })
        };
        self.evidence(rows.to_owned(), groups, probabilities)
            .into_iter()
            .map(familiar)
            .collect()
    }
}

/// Share of ascending values, including this one, that are no greater.
fn share_up_to(ascending: &[f32], value: f32) -> f32 {
    let no_greater = ascending.partition_point(|other| *other <= value);
    // The value itself counts, so that no share is 0.
    (1 + no_greater) as f32 / (1 + ascending.len()) as f32
}

/// Whether the sound hardly changes from window to window, as in a tone or noise.
///
/// - `windows`: `[windows, dimension]`
pub fn is_steady(windows: ArrayView2<f32>) -> bool {
    let n = windows.nrows() as f64;
    let sum = unit_rows(windows.to_owned())
        .mapv(f64::from)
        .sum_axis(Axis(0));
    // The mean over all pairs, from the square of the sum.
    let mean_cosine = (sum.dot(&sum) - n) / (n * (n - 1.0));
    windows.nrows() >= STEADY_WINDOWS && 1.0 - mean_cosine < f64::from(STEADY_BELOW)
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;
    use crate::Genre;
    use voisin_base::track::TrackId;

    /// Tracks around a direction.
    fn around(axis: usize, n: usize, seed: u64) -> Array2<f32> {
        let mut rng = StdRng::seed_from_u64(seed);
        Array2::from_shape_fn((n, 12), |(_, j)| {
            f32::from(u8::from(j == axis)) + 0.5 * (rng.random::<f32>() - 0.5)
        })
    }

    /// Probabilities of genres from 0.5 to nearly 1.
    fn sure(n: usize) -> Vec<f32> {
        (0..n)
            .map(|i| 0.5 + (i * 37 % n) as f32 / (2 * n) as f32)
            .collect()
    }

    fn of(set: &LabelledVectors) -> Familiarity {
        // By id, so that the order of tracks does not matter.
        let predict = |rows: &[usize]| {
            let all = sure(set.ids.len());
            Ok::<_, std::convert::Infallible>(
                rows.iter()
                    .map(|&row| all[set.ids[row].0 as usize % all.len()])
                    .collect(),
            )
        };
        let Ok(familiarity) = Familiarity::of(set, predict);
        familiarity
    }

    #[test]
    fn foreign_tracks_are_less_familiar_than_labelled_ones() {
        let vectors =
            ndarray::concatenate![Axis(0), around(0, 60, 1), around(1, 60, 2), around(5, 6, 3)];
        let ids: Vec<TrackId> = (0..126).map(TrackId).collect();
        let groups: Vec<usize> = (0..126).map(|i| i / 3).collect();
        let genre = |i: usize| match i {
            0..60 => vec![Genre::plain("a")],
            60..120 => vec![Genre::plain("b")],
            // Not labelled, and so not a reference.
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
            let verdicts = known.assess(rows.view(), &vec![None; n], &vec![probability; n]);
            verdicts
                .iter()
                .filter(|verdict| verdict.unknown().is_some())
                .count() as f64
                / n as f64
        };
        assert!(foreign(around(5, 50, 4), 0.9) > 0.95 && foreign(around(0, 200, 5), 0.9) < 0.2);
        // As near, but without a probable genre.
        let unsure = known.assess(around(0, 50, 5).view(), &[None; 50], &[0.1; 50]);
        assert!(unsure.iter().filter(|verdict| verdict.share < 0.35).count() > 25);
        assert!(foreign(around(0, 200, 5), 0.1) > 2.0 * foreign(around(0, 200, 5), 0.9));
        // Of the labelled tracks, compared without their artists, about `FOREIGN_BELOW` are
        // foreign.
        let own_groups: Vec<Option<usize>> = groups[..120].iter().copied().map(Some).collect();
        let verdicts = known.assess(
            vectors.slice(ndarray::s![..120, ..]),
            &own_groups,
            &sure(126)[..120],
        );
        let lost = verdicts
            .iter()
            .filter(|verdict| verdict.unknown().is_some())
            .count();
        assert!((8..=11).contains(&lost), "{lost}");
        // Four tracks are too few to call a track foreign.
        let few = set.select(&[0, 3, 60, 63]);
        let verdicts = of(&few.set()).assess(around(5, 5, 6).view(), &[None; 5], &[0.1; 5]);
        assert!(
            verdicts.iter().all(|verdict| verdict.unknown().is_none()),
            "{verdicts:?}"
        );
    }

    #[test]
    fn familiarity_does_not_depend_on_the_order_of_tracks() {
        let n = MEASURED + 300;
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
        let verdicts = |set: &LabelledVectors| of(set).assess(some.view(), &[None; 20], &[0.5; 20]);
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
