//! Links of a graph that `hnsw_rs` builds.

use hnsw_rs::prelude::{Distance, Hnsw};
use rayon::prelude::*;

use super::codes::CodeSource;
use super::graph::NONE;
use super::types::IndexOptions;
use voisin_base::random::Random;

/// `hnsw_rs` keeps at most this many layers.
const MAX_LAYERS: usize = 16;
/// Points that are inserted sequentially at first: one inserted before there is an entry point
/// would have no links.
const ONE_BY_ONE: usize = 64;

/// Distance of two slots at 8 bits. A point of `hnsw_rs` holds only its slot, so vectors are not
/// copied.
struct SlotDistance<'a>(CodeSource<'a>);

impl Distance<u32> for SlotDistance<'_> {
    fn eval(&self, a: &[u32], b: &[u32]) -> f32 {
        // hnsw_rs asserts that no distance is negative; rounding makes some 1 − cosine so.
        (1. - self.0.similarity(a[0], b[0])).max(0.)
    }
}

/// `hnsw_rs` builds, then its lowest layer is copied out: rows of `stride` links.
pub(crate) fn links(source: CodeSource<'_>, stride: usize, options: &IndexOptions) -> Vec<u32> {
    let n = source.codes.len();
    let mut order: Vec<u32> = (0..n as u32).collect();
    // In the order of ids, neighbours would be inserted together and only link to each other.
    Random::new(options.seed).shuffle(&mut order);
    let width = options.ef_construction;
    // `m` was checked: hnsw_rs exits the process above 256.
    let hnsw = Hnsw::new(options.m, n, MAX_LAYERS, width, SlotDistance(source));
    let insert = |&slot: &u32| hnsw.insert((&[slot], slot as usize));
    if rayon::current_num_threads() == 1 {
        order.iter().for_each(insert);
    } else {
        let (first, rest) = order.split_at(n.min(ONE_BY_ONE));
        first.iter().for_each(insert);
        rest.par_iter().for_each(insert);
    }
    let mut links = vec![NONE; n * stride];
    let stored = hnsw.get_point_indexation();
    // hnsw_rs lists each point in its highest layer only.
    for layer in 0..=usize::from(hnsw.get_max_level_observed()) {
        for point in stored.get_layer_iterator(layer) {
            let slot = point.get_origin_id();
            let neighbours = point.get_neighborhood_id();
            let linked = neighbours
                .first()
                .into_iter()
                .flatten()
                .map(|other| other.d_id);
            let kept = linked.filter(|&other| other != slot && other < n);
            links[slot * stride..][..stride]
                .iter_mut()
                .zip(kept)
                .for_each(|(link, other)| *link = other as u32);
        }
    }
    links
}
