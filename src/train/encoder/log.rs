//! The files `loss.csv` and `validation.csv` of a run.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use super::loss::LossParts;
use super::validate::Validation;
use super::{Run, TrainError};
use crate::base::atomic_file;

pub(super) const LOSS_HEADER: &str = "step,windows,seconds,learning_rate,total,penultimate_mse,penultimate_cosine,tags_mse,tags_bce,contrast,style";
pub(super) const VALIDATION_HEADER: &str =
    "step,windows,seconds,n,tracks,r2_penultimate,r2_tags,correlation,track_correlation,neighbours,styles";
/// Steps per line of the loss file.
pub(super) const LOG_EVERY: u64 = 10;

/// Adds a line to the loss file.
pub(super) fn loss(path: &Path, run: &Run, rate: f64, l: &LossParts) -> Result<(), TrainError> {
    let row = format!(
        "{},{},{:.1},{rate:.3e},{:.6},{:.6},{:.6},{:.6},{:.6},{:.6},{:.6}",
        run.step,
        run.windows,
        run.seconds,
        l.total,
        l.penultimate_mse,
        l.penultimate_cosine,
        l.tags_mse,
        l.tags_bce,
        l.contrast,
        l.style
    );
    append(path, &row)
}

/// Adds a line to the validation file.
pub(super) fn validation(path: &Path, run: &Run, v: &Validation) -> Result<(), TrainError> {
    let row = format!(
        "{},{},{:.1},{},{},{:.5},{:.5},{:.5},{:.5},{:.5},{:.5}",
        run.step,
        run.windows,
        run.seconds,
        v.windows,
        v.tracks,
        v.r2_penultimate,
        v.r2_tags,
        v.correlation,
        v.track_correlation,
        v.neighbours,
        v.styles
    );
    append(path, &row)
}

/// Adds losses part by part.
pub(super) fn add(sum: &mut LossParts, x: &LossParts) {
    sum.total += x.total;
    sum.penultimate_mse += x.penultimate_mse;
    sum.penultimate_cosine += x.penultimate_cosine;
    sum.tags_mse += x.tags_mse;
    sum.tags_bce += x.tags_bce;
    sum.contrast += x.contrast;
    sum.style += x.style;
}

/// Losses times a factor.
pub(super) fn scaled(x: &LossParts, factor: f32) -> LossParts {
    LossParts {
        total: x.total * factor,
        penultimate_mse: x.penultimate_mse * factor,
        penultimate_cosine: x.penultimate_cosine * factor,
        tags_mse: x.tags_mse * factor,
        tags_bce: x.tags_bce * factor,
        contrast: x.contrast * factor,
        style: x.style * factor,
    }
}

/// Begins a CSV file, or drops the rows that came after the checkpoint. Columns that an older version did not write
/// become 0.
pub(super) fn keep_rows(path: &Path, header: &str, step: u64) -> Result<(), TrainError> {
    let old = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(TrainError::io(path)(error)),
    };
    let mut text = format!("{header}\n");
    for line in old.lines().skip(1) {
        let at: Option<u64> = line.split(',').next().and_then(|field| field.parse().ok());
        if at.is_some_and(|at| at <= step) {
            text.push_str(line);
            let missing = header.split(',').count().saturating_sub(line.split(',').count());
            text.extend(std::iter::repeat_n(",0", missing));
            text.push('\n');
        }
    }
    atomic_file::write(path, text).map_err(TrainError::io(path))
}

fn append(path: &Path, row: &str) -> Result<(), TrainError> {
    let mut file = OpenOptions::new().append(true).create(true).open(path).map_err(TrainError::io(path))?;
    writeln!(file, "{row}").map_err(TrainError::io(path))
}
