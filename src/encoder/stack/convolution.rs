//! Convolutions on a CPU as products of matrices: Candle's own gradients of them take many times as long.

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor};
use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2, s};
use rayon::prelude::*;

use crate::networks::whole;

/// Numbers of the patches that are multiplied at once, so that they stay in a cache.
const PATCHES: usize = 1 << 16;

/// A convolution of stride 1 with zeros around the image, `[n, inputs, height, width]` by
/// `[outputs, inputs, rows, columns]`.
///
/// - `bias`: of each output
/// - `zeros`: above and below, left and right
pub(super) fn convolve(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    zeros: [usize; 2],
) -> Result<Tensor> {
    let x = x.contiguous()?;
    if x.device().is_cpu() {
        return x.apply_op3(weight, bias, Convolution { zeros });
    }
    // Candle takes one number of zeros for both axes.
    let x = x.pad_with_zeros(2, zeros[0], zeros[0])?;
    let x = x.pad_with_zeros(3, zeros[1], zeros[1])?;
    x.conv2d(weight, 0, 1, 1, 1)?
        .broadcast_add(&bias.reshape((1, (), 1, 1))?)
}

#[derive(Clone, Copy)]
struct Sizes {
    inputs: usize,
    image: [usize; 2],
    kernel: [usize; 2],
    zeros: [usize; 2],
}

impl Sizes {
    fn out(&self) -> [usize; 2] {
        [0, 1].map(|axis| self.image[axis] + 2 * self.zeros[axis] + 1 - self.kernel[axis])
    }

    /// Numbers of a patch of the image, over which a filter lies.
    fn patch(&self) -> usize {
        self.inputs * self.kernel[0] * self.kernel[1]
    }

    /// Calls `use_part` with the first and the last place of some rows of the result, and the patches
    /// under these, `[patch][places]`.
    fn for_each_part(
        &self,
        image: &[f32],
        mut use_part: impl FnMut(usize, usize, ArrayView2<f32>),
    ) {
        let [high, wide] = self.out();
        let together = (PATCHES / (self.patch() * wide)).clamp(1, high);
        let mut patches = vec![0.0; self.patch() * together * wide];
        for top in (0..high).step_by(together) {
            let rows = together.min(high - top);
            let patches = &mut patches[..self.patch() * rows * wide];
            self.fill(image, top, rows, patches);
            use_part(
                top * wide,
                (top + rows) * wide,
                matrix(self.patch(), patches),
            );
        }
    }

    /// The numbers under each place of the kernel, for `rows` rows of the result from `top` on.
    fn fill(&self, image: &[f32], top: usize, rows: usize, patches: &mut [f32]) {
        let [height, width] = self.image;
        let [_, wide] = self.out();
        let [kernel_rows, kernel_columns] = self.kernel;
        for (line, to) in patches.chunks_exact_mut(rows * wide).enumerate() {
            let channel = line / (kernel_rows * kernel_columns);
            let down = line / kernel_columns % kernel_rows;
            let right = line % kernel_columns;
            // Columns of the result under which this place of the kernel lies in the image.
            let first = self.zeros[1].saturating_sub(right).min(wide);
            let last = (width + self.zeros[1])
                .saturating_sub(right)
                .clamp(first, wide);
            for (row, to) in to.chunks_exact_mut(wide).enumerate() {
                let from = (top + row + down).checked_sub(self.zeros[0]);
                let Some(from) = from.filter(|from| *from < height) else {
                    to.fill(0.0);
                    continue;
                };
                let from = (channel * height + from) * width;
                to[..first].fill(0.0);
                to[last..].fill(0.0);
                if first < last {
                    let start = from + first + right - self.zeros[1];
                    to[first..last].copy_from_slice(&image[start..start + last - first]);
                }
            }
        }
    }
}

/// Numbers as rows of equal length.
fn matrix(rows: usize, numbers: &[f32]) -> ArrayView2<'_, f32> {
    ArrayView2::from_shape((rows, numbers.len() / rows), numbers).expect("whole rows")
}

fn matrix_mut(rows: usize, numbers: &mut [f32]) -> ArrayViewMut2<'_, f32> {
    ArrayViewMut2::from_shape((rows, numbers.len() / rows), numbers).expect("whole rows")
}

