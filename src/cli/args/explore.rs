//! The verbs that find tracks and explore: find, list, show, clusters, map, path, playlist, duplicates.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::{ListOutput, ReportFormat, TableFormat};
use voisin::questions::Filters;
use voisin::questions::explore::PathBetween;
use voisin::questions::list::{Find, List};
use voisin::questions::playlist::Playlist;
use voisin::questions::values::Limit;

/// Find groups of tracks that sound alike
///
/// The largest has number 1. Tracks near nothing are noise.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin clusters\n  voisin clusters --genre electronic --format json"
)]
pub(crate) struct ClustersArgs {
    #[command(flatten)]
    pub(crate) filters: Filters,
    /// Output format; csv lists every track with its cluster
    #[arg(long, value_enum, default_value_t = TableFormat::Table)]
    pub(crate) format: TableFormat,
}

/// Draw a map of the library on which neighbours lie together
///
/// An .html file is one self-contained page (no network): pan, zoom, search, hover, click for neighbours, lasso to a playlist.
/// A .csv file has the coordinates.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  voisin map\n  voisin map --output map.csv")]
pub(crate) struct MapArgs {
    /// The file to write, in the format of its ending: .html or .csv
    #[arg(long, short, value_name = "FILE", default_value = "map.html", value_hint = ValueHint::FilePath)]
    pub(crate) output: PathBuf,
}

/// Walk from one track to another in small steps
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  voisin path id:17 id:4 --via id:9 --format m3u8 > walk.m3u8")]
pub(crate) struct PathArgs {
    #[command(flatten)]
    pub(crate) question: PathBetween,
    #[command(flatten)]
    pub(crate) output: ListOutput,
}

/// Make a playlist around tracks, a genre or a cluster
///
/// Filters apply to all tracks of the list except seeds that are named. Without seeds, all tracks that pass the filters are
/// seeds.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin playlist id:17 id:4 --limit 30  --output evening.m3u8\n  voisin playlist 'album:blue train' --limit 20\n  voisin playlist --genre jazz --length 90m --variety 0.5"
)]
pub(crate) struct PlaylistArgs {
    #[command(flatten)]
    pub(crate) question: Playlist,
    #[command(flatten)]
    pub(crate) output: ListOutput,
}

/// Find the same recording in several files (nothing is deleted)
///
/// Copies may differ in codec, bit rate, level, and silence at the ends. The audio of near tracks is compared; results are
/// stored.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  voisin duplicates --format csv > copies.csv")]
pub(crate) struct DuplicatesArgs {
    /// Number of groups at most
    #[arg(long, short, default_value_t = Limit::from(0), value_name = "N|all", allow_negative_numbers = true)]
    pub(crate) limit: Limit,
    #[command(flatten)]
    pub(crate) output: ListOutput,
}

/// Find music by its sound, described in words
///
/// The words are the model's tags and those that voisin's own list defines:
/// styles, moods, voices, decades, tempo, loudness. "no", "not", "without" and a minus negate the words that follow. "top 5 %"
/// is a rank within the library: even for a genre that it lacks there is a first track, and a note is printed. Words it does
/// not understand are reported. A library made with a CLAP model reads each part between commas as an English sentence, and scores a track by the share of a thousand captions that match it less.
#[derive(Debug, Args)]
#[command(
    mut_arg("query", |query| query.required(false).required_unless_present("words")),
    after_help = "Examples:\n  voisin find 'calm guitar, no voice'\n  voisin find 'dreamy synths'\n  voisin find sad female voice --year 1990-1999 --format m3u8 > sad.m3u8\n  voisin find --words"
)]
pub(crate) struct FindArgs {
    #[command(flatten)]
    pub(crate) question: Find,
    /// List the words that are understood
    #[arg(long, conflicts_with = "query")]
    pub(crate) words: bool,
    #[command(flatten)]
    pub(crate) output: ListOutput,
}

/// Show what is in the library, with the ids that other commands take
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin list\n  voisin list nina simone --sort year\n  voisin list --genre ambient --licence cc-by --format m3u8 > beds.m3u8\n  voisin list --year 1970-1979 --sort added --reverse --limit 20"
)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) question: List,
    /// List the files that could not be added instead, and why
    #[arg(long, conflicts_with = "query")]
    pub(crate) failed: bool,
    #[command(flatten)]
    pub(crate) output: ListOutput,
}

/// Show all data of a track
///
/// Its tags and files, whether they still exist, the predicted genre with its reason, its cluster as of the last
/// `voisin clusters`, tempo, key and loudness if they were measured, and the tracks nearest to it.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin show ~/Music/song.flac\n  voisin show id:17 --format json"
)]
pub(crate) struct ShowArgs {
    /// Files of the library, `id:NUMBER`, words, or playlists
    #[arg(required = true, value_name = "TRACK")]
    pub(crate) tracks: Vec<std::ffi::OsString>,
    /// Output format
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub(crate) format: ReportFormat,
}
