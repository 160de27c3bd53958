//! One layer: its text, output shape and tensors.

use std::fmt;
use std::iter::Peekable;

/// The shape of one example between layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StackShape {
    /// Channels, rows (bands), columns (frames). A signal has one row.
    Image(usize, usize, usize),
    Vector(usize),
}

impl StackShape {
    /// Numbers in all.
    pub fn cells(self) -> usize {
        self.axes().iter().product()
    }

    /// Length of each axis after the batch's.
    pub(super) fn axes(self) -> Vec<usize> {
        match self {
            Self::Image(c, h, w) => vec![c, h, w],
            Self::Vector(d) => vec![d],
        }
    }
}

impl fmt::Display for StackShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let axes: Vec<String> = self.axes().iter().map(usize::to_string).collect();
        f.write_str(&axes.join(" x "))
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum StackLayer {
    /// A convolution over rows and columns, with a bias.
    Convolution {
        out: usize,
        kernel: [usize; 2],
        /// Whether zeros around the input keep its sides.
        same: bool,
    },
    /// Normalises every channel to mean 0 and deviation 1 over the batch, then scales and shifts
    /// it; with this added to the variance.
    BatchNorm(f64),
    Relu,
    /// The maximum of this many rows and columns; incomplete pools are dropped.
    Pool([usize; 2]),
    /// In training, numbers become 0 with this probability, and the others are scaled up.
    Dropout(f64),
    /// An image becomes a signal whose channels are the rows of all channels.
    Frames,
    /// A vector becomes a signal of one channel.
    Sequence,
    /// Long short-term memory (Hochreiter and Schmidhuber, 1997).
    Recurrent {
        units: usize,
        /// One bias for each gate, as in Keras, instead of PyTorch's two.
        one_bias: bool,
    },
    Gap,
    Max,
    Flatten,
    /// A matrix and a bias; `None`: an output for each class.
    Linear(Option<usize>),
}

/// Added to a variance before its root.
const EPSILON: f64 = 1e-5;

/// A parameter or a running statistic: the last part of its name, its shape, and the largest value
/// that it begins with.
pub(super) struct TensorPlan {
    pub(super) name: &'static str,
    pub(super) shape: Vec<usize>,
    pub(super) start: Beginning,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Beginning {
    Uniform(f64),
    Constant(f32),
}

/// Whether "same" follows; "valid" may stand for its opposite.
fn is_same<'a>(words: &mut Peekable<impl Iterator<Item = &'a str>>) -> bool {
    // "valid" is the default; it may be written for clarity.
    words.next_if(|word| matches!(*word, "same" | "valid")) == Some("same")
}

