//! From a checkpoint to a model that [`crate::encoder::Encoder`] loads.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use half::f16;
use safetensors::Dtype;
use sha2::{Digest, Sha256};

use super::cache::{PENULTIMATE, TAGS, TARGETS, write_safetensors};
use super::{Checkpoint, TrainError, widen};
use crate::encoder::conv::OPENL3_WIDTHS;
use crate::encoder::{Architecture, ModelManifest, ModelRef};

/// What a model is called and said to be.
#[derive(Debug, Clone, PartialEq)]
pub struct ExportOptions {
    /// The run's checkpoint.
    pub checkpoint: PathBuf,
    /// Folder of the model.
    pub out: PathBuf,
    /// The model's name: its files are `NAME.json` and `NAME.safetensors`.
    pub name: String,
    /// SPDX expression of the weights' licence.
    pub licence: String,
    /// What they were trained on; the run's own figures are added.
    pub provenance: String,
    /// Share of the tag logits in the search vector, beside 1 for the penultimate layer.
    pub tags_share: f32,
}

/// What was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Exported {
    /// The model's card.
    pub manifest: ModelManifest,
    /// Where it lies.
    pub path: PathBuf,
    /// Bytes of the weights.
    pub bytes: u64,
}

/// Writes the averaged weights at OpenL3's full width (a narrower network is widened without changing its function),
/// kernels in f16, all else in f32.
///
/// Two linear layers are added: `projection.{weight, bias}` (512 → 512), which turns an embedding into the first
/// teacher's frame: rows 0 to 199 are its z-scored penultimate layer, rows 200 to 249 its z-scored tag logits times
/// `tags_share`, the others are zero; and `tags.{weight, bias}` (512 → 50), its tag logits.
pub fn export(options: &ExportOptions) -> Result<Exported, TrainError> {
    let state = Checkpoint::load(&options.checkpoint)?;
    let (network, head) = widen(&state.average, &state.head_average, &OPENL3_WIDTHS, state.run.seed)?;
    let dimension = OPENL3_WIDTHS[7];
    let mut tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = Vec::new();
    let mut add = |name: &str, shape: &[usize], values: &[f32]| {
        let (dtype, bytes): (_, Vec<u8>) = if shape.len() > 1 {
            (Dtype::F16, values.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect())
        } else {
            (Dtype::F32, values.iter().flat_map(|x| x.to_le_bytes()).collect())
        };
        tensors.push((name.to_owned(), dtype, shape.to_vec(), bytes));
    };
    network.for_each(&mut add);
    let (weight, bias) = head.parameters.split_at(head.outputs * dimension);
    let mut projection = vec![0.0; dimension * dimension];
    let mut offset = vec![0.0; dimension];
    for i in 0..TARGETS {
        let share = if i < PENULTIMATE { 1.0 } else { options.tags_share };
        for (to, from) in projection[i * dimension..].iter_mut().zip(&weight[i * dimension..][..dimension]) {
            *to = share * from;
        }
        offset[i] = share * bias[i];
    }
    add("projection.weight", &[dimension, dimension], &projection);
    add("projection.bias", &[dimension], &offset);
    let mut tags = vec![0.0; TAGS * dimension];
    let mut tags_bias = vec![0.0; TAGS];
    for i in 0..TAGS {
        let (scale, shift) = (state.target_deviation[PENULTIMATE + i], state.target_mean[PENULTIMATE + i]);
        let row = &weight[(PENULTIMATE + i) * dimension..][..dimension];
        for (to, from) in tags[i * dimension..].iter_mut().zip(row) {
            *to = scale * from;
        }
        tags_bias[i] = scale * bias[PENULTIMATE + i] + shift;
    }
    add("tags.weight", &[TAGS, dimension], &tags);
    add("tags.bias", &[TAGS], &tags_bias);

    std::fs::create_dir_all(&options.out).map_err(TrainError::io(&options.out))?;
    let file = format!("{}.safetensors", options.name);
    let path = options.out.join(&file);
    write_safetensors(&path, &tensors, HashMap::new()).map_err(|e| TrainError::checkpoint(&path, e))?;
    let bytes = std::fs::read(&path).map_err(TrainError::io(&path))?;
    let run = &state.run;
    let manifest = ModelManifest {
        format: ModelManifest::FORMAT,
        name: options.name.clone(),
        description: "voisin's own weights: an OpenL3-shaped network that learnt from MusiCNN".to_owned(),
        architecture: Architecture::OpenL3,
        front_end: Architecture::OpenL3.front_end(),
        dimension,
        licence: options.licence.clone(),
        provenance: format!(
            "{}; {} windows of {} tracks seen{}, teachers {}, trained at widths {:?}",
            options.provenance,
            run.windows + run.windows_before,
            run.tracks,
            if run.windows_before > 0 { " over all stages" } else { "" },
            run.teachers.join(" and "),
            run.widths
        ),
        weights: file,
        weights_sha256: hex(&Sha256::digest(&bytes)),
        tags: run
            .teachers
            .first()
            .and_then(|teacher| ModelRef::Name(teacher.clone()).manifest().ok())
            .and_then(|teacher| teacher.tags),
    };
    let card = options.out.join(format!("{}.json", options.name));
    write_json(&card, &manifest)?;
    Ok(Exported { manifest, path: card, bytes: bytes.len() as u64 })
}

/// Lower-case hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

fn write_json(path: &Path, manifest: &ModelManifest) -> Result<(), TrainError> {
    let json = serde_json::to_string_pretty(manifest).map_err(|e| TrainError::checkpoint(path, e))? + "\n";
    let part = path.with_extension("part");
    std::fs::write(&part, json).and_then(|()| std::fs::rename(&part, path)).map_err(TrainError::io(path))
}
