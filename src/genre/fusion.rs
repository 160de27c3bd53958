//! Joining head and vote: weights that depend on how novel a track is, fitted on out-of-fold predictions.

use ndarray::{Array2, ArrayView1, ArrayViewMut1};
use serde::{Deserialize, Serialize};

use super::{Novelty, core::Voices, data::thinned};
use crate::metrics::argmax;

/// Pull of the weights' proportions towards equal voices near the training data and neighbours far from it, in
/// tracks. Their common scale, the temperature, is free. A few hundred tracks cannot tell one mix from another:
/// freer weights measured no better than equal ones; ten thousand can.
const RIDGE: f64 = 200.0;
/// Held-out tracks that the weights are fitted on, at most; more are thinned evenly.
const ROWS: usize = 3000;

/// How head and vote are joined.
///
/// `log p = head·((1 - s)·near + s·far) + vote·(likewise) + wide vote·(likewise) + constant`, where `s` in (0, 1) says how much the track looks like
/// one of a genre that is not in the training set. The weights' size is the temperature, so the answer is
/// calibrated by the same fit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fusion {
    /// Weight of the head's log probability near the training data.
    pub head_near: f64,
    /// The same far from it.
    pub head_far: f64,
    /// Weight of the vote's log share near the training data.
    pub vote_near: f64,
    /// The same far from it.
    pub vote_far: f64,
    /// Weight of the log share of the vote in the space that is not whitened, near the training data.
    pub wide_near: f64,
    /// The same far from it.
    pub wide_far: f64,
    /// What novelty is measured against.
    pub novelty: Novelty,
}

/// Flattens joined probabilities until the likeliest genre is no likelier than the surer of head and vote finds it,
/// unless both name that genre first: two doubts do not make a certainty, two agreeing witnesses may.
///
/// - `joined`, `head`, `vote`: probabilities of one track, `[classes]` each
fn no_surer_than_its_parts(mut joined: ArrayViewMut1<f32>, head: ArrayView1<f32>, vote: ArrayView1<f32>) {
    let best = argmax(joined.view());
    let most = head[best].max(vote[best]);
    if joined[best] <= most || (argmax(head) == best && argmax(vote) == best) {
        return;
    }
    // joined^power, scaled to sum 1: its largest value falls with the power, down to that of equal parts
    let top = f64::from(joined[best]);
    let ratios: Vec<f64> = joined.iter().map(|&p| (f64::from(p) / top).max(1e-300).ln()).collect();
    let largest = |power: f64| ratios.iter().map(|r| (power * r).exp()).sum::<f64>().recip();
    // not quite down to equal parts, so that the order stays
    let (mut low, mut high) = (0.01, 1.0);
    for _ in 0..40 {
        let power = f64::midpoint(low, high);
        if largest(power) > f64::from(most) { high = power } else { low = power }
    }
    let scale = largest(low);
    joined.iter_mut().zip(&ratios).for_each(|(p, r)| *p = ((low * r).exp() * scale) as f32);
}

/// Held-out predictions of one kind, with what they should have been.
pub(super) struct HeldOutVoices<'a> {
    pub(super) voices: &'a Voices,
    /// `[m, classes]`; rows sum to 1.
    pub(super) targets: &'a Array2<f32>,
    /// Classes that may be the answer for each row: all, or all but the one left out.
    pub(super) absent: &'a [Option<usize>],
    /// Weight of all rows together.
    pub(super) weight: f64,
}

/// Numbers that are fitted.
const N: usize = 6;

/// A held-out prediction as the fit sees it.
struct Row {
    /// Per class that may be the answer: near and far parts of the three voices' log probabilities.
    features: Vec<[f64; N]>,
    targets: Vec<f64>,
    weight: f64,
}

impl Row {
    fn of<'a>(part: &'a HeldOutVoices, novelty: &'a Novelty) -> impl Iterator<Item = Self> + 'a {
        let rows = thinned(part.targets.nrows(), ROWS);
        let weight = part.weight / rows.len().max(1) as f64;
        rows.into_iter().map(move |row| {
            let s = novelty.strangeness(novelty.score(&part.voices.novelty[row]));
            let classes = (0..part.targets.ncols()).filter(|&c| part.absent[row] != Some(c));
            let (features, targets) = classes
                .map(|class| {
                    let [h, v, w] = [&part.voices.head, &part.voices.vote, &part.voices.wide]
                        .map(|p| f64::from(p[[row, class]]));
                    let f = [(1.0 - s) * h, s * h, (1.0 - s) * v, s * v, (1.0 - s) * w, s * w];
                    (f, f64::from(part.targets[[row, class]]))
                })
                .unzip();
            Self { features, targets, weight }
        })
    }

    /// Writes the unnormalised log probabilities into `z`; returns the logarithm of their sum.
    fn logits(&self, w: &[f64; N], z: &mut Vec<f64>) -> f64 {
        z.clear();
        z.extend(self.features.iter().map(|f| f.iter().zip(w).map(|(f, w)| f * w).sum::<f64>()));
        let max = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        max + z.iter().map(|z| (z - max).exp()).sum::<f64>().ln()
    }
}

