//! Named arrays of numbers, in memory and as a safetensors file.

use std::collections::{BTreeMap, HashMap};

use ndarray::Array2;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use voisin_genre::Standardiser;

/// Named arrays, read by name and shape.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tensors(BTreeMap<String, (Vec<usize>, Numbers)>);

#[derive(Debug, Clone, PartialEq)]
enum Numbers {
    F32(Vec<f32>),
    F64(Vec<f64>),
    U32(Vec<u32>),
}

impl Tensors {
    pub(crate) fn put_f32(&mut self, name: &str, values: Vec<f32>) {
        self.0
            .insert(name.to_owned(), (vec![values.len()], Numbers::F32(values)));
    }

    pub(crate) fn put_f64(&mut self, name: &str, values: Vec<f64>) {
        self.0
            .insert(name.to_owned(), (vec![values.len()], Numbers::F64(values)));
    }

    /// Adds integers under a name.
    pub fn put_u32(&mut self, name: &str, values: Vec<u32>) {
        self.0
            .insert(name.to_owned(), (vec![values.len()], Numbers::U32(values)));
    }

    /// Stores a matrix as `[rows, columns]`.
    pub fn put_matrix(&mut self, name: &str, values: &Array2<f32>) {
        let shape = values.shape().to_vec();
        self.0.insert(
            name.to_owned(),
            (shape, Numbers::F32(values.iter().copied().collect())),
        );
    }

    pub(crate) fn f32(&self, name: &str) -> Option<&[f32]> {
        match self.0.get(name)? {
            (_, Numbers::F32(values)) => Some(values),
            _ => None,
        }
    }

    pub(crate) fn f64(&self, name: &str) -> Option<&[f64]> {
        match self.0.get(name)? {
            (_, Numbers::F64(values)) => Some(values),
            _ => None,
        }
    }

    /// The integers of a name; `None` if they are missing or of another type.
    pub fn u32(&self, name: &str) -> Option<&[u32]> {
        match self.0.get(name)? {
            (_, Numbers::U32(values)) => Some(values),
            _ => None,
        }
    }

    /// The matrix of a name; `None` if it is missing or does not have two dimensions.
    pub fn matrix(&self, name: &str) -> Option<Array2<f32>> {
        let (shape, _) = self.0.get(name)?;
        let &[rows, columns] = shape.as_slice() else {
            return None;
        };
        Array2::from_shape_vec((rows, columns), self.f32(name)?.to_vec()).ok()
    }

    pub(crate) fn put_standardiser(&mut self, name: &str, standard: &Standardiser) {
        self.put_f32(&format!("{name}.mean"), standard.mean.to_vec());
        self.put_f32(&format!("{name}.scale"), standard.scale.to_vec());
    }

    pub(crate) fn standardiser(&self, name: &str, columns: usize) -> Option<Standardiser> {
        let read = |part: &str| {
            self.f32(&format!("{name}.{part}"))
                .filter(|values| values.len() == columns)
        };
        Some(Standardiser {
            mean: read("mean")?.to_vec().into(),
            scale: read("scale")?.to_vec().into(),
        })
    }

    /// Adds all tensors of a part, under its number.
    pub fn put_all(&mut self, part: usize, other: Self) {
        self.0.extend(
            other
                .0
                .into_iter()
                .map(|(name, numbers)| (format!("{part}.{name}"), numbers)),
        );
    }

    /// The tensors of a part that [`put_all`](Self::put_all) added.
    #[must_use]
    pub fn all_of(&self, part: usize) -> Self {
        let start = format!("{part}.");
        let part_tensors = self.0.iter().filter_map(|(name, numbers)| {
            Some((name.strip_prefix(&start)?.to_owned(), numbers.clone()))
        });
        Self(part_tensors.collect())
    }

    /// A safetensors file with metadata in its header.
    pub fn to_bytes(&self, header: HashMap<String, String>) -> Result<Vec<u8>, String> {
        let bytes: Vec<(&String, &Vec<usize>, Dtype, Vec<u8>)> = self
            .0
            .iter()
            .map(|(name, (shape, numbers))| {
                let (kind, bytes) = match numbers {
                    Numbers::F32(v) => {
                        (Dtype::F32, v.iter().flat_map(|v| v.to_le_bytes()).collect())
                    }
                    Numbers::F64(v) => {
                        (Dtype::F64, v.iter().flat_map(|v| v.to_le_bytes()).collect())
                    }
                    Numbers::U32(v) => {
                        (Dtype::U32, v.iter().flat_map(|v| v.to_le_bytes()).collect())
                    }
                };
                (name, shape, kind, bytes)
            })
            .collect();
        let views = bytes
            .iter()
            .map(|(name, shape, kind, data)| {
                Ok((
                    name.as_str(),
                    TensorView::new(*kind, (*shape).clone(), data)?,
                ))
            })
            .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
            .map_err(|error| error.to_string())?;
        safetensors::serialize(views, Some(header)).map_err(|error| error.to_string())
    }

    /// Parses the bytes of [`to_bytes`](Self::to_bytes). Numbers that are not finite are
    /// refused.
    pub fn from_bytes(bytes: &[u8]) -> Result<(Self, HashMap<String, String>), String> {
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
        let header = metadata.metadata().clone().unwrap_or_default();
        let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
        let mut tensors = Self::default();
        for (name, view) in file.tensors() {
            let data = view.data();
            let numbers = match view.dtype() {
                Dtype::F32 => Numbers::F32(
                    data.as_chunks::<4>()
                        .0
                        .iter()
                        .map(|b| f32::from_le_bytes(*b))
                        .collect(),
                ),
                Dtype::F64 => Numbers::F64(
                    data.as_chunks::<8>()
                        .0
                        .iter()
                        .map(|b| f64::from_le_bytes(*b))
                        .collect(),
                ),
                Dtype::U32 => Numbers::U32(
                    data.as_chunks::<4>()
                        .0
                        .iter()
                        .map(|b| u32::from_le_bytes(*b))
                        .collect(),
                ),
                other => {
                    return Err(format!(
                        "tensor {name} holds {other:?}, expected F32, F64 or U32"
                    ));
                }
            };
            // Checked here for all algorithms.
            let finite = match &numbers {
                Numbers::F32(values) => values.iter().all(|v| v.is_finite()),
                Numbers::F64(values) => values.iter().all(|v| v.is_finite()),
                Numbers::U32(_) => true,
            };
            if !finite {
                return Err(format!("tensor {name} has a number that is not finite"));
            }
            tensors.0.insert(name, (view.shape().to_vec(), numbers));
        }
        Ok((tensors, header))
    }
}
