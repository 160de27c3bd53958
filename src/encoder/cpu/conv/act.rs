//! Activations in memory: `[window][row][column][channel]` with a halo of zeros, padded to whole
//! tiles.

use super::winograd::Tile;
use voisin_simd::buffer::Buffer;

/// The shape of a padded activation: one pixel of zeros around, rows and columns rounded up so that
/// every 4×4 tile's 6×6 patch lies inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// Real rows, columns and channels (channels a multiple of 16).
    pub(super) h: usize,
    pub(super) w: usize,
    pub(super) c: usize,
}

impl Shape {
    pub(super) fn tiles_high(self) -> usize {
        self.h.div_ceil(4)
    }
    pub(super) fn tiles_wide(self) -> usize {
        self.w.div_ceil(4)
    }
    pub(super) fn rows(self) -> usize {
        self.tiles_high() * 4 + 2
    }
    pub(super) fn cols(self) -> usize {
        self.tiles_wide() * 4 + 2
    }
    /// Floats from one row to the next.
    pub(super) fn row(self) -> usize {
        self.cols() * self.c
    }
    pub(super) fn len(self) -> usize {
        self.rows() * self.row()
    }
    /// Offset of a real pixel.
    pub(super) fn at(self, y: usize, x: usize) -> usize {
        (y + 1) * self.row() + (x + 1) * self.c
    }
    /// After a 2×2 max pool (stride 2, floor), with `c` channels.
    pub(super) fn pooled(self, c: usize) -> Self {
        Self {
            h: self.h / 2,
            w: self.w / 2,
            c,
        }
    }

    /// The tiles of a convolution from `self` to `to` (pooled 2×2 if `pool`) whose outputs exist.
    pub(super) fn tiles(self, to: Self, pool: bool) -> Vec<Tile> {
        let step = if pool { 2 } else { 4 };
        let mut tiles = Vec::with_capacity(self.tiles_high() * self.tiles_wide());
        for ty in 0..self.tiles_high() {
            for tx in 0..self.tiles_wide() {
                // At the bottom and right edges outputs of a tile may be outside the image, or
                // dropped by the pool.
                let rows = to.h.saturating_sub(step * ty).min(step);
                let cols = to.w.saturating_sub(step * tx).min(step);
                if rows > 0 && cols > 0 {
                    tiles.push(Tile {
                        src: (4 * ty * self.row() + 4 * tx * self.c) as u32,
                        dst: to.at(step * ty, step * tx) as u32,
                        rows: rows as u8,
                        cols: cols as u8,
                    });
                }
            }
        }
        tiles
    }
}

/// `n` windows of one shape. The halo is initialised with zeros and never written.
#[derive(Debug)]
pub(super) struct Act {
    pub(super) shape: Shape,
    pub(super) buf: Buffer,
}

impl Act {
    pub(super) fn new(shape: Shape, n: usize) -> Self {
        Self {
            shape,
            buf: Buffer::zeroed(shape.len() * n),
        }
    }

    /// Room for `n` windows (contents are lost when it grows).
    pub(super) fn reserve(&mut self, n: usize) {
        self.buf.reserve(self.shape.len() * n);
    }
}