/// The convolution as an operation with gradients.
struct Convolution {
    zeros: [usize; 2],
}

impl CustomOp3 for Convolution {
    fn name(&self) -> &'static str {
        "convolution"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (n, inputs, height, width) = x_layout.shape().dims4()?;
        let (outputs, _, rows, columns) = weight_layout.shape().dims4()?;
        let sizes = Sizes {
            inputs,
            image: [height, width],
            kernel: [rows, columns],
            zeros: self.zeros,
        };
        let x = whole(x, x_layout)?;
        let filters = matrix(outputs, whole(weight, weight_layout)?);
        let bias = whole(bias, bias_layout)?;
        let [high, wide] = sizes.out();
        let mut out = vec![0.0; n * outputs * high * wide];
        // Each image is one thread's, so that the result does not depend on their number.
        let images = x.par_chunks_exact(inputs * height * width);
        images
            .zip(out.par_chunks_exact_mut(outputs * high * wide))
            .for_each(|(image, out)| {
                for (out, bias) in out.chunks_exact_mut(high * wide).zip(bias) {
                    out.fill(*bias);
                }
                let mut out = matrix_mut(outputs, out);
                sizes.for_each_part(image, |from, to, patches| {
                    let mut part = out.slice_mut(s![.., from..to]);
                    general_mat_mul(1.0, &filters, &patches, 1.0, &mut part);
                });
            });
        Ok((CpuStorage::F32(out), (n, outputs, high, wide).into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let gradient = gradient.contiguous()?;
        let (_, _, rows, columns) = weight.dims4()?;
        // The input's gradient is a convolution too, with filters that are turned by half a circle.
        let of_x = if x.track_op() {
            let turned = weight.flip(&[2, 3])?.transpose(0, 1)?.contiguous()?;
            let zeros = [rows - 1 - self.zeros[0], columns - 1 - self.zeros[1]];
            let none = Tensor::zeros(turned.dim(0)?, x.dtype(), x.device())?;
            Some(gradient.apply_op3_no_bwd(&turned, &none, &Convolution { zeros })?)
        } else {
            None
        };
        let of_weight = FilterGradient {
            zeros: self.zeros,
            kernel: [rows, columns],
        };
        let of_weight = x.apply_op2_no_bwd(&gradient, &of_weight)?;
        Ok((of_x, Some(of_weight), Some(gradient.sum((0, 2, 3))?)))
    }
}

/// The gradient of a convolution's filters, from its input and its output's gradient.
struct FilterGradient {
    zeros: [usize; 2],
    kernel: [usize; 2],
}

impl CustomOp2 for FilterGradient {
    fn name(&self) -> &'static str {
        "gradient of filters"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        gradient: &CpuStorage,
        gradient_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (_, inputs, height, width) = x_layout.shape().dims4()?;
        let (_, outputs, high, wide) = gradient_layout.shape().dims4()?;
        let sizes = Sizes {
            inputs,
            image: [height, width],
            kernel: self.kernel,
            zeros: self.zeros,
        };
        let images = whole(x, x_layout)?.par_chunks_exact(inputs * height * width);
        let gradients = whole(gradient, gradient_layout)?.par_chunks_exact(outputs * high * wide);
        let of_image = |(image, gradient): (&[f32], &[f32])| {
            let mut sum = vec![0.0; outputs * sizes.patch()];
            let mut of_filters = matrix_mut(outputs, &mut sum);
            let gradient = matrix(outputs, gradient);
            sizes.for_each_part(image, |from, to, patches| {
                let part = gradient.slice(s![.., from..to]);
                general_mat_mul(1.0, &part, &patches.t(), 1.0, &mut of_filters);
            });
            sum
        };
        let of_images: Vec<Vec<f32>> = images.zip(gradients).map(of_image).collect();
        let mut sum = vec![0.0; outputs * sizes.patch()];
        // In the order of the images, whatever the threads.
        for one in of_images {
            sum.iter_mut().zip(one).for_each(|(sum, one)| *sum += one);
        }
        let [rows, columns] = self.kernel;
        Ok((
            CpuStorage::F32(sum),
            (outputs, inputs, rows, columns).into(),
        ))
    }
}
