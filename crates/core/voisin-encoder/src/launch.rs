//! Launches of the kernels in `kernels.cu`.

#![allow(unsafe_code, reason = "kernels are launched")]

use std::ops::Range;
use std::sync::OnceLock;

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::{DeviceRepr, LaunchConfig, PushKernelArg};
use candle_core::cuda_backend::cudarc::nvrtc;
use candle_core::cuda_backend::{CudaDType, WrapErr};
use candle_core::{CudaStorage, DType, Layout, Result, Shape, bail};
use half::{bf16, f16};

const SOURCE: &str = include_str!("kernels.cu");
const MODULE: &str = "voisin";
/// Threads of a block, for kernels without their own number.
const THREADS: u32 = 256;
/// Threads of a block of the kernel `nearest`: `THREADS` in `kernels.cu`.
const NEAREST_THREADS: u32 = 1024;

/// The kernels, compiled once per process for any GPU that CUDA 13 supports.
fn kernels() -> Result<&'static str> {
    static COMPILED: OnceLock<std::result::Result<String, String>> = OnceLock::new();
    let compiled = COMPILED.get_or_init(|| {
        let options = nvrtc::CompileOptions {
            // The oldest architecture of CUDA 13; the driver compiles its PTX for any newer card.
            arch: Some("compute_75"),
            ..Default::default()
        };
        let ptx = nvrtc::compile_ptx_with_opts(SOURCE, options);
        ptx.map(|ptx| ptx.to_src())
            .map_err(|error| error.to_string())
    });
    match compiled {
        Ok(ptx) => Ok(ptx),
        Err(error) => bail!("NVRTC did not compile the kernels: {error}"),
    }
}

fn fits(name: &str, numbers: usize) -> Result<u32> {
    match u32::try_from(numbers) {
        Ok(fitting) if fitting < 1 << 31 => Ok(fitting),
        _ => bail!("{name}: {numbers} numbers at once, expected fewer than 2^31"),
    }
}

/// The im2col rows of a convolution over an image: `[n · height · width, kernel height · kernel
/// width · channels]`.
///
/// - `layout`: `[n, height, width, channels]`
/// - `sizes`: height and width of the kernel, of the zeros above and to the left, and of the
///   outputs
pub(super) fn columns(
    storage: &CudaStorage,
    layout: &Layout,
    sizes: [[usize; 2]; 3],
) -> Result<(CudaStorage, Shape)> {
    match storage.dtype() {
        DType::F32 => columns_of::<f32>(storage, layout, sizes),
        DType::BF16 => columns_of::<bf16>(storage, layout, sizes),
        other => bail!("columns of {other:?}: expected f32 or bf16"),
    }
}

fn columns_of<T: CudaDType + DeviceRepr>(
    storage: &CudaStorage,
    layout: &Layout,
    [kernel, before, outputs]: [[usize; 2]; 3],
) -> Result<(CudaStorage, Shape)> {
    let (n, height, width, channels) = layout.shape().dims4()?;
    let device = storage.device().clone();
    let x = storage.as_cuda_slice::<T>()?;
    let Some((from, to)) = layout.contiguous_offsets() else {
        bail!("columns: expected a contiguous image")
    };
    let x = x.slice(from..to);
    let shape: Shape = (
        n * outputs[0] * outputs[1],
        kernel[0] * kernel[1] * channels,
    )
        .into();
    // As many channels at once as make 16 bytes.
    let size = size_of::<T>();
    let together = if (channels * size).is_multiple_of(16) && (from * size).is_multiple_of(16) {
        16 / size
    } else {
        1
    };
    let name = format!("columns_{}", together * size);
    let run = kernel[0] * kernel[1] * channels / together;
    // The kernels count in 32 bits.
    let rows = fits("columns", n * outputs[0])?;
    let row = fits("columns", (outputs[1] * run).max(height * width * channels))?;
    let function = device.get_or_load_custom_func(&name, MODULE, kernels()?)?;
    // SAFETY: the kernel writes each of these numbers.
    let mut out = unsafe { device.alloc::<T>(shape.elem_count())? };
    let config = LaunchConfig {
        grid_dim: (rows, 1, 1),
        // Whole warps, and no more threads than a row has numbers.
        block_dim: (THREADS.min(row.next_multiple_of(32)), 1, 1),
        shared_mem_bytes: 0,
    };
    let sizes = [
        height,
        width,
        channels / together,
        outputs[0],
        outputs[1],
        kernel[0],
        kernel[1],
        before[0],
        before[1],
    ]
    .map(|size| size as u32);
    let mut builder = function.builder();
    builder.arg(&x).arg(&mut out);
    for size in &sizes {
        builder.arg(size);
    }
    // SAFETY: the arguments are the kernel's; a block reads in the image alone and writes its own
    // row of `rows`.
    unsafe { builder.launch(config) }.w()?;
    Ok((T::wrap_cuda_slice(out, device), shape))
}

/// Max pooling of an image, with its parameters: `[n, height, width, channels]`.
///
/// - `x`: `[n, height, width, channels]`
/// - `parameters`: `[4, channels]` of f32
pub(super) fn finish(
    x: (&CudaStorage, &Layout),
    parameters: (&CudaStorage, &Layout),
    relu: bool,
    pool: [usize; 2],
) -> Result<(CudaStorage, Shape)> {
    match x.0.dtype() {
        DType::F32 => finish_of::<f32>("finish_f32", x, parameters, relu, pool),
        DType::BF16 => finish_of::<bf16>("finish_bf16", x, parameters, relu, pool),
        other => bail!("finish of {other:?}: expected f32 or bf16"),
    }
}

