//! Scales: the user's own numbers, learned and listed.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand};

use super::ReportFormat;
use voisin_library::ScaleName;

/// Learn a scale from your own values for some tracks, such as their energy, and predict it for all others
///
/// It is learned from stored vectors and measured scales; nothing is decoded. The error that is printed is that on held-out
/// artists. A scale that does not beat the mean of its values there is refused, with the figures. Your own values take
/// precedence over learned ones, and stay when the scale is removed. Tracks unlike all training tracks get none.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin train scale my-energy --from tag:ENERGY\n  voisin train scale happy --from tag:MOOD=happy\n  voisin train scale warm --from table.csv\n  voisin train scale dj --from collection.nml"
)]
pub(crate) struct TrainScaleArgs {
    /// Its name: letters, digits and hyphens
    #[arg(value_name = "NAME")]
    pub(crate) name: ScaleName,
    /// Source of the values: a tag of your files (tag:NAME), whether a tag has a word (tag:NAME=WORD), a CSV file with the
    /// columns path or id, and value, or the ratings of a Rekordbox collection (.xml) or of a Traktor collection (.nml)
    #[arg(long, value_name = "SOURCE")]
    pub(crate) from: ScaleSource,
    /// Output format
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub(crate) format: ReportFormat,
}

/// The source of a scale's values.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ScaleSource {
    /// A tag, and the word to look for in it.
    Tag(String, Option<String>),
    Table(PathBuf),
    Rekordbox(PathBuf),
    Traktor(PathBuf),
}

impl FromStr for ScaleSource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(tag) = text.strip_prefix("tag:").filter(|tag| !tag.is_empty()) {
            let (name, word) = match tag.split_once('=') {
                Some((name, word)) => (name, Some(word.to_owned())),
                None => (tag, None),
            };
            return Ok(Self::Tag(name.to_owned(), word));
        }
        let path = PathBuf::from(text);
        // By the ending alone: whether the file exists and is valid is checked when it is read.
        let ending = path.extension().map(OsStr::to_ascii_lowercase);
        match ending.as_deref().and_then(|ending| ending.to_str()) {
            Some("csv") => Ok(Self::Table(path)),
            Some("xml") => Ok(Self::Rekordbox(path)),
            Some("nml") => Ok(Self::Traktor(path)),
            _ => Err(format!(
                "expected tag:NAME, tag:NAME=WORD, or a file that ends in .csv, .xml or .nml, found \"{text}\""
            )),
        }
    }
}

/// List the scales of the library, or rename or remove learned ones
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  voisin scales\n  voisin scales rename dj my-energy\n  voisin scales remove my-energy\n  voisin list --sort energy"
)]
pub(crate) struct ScalesArgs {
    #[command(subcommand)]
    pub(crate) command: Option<ScalesCommand>,
    /// Output format
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub(crate) format: ReportFormat,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ScalesCommand {
    /// Give a learned scale another name
    Rename {
        /// The scale
        #[arg(value_name = "NAME")]
        from: ScaleName,
        /// Its new name
        #[arg(value_name = "NEW")]
        to: ScaleName,
    },
    /// Delete a learned scale; your own values stay
    Remove {
        /// The scale
        #[arg(value_name = "NAME")]
        name: ScaleName,
        /// Delete your own values, too
        #[arg(long)]
        with_values: bool,
    },
}

/// Evaluate a learned scale on held-out artists, with your current values
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  voisin eval scale my-energy")]
pub(crate) struct EvalScaleArgs {
    /// The scale
    #[arg(value_name = "NAME")]
    pub(crate) name: ScaleName,
    /// Output format
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub(crate) format: ReportFormat,
}
