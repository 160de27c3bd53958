//! Combines head and vote, and calibrates the result on out-of-fold predictions.

use ndarray::{Array2, ArrayView1, ArrayViewMut1};
use serde::{Deserialize, Serialize};

use super::{FusionPart, Novelty, fitted::AnswerSources};
use voisin_learn::best_scale;
use voisin_learn::metrics::argmax;

/// How the probabilities are computed from head and vote.
///
/// For a track like those of the training set they are `softmax(scale · (ln head + ln vote) / 2)`,
/// or with the logarithm of one part alone. Both have the same weight, since a few hundred tracks do
/// not suffice to fit another one. The more a track looks like one of a genre outside the training
/// set, the more the plain vote, in the space that is not whitened, takes their place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fusion {
    /// Whether both are used, or one of them alone.
    pub part: FusionPart,
    /// The inverse temperature that calibrates the probabilities on held-out tracks.
    pub scale: f64,
    /// The distribution of novelty over held-out tracks.
    pub novelty: Novelty,
}

/// Flattens combined probabilities until that of the most likely genre is at most the larger of
/// head's and vote's, unless the genre is first in both, so that only two agreeing parts together
/// are more certain than each of them.
///
/// - `joined`, `head`, `vote`: probabilities of one track, `[classes]` each
fn limit_confidence(mut joined: ArrayViewMut1<f32>, head: ArrayView1<f32>, vote: ArrayView1<f32>) {
    let best = argmax(joined.view());
    let most = head[best].max(vote[best]);
    if joined[best] <= most || (argmax(head) == best && argmax(vote) == best) {
        return;
    }
    // The largest value of joined^power, scaled to sum 1, falls with the power to that of equal
    // parts.
    let top = f64::from(joined[best]);
    let ratios: Vec<f64> = joined
        .iter()
        .map(|&p| (f64::from(p) / top).max(1e-300).ln())
        .collect();
    let largest = |power: f64| {
        ratios
            .iter()
            .map(|r| (power * r).exp())
            .sum::<f64>()
            .recip()
    };
    // Above 0, so that the order is kept.
    let mut low = 0.01;
    let mut high = 1.0;
    for _ in 0..40 {
        let power = f64::midpoint(low, high);
        if largest(power) > f64::from(most) {
            high = power;
        } else {
            low = power;
        }
    }
    let scale = largest(low);
    joined
        .iter_mut()
        .zip(&ratios)
        .for_each(|(p, r)| *p = ((low * r).exp() * scale) as f32);
}

/// Interpolates from `p` to the probability of the plain vote, `exp(wide)`.
fn mix_plain_vote(p: f64, strangeness: f64, wide: f32) -> f64 {
    (1.0 - strangeness) * p + strangeness * f64::from(wide).exp()
}

impl Fusion {
    /// Fits the scale, from 1/3 to 3, by maximum likelihood.
    ///
    /// - `part`: the part to use
    /// - `sources`: out-of-fold predictions of tracks; `targets`: `[n, classes]`, rows sum
    ///   to 1
    /// - `rows`: the rows to use
    pub(super) fn fit(
        part: FusionPart,
        novelty: Novelty,
        sources: &AnswerSources,
        targets: &Array2<f32>,
        rows: &[usize],
    ) -> Self {
        let at = |scale: f64| Self {
            part,
            scale,
            novelty: novelty.clone(),
        };
        let loss = |scale: f64| -> f64 {
            let fusion = at(scale);
            let likelihood = |&row: &usize| {
                let (probabilities, strangeness, _) = fusion.known_probabilities(sources, row);
                let likelihood_of = |(class, t): (usize, &f32)| {
                    let p = mix_plain_vote(
                        probabilities[class],
                        strangeness,
                        sources.wide[[row, class]],
                    );
                    f64::from(*t) * p.max(1e-12).ln()
                };
                targets
                    .row(row)
                    .iter()
                    .enumerate()
                    .filter(|(_, t)| **t > 0.0)
                    .map(likelihood_of)
                    .sum::<f64>()
            };
            -rows.iter().map(likelihood).sum::<f64>()
        };
        // Includes the plain vote, as in predictions.
        at(best_scale(loss))
    }

    /// Probabilities of one row without the plain vote, its strangeness, and its novelty score.
    fn known_probabilities(&self, sources: &AnswerSources, row: usize) -> (Vec<f64>, f64, f64) {
        let score = self.novelty.score(&sources.novelty[row]);
        let strangeness = self.novelty.strangeness(score);
        let head = sources.head.row(row);
        let joined = |(&head, &vote): (&f32, &f32)| match self.part {
            FusionPart::Fused => 0.5 * self.scale * f64::from(head + vote),
            FusionPart::Head => self.scale * f64::from(head),
            FusionPart::Vote => self.scale * f64::from(vote),
        };
        let mut p: Vec<f64> = head.iter().zip(sources.vote.row(row)).map(joined).collect();
        // The largest is subtracted first, so that exponentials do not overflow.
        let max = p.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        p.iter_mut().for_each(|z| *z = (*z - max).exp());
        let sum: f64 = p.iter().sum();
        p.iter_mut().for_each(|p| *p /= sum);
        (p, strangeness, score)
    }

