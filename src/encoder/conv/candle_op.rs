//! The 3×3 convolution as Candle operations, with gradients.

use candle_core::{CpuStorage, CustomOp1, CustomOp3, DType, Layout, Result, Shape as Dims, Tensor, bail};
use rayon::prelude::*;

use super::act::{Shape, c16};
use super::arena::Buf;
use super::isa::{Isa, Precision, isa};
use super::kernels::Epilogue;
use super::layer::{self, Filters, Plan, Source, Target};
use super::weight_grad::WeightGrad;
use crate::encoder::team::Team;

/// Tiles of a fused block.
const BLOCK: usize = 28;
/// Windows of a phased pass.
const PHASED: usize = 8;

/// What follows a fused convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    Linear,
    /// max(x, 0)
    Relu,
    /// ReLU, then a 2×2 max pool of stride 2 (a last odd row or column is dropped).
    ReluPool,
}

/// A 3×3 convolution (stride 1, zero padding 1) with fixed weights, for inference: filters are
/// transformed once, bias, ReLU and pooling are fused. For trainable weights see [`conv3x3`].
#[derive(Debug)]
pub struct Conv3x3 {
    filters: Filters,
    cin: usize,
    cout: usize,
    epilogue: Epilogue,
}

impl Conv3x3 {
    /// From `[out][in][3][3]` weights and `out` biases, for the instruction set in use.
    ///
    /// # Panics
    /// If a slice has another length.
    pub fn new(weight: &[f32], bias: &[f32], cin: usize, cout: usize, activation: Activation) -> Self {
        Self::with_isa(weight, bias, cin, cout, activation, isa())
    }

    /// As [`Conv3x3::new`], for a given instruction set (the best one if this processor lacks it).
    ///
    /// # Panics
    /// If a slice has another length.
    pub fn with_isa(
        weight: &[f32],
        bias: &[f32],
        cin: usize,
        cout: usize,
        activation: Activation,
        isa: Isa,
    ) -> Self {
        assert_eq!(weight.len(), cin * cout * 9, "weights are [out][in][3][3]");
        assert_eq!(bias.len(), cout, "one bias per output channel");
        let isa = if isa.is_available() { isa } else { Isa::best() };
        let epilogue = match activation {
            Activation::Linear => Epilogue::Linear,
            Activation::Relu => Epilogue::Relu,
            Activation::ReluPool => Epilogue::ReluPool,
        };
        Self { filters: Filters::new(isa, Precision::F32, weight, bias, cin, cout), cin, cout, epilogue }
    }

    /// `[n][in][h][w]` → `[n][out][h][w]`, or `[n][out][h / 2][w / 2]` when pooling.
    ///
    /// # Panics
    /// If `x` has another length.
    pub fn forward_slice(&self, x: &[f32], n: usize, h: usize, w: usize) -> Vec<f32> {
        let src = pad(x, n, self.cin, h, w);
        self.run(&src, n, h, w)
    }

    fn run(&self, src: &Buf, n: usize, h: usize, w: usize) -> Vec<f32> {
        let plan = Plan::new(Shape { h, w, c: self.filters.k }, self.filters.n, self.epilogue);
        let mut dst = Buf::zeroed(plan.to.len() * n);
        if self.filters.k * self.filters.n <= 128 * 128 {
            let src = Source { buf: src, first: 0 };
            layer::fused(&Team::rayon(), &self.filters, &plan, src, &mut dst, 0, n, BLOCK, None);
        } else {
            let mut work = Buf::default();
            for first in (0..n).step_by(PHASED) {
                let count = PHASED.min(n - first);
                let (src, dst) = (Source { buf: src, first }, Target::Act(&mut dst, first));
                layer::phased(&Team::rayon(), &self.filters, &plan, src, dst, count, &mut work, None);
            }
        }
        unpad(&dst, n, plan.to, self.cout)
    }

    /// The same on a tensor. On a device other than the CPU this is an error: use Candle's `conv2d`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        x.apply_op1_no_bwd(&Fixed(self))
    }
}

struct Fixed<'a>(&'a Conv3x3);

impl CustomOp1 for Fixed<'_> {
    fn name(&self) -> &'static str {
        "winograd-conv3x3-fused"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Dims)> {
        let (n, c, h, w) = layout.shape().dims4()?;
        if c != self.0.cin {
            bail!("convolution expects {} input channels, found {c}", self.0.cin);
        }
        let x = values(storage, layout)?;
        let out = self.0.forward_slice(&x, n, h, w);
        let (h, w) = if self.0.epilogue == Epilogue::ReluPool { (h / 2, w / 2) } else { (h, w) };
        Ok((CpuStorage::F32(out), (n, self.0.cout, h, w).into()))
    }
}

/// A 3×3 convolution (stride 1, zero padding 1) with gradients for input, weight and bias: x is
/// `[n, in, h, w]`, weight `[out, in, 3, 3]`, bias `[out]`. On the CPU in f32 it is Winograd F(4×4, 3×3)
/// in all three directions; elsewhere it is Candle's own.
///
/// # Errors
/// Shapes that do not fit each other.
pub fn conv3x3(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    if x.device().is_cpu() && x.dtype() == DType::F32 {
        return x.apply_op3(weight, bias, Trainable(isa()));
    }
    let out = weight.dim(0)?;
    x.conv2d(weight, 1, 1, 1, 1)?.broadcast_add(&bias.reshape((1, out, 1, 1))?)
}

