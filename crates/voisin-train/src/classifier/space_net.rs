//! OpenL3's network with a softmax head: what it learns to tell classes apart by is a space.

use super::anchor::EmbeddingAnchor;
use super::{ClassJudge, Trainable};
use crate::encoder::{HeadedNet, Student, TeacherHead, TrainError};
use crate::session::{BlockVisitor, NamedTensor};
use voisin_encoder::{Device, ModelRef, Precision};
use voisin_kernels::conv::{FastChain, OpenL3Weights, WINDOW};
use voisin_kernels::isa;

/// Names of the head's two tensors, beside the network's.
const HEAD: [&str; 2] = ["head.weight", "head.bias"];

/// The network and its head in training, on the project's own kernels or, on a GPU, in Candle.
pub struct SpaceNet {
    both: HeadedNet,
    device: Device,
    anchor: Option<EmbeddingAnchor>,
}

impl SpaceNet {
    /// A network whose head is random.
    ///
    /// - `weights`: what it begins with
    pub fn new(
        weights: &OpenL3Weights,
        classes: usize,
        seed: u64,
        device: Device,
    ) -> Result<Self, TrainError> {
        let net = Student::new(Precision::F32, weights, &device)?;
        let head = TeacherHead::seeded(net.state().dimension(), classes, seed);
        Ok(Self { both: HeadedNet::new(net, head), device, anchor: None })
    }

    /// Holds a batch's embeddings as near to each other as the weights that it begins with have them.
    ///
    /// - `weight`: what the mean square of the cosines' differences counts in the loss; 0: nothing
    pub fn anchored(mut self, weight: f64, weights: &OpenL3Weights) -> Result<Self, TrainError> {
        self.anchor = if weight > 0.0 { Some(EmbeddingAnchor::new(weight, weights)?) } else { None };
        Ok(self)
    }

    /// What a network begins with.
    ///
    /// - `start`: a model of OpenL3's shape; none: random weights
    /// - `divisor`: the part of OpenL3's width that random weights have
    pub fn beginning(
        start: Option<&ModelRef>,
        divisor: usize,
        seed: u64,
    ) -> Result<OpenL3Weights, TrainError> {
        match start {
            Some(model) => crate::encoder::model_weights(model),
            None => Ok(OpenL3Weights::seeded(seed, &crate::encoder::widths(divisor)?)),
        }
    }
}

impl Trainable for SpaceNet {
    fn cells(&self) -> usize {
        WINDOW
    }

    fn classes(&self) -> usize {
        self.both.head.outputs
    }

    fn forward(&mut self, x: &[f32], n: usize, _: u64) -> Result<Vec<f32>, TrainError> {
        if let Some(anchor) = &mut self.anchor {
            anchor.listen(x);
        }
        self.both.forward(x, n)
    }

    fn backward(&mut self, gradient: &[f32]) -> Result<(), TrainError> {
        let pull = self.anchor.as_ref().map(|anchor| anchor.gradient(self.both.embeddings()));
        self.both.backward(gradient, pull.as_deref())
    }

    fn each_block(&mut self, visit: &mut BlockVisitor<'_>) {
        self.both.each_block(visit);
    }

    fn finished(&self) -> Result<Box<dyn ClassJudge>, TrainError> {
        let net = FastChain::openl3(&self.both.net.state().weights(), isa()?, Precision::F32);
        Ok(Box::new(FinishedSpace { net, head: self.both.head.clone() }))
    }

    fn tensors(&self) -> Vec<NamedTensor> {
        let mut found = Vec::new();
        self.both.net.state().weights().for_each(|name, shape, values| {
            found.push((name.to_owned(), shape.to_vec(), values.to_vec()));
        });
        let (inputs, outputs) = (self.both.head.inputs, self.both.head.outputs);
        let (matrix, bias) = self.both.head.parameters.split_at(inputs * outputs);
        found.push((HEAD[0].to_owned(), vec![outputs, inputs], matrix.to_vec()));
        found.push((HEAD[1].to_owned(), vec![outputs], bias.to_vec()));
        found
    }

    fn restore(&mut self, get: &mut dyn FnMut(&str) -> Option<Vec<f32>>) -> Result<(), String> {
        let head = HEAD.iter().map(|name| get(name)).collect::<Option<Vec<_>>>().map(|parts| parts.concat());
        let fits = |head: &Vec<f32>| head.len() == self.both.head.parameters.len();
        let head = head.filter(fits).ok_or("its head is missing or of another length")?;
        let weights = OpenL3Weights::from_named(get).map_err(|error| error.to_string())?;
        let (found, expected) = (weights.widths(), self.both.net.state().weights().widths());
        if found != expected {
            return Err(format!("expected widths {expected:?}, found {found:?}"));
        }
        self.both.net =
            Student::new(Precision::F32, &weights, &self.device).map_err(|error| error.to_string())?;
        self.both.head.parameters = head;
        Ok(())
    }
}

/// The network and its head with running statistics.
struct FinishedSpace {
    net: FastChain,
    head: TeacherHead,
}

impl ClassJudge for FinishedSpace {
    fn cells(&self) -> usize {
        WINDOW
    }

    fn classes(&self) -> usize {
        self.head.outputs
    }

    fn logits(&self, x: &[f32], n: usize) -> Result<Vec<f32>, TrainError> {
        Ok(self.head.forward(&self.embeddings(x, n)))
    }

    fn dimension(&self) -> usize {
        self.net.dimension()
    }

    fn embeddings(&self, x: &[f32], n: usize) -> Vec<f32> {
        let mut embeddings = vec![0.0; n * self.net.dimension()];
        self.net.forward(x, n, &mut embeddings);
        embeddings
    }
}
