//! The verbs that explore: clusters, map, path, playlist, duplicates.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::{ListOutput, TableFormat};
use voisin::questions::Filters;
use voisin::questions::explore::{Duplicates, PathBetween};
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
    #[command(flatten)]
    pub(crate) question: Duplicates,
    /// Number of groups at most
    #[arg(long, short, default_value_t = Limit::from(0), value_name = "N|all", allow_negative_numbers = true)]
    pub(crate) limit: Limit,
    #[command(flatten)]
    pub(crate) output: ListOutput,
}
