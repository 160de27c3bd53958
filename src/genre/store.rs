//! A genre model as one safetensors file, with everything except tensors as JSON in its header.

use std::{collections::HashMap, path::Path};

use ndarray::{Array1, Array2};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};

use super::{
    Familiarity, Genre, GenreError, GenreModel, Provenance, Quality, head::Head, model::rows_of,
    quality::PrecisionStep,
};
use super::{Logistic, Standardiser};
use voisin_base::atomic_file;
use voisin_base::track::TrackId;

/// Key of the checksum and the JSON in the header. One key alone: the header's order of several
/// is random, and the same model gives the same file.
const KEY: &str = "voisin_genre_5";
/// Length of a BLAKE3 in hexadecimal.
const SEAL: usize = 64;

#[derive(Serialize, Deserialize)]
struct Stored {
    provenance: Provenance,
    genres: Vec<(String, String)>,
    ids: Vec<TrackId>,
    dimension: usize,
    /// Classes of the head; empty without one.
    head: Vec<usize>,
    penalty: f64,
    scale: f64,
    familiarity: Familiarity,
    precision: Vec<PrecisionStep>,
    quality: Quality,
    digest: String,
}

impl GenreModel {
    /// Writes the model to `path` atomically (to a temporary file in the same folder, which is then
    /// renamed).
    pub fn save(&self, path: &Path, provenance: &Provenance) -> Result<(), GenreError> {
        let file = self
            .to_bytes(provenance)
            .map_err(|problem| GenreError::Model {
                path: path.to_owned(),
                problem,
            })?;
        atomic_file::write(path, file).map_err(|source| GenreError::Io {
            path: path.to_owned(),
            source,
        })
    }

    /// The contents of the file.
    fn to_bytes(&self, provenance: &Provenance) -> Result<Vec<u8>, String> {
        let mut tensors = vec![matrix_bytes("held", &self.held)];
        if let Some(Head { regression, .. }) = &self.head {
            let standard = &regression.standard;
            tensors.push(vector_bytes("bias", &regression.bias));
            tensors.push(vector_bytes("mean", &standard.mean));
            tensors.push(vector_bytes("scale", &standard.scale));
            tensors.push(matrix_bytes("weight", &regression.weight));
        }
        // By name, as they are read.
        tensors.sort_by_key(|(name, ..)| *name);
        let stored = Stored {
            provenance: provenance.clone(),
            genres: self
                .genres
                .iter()
                .map(|g| (g.name().to_owned(), g.key().to_owned()))
                .collect(),
            ids: self.ids.clone(),
            dimension: self.dimension,
            head: self
                .head
                .as_ref()
                .map_or_else(Vec::new, |head| head.classes.clone()),
            penalty: self.penalty,
            scale: self.scale,
            familiarity: self.familiarity.clone(),
            precision: self.precision.clone(),
            quality: self.quality.clone(),
            digest: self.digest.clone(),
        };
        let json = serde_json::to_string(&stored).map_err(|e| e.to_string())?;
        let views = tensors
            .iter()
            .map(|(name, shape, data)| {
                Ok((*name, TensorView::new(Dtype::F32, shape.clone(), data)?))
            })
            .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
            .map_err(|e| e.to_string())?;
        let parts = tensors.iter().map(|(name, _, data)| (*name, &data[..]));
        let seal = checksum(&json, parts);
        let header = HashMap::from([(KEY.to_owned(), format!("{seal}{json}"))]);
        safetensors::serialize(views, Some(header)).map_err(|e| e.to_string())
    }

    /// Reads and validates a model.
    ///
    /// Refuses files of another layout, damaged ones, and those trained on vectors of another encoder
    /// than `fingerprint`.
    pub fn load(path: &Path, fingerprint: &str) -> Result<(Self, Provenance), GenreError> {
        let bytes = std::fs::read(path).map_err(|source| GenreError::Io {
            path: path.to_owned(),
            source,
        })?;
        Self::from_bytes(&bytes, fingerprint).map_err(|problem| GenreError::Model {
            path: path.to_owned(),
            problem,
        })
    }

