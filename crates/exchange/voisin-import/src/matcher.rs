//! Matching the steps of a graph with OpenL3's layers, in order.

use std::collections::BTreeMap;

use crate::WeightTensor;
use crate::canonical::{EPSILON, LAYERS, NORM_FIELDS, convolution, norm};
use crate::constant::{Constant, KernelLayout, MAX_SPREAD, to_oihw};
use crate::{ImportError, WeightFormat};

/// A step of the path from input to output.
#[derive(Debug)]
pub(super) enum Step {
    Convolution {
        kernel: Constant,
        layout: KernelLayout,
        bias: Option<Constant>,
    },
    Norm([Vec<f32>; 4]),
    Scale(Vec<f32>),
    Shift(Vec<f32>),
    Relu,
    MaxPool(Option<[i64; 2]>),
}

impl Step {
    pub(super) fn describe(&self) -> &'static str {
        match self {
            Self::Convolution { .. } => "a convolution",
            Self::Norm(_) => "a batch norm",
            Self::Scale(_) => "a multiplication",
            Self::Shift(_) => "an addition",
            Self::Relu => "a ReLU",
            Self::MaxPool(_) => "a maximum pool",
        }
    }
}

/// Matches the steps with the network, in order.
pub(super) struct Matcher {
    format: WeightFormat,
    steps: std::iter::Peekable<std::vec::IntoIter<Step>>,
    tensors: BTreeMap<String, WeightTensor>,
    /// Batch norms that were multiplications and additions, or absent.
    affine: usize,
}

impl Matcher {
    pub(super) fn new(format: WeightFormat, steps: Vec<Step>) -> Self {
        Self {
            format,
            steps: steps.into_iter().peekable(),
            tensors: BTreeMap::new(),
            affine: 0,
        }
    }

    pub(super) fn network(
        mut self,
        notes: &mut Vec<String>,
    ) -> Result<BTreeMap<String, WeightTensor>, ImportError> {
        let mut place = "the input".to_owned();
        // One channel: the spectrogram.
        let mut width = 1;
        self.norm(0, width, &place, false)?;
        for i in 0..LAYERS {
            let name = convolution(i);
            width = self.convolution(&name, &place)?;
            place = format!("\"{name}\"");
            if i + 1 < LAYERS {
                self.norm(i + 1, width, &place, true)?;
                self.expect("a ReLU", &place, |step| matches!(step, Step::Relu))?;
                // A block is two convolutions and a pool; the last block ends in the large pool
                // below instead.
                if i % 2 == 1 {
                    self.expect("a maximum pool of 2 × 2", &place, |step| {
                        matches!(step, Step::MaxPool(Some([2, 2])))
                    })?;
                }
            } else {
                self.last(&name)?;
            }
        }
        // Without it, the network would give an embedding for each position.
        self.expect(
            "a maximum pool of 16 × 24, for 512 dimensions",
            &place,
            |step| matches!(step, Step::MaxPool(None | Some([16, 24]))),
        )?;
        if let Some(step) = self.steps.next() {
            return Err(ImportError::other(
                self.format,
                "after the last pool",
                "the end",
                step.describe(),
            ));
        }
        if self.affine > 0 {
            notes.push(format!(
                "{} of {LAYERS} batch norms were stored as scale and shift, or folded into a convolution; they are \
                 written as batch norms of mean 0 and variance 1",
                self.affine
            ));
        }
        Ok(self.tensors)
    }

    fn expect(
        &mut self,
        expected: &str,
        place: &str,
        fits: impl Fn(&Step) -> bool,
    ) -> Result<(), ImportError> {
        match self.steps.next() {
            Some(step) if fits(&step) => Ok(()),
            Some(Step::MaxPool(Some([h, w]))) => Err(ImportError::other(
                self.format,
                format!("after {place}"),
                expected,
                format!("a pool of {h} × {w}"),
            )),
            step => {
                let found = step.as_ref().map_or("the end", Step::describe);
                Err(ImportError::other(
                    self.format,
                    format!("after {place}"),
                    expected,
                    found,
                ))
            }
        }
    }

    fn put(&mut self, name: String, shape: Vec<usize>, values: Vec<f32>) {
        self.tensors.insert(name, WeightTensor { shape, values });
    }

    /// Convolution `name`, and the bias that belongs to it; returns its width.
    fn convolution(&mut self, name: &str, place: &str) -> Result<usize, ImportError> {
        let step = self.steps.next();
        let Some(Step::Convolution {
            kernel,
            layout,
            bias,
        }) = step
        else {
            let expected = format!("convolution \"{name}\"");
            let found = step.as_ref().map_or("the end", Step::describe);
            return Err(ImportError::other(
                self.format,
                format!("after {place}"),
                expected,
                found,
            ));
        };
        let bad = |found: String| ImportError::other(self.format, name, "a kernel of 3 × 3", found);
        let [a, b, c, d] = *kernel.shape.as_slice() else {
            return Err(bad(format!("{:?}", kernel.shape)));
        };
        // TensorFlow's order, and that of ONNX and torch.
        let ([h, w], [input, output]) = match layout {
            KernelLayout::Hwio => ([a, b], [c, d]),
            KernelLayout::Oihw => ([c, d], [b, a]),
        };
        if [h, w] != [3, 3] || kernel.values.len() != 9 * input * output || output == 0 {
            return Err(bad(format!("{:?}", kernel.shape)));
        }
        let values = match layout {
            KernelLayout::Oihw => kernel.values,
            KernelLayout::Hwio => to_oihw(&kernel.values, input, output),
        };
        let mut bias = bias.map(|bias| bias.values);
        // An addition directly after the convolution is its bias, whatever follows.
        if bias.is_none()
            && let Some(Step::Shift(shift)) =
                self.steps.next_if(|step| matches!(step, Step::Shift(_)))
        {
            bias = Some(spread(self.format, name, shift, output)?);
        }
        // Every convolution of the network has a bias: zeros if the file has none.
        let bias = bias.unwrap_or_else(|| vec![0.0; output]);
        if bias.len() != output {
            return Err(ImportError::other(
                self.format,
                format!("{name}.bias"),
                format!("[{output}]"),
                format!("[{}]", bias.len()),
            ));
        }
        self.put(format!("{name}.weight"), vec![output, input, 3, 3], values);
        self.put(format!("{name}.bias"), vec![output], bias);
        Ok(output)
    }

