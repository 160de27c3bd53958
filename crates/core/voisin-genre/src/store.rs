//! A genre model as one safetensors file, with everything except tensors as JSON in its header.

use std::{collections::HashMap, path::Path};

use ndarray::{Array1, Array2};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};

use super::{
    Fusion, Genre, GenreError, GenreModel, Near, PrecisionStep, Provenance, Quality, Settings,
    Space, Transform, fitted::Core, held_out::HeldOut,
};
use voisin_base::atomic_file;
use voisin_base::track::TrackId;
use voisin_learn::{Logistic, Standardiser};

/// Version of the layout; files of others are refused.
const VERSION: u32 = 3;
/// Key of the JSON in the header.
const KEY: &str = "voisin_genre";
/// Key of the BLAKE3 of that JSON and of the tensors' bytes in the order of their names.
const SEAL: &str = "blake3";

#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    provenance: Provenance,
    genres: Vec<(String, String)>,
    ids: Vec<TrackId>,
    groups: Vec<usize>,
    classes: Vec<Vec<usize>>,
    min_tracks: usize,
    settings: Settings,
    fusion: Fusion,
    precision: Vec<PrecisionStep>,
    quality: Quality,
    digest: String,
}

impl Stored {
    fn genres(&self) -> Vec<Genre> {
        self.genres
            .iter()
            .map(|(name, key)| Genre::from_parts(name.as_str(), key.as_str()))
            .collect()
    }

    /// Whether the training set is consistent with `n` vectors.
    fn fits(&self, n: usize) -> bool {
        let k = self.genres.len();
        n > 0
            && k > 1
            && self.genres().is_sorted()
            && [self.ids.len(), self.groups.len(), self.classes.len()] == [n; 3]
            && self
                .classes
                .iter()
                .all(|classes| !classes.is_empty() && classes.iter().all(|c| *c < k))
    }
}

impl GenreModel {
    /// Writes the model to `path` atomically (to a temporary file in the same folder, which is then
    /// renamed).
    pub fn save(&self, path: &Path, provenance: &Provenance) -> Result<(), GenreError> {
        let problem = |problem| GenreError::Model {
            path: path.to_owned(),
            problem,
        };
        let file = self.to_bytes(provenance).map_err(problem)?;
        atomic_file::write(path, file).map_err(|source| GenreError::Io {
            path: path.to_owned(),
            source,
        })
    }

