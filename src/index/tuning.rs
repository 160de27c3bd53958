//! How wide a search has to be, measured on the vectors themselves against the exact search.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::builder::Source;
use super::graph::Graph;
use super::segment::{Budget, Segment, keep_best};
use super::top::Top;

/// Numbers of neighbours that widths are measured at; in between and beyond, a line through both.
const AT: [usize; 2] = [10, 100];
/// Vectors that are searched for.
const SAMPLE: usize = 400;
/// Widths tried.
const WIDTHS: [usize; 16] = [16, 24, 32, 48, 64, 80, 96, 128, 160, 192, 256, 384, 512, 768, 1024, 2048];
/// Share of the true neighbours that a stage of the cascade has to hand on.
const HANDED_ON: f64 = 0.9995;
/// What is measured on a sample is widened by this.
const MARGIN: f64 = 1.25;
/// True neighbours among which ranks at 8 bits are counted.
const DEPTH: usize = 400;

/// Widths for [`AT`] neighbours each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tuning {
    /// Candidates of a graph search.
    pub(crate) ef: [usize; 2],
    /// Candidates by sign.
    pub(crate) bits: [usize; 2],
    /// Candidates by 8 bits.
    pub(crate) rerank: [usize; 2],
}

impl Default for Tuning {
    /// For indexes too small to measure: close to exact.
    fn default() -> Self {
        Self { ef: [200, 400], bits: [2000, 4000], rerank: [64, 400] }
    }
}

impl Tuning {
    pub(crate) fn ef(&self, k: usize) -> usize {
        line(self.ef, k)
    }

    /// Whether these can be widths at all; for what is read from a file.
    pub(crate) fn is_sane(&self) -> bool {
        [self.ef, self.bits, self.rerank].as_flattened().iter().all(|&width| width <= 1 << 31)
    }

    pub(crate) fn budget(&self, k: usize) -> Budget {
        let rerank = line(self.rerank, k);
        Budget { bits: line(self.bits, k).max(rerank), rerank }
    }
}

fn line([low, high]: [usize; 2], k: usize) -> usize {
    let slope = high.saturating_sub(low) as f64 / (AT[1] - AT[0]) as f64;
    let width = low as f64 + slope.max(1.) * k.saturating_sub(AT[0]) as f64;
    (width.ceil() as usize).max(k)
}

/// One vector of the sample and its true neighbours, itself left out.
struct Trial {
    slot: u32,
    nearest: Vec<u32>,
}

/// Measures on every n-th vector, which is hidden from the searches for it: as if it were not in the index.
pub(crate) fn measure(source: Source<'_>, base: &Segment, graph: Option<&Graph>, target: f64) -> Tuning {
    let mut tuning = Tuning::default();
    if base.len() < 2 * DEPTH {
        return tuning;
    }
    let step = base.len().div_ceil(SAMPLE);
    let trials: Vec<Trial> =
        (0..base.len()).into_par_iter().step_by(step).map(|slot| trial(source, base, slot)).collect();
    measure_cascade(source, base, &trials, &mut tuning);
    if let Some(graph) = graph {
        for (at, k) in AT.into_iter().enumerate() {
            let rerank = tuning.budget(k).rerank;
            let target = if k == AT[0] { target } else { target.min(0.99) };
            let enough =
                |&width: &usize| width >= k && recall(source, graph, &trials, k, width, rerank) >= target;
            tuning.ef[at] = WIDTHS.iter().copied().find(enough).unwrap_or(WIDTHS[WIDTHS.len() - 1]);
        }
    }
    tuning
}

fn trial(source: Source<'_>, base: &Segment, slot: usize) -> Trial {
    let query = source.codec.query_at(source.codes, slot);
    let mut top = Top::new(DEPTH + 1);
    base.exact(source.isa, source.codec, &query, &base.live, &mut top);
    let slots = top.into_sorted().into_iter().filter_map(|found| base.ids.binary_search(&found.track).ok());
    Trial { slot: slot as u32, nearest: slots.map(|s| s as u32).filter(|&s| s as usize != slot).collect() }
}

fn measure_cascade(source: Source<'_>, base: &Segment, trials: &[Trial], tuning: &mut Tuning) {
    let ranks: Vec<(Vec<usize>, Vec<usize>)> = trials
        .par_iter()
        .map(|trial| {
            let query = source.codec.query_at(source.codes, trial.slot as usize);
            let by_sign = base.sign_ranks(source.isa, &query, &trial.nearest[..AT[1]]);
            let (mut products, mut similarities) = (Vec::new(), Vec::new());
            source.codes.similarities8(source.isa, &query, &trial.nearest, &mut products, &mut similarities);
            let rank = |own: &f32| similarities.iter().filter(|other| *other >= own).count();
            let by_8_bits = similarities[..AT[1]].iter().map(rank).collect();
            (by_sign, by_8_bits)
        })
        .collect();
    for (at, k) in AT.into_iter().enumerate() {
        let quantile = |of: fn(&(Vec<usize>, Vec<usize>)) -> &Vec<usize>| {
            let mut all: Vec<usize> = ranks.iter().flat_map(|ranks| of(ranks)[..k].iter().copied()).collect();
            all.sort_unstable();
            let rank = all[((all.len() - 1) as f64 * HANDED_ON).ceil() as usize];
            (rank as f64 * MARGIN).ceil() as usize
        };
        tuning.bits[at] = quantile(|ranks| &ranks.0);
        tuning.rerank[at] = quantile(|ranks| &ranks.1);
    }
}

/// Mean share of the true `k` neighbours that a graph search of width `ef` returns.
fn recall(source: Source<'_>, graph: &Graph, trials: &[Trial], k: usize, ef: usize, rerank: usize) -> f64 {
    let one = |trial: &Trial| {
        let query = source.codec.query_at(source.codes, trial.slot as usize);
        let mut best = graph.walk(source.isa, source.codes, &query, ef, Some(trial.slot), |pool| {
            let best = pool.iter().take(rerank);
            best.map(|&(_, slot)| (source.codes.similarity(source.isa, &query, slot as usize), slot))
                .collect::<Vec<_>>()
        });
        keep_best(&mut best, k);
        best.iter().filter(|(_, slot)| trial.nearest[..k].contains(slot)).count()
    };
    let found: usize = trials.par_iter().map(one).sum();
    found as f64 / (trials.len() * k) as f64
}
