//! `similar`, and the filters and outputs that other verbs share.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};

use super::sound::{SortKey, SoundFilterArgs};
use super::units::{Limit, Seconds, cosine, share};
use super::{BackendArgs, one_of};
use crate::index::SearchMode;
use crate::library::{Library, LibraryError, NameOf, TrackFilter, WordBound, YearSpan, word_bound};

/// Find the tracks that sound most like the given ones
///
/// A seed is a file (in the library or not), `id:NUMBER`, words that match artist and title, or what stands for its
/// tracks: a playlist, a folder, `album:NAME` or `artist:NAME`. Several seeds are averaged. The seeds themselves and their exact duplicates are left out of the answer.
/// With --from and --to it is one passage that is looked for, and each answer says where in the track it sounds.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin similar ~/Music/song.flac\n  voisin similar 'nina simone sinnerman' --limit 30 --max-per-artist 2 --format m3u8 > alike.m3u8\n  voisin similar id:17 --genre jazz --year 1950-1969\n  voisin similar song.flac --bpm 120-128 --key compatible --sort bpm\n  voisin similar song.flac --from 1:05 --to 1:15\n  voisin similar 'chaos god' --unlike 'wings of cruelty'"
)]
pub(crate) struct SimilarArgs {
    /// Files, `id:NUMBER`, words that match artist and title, playlists, folders, `album:NAME`, `artist:NAME`; `-` reads
    /// seeds from standard input
    #[arg(required = true, value_name = "TRACK")]
    pub(crate) seeds: Vec<std::ffi::OsString>,
    /// How many neighbours
    #[arg(long, short, default_value_t = Limit::from(10), value_name = "N|all", allow_negative_numbers = true)]
    pub(crate) limit: Limit,
    #[command(flatten)]
    pub(crate) filters: FilterArgs,
    /// At most this many tracks of one artist
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_per_artist: Option<u32>,
    /// Only neighbours at least this similar (cosine, -1 to 1)
    #[arg(long, value_name = "COSINE", allow_negative_numbers = true, value_parser = cosine)]
    pub(crate) min_similarity: Option<f32>,
    /// What the neighbours are sorted by; those of which it is not known come last
    #[arg(long, value_enum, default_value_t = SortKey::Similarity, conflicts_with = "from")]
    pub(crate) sort: SortKey,
    /// Keep the seeds and their duplicates in the answer
    #[arg(long)]
    pub(crate) include_seed: bool,
    /// Stay away from this track (several: from each)
    #[arg(long, value_name = "TRACK")]
    pub(crate) unlike: Vec<std::ffi::OsString>,
    /// How strongly to stay away, 0 to 1
    #[arg(long, default_value_t = 0.5, value_name = "0..1", requires = "unlike", allow_negative_numbers = true, value_parser = share)]
    pub(crate) unlike_weight: f32,
    /// Look for the passage that begins here: 65, 1:05 or 1m5s (needs --to and one seed)
    #[arg(long, value_name = "TIME", requires = "to", conflicts_with = "unlike")]
    pub(crate) from: Option<Seconds>,
    /// Where the passage ends
    #[arg(long, value_name = "TIME", requires = "from")]
    pub(crate) to: Option<Seconds>,
    /// With --from: answer from the stored windows alone, without listening to the best tracks again
    #[arg(long, requires = "from")]
    pub(crate) rough: bool,
    #[command(flatten)]
    pub(crate) search: SearchArgs,
    #[command(flatten)]
    pub(crate) output: ListOutput,
    #[command(flatten)]
    pub(crate) backend: BackendArgs,
}

/// How the nearest neighbours are found.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct SearchArgs {
    /// Compare with every track (the same as --search exact)
    #[arg(long)]
    pub(crate) exact: bool,
    /// How to search: auto, exact (every vector), scan (compressed vectors, then exact), lists (the nearest groups of compressed vectors) or hnsw (graph)
    #[arg(long, value_parser = one_of::<SearchMode>(["auto", "exact", "scan", "lists", "hnsw"]), default_value_t = SearchMode::Auto, conflicts_with = "exact")]
    pub(crate) search: SearchMode,
}

impl SearchArgs {
    pub(crate) fn mode(self) -> SearchMode {
        if self.exact { SearchMode::Exact } else { self.search }
    }
}