    /// The combined probabilities of one row, and its novelty score.
    fn joined(&self, sources: &AnswerSources, row: usize) -> (Vec<f64>, f64) {
        let (mut p, strangeness, score) = self.known_probabilities(sources, row);
        p.iter_mut()
            .zip(sources.wide.row(row))
            .for_each(|(p, &wide)| *p = mix_plain_vote(*p, strangeness, wide));
        (p, score)
    }

    /// The combined probabilities of each row, and its novelty score.
    pub(super) fn apply(&self, sources: &AnswerSources) -> (Array2<f32>, Vec<f64>) {
        let mut out = Array2::zeros(sources.head.dim());
        let mut scores = Vec::with_capacity(out.nrows());
        for (row, mut p) in out.outer_iter_mut().enumerate() {
            let (joined, score) = self.joined(sources, row);
            p.iter_mut().zip(&joined).for_each(|(p, v)| *p = *v as f32);
            // A single part needs no limit.
            if self.part == FusionPart::Fused {
                let head = sources.head.row(row).mapv(f32::exp);
                limit_confidence(p, head.view(), sources.shares.row(row));
            }
            scores.push(score);
        }
        (out, scores)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows whose sources agree with the given probability and are right seven times in ten; in the
    /// last tenth, which is strange, only the plain vote is right.
    fn sources(n: usize, probability: f32) -> (AnswerSources, Array2<f32>) {
        let log = |is_correct: bool| {
            if is_correct {
                probability.ln()
            } else {
                (1.0 - probability).ln()
            }
        };
        let is_strange = |i: usize| i >= n * 9 / 10;
        let head = Array2::from_shape_fn((n, 2), |(i, c)| log((i % 10 < 7) == (c == i % 2)));
        let wide = Array2::from_shape_fn((n, 2), |(i, c)| {
            (if (c == i % 2) == is_strange(i) {
                0.9f32
            } else {
                0.1
            })
            .ln()
        });
        let targets = Array2::from_shape_fn((n, 2), |(i, c)| if c == i % 2 { 1.0 } else { 0.0 });
        let sources = AnswerSources {
            shares: head.mapv(f32::exp),
            whole: head.mapv(f32::exp),
            vote: head.clone(),
            head,
            wide,
            novelty: (0..n)
                .map(|i| if is_strange(i) { [9.0; 2] } else { [-9.0; 2] })
                .collect(),
            neighbours: vec![Vec::new(); n],
        };
        (sources, targets)
    }

    fn fitted(sources: &AnswerSources, targets: &Array2<f32>) -> Fusion {
        let novelty = Novelty {
            mean: [0.0; 2],
            deviation: [1.0; 2],
            quantiles: vec![0.0; 101],
        };
        let rows: Vec<usize> = (0..targets.nrows()).collect();
        Fusion::fit(FusionPart::Fused, novelty, sources, targets, &rows)
    }

    #[test]
    fn fusion_calibrates_too_high_and_too_low_confidence() {
        for probability in [0.6, 0.9] {
            let (sources, targets) = sources(1000, probability);
            let fusion = fitted(&sources, &targets);
            let (p, scores) = fusion.apply(&sources);
            assert!(
                (p[[0, 0]] - 0.7).abs() < 0.01,
                "given {probability}: {}",
                p[[0, 0]]
            );
            assert!(p.outer_iter().all(|row| (row.sum() - 1.0).abs() < 1e-5) && scores[999] > 8.9);
        }
    }

    #[test]
    fn strange_tracks_follow_the_plain_vote() {
        let (sources, targets) = sources(1000, 0.7);
        let (p, _) = fitted(&sources, &targets).apply(&sources);
        assert!((900..1000).all(|i| argmax(p.row(i)) == i % 2));
        assert!((0..900).all(|i| (argmax(p.row(i)) == i % 2) == (i % 10 < 7)));
    }

    #[test]
    fn only_agreeing_parts_raise_the_confidence() {
        let joined_of = |head: [f32; 3], vote: [f32; 3]| {
            let mut joined = ndarray::arr1(&[0.96f32, 0.03, 0.01]);
            limit_confidence(
                joined.view_mut(),
                ndarray::arr1(&head).view(),
                ndarray::arr1(&vote).view(),
            );
            assert!(
                (joined.sum() - 1.0).abs() < 1e-5 && joined[0] > joined[1] && joined[1] > joined[2]
            );
            joined[0]
        };
        assert!((joined_of([0.3, 0.4, 0.3], [0.58, 0.22, 0.2]) - 0.58).abs() < 1e-4);
        assert!((joined_of([0.5, 0.4, 0.1], [0.58, 0.22, 0.2]) - 0.96).abs() < 1e-6);
        assert!((joined_of([0.98, 0.01, 0.01], [0.2, 0.5, 0.3]) - 0.96).abs() < 1e-6);
        // Both parts give it less than an even share, the least that the most likely genre can
        // have.
        assert!(joined_of([0.2, 0.4, 0.4], [0.1, 0.6, 0.3]) < 0.35);
    }
}
