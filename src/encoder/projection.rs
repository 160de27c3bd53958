//! Optional affine layers after a network.

use super::backend::Pass;
use super::{EncoderError, WeightTensor, Weights};

/// `projection.{weight, bias}`, dimension × the network's, turns an embedding into the search
/// vector, which may be shorter; `standardise.{mean, scale}` then brings each number to mean 0 and
/// variance 1 over the music that it was fitted on: `(x - mean) * scale`. Both are one layer here.
///
/// `told.{weight, bias}`, logits × dimension, gives logits from the result, so that they can be
/// computed from the stored vector, too. Each may be missing, and all are affine, so they commute
/// with the mean over a track's windows.
#[derive(Debug, Default)]
pub(super) struct Projection {
    vector: Option<Affine>,
    vector_tags: Option<Affine>,
}

/// Name of the layer that computes logits from a stored vector.
const VECTOR_TAGS: &str = "told";

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
        let mut vector = Affine::read(weights, "projection", network)?;
        // Without a layer the network's own vector is the search vector.
        let outputs = vector.as_ref().map_or(network, |layer| layer.bias.len());
        if outputs != dimension {
            let reason = format!("projection has {outputs} outputs, expected {dimension}");
            return Err(weights.bad(reason));
        }
        if let Some((mean, scale)) = standardisation(weights, dimension)? {
            let mut layer = vector.unwrap_or_else(|| Affine::identity(dimension));
            for (row, ((bias, mean), scale)) in layer
                .weight
                .chunks_exact_mut(network)
                .zip(layer.bias.iter_mut().zip(mean).zip(scale))
            {
                row.iter_mut().for_each(|weight| *weight *= scale);
                *bias = (*bias - mean) * scale;
            }
            vector = Some(layer);
        }
        Ok(Self {
            vector,
            vector_tags: Affine::read(weights, VECTOR_TAGS, dimension)?,
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

/// Mean and scale, `dimension` numbers each.
type Standardisation<'a> = (&'a [f32], &'a [f32]);

/// The standardisation of the inputs, if there is one.
fn standardisation(
    weights: &Weights,
    dimension: usize,
) -> Result<Option<Standardisation<'_>>, EncoderError> {
    let Some((mean, scale)) = pair(weights, ["standardise.mean", "standardise.scale"])? else {
        return Ok(None);
    };
    for tensor in [mean, scale] {
        if tensor.shape != [dimension] {
            let reason = format!("standardise is {:?}, expected [{dimension}]", tensor.shape);
            return Err(weights.bad(reason));
        }
    }
    Ok(Some((&mean.values, &scale.values)))
}

/// Two tensors of finite numbers; `None` if neither is there.
fn pair<'a>(
    weights: &'a Weights,
    names: [&str; 2],
) -> Result<Option<(&'a WeightTensor, &'a WeightTensor)>, EncoderError> {
    let [a, b] = names.map(|name| weights.tensor(name));
    if let (None, None) = (a, b) {
        return Ok(None);
    }
    let [first, second] = names;
    let (Some(a), Some(b)) = (a, b) else {
        let reason = format!("{first} or {second} is missing, expected both or none");
        return Err(weights.bad(reason));
    };
    if a.values.iter().chain(&b.values).any(|x| !x.is_finite()) {
        let reason = format!("{first} or {second} has values that are not finite");
        return Err(weights.bad(reason));
    }
    Ok(Some((a, b)))
}

impl Affine {
    fn identity(dimension: usize) -> Self {
        let mut weight = vec![0.0; dimension * dimension];
        weight
            .iter_mut()
            .step_by(dimension + 1)
            .for_each(|x| *x = 1.0);
        Self {
            inputs: dimension,
            weight,
            bias: vec![0.0; dimension],
        }
    }