    fn from_bytes(bytes: &[u8], fingerprint: &str) -> Result<(Self, Provenance), String> {
        let damaged = |e: &dyn std::fmt::Display| format!("damaged ({e})");
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| damaged(&e))?;
        let text = header.metadata().as_ref().and_then(|m| m.get(KEY));
        let (seal, json) = text
            .and_then(|text| text.split_at_checked(SEAL))
            .ok_or("no genre model of this version of voisin")?;
        let file = SafeTensors::deserialize(bytes).map_err(|e| damaged(&e))?;
        let mut names = file.names();
        names.sort_unstable();
        let tensors = names
            .into_iter()
            .map(|name| Ok((name, file.tensor(name)?.data())))
            .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
            .map_err(|e| damaged(&e))?;
        // Before any number is used, so that a damaged model is refused.
        if seal != checksum(json, tensors.into_iter()) {
            return Err("damaged (its numbers do not match their checksum)".into());
        }
        let stored: Stored = serde_json::from_str(json).map_err(|e| damaged(&e))?;
        let provenance = stored.provenance.clone();
        // Vectors of another encoder may have the same dimension and would give meaningless results.
        if provenance.fingerprint != fingerprint {
            return Err(format!(
                "trained on vectors of model {}, this library's are from {fingerprint}",
                provenance.fingerprint
            ));
        }
        let model = Self::assemble(&file, stored);
        Ok((
            model.ok_or("damaged (its parts do not fit together)")?,
            provenance,
        ))
    }

    /// `None` if the parts are inconsistent: the checksum detects damage, not inconsistent contents.
    fn assemble(file: &SafeTensors, stored: Stored) -> Option<Self> {
        let genres: Vec<Genre> = stored
            .genres
            .iter()
            .map(|(name, key)| Genre::from_parts(name.as_str(), key.as_str()))
            .collect();
        let classes = stored.head;
        let d = stored.dimension;
        let held = matrix(file, "held")?;
        let fits = genres.len() > 1
            && genres.is_sorted()
            && classes.iter().all(|class| *class < genres.len())
            && classes.is_sorted()
            && held.dim() == (stored.ids.len(), classes.len());
        if !fits {
            return None;
        }
        let head = if classes.is_empty() {
            None
        } else {
            let regression = Logistic {
                standard: Standardiser {
                    mean: vector(file, "mean", d)?,
                    scale: vector(file, "scale", d)?,
                },
                weight: matrix(file, "weight").filter(|w| w.dim() == (classes.len(), d))?,
                bias: vector(file, "bias", classes.len())?,
            };
            Some(Head {
                regression,
                classes,
            })
        };
        Some(Self {
            genres,
            head,
            penalty: stored.penalty,
            scale: stored.scale,
            familiarity: stored.familiarity,
            precision: stored.precision,
            quality: stored.quality,
            digest: stored.digest,
            dimension: d,
            row_of: rows_of(&stored.ids),
            ids: stored.ids,
            held,
        })
    }
}

/// A tensor's name, shape and bytes.
type TensorBytes = (&'static str, Vec<usize>, Vec<u8>);

fn matrix_bytes(name: &'static str, values: &Array2<f32>) -> TensorBytes {
    let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    (name, values.shape().to_vec(), bytes)
}

fn vector_bytes(name: &'static str, values: &Array1<f32>) -> TensorBytes {
    let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    (name, vec![values.len()], bytes)
}

fn checksum<'a>(json: &'a str, tensors: impl Iterator<Item = (&'a str, &'a [u8])>) -> String {
    let mut hasher = blake3::Hasher::new();
    for (name, data) in std::iter::once((KEY, json.as_bytes())).chain(tensors) {
        hasher.update(name.as_bytes());
        hasher.update(&(data.len() as u64).to_le_bytes());
        hasher.update(data);
    }
    hasher.finalize().to_hex().to_string()
}

fn values(file: &SafeTensors, name: &str) -> Option<(Vec<usize>, Vec<f32>)> {
    let tensor = file.tensor(name).ok()?;
    if tensor.dtype() != Dtype::F32 {
        return None;
    }
    let values: Vec<f32> = tensor
        .data()
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect();
    // One NaN would spread to all predictions.
    values
        .iter()
        .all(|v| v.is_finite())
        .then(|| (tensor.shape().to_vec(), values))
}

fn matrix(file: &SafeTensors, name: &str) -> Option<Array2<f32>> {
    let (shape, values) = values(file, name)?;
    let [rows, columns] = shape[..] else {
        return None;
    };
    Array2::from_shape_vec((rows, columns), values).ok()
}

fn vector(file: &SafeTensors, name: &str, length: usize) -> Option<Array1<f32>> {
    let (_, values) = values(file, name)?;
    (values.len() == length).then(|| Array1::from_vec(values))
}
