//! Exports a checkpoint as a model that voisin loads.

use std::collections::HashMap;
use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use half::f16;
use safetensors::Dtype;
use sha2::{Digest as _, Sha256};
use voisin_base::atomic_file;
use voisin_encoder::openl3::{self, OPENL3_WIDTHS};
use voisin_encoder::{Architecture, ModelManifest, ModelOutput, ModelRef, models, models_dir};
use voisin_lab::training::session::{StoredTensor, write_safetensors};

use crate::checkpoint::Checkpoint;
use crate::layout::spans;
use crate::{ExportArgs, Weighted};

/// The scale of tag logits in the search vector: a hundred of them change its direction by less than a thousandth.
const TAGS_SCALE: f32 = 0.02;
/// Numbers of an embedding and of a search vector.
const DIMENSION: usize = OPENL3_WIDTHS[7];

/// Writes the averaged weights, kernels in f16, all else in f32.
///
/// Two linear layers are added: `projection.{weight, bias}` (512 → 512), which maps an embedding to the z-scored
/// penultimate layers of the teachers of `--frame`, each times its weight; and `told.{weight, bias}`, which decodes the
/// tag logits of all teachers whose tags have names from further rows of the search vector, scaled so that angles hardly
/// change. More than 512 rows are folded into 512 that preserve the angles between vectors (the triangular factor of a QR
/// decomposition), up to a constant that all vectors share.
///
/// - returns: the manifest's path
pub fn export(args: &ExportArgs) -> anyhow::Result<PathBuf> {
    let state = Checkpoint::load(&args.checkpoint)?;
    let run = &state.run;
    let mut tensors: Vec<StoredTensor> = Vec::new();
    for (name, one) in openl3::weights(&state.average).iter() {
        tensors.push(tensor(name, &one.shape, &one.values));
    }
    let head = &state.head_average;
    let (weight, bias) = head.parameters.split_at(head.outputs * DIMENSION);
    let row = |output: usize| &weight[output * DIMENSION..][..DIMENSION];
    let frames = if args.frame.is_empty() {
        vec![Weighted(run.teachers[0].name.clone(), 1.0)]
    } else {
        args.frame.clone()
    };
    let mut rows = Vec::new();
    for Weighted(name, share) in &frames {
        let found = spans(&run.teachers).find(|(teacher, _)| teacher.name == *name);
        let (teacher, at) = found.with_context(|| format!("--frame: no teacher {name}"))?;
        for output in at..at + teacher.penultimate {
            let values = row(output).iter().chain([&bias[output]]);
            let share = f64::from(*share);
            rows.push(values.map(|&x| share * f64::from(x)).collect());
        }
    }
    let mut used = rows.len().min(DIMENSION);
    let (mut projection, mut offset) = fold(rows, DIMENSION);
    let mut told = (Vec::new(), Vec::new());
    let mut named = Vec::new();
    for (teacher, at) in spans(&run.teachers) {
        let names = tag_names(&teacher.name).filter(|names| names.len() == teacher.tags);
        let Some(names) = names else { continue };
        ensure!(
            used + names.len() <= DIMENSION,
            "the tags of {} do not fit beside {used} rows",
            teacher.name
        );
        for output in at + teacher.penultimate..at + teacher.outputs() {
            let to = &mut projection[used * DIMENSION..][..DIMENSION];
            to.iter_mut()
                .zip(row(output))
                .for_each(|(to, from)| *to = TAGS_SCALE * from);
            offset[used] = TAGS_SCALE * bias[output];
            // Decodes the row to a logit: undoes the scale, then the z-score.
            let mut reader = vec![0.0; DIMENSION];
            reader[used] = state.deviation[output] / TAGS_SCALE;
            told.0.extend(reader);
            told.1.push(state.mean[output]);
            used += 1;
        }
        named.push((teacher.name.clone(), names));
    }
    let square = [DIMENSION, DIMENSION];
    tensors.push(tensor("projection.weight", &square, &projection));
    tensors.push(tensor("projection.bias", &[DIMENSION], &offset));
    if !named.is_empty() {
        tensors.push(tensor("told.weight", &[told.1.len(), DIMENSION], &told.0));
        tensors.push(tensor("told.bias", &[told.1.len()], &told.1));
    }
    std::fs::create_dir_all(&args.output)?;
    let weights = format!("{}.safetensors", args.name);
    let path = args.output.join(&weights);
    write_safetensors(&path, &tensors, HashMap::new()).map_err(anyhow::Error::msg)?;
    let mut named = named.into_iter();
    let tags = named.next().map(|(_, names)| names);
    let outputs: Vec<ModelOutput> = named
        .map(|(name, labels)| distinct_labels(name, labels, tags.as_deref()))
        .collect();
    let teachers: Vec<&str> = run.teachers.iter().map(|one| one.name.as_str()).collect();
    let manifest = ModelManifest {
        name: args.name.clone(),
        description: "an OpenL3-shaped network that learnt from other models".to_owned(),
        licence: args.licence.clone(),
        provenance: format!(
            "{}; {} windows of {} tracks seen, teachers {}, trained at widths {:?}",
            args.provenance,
            run.windows + run.windows_before,
            run.tracks,
            teachers.join(" and "),
            run.widths
        ),
        weights,
        // Read back, so that the digest is of the bytes on disk.
        weights_sha256: hex(&Sha256::digest(std::fs::read(&path)?)),
        tags,
        outputs,
        ..ModelManifest::random(Architecture::OpenL3, 0)
    };
    // The manifest last, so that a listed model has its weights.
    let card = args.output.join(format!("{}.json", args.name));
    atomic_file::write(&card, serde_json::to_string_pretty(&manifest)? + "\n")?;
    Ok(card)
}