/// The factor of the weights, from 1/3 to 3, under which the rows are most likely: a temperature, by golden section.
fn best_scale(rows: &[Row], w: &[f64; N]) -> f64 {
    let loss = |log_scale: f64| -> f64 {
        let scaled = w.map(|w| w * log_scale.exp());
        let mut z = Vec::new();
        rows.iter()
            .map(|row| {
                let log_sum = row.logits(&scaled, &mut z);
                row.weight * row.targets.iter().zip(&z).map(|(t, z)| t * (log_sum - z)).sum::<f64>()
            })
            .sum()
    };
    let ratio = (5.0f64.sqrt() - 1.0) / 2.0;
    let (mut low, mut high) = (-(3.0f64.ln()), 3.0f64.ln());
    let (mut a, mut b) = (high - ratio * (high - low), low + ratio * (high - low));
    let (mut at_a, mut at_b) = (loss(a), loss(b));
    for _ in 0..20 {
        if at_a < at_b {
            (high, b, at_b) = (b, a, at_a);
            a = high - ratio * (high - low);
            at_a = loss(a);
        } else {
            (low, a, at_a) = (a, b, at_b);
            b = low + ratio * (high - low);
            at_b = loss(b);
        }
    }
    f64::midpoint(low, high).exp()
}

impl Fusion {
    /// Fits the weights by maximum likelihood under `weight ≥ 0` (the problem is convex), then their common scale once
    /// more on the first evidence alone: tracks of known genres are what probabilities are believed for.
    pub(super) fn fit(novelty: Novelty, evidence: &[HeldOutVoices]) -> Self {
        const START: [f64; N] = [0.5, 0.1, 0.5, 0.2, 0.05, 0.7];
        let ridge = RIDGE / evidence.first().map_or(1.0, |e| e.targets.nrows().max(1) as f64);
        let rows: Vec<Row> = evidence.iter().flat_map(|part| Row::of(part, &novelty)).collect();
        let objective = |w: &[f64; N]| -> (f64, [f64; N]) {
            let mut loss = 0.0;
            let mut gradient = [0.0; N];
            let mut z = Vec::new();
            for row in &rows {
                let log_sum = row.logits(w, &mut z);
                for ((f, t), z) in row.features.iter().zip(&row.targets).zip(&z) {
                    let log_p = z - log_sum;
                    loss -= row.weight * t * log_p;
                    let slope = row.weight * (log_p.exp() - t);
                    gradient.iter_mut().zip(f).for_each(|(g, f)| *g += slope * f);
                }
            }
            // the part of the weights that is not a mere scaling of the start, near and far each
            for side in 0..2 {
                let mine = [side, side + 2, side + 4];
                let along = mine.iter().map(|&i| w[i] * START[i]).sum::<f64>()
                    / mine.iter().map(|&i| START[i] * START[i]).sum::<f64>();
                for i in mine {
                    let across = w[i] - along * START[i];
                    loss += ridge * across * across;
                    gradient[i] += 2.0 * ridge * across;
                }
            }
            (loss, gradient)
        };
        // projected gradient with a step that grows and shrinks; six numbers, a few dozen rounds
        let mut w = START;
        let (mut value, mut gradient) = objective(&w);
        let mut step = 0.5;
        for _ in 0..300 {
            let mut next = w;
            for i in 0..N {
                next[i] = (w[i] - step * gradient[i]).clamp(0.0, 5.0);
            }
            let (v, g) = objective(&next);
            if v < value {
                let gain = value - v;
                (w, value, gradient) = (next, v, g);
                step = (step * 1.6).min(50.0);
                if gain < 1e-9 {
                    break;
                }
            } else {
                step *= 0.4;
                if step < 1e-9 {
                    break;
                }
            }
        }
        if let Some(known) = evidence.first() {
            let rows: Vec<Row> = Row::of(known, &novelty).collect();
            let scale = best_scale(&rows, &w);
            w.iter_mut().for_each(|w| *w *= scale);
        }
        Self {
            head_near: w[0],
            head_far: w[1],
            vote_near: w[2],
            vote_far: w[3],
            wide_near: w[4],
            wide_far: w[5],
            novelty,
        }
    }

    /// The joined probabilities of each row, and its novelty score.
    pub(super) fn apply(&self, voices: &Voices) -> (Array2<f32>, Vec<f64>) {
        let scores: Vec<f64> = voices.novelty.iter().map(|d| self.novelty.score(d)).collect();
        let mut out = Array2::zeros(voices.head.dim());
        for (row, mut p) in out.outer_iter_mut().enumerate() {
            let weights = self.weights(scores[row]);
            let said = [voices.head.row(row), voices.vote.row(row), voices.wide.row(row)];
            let z: Vec<f64> = (0..p.len())
                .map(|c| weights.iter().zip(&said).map(|(w, v)| w * f64::from(v[c])).sum())
                .collect();
            let max = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = z.iter().map(|z| (z - max).exp()).sum();
            p.iter_mut().zip(&z).for_each(|(p, z)| *p = ((z - max).exp() / sum) as f32);
            let head = voices.head.row(row).mapv(f32::exp);
            no_surer_than_its_parts(p, head.view(), voices.shares.row(row));
        }
        (out, scores)
    }

