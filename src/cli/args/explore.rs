//! The verbs that explore: clusters, map, path, playlist, artists, duplicates.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::units::RandomArgs;
use super::{ListOutput, TableFormat, one_of};
use voisin_library::Person;
use voisin_questions::Filters;
use voisin_questions::explore::{Clusters, Duplicates, NearArtists, PathBetween};
use voisin_questions::playlist::Playlist;
use voisin_questions::seed::NamedSeed;
use voisin_questions::values::Limit;

/// Find groups of tracks that sound alike, without choosing their number
///
/// The largest has number 1. Tracks near nothing are noise.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin clusters\n  voisin clusters --genre electronic --format json"
)]
pub(crate) struct ClustersArgs {
    #[command(flatten)]
    pub(crate) question: Clusters,
    #[command(flatten)]
    pub(crate) filters: Filters,
    #[command(flatten)]
    pub(crate) random: RandomArgs,
    /// Output format; csv lists every track with its cluster
    #[arg(long, value_enum, default_value_t = TableFormat::Table)]
    pub(crate) format: TableFormat,
}

/// Draw a map of the library on which neighbours lie together
///
/// An .html file is one self-contained page (no network): pan, zoom, search, hover, click for neighbours, lasso to a playlist.
/// A .csv file has the coordinates.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  voisin map --output map.html\n  voisin map --output map.csv")]
pub(crate) struct MapArgs {
    /// The file to write, in the format of its ending: .html or .csv
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
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
#[command(mut_arg("format", |format| format.default_value("m3u8")))]
#[command(
    after_help = "Examples:\n  voisin playlist id:17 id:4 --limit 30 --name Evening --output evening.m3u8\n  voisin playlist 'album:blue train' --limit 20\n  voisin playlist --genre jazz --length 90m --diversity 0.5"
)]
pub(crate) struct PlaylistArgs {
    #[command(flatten)]
    pub(crate) question: Playlist,
    /// The same as TRACK, as an option
    #[arg(long, value_name = "TRACK")]
    pub(crate) seed: Vec<NamedSeed>,
    #[command(flatten)]
    pub(crate) output: ListOutput,
}

/// Show artists, and which are near to each other
///
/// Nearness compares all tracks of both, not only their means. A track belongs to every artist that its artist tag names, or,
/// after --count-by composer, to its composers.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin artists 'nina simone'\n  voisin artists --count-by composer"
)]
pub(crate) struct ArtistsArgs {
    /// From now on, attribute this library's tracks to their artists, or to their composers where the tags name them: in
    /// `artists`, --max-per-artist and evaluation [default: as it was set; artist]
    #[arg(long, value_name = "artist|composer", value_parser = one_of::<Person>(["artist", "composer"]))]
    pub(crate) count_by: Option<Person>,
    #[command(flatten)]
    pub(crate) makers: MakersArgs,
}

/// Show albums, and which sounds like which
///
/// Nearness compares all tracks of both, not only their means. An album is identified by its title and its artist, or, where
/// the tags name no album artist, by its folder.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  voisin albums 'kind of blue'")]
pub(crate) struct AlbumsArgs {
    #[command(flatten)]
    pub(crate) makers: MakersArgs,
}

/// Options of `artists` and `albums`.
#[derive(Debug, Args)]
pub(crate) struct MakersArgs {
    #[command(flatten)]
    pub(crate) question: NearArtists,
    /// Number at most [default: 10 near a named one, else all]
    #[arg(long, short, value_name = "N|all", allow_negative_numbers = true)]
    pub(crate) limit: Option<Limit>,
    /// Output format
    #[arg(long, value_enum, default_value_t = TableFormat::Table)]
    pub(crate) format: TableFormat,
}

/// Find the same recording in several files (nothing is deleted)
///
/// Copies may differ in codec, bit rate, level, and silence at the ends. Stored vectors find the pairs; where they are
/// inconclusive, the audio of both files is compared, some 12 s at a few places.
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
