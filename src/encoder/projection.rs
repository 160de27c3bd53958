//! Two optional affine layers after a network.

use super::backend::Pass;
use super::{EncoderError, Weights};

/// `projection.{weight, bias}` turns an embedding into the search vector, which may be shorter;
/// `told.{weight, bias}` gives logits from that, so that they can be computed from the stored vector
/// too. Either may be missing, and both commute with the mean over a track's windows.
#[derive(Debug, Default)]
pub(super) struct Projection {
    vector: Option<Affine>,
    vector_tags: Option<Affine>,
}

#[derive(Debug)]
struct Affine {
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
        let vector = Affine::read(weights, "projection", network)?;
        let outputs = vector.as_ref().map_or(network, |layer| layer.bias.len());
        if outputs != dimension {
            let reason = format!("projection has {outputs} outputs, expected {dimension}");
            return Err(weights.bad(reason));
        }
        Ok(Self {
            vector,
            vector_tags: Affine::read(weights, "told", dimension)?,
        })
    }

    /// Number of logits from the search vector, which follow all others.
    pub(super) fn vector_tags(&self) -> usize {
        self.vector_tags
            .as_ref()
            .map_or(0, |layer| layer.bias.len())
    }

    /// Adds logits, and converts embeddings into search vectors.
    pub(super) fn apply(&self, pass: &mut Pass) {
        if let Some(vector) = &self.vector {
            pass.embeddings = vector.forward(&pass.embeddings);
        }
        if let Some(layer) = &self.vector_tags {
            let further = layer.forward(&pass.embeddings);
            // Logits are stored by window, so the further ones follow each window's tags.
            let further = further.chunks_exact(layer.bias.len());
            let tags = pass.logits.len() / further.len().max(1);
            let logits = further.enumerate().flat_map(|(i, further)| {
                let own = &pass.logits[i * tags..(i + 1) * tags];
                own.iter().chain(further).copied()
            });
            pass.logits = logits.collect();
        }
    }
}

impl Affine {
    fn read(weights: &Weights, name: &str, inputs: usize) -> Result<Option<Self>, EncoderError> {
        let tensor = |field: &str| weights.tensor(&format!("{name}.{field}"));
        let (weight, bias) = match (tensor("weight"), tensor("bias")) {
            (None, None) => return Ok(None),
            (Some(weight), Some(bias)) => (weight, bias),
            _ => return Err(weights.bad(format!("{name} lacks its weight or its bias"))),
        };
        let outputs = bias.values.len();
        if outputs == 0 || weight.shape != [outputs, inputs] || bias.shape != [outputs] {
            let found = &weight.shape;
            let reason = format!("{name}.weight is {found:?}, expected [{outputs}, {inputs}]");
            return Err(weights.bad(reason));
        }
        let mut values = weight.values.iter().chain(&bias.values);
        if !values.all(|x| x.is_finite()) {
            return Err(weights.bad(format!("{name} has values that are not finite")));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::WeightTensor;

    fn weights(tensors: &[(&str, &[usize], &[f32])]) -> Weights {
        let tensors = tensors.iter().map(|(name, shape, values)| {
            let tensor = WeightTensor {
                shape: shape.to_vec(),
                values: values.to_vec(),
            };
            ((*name).to_owned(), tensor)
        });
        Weights::new("test", tensors.collect())
    }

    const PROJECTION: [(&str, &[usize], &[f32]); 2] = [
        ("projection.weight", &[2, 2], &[0.0, 1.0, 2.0, 0.0]),
        ("projection.bias", &[2], &[10.0, 20.0]),
    ];
    const TOLD: [(&str, &[usize], &[f32]); 2] = [
        ("told.weight", &[2, 2], &[1.0, 0.0, 0.0, 2.0]),
        ("told.bias", &[2], &[0.0, -1.0]),
    ];

    fn applied(weights: &Weights, dimension: usize) -> (Vec<f32>, Vec<f32>) {
        let mut pass = Pass {
            embeddings: vec![1.0, 2.0, 3.0, 5.0],
            logits: vec![7.0, 8.0],
        };
        let projection = Projection::read(weights, 2, dimension).unwrap();
        projection.apply(&mut pass);
        (pass.embeddings, pass.logits)
    }

    #[test]
    fn vector_tags_read_the_vector_as_it_is_stored() {
        let (vectors, logits) = applied(&weights(&[PROJECTION, TOLD].concat()), 2);
        assert_eq!(vectors, [12.0, 22.0, 15.0, 26.0]);
        // After the network's own logits, by window.
        assert_eq!(logits, [7.0, 12.0, 43.0, 8.0, 15.0, 51.0]);
    }

    #[test]
    fn a_projection_of_its_own_takes_the_place_of_the_layers() {
        let short = weights(&[
            ("projection.weight", &[1, 2], &[1.0, 3.0]),
            ("projection.bias", &[1], &[0.5]),
        ]);
        let joined = weights(&[PROJECTION, TOLD].concat()).with_projection(short);
        assert_eq!(applied(&joined, 1), (vec![7.5, 18.5], vec![7.0, 8.0]));
    }

    #[test]
    fn wrong_layers_are_named() {
        let reason = |tensors: &[(&str, &[usize], &[f32])], dimension| {
            let found = Projection::read(&weights(tensors), 2, dimension);
            found.unwrap_err().to_string()
        };
        let [_, bias] = PROJECTION;
        assert!(reason(&[bias], 2).contains("lacks"));
        let wide = ("projection.weight", &[2, 3][..], &[0.0; 6][..]);
        assert!(reason(&[wide, bias], 2).contains("[2, 3]"));
        let nan = ("projection.weight", &[2, 2][..], &[f32::NAN; 4][..]);
        assert!(reason(&[nan, bias], 2).contains("not finite"));
        assert!(reason(&PROJECTION, 1).contains("expected 1"));
        assert!(reason(&[], 1).contains("expected 1"));
    }
}
