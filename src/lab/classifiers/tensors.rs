//! Named arrays of numbers, in memory and as a safetensors file.

use std::collections::{BTreeMap, HashMap};

use ndarray::Array2;
use safetensors::{Dtype, SafeTensors};
use voisin_genre::Standardiser;

use crate::training::session::serialize;

/// Named arrays with their shapes, in double precision, which also holds single precision and indices exactly.
#[derive(Debug, Clone, Default)]
pub struct Tensors(BTreeMap<String, (Vec<usize>, Vec<f64>)>);

impl Tensors {
    pub(crate) fn put<T: Into<f64>>(&mut self, name: &str, values: impl IntoIterator<Item = T>) {
        let values: Vec<f64> = values.into_iter().map(T::into).collect();
        self.0.insert(name.to_owned(), (vec![values.len()], values));
    }

    pub(crate) fn get(&self, name: &str) -> Option<Vec<f64>> {
        self.0.get(name).map(|(_, values)| values.clone())
    }

    pub(crate) fn singles(&self, name: &str) -> Option<Vec<f32>> {
        let (_, values) = self.0.get(name)?;
        let values: Vec<f32> = values.iter().map(|value| *value as f32).collect();
        values.iter().all(|x| x.is_finite()).then_some(values)
    }

    pub(crate) fn put_indices(&mut self, name: &str, values: impl IntoIterator<Item = usize>) {
        self.put(name, values.into_iter().map(|value| value as f64));
    }

    pub(crate) fn indices(&self, name: &str) -> Option<Vec<usize>> {
        let values = self.get(name)?.into_iter();
        // A cast keeps negative numbers at 0, and readers compare all with the bounds.
        Some(values.map(|value| value as usize).collect())
    }

    pub(crate) fn put_matrix(&mut self, name: &str, values: &Array2<f32>) {
        let numbers = values.iter().copied().map(f64::from).collect();
        self.0
            .insert(name.to_owned(), (values.shape().to_vec(), numbers));
    }

    pub(crate) fn matrix(&self, name: &str) -> Option<Array2<f32>> {
        let &[rows, columns] = self.0.get(name)?.0.as_slice() else {
            return None;
        };
        Array2::from_shape_vec((rows, columns), self.singles(name)?).ok()
    }

    pub(crate) fn put_standardiser(&mut self, name: &str, standard: &Standardiser) {
        self.put(&format!("{name}.mean"), standard.mean.iter().copied());
        self.put(&format!("{name}.scale"), standard.scale.iter().copied());
    }

    pub(crate) fn standardiser(&self, name: &str, columns: usize) -> Option<Standardiser> {
        let read = |part: &str| {
            let values = self.singles(&format!("{name}.{part}"))?;
            (values.len() == columns).then(|| values.into())
        };
        Some(Standardiser {
            mean: read("mean")?,
            scale: read("scale")?,
        })
    }

    /// Adds all tensors of a part, under its number.
    pub fn put_all(&mut self, part: usize, other: Self) {
        let named = other.0.into_iter();
        let named = named.map(|(name, tensor)| (format!("{part}.{name}"), tensor));
        self.0.extend(named);
    }

    /// The tensors of a part that [`put_all`](Self::put_all) added.
    #[must_use]
    pub fn all_of(&self, part: usize) -> Self {
        let start = format!("{part}.");
        let of_part = self.0.iter().filter_map(|(name, tensor)| {
            let name = name.strip_prefix(&start)?;
            Some((name.to_owned(), tensor.clone()))
        });
        Self(of_part.collect())
    }

    pub fn to_bytes(&self, header: HashMap<String, String>) -> Result<Vec<u8>, String> {
        let tensors = self.0.iter().map(|(name, (shape, values))| {
            let bytes = values.iter().flat_map(|value| value.to_le_bytes());
            (name.clone(), Dtype::F64, shape.clone(), bytes.collect())
        });
        serialize(&tensors.collect::<Vec<_>>(), header)
    }

    /// Parses the bytes of [`to_bytes`](Self::to_bytes); every number has to be finite.
    pub fn from_bytes(bytes: &[u8]) -> Result<(Self, HashMap<String, String>), String> {
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
        let header = metadata.metadata().clone().unwrap_or_default();
        let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
        let mut tensors = BTreeMap::new();
        for (name, view) in file.tensors() {
            let numbers = view.data().as_chunks().0.iter();
            let numbers: Vec<f64> = numbers.map(|bytes| f64::from_le_bytes(*bytes)).collect();
            if view.dtype() != Dtype::F64 || numbers.iter().any(|x| !x.is_finite()) {
                return Err(format!(
                    "{name}: expected finite numbers in double precision"
                ));
            }
            tensors.insert(name, (view.shape().to_vec(), numbers));
        }
        Ok((Self(tensors), header))
    }
}
