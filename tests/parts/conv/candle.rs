//! The OpenL3 network with Candle's own operations, and made-up spectrograms for it.

use candle_core::{D, Device, Result, Tensor, Var};
use voisin_kernels::conv::OpenL3Weights;

/// Uniform numbers in [-1, 1), the same on every machine.
pub(crate) fn random(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// Mel spectrograms in dB.
pub(crate) fn mels(seed: u64, len: usize) -> Vec<f32> {
    random(seed, len)
        .into_iter()
        .map(|x| 40.0 * (x - 1.0))
        .collect()
}

/// A parameter as a Candle variable, under its name.
pub(crate) struct Vars(pub(crate) Vec<(String, Var)>);

impl Vars {
    pub(crate) fn new(weights: &OpenL3Weights) -> Self {
        let mut vars = Vec::new();
        weights.for_each(|name, shape, values| {
            let tensor = Tensor::from_slice(values, shape, &Device::Cpu).unwrap();
            vars.push((name.to_owned(), Var::from_tensor(&tensor).unwrap()));
        });
        Self(vars)
    }
    pub(crate) fn get(&self, name: &str) -> &Tensor {
        self.0
            .iter()
            .find(|(n, _)| n == name)
            .map_or_else(|| panic!("{name}"), |(_, var)| var.as_tensor())
    }
    fn channels(&self, name: &str) -> Result<Tensor> {
        let x = self.get(name);
        x.reshape((1, x.elem_count(), 1, 1))
    }
    fn norm(&self, i: usize, x: &Tensor, train: bool) -> Result<Tensor> {
        let name = |part: &str| format!("batch_normalization_{i}.{part}");
        let (mean, var) = if train {
            let mean = x.mean_keepdim((0, 2, 3))?;
            let var = x.broadcast_sub(&mean)?.sqr()?.mean_keepdim((0, 2, 3))?;
            (mean, var)
        } else {
            (
                self.channels(&name("running_mean"))?,
                self.channels(&name("running_var"))?,
            )
        };
        let hat = x
            .broadcast_sub(&mean)?
            .broadcast_div(&(var + 1e-3)?.sqrt()?)?;
        hat.broadcast_mul(&self.channels(&name("weight"))?)?
            .broadcast_add(&self.channels(&name("bias"))?)
    }
    /// The network as its paper has it, with Candle's operations only.
    pub(crate) fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let mut x = self.norm(1, x, train)?;
        for i in 1..=8 {
            let name = if i == 8 {
                "audio_embedding_layer".to_owned()
            } else {
                format!("conv2d_{i}")
            };
            x = x
                .conv2d(self.get(&format!("{name}.weight")), 1, 1, 1, 1)?
                .broadcast_add(&self.channels(&format!("{name}.bias"))?)?;
            if i < 8 {
                x = self.norm(i + 1, &x, train)?.relu()?;
            }
            if matches!(i, 2 | 4 | 6) {
                // Not max_pool2d: see candle_takes_a_quarter_of_the_gradient_of_a_maximum_pool.
                let (n, c, h, w) = x.dims4()?;
                let even = x
                    .narrow(2, 0, h / 2 * 2)?
                    .narrow(3, 0, w / 2 * 2)?
                    .contiguous()?;
                let split = even.reshape((n, c, h / 2, 2, w / 2 * 2))?.max(3)?;
                x = split.reshape((n, c, h / 2, w / 2, 2))?.max(D::Minus1)?;
            }
        }
        x.flatten_from(2)?.max(D::Minus1)
    }
}
