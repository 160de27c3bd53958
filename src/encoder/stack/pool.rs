//! Maximum pooling. Candle's own has a wrong gradient.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, D, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use crate::networks::whole;

/// The maximum of each `rows` × `columns` places of `[n, channels, height, width]`; incomplete pools are dropped. Of
/// equally large numbers the first has the gradient.
pub(super) fn pool(x: &Tensor, [rows, columns]: [usize; 2]) -> Result<Tensor> {
    let (n, c, h, w) = x.dims4()?;
    let high = h / rows;
    let wide = w / columns;
    if x.device().is_cpu() {
        let size = [rows, columns];
        return x.contiguous()?.apply_op1(MaximumPool { size });
    }
    let x = x.narrow(2, 0, high * rows)?.narrow(3, 0, wide * columns)?;
    let x = x.contiguous()?.reshape((n, c, high, rows, wide, columns))?;
    let x = x.transpose(3, 4)?.contiguous()?;
    let x = x.reshape((n, c, high, wide, rows * columns))?;
    let first = x.argmax_keepdim(D::Minus1)?;
    x.gather(&first, D::Minus1)?.squeeze(D::Minus1)
}

struct MaximumPool {
    size: [usize; 2],
}

impl MaximumPool {
    /// The place of the maximum of a pool in its plane.
    fn place(&self, plane: &[f32], width: usize, at: usize) -> usize {
        let [rows, columns] = self.size;
        let wide = width / columns;
        let corner = at / wide * rows * width + at % wide * columns;
        let mut best = corner;
        for row in 0..rows {
            for place in corner + row * width..corner + row * width + columns {
                if plane[place] > plane[best] {
                    best = place;
                }
            }
        }
        best
    }
}

impl CustomOp1 for MaximumPool {
    fn name(&self) -> &'static str {
        "maximum pool"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (n, c, h, w) = layout.shape().dims4()?;
        let high = h / self.size[0];
        let wide = w / self.size[1];
        let mut out = vec![0.0; n * c * high * wide];
        let planes = whole(x, layout)?.par_chunks_exact(h * w);
        planes
            .zip(out.par_chunks_exact_mut(high * wide))
            .for_each(|(plane, out)| {
                for (at, out) in out.iter_mut().enumerate() {
                    *out = plane[self.place(plane, w, at)];
                }
            });
        Ok((CpuStorage::F32(out), (n, c, high, wide).into()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let size = self.size;
        let gradient = gradient.contiguous()?;
        x.apply_op2_no_bwd(&gradient, &PoolGradient(Self { size }))
            .map(Some)
    }
}

/// The gradient of a pool's input, from that and its output's gradient.
struct PoolGradient(MaximumPool);

impl CustomOp2 for PoolGradient {
    fn name(&self) -> &'static str {
        "gradient of a maximum pool"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        layout: &Layout,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (n, c, h, w) = layout.shape().dims4()?;
        let (_, _, high, wide) = gradient_layout.shape().dims4()?;
        let mut out = vec![0.0; n * c * h * w];
        let planes = whole(x, layout)?.par_chunks_exact(h * w);
        let gradients = whole(gradient, gradient_layout)?.par_chunks_exact(high * wide);
        planes
            .zip(gradients)
            .zip(out.par_chunks_exact_mut(h * w))
            .for_each(|((plane, gradient), out)| {
                for (at, gradient) in gradient.iter().enumerate() {
                    out[self.0.place(plane, w, at)] = *gradient;
                }
            });
        Ok((CpuStorage::F32(out), (n, c, h, w).into()))
    }
}