/// Which tracks may appear in an answer.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Filters")]
pub(crate) struct FilterArgs {
    /// Only tracks of this genre (several: any of them)
    #[arg(long, value_name = "GENRE")]
    pub(crate) genre: Vec<String>,
    /// No tracks of this genre (several: none of them)
    #[arg(long, value_name = "GENRE")]
    pub(crate) exclude_genre: Vec<String>,
    /// Only tracks by this artist (several: any of them)
    #[arg(long, value_name = "ARTIST")]
    pub(crate) artist: Vec<String>,
    /// No tracks by this artist
    #[arg(long, value_name = "ARTIST")]
    pub(crate) exclude_artist: Vec<String>,
    /// Only tracks of this year, or of a span such as 1970-1979, 1990- or -1965
    #[arg(long, value_name = "YEARS", allow_hyphen_values = true)]
    pub(crate) year: Option<YearSpan>,
    /// Only tracks below this folder (several: any of them)
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) folder: Vec<PathBuf>,
    /// Only tracks under this licence: cc-by (any version of it), cc-by-4.0, cc (all of Creative Commons), or a part of
    /// another licence's name (several: any of them)
    #[arg(long, visible_alias = "license", value_name = "LICENCE")]
    pub(crate) licence: Vec<String>,
    /// Only tracks that are this word or tag more than 80 % of the library is; `calm:95`: more than 95 % (several: all of
    /// them). `voisin find --words` lists the words
    #[arg(long, value_name = "WORD[:PERCENT]", value_parser = |text: &str| word_bound(text, 80.0, false))]
    pub(crate) tag: Vec<WordBound>,
    /// No tracks that are this word or tag more than half of the library is; `voice:80`: more than 80 %
    #[arg(long, value_name = "WORD[:PERCENT]", value_parser = |text: &str| word_bound(text, 50.0, true))]
    pub(crate) not_tag: Vec<WordBound>,
    /// Only tracks at least this long: 90 (seconds), 1:30 or 2m
    #[arg(long, value_name = "TIME")]
    pub(crate) min_duration: Option<Seconds>,
    /// Only tracks at most this long
    #[arg(long, value_name = "TIME")]
    pub(crate) max_duration: Option<Seconds>,
    #[command(flatten)]
    pub(crate) sound: SoundFilterArgs,
}

impl FilterArgs {
    /// The filter, with names as the library has them.
    pub(crate) fn filter(&self, library: &Library) -> Result<TrackFilter, LibraryError> {
        let artists = |names: &[String]| -> Result<Vec<String>, LibraryError> {
            let meant = names.iter().map(|name| library.names_meant(NameOf::Artist, name));
            Ok(meant.collect::<Result<Vec<_>, _>>()?.concat())
        };
        Ok(TrackFilter {
            genres: self.genre.clone(),
            exclude_genres: self.exclude_genre.clone(),
            artists: artists(&self.artist)?,
            exclude_artists: artists(&self.exclude_artist)?,
            year_from: self.year.and_then(YearSpan::from),
            year_to: self.year.and_then(YearSpan::to),
            words: self.tag.iter().chain(&self.not_tag).cloned().collect(),
            licences: self.licence.clone(),
            folders: self
                .folder
                .iter()
                .map(|folder| library.folder_meant(folder))
                .collect::<Result<_, _>>()?,
            seconds_from: self.min_duration.map(|time| time.0),
            seconds_to: self.max_duration.map(|time| time.0),
            ..self.sound.filter()
        })
    }
}

/// How a list of tracks is printed.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct ListOutput {
    /// How the list is printed; m3u8, xspf and jspf are playlists, paths are for pipes
    #[arg(long, value_enum, default_value_t = ListFormat::Table)]
    pub(crate) format: ListFormat,
    /// In playlists and bare paths: relative to this folder instead of absolute
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) relative_to: Option<PathBuf>,
    /// With --format paths: end each path with NUL instead of a newline
    #[arg(long = "null", short = '0')]
    pub(crate) null: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListFormat {
    Table,
    Json,
    Csv,
    #[value(alias = "m3u")]
    M3u8,
    Xspf,
    Jspf,
    /// XML for Rekordbox (Mixxx reads m3u8)
    Rekordbox,
    /// NML for Traktor
    Traktor,
    Paths,
}

impl ListFormat {
    /// Its name on the command line.
    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

impl ListOutput {
    /// Refuses options that mean nothing in this format.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let format = self.format.name();
        if self.null && self.format != ListFormat::Paths {
            anyhow::bail!("-0 ends bare paths, expected with it --format paths, found --format {format}");
        }
        if self.relative_to.is_some()
            && matches!(self.format, ListFormat::Table | ListFormat::Json | ListFormat::Csv)
        {
            anyhow::bail!(
                "--relative-to is for playlists and bare paths, expected with it --format m3u8, xspf, jspf or paths, found --format {format}"
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
