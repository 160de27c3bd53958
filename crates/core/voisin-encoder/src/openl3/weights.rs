//! The parameters of an OpenL3-shaped network, under the names that torchopenl3 gives them.

use std::collections::HashMap;
use std::fmt;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;

use crate::networks::{ConvNet, OPENL3_CHANNELS, openl3_layer};
use voisin_base::random::Random;
use voisin_kernels::Isa;
use voisin_networks::conv::FastChain;

use super::{FRAMES, MELS};

/// Channels of OpenL3's eight convolutions.
pub const OPENL3_WIDTHS: [usize; 8] = {
    let [_, widths @ ..] = OPENL3_CHANNELS;
    widths
};

/// A parameter that is missing or of the wrong length.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    /// The source has no parameter of this name.
    #[error("parameter {name} is missing: expected the names of torchopenl3 (conv2d_1.weight …)")]
    Missing {
        /// Its name.
        name: String,
    },
    /// Its length does not fit the network.
    #[error(
        "parameter {name}: expected {expected} values, found {found}; is this an OpenL3 mel128 network?"
    )]
    Length {
        /// Its name.
        name: String,
        /// Values that the network needs.
        expected: usize,
        /// Values that were given.
        found: usize,
    },
    /// A width that the kernels do not take.
    #[error("{name} has {found} output channels: expected a multiple of 16 between 16 and 4096")]
    Width {
        /// The layer.
        name: String,
        /// Its output channels.
        found: usize,
    },
}

/// A batch norm's parameters and running statistics, one value per channel each.
#[derive(Clone, Debug, PartialEq)]
pub struct NormWeights {
    /// γ
    pub weight: Vec<f32>,
    /// β
    pub bias: Vec<f32>,
    /// Running mean.
    pub running_mean: Vec<f32>,
    /// Running variance.
    pub running_var: Vec<f32>,
}

/// A 3×3 convolution's parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct ConvWeights {
    /// `[out][in][3][3]`
    pub weight: Vec<f32>,
    /// `[out]`
    pub bias: Vec<f32>,
    /// Input channels.
    pub cin: usize,
    /// Output channels.
    pub cout: usize,
}

/// The whole network: batch norm of the input, seven convolutions each with its batch norm, and the
/// embedding convolution. Widths may be smaller than OpenL3's (multiples of 16).
#[derive(Clone, PartialEq)]
pub struct OpenL3Weights {
    /// `batch_normalization_1`, of one channel.
    pub input_norm: NormWeights,
    /// `conv2d_1` … `conv2d_7`, then `audio_embedding_layer`.
    pub convs: Vec<ConvWeights>,
    /// `batch_normalization_2` … `batch_normalization_8`: `norms[i]` follows `convs[i]`.
    pub norms: Vec<NormWeights>,
}

impl fmt::Debug for OpenL3Weights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenL3Weights")
            .field("widths", &self.widths())
            .finish_non_exhaustive()
    }
}

impl OpenL3Weights {
    /// Reads each parameter with `get(name)`; `None` means missing. Widths follow from the biases.
    ///
    /// # Errors
    /// A parameter is missing, has the wrong length, or a width is no multiple of 16.
    pub fn from_named(mut get: impl FnMut(&str) -> Option<Vec<f32>>) -> Result<Self, WeightsError> {
        let mut take = |name: String, expected: Option<usize>| -> Result<Vec<f32>, WeightsError> {
            let Some(values) = get(&name) else {
                return Err(WeightsError::Missing { name });
            };
            match expected {
                Some(expected) if values.len() != expected => Err(WeightsError::Length {
                    name,
                    expected,
                    found: values.len(),
                }),
                _ => Ok(values),
            }
        };
        let norm = |i: usize, channels: usize, take: &mut dyn FnMut(String, Option<usize>) -> _| {
            let mut part =
                |part: &str| take(format!("batch_normalization_{i}.{part}"), Some(channels));
            Ok(NormWeights {
                weight: part("weight")?,
                bias: part("bias")?,
                running_mean: part("running_mean")?,
                running_var: part("running_var")?,
            })
        };
        let input_norm = norm(1, 1, &mut take)?;
        let mut convs = Vec::with_capacity(8);
        let mut norms = Vec::with_capacity(7);
        let mut cin = 1;
        for i in 0..8 {
            let name = openl3_layer(i);
            let bias = take(format!("{name}.bias"), None)?;
            let cout = bias.len();
            if !(16..=4096).contains(&cout) || !cout.is_multiple_of(16) {
                return Err(WeightsError::Width { name, found: cout });
            }
            let weight = take(format!("{name}.weight"), Some(cout * cin * 9))?;
            convs.push(ConvWeights {
                weight,
                bias,
                cin,
                cout,
            });
            if i < 7 {
                norms.push(norm(i + 2, cout, &mut take)?);
            }
            cin = cout;
        }
        Ok(Self {
            input_norm,
            convs,
            norms,
        })
    }

