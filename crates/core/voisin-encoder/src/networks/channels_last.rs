//! Convolutions over channels-last images, `[n, height, width, channels]`, for networks on a GPU.
//!
//! A convolution is one matrix product: each output's part of the image as a row (im2col:
//! Chellapilla, Puri, Simard, "High Performance Convolutional Neural Networks for Document
//! Processing", 2006) with the filters. Candle's own computes five 64-bit divisions for each number
//! of these rows, and a batch norm in five passes: on an H200 it takes 10 to 40 times as long.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, Device, Layout, Result, Shape, Storage, Tensor, bail};

use super::block::Size;

/// A step of a chain.
#[derive(Debug)]
pub(crate) enum GpuStage {
    Finish(ConvolutionFinish),
    Convolution(GpuConvolution),
}

/// A convolution.
#[derive(Debug)]
pub(crate) struct GpuConvolution {
    /// `[kernel height · kernel width · inputs, outputs]`
    filters: Tensor,
    kernel: Size,
    /// Zeros above and below the image, to the left and the right of it.
    padding: [Size; 2],
    finish: ConvolutionFinish,
}

/// The largest of each pool of `second · f(first · x + bias) + shift`, where `f` is ReLU or
/// nothing.
#[derive(Debug)]
pub(crate) struct ConvolutionFinish {
    /// `[4, channels]`: first, bias, second, shift
    parameters: Tensor,
    relu: bool,
    /// `None`: global maximum.
    pool: Option<Size>,
}

/// Storage of such images.
pub(crate) trait ChannelsLast: BackendStorage {
    /// Storage of this kind.
    fn of(storage: &Storage) -> Option<&Self>;

    /// The im2col rows of a convolution over an image: `[n · height · width, kernel height · kernel width ·
    /// channels]`.
    ///
    /// - `sizes`: height and width of the kernel, of the zeros above and to the left, and of the outputs
    fn columns(&self, layout: &Layout, sizes: [Size; 3]) -> Result<(Self, Shape)>;

    /// Max pooling of an image.
    ///
    /// - `parameters`: `[4, channels]` of f32
    fn finish(
        &self,
        layout: &Layout,
        parameters: (&Self, &Layout),
        relu: bool,
        pool: Size,
    ) -> Result<(Self, Shape)>;
}

/// The stages' output for an image.
pub(crate) fn run<S: ChannelsLast>(
    stages: &[GpuStage],
    x: &S,
    layout: &Layout,
) -> Result<(S, Shape)> {
    let mut made: Option<(S, Shape)> = None;
    for stage in stages {
        let before = made
            .as_ref()
            .map(|(x, shape)| (x, Layout::contiguous(shape)));
        let (x, layout) = before
            .as_ref()
            .map_or((x, layout), |(x, layout)| (*x, layout));
        made = Some(match stage {
            GpuStage::Finish(finish) => finish.run(x, layout)?,
            GpuStage::Convolution(convolution) => convolution.run(x, layout)?,
        });
    }
    match made {
        Some(made) => Ok(made),
        None => bail!("a chain of no blocks"),
    }
}

impl ConvolutionFinish {
    /// - `parameters`: first, bias, second, shift, a number for each channel
    pub(crate) fn new(
        parameters: [&[f32]; 4],
        relu: bool,
        pool: Option<Size>,
        device: &Device,
    ) -> Result<Self> {
        let channels = parameters[0].len();
        Ok(Self {
            parameters: Tensor::from_vec(parameters.concat(), (4, channels), device)?,
            relu,
            pool,
        })
    }

    fn run<S: ChannelsLast>(&self, x: &S, layout: &Layout) -> Result<(S, Shape)> {
        let (_, height, width, _) = layout.shape().dims4()?;
        let (parameters, parameters_layout) = self.parameters.storage_and_layout();
        let Some(parameters) = S::of(&parameters) else {
            bail!("parameters of another device")
        };
        let pool = self.pool.unwrap_or([height, width]);
        x.finish(layout, (parameters, parameters_layout), self.relu, pool)
    }
}

