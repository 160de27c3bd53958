//! `similar`, and the filters and outputs that other verbs share.

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::{Args, ValueEnum, ValueHint};

use crate::cli::context::Context;
use crate::cli::outputs::output_file;
use crate::cli::render;
use voisin::questions::Similar;

/// Find the tracks that sound most like the given ones
///
/// A seed is a file (in the library or not), `id:NUMBER`, words that match artist and title, or a set of tracks: a playlist,
/// a folder, `album:NAME` or `artist:NAME`; words without quotes are one seed if together they fit one. Several seeds are averaged. The
/// seeds themselves and their exact duplicates are left out of the results. With --from and --to only this part of the seed is searched by, read from its file.
#[derive(Debug, Args)]
#[command(
    mut_arg("seeds", |seeds| seeds.required(false).required_unless_present_any(["by", "vector"])),
    after_help = "Examples:\n  voisin similar ~/Music/song.flac\n  voisin similar 'nina simone sinnerman' --limit 30 --max-per-artist 2 --format m3u8 > alike.m3u8\n  voisin similar id:17 --genre jazz --year 1950-1969\n  voisin similar id:17 --bpm 120-128 --key compatible\n  voisin similar song.flac --from 1:05 --to 1:15\n  voisin similar id:17 --unlike id:4\n  voisin similar --by artist 'nina simone'"
)]
pub(crate) struct SimilarArgs {
    #[command(flatten)]
    pub(crate) question: Similar,
    /// Artists, or albums, near to the one that the words name; without words all of them, each with its nearest. All tracks
    /// of both are compared
    #[arg(long, value_enum, conflicts_with_all = ["unlike", "from", "to", "max_per_artist"])]
    pub(crate) by: Option<By>,
    /// Search by vectors of another program, of the library's dimension: an array of one a row
    #[arg(long, value_name = "FILE.npy", value_hint = ValueHint::FilePath, conflicts_with_all = ["by", "from", "to"])]
    pub(crate) vector: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: ListOutput,
}

/// Groups that are compared in place of tracks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum By {
    Artist,
    Album,
}

/// Refuses a file for a table whose ending stands for something else.
pub(crate) fn check_csv_ending(file: &Path) -> anyhow::Result<()> {
    match file.extension() {
        Some(ending) if !ending.eq_ignore_ascii_case("csv") => bail!(
            "expected a file that ends in .csv, which is the format, found {}",
            file.display()
        ),
        _ => Ok(()),
    }
}

/// Output options of a list of tracks.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct ListOutput {
    /// Output format; m3u8 is a playlist, paths are for pipes [default: that of the file's ending, else the command's own]
    #[arg(long, value_enum)]
    format: Option<ListFormat>,
    /// In playlists and bare paths: relative to this folder instead of absolute
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    relative_to: Option<PathBuf>,
    /// With --format paths: end each path with NUL instead of a newline
    #[arg(long = "null", short = '0')]
    null: bool,
    /// Write the results to this file: .m3u8, .csv or .json
    #[arg(long = "output", short = 'o', value_name = "FILE", value_hint = ValueHint::FilePath)]
    target: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListFormat {
    Table,
    Json,
    Csv,
    #[value(alias = "m3u")]
    M3u8,
    Paths,
}

impl ListFormat {
    /// The format that a file's ending stands for.
    fn of_ending(file: &Path) -> Option<Self> {
        let ending = file.extension()?.to_str()?.to_ascii_lowercase();
        match ending.as_str() {
            "m3u8" | "m3u" => Some(Self::M3u8),
            "csv" => Some(Self::Csv),
            "json" => Some(Self::Json),
            _ => None,
        }
    }

    /// Its name on the command line.
    fn name(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// The output of a list of tracks, as its options ask for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Output {
    pub(crate) format: ListFormat,
    pub(crate) relative_to: Option<PathBuf>,
    pub(crate) null: bool,
    /// The file that the results are written to instead of standard output.
    pub(crate) file: Option<PathBuf>,
}

impl Output {
    /// On standard output, in this format.
    pub(crate) fn of(format: ListFormat) -> Self {
        Self {
            format,
            relative_to: None,
            null: false,
            file: None,
        }
    }
}

impl ListOutput {
    /// Prepares the output, as a table where nothing else is asked for.
    pub(crate) fn prepare(&self, context: &Context) -> anyhow::Result<Output> {
        self.prepare_as(ListFormat::Table, context)
    }

    /// Prepares the output: from here on results go to its file.
    ///
    /// - `usual`: the command's own format
    pub(crate) fn prepare_as(
        &self,
        usual: ListFormat,
        context: &Context,
    ) -> anyhow::Result<Output> {
        let output = self.read(usual)?;
        if let Some(file) = &output.file {
            // Checked before the query runs, which may take minutes.
            render::answer_into(output_file(context, file)?);
        }
        Ok(output)
    }

    /// The output; refuses options that mean nothing in its format.
    fn read(&self, usual: ListFormat) -> anyhow::Result<Output> {
        let file = self.target.clone().filter(|file| file.as_os_str() != "-");
        let ending = file.as_deref().and_then(ListFormat::of_ending);
        let format = self.format.or(ending).unwrap_or(usual);
        let name = format.name();
        if let Some(file) = &file {
            let is_unknown =
                self.format.is_none() && ending.is_none() && file.extension().is_some();
            // A table is laid out for a terminal's width, and programs could not read a file of it.
            if is_unknown || format == ListFormat::Table {
                bail!(
                    "--output: expected a file that ends in .m3u8, .csv or .json, or a --format other than table, found {}",
                    file.display()
                );
            }
        }
        if self.null && format != ListFormat::Paths {
            bail!("-0 ends bare paths, expected with it --format paths, found --format {name}");
        }
        let is_shown = matches!(
            format,
            ListFormat::Table | ListFormat::Json | ListFormat::Csv
        );
        if self.relative_to.is_some() && is_shown {
            bail!(
                "--relative-to is for playlists and bare paths, expected with it --format m3u8 or paths, found --format {name}"
            );
        }
        Ok(Output {
            format,
            relative_to: self.relative_to.clone(),
            null: self.null,
            file,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    Table,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TableFormat {
    Table,
    Json,
    Csv,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_written_in_the_format_of_its_ending() {
        let format = |format: Option<ListFormat>, usual: ListFormat, file: &str| {
            let options = ListOutput {
                format,
                relative_to: None,
                null: false,
                target: Some(PathBuf::from(file)),
            };
            let output = options.read(usual).ok()?;
            Some((output.format, output.file.is_some()))
        };
        for (file, table, playlist) in [
            ("a.M3U", Some(ListFormat::M3u8), Some(ListFormat::M3u8)),
            ("a.csv", Some(ListFormat::Csv), Some(ListFormat::Csv)),
            ("a.JSON", Some(ListFormat::Json), Some(ListFormat::Json)),
            ("a.html", None, None),
            ("evening", None, Some(ListFormat::M3u8)),
        ] {
            let written = |format| Some((format?, true));
            assert_eq!(format(None, ListFormat::Table, file), written(table));
            assert_eq!(format(None, ListFormat::M3u8, file), written(playlist));
        }
        let shown = (ListFormat::M3u8, false);
        assert_eq!(format(None, ListFormat::M3u8, "-"), Some(shown));
        let named = format(Some(ListFormat::Csv), ListFormat::Table, "a.m3u8");
        assert_eq!(named, Some((ListFormat::Csv, true)), "--format goes first");
    }
}
