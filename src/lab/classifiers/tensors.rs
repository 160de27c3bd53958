//! Named arrays of numbers, in memory and as a safetensors file.

use std::collections::{BTreeMap, HashMap};

use ndarray::Array2;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use voisin_genre::Standardiser;

/// Named arrays with their types and shapes, as bytes.
#[derive(Debug, Clone, Default)]
pub struct Tensors(BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>);

pub(crate) trait Number: Copy {
    const DTYPE: Dtype;
    const SIZE: usize;
    fn bytes(self) -> Vec<u8>;
    /// The number; `None` if it is not finite.
    fn of(bytes: &[u8]) -> Option<Self>;
}

impl Number for f32 {
    const DTYPE: Dtype = Dtype::F32;
    const SIZE: usize = 4;

    fn bytes(self) -> Vec<u8> {
        self.to_le_bytes().to_vec()
    }

    fn of(bytes: &[u8]) -> Option<Self> {
        let number = Self::from_le_bytes(bytes.try_into().ok()?);
        number.is_finite().then_some(number)
    }
}

impl Number for f64 {
    const DTYPE: Dtype = Dtype::F64;
    const SIZE: usize = 8;

    fn bytes(self) -> Vec<u8> {
        self.to_le_bytes().to_vec()
    }

    fn of(bytes: &[u8]) -> Option<Self> {
        let number = Self::from_le_bytes(bytes.try_into().ok()?);
        number.is_finite().then_some(number)
    }
}

impl Number for u32 {
    const DTYPE: Dtype = Dtype::U32;
    const SIZE: usize = 4;

    fn bytes(self) -> Vec<u8> {
        self.to_le_bytes().to_vec()
    }

    fn of(bytes: &[u8]) -> Option<Self> {
        Some(Self::from_le_bytes(bytes.try_into().ok()?))
    }
}

impl Tensors {
    pub(crate) fn put<T: Number>(&mut self, name: &str, values: impl IntoIterator<Item = T>) {
        let bytes: Vec<u8> = values.into_iter().flat_map(T::bytes).collect();
        let shape = vec![bytes.len() / T::SIZE];
        self.0.insert(name.to_owned(), (T::DTYPE, shape, bytes));
    }

    /// The numbers of a name; `None` if they are missing, of another type, or not finite.
    pub(crate) fn get<T: Number>(&self, name: &str) -> Option<Vec<T>> {
        let (dtype, _, bytes) = self.0.get(name)?;
        let numbers = bytes.chunks_exact(T::SIZE).map(T::of);
        numbers
            .collect::<Option<_>>()
            .filter(|_| *dtype == T::DTYPE)
    }

    /// Small whole numbers.
    pub(crate) fn put_indices(&mut self, name: &str, values: impl IntoIterator<Item = usize>) {
        self.put(name, values.into_iter().map(|value| value as u32));
    }

    pub(crate) fn indices(&self, name: &str) -> Option<Vec<usize>> {
        let values: Vec<u32> = self.get(name)?;
        Some(values.into_iter().map(|value| value as usize).collect())
    }

    /// Stores a matrix as `[rows, columns]`.
    pub(crate) fn put_matrix(&mut self, name: &str, values: &Array2<f32>) {
        self.put(name, values.iter().copied());
        if let Some((_, shape, _)) = self.0.get_mut(name) {
            *shape = values.shape().to_vec();
        }
    }

    /// The matrix of a name; `None` if it is missing or does not have two dimensions.
    pub(crate) fn matrix(&self, name: &str) -> Option<Array2<f32>> {
        let &[rows, columns] = self.0.get(name)?.1.as_slice() else {
            return None;
        };
        Array2::from_shape_vec((rows, columns), self.get(name)?).ok()
    }

    pub(crate) fn put_standardiser(&mut self, name: &str, standard: &Standardiser) {
        self.put(&format!("{name}.mean"), standard.mean.iter().copied());
        self.put(&format!("{name}.scale"), standard.scale.iter().copied());
    }

    pub(crate) fn standardiser(&self, name: &str, columns: usize) -> Option<Standardiser> {
        let read = |part: &str| -> Option<Vec<f32>> {
            let values: Vec<f32> = self.get(&format!("{name}.{part}"))?;
            Some(values).filter(|values| values.len() == columns)
        };
        Some(Standardiser {
            mean: read("mean")?.into(),
            scale: read("scale")?.into(),
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
        let views = self.0.iter().map(|(name, (dtype, shape, bytes))| {
            let view = TensorView::new(*dtype, shape.clone(), bytes)?;
            Ok((name.as_str(), view))
        });
        let views: Result<Vec<_>, safetensors::SafeTensorError> = views.collect();
        let bytes = views.and_then(|views| safetensors::serialize(views, Some(header)));
        bytes.map_err(|error| error.to_string())
    }

    /// Parses the bytes of [`to_bytes`](Self::to_bytes).
    pub fn from_bytes(bytes: &[u8]) -> Result<(Self, HashMap<String, String>), String> {
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
        let header = metadata.metadata().clone().unwrap_or_default();
        let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
        let tensors = file.tensors().into_iter().map(|(name, view)| {
            let tensor = (view.dtype(), view.shape().to_vec(), view.data().to_vec());
            (name, tensor)
        });
        Ok((Self(tensors.collect()), header))
    }
}
