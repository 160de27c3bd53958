//! Joining head and vote, and calibrating the answer on out-of-fold predictions.

use ndarray::{Array2, ArrayView1, ArrayViewMut1};
use serde::{Deserialize, Serialize};

use super::{FusionPart, Novelty, fitted::AnswerSources};
use voisin_learn::best_scale;
use voisin_learn::metrics::argmax;

/// The parts that answer, and how head and vote are joined.
///
/// Of a track like those of the training set the probabilities are
/// `softmax(scale · (ln head + ln vote) / 2)`, or of the logarithms of one of them where that one
/// answers alone: joined, they count the same, since a few hundred tracks cannot tell one mix from
/// another. What looks like a track of a genre that is not in the training set gets, as far as it
/// does so, the shares of the vote in the space that is not whitened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fusion {
    /// Whether both answer, or one of them alone.
    pub part: FusionPart,
    /// The inverse of a temperature, which makes the probabilities come true on held-out tracks.
    pub scale: f64,
    /// The novelty of held-out tracks, by which that of others is measured.
    pub novelty: Novelty,
}

/// Flattens joined probabilities until the likeliest genre is no likelier than the surer of head
/// and vote finds it, unless both name that genre first: two doubts do not make a certainty, two
/// agreeing witnesses may.
///
/// - `joined`, `head`, `vote`: probabilities of one track, `[classes]` each
fn no_surer_than_its_parts(
    mut joined: ArrayViewMut1<f32>,
    head: ArrayView1<f32>,
    vote: ArrayView1<f32>,
) {
    let best = argmax(joined.view());
    let most = head[best].max(vote[best]);
    if joined[best] <= most || (argmax(head) == best && argmax(vote) == best) {
        return;
    }
    // joined^power, scaled to sum 1: its largest value falls with the power, down to that of equal
    // parts
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
    // not quite down to equal parts, so that the order stays
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

/// A probability of which the share `strange` is that of the plain vote, whose logarithm is `wide`.
fn with_wide(p: f64, strange: f64, wide: f32) -> f64 {
    (1.0 - strange) * p + strange * f64::from(wide).exp()
}

impl Fusion {
    /// Fits the scale, from 1/3 to 3, by maximum likelihood.
    ///
    /// - `part`: the part that is to answer
    /// - `voices`: of tracks by models that did not know them; `targets`: `[n, classes]`, rows sum
    ///   to 1
    /// - `rows`: which of them count
    pub(super) fn fit(
        part: FusionPart,
        novelty: Novelty,
        voices: &AnswerSources,
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
                let (probabilities, strange, _) = fusion.as_known(voices, row);
                let likelihood_of = |(class, t): (usize, &f32)| {
                    let p = with_wide(probabilities[class], strange, voices.wide[[row, class]]);
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
        // The wide vote counts here, too, as it will in the answer.
        at(best_scale(loss))
    }

    /// Probabilities of one row as if it were like those of the training set, how far it is not,
    /// and its novelty score.
    fn as_known(&self, voices: &AnswerSources, row: usize) -> (Vec<f64>, f64, f64) {
        let score = self.novelty.score(&voices.novelty[row]);
        let strange = self.novelty.strangeness(score);
        let head = voices.head.row(row);
        let joined = |(&head, &vote): (&f32, &f32)| match self.part {
            FusionPart::Fused => 0.5 * self.scale * f64::from(head + vote),
            FusionPart::Head => self.scale * f64::from(head),
            FusionPart::Vote => self.scale * f64::from(vote),
        };
        let mut p: Vec<f64> = head.iter().zip(voices.vote.row(row)).map(joined).collect();
        // The largest is subtracted first: exponentials of logits would overflow.
        let max = p.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        p.iter_mut().for_each(|z| *z = (*z - max).exp());
        let sum: f64 = p.iter().sum();
        p.iter_mut().for_each(|p| *p /= sum);
        (p, strange, score)
    }

    /// The joined probabilities of one row, and its novelty score.
    fn joined(&self, voices: &AnswerSources, row: usize) -> (Vec<f64>, f64) {
        let (mut p, strange, score) = self.as_known(voices, row);
        p.iter_mut()
            .zip(voices.wide.row(row))
            .for_each(|(p, &wide)| *p = with_wide(*p, strange, wide));
        (p, score)
    }

    /// The joined probabilities of each row, and its novelty score.
    pub(super) fn apply(&self, voices: &AnswerSources) -> (Array2<f32>, Vec<f64>) {
        let mut out = Array2::zeros(voices.head.dim());
        let mut scores = Vec::with_capacity(out.nrows());
        for (row, mut p) in out.outer_iter_mut().enumerate() {
            let (joined, score) = self.joined(voices, row);
            p.iter_mut().zip(&joined).for_each(|(p, v)| *p = *v as f32);
            // One part alone cannot be surer than itself.
            if self.part == FusionPart::Fused {
                let head = voices.head.row(row).mapv(f32::exp);
                no_surer_than_its_parts(p, head.view(), voices.shares.row(row));
            }
            scores.push(score);
        }
        (out, scores)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows whose voices all say the same with the probability given, and are right seven times in
    /// ten; the last tenth is strange, and there the plain vote alone is right, always.
    fn voices(n: usize, probability: f32) -> (AnswerSources, Array2<f32>) {
        let log = |is_correct: bool| {
            if is_correct {
                probability.ln()
            } else {
                (1.0 - probability).ln()
            }
        };
        let strange = |i: usize| i >= n * 9 / 10;
        let head = Array2::from_shape_fn((n, 2), |(i, c)| log((i % 10 < 7) == (c == i % 2)));
        let wide = Array2::from_shape_fn((n, 2), |(i, c)| {
            (if (c == i % 2) == strange(i) {
                0.9f32
            } else {
                0.1
            })
            .ln()
        });
        let targets = Array2::from_shape_fn((n, 2), |(i, c)| if c == i % 2 { 1.0 } else { 0.0 });
        let voices = AnswerSources {
            shares: head.mapv(f32::exp),
            whole: head.mapv(f32::exp),
            vote: head.clone(),
            head,
            wide,
            novelty: (0..n)
                .map(|i| if strange(i) { [9.0; 2] } else { [-9.0; 2] })
                .collect(),
            neighbours: vec![Vec::new(); n],
        };
        (voices, targets)
    }

    fn fitted(voices: &AnswerSources, targets: &Array2<f32>) -> Fusion {
        let novelty = Novelty {
            mean: [0.0; 2],
            deviation: [1.0; 2],
            quantiles: vec![0.0; 101],
        };
        let rows: Vec<usize> = (0..targets.nrows()).collect();
        Fusion::fit(FusionPart::Fused, novelty, voices, targets, &rows)
    }

    #[test]
    fn fusion_mends_confidence_that_is_too_high_or_too_low() {
        for probability in [0.6, 0.9] {
            let (voices, targets) = voices(1000, probability);
            let fusion = fitted(&voices, &targets);
            let (p, scores) = fusion.apply(&voices);
            assert!(
                (p[[0, 0]] - 0.7).abs() < 0.01,
                "given {probability}: {}",
                p[[0, 0]]
            );
            assert!(p.outer_iter().all(|row| (row.sum() - 1.0).abs() < 1e-5) && scores[999] > 8.9);
        }
    }

    #[test]
    fn strange_tracks_go_where_the_plain_vote_says() {
        let (voices, targets) = voices(1000, 0.7);
        let (p, _) = fitted(&voices, &targets).apply(&voices);
        assert!((900..1000).all(|i| argmax(p.row(i)) == i % 2));
        assert!((0..900).all(|i| (argmax(p.row(i)) == i % 2) == (i % 10 < 7)));
    }

    #[test]
    fn two_doubts_make_no_certainty_and_two_witnesses_may() {
        let joined_of = |head: [f32; 3], vote: [f32; 3]| {
            let mut joined = ndarray::arr1(&[0.96f32, 0.03, 0.01]);
            no_surer_than_its_parts(
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
        // neither finds it likelier than an even share, which is the least that a likeliest genre
        // can have
        assert!(joined_of([0.2, 0.4, 0.4], [0.1, 0.6, 0.3]) < 0.35);
    }
}
