//! The laboratory: trains classifiers on data sets, evaluates and compares them, and applies them.
//!
//! For: computing features of a [`Dataset`](crate::dataset::Dataset) ([`matrix`]), splitting it so
//! that no artist is in two parts ([`split`]), fitting algorithms ([`classifiers`], [`model`]) or networks
//! ([`networks`]) in a run folder ([`run`]) that is enough to repeat the run, figures with
//! intervals ([`report`], [`document`], [`pages`]), comparisons ([`compare`]), predictions
//! ([`answer`]), and features as files for other programs ([`extract`]).
//! A run is bit-for-bit reproducible.
//!
//! Not for: the genres of a library (`voisin-genre`).

// Not forbid: ndarray's s![] expands to an unsafe block.
#![deny(unsafe_code)]

pub mod answer;
mod bench;
pub mod classifiers;
pub mod compare;
pub mod config;
pub mod dataset;
pub mod document;
pub mod eval;
pub mod extract;
pub mod genre;
pub mod inspect;
pub mod matrix;
pub mod model;
pub mod networks;
pub mod pages;
pub mod report;
pub mod run;
mod scene;
pub mod split;
pub mod training;

use std::path::{Path, PathBuf};

use voisin_base::output::OutputError;

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabError {
    #[error(transparent)]
    Encoder(#[from] voisin_encoder::EncoderError),
    #[error(transparent)]
    Genre(#[from] voisin_genre::GenreError),
    #[error("{}", path.display())]
    Io {
        path: PathBuf,
        source: std::io::Error,
    },
    /// A file or folder is wrong: what is expected, and what was found.
    #[error("{}: {problem}", path.display())]
    Run { path: PathBuf, problem: String },
    #[error(transparent)]
    Output(#[from] OutputError),
    /// No track of a data set could be decoded.
    #[error("no track could be decoded: {}", .0.first().map_or("", |fault| fault.reason.as_str()))]
    NoneDecoded(Vec<crate::dataset::Fault>),
    /// Options that contradict each other, or that this data does not allow.
    #[error("{0}")]
    Options(String),
    /// The loss of a network is not finite.
    #[error("the loss is {loss} at step {step}: use a lower learning rate")]
    Diverged { step: u64, loss: f32 },
    #[error("interrupted: repeat the command to continue")]
    Interrupted,
}

impl LabError {
    fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }

    fn run(path: &Path, problem: impl Into<String>) -> Self {
        Self::Run {
            path: path.to_owned(),
            problem: problem.into(),
        }
    }

    /// - `line`: counted from 1
    fn table(path: &Path, line: u64, problem: impl std::fmt::Display) -> Self {
        Self::run(path, format!("line {line}: {problem}"))
    }
}

fn csv_bytes<R: IntoIterator<Item = String>>(
    header: &[impl AsRef<str>],
    separator: u8,
    rows: impl IntoIterator<Item = R>,
) -> Vec<u8> {
    let mut writer = csv::WriterBuilder::new()
        .delimiter(separator)
        .flexible(true)
        .from_writer(Vec::new());
    // Writing into memory cannot fail.
    let _ = writer.write_record(header.iter().map(AsRef::as_ref));
    for row in rows {
        let _ = writer.write_record(row);
    }
    writer.into_inner().unwrap_or_default()
}

fn write(path: &Path, bytes: impl AsRef<[u8]>) -> Result<(), LabError> {
    voisin_base::atomic_file::write(path, bytes).map_err(LabError::io(path))
}
