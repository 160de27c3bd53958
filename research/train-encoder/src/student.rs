//! The network's parameters in training, and the linear layer after it.

use crate::head::TeacherHead;
use voisin_encoder::openl3::OpenL3Train;
use voisin_lab::training::session::BlockVisitor;

/// Parameters and gradients of a network, for an optimiser.
pub fn show(network: &mut OpenL3Train, visit: &mut BlockVisitor<'_>) {
    let mut decays = vec![false; network.parameters().len()];
    for parameter in network.layout().iter().filter(|parameter| parameter.decays) {
        decays[parameter.range.clone()].fill(true);
    }
    let (parameters, gradients) = network.parameters_and_gradients();
    visit(parameters, gradients, &decays);
}

/// A linear layer in training.
#[derive(Debug)]
pub struct LearningLayer {
    /// Its current parameters.
    pub linear: TeacherHead,
    gradients: Vec<f32>,
    decays: Vec<bool>,
    /// The inputs of the last pass.
    given: Vec<f32>,
}

impl LearningLayer {
    /// A layer that begins with these parameters.
    pub fn new(linear: TeacherHead) -> Self {
        // The matrix decays, the bias does not.
        let decays = (0..linear.parameters.len())
            .map(|at| at < linear.inputs * linear.outputs)
            .collect();
        let gradients = vec![0.0; linear.parameters.len()];
        Self {
            linear,
            gradients,
            decays,
            given: Vec::new(),
        }
    }

    /// Outputs, `[n][outputs]`, for inputs `[n][inputs]`.
    pub fn forward(&mut self, given: Vec<f32>) -> Vec<f32> {
        self.given = given;
        self.linear.forward(&self.given)
    }

    /// Computes the gradient of the last inputs from that of the outputs.
    pub fn backward(&mut self, gradient: &[f32]) -> Vec<f32> {
        self.linear
            .backward(&self.given, gradient, &mut self.gradients)
    }

    /// Parameters and gradients.
    pub fn show(&mut self, visit: &mut BlockVisitor<'_>) {
        visit(&mut self.linear.parameters, &self.gradients, &self.decays);
    }
}
