//! The files `loss.csv` and `validation.csv` of a run.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use super::validate::Validation;
use super::{Run, TrainError};
use voisin_base::atomic_file;
use voisin_base::output::check_folder;

/// Name and header of the files of losses and of validations.
const LOSS: [&str; 2] = [
    "loss.csv",
    "step,windows,seconds,learning_rate,total,penultimate_mse,penultimate_cosine,tags_mse,tags_bce,contrast,style",
];
const VALIDATION: [&str; 2] = [
    "validation.csv",
    "step,windows,seconds,n,tracks,r2_penultimate,r2_tags,correlation,track_correlation,neighbours,styles",
];
/// Steps per line of the loss file.
pub(super) const LOG_EVERY: u64 = 10;

/// Adds a line to the loss file: means since the one before, in the order of the header.
pub(super) fn loss(folder: &Path, run: &Run, rate: f64, means: [f32; 7]) -> Result<(), TrainError> {
    let means: String = means.iter().map(|mean| format!(",{mean:.6}")).collect();
    append(folder, LOSS, run, &format!("{rate:.3e}{means}"))
}

/// Adds a line to the validation file.
pub(super) fn validation(folder: &Path, run: &Run, v: &Validation) -> Result<(), TrainError> {
    let shares = [
        v.r2_penultimate,
        v.r2_tags,
        v.correlation,
        v.track_correlation,
        v.neighbours,
        v.styles,
    ];
    let shares: String = shares.iter().map(|share| format!(",{share:.5}")).collect();
    append(
        folder,
        VALIDATION,
        run,
        &format!("{},{}{shares}", v.windows, v.tracks),
    )
}

/// Creates the files, or drops the rows after the checkpoint. Columns that an older version did not write become 0.
pub(super) fn keep_rows(folder: &Path, step: u64) -> Result<(), TrainError> {
    for [name, header] in [LOSS, VALIDATION] {
        let path = folder.join(name);
        let old = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(TrainError::io(&path)(error)),
        };
        let mut text = format!("{header}\n");
        for line in old.lines().skip(1) {
            let at: Option<u64> = line.split(',').next().and_then(|field| field.parse().ok());
            if at.is_some_and(|at| at <= step) {
                let missing = header
                    .split(',')
                    .count()
                    .saturating_sub(line.split(',').count());
                text += &format!("{line}{}\n", ",0".repeat(missing));
            }
        }
        atomic_file::write(&path, text).map_err(TrainError::io(&path))?;
    }
    Ok(())
}

/// Refuses a folder with files that no run wrote: without a checkpoint, a run has at most these.
pub(super) fn refuse_others(folder: &Path) -> Result<(), TrainError> {
    check_folder(folder, &[], false).map_err(|error| TrainError::Options(error.to_string()))?;
    let is_ours = |name: &std::ffi::OsStr| {
        let known = [LOSS, VALIDATION]
            .into_iter()
            .find(|[known, _]| name == *known);
        let begins = |[name, header]: [&str; 2]| {
            // An older version wrote fewer columns.
            let first = std::fs::read_to_string(folder.join(name)).unwrap_or_default();
            // A file of that name with another header is not a run's, and would be lost.
            header.starts_with(first.lines().next().unwrap_or("-"))
        };
        known.map_or_else(|| name.as_encoded_bytes().starts_with(b"."), begins)
    };
    let mut entries = folder.read_dir().into_iter().flatten().flatten();
    match entries.find(|entry| !is_ours(&entry.file_name())) {
        Some(other) => Err(TrainError::Options(format!(
            "{}: expected an empty folder or one of this run, found {}: use another folder",
            folder.display(),
            other.file_name().display()
        ))),
        None => Ok(()),
    }
}

fn append(folder: &Path, [name, _]: [&str; 2], run: &Run, rest: &str) -> Result<(), TrainError> {
    let path = folder.join(name);
    let mut file = OpenOptions::new()
        .append(true)
        .create(true)
        .open(&path)
        .map_err(TrainError::io(&path))?;
    writeln!(
        file,
        "{},{},{:.1},{rest}",
        run.step, run.windows, run.seconds
    )
    .map_err(TrainError::io(&path))
}
