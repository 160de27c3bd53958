//! The arithmetic of Winograd F(4×4, 3×3), one source for every instruction set.
//!
//! With interpolation points 0, ±a, ±b, ∞ (Lavin and Gray, "Fast Algorithms for Convolutional
//! Neural Networks", CVPR 2016): `Y = Aᵀ [ (G g Gᵀ) ⊙ (Bᵀ d B) ] A`, where a 6×6 patch `d` gives
//! 4×4 outputs. The ⊙ summed over input channels is 36 matrix products, one per position.
//!
//! Layouts (floats; channels are multiples of 16):
//! - activations: `[row][column][channel]` with a halo of zeros (see [`super::act`]);
//! - `V`, transformed input: `[36][group][channels / 16][tile of group][16]`, so that the microkernel
//!   reads one stream with constant offsets; a group holds at most `Simd::MR` tiles;
//! - `U`, transformed filters: `[36][panel][input channel][panel width]`;
//! - `M`, the products: `[36][panel][tile][panel width]`.

mod gemm;
mod input;
mod output;

#[cfg(target_arch = "aarch64")]
use crate::cpu::simd::Neon;
use crate::cpu::simd::Simd;
#[cfg(target_arch = "x86_64")]
use crate::cpu::simd::{Avx2, Avx512};
use voisin_simd::Isa;
use voisin_simd::isa::Set;

pub(super) use gemm::{Gemm, gemm};
pub(super) use input::{Input, input};
pub(super) use output::{Output, global_max, output};

/// The interpolation points ±a and ±b. Near-reciprocal points keep the transforms' coefficients
/// even: in simulation 11/16 and 3/2 gave 0.45 times the error of the usual 1 and 2. All
/// coefficients of A and B are exact in f32.
pub(super) const A: f32 = 0.6875;
pub(super) const B: f32 = 1.5;

pub(super) const POS: usize = 36;

/// Tiles that a microkernel takes at most, and output channels side by side in its panel.
fn microkernel(isa: Isa) -> (usize, usize) {
    fn of<S: Simd>() -> (usize, usize) {
        (S::MR, S::NV * S::LANES)
    }
    match isa.set() {
        #[cfg(target_arch = "x86_64")]
        Set::Avx512 { .. } => of::<Avx512>(),
        #[cfg(target_arch = "x86_64")]
        Set::Avx2 => of::<Avx2>(),
        #[cfg(target_arch = "aarch64")]
        Set::Neon => of::<Neon>(),
        Set::Portable => unreachable!("kernels need vector instructions"),
    }
}

pub(super) fn panel_width(isa: Isa) -> usize {
    microkernel(isa).1
}

/// The split of a block of tiles into microkernel groups, as even as possible.
#[derive(Clone, Copy, Debug)]
pub(super) struct Groups {
    pub(super) tiles: usize,
    pub(super) count: usize,
    base: usize,
    extra: usize,
}

impl Groups {
    pub(super) fn new(tiles: usize, isa: Isa) -> Self {
        let count = tiles.div_ceil(microkernel(isa).0).max(1);
        Self {
            tiles,
            count,
            base: tiles / count,
            extra: tiles % count,
        }
    }

    /// First tile and number of tiles of group `g`.
    #[inline(always)]
    pub(super) fn get(&self, g: usize) -> (usize, usize) {
        (
            g * self.base + g.min(self.extra),
            self.base + usize::from(g < self.extra),
        )
    }

    /// The group that holds tile `t`: (its first tile, its size).
    pub(super) fn of(&self, t: usize) -> (usize, usize) {
        let big = self.extra * (self.base + 1);
        if t < big {
            self.get(t / (self.base + 1))
        } else {
            self.get(self.extra + (t - big) / self.base)
        }
    }
}

/// Offsets that one tile reads and writes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tile {
    /// Offset of its 6×6 patch's corner in a window's padded input.
    pub(super) src: u32,
    /// Offset of its first output (pooled output) in a window's padded output.
    pub(super) dst: u32,
    /// Output rows and columns (pooled ones when pooling) that exist.
    pub(super) rows: u8,
    pub(super) cols: u8,
}