    /// Weights of head, vote and wide vote at a novelty.
    pub fn weights(&self, novelty_score: f64) -> [f64; 3] {
        let s = self.novelty.strangeness(novelty_score);
        let at = |near: f64, far: f64| (1.0 - s) * near + s * far;
        [
            at(self.head_near, self.head_far),
            at(self.vote_near, self.vote_far),
            at(self.wide_near, self.wide_far),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows near and far by halves. Near, the head is right nine times in ten; far, the vote is; the other says nonsense,
    /// independent of the truth.
    fn halves(n: usize) -> (Voices, Array2<f32>) {
        let mut head = Array2::from_elem((n, 2), 0.5f32.ln());
        let mut vote = head.clone();
        let mut targets = Array2::zeros((n, 2));
        let mut novelty_of = Vec::new();
        for i in 0..n {
            let class = i % 2;
            targets[[i, class]] = 1.0;
            let far = i >= n / 2;
            novelty_of.push(if far { [6.0, 6.0] } else { [0.0, 0.0] });
            let wrong = i % 20 < 2;
            let said = if wrong { 1 - class } else { class };
            let side = if far { &mut vote } else { &mut head };
            side[[i, said]] = 0.9f32.ln();
            side[[i, 1 - said]] = 0.1f32.ln();
            let other = if far { &mut head } else { &mut vote };
            other[[i, (i / 2) % 2]] = 0.9f32.ln();
            other[[i, 1 - (i / 2) % 2]] = 0.1f32.ln();
        }
        let voices = Voices {
            head,
            shares: vote.mapv(f32::exp),
            vote,
            wide: Array2::from_elem((n, 2), 0.5f32.ln()),
            novelty: novelty_of,
            neighbours: vec![Vec::new(); n],
        };
        (voices, targets)
    }

    fn fitted(voices: &Voices, targets: &Array2<f32>) -> Fusion {
        let novelty = Novelty {
            mean: [0.0; 2],
            deviation: [1.0; 2],
            middle: 3.0,
            width: 0.3,
            quantiles: vec![0.0, 1.0],
        };
        let absent = vec![None; targets.nrows()];
        Fusion::fit(novelty, &[HeldOutVoices { voices, targets, absent: &absent, weight: 1.0 }])
    }

    #[test]
    fn the_half_that_is_right_gets_the_weight() {
        // tracks enough to outweigh the pull towards equal voices
        let n = 100_000;
        let (voices, targets) = halves(n);
        let fusion = fitted(&voices, &targets);
        assert!(fusion.head_near > 0.8 && fusion.vote_near < 0.15, "{fusion:?}");
        assert!(fusion.head_far < 0.15 && fusion.vote_far > 0.8, "{fusion:?}");
        let (p, _) = fusion.apply(&voices);
        let right = (0..n).filter(|&i| p[[i, i % 2]] > 0.5).count();
        assert_eq!(right, n * 18 / 20);
        // calibrated: 90 % right, and said with 90 %
        let sure = (0..n).map(|i| f64::from(p[[i, 0]].max(p[[i, 1]]))).sum::<f64>() / n as f64;
        assert!((sure - 0.9).abs() < 0.03, "{sure}");
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
            assert!((joined.sum() - 1.0).abs() < 1e-5 && joined[0] > joined[1] && joined[1] > joined[2]);
            joined[0]
        };
        assert!((joined_of([0.3, 0.4, 0.3], [0.58, 0.22, 0.2]) - 0.58).abs() < 1e-4);
        assert!((joined_of([0.5, 0.4, 0.1], [0.58, 0.22, 0.2]) - 0.96).abs() < 1e-6);
        assert!((joined_of([0.98, 0.01, 0.01], [0.2, 0.5, 0.3]) - 0.96).abs() < 1e-6);
        // neither finds it likelier than an even share, which is the least that a likeliest genre can have
        assert!(joined_of([0.2, 0.4, 0.4], [0.1, 0.6, 0.3]) < 0.35);
    }

    #[test]
    fn few_tracks_leave_the_voices_about_equal() {
        let n = 200;
        let (voices, targets) = halves(n);
        let fusion = fitted(&voices, &targets);
        let ratio = fusion.head_near / fusion.vote_near;
        assert!((1.2..1.8).contains(&ratio), "{fusion:?}");
        let (p, _) = fusion.apply(&voices);
        let right = (0..n).filter(|&i| p[[i, i % 2]] > 0.5).count() as f64 / n as f64;
        let sure = (0..n).map(|i| f64::from(p[[i, 0]].max(p[[i, 1]]))).sum::<f64>() / n as f64;
        // equal voices cannot tell who is right where they differ: it errs towards saying too little
        assert!((0.7..right).contains(&sure), "said {sure}, right {right}");
    }
}
