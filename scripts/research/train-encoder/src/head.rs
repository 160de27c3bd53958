//! The linear layer between the student's embedding and the teachers' outputs.

use voisin_base::random::Random;
use voisin_base::vector::dot;
use voisin_lab::training::Block;

/// `predictions = W · embedding + b`, on top of the network in training.
#[derive(Debug, Clone, PartialEq)]
pub struct TeacherHead {
    pub inputs: usize,
    pub outputs: usize,
    /// W, `[outputs][inputs]`, then b, `[outputs]`.
    pub parameters: Vec<f32>,
}

impl TeacherHead {
    /// Small normal weights (variance 0.01 / inputs), biases 0.
    pub fn seeded(inputs: usize, outputs: usize, seed: u64) -> Self {
        let mut random = Random::stream(seed, 0x4ead);
        // A tenth of the usual deviation: the first predictions are near 0, the mean of z-scored
        // targets and an even chance for all classes.
        let scale = 0.1 / (inputs as f64).sqrt();
        let mut parameters: Vec<f32> = (0..outputs * inputs)
            .map(|_| (scale * random.normal()) as f32)
            .collect();
        parameters.resize(outputs * (inputs + 1), 0.0);
        Self {
            inputs,
            outputs,
            parameters,
        }
    }

    /// The matrix, which decays, and the bias, with their gradients.
    pub fn blocks<'a>(&'a mut self, gradients: &'a [f32]) -> [Block<'a>; 2] {
        let matrix = self.inputs * self.outputs;
        let (weight, bias) = self.parameters.split_at_mut(matrix);
        let (d_weight, d_bias) = gradients.split_at(matrix);
        [(weight, d_weight, true), (bias, d_bias, false)]
    }

    /// Predictions, `[n][outputs]`, for embeddings `[n][inputs]`.
    pub fn forward(&self, embeddings: &[f32]) -> Vec<f32> {
        let (weight, bias) = self.parameters.split_at(self.outputs * self.inputs);
        let mut out = Vec::with_capacity(embeddings.len() / self.inputs * self.outputs);
        for embedding in embeddings.chunks_exact(self.inputs) {
            let rows = weight.chunks_exact(self.inputs).zip(bias);
            out.extend(rows.map(|(row, b)| b + dot(row, embedding)));
        }
        out
    }

    /// Computes the gradients of the parameters (overwritten) and of the embeddings (returned) from that of the predictions.
    ///
    /// # Panics
    /// If lengths do not fit.
    pub fn backward(
        &self,
        embeddings: &[f32],
        d_predictions: &[f32],
        gradients: &mut [f32],
    ) -> Vec<f32> {
        // Overwritten, not added to: each step has one pass.
        gradients.fill(0.0);
        let (d_weight, d_bias) = gradients.split_at_mut(self.outputs * self.inputs);
        let weight = &self.parameters[..self.outputs * self.inputs];
        let mut d_embeddings = vec![0.0; embeddings.len()];
        let windows = embeddings
            .chunks_exact(self.inputs)
            .zip(d_embeddings.chunks_exact_mut(self.inputs))
            .zip(d_predictions.chunks_exact(self.outputs));
        for ((embedding, d_embedding), d) in windows {
            let rows = weight
                .chunks_exact(self.inputs)
                .zip(d_weight.chunks_exact_mut(self.inputs));
            for (((row, d_row), d_bias), &d) in rows.zip(&mut *d_bias).zip(d) {
                *d_bias += d;
                for (((w, dw), de), e) in
                    row.iter().zip(d_row).zip(&mut *d_embedding).zip(embedding)
                {
                    *dw += d * e;
                    *de += d * w;
                }
            }
        }
        d_embeddings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradients_are_differences() {
        let head = TeacherHead::seeded(7, 3, 1);
        let mut random = Random::stream(9, 9);
        let embeddings: Vec<f32> = (0..14).map(|_| random.normal() as f32).collect();
        let d: Vec<f32> = (0..6).map(|_| random.normal() as f32).collect();
        let value = |head: &TeacherHead, x: &[f32]| dot(&head.forward(x), &d);
        let mut gradients = vec![0.0; head.parameters.len()];
        let d_embeddings = head.backward(&embeddings, &d, &mut gradients);
        let base = value(&head, &embeddings);
        for i in 0..head.parameters.len() {
            let mut other = head.clone();
            other.parameters[i] += 1.0;
            assert!(
                (value(&other, &embeddings) - base - gradients[i]).abs() < 1e-4,
                "parameter {i}"
            );
        }
        for i in 0..embeddings.len() {
            let mut other = embeddings.clone();
            other[i] += 1.0;
            assert!(
                (value(&head, &other) - base - d_embeddings[i]).abs() < 1e-4,
                "embedding {i}"
            );
        }
    }
}
