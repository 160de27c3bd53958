//! Optional linear layers after a network.

use super::backend::Pass;
use super::{EncoderError, Weights};

/// `projection.{weight, bias}`, dimension × the network's, turns an embedding into the search
/// vector, which may be shorter.
///
/// `standardise.{mean, scale}`, dimension each, then brings each number to mean 0 and variance 1
/// over the music that it was fitted on: `(x - mean) * scale`. `told.{weight, bias}`, logits ×
/// dimension, gives logits from the result, so that they can be computed from the stored vector,
/// too. Each may be missing, and all are affine, so they commute with the mean over a track's
/// windows.
#[derive(Debug, Default)]
pub(super) struct Projection {
    vector: Option<Linear>,
    standardise: Option<Standardise>,
    vector_tags: Option<Linear>,
}

/// Name of the layer that computes logits from a stored vector.
const VECTOR_TAGS: &str = "told";

#[derive(Debug)]
struct Standardise {
    mean: Vec<f32>,
    scale: Vec<f32>,
}

impl Standardise {
    fn read(weights: &Weights, dimension: usize) -> Result<Option<Self>, EncoderError> {
        let (mean, scale) = match (
            weights.tensor("standardise.mean"),
            weights.tensor("standardise.scale"),
        ) {
            (None, None) => return Ok(None),
            (Some(mean), Some(scale)) => (mean, scale),
            _ => {
                return Err(bad(
                    weights,
                    "standardise has a mean or a scale, expected both or none",
                ));
            }
        };
        for tensor in [mean, scale] {
            if tensor.shape != [dimension] {
                let reason = format!("standardise is {:?}, expected [{dimension}]", tensor.shape);
                return Err(bad(weights, &reason));
            }
            if tensor.values.iter().any(|x| !x.is_finite()) {
                return Err(bad(weights, "standardise has values that are not finite"));
            }
        }
        Ok(Some(Self {
            mean: mean.values.clone(),
            scale: scale.values.clone(),
        }))
    }

    fn apply(&self, embeddings: &mut [f32]) {
        for row in embeddings.chunks_exact_mut(self.mean.len()) {
            for ((value, mean), scale) in row.iter_mut().zip(&self.mean).zip(&self.scale) {
                *value = (*value - mean) * scale;
            }
        }
    }
}

#[derive(Debug)]
struct Linear {
    inputs: usize,
    /// `[outputs][inputs]`
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl Projection {
    /// Finds the layers among the tensors and checks their shapes.
    ///
    /// - `network`: length of the network's output
    /// - `dimension`: of the search vector
    pub(super) fn read(
        weights: &Weights,
        network: usize,
        dimension: usize,
    ) -> Result<Self, EncoderError> {
        let vector = Linear::read(weights, "projection", network)?;
        // Without a layer the network's own vector is the search vector.
        let outputs = vector.as_ref().map_or(network, |linear| linear.bias.len());
        if outputs != dimension {
            return Err(bad(
                weights,
                &format!("projection has {outputs} outputs, expected {dimension}"),
            ));
        }
        let further = Linear::read(weights, VECTOR_TAGS, dimension)?;
        Ok(Self {
            vector,
            standardise: Standardise::read(weights, dimension)?,
            vector_tags: further,
        })
    }

    /// Number of logits from the search vector, which follow all others.
    pub(super) fn vector_tags(&self) -> usize {
        self.vector_tags
            .as_ref()
            .map_or(0, |linear| linear.bias.len())
    }

    /// Adds logits, and converts embeddings into search vectors.
    pub(super) fn apply(&self, pass: &mut Pass) {
        if let Some(vector) = &self.vector {
            pass.embeddings = vector.forward(&pass.embeddings);
        }
        if let Some(standardise) = &self.standardise {
            standardise.apply(&mut pass.embeddings);
        }
        if let Some(layer) = &self.vector_tags {
            let further = layer.forward(&pass.embeddings);
            // Logits are stored by window, so the further ones are inserted after each window's
            // tags.
            let windows = further.len() / layer.bias.len();
            let tags = pass.logits.len() / windows.max(1);
            pass.logits = (0..windows)
                .flat_map(|i| {
                    let further = &further[i * layer.bias.len()..(i + 1) * layer.bias.len()];
                    pass.logits[i * tags..(i + 1) * tags]
                        .iter()
                        .chain(further)
                        .copied()
                })
                .collect();
        }
    }
}

impl Linear {
    fn read(weights: &Weights, name: &str, inputs: usize) -> Result<Option<Self>, EncoderError> {
        let tensors = (
            weights.tensor(&format!("{name}.weight")),
            weights.tensor(&format!("{name}.bias")),
        );
        let (weight, bias) = match tensors {
            (None, None) => return Ok(None),
            (Some(weight), Some(bias)) => (weight, bias),
            _ => {
                return Err(bad(
                    weights,
                    &format!("{name} has a weight or a bias, expected both or none"),
                ));
            }
        };
        let outputs = bias.values.len();
        if outputs == 0 || weight.shape != [outputs, inputs] || bias.shape != [outputs] {
            return Err(bad(
                weights,
                &format!(
                    "{name}.weight is {:?}, expected [{outputs}, {inputs}]",
                    weight.shape
                ),
            ));
        }
        if weight
            .values
            .iter()
            .chain(&bias.values)
            .any(|x| !x.is_finite())
        {
            return Err(bad(
                weights,
                &format!("{name} has values that are not finite"),
            ));
        }
        Ok(Some(Self {
            inputs,
            weight: weight.values.clone(),
            bias: bias.values.clone(),
        }))
    }