    fn read(weights: &Weights, name: &str, inputs: usize) -> Result<Option<Self>, EncoderError> {
        let names = [format!("{name}.weight"), format!("{name}.bias")];
        let Some((weight, bias)) = pair(weights, names.each_ref().map(String::as_str))? else {
            return Ok(None);
        };
        let outputs = bias.values.len();
        if outputs == 0 || weight.shape != [outputs, inputs] || bias.shape != [outputs] {
            let found = &weight.shape;
            let reason = format!("{name}.weight is {found:?}, expected [{outputs}, {inputs}]");
            return Err(weights.bad(reason));
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
    const STANDARDISE: [(&str, &[usize], &[f32]); 2] = [
        ("standardise.mean", &[2], &[12.0, 20.0]),
        ("standardise.scale", &[2], &[3.0, 0.5]),
    ];
    const TOLD: [(&str, &[usize], &[f32]); 2] = [
        ("told.weight", &[2, 2], &[1.0, 0.0, 0.0, 2.0]),
        ("told.bias", &[2], &[0.0, -1.0]),
    ];

    #[test]
    fn vector_tags_read_the_vector_as_it_is_stored() {
        let file = weights(&[PROJECTION, STANDARDISE, TOLD].concat());
        let projection = Projection::read(&file, 2, 2).unwrap();
        // After the network's own logits, by window.
        let mut pass = Pass {
            embeddings: vec![1.0, 2.0, 3.0, 5.0],
            logits: vec![7.0, 8.0],
        };
        projection.apply(&mut pass);
        assert_eq!(pass.embeddings, [0.0, 1.0, 9.0, 3.0]);
        assert_eq!(pass.logits, [7.0, 0.0, 1.0, 8.0, 9.0, 5.0]);
        let standardised = Projection::read(&weights(&STANDARDISE), 2, 2).unwrap();
        let mut pass = Pass {
            embeddings: vec![13.0, 24.0],
            logits: Vec::new(),
        };
        standardised.apply(&mut pass);
        assert_eq!(pass.embeddings, [3.0, 2.0]);
    }

    #[test]
    fn a_projection_of_its_own_takes_the_place_of_the_layers() {
        let conv = [("conv.weight", &[1][..], &[4.0][..])];
        let network = weights(&[&conv[..], &PROJECTION, &STANDARDISE].concat());
        let short = weights(&[
            ("projection.weight", &[1, 2], &[1.0, 3.0]),
            ("projection.bias", &[1], &[0.5]),
            ("conv.weight", &[1], &[5.0]),
        ]);
        let joined = network.with_projection(short);
        let kept = joined.tensor("conv.weight").unwrap();
        assert_eq!(kept.values, [4.0], "the network stays");
        let mut pass = Pass {
            embeddings: vec![1.0, 2.0, 3.0, 5.0],
            logits: vec![1.0],
        };
        let projection = Projection::read(&joined, 2, 1).unwrap();
        projection.apply(&mut pass);
        assert_eq!((pass.embeddings, pass.logits), (vec![7.5, 18.5], vec![1.0]));
    }

    #[test]
    fn wrong_layers_are_named() {
        let reason = |tensors: &[(&str, &[usize], &[f32])], dimension| {
            let found = Projection::read(&weights(tensors), 2, dimension);
            found.unwrap_err().to_string()
        };
        for half in [PROJECTION[1], STANDARDISE[0]] {
            assert!(reason(&[half], 2).contains("both or none"));
        }
        let [_, bias] = PROJECTION;
        let wide = ("projection.weight", &[2, 3][..], &[0.0; 6][..]);
        assert!(reason(&[wide, bias], 2).contains("[2, 3]"));
        let nan = ("projection.weight", &[2, 2][..], &[f32::NAN; 4][..]);
        assert!(reason(&[nan, bias], 2).contains("not finite"));
        assert!(reason(&PROJECTION, 1).contains("expected 1"));
        assert!(reason(&[], 1).contains("expected 1"), "nothing shortens it");
        let long = [
            ("standardise.mean", &[3][..], &[0.0; 3][..]),
            ("standardise.scale", &[3][..], &[0.0; 3][..]),
        ];
        assert!(reason(&long, 2).contains("expected [2]"));
    }
}