struct Trainable(Isa);

impl CustomOp3 for Trainable {
    fn name(&self) -> &'static str {
        "winograd-conv3x3"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Dims)> {
        let (n, cin, h, w) = l1.shape().dims4()?;
        let (cout, weight_in, kh, kw) = l2.shape().dims4()?;
        if weight_in != cin || (kh, kw) != (3, 3) || l3.shape().dims() != [cout] {
            bail!("3×3 convolution: input {:?}, weight {:?}, bias {:?}", l1.shape(), l2.shape(), l3.shape());
        }
        let conv =
            Conv3x3::with_isa(&values(s2, l2)?, &values(s3, l3)?, cin, cout, Activation::Linear, self.0);
        Ok((CpuStorage::F32(conv.forward_slice(&values(s1, l1)?, n, h, w)), (n, cout, h, w).into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _res: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (n, cin, h, w) = x.dims4()?;
        let cout = weight.dim(0)?;
        let d = grad.flatten_all()?.to_vec1::<f32>()?;
        let dy = pad(&d, n, cout, h, w);
        let weights = weight.flatten_all()?.to_vec1::<f32>()?;
        // Towards the input: in and out swapped, the kernel turned by 180°.
        let mut turned = vec![0.0; weights.len()];
        for (i, value) in weights.iter().enumerate() {
            let (o, c, tap) = (i / (9 * cin), i / 9 % cin, i % 9);
            turned[(c * cout + o) * 9 + 8 - tap] = *value;
        }
        let zeros = vec![0.0; cin];
        let back = Conv3x3::with_isa(&turned, &zeros, cout, cin, Activation::Linear, self.0);
        let dx = Tensor::from_vec(back.run(&dy, n, h, w), (n, cin, h, w), x.device())?;
        let a = pad(&x.flatten_all()?.to_vec1::<f32>()?, n, cin, h, w);
        let plan = Plan::new(Shape { h, w, c: c16(cin) }, c16(cout), Epilogue::Linear);
        let mut padded = vec![0.0; plan.from.c * plan.to.c * 9];
        let mut sum = WeightGrad::new(self.0, Precision::F32);
        sum.add(&plan, Source { buf: &a, first: 0 }, Source { buf: &dy, first: 0 }, n);
        sum.finish(&plan, &mut padded);
        let mut dw = Vec::with_capacity(weights.len());
        for o in 0..cout {
            dw.extend_from_slice(&padded[o * plan.from.c * 9..][..cin * 9]);
        }
        let dw = Tensor::from_vec(dw, weight.dims(), weight.device())?;
        let db: Vec<f32> = (0..cout)
            .map(|o| {
                let sum = |window: usize| -> f64 {
                    d[(window * cout + o) * h * w..][..h * w].iter().map(|&v| f64::from(v)).sum()
                };
                (0..n).map(sum).sum::<f64>() as f32
            })
            .collect();
        Ok((Some(dx), Some(dw), Some(Tensor::from_vec(db, cout, bias.device())?)))
    }
}

/// A tensor's values in order.
fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<std::borrow::Cow<'a, [f32]>> {
    let CpuStorage::F32(data) = storage else { bail!("3×3 convolution: expected f32") };
    if let Some((start, end)) = layout.contiguous_offsets() {
        return Ok(data[start..end].into());
    }
    let mut offsets = vec![layout.start_offset()];
    for (&dim, &stride) in layout.dims().iter().zip(layout.stride()) {
        offsets = offsets.iter().flat_map(|&at| (0..dim).map(move |i| at + i * stride)).collect();
    }
    Ok(offsets.into_iter().map(|at| data[at]).collect::<Vec<_>>().into())
}

/// `[n][c][h][w]` → padded activations.
fn pad(x: &[f32], n: usize, c: usize, h: usize, w: usize) -> Buf {
    assert_eq!(x.len(), n * c * h * w, "input is [n][c][h][w]");
    let shape = Shape { h, w, c: c16(c) };
    let mut buf = Buf::zeroed(shape.len() * n);
    buf.as_mut_slice()[..shape.len() * n].par_chunks_exact_mut(shape.len()).enumerate().for_each(
        |(i, to)| {
            for y in 0..h {
                for channel in 0..c {
                    let from = &x[((i * c + channel) * h + y) * w..][..w];
                    for (x, value) in from.iter().enumerate() {
                        to[shape.at(y, x) + channel] = *value;
                    }
                }
            }
        },
    );
    buf
}

/// Padded activations → `[n][c][h][w]`.
fn unpad(buf: &Buf, n: usize, shape: Shape, c: usize) -> Vec<f32> {
    let mut out = vec![0.0; n * c * shape.h * shape.w];
    if out.is_empty() {
        return out;
    }
    out.par_chunks_exact_mut(c * shape.h * shape.w).enumerate().for_each(|(i, to)| {
        let from = &buf.as_slice()[i * shape.len()..][..shape.len()];
        for y in 0..shape.h {
            for channel in 0..c {
                let row = &mut to[(channel * shape.h + y) * shape.w..][..shape.w];
                for (x, value) in row.iter_mut().enumerate() {
                    *value = from[shape.at(y, x) + channel];
                }
            }
        }
    });
    out
}
