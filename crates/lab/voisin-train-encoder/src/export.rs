//! Exports a checkpoint as a model that [`voisin_encoder::Encoder`] loads.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use half::f16;
use safetensors::Dtype;
use sha2::{Digest, Sha256};

use super::cache::TrainingSet;
use super::layout::Layout;
use super::refine::{self, WhiteningFigure};
use super::{Checkpoint, TrainError, widen};
use voisin_base::atomic_file;
use voisin_encoder::openl3::OPENL3_WIDTHS;
use voisin_encoder::{Architecture, ModelManifest, ModelOutput, ModelRef, models, models_dir};
use voisin_train::session::write_safetensors;

/// A model's name and description.
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
    /// The music of the training; the run's figures are added.
    pub provenance: String,
    /// Widens a narrow network to OpenL3's channels, without changing its function.
    pub full_width: bool,
    /// Share of the tag logits in the search vector, relative to 1 for the penultimate layer.
    pub tags_share: f32,
    /// Teachers whose penultimate layers make up the search vector, with weights; none: the first, with weight 1.
    pub frames: Vec<(String, f32)>,
    /// Teachers whose tags the model predicts; none: all whose tags have names.
    pub tag_teachers: Vec<String>,
    /// Prepared music to fit centring and whitening on; they are folded in only if they help on held-out groups.
    pub corpus: Option<PathBuf>,
}

/// The files written, and their figures.
#[derive(Debug, Clone, PartialEq)]
pub struct Exported {
    /// The model's manifest.
    pub manifest: ModelManifest,
    /// The manifest's path.
    pub path: PathBuf,
    /// Bytes of the weights.
    pub bytes: u64,
    /// Results of the whitenings tried on the search vector; empty without prepared music.
    pub whitening: Vec<WhiteningFigure>,
}

