//! Tensors of safetensors files of any program.

use std::collections::BTreeMap;

use safetensors::{Dtype, SafeTensors};

/// Most bytes of a header: parsing takes fifteen times its size. Those of networks of a thousand tensors have 100
/// kB.
const LONGEST_HEADER: u64 = 4 << 20;

#[derive(Debug, Clone, PartialEq)]
pub struct WeightTensor {
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

/// The tensors of a safetensors file (f16, bf16, f32 or f64; tensors of other types are left out), by name.
///
/// # Errors
/// A message if the file is no valid safetensors file.
pub fn read_safetensors(bytes: &[u8]) -> Result<BTreeMap<String, WeightTensor>, String> {
    let header = bytes
        .first_chunk::<8>()
        .map_or(0, |size| u64::from_le_bytes(*size));
    if header > LONGEST_HEADER {
        return Err(format!(
            "a header of {header} bytes, expected at most {LONGEST_HEADER}"
        ));
    }
    let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let mut tensors = BTreeMap::new();
    for (name, view) in file.tensors() {
        let data = view.data();
        let values: Vec<f32> = match view.dtype() {
            Dtype::F32 => data
                .as_chunks()
                .0
                .iter()
                .map(|b| f32::from_le_bytes(*b))
                .collect(),
            Dtype::F64 => data
                .as_chunks()
                .0
                .iter()
                .map(|b| f64::from_le_bytes(*b) as f32)
                .collect(),
            Dtype::F16 => data
                .as_chunks()
                .0
                .iter()
                .map(|b| half::f16::from_le_bytes(*b).to_f32())
                .collect(),
            Dtype::BF16 => data
                .as_chunks()
                .0
                .iter()
                .map(|b| half::bf16::from_le_bytes(*b).to_f32())
                .collect(),
            // Integers, such as the batch counts of PyTorch's batch norms, are no weights.
            _ => continue,
        };
        tensors.insert(
            name,
            WeightTensor {
                shape: view.shape().to_vec(),
                values,
            },
        );
    }
    Ok(tensors)
}