/// Matrices make up nearly all of the file, so only these are f16.
fn tensor(name: &str, shape: &[usize], values: &[f32]) -> StoredTensor {
    let (dtype, bytes) = if shape.len() > 1 {
        let halves = values.iter().map(|&x| f16::from_f32(x));
        (Dtype::F16, halves.flat_map(f16::to_le_bytes).collect())
    } else {
        let bytes = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        (Dtype::F32, bytes)
    };
    (name.to_owned(), dtype, shape.to_vec(), bytes)
}

/// The names of a teacher's tags, from its manifest or that of a model that contains it.
fn tag_names(teacher: &str) -> Option<Vec<String>> {
    let names = ModelRef::Name(teacher.to_owned())
        .manifest()
        .ok()
        .and_then(|manifest| manifest.tags);
    // A teacher may be part of an installed model without being a model itself.
    names.or_else(|| {
        let cards = models(models_dir().as_deref())
            .into_iter()
            .filter_map(Result::ok);
        let mut outputs = cards.flat_map(|entry| entry.manifest.outputs);
        outputs
            .find(|output| output.name == teacher)
            .map(|output| output.labels)
    })
}

/// An output with labels distinct from `tags`: duplicates get the output's name as a prefix.
fn distinct_labels(name: String, mut labels: Vec<String>, tags: Option<&[String]>) -> ModelOutput {
    let is_tag = |label: &str| {
        tags.unwrap_or_default()
            .iter()
            .any(|tag| tag.eq_ignore_ascii_case(label))
    };
    for label in labels.iter_mut().filter(|label| is_tag(label)) {
        *label = format!("{name} {label}");
    }
    ModelOutput { name, labels }
}

/// At most `dimension` rows that preserve products between vectors, as a matrix `[dimension][dimension]` and offsets.
fn fold(mut rows: Vec<Vec<f64>>, dimension: usize) -> (Vec<f32>, Vec<f32>) {
    let width = dimension + 1;
    if rows.len() > dimension {
        // Householder's triangularisation, since rotations of the rows preserve products.
        for column in 0..width {
            let length = rows[column..]
                .iter()
                .map(|row| row[column] * row[column])
                .sum::<f64>()
                .sqrt();
            // The column is 0 already.
            if length == 0.0 {
                continue;
            }
            let pivot = rows[column][column];
            let mut mirror: Vec<f64> = rows[column..].iter().map(|row| row[column]).collect();
            // Away from zero, so that nothing cancels if the column already points along its first axis.
            mirror[0] += length.copysign(pivot);
            let square: f64 = mirror.iter().map(|x| x * x).sum();
            for other in column..width {
                let along: f64 = rows[column..]
                    .iter()
                    .zip(&mirror)
                    .map(|(row, m)| row[other] * m)
                    .sum();
                for (row, m) in rows[column..].iter_mut().zip(&mirror) {
                    row[other] -= 2.0 * along / square * m;
                }
            }
            if column + 1 >= rows.len() {
                break;
            }
        }
    }
    rows.truncate(dimension);
    let mut matrix = vec![0.0; dimension * dimension];
    let mut offsets = vec![0.0; dimension];
    for (i, row) in rows.iter().enumerate() {
        for (to, from) in matrix[i * dimension..].iter_mut().zip(&row[..dimension]) {
            *to = *from as f32;
        }
        offsets[i] = row[dimension] as f32;
    }
    (matrix, offsets)
}

/// Lower-case hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use voisin_base::random::Random;

    #[test]
    fn folded_rows_keep_distances() {
        let mut random = Random::stream(3, 3);
        let dimension = 12;
        let count = 31;
        let rows: Vec<Vec<f64>> = (0..count)
            .map(|_| (0..=dimension).map(|_| random.normal()).collect())
            .collect();
        let points: Vec<Vec<f64>> = (0..5)
            .map(|_| (0..dimension).map(|_| random.normal()).collect())
            .collect();
        let at = |row: &[f64], x: &[f64]| -> f64 {
            row[..dimension]
                .iter()
                .zip(x)
                .map(|(a, b)| a * b)
                .sum::<f64>()
                + row[dimension]
        };
        let (matrix, offsets) = fold(rows.clone(), dimension);
        let folded: Vec<Vec<f64>> = (0..dimension)
            .map(|i| {
                let row = matrix[i * dimension..][..dimension]
                    .iter()
                    .chain([&offsets[i]]);
                row.map(|&x| f64::from(x)).collect()
            })
            .collect();
        let distance = |rows: &[Vec<f64>], a: &[f64], b: &[f64]| -> f64 {
            rows.iter()
                .map(|row| (at(row, a) - at(row, b)).powi(2))
                .sum::<f64>()
                .sqrt()
        };
        for pair in points.windows(2) {
            let before = distance(&rows, &pair[0], &pair[1]);
            let after = distance(&folded, &pair[0], &pair[1]);
            assert!((before / after - 1.0).abs() < 1e-5, "{before}, {after}");
        }
        // Few rows are not changed.
        let (matrix, offsets) = fold(rows[..3].to_vec(), dimension);
        assert_eq!(
            matrix[dimension..dimension + 2],
            [rows[1][0] as f32, rows[1][1] as f32]
        );
        assert_eq!(offsets[2..4], [rows[2][dimension] as f32, 0.0]);
    }
}