/// Writes the averaged weights, kernels in f16, all else in f32.
///
/// Two linear layers are added: `projection.{weight, bias}` (512 → 512), which maps an embedding to
/// the concatenated frames of the teachers: for each teacher of `frames` its z-scored penultimate
/// layer times its weight and, if `tags_share` is not 0, its z-scored tag logits times weight and
/// share. The other rows are zero. More than 512 rows are folded into 512 that preserve the angles
/// between vectors (the triangular factor of a QR decomposition), up to a constant that all vectors
/// share.
///
/// If enough rows are free, they hold the z-scored tag logits of `tag_teachers`, scaled so that
/// angles hardly change, and `told.{weight, bias}` decodes them from stored vectors. Otherwise, or
/// if whitening has mixed the rows, `tags.{weight, bias}` predicts the first teacher's tags from
/// the embedding.
pub fn export(options: &ExportOptions) -> Result<Exported, TrainError> {
    let state = Checkpoint::load(&options.checkpoint)?;
    let dimension = OPENL3_WIDTHS[7];
    // `load` has checked that there are eight widths.
    let widths: [usize; 8] = state
        .run
        .widths
        .as_slice()
        .try_into()
        .unwrap_or(OPENL3_WIDTHS);
    // Narrow layers stay narrow, which is faster; the embedding always has 512 numbers.
    let widths = if options.full_width || widths[7] != dimension {
        OPENL3_WIDTHS
    } else {
        widths
    };
    let (network, head) = widen(&state.average, &state.head_average, &widths, state.run.seed)?;
    let mut tensors: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = Vec::new();
    let mut add = |name: &str, shape: &[usize], values: &[f32]| {
        // Matrices make up nearly all of the file, so only these are f16.
        let (dtype, bytes): (_, Vec<u8>) = if shape.len() > 1 {
            (
                Dtype::F16,
                values
                    .iter()
                    .flat_map(|&x| f16::from_f32(x).to_le_bytes())
                    .collect(),
            )
        } else {
            (
                Dtype::F32,
                values.iter().flat_map(|x| x.to_le_bytes()).collect(),
            )
        };
        tensors.push((name.to_owned(), dtype, shape.to_vec(), bytes));
    };
    network.for_each(&mut add);
    let (weight, bias) = head.parameters.split_at(head.outputs * dimension);
    let layout = state.run.layout();
    let stacked = stack(&layout, options, weight, bias, dimension)?;
    let mut used = stacked.len();
    let (mut projection, mut offset) = fold(stacked, dimension);
    let mut whitening = Vec::new();
    // Whitening is fitted on the outputs of this layer and folded into it, so that the model costs no more.
    if let Some(cache) = &options.corpus {
        // Teachers' outputs are not needed, but a set cannot be opened without any.
        let data = TrainingSet::open_with(cache, Some(&state.run.teachers[..1]))?;
        let (vectors, groups) = refine::track_vectors(&data, &network, &projection, &offset)?;
        let (refinement, figures) = refine::choose(&vectors, &groups);
        whitening = figures;
        if let Some(refinement) = refinement {
            (projection, offset) = refinement.after(&projection, &offset);
            used = dimension;
        }
    }
    let teacher_tags = tags_of_teachers(&layout, options)?;
    let outputs = || {
        teacher_tags
            .iter()
            .flat_map(|(_, at, names)| *at..at + names.len())
    };
    let mut tags = Vec::new();
    // Tags use the free rows of the search vector.
    let in_vector = !teacher_tags.is_empty() && used + outputs().count() <= dimension;
    if in_vector {
        for (row, output) in (used..).zip(outputs()) {
            let from = &weight[output * dimension..][..dimension];
            for (to, from) in projection[row * dimension..].iter_mut().zip(from) {
                *to = TAGS_SCALE * from;
            }
            offset[row] = TAGS_SCALE * bias[output];
            let mut reader = vec![0.0; dimension];
            // Decodes the row to a logit: undoes the scale, then the z-score.
            reader[row] = state.target_deviation[output] / TAGS_SCALE;
            tags.push((reader, state.target_mean[output]));
        }
    } else {
        let (first, at) = layout.spans().next().ok_or_else(|| {
            TrainError::checkpoint(
                &options.checkpoint,
                "expected a run with a teacher, found none: there is nothing to export",
            )
        })?;
        for output in at + first.penultimate..at + first.outputs() {
            let scale = state.target_deviation[output];
            let shift = state.target_mean[output];
            let row = weight[output * dimension..][..dimension]
                .iter()
                .map(|x| scale * x);
            tags.push((row.collect(), scale * bias[output] + shift));
        }
    }
    add("projection.weight", &[dimension, dimension], &projection);
    add("projection.bias", &[dimension], &offset);
    let (rows, biases): (Vec<Vec<f32>>, Vec<f32>) = tags.into_iter().unzip();
    let layer = if in_vector { "told" } else { "tags" };
    add(
        &format!("{layer}.weight"),
        &[rows.len(), dimension],
        &rows.concat(),
    );
    add(&format!("{layer}.bias"), &[rows.len()], &biases);

    std::fs::create_dir_all(&options.out).map_err(TrainError::io(&options.out))?;
    let file = format!("{}.safetensors", options.name);
    let path = options.out.join(&file);
    write_safetensors(&path, &tensors, HashMap::new())
        .map_err(|e| TrainError::checkpoint(&path, e))?;
    // Read back, so that the digest is of the bytes on disk.
    let bytes = std::fs::read(&path).map_err(TrainError::io(&path))?;
    let run = &state.run;
    let mut named = teacher_tags
        .into_iter()
        .map(|(teacher, _, names)| (teacher, names));
    let (tags, outputs) = if in_vector {
        let tags = named.next().map(|(_, names)| names);
        (
            tags.clone(),
            named
                .map(|(name, labels)| distinct_labels(name, labels, tags.as_deref()))
                .collect(),
        )
    } else {
        (
            run.teachers.first().and_then(|teacher| tag_names(teacher)),
            Vec::new(),
        )
    };
    let manifest = ModelManifest {
        // Version 2 has outputs: without them, older programs still load the model.
        format: if outputs.is_empty() {
            ModelManifest::FORMAT
        } else {
            2
        },
        name: options.name.clone(),
        description: "voisin's own weights: an OpenL3-shaped network distilled from MusiCNN"
            .to_owned(),
        architecture: Architecture::OpenL3,
        front_end: Architecture::OpenL3.front_end(),
        dimension,
        licence: options.licence.clone(),
        provenance: format!(
            "{}; {} windows of {} tracks seen{}, teachers {}, trained at widths {:?}{}",
            options.provenance,
            run.windows + run.windows_before,
            run.tracks,
            if run.windows_before > 0 {
                " over all stages"
            } else {
                ""
            },
            run.teachers.join(" and "),
            run.widths,
            match whitening.iter().find(|figure| figure.chosen) {
                Some(kept) => format!("; search vector {}", kept.name),
                None => String::new(),
            }
        ),
        weights: file,
        weights_sha256: hex(&Sha256::digest(&bytes)),
        tags,
        layer: None,
        layers: Vec::new(),
        pooling: None,
        outputs,
        networks: Vec::new(),
        clap: None,
    };
    // The manifest last, so that a listed model has its weights.
    let card = options.out.join(format!("{}.json", options.name));
    write_json(&card, &manifest)?;
    Ok(Exported {
        manifest,
        path: card,
        bytes: bytes.len() as u64,
        whitening,
    })
}