impl StackLayer {
    /// Reads a layer of a recipe; `None` if there is no such layer.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let sides = |word: &str| {
            let (rows, columns) = word.split_once('x')?;
            Some([rows.parse().ok()?, columns.parse().ok()?])
        };
        let mut words = text.split_whitespace().peekable();
        let layer = match words.next()? {
            "conv" => Self::Convolution {
                out: words.next()?.parse().ok()?,
                kernel: sides(words.next()?)?,
                same: is_same(&mut words),
            },
            "conv1" => Self::Convolution {
                out: words.next()?.parse().ok()?,
                kernel: [1, words.next()?.parse().ok()?],
                same: is_same(&mut words),
            },
            "batch-norm" => Self::BatchNorm(match words.next() {
                Some(epsilon) => epsilon.parse().ok()?,
                None => EPSILON,
            }),
            "relu" => Self::Relu,
            "pool" => Self::Pool(sides(words.next()?)?),
            "pool1" => Self::Pool([1, words.next()?.parse().ok()?]),
            "dropout" => Self::Dropout(words.next()?.parse().ok()?),
            "frames" => Self::Frames,
            "sequence" => Self::Sequence,
            "lstm" => {
                let units = words.next()?.parse().ok()?;
                // It may be written for clarity.
                let _ = words.next_if_eq(&"last");
                let one_bias = words.next_if_eq(&"one-bias").is_some();
                Self::Recurrent { units, one_bias }
            }
            "gap" => Self::Gap,
            "max" => Self::Max,
            "flatten" => Self::Flatten,
            "linear" if words.next_if_eq(&"classes").is_some() => Self::Linear(None),
            "linear" => Self::Linear(Some(words.next()?.parse().ok()?)),
            _ => return None,
        };
        words.next().is_none().then_some(layer)
    }

    /// The output's shape for an input of shape `from`; `None` if it does not fit.
    pub(super) fn shape(self, from: StackShape, classes: usize) -> Option<StackShape> {
        use StackShape::{Image, Vector};
        // Padding by half a kernel on each side keeps the length.
        let side = |length: usize, kernel: usize, same: bool| {
            if same {
                Some(length)
            } else {
                (length + 1).checked_sub(kernel)
            }
        };
        let shape = match (self, from) {
            (
                Self::Convolution {
                    out,
                    kernel: [rows, columns],
                    same,
                },
                Image(_, h, w),
            ) => Image(out, side(h, rows, same)?, side(w, columns, same)?),
            // Incomplete pools are dropped.
            (Self::Pool([rows, columns]), Image(c, h, w)) => Image(c, h / rows, w / columns),
            // A recurrent layer takes one vector per step.
            (Self::Frames, Image(c, h, w)) => Image(c * h, 1, w),
            (Self::Sequence, Vector(d)) => Image(1, 1, d),
            (Self::Recurrent { units, .. }, Image(_, 1, _)) => Vector(units),
            (Self::Gap | Self::Max, Image(c, ..)) => Vector(c),
            (Self::Flatten, from) => Vector(from.cells()),
            (Self::Linear(out), Vector(_)) => Vector(out.unwrap_or(classes)),
            (Self::BatchNorm(_) | Self::Relu | Self::Dropout(_), from) => from,
            _ => return None,
        };
        (shape.cells() > 0).then_some(shape)
    }

    /// The layer's tensors; those of running statistics have names that begin with `running_`.
    /// Initial values are PyTorch's: uniform within one over the root of the inputs.
    pub(super) fn tensors(self, from: StackShape, classes: usize) -> Vec<TensorPlan> {
        let channels = from.axes()[0];
        // Channels come first in every shape.
        let tensor = |name, shape: &[usize], start| TensorPlan {
            name,
            shape: shape.to_vec(),
            start,
        };
        let with_bias = |shape: &[usize]| {
            let inputs: usize = shape[1..].iter().product();
            let start = Beginning::Uniform(1.0 / (inputs as f64).sqrt());
            vec![
                tensor("weight", shape, start),
                tensor("bias", &shape[..1], start),
            ]
        };
        match self {
            Self::Convolution {
                out,
                kernel: [rows, columns],
                ..
            } => with_bias(&[out, channels, rows, columns]),
            Self::Linear(out) => with_bias(&[out.unwrap_or(classes), channels]),
            Self::BatchNorm(_) => [
                ("weight", 1.0),
                ("bias", 0.0),
                ("running_mean", 0.0),
                ("running_var", 1.0),
            ]
            .map(|(name, value)| tensor(name, &[channels], Beginning::Constant(value)))
            .into(),
            Self::Recurrent { units, one_bias } => {
                // The four gates' matrices are stacked, as in PyTorch.
                let rows = 4 * units;
                let start = Beginning::Uniform(1.0 / (units as f64).sqrt());
                let mut tensors = vec![
                    tensor("weight_ih", &[rows, channels], start),
                    tensor("weight_hh", &[rows, units], start),
                    tensor("bias_ih", &[rows], start),
                ];
                if !one_bias {
                    tensors.push(tensor("bias_hh", &[rows], start));
                }
                tensors
            }
            _ => Vec::new(),
        }
    }
}
