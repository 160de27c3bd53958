//! A 3×3 filter bank in the Winograd domain, transformed once.

use rayon::prelude::*;

use super::winograd::{self, A, B, POS};
use voisin_simd::Isa;
use voisin_simd::buffer::Buffer;

/// A 3×3 filter bank in the Winograd domain with its bias.
#[derive(Debug)]
pub(super) struct WinogradFilters {
    pub(super) isa: Isa,
    /// Input and output channels, multiples of 16.
    pub(super) k: usize,
    pub(super) n: usize,
    /// Output channels that one pass over a block computes.
    pub(super) group: usize,
    u: Buffer,
    pub(super) bias: Vec<f32>,
}

impl WinogradFilters {
    /// From `[out][in][3][3]` weights and `out` biases.
    pub(super) fn new(isa: Isa, weight: &[f32], bias: &[f32]) -> Self {
        let n = bias.len();
        let k = weight.len() / (9 * n);
        let mut filters = Self {
            isa,
            k,
            n,
            group: 64.min(n),
            u: Buffer::zeroed(POS * k * n),
            bias: bias.to_vec(),
        };
        filters.set(weight);
        filters
    }

    /// Layout of output channel `o` in U, from the first position and input channel: offset, floats
    /// from one position to the next, and from one input channel to the next.
    fn place(&self, o: usize) -> (usize, usize, usize) {
        let depth = self.k;
        let width = winograd::panel_width(self.isa);
        let group = o / self.group;
        let in_group = o % self.group;
        let channels = self.group.min(self.n - group * self.group);
        let panel = in_group / width;
        let panel_width = width.min(channels - panel * width);
        let offset = POS * depth * self.group * group + panel * depth * width + in_group % width;
        (offset, depth * channels, panel_width)
    }

    /// Transforms `weight`, `[out][in][3][3]`, in f64.
    fn set(&mut self, weight: &[f32]) {
        let places: Vec<_> = (0..self.n).map(|o| self.place(o)).collect();
        let k = self.k;
        let u = self.u.share();
        places
            .into_par_iter()
            .enumerate()
            .for_each(|(o, (offset, next_position, next_input))| {
                for i in 0..k {
                    let g = &weight[(o * k + i) * 9..][..9];
                    for (position, value) in transform_filter(g).into_iter().enumerate() {
                        let at = offset + position * next_position + i * next_input;
                        // SAFETY: every output channel has slots of its own in U, and one task.
                        unsafe { u.slice_mut(at..at + 1)[0] = value };
                    }
                }
            });
    }

    pub(super) fn groups_of_channels(&self) -> usize {
        self.n.div_ceil(self.group)
    }

    /// First channel, number of channels and filters of channel group `b`.
    pub(super) fn channel_group(&self, b: usize) -> (usize, usize, &[f32]) {
        let n = self.group.min(self.n - b * self.group);
        let u = &self.u.as_slice()[POS * self.k * self.group * b..];
        (b * self.group, n, &u[..POS * self.k * n])
    }
}

/// G g Gᵀ in f64, rounded once.
fn transform_filter(g: &[f32]) -> [f32; POS] {
    fn rows(g: [f64; 3]) -> [f64; 6] {
        // Toom-Cook's evaluation at 0, ±a, ±b and ∞ with its factors (Lavin and Gray, 2016).
        let a = f64::from(A);
        let b = f64::from(B);
        let a2 = a * a;
        let b2 = b * b;
        let na = 2.0 * a2 * (a2 - b2);
        let nb = 2.0 * b2 * (b2 - a2);
        let p = g[0] + a2 * g[2];
        let r = g[0] + b2 * g[2];
        let q = a * g[1];
        let s = b * g[1];
        [
            g[0] / (a2 * b2),
            (p + q) / na,
            (p - q) / na,
            (r + s) / nb,
            (r - s) / nb,
            g[2],
        ]
    }
    // G g Gᵀ is separable: columns first, then rows.
    let mut half = [[0.0; 3]; 6];
    for x in 0..3 {
        let column = rows([f64::from(g[x]), f64::from(g[3 + x]), f64::from(g[6 + x])]);
        for y in 0..6 {
            half[y][x] = column[y];
        }
    }
    let mut out = [0.0; POS];
    for y in 0..6 {
        for (x, value) in rows(half[y]).into_iter().enumerate() {
            out[y * 6 + x] = value as f32;
        }
    }
    out
}