    /// The network as a module of Candle's.
    fn network(&self) -> ConvNet {
        let mut tensors = HashMap::new();
        self.for_each(|name, shape, values| {
            let tensor = Tensor::from_slice(values, shape, &Device::Cpu);
            tensors.insert(
                name.to_owned(),
                tensor.expect("each tensor is as long as its shape says"),
            );
        });
        let vb = VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu);
        ConvNet::openl3(&self.channels(), &vb)
            .expect("it has every tensor of a network of its widths")
    }

    /// The network for inference, compiled from its module, for windows of 128 × 199 values in dB; its output is the
    /// embedding.
    pub fn compile(&self, isa: Isa) -> FastChain {
        let chain = self.network().fast([MELS, FRAMES], isa);
        chain.expect("a CPU has the numbers of its tensors at hand")
    }

    /// Random weights that are the same on every machine: He-scaled convolutions, batch norms and
    /// biases near the identity but not at it.
    pub fn seeded(seed: u64, widths: &[usize; 8]) -> Self {
        let start = seed
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .wrapping_add(0x1234_5678_9abc_def1);
        let mut random = Random::new(start);
        let mut uniform = move || 2.0 * random.f32() - 1.0;
        let mut norm = |channels: usize, mean: f32, var: f32| {
            let mut draw = |centre: f32, spread: f32| -> Vec<f32> {
                (0..channels).map(|_| centre + spread * uniform()).collect()
            };
            NormWeights {
                weight: draw(1.0, 0.3),
                bias: draw(0.0, 0.2),
                running_mean: draw(mean, 0.2 * var.sqrt()),
                running_var: draw(var, 0.3 * var),
            }
        };
        // Mel spectrograms lie in [-80, 0] dB.
        let input_norm = norm(1, -40.0, 400.0);
        let norms = widths[..7].iter().map(|&c| norm(c, 0.0, 1.0)).collect();
        let mut convs = Vec::with_capacity(8);
        let mut cin = 1;
        for &cout in widths {
            // He et al. (2015), for kernels of nine places.
            let bound = (6.0 / (cin * 9) as f32).sqrt();
            let weight = (0..cout * cin * 9).map(|_| bound * uniform()).collect();
            let bias = (0..cout).map(|_| 0.1 * uniform()).collect();
            convs.push(ConvWeights {
                weight,
                bias,
                cin,
                cout,
            });
            cin = cout;
        }
        Self {
            input_norm,
            convs,
            norms,
        }
    }

    /// Channels before and after each convolution.
    pub(super) fn channels(&self) -> [usize; 9] {
        std::array::from_fn(|i| {
            self.convs
                .get(i)
                .map_or(self.convs[7].cout, |conv| conv.cin)
        })
    }

    /// Output channels of the eight convolutions; the last is the embedding's dimension.
    pub fn widths(&self) -> Vec<usize> {
        self.convs.iter().map(|conv| conv.cout).collect()
    }

    /// Calls `visit(name, shape, values)` for every tensor, in network order.
    pub fn for_each(&self, mut visit: impl FnMut(&str, &[usize], &[f32])) {
        fn norm(i: usize, norm: &NormWeights, visit: &mut impl FnMut(&str, &[usize], &[f32])) {
            for (part, values) in [
                ("weight", &norm.weight),
                ("bias", &norm.bias),
                ("running_mean", &norm.running_mean),
                ("running_var", &norm.running_var),
            ] {
                visit(
                    &format!("batch_normalization_{i}.{part}"),
                    &[values.len()],
                    values,
                );
            }
        }
        norm(1, &self.input_norm, &mut visit);
        for (i, conv) in self.convs.iter().enumerate() {
            let name = openl3_layer(i);
            visit(
                &format!("{name}.weight"),
                &[conv.cout, conv.cin, 3, 3],
                &conv.weight,
            );
            visit(&format!("{name}.bias"), &[conv.cout], &conv.bias);
            if let Some(n) = self.norms.get(i) {
                norm(i + 2, n, &mut visit);
            }
        }
    }
}
