//! The laboratory: classifiers trained on data sets, judged, compared, and asked.
//!
//! What it is for: from a [`Dataset`](crate::dataset::Dataset) to numbers ([`matrix`]), to parts without an artist on two
//! sides ([`split`], [`leak`]), to fitted algorithms ([`model`]) or networks ([`networks`]) in a run folder ([`run`]) that holds all that is needed
//! to repeat it, to figures with intervals ([`report`], [`document`], [`pages`]), comparisons ([`compare`]) and answers ([`answer`]).
//! Numbers also go out as files for other programs ([`extract`]). A
//! run that is cut off goes on with the same command and ends with the same bits. What it is not for: the genres of a
//! library (`genre`), reading tables (`dataset`), the algorithms themselves (`learn`).

// Not forbid: ndarray's s![] allows itself an unsafe block where it is used.
#![deny(unsafe_code)]

pub mod answer;
mod bench;
pub mod compare;
pub mod config;
mod cost;
pub mod dataset;
pub mod document;
pub mod eval;
pub mod extract;
pub mod files;
pub mod genre;
pub mod inspect;
pub mod leak;
pub mod matrix;
pub mod model;
pub mod networks;
pub mod pages;
pub mod probe;
pub mod report;
pub mod run;
pub mod split;

use std::path::{Path, PathBuf};

use voisin_base::output::OutputError;
use voisin_base::remedy::Remedy;

/// What can go wrong in the laboratory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabError {
    /// A data set could not be read.
    #[error(transparent)]
    Dataset(#[from] crate::dataset::DatasetError),
    /// A model could not listen, or the library not answer.
    #[error(transparent)]
    Engine(#[from] voisin::EngineError),
    /// The genre engine could not do its part.
    #[error(transparent)]
    Genre(#[from] voisin_learn::genre::GenreError),
    /// A network could not be trained.
    #[error(transparent)]
    Train(#[from] voisin_train::encoder::TrainError),
    /// A file could not be read or written.
    #[error("{}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A run folder or a file in it is not what it should be.
    #[error("{}: {problem}", path.display())]
    Run {
        /// The folder or file.
        path: PathBuf,
        /// What was expected and found.
        problem: String,
    },
    /// The place of a file that was named is not to be had.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// Nothing of a data set could be listened to.
    #[error("no track could be listened to: {}", .0.first().map_or("", |fault| fault.reason.as_str()))]
    NoneHeard(Vec<crate::dataset::Fault>),
    /// What was asked for does not go together, or cannot be done with this data.
    #[error("{0}")]
    Asked(String),
    /// Someone pressed Ctrl-C.
    #[error("interrupted: the same command goes on from here")]
    Interrupted,
}

impl LabError {
    fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Io {
            path: path.to_owned(),
            source,
        }
    }

    /// What helps.
    pub fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::Output(error) => error.remedy(),
            _ => None,
        }
    }

    fn run(path: &Path, problem: impl Into<String>) -> Self {
        Self::Run {
            path: path.to_owned(),
            problem: problem.into(),
        }
    }
}

/// A CSV file in memory.
fn csv_bytes<R: IntoIterator<Item = String>>(
    header: &[String],
    separator: u8,
    rows: impl IntoIterator<Item = R>,
) -> Vec<u8> {
    let mut writer = csv::WriterBuilder::new()
        .delimiter(separator)
        .flexible(true)
        .from_writer(Vec::new());
    // Writing into memory cannot fail.
    let _ = writer.write_record(header);
    for row in rows {
        let _ = writer.write_record(row);
    }
    writer.into_inner().unwrap_or_default()
}

/// Writes a file whole or not at all.
fn write(path: &Path, bytes: impl AsRef<[u8]>) -> Result<(), LabError> {
    voisin_base::atomic_file::write(path, bytes).map_err(LabError::io(path))
}