    /// The contents of the file.
    pub(super) fn to_bytes(&self, provenance: &Provenance) -> Result<Vec<u8>, String> {
        let mut tensors: Vec<(String, Vec<usize>, Vec<f32>)> = Vec::new();
        let raw = self.core.raw.as_standard_layout();
        tensors.push((
            "raw".into(),
            raw.shape().to_vec(),
            raw.iter().copied().collect(),
        ));
        push_space(&mut tensors, "space", &self.core.space);
        if let Some(head) = &self.core.head {
            push_standard(&mut tensors, "head", &head.standard);
            let weight = head.weight.iter().copied().collect();
            tensors.push(("head.weight".into(), head.weight.shape().to_vec(), weight));
            tensors.push((
                "head.bias".into(),
                vec![head.bias.len()],
                head.bias.to_vec(),
            ));
        }
        let held = &self.held;
        for (name, values) in [
            ("fused", &held.fused),
            ("head", &held.head),
            ("votes", &held.votes),
        ] {
            let values = values.as_standard_layout();
            tensors.push((
                format!("held.{name}"),
                values.shape().to_vec(),
                values.iter().copied().collect(),
            ));
        }
        tensors.push((
            "held.novelty".into(),
            vec![held.novelty.len()],
            held.novelty.to_vec(),
        ));
        let near = || held.voters.iter().flatten();
        // Lengths and rows as floats, so that all tensors have one type; integers are exact up to
        // 2²⁴.
        let counts: Vec<f32> = held
            .voters
            .iter()
            .map(|voters| voters.len() as f32)
            .collect();
        for (name, values) in [
            ("voters", counts),
            ("voter", near().map(|near| near.row as f32).collect()),
            ("similarity", near().map(|near| near.similarity).collect()),
        ] {
            tensors.push((format!("held.{name}"), vec![values.len()], values));
        }
        // Sorted by name, so that the checksum does not depend on their order above.
        tensors.sort_by(|a, b| a.0.cmp(&b.0));
        let bytes: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
            .into_iter()
            .map(|(name, shape, values)| {
                (
                    name,
                    shape,
                    values.iter().flat_map(|v| v.to_le_bytes()).collect(),
                )
            })
            .collect();
        let stored = Stored {
            version: VERSION,
            provenance: provenance.clone(),
            genres: self
                .genres
                .iter()
                .map(|g| (g.name().to_owned(), g.key().to_owned()))
                .collect(),
            ids: self.ids.clone(),
            groups: self.groups.clone(),
            classes: self.core.classes.clone(),
            min_tracks: self.min_tracks,
            settings: self.core.settings.clone(),
            fusion: self.fusion.clone(),
            precision: self.precision.clone(),
            quality: self.quality.clone(),
            digest: self.digest.clone(),
        };
        let json = serde_json::to_string(&stored).map_err(|e| e.to_string())?;
        let views = bytes
            .iter()
            .map(|(name, shape, data)| {
                Ok((
                    name.as_str(),
                    TensorView::new(Dtype::F32, shape.clone(), data)?,
                ))
            })
            .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
            .map_err(|e| e.to_string())?;
        let parts = bytes
            .iter()
            .map(|(name, _, data)| (name.as_str(), data.as_slice()));
        let seal = checksum(std::iter::once((KEY, json.as_bytes())).chain(parts));
        let header = HashMap::from([(KEY.to_owned(), json), (SEAL.to_owned(), seal)]);
        let mut file = safetensors::serialize(views, Some(header)).map_err(|e| e.to_string())?;
        // The header's metadata are in random order; sorted, the same model gives the same file.
        let length = file
            .first_chunk()
            .map_or(0, |bytes| u64::from_le_bytes(*bytes)) as usize;
        // Sorted text has the same length and fits into the header.
        let words = file.get_mut(8..8 + length).unwrap_or_default();
        let sorted: serde_json::Value = serde_json::from_slice(words).map_err(|e| e.to_string())?;
        words
            .iter_mut()
            .zip(sorted.to_string().bytes())
            .for_each(|(to, byte)| *to = byte);
        Ok(file)
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

    pub(super) fn from_bytes(
        bytes: &[u8],
        fingerprint: &str,
    ) -> Result<(Self, Provenance), String> {
        let damaged = |e: &dyn std::fmt::Display| format!("damaged ({e})");
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| damaged(&e))?;
        let metadata = |key: &str| header.metadata().as_ref().and_then(|m| m.get(key));
        let json = metadata(KEY).ok_or("not a genre model of voisin")?;
        // The version first, since a file of another layout may lack the other fields.
        let version = serde_json::from_str::<serde_json::Value>(json)
            .ok()
            .and_then(|v| v.get("version")?.as_u64())
            .ok_or("damaged (its header has no version)")?;
        if version != u64::from(VERSION) {
            return Err(format!(
                "its layout is version {version}, this program reads version {VERSION}"
            ));
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
        let file = SafeTensors::deserialize(bytes).map_err(|e| damaged(&e))?;
        let mut names = file.names();
        names.sort_unstable();
        let mut all = vec![(KEY, json.as_bytes())];
        for name in names {
            let tensor = file.tensor(name).map_err(|e| damaged(&e))?;
            all.push((name, tensor.data()));
        }
        // Before any number is used, so that a damaged model is refused.
        if metadata(SEAL) != Some(&checksum(all.into_iter())) {
            return Err("damaged (its numbers do not match their checksum)".into());
        }
        let model = Self::assemble(&file, stored);
        Ok((
            model.ok_or("damaged (its parts do not fit together)")?,
            provenance,
        ))
    }

    /// `None` if the parts are inconsistent.
    fn assemble(file: &SafeTensors, stored: Stored) -> Option<Self> {
        let settings = &stored.settings;
        let raw = matrix(file, "raw")?;
        let (n, d) = raw.dim();
        let genres = stored.genres();
        let k = genres.len();
        let classes = settings.head_classes.len();
        // All dimensions are compared, because the checksum detects damage, not inconsistent
        // contents.
        let fits = stored.fits(n)
            && settings.head_classes.iter().all(|c| *c < k)
            && settings.head_classes.is_sorted()
            && classes != 1
            && settings.vote.k > 0
            && settings.vote.temperature > 0.0;
        if !fits {
            return None;
        }
        let head = if classes > 0 {
            let weight = matrix(file, "head.weight")?;
            let bias = vector(file, "head.bias")?;
            if weight.dim() != (classes, d) || bias.len() != classes {
                return None;
            }
            Some(Logistic {
                standard: standard(file, "head", d)?,
                weight,
                bias,
            })
        } else {
            None
        };
        let space = space(file, "space", settings.vote.transform, d)?;
        let held = HeldOut::new(
            stored.ids.clone(),
            genres.clone(),
            [
                matrix(file, "held.fused")?,
                matrix(file, "held.head")?,
                matrix(file, "held.votes")?,
            ],
            vector(file, "held.novelty")?,
            held_voters(file)?,
        );
        if !held.is_whole() {
            return None;
        }
        Some(Self {
            held,
            core: Core::assemble(stored.settings, space, head, raw, stored.classes, k),
            genres,
            ids: stored.ids,
            groups: stored.groups,
            fusion: stored.fusion,
            precision: stored.precision,
            quality: stored.quality,
            digest: stored.digest,
            min_tracks: stored.min_tracks,
        })
    }
}

/// The voters in the folds; `None` if the lists are inconsistent.
fn held_voters(file: &SafeTensors) -> Option<Vec<Vec<Near>>> {
    let [counts, rows, similarities] =
        ["voters", "voter", "similarity"].map(|name| vector(file, &format!("held.{name}")));
    let counts = counts?;
    let rows = rows?;
    let similarities = similarities?;
    let all: Vec<Near> = rows
        .iter()
        .zip(&similarities)
        .map(|(&row, &similarity)| Near {
            row: row as usize,
            similarity,
        })
        .collect();
    let mut left = &all[..];
    let mut voters = Vec::new();
    for &count in &counts {
        let (voters_of_track, rest) = left.split_at_checked(count as usize)?;
        voters.push(voters_of_track.to_vec());
        left = rest;
    }
    (left.is_empty() && rows.len() == similarities.len()).then_some(voters)
}

fn push_standard(
    tensors: &mut Vec<(String, Vec<usize>, Vec<f32>)>,
    prefix: &str,
    standard: &Standardiser,
) {
    for (name, values) in [("mean", &standard.mean), ("scale", &standard.scale)] {
        tensors.push((
            format!("{prefix}.{name}"),
            vec![values.len()],
            values.to_vec(),
        ));
    }
}

fn push_space(tensors: &mut Vec<(String, Vec<usize>, Vec<f32>)>, prefix: &str, space: &Space) {
    push_standard(tensors, prefix, &space.standard);
    if let Some(whitener) = &space.whitener {
        tensors.push((
            format!("{prefix}.whitener"),
            whitener.shape().to_vec(),
            whitener.iter().copied().collect(),
        ));
    }
}

fn checksum<'a>(tensors: impl Iterator<Item = (&'a str, &'a [u8])>) -> String {
    let mut hasher = blake3::Hasher::new();
    for (name, data) in tensors {
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

fn vector(file: &SafeTensors, name: &str) -> Option<Array1<f32>> {
    let (shape, values) = values(file, name)?;
    (shape.len() == 1).then(|| Array1::from_vec(values))
}

fn standard(file: &SafeTensors, prefix: &str, d: usize) -> Option<Standardiser> {
    let mean = vector(file, &format!("{prefix}.mean"))?;
    let scale = vector(file, &format!("{prefix}.scale"))?;
    ([mean.len(), scale.len()] == [d; 2]).then_some(Standardiser { mean, scale })
}

fn space(file: &SafeTensors, prefix: &str, transform: Transform, d: usize) -> Option<Space> {
    let name = format!("{prefix}.whitener");
    let whitener = match file.tensor(&name) {
        Ok(_) => Some(matrix(file, &name)?),
        Err(_) => None,
    };
    let fits = whitener.as_ref().is_none_or(|w| w.dim() == (d, d));
    fits.then_some(Space {
        transform,
        standard: standard(file, prefix, d)?,
        whitener,
    })
}