fn finish_of<T: CudaDType + DeviceRepr>(
    name: &str,
    (x, x_layout): (&CudaStorage, &Layout),
    (parameters, parameters_layout): (&CudaStorage, &Layout),
    relu: bool,
    pool: [usize; 2],
) -> Result<(CudaStorage, Shape)> {
    let (n, height, width, channels) = x_layout.shape().dims4()?;
    let device = x.device().clone();
    if pool.contains(&0) {
        bail!("finish: pools of {pool:?}")
    }
    let shape: Shape = (n, height / pool[0], width / pool[1], channels).into();
    let total = fits("finish", shape.elem_count())?;
    // Offsets inside an image have 32 bits, too.
    fits("finish", height * width * channels)?;
    let (Some((from, to)), Some((first, last))) = (
        x_layout.contiguous_offsets(),
        parameters_layout.contiguous_offsets(),
    ) else {
        bail!("finish: expected a contiguous image and parameters")
    };
    // The kernel reads four parameters a channel without a check.
    if last - first != 4 * channels {
        bail!(
            "finish: expected 4 parameters for each of {channels} channels, found {}",
            last - first
        )
    }
    let x = x.as_cuda_slice::<T>()?.slice(from..to);
    let parameters = parameters.as_cuda_slice::<f32>()?.slice(first..last);
    let function = device.get_or_load_custom_func(name, MODULE, kernels()?)?;
    // SAFETY: the kernel writes each of these numbers.
    let mut out = unsafe { device.alloc::<T>(shape.elem_count())? };
    let config = LaunchConfig {
        grid_dim: (total.div_ceil(THREADS), 1, 1),
        block_dim: (THREADS, 1, 1),
        shared_mem_bytes: 0,
    };
    let sizes = [height, width, channels, pool[0], pool[1], usize::from(relu)];
    let sizes = sizes.map(|size| size as u32);
    let mut builder = function.builder();
    builder.arg(&x).arg(&parameters).arg(&mut out).arg(&total);
    for size in &sizes {
        builder.arg(size);
    }
    // SAFETY: the arguments are the kernel's; a thread reads its own pool and writes its own number
    // of `total`.
    unsafe { builder.launch(config) }.w()?;
    Ok((T::wrap_cuda_slice(out, device), shape))
}

/// The best `k` of each query, `[queries, k, 2]` of u32: rows of the vectors, and the bits of
/// products in f32.
///
/// - `numbers`: products in f16, vectors and queries in f32, each with its range
/// - `sizes`: numbers of queries, of columns of the products (a multiple of 8), of vectors (no
///   more), and the dimension
/// - `wanted`: least number that are ranked, from `k` to the number of vectors and 1024
pub(super) fn nearest(
    [
        (products, products_at),
        (vectors, vectors_at),
        (queries, queries_at),
    ]: [(&CudaStorage, Range<usize>); 3],
    [batch, stride, n, dimension]: [usize; 4],
    wanted: usize,
    k: usize,
) -> Result<(CudaStorage, Shape)> {
    /// The layout of the kernel's parameter.
    const WANTED: usize = 1024;
    let device = products.device().clone();
    // The kernel reads eight products at a time.
    if !stride.is_multiple_of(8) || !products_at.start.is_multiple_of(8) {
        bail!(
            "nearest: rows of {stride} from {}, expected multiples of 8",
            products_at.start
        )
    }
    if n > stride || k == 0 || k > wanted || wanted > n.min(WANTED) {
        bail!("nearest: {k} of {wanted} of {n} of {stride}, expected up to {WANTED} of {n}")
    }
    if [products_at.len(), vectors_at.len(), queries_at.len()]
        != [batch * stride, n * dimension, batch * dimension]
    {
        bail!("nearest: {batch} queries, {n} vectors of {dimension}: found other numbers of them")
    }
    let starts = [vectors_at.start, queries_at.start];
    if dimension.is_multiple_of(4) && starts.iter().any(|start| !start.is_multiple_of(4)) {
        bail!("nearest: vectors and queries from {starts:?}, expected multiples of 4")
    }
    let sizes = [
        fits("nearest", stride)?,
        n as u32,
        fits("nearest", dimension)?,
        wanted as u32,
        k as u32,
    ];
    let products = products.as_cuda_slice::<f16>()?.slice(products_at);
    let vectors = vectors.as_cuda_slice::<f32>()?.slice(vectors_at);
    let queries = queries.as_cuda_slice::<f32>()?.slice(queries_at);
    let function = device.get_or_load_custom_func("nearest", MODULE, kernels()?)?;
    // SAFETY: the kernel writes each of these numbers.
    let mut out = unsafe { device.alloc::<u32>(batch * k * 2)? };
    let config = LaunchConfig {
        grid_dim: (fits("nearest", batch)?, 1, 1),
        block_dim: (NEAREST_THREADS, 1, 1),
        shared_mem_bytes: 0,
    };
    let mut builder = function.builder();
    builder
        .arg(&products)
        .arg(&vectors)
        .arg(&queries)
        .arg(&mut out);
    for size in &sizes {
        builder.arg(size);
    }
    // SAFETY: the arguments are the kernel's, with the lengths that were checked; a block reads its
    // own query and products and vectors below `n`, and writes its own `k` places, each once.
    unsafe { builder.launch(config) }.w()?;
    Ok((u32::wrap_cuda_slice(out, device), (batch, k, 2).into()))
}