/// The scale of tag logits in the search vector: a hundred of them change its direction by less than a thousandth.
const TAGS_SCALE: f32 = 0.02;

/// The teachers whose tags are predicted: name, index of the first logit among the head's outputs, names of the tags.
fn tags_of_teachers(
    layout: &Layout,
    options: &ExportOptions,
) -> Result<Vec<(String, usize, Vec<String>)>, TrainError> {
    let known = || layout.teachers.iter().map(|teacher| teacher.name.clone());
    let wanted = if options.tag_teachers.is_empty() {
        known().collect()
    } else {
        options.tag_teachers.clone()
    };
    let mut tags = Vec::new();
    for name in wanted {
        let Some((teacher, at)) = layout.spans().find(|(teacher, _)| teacher.name == name) else {
            return Err(unknown_teacher(layout, &name));
        };
        let names = tag_names(&name).filter(|names| names.len() == teacher.tags);
        // Teachers whose tags have no names are skipped, unless the options name them.
        match names {
            Some(names) => tags.push((name, at + teacher.penultimate, names)),
            None if options.tag_teachers.is_empty() => {}
            None => {
                return Err(TrainError::Options(format!(
                    "the tags of \"{name}\" have no names: expected a model of that name, or one with an output of that name, among `voisin model list`"
                )));
            }
        }
    }
    Ok(tags)
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

fn unknown_teacher(layout: &Layout, name: &str) -> TrainError {
    let known: Vec<&str> = layout
        .teachers
        .iter()
        .map(|teacher| teacher.name.as_str())
        .collect();
    TrainError::Options(format!(
        "the run has no teacher \"{name}\": expected one of {}",
        known.join(", ")
    ))
}

/// Rows of the search vector, each with its offset as the last value.
fn stack(
    layout: &Layout,
    options: &ExportOptions,
    weight: &[f32],
    bias: &[f32],
    dimension: usize,
) -> Result<Vec<Vec<f64>>, TrainError> {
    let mut rows = Vec::new();
    let first = layout
        .teachers
        .first()
        .map(|teacher| (teacher.name.clone(), 1.0));
    let frames = if options.frames.is_empty() {
        first.as_slice()
    } else {
        &options.frames
    };
    for (name, share) in frames {
        let Some((teacher, at)) = layout.spans().find(|(teacher, _)| teacher.name == *name) else {
            return Err(unknown_teacher(layout, name));
        };
        let tags = if options.tags_share == 0.0 {
            0
        } else {
            teacher.tags
        };
        for i in 0..teacher.penultimate + tags {
            let factor = f64::from(if i < teacher.penultimate {
                *share
            } else {
                share * options.tags_share
            });
            let row = weight[(at + i) * dimension..][..dimension]
                .iter()
                .chain([&bias[at + i]]);
            rows.push(row.map(|&x| factor * f64::from(x)).collect());
        }
    }
    Ok(rows)
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
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

fn write_json(path: &Path, manifest: &ModelManifest) -> Result<(), TrainError> {
    let json =
        serde_json::to_string_pretty(manifest).map_err(|e| TrainError::checkpoint(path, e))? + "\n";
    atomic_file::write(path, json).map_err(TrainError::io(path))
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
