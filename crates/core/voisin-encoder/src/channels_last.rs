//! Convolutions over images whose channels lie next to each other, `[n, height, width, channels]`:
//! what the networks are made of on a GPU.
//!
//! A convolution is one product of matrices: each output's part of the image in a row (Chellapilla,
//! Puri, Simard, "High Performance Convolutional Neural Networks for Document Processing", 2006)
//! with the filters. Candle's own computes five 64-bit divisions for each number of these rows, and
//! a batch norm in five passes: on an H200 it takes 10 to 40 times as long.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor, bail};

/// Height and width.
pub(crate) type Size = [usize; 2];

/// A convolution with what follows it.
#[derive(Debug)]
pub(crate) struct GpuConvolution {
    /// `[kernel height · kernel width · inputs, outputs]`
    filters: Tensor,
    kernel: Size,
    /// Zeros above and to the left of the image.
    before: Size,
    /// Zeros below and to the right of it.
    after: Size,
    finish: ConvolutionFinish,
}

/// The largest of each pool of `second · f(first · x + bias) + shift`, where `f` is ReLU or
/// nothing.
#[derive(Debug)]
pub(crate) struct ConvolutionFinish {
    /// `[4, channels]`: first, bias, second, shift
    parameters: Tensor,
    relu: bool,
    pool: Size,
}

impl ConvolutionFinish {
    /// - `parameters`: first, bias, second, shift, a number for each channel
    pub(crate) fn new(
        parameters: [&[f32]; 4],
        relu: bool,
        pool: Size,
        device: &candle_core::Device,
    ) -> Result<Self> {
        let channels = parameters[0].len();
        Ok(Self {
            parameters: Tensor::from_vec(parameters.concat(), (4, channels), device)?,
            relu,
            pool,
        })
    }

    /// Of an image.
    pub(crate) fn of(&self, x: &Tensor) -> Result<Tensor> {
        x.apply_op2_no_bwd(
            &self.parameters,
            &FinishOp {
                relu: self.relu,
                pool: self.pool,
            },
        )
    }
}

impl GpuConvolution {
    /// - `weight`: `[outputs, inputs, kernel height, kernel width]`, of the type that is computed
    ///   in
    pub(crate) fn new(
        weight: &Tensor,
        before: Size,
        after: Size,
        finish: ConvolutionFinish,
    ) -> Result<Self> {
        let (outputs, inputs, height, width) = weight.dims4()?;
        // Channels innermost, as the image has them: each row of columns is then copied in whole
        // runs.
        let filters = weight
            .permute((2, 3, 1, 0))?
            .reshape((height * width * inputs, outputs))?
            .contiguous()?;
        Ok(Self {
            filters,
            kernel: [height, width],
            before,
            after,
            finish,
        })
    }

    /// - `x`: `[n, height, width, inputs]`
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (n, height, width, _) = x.dims4()?;
        // The kernel is subtracted last: it may be longer than the image without its padding.
        let side = |at: usize, length: usize| {
            length + self.before[at] + self.after[at] + 1 - self.kernel[at]
        };
        let out = [side(0, height), side(1, width)];
        let columns = x.apply_op1_no_bwd(&ColumnsOp {
            kernel: self.kernel,
            before: self.before,
            out,
        })?;
        let y = columns.matmul(&self.filters)?;
        self.finish.of(&y.reshape((n, out[0], out[1], ()))?)
    }
}

/// Rows that the outputs of a convolution are products with: `[n · height · width, kernel height ·
/// kernel width · channels]`.
struct ColumnsOp {
    kernel: Size,
    before: Size,
    out: Size,
}

struct FinishOp {
    relu: bool,
    pool: Size,
}

fn whole<'a, T>(values: &'a [T], layout: &Layout) -> Result<&'a [T]> {
    match layout.contiguous_offsets() {
        Some((from, to)) => Ok(&values[from..to]),
        None => bail!("an image of channels next to each other has to be contiguous"),
    }
}

impl ColumnsOp {
    fn shape(&self, n: usize, channels: usize) -> Shape {
        (
            n * self.out[0] * self.out[1],
            self.kernel[0] * self.kernel[1] * channels,
        )
            .into()
    }
}

impl CustomOp1 for ColumnsOp {
    fn name(&self) -> &'static str {
        "columns"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (n, height, width, channels) = layout.shape().dims4()?;
        let x = whole(storage.as_slice::<f32>()?, layout)?;
        let shape = self.shape(n, channels);
        let mut out = Vec::with_capacity(shape.elem_count());
        for at in 0..n * self.out[0] * self.out[1] {
            let image = at / self.out[1] / self.out[0];
            let row = at / self.out[1] % self.out[0];
            let column = at % self.out[1];
            for tap in 0..self.kernel[0] * self.kernel[1] {
                // A place above or left of the image wraps to a huge number, so one comparison
                // catches both sides.
                let y = (row + tap / self.kernel[1]).wrapping_sub(self.before[0]);
                let z = (column + tap % self.kernel[1]).wrapping_sub(self.before[1]);
                if y < height && z < width {
                    let from = ((image * height + y) * width + z) * channels;
                    out.extend_from_slice(&x[from..from + channels]);
                } else {
                    out.resize(out.len() + channels, 0.0);
                }
            }
        }
        Ok((CpuStorage::F32(out), shape))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        storage: &candle_core::CudaStorage,
        layout: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        super::launch::columns(storage, layout, [self.kernel, self.before, self.out])
    }
}

impl FinishOp {
    fn shape(&self, [n, height, width, channels]: [usize; 4]) -> Shape {
        (n, height / self.pool[0], width / self.pool[1], channels).into()
    }
}

impl CustomOp2 for FinishOp {
    fn name(&self) -> &'static str {
        "finish"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        parameters: &CpuStorage,
        parameters_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (n, height, width, channels) = x_layout.shape().dims4()?;
        let x = whole(x.as_slice::<f32>()?, x_layout)?;
        let parameters = whole(parameters.as_slice::<f32>()?, parameters_layout)?;
        let shape = self.shape([n, height, width, channels]);
        let [pool_height, pool_width] = self.pool;
        let rows = height / pool_height;
        let columns = width / pool_width;
        let mut out = Vec::with_capacity(shape.elem_count());
        for i in 0..shape.elem_count() {
            let channel = i % channels;
            let pixel = i / channels;
            let column = pixel % columns;
            let row = pixel / columns % rows;
            let image = pixel / columns / rows;
            // The bias of the convolution comes before ReLU, the batch norm behind it, so two pairs
            // are needed.
            let [first, bias, second, shift] =
                [0, 1, 2, 3].map(|at| parameters[at * channels + channel]);
            let mut largest = f32::NEG_INFINITY;
            for at in 0..pool_height * pool_width {
                let y = row * pool_height + at / pool_width;
                let z = column * pool_width + at % pool_width;
                let value =
                    first * x[((image * height + y) * width + z) * channels + channel] + bias;
                let value = second * if self.relu && value < 0.0 { 0.0 } else { value } + shift;
                // NaN fails every comparison and would be dropped: it has to stay visible.
                if value > largest || value.is_nan() {
                    largest = value;
                }
            }
            out.push(largest);
        }
        Ok((CpuStorage::F32(out), shape))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &candle_core::CudaStorage,
        x_layout: &Layout,
        parameters: &candle_core::CudaStorage,
        parameters_layout: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        super::launch::finish(
            (x, x_layout),
            (parameters, parameters_layout),
            self.relu,
            self.pool,
        )
    }
}
