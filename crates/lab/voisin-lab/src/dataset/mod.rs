//! Data sets: tracks with labels, groups and splits, read from any layout into one form.
//!
//! For: FMA's tables, a folder for each genre, CSV files of titles and labels, CSV files of ready
//! features. All of them are untrusted bytes: bounded, without panics, one bad row never stops the
//! rest. Not for: decoding audio, splitting, training.

mod columns;
mod fma;
mod folder;
mod source;
mod table;
mod text;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use ndarray::Array2;

pub use columns::group_of;
pub use source::{Kind, Source};
pub(crate) use table::read_cells;

/// A part of a split.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// Fitting.
    Training,
    /// Choosing.
    Validation,
    /// Evaluating, once.
    Test,
}

impl Part {
    /// All of them, in order.
    pub const ALL: [Self; 3] = [Self::Training, Self::Validation, Self::Test];

    /// As FMA and most tables write it.
    pub fn parse(text: &str) -> Option<Self> {
        match text.trim().to_ascii_lowercase().as_str() {
            "training" | "train" => Some(Self::Training),
            "validation" | "valid" | "val" | "dev" => Some(Self::Validation),
            "test" | "testing" | "eval" => Some(Self::Test),
            _ => None,
        }
    }

    /// One word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Training => "training",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }
}

/// A track as the data set has it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Item {
    /// Its audio; `None` where there is none, as in a table of features.
    pub path: Option<PathBuf>,
    /// Its key in the data set: a title, an id, a path below the folder. Predictions are written
    /// with it.
    pub key: String,
    /// The label to learn, as the data set spells it.
    pub label: Option<String>,
    /// Who made it.
    pub artist: Option<String>,
    /// The release that it is on.
    pub album: Option<String>,
    /// Under which terms.
    pub licence: Option<String>,
    /// The part that the data set puts it in.
    pub part: Option<Part>,
}

/// A row or file that could not be used, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// As the data set names it.
    pub key: String,
    /// In one line.
    pub reason: String,
}

/// Numbers that a data set brings itself, a row for each item.
#[derive(Debug, Clone, PartialEq)]
pub struct Columns {
    /// Of each column.
    pub names: Vec<String>,
    /// `[items, columns]`; NaN where a number is missing.
    pub values: Array2<f32>,
}

/// A data set as it was read; nothing has been decoded.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// Where it is from: `KIND:PATH` with all of its options.
    pub source: String,
    /// Its tracks.
    pub items: Vec<Item>,
    /// Every key that has a row, in the order of the rows, whether or not it can be used.
    pub keys: Vec<String>,
    /// Rows and files that are no tracks.
    pub faults: Vec<Fault>,
    /// Remarks about how it was read.
    pub notes: Vec<String>,
    /// Header of the column of keys, for answers in the same form.
    pub key_name: String,
    /// Header of the column of labels.
    pub label_name: String,
    /// Numbers of its own.
    pub columns: Option<Columns>,
}

impl Dataset {
    pub(crate) fn new(source: &Source, key_name: &str, label_name: &str) -> Self {
        Self {
            source: source.to_string(),
            items: Vec::new(),
            keys: Vec::new(),
            faults: Vec::new(),
            notes: Vec::new(),
            key_name: key_name.to_owned(),
            label_name: label_name.to_owned(),
            columns: None,
        }
    }

    fn fault(&mut self, key: impl Into<String>, reason: impl Into<String>) {
        self.faults.push(Fault {
            key: key.into(),
            reason: reason.into(),
        });
    }

    /// The labels that occur, each once, numbers in the order of numbers and all else in that of letters.
    pub fn classes(&self) -> Vec<String> {
        class_names(&self.items)
    }
}

/// The labels of some tracks, in the order of [`Dataset::classes`].
pub(crate) fn class_names<'a>(items: impl IntoIterator<Item = &'a Item>) -> Vec<String> {
    let names: BTreeSet<String> = items
        .into_iter()
        .filter_map(|item| item.label.clone())
        .collect();
    let mut names: Vec<String> = names.into_iter().collect();
    names.sort_by_key(|name| name.trim().parse::<u64>().unwrap_or(u64::MAX));
    names
}

/// Errors that make a whole data set unusable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatasetError {
    /// The words on the command line.
    #[error("{text}: {problem}")]
    Source {
        /// As it was given.
        text: String,
        /// The form expected.
        problem: String,
    },
    /// A file could not be read.
    #[error("{}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A table that makes no sense.
    #[error("{}, line {line}: {problem}", path.display())]
    Table {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: u64,
        /// The content expected, and the one found.
        problem: String,
    },
}

impl DatasetError {
    pub(crate) fn table(path: &Path, line: u64, problem: impl Into<String>) -> Self {
        Self::Table {
            path: path.to_owned(),
            line,
            problem: problem.into(),
        }
    }
}

/// Reads a data set of files; `library` and `vectors` are read by [`crate::matrix::open`].
pub fn read(source: &Source) -> Result<Dataset, DatasetError> {
    match source.kind {
        Kind::Fma => fma::read(source),
        Kind::Folder => folder::read(source),
        Kind::Table => table::read(source),
        Kind::Features => columns::read(source),
        Kind::Library | Kind::Vectors => Err(DatasetError::Source {
            text: source.to_string(),
            problem: "has no files of its own to list".to_owned(),
        }),
    }
}

/// The kind of data set that a path looks like.
fn kind_of(path: &Path) -> Option<Kind> {
    if path.is_dir() {
        let is_fma = fma::table_of(path).is_some();
        return Some(if is_fma { Kind::Fma } else { Kind::Folder });
    }
    let ending = path.extension()?.to_string_lossy().to_ascii_lowercase();
    let is_table = matches!(ending.as_str(), "csv" | "tsv" | "txt") && path.is_file();
    is_table.then(|| {
        if columns::is_fma(path) {
            Kind::Features
        } else {
            Kind::Table
        }
    })
}