    /// Each row separately, in a fixed order, for the same bits in any batch.
    fn forward(&self, rows: &[f32]) -> Vec<f32> {
        let mut out = Vec::with_capacity(rows.len() / self.inputs * self.bias.len());
        for row in rows.chunks_exact(self.inputs) {
            for (weight, bias) in self.weight.chunks_exact(self.inputs).zip(&self.bias) {
                // Sixteen sums in a fixed order: fast, and the same on every machine.
                let mut lanes = [0.0f32; 16];
                let (a, a_rest) = weight.as_chunks::<16>();
                let (b, b_rest) = row.as_chunks::<16>();
                for (a, b) in a.iter().zip(b) {
                    for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
                        *lane += a * b;
                    }
                }
                let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
                out.push(bias + (lanes.iter().sum::<f32>() + rest));
            }
        }
        out
    }
}

fn bad(weights: &Weights, reason: &str) -> EncoderError {
    EncoderError::BadWeights {
        origin: weights.origin().to_owned(),
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::WeightTensor;
    use super::*;

    fn weights(tensors: &[(&str, &[usize], Vec<f32>)]) -> Weights {
        let tensors = tensors.iter().map(|(name, shape, values)| {
            (
                (*name).to_owned(),
                WeightTensor {
                    shape: shape.to_vec(),
                    values: values.clone(),
                },
            )
        });
        Weights::new("test", tensors.collect::<BTreeMap<_, _>>())
    }

    #[test]
    fn vector_tags_read_the_vector_as_it_is_stored() {
        let file = weights(&[
            ("projection.weight", &[2, 2], vec![0.0, 1.0, 2.0, 0.0]),
            ("projection.bias", &[2], vec![10.0, 20.0]),
            ("standardise.mean", &[2], vec![12.0, 20.0]),
            ("standardise.scale", &[2], vec![3.0, 0.5]),
            ("told.weight", &[2, 2], vec![1.0, 0.0, 0.0, 2.0]),
            ("told.bias", &[2], vec![0.0, -1.0]),
        ]);
        let projection = Projection::read(&file, 2, 2).unwrap();
        assert_eq!(projection.vector_tags(), 2);
        // After the network's own logits, by window.
        let mut pass = Pass {
            embeddings: vec![1.0, 2.0, 3.0, 5.0],
            logits: vec![7.0, 8.0],
        };
        projection.apply(&mut pass);
        assert_eq!(pass.embeddings, [0.0, 1.0, 9.0, 3.0]);
        assert_eq!(pass.logits, [7.0, 0.0, 1.0, 8.0, 9.0, 5.0]);
    }

    #[test]
    fn a_projection_of_its_own_takes_the_place_of_the_layers() {
        let network = weights(&[
            ("conv.weight", &[1], vec![4.0]),
            ("projection.weight", &[2, 2], vec![0.0, 1.0, 2.0, 0.0]),
            ("projection.bias", &[2], vec![10.0, 20.0]),
        ]);
        let short = weights(&[
            ("projection.weight", &[1, 2], vec![1.0, 3.0]),
            ("projection.bias", &[1], vec![0.5]),
            ("told.weight", &[1, 1], vec![-2.0]),
            ("told.bias", &[1], vec![1.0]),
            ("conv.weight", &[1], vec![5.0]),
        ]);
        let joined = network.with_projection(short);
        assert_eq!(
            joined.tensor("conv.weight").unwrap().values,
            [4.0],
            "the network stays"
        );
        let projection = Projection::read(&joined, 2, 1).unwrap();
        assert_eq!(projection.vector_tags(), 1);
        let mut pass = Pass {
            embeddings: vec![1.0, 2.0, 3.0, 5.0],
            logits: Vec::new(),
        };
        projection.apply(&mut pass);
        assert_eq!(
            (pass.embeddings, pass.logits),
            (vec![7.5, 18.5], vec![-14.0, -36.0])
        );
        assert!(
            Projection::read(&joined, 2, 2)
                .unwrap_err()
                .to_string()
                .contains("expected 2")
        );
        assert!(
            Projection::read(&weights(&[]), 2, 1).is_err(),
            "nothing shortens the vector"
        );
    }

    #[test]
    fn standardising_comes_last() {
        let file = weights(&[
            ("projection.weight", &[2, 2], vec![0.0, 1.0, 2.0, 0.0]),
            ("projection.bias", &[2], vec![10.0, 20.0]),
            ("standardise.mean", &[2], vec![12.0, 20.0]),
            ("standardise.scale", &[2], vec![3.0, 0.5]),
        ]);
        let mut pass = Pass {
            embeddings: vec![1.0, 2.0, 3.0, 5.0],
            logits: Vec::new(),
        };
        Projection::read(&file, 2, 2).unwrap().apply(&mut pass);
        assert_eq!(pass.embeddings, [0.0, 1.0, 9.0, 3.0]);
        let half = weights(&[("standardise.mean", &[2], vec![0.0; 2])]);
        assert!(
            Projection::read(&half, 2, 2)
                .unwrap_err()
                .to_string()
                .contains("both or none")
        );
        let long = weights(&[
            ("standardise.mean", &[3], vec![0.0; 3]),
            ("standardise.scale", &[3], vec![0.0; 3]),
        ]);
        assert!(
            Projection::read(&long, 2, 2)
                .unwrap_err()
                .to_string()
                .contains("expected [2]")
        );
    }

    #[test]
    fn nothing_there_changes_nothing_and_wrong_shapes_are_named() {
        let none = Projection::read(&weights(&[]), 2, 2).unwrap();
        let mut pass = Pass {
            embeddings: vec![1.0, 2.0],
            logits: vec![3.0],
        };
        none.apply(&mut pass);
        assert_eq!((pass.embeddings, pass.logits), (vec![1.0, 2.0], vec![3.0]));
        let reason = |tensors: &[(&str, &[usize], Vec<f32>)]| {
            Projection::read(&weights(tensors), 2, 2)
                .unwrap_err()
                .to_string()
        };
        let bias: (&str, &[usize], Vec<f32>) = ("projection.bias", &[2], vec![0.0; 2]);
        assert!(reason(std::slice::from_ref(&bias)).contains("both or none"));
        assert!(
            reason(&[("projection.weight", &[2, 3], vec![0.0; 6]), bias.clone()])
                .contains("[2, 3]")
        );
        assert!(
            reason(&[("projection.weight", &[2, 2], vec![f32::NAN; 4]), bias])
                .contains("not finite")
        );
        let too_short: [(&str, &[usize], Vec<f32>); 2] = [
            ("projection.weight", &[1, 2], vec![0.0; 2]),
            ("projection.bias", &[1], vec![0.0]),
        ];
        assert!(reason(&too_short).contains("expected 2"));
    }
}