    /// Batch norm `i` in any form: as a node, as multiplications and additions, or absent.
    fn norm(
        &mut self,
        i: usize,
        width: usize,
        place: &str,
        folded: bool,
    ) -> Result<(), ImportError> {
        let mut found = Vec::new();
        while let Some(step) = self
            .steps
            .next_if(|step| matches!(step, Step::Norm(_) | Step::Scale(_) | Step::Shift(_)))
        {
            found.push(step);
        }
        let name = norm(i);
        let fields: [Vec<f32>; 4] = if let [Step::Norm(_)] = found.as_slice()
            && let Some(Step::Norm(fields)) = found.pop()
        {
            fields
        } else {
            self.affine += usize::from(folded || !found.is_empty());
            // in f64: several steps are multiplied here, and one rounding at the end is enough
            let mut scale = vec![1f64; width];
            let mut shift = vec![0f64; width];
            for step in found {
                let (by, plus) = match step {
                    Step::Scale(by) => (by, vec![0.0; width]),
                    Step::Shift(plus) => (vec![1.0; width], plus),
                    Step::Norm([gamma, beta, mean, variance]) => {
                        as_affine(&gamma, &beta, &mean, &variance)
                    }
                    _ => continue,
                };
                let by = spread(self.format, place, by, width)?;
                let plus = spread(self.format, place, plus, width)?;
                for c in 0..width {
                    scale[c] *= f64::from(by[c]);
                    // (x·scale + shift)·by + plus: each step applies to the result of those before
                    // it.
                    shift[c] = shift[c] * f64::from(by[c]) + f64::from(plus[c]);
                }
            }
            let narrow = |values: Vec<f64>| values.into_iter().map(|x| x as f32).collect();
            // mean 0, and a variance that with the network's epsilon makes 1: only scale and shift
            // remain
            [
                narrow(scale),
                narrow(shift),
                vec![0.0; width],
                vec![1.0 - EPSILON; width],
            ]
        };
        for ((field, _), values) in NORM_FIELDS.into_iter().zip(fields) {
            self.put(format!("{name}.{field}"), vec![values.len()], values);
        }
        Ok(())
    }

    /// Folds multiplications and additions between the last convolution and its pool into the
    /// convolution.
    fn last(&mut self, name: &str) -> Result<(), ImportError> {
        while let Some(step) = self
            .steps
            .next_if(|step| matches!(step, Step::Scale(_) | Step::Shift(_)))
        {
            let width = self.tensors[&format!("{name}.bias")].values.len();
            let (scale, shift) = match step {
                Step::Scale(by) => (spread(self.format, name, by, width)?, vec![0.0; width]),
                Step::Shift(plus) => (vec![1.0; width], spread(self.format, name, plus, width)?),
                _ => continue,
            };
            for (field, plus) in [("weight", None), ("bias", Some(&shift))] {
                if let Some(tensor) = self.tensors.get_mut(&format!("{name}.{field}")) {
                    // Output channels are the first axis: each has one run of the kernel, and one
                    // bias.
                    let each = tensor.values.len() / width;
                    for (c, values) in tensor.values.chunks_mut(each.max(1)).enumerate() {
                        for x in values {
                            *x = *x * scale[c] + plus.map_or(0.0, |plus| plus[c]);
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

/// One number a channel: as given, or one for all.
fn spread(
    format: WeightFormat,
    place: &str,
    values: Vec<f32>,
    width: usize,
) -> Result<Vec<f32>, ImportError> {
    match values.len() {
        n if n == width => Ok(values),
        1 if width <= MAX_SPREAD => Ok(vec![values[0]; width]),
        n => Err(ImportError::other(
            format,
            format!("after {place}"),
            format!("{width} numbers"),
            format!("{n}"),
        )),
    }
}

/// A batch norm as scale and shift, of the length of its shortest field.
fn as_affine(gamma: &[f32], beta: &[f32], mean: &[f32], variance: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let scale: Vec<f32> = gamma
        .iter()
        .zip(variance)
        .map(|(g, v)| (f64::from(*g) / f64::from(v + EPSILON).sqrt()) as f32)
        .collect();
    let shift = scale
        .iter()
        .zip(beta)
        .zip(mean)
        .map(|((s, b), m)| b - m * s)
        .collect();
    (scale, shift)
}
