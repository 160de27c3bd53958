//! A genre model as one file: safetensors, everything that is not a tensor as JSON in its header.

use std::{collections::HashMap, path::Path};

use candle_core::{Device, Tensor};
use ndarray::{Array1, Array2};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};

use super::{
    Fusion, Genre, GenreError, GenreModel, Head, PrecisionStep, Provenance, Quality, Settings, Space,
    Transform, core::Core, member::Member,
};
use crate::base::atomic_file;
use crate::track::TrackId;

/// Layout of the file; others are refused.
const VERSION: u32 = 1;
/// Key of the JSON in the header.
const KEY: &str = "voisin_genre";

#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    provenance: Provenance,
    genres: Vec<(String, String)>,
    ids: Vec<TrackId>,
    groups: Vec<usize>,
    classes: Vec<Vec<usize>>,
    settings: Settings,
    layers: Vec<usize>,
    fusion: Fusion,
    precision: Vec<PrecisionStep>,
    quality: Quality,
    digest: String,
    min_tracks: usize,
    /// BLAKE3 of the tensors' bytes in the order of their names.
    checksum: String,
}

impl GenreModel {
    /// Writes the model to `path`, whole or not at all (a temporary file in the same folder, then a rename).
    pub fn save(&self, path: &Path, provenance: &Provenance) -> Result<(), GenreError> {
        let io = |source| GenreError::Io { path: path.to_owned(), source };
        let mut tensors: Vec<(String, Vec<usize>, Vec<f32>)> = Vec::new();
        let raw = self.core.raw.as_standard_layout();
        tensors.push(("raw".into(), raw.shape().to_vec(), raw.iter().copied().collect()));
        push_space(&mut tensors, "space", &self.core.space);
        let mut layers = Vec::new();
        for (i, member) in self.core.members.iter().enumerate() {
            push_space(&mut tensors, &format!("head.{i}.space"), &member.space);
            let parts = member.head.tensors(&format!("head.{i}"));
            layers.push(parts.len() / 2);
            for (name, tensor) in parts {
                let shape = tensor.dims().to_vec();
                tensors.push((name, shape, tensor.flatten_all()?.to_vec1()?));
            }
        }
        tensors.sort_by(|a, b| a.0.cmp(&b.0));
        let bytes: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
            .into_iter()
            .map(|(name, shape, values)| (name, shape, values.iter().flat_map(|v| v.to_le_bytes()).collect()))
            .collect();
        let stored = Stored {
            version: VERSION,
            provenance: provenance.clone(),
            genres: self.genres.iter().map(|g| (g.name().to_owned(), g.key().to_owned())).collect(),
            ids: self.ids.clone(),
            groups: self.groups.clone(),
            classes: self.core.classes.clone(),
            settings: self.core.settings.clone(),
            layers,
            fusion: self.fusion.clone(),
            precision: self.precision.clone(),
            quality: self.quality.clone(),
            digest: self.digest.clone(),
            min_tracks: self.min_tracks,
            checksum: checksum(bytes.iter().map(|(name, _, data)| (name.as_str(), data.as_slice()))),
        };
        let problem =
            |e: &dyn std::fmt::Display| GenreError::Model { path: path.to_owned(), problem: e.to_string() };
        let json = serde_json::to_string(&stored).map_err(|e| problem(&e))?;
        let views = bytes
            .iter()
            .map(|(name, shape, data)| Ok((name.as_str(), TensorView::new(Dtype::F32, shape.clone(), data)?)))
            .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
            .map_err(|e| problem(&e))?;
        let header = HashMap::from([(KEY.to_owned(), json)]);
        let file = safetensors::serialize(views, Some(header)).map_err(|e| problem(&e))?;
        atomic_file::write(path, file).map_err(io)
    }

    /// Reads a model; every number is checked before it is used.
    ///
    /// Refuses files of another layout, damaged ones, and those trained on another encoder's vectors than
    /// `fingerprint`.
    pub fn load(path: &Path, fingerprint: &str) -> Result<(Self, Provenance), GenreError> {
        let bytes = std::fs::read(path).map_err(|source| GenreError::Io { path: path.to_owned(), source })?;
        Self::from_bytes(&bytes, fingerprint)
            .map_err(|problem| GenreError::Model { path: path.to_owned(), problem })
    }

