//! Hubs: tracks that are among the neighbours of far more tracks than chance explains, and how to demote them.

use rayon::prelude::*;

use super::builder::CodeSource;
use super::codes::PreparedQuery;
use super::segment::Segment;
use super::types::{Hubness, Neighbor};

/// Vectors that the distribution of a track's distances is estimated from.
const SAMPLE: usize = 1000;

/// How far other tracks are from a track: from its nearest alone (local scaling, which asks for their mean only), or from
/// a sample of all (mutual proximity).
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct HubScale {
    pub(crate) mean: f32,
    pub(crate) deviation: f32,
}

/// The correction of an index.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Hubs {
    pub(crate) kind: Hubness,
    pub(crate) scales: Vec<HubScale>,
}

impl Hubs {
    /// Measures every vector of `base`; `nearest` returns the neighbours of a slot, itself left out.
    pub(crate) fn measure(
        kind: Hubness,
        source: CodeSource<'_>,
        base: &Segment,
        nearest: impl Fn(usize, usize) -> Vec<Neighbor> + Sync,
    ) -> Self {
        let of = |slot: usize| match kind {
            Hubness::LocalScaling { k } => local_scale(&nearest(slot, k)),
            Hubness::MutualProximity => {
                spread(source, base, &source.codec.query_at(source.codes, slot), Some(slot))
            }
        };
        Self { kind, scales: (0..base.len()).into_par_iter().map(of).collect() }
    }

    /// The scale of a query or of a track outside the base.
    pub(crate) fn of_query(
        &self,
        source: CodeSource<'_>,
        base: &Segment,
        query: &PreparedQuery,
        nearest: &[Neighbor],
    ) -> HubScale {
        match self.kind {
            Hubness::LocalScaling { k } => local_scale(&nearest[..k.min(nearest.len())]),
            Hubness::MutualProximity => spread(source, base, query, None),
        }
    }

    /// Corrected nearness; higher is nearer.
    pub(crate) fn score(&self, query: HubScale, track: HubScale, similarity: f32) -> f32 {
        let distance = (1. - similarity).max(0.);
        match self.kind {
            Hubness::LocalScaling { .. } => {
                -distance / (query.mean * track.mean).sqrt().max(f32::MIN_POSITIVE)
            }
            Hubness::MutualProximity => {
                let beyond =
                    |scale: HubScale| 1. - normal((distance - scale.mean) / scale.deviation.max(1e-6));
                (beyond(query) * beyond(track)) as f32
            }
        }
    }
}

/// Mean distance to the nearest.
fn local_scale(nearest: &[Neighbor]) -> HubScale {
    let sum: f32 = nearest.iter().map(|neighbor| (1. - neighbor.similarity).max(0.)).sum();
    HubScale { mean: (sum / nearest.len().max(1) as f32).max(1e-6), deviation: 0. }
}

/// Mean and standard deviation of the distances to evenly spread vectors.
fn spread(source: CodeSource<'_>, base: &Segment, query: &PreparedQuery, without: Option<usize>) -> HubScale {
    let step = base.len().div_ceil(SAMPLE).max(1);
    let others = (0..base.len()).step_by(step).filter(|&slot| Some(slot) != without);
    let slots: Vec<u32> = others.map(|slot| slot as u32).collect();
    let (mut products, mut similarities) = (Vec::new(), Vec::new());
    source.codes.similarities8(source.isa, query, &slots, &mut products, &mut similarities);
    let n = similarities.len().max(1) as f64;
    let mean = similarities.iter().map(|&x| 1. - f64::from(x)).sum::<f64>() / n;
    let variance = similarities.iter().map(|&x| (1. - f64::from(x) - mean).powi(2)).sum::<f64>() / n;
    HubScale { mean: mean as f32, deviation: variance.sqrt() as f32 }
}

/// Cumulative standard normal distribution, within 1e-7 (Abramowitz and Stegun, 7.1.26).
fn normal(x: f32) -> f64 {
    let z = f64::from(x) / std::f64::consts::SQRT_2;
    let t = 1. / (1. + 0.327_591_1 * z.abs());
    let poly = t
        * (0.254_829_592
            + t * (-0.284_496_736 + t * (1.421_413_741 + t * (-1.453_152_027 + t * 1.061_405_429))));
    let tail = 0.5 * poly * (-z * z).exp();
    if x < 0. { tail } else { 1. - tail }
}

/// Skewness of the k-occurrence: how often each track is among the `k` neighbours of another.
///
/// 0 is even; above 1 some tracks are hubs. `neighbors[i]` are the neighbours of `tracks[i]`.
/// Radovanović, Nanopoulos and Ivanović, "Hubs in Space", JMLR 11, 2010.
pub fn k_occurrence_skewness(tracks: &[voisin_base::track::TrackId], neighbors: &[Vec<Neighbor>]) -> f64 {
    let mut counts: std::collections::HashMap<_, u32> = tracks.iter().map(|&track| (track, 0)).collect();
    for neighbor in neighbors.iter().flatten() {
        if let Some(count) = counts.get_mut(&neighbor.track) {
            *count += 1;
        }
    }
    let n = counts.len().max(1) as f64;
    let mean = counts.values().map(|&count| f64::from(count)).sum::<f64>() / n;
    let moment =
        |power: i32| counts.values().map(|&count| (f64::from(count) - mean).powi(power)).sum::<f64>() / n;
    let deviation = moment(2).sqrt();
    if deviation > 0. { moment(3) / deviation.powi(3) } else { 0. }
}

/// The nearest by corrected score, best first.
pub(crate) fn reorder(found: Vec<Neighbor>, k: usize, score: impl Fn(&Neighbor) -> f32) -> Vec<Neighbor> {
    let mut scored: Vec<(f32, Neighbor)> = found.into_iter().map(|found| (score(&found), found)).collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| super::top::nearer(&a.1, &b.1)));
    scored.truncate(k);
    scored.into_iter().map(|(_, neighbor)| neighbor).collect()
}