impl GpuConvolution {
    /// - `weight`: `[outputs, inputs, kernel height, kernel width]`, of the type that is computed
    ///   in
    pub(crate) fn new(
        weight: &Tensor,
        padding: [Size; 2],
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
            padding,
            finish,
        })
    }

    fn run<S: ChannelsLast>(&self, x: &S, layout: &Layout) -> Result<(S, Shape)> {
        let (n, height, width, _) = layout.shape().dims4()?;
        // Converted after the image's norm, as decibels would lose their last digits in bf16.
        if x.dtype() != self.filters.dtype() {
            let x = x.to_dtype(layout, self.filters.dtype())?;
            return self.run(&x, &Layout::contiguous(layout.shape()));
        }
        // The kernel is subtracted last: it may be longer than the image without its padding.
        let side = |at: usize, length: usize| {
            length + self.padding[at].iter().sum::<usize>() + 1 - self.kernel[at]
        };
        let out = [side(0, height), side(1, width)];
        let before = self.padding.map(|[before, _]| before);
        let (columns, shape) = x.columns(layout, [self.kernel, before, out])?;
        let (rows, inner) = shape.dims2()?;
        let (_, outputs) = self.filters.dims2()?;
        let (filters, filters_layout) = self.filters.storage_and_layout();
        let Some(filters) = S::of(&filters) else {
            bail!("filters of another device")
        };
        let sizes = (1, rows, outputs, inner);
        let y = columns.matmul(filters, sizes, &Layout::contiguous(shape), filters_layout)?;
        self.finish
            .run(&y, &Layout::contiguous((n, out[0], out[1], outputs)))
    }
}

/// The numbers of a contiguous tensor.
pub(crate) fn whole<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((from, to)) => Ok(&storage.as_slice()?[from..to]),
        None => bail!("expected a contiguous tensor"),
    }
}

/// The GPU's computation, for tests.
impl ChannelsLast for CpuStorage {
    fn of(storage: &Storage) -> Option<&Self> {
        match storage {
            Storage::Cpu(storage) => Some(storage),
            _ => None,
        }
    }

    fn columns(&self, layout: &Layout, [kernel, before, size]: [Size; 3]) -> Result<(Self, Shape)> {
        let (n, height, width, channels) = layout.shape().dims4()?;
        let x = whole(self, layout)?;
        let shape: Shape = (n * size[0] * size[1], kernel[0] * kernel[1] * channels).into();
        let mut out = Vec::with_capacity(shape.elem_count());
        for at in 0..n * size[0] * size[1] {
            let image = at / size[1] / size[0];
            let row = at / size[1] % size[0];
            let column = at % size[1];
            for tap in 0..kernel[0] * kernel[1] {
                // A place above or left of the image wraps to a huge number, so one comparison
                // catches both sides.
                let y = (row + tap / kernel[1]).wrapping_sub(before[0]);
                let z = (column + tap % kernel[1]).wrapping_sub(before[1]);
                if y < height && z < width {
                    let from = ((image * height + y) * width + z) * channels;
                    out.extend_from_slice(&x[from..from + channels]);
                } else {
                    out.resize(out.len() + channels, 0.0);
                }
            }
        }
        Ok((Self::F32(out), shape))
    }

    fn finish(
        &self,
        layout: &Layout,
        (parameters, parameters_layout): (&Self, &Layout),
        relu: bool,
        [pool_height, pool_width]: Size,
    ) -> Result<(Self, Shape)> {
        let (n, height, width, channels) = layout.shape().dims4()?;
        let x = whole(self, layout)?;
        let parameters = whole(parameters, parameters_layout)?;
        let rows = height / pool_height;
        let columns = width / pool_width;
        let shape: Shape = (n, rows, columns, channels).into();
        let mut out = Vec::with_capacity(shape.elem_count());
        for i in 0..shape.elem_count() {
            let channel = i % channels;
            let pixel = i / channels;
            let column = pixel % columns;
            let row = pixel / columns % rows;
            let image = pixel / columns / rows;
            // The bias of the convolution comes before ReLU, the batch norm after it, so two pairs
            // are needed.
            let [first, bias, second, shift] =
                [0, 1, 2, 3].map(|at| parameters[at * channels + channel]);
            let mut largest = f32::NEG_INFINITY;
            for at in 0..pool_height * pool_width {
                let y = row * pool_height + at / pool_width;
                let z = column * pool_width + at % pool_width;
                let value =
                    first * x[((image * height + y) * width + z) * channels + channel] + bias;
                let value = second * if relu && value < 0.0 { 0.0 } else { value } + shift;
                // NaN fails every comparison and would be dropped, but has to stay visible.
                if value > largest || value.is_nan() {
                    largest = value;
                }
            }
            out.push(largest);
        }
        Ok((Self::F32(out), shape))
    }
}

#[cfg(feature = "cuda")]
impl ChannelsLast for candle_core::CudaStorage {
    fn of(storage: &Storage) -> Option<&Self> {
        match storage {
            Storage::Cuda(storage) => Some(storage),
            _ => None,
        }
    }

    fn columns(&self, layout: &Layout, sizes: [Size; 3]) -> Result<(Self, Shape)> {
        crate::launch::columns(self, layout, sizes)
    }

    fn finish(
        &self,
        layout: &Layout,
        parameters: (&Self, &Layout),
        relu: bool,
        pool: Size,
    ) -> Result<(Self, Shape)> {
        crate::launch::finish((self, layout), parameters, relu, pool)
    }
}