    fn from_bytes(bytes: &[u8], fingerprint: &str) -> Result<(Self, Provenance), String> {
        let say = |e: &dyn std::fmt::Display| format!("damaged ({e})");
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| say(&e))?;
        let json = header
            .metadata()
            .as_ref()
            .and_then(|m| m.get(KEY))
            .ok_or("not a genre model: its header says nothing of voisin")?;
        let version = serde_json::from_str::<serde_json::Value>(json)
            .ok()
            .and_then(|v| v.get("version")?.as_u64())
            .ok_or("damaged (its header has no version)")?;
        if version != u64::from(VERSION) {
            return Err(format!("its layout is version {version}, this program reads version {VERSION}"));
        }
        let stored: Stored = serde_json::from_str(json).map_err(|e| say(&e))?;
        let provenance = stored.provenance.clone();
        if provenance.fingerprint != fingerprint {
            return Err(format!(
                "trained on vectors of model {}, this library's are from {fingerprint}",
                provenance.fingerprint
            ));
        }
        let file = SafeTensors::deserialize(bytes).map_err(|e| say(&e))?;
        let mut names = file.names();
        names.sort_unstable();
        let mut all = Vec::new();
        for name in names {
            let tensor = file.tensor(name).map_err(|e| say(&e))?;
            all.push((name, tensor.data()));
        }
        if checksum(all.into_iter()) != stored.checksum {
            return Err("damaged (its numbers do not match their checksum)".into());
        }
        let model = Self::assemble(&file, stored);
        Ok((model.ok_or("damaged (its parts do not fit together)")?, provenance))
    }

    /// `None` if anything does not fit.
    fn assemble(file: &SafeTensors, stored: Stored) -> Option<Self> {
        let genres: Vec<Genre> =
            stored.genres.into_iter().map(|(name, key)| Genre::from_parts(name, key)).collect();
        let raw = matrix(file, "raw")?;
        let (n, d) = raw.dim();
        let settings = stored.settings;
        let k = genres.len();
        let fits = n > 0
            && k > 1
            && genres.is_sorted()
            && stored.ids.len() == n
            && stored.groups.len() == n
            && stored.classes.len() == n
            && stored.classes.iter().all(|c| !c.is_empty() && c.iter().all(|c| *c < k))
            && settings.head_classes.iter().all(|c| *c < k)
            && settings.head_classes.is_sorted()
            && settings.members.len() == stored.layers.len()
            && settings.vote.k > 0
            && settings.vote.temperature > 0.0;
        if !fits {
            return None;
        }
        let space = space(file, "space", settings.vote.transform, d)?;
        let members = settings
            .members
            .iter()
            .zip(&stored.layers)
            .enumerate()
            .map(|(i, (member, &layers))| {
                let tensors = (0..layers)
                    .map(|l| {
                        let weight = matrix(file, &format!("head.{i}.{l}.weight"))?;
                        let bias = vector(file, &format!("head.{i}.{l}.bias"))?;
                        let weight =
                            Tensor::from_vec(weight.iter().copied().collect(), weight.dim(), &Device::Cpu)
                                .ok()?;
                        let bias = Tensor::from_vec(bias.to_vec(), bias.len(), &Device::Cpu).ok()?;
                        Some((weight, bias))
                    })
                    .collect::<Option<Vec<_>>>()?;
                Some(Member {
                    unit: member.unit,
                    space: self::space(file, &format!("head.{i}.space"), member.transform, d)?,
                    head: Head::from_tensors(tensors, d, settings.head_classes.len())?,
                })
            })
            .collect::<Option<Vec<_>>>()?;
        Some(Self {
            core: Core::assemble(settings, space, members, raw, stored.classes, k),
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

fn push_space(tensors: &mut Vec<(String, Vec<usize>, Vec<f32>)>, prefix: &str, space: &Space) {
    for (name, values) in [("mean", &space.mean), ("scale", &space.scale)] {
        tensors.push((format!("{prefix}.{name}"), vec![values.len()], values.to_vec()));
    }
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
    let values: Vec<f32> =
        tensor.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
    values.iter().all(|v| v.is_finite()).then(|| (tensor.shape().to_vec(), values))
}

fn matrix(file: &SafeTensors, name: &str) -> Option<Array2<f32>> {
    let (shape, values) = values(file, name)?;
    let [rows, columns] = shape[..] else { return None };
    Array2::from_shape_vec((rows, columns), values).ok()
}

fn vector(file: &SafeTensors, name: &str) -> Option<Array1<f32>> {
    let (shape, values) = values(file, name)?;
    (shape.len() == 1).then(|| Array1::from_vec(values))
}

fn space(file: &SafeTensors, prefix: &str, transform: Transform, d: usize) -> Option<Space> {
    let name = format!("{prefix}.whitener");
    let whitener = match file.tensor(&name) {
        Ok(_) => Some(matrix(file, &name)?),
        Err(_) => None,
    };
    let space = Space {
        transform,
        mean: vector(file, &format!("{prefix}.mean"))?,
        scale: vector(file, &format!("{prefix}.scale"))?,
        whitener,
    };
    let fits = space.mean.len() == d
        && space.scale.len() == d
        && space.whitener.as_ref().is_none_or(|w| w.dim() == (d, d));
    fits.then_some(space)
}
