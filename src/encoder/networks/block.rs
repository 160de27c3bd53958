//! A block of convolution, ReLU, batch norm and pool, in Candle's own operations.

use candle_core::{D, Module, ModuleT as _, Result, Tensor};
use candle_nn::{BatchNorm, VarBuilder};

/// Height and width.
pub(crate) type Size = [usize; 2];

/// Epsilon of every batch norm of the published networks (Keras' default); OpenL3's in f32.
pub(crate) const EPSILON: f64 = 1e-3;

/// A convolution of stride 1, batch norm and ReLU, and the largest of each pool; without a batch norm no ReLU either.
#[derive(Debug)]
pub(crate) struct Block {
    /// `[outputs, inputs, rows, columns]`
    pub(crate) weight: Tensor,
    pub(crate) bias: Tensor,
    pub(crate) norm: Option<BatchNorm>,
    /// Whether ReLU comes before the batch norm.
    relu_first: bool,
    /// Zeros around the image. If their number is odd, the odd zero comes last, as in TensorFlow.
    pub(crate) same: [bool; 2],
    /// Height and width; `None`: global maximum.
    pub(crate) pool: Option<Size>,
}

impl Block {
    /// - `shape`: of the filters in the weights file, `[outputs, inputs, rows]` with a fourth axis or without
    /// - `norm`: the batch norm, and whether ReLU comes before it
    pub(crate) fn new(
        vb: &VarBuilder,
        name: &str,
        shape: &[usize],
        norm: Option<(BatchNorm, bool)>,
        same: [bool; 2],
        pool: Option<Size>,
    ) -> Result<Self> {
        let weight = vb.get(shape, &format!("{name}.weight"))?;
        let (norm, relu_first) = norm.map_or((None, false), |(norm, first)| (Some(norm), first));
        Ok(Self {
            weight: if shape.len() == 3 {
                weight.unsqueeze(3)?
            } else {
                weight
            },
            bias: vb.get(shape[0], &format!("{name}.bias"))?,
            norm,
            relu_first,
            same,
            pool,
        })
    }

    /// Zeros before and after each axis.
    fn padding(&self) -> [Size; 2] {
        [0, 1].map(|axis| match self.weight.dims()[2 + axis] {
            length if self.same[axis] => [(length - 1) / 2, length / 2],
            _ => [0, 0],
        })
    }

    fn convolve(&self, x: &Tensor) -> Result<Tensor> {
        // Candle has one number of zeros for all four sides.
        let [rows, columns] = self.padding();
        x.pad_with_zeros(2, rows[0], rows[1])?
            .pad_with_zeros(3, columns[0], columns[1])?
            .conv2d(&self.weight, 0, 1, 1, 1)
    }
}

impl Module for Block {
    /// `[n, inputs, height, width]` to `[n, outputs, height, width]` of what padding and pool leave.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = self.convolve(x)?;
        let y = y.broadcast_add(&self.bias.reshape((1, (), 1, 1))?)?;
        let y = match &self.norm {
            None => y,
            Some(norm) if self.relu_first => norm.forward_t(&y.relu()?, false)?,
            Some(norm) => norm.forward_t(&y, false)?.relu()?,
        };
        largest(&y, self.pool)
    }
}

/// Max pooling, or a global maximum; incomplete pools are dropped.
fn largest(x: &Tensor, pool: Option<Size>) -> Result<Tensor> {
    let (n, c, height, width) = x.dims4()?;
    let [rows, columns] = pool.unwrap_or([height, width]);
    if [rows, columns] == [1, 1] {
        return Ok(x.clone());
    }
    let high = height / rows;
    let wide = width / columns;
    x.narrow(2, 0, high * rows)?
        .narrow(3, 0, wide * columns)?
        .contiguous()?
        .reshape((n, c, high, rows, wide * columns))?
        .max(3)?
        .reshape((n, c, high, wide, columns))?
        .max(D::Minus1)
}
