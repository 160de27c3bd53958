//! `similar`, and the filters and outputs that other verbs share.

use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, FromArgMatches, ValueEnum, ValueHint};

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
    mut_arg("seeds", |seeds| seeds.required(false).required_unless_present("by")),
    after_help = "Examples:\n  voisin similar ~/Music/song.flac\n  voisin similar 'nina simone sinnerman' --limit 30 --max-per-artist 2 --format m3u8 > alike.m3u8\n  voisin similar id:17 --genre jazz --year 1950-1969\n  voisin similar id:17 --bpm 120-128 --key compatible\n  voisin similar song.flac --from 1:05 --to 1:15\n  voisin similar id:17 --unlike id:4\n  voisin similar --by artist 'nina simone'"
)]
pub(crate) struct SimilarArgs {
    #[command(flatten)]
    pub(crate) question: Similar,
    /// Artists, or albums, near to the one that the words name; without words all of them, each with its nearest. All tracks
    /// of both are compared
    #[arg(long, value_enum, conflicts_with_all = ["unlike", "from", "to", "max_per_artist"])]
    pub(crate) by: Option<By>,
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
        Some(ending) if !ending.eq_ignore_ascii_case("csv") => anyhow::bail!(
            "expected a file that ends in .csv, which is the format, found {}",
            file.display()
        ),
        _ => Ok(()),
    }
}

/// Output options of a list of tracks; without --format the ending of the output file decides.
#[derive(Debug, Clone)]
pub(crate) struct ListOutput(ListOutputArgs);

impl std::ops::Deref for ListOutput {
    type Target = ListOutputArgs;

    fn deref(&self) -> &ListOutputArgs {
        &self.0
    }
}

impl Args for ListOutput {
    fn augment_args(command: Command) -> Command {
        ListOutputArgs::augment_args(command)
    }

    fn augment_args_for_update(command: Command) -> Command {
        ListOutputArgs::augment_args_for_update(command)
    }
}

impl FromArgMatches for ListOutput {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut output = ListOutputArgs::from_arg_matches(matches)?;
        // An explicit `--format table` must be distinguished from the default of the same value.
        let is_default = matches.value_source("format") == Some(ValueSource::DefaultValue);
        if is_default && let Some(file) = &output.target {
            match ListFormat::of_ending(file) {
                Some(format) => output.format = format,
                // Standard output, in the command's own format.
                None if file.as_os_str() == "-" => output.target = None,
                // An unknown ending is refused, whatever the command's own format is.
                None if file.extension().is_some() => output.format = ListFormat::Table,
                None => {}
            }
        }
        Ok(Self(output))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The options of [`ListOutput`].
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct ListOutputArgs {
    /// Output format; m3u8 is a playlist, paths are for pipes
    #[arg(long, value_enum, default_value = "table")]
    pub(crate) format: ListFormat,
    /// In playlists and bare paths: relative to this folder instead of absolute
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) relative_to: Option<PathBuf>,
    /// With --format paths: end each path with NUL instead of a newline
    #[arg(long = "null", short = '0')]
    pub(crate) null: bool,
    /// Write the results to this file, without --format in that of its ending: .m3u8, .csv or .json
    #[arg(long = "output", short = 'o', value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) target: Option<PathBuf>,
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

    /// Whether it is for people and programs, not for players.
    fn is_printed(self) -> bool {
        matches!(self, Self::Table | Self::Json | Self::Csv)
    }
}

impl ListOutput {
    /// Output in this format, with all other options at their defaults.
    pub(crate) fn new(format: ListFormat) -> Self {
        Self(ListOutputArgs {
            format,
            relative_to: None,
            null: false,
            target: None,
        })
    }

    /// Refuses options that mean nothing in this format, and a file that must not be replaced.
    pub(crate) fn check(&self, context: &Context) -> anyhow::Result<()> {
        let format = self.format.name();
        let is_shown = self.format.is_printed();
        // A table is laid out for a terminal's width, and programs could not read a file of it.
        if self.format == ListFormat::Table
            && let Some(file) = &self.target
        {
            let found = match ListFormat::of_ending(file) {
                Some(_) => format!("--format {format}"),
                None => file.display().to_string(),
            };
            anyhow::bail!(
                "--output: expected a file that ends in .m3u8, .csv or .json, or a --format other than table, found {found}"
            );
        }
        if let Some(file) = &self.target {
            // Checked before the query runs, which may take minutes.
            let file = output_file(context, file)?;
            // Playlists open the file themselves when they are written; for all other formats the
            // output is redirected into it.
            if is_shown {
                render::answer_into(file);
            }
        }
        if self.null && self.format != ListFormat::Paths {
            anyhow::bail!(
                "-0 ends bare paths, expected with it --format paths, found --format {format}"
            );
        }
        if self.relative_to.is_some() && is_shown {
            anyhow::bail!(
                "--relative-to is for playlists and bare paths, expected with it --format m3u8 or paths, found --format {format}"
            );
        }
        Ok(())
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
        let format_by_default = |default: &'static str, words: &[&str]| {
            let command = ListOutput::augment_args(Command::new("list").no_binary_name(true));
            let command = command.mut_arg("format", |format| format.default_value(default));
            let matches = command.try_get_matches_from(words).unwrap();
            let output = ListOutput::from_arg_matches(&matches).unwrap();
            (output.format, output.target.is_some())
        };
        let format = |words: &[&str]| format_by_default("table", words).0;
        for (file, expected) in [
            ("a.m3u8", ListFormat::M3u8),
            ("a.M3U", ListFormat::M3u8),
            ("a.csv", ListFormat::Csv),
            ("a.JSON", ListFormat::Json),
            ("a.txt", ListFormat::Table),
            ("m3u8", ListFormat::Table),
        ] {
            assert_eq!(format(&["-o", file]), expected, "{file}");
        }
        let named = format(&["--format", "csv", "-o", "a.m3u8"]);
        assert_eq!(named, ListFormat::Csv, "--format goes first");
        assert_eq!(format(&[]), ListFormat::Table);
        for (file, expected) in [
            ("a.html", (ListFormat::Table, true)),
            ("a.csv", (ListFormat::Csv, true)),
            ("evening", (ListFormat::M3u8, true)),
            ("-", (ListFormat::M3u8, false)),
        ] {
            let playlist = format_by_default("m3u8", &["-o", file]);
            assert_eq!(playlist, expected, "{file}");
        }
        let ends = ["a.csv", "a.CSV", "a", "-", "/dev/stdout"].map(Path::new);
        assert!(ends.into_iter().all(|file| check_csv_ending(file).is_ok()));
        let others = ["a.json", "a.tsv", "a.html"].map(Path::new);
        assert!(
            others
                .into_iter()
                .all(|file| check_csv_ending(file).is_err())
        );
    }
}
