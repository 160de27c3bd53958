//! The command line as clap reads it: one structure per verb, each with an example.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use voisin::encoder::DeviceChoice;

/// Finds tracks that sound alike, names their genres, and shows how genres cluster.
///
/// voisin listens to your music files, keeps one vector per track in a library of its own, and answers from there.
/// Your files are read, never changed.
#[derive(Debug, Parser)]
#[command(
    name = "voisin",
    version,
    max_term_width = 110,
    propagate_version = true,
    after_help = "Start here:\n  voisin add ~/Music            listen to a folder (again later: only what changed)\n  voisin similar 'nina simone'  what sounds like this?\n  voisin classify new.mp3       which genre is this?\n\nExit codes: 0 fine, 1 some files failed or nothing was found, 2 usage or a fault, 130 interrupted."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options that every verb takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Folder of the library [default: $`XDG_DATA_HOME/voisin`]
    #[arg(long, global = true, env = "VOISIN_LIBRARY", value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) library: Option<PathBuf>,
    /// Model: a name from `voisin model list`, a manifest, or a weights file
    #[arg(long, global = true, env = "VOISIN_MODEL", value_name = "MODEL")]
    pub(crate) model: Option<String>,
    /// Where the network runs: auto, cpu, cuda or cuda:N
    #[arg(long, global = true, default_value = "auto", value_name = "DEVICE")]
    pub(crate) device: DeviceChoice,
    /// At most this many threads, everywhere [default: all cores]
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,
    /// Say nothing but results and errors
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Say more: each file, the device, the index
    #[arg(long, short, global = true)]
    pub(crate) verbose: bool,
    /// Who computes on a CPU: voisin's own kernels, or Candle layer by layer (slow; for traces and checks)
    #[arg(long, global = true, value_enum, default_value_t = EngineKind::Fast)]
    pub(crate) engine: EngineKind,
    /// Write a Chrome trace of the run to FILE (with --engine candle, layer by layer)
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) trace: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Demo(DemoArgs),
    #[command(visible_alias = "scan")]
    Add(AddArgs),
    Similar(SimilarArgs),
    Classify(ClassifyArgs),
    Genres(GenresArgs),
    Clusters(ClustersArgs),
    Map(MapArgs),
    Path(PathArgs),
    Playlist(PlaylistArgs),
    Artists(ArtistsArgs),
    Duplicates(DuplicatesArgs),
    Outliers(OutliersArgs),
    Embed(EmbedArgs),
    Status(StatusArgs),
    Failed(FailedArgs),
    Retry(RetryArgs),
    Remove(RemoveArgs),
    Verify(VerifyArgs),
    Repair(RepairArgs),
    Export(ExportArgs),
    Bench(BenchArgs),
    Model(ModelArgs),
    Completions(CompletionsArgs),
    Man(ManArgs),
}

/// Build a small library from the music that comes with voisin, and show what it can do
///
/// Needs no network and under a minute. The library goes into a temporary folder unless --library says otherwise.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  voisin demo")]
pub(crate) struct DemoArgs {
    /// The demo music [default: data/demo, found from here or from where voisin was built]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) data: Option<PathBuf>,
}

/// Add music to the library, or bring it up to date
///
/// Folders are read recursively; playlists (M3U, PLS, XSPF) and single files are taken too; `-` reads a list of
/// paths from standard input. Unchanged files are not opened, moved and retagged ones keep their vectors. Hidden
/// folders and those that hold a `.nomedia` or `.notmusic` file are skipped. Stop it whenever you like: what is
/// done is kept, and the next run goes on.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin add ~/Music\n  find /mnt/nas -name '*.flac' -newer stamp | voisin add -"
)]
pub(crate) struct AddArgs {
    /// Folders, playlists or files; `-` for a list on standard input
    #[arg(required = true, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(crate) paths: Vec<PathBuf>,
    /// Windows per track, spread evenly over it; `all` for one every second [default: by model]
    #[arg(long, value_name = "N|all")]
    pub(crate) windows: Option<WindowCount>,
    /// Listen again to files that have not changed
    #[arg(long)]
    pub(crate) force: bool,
    /// Only say what would be done
    #[arg(long, short = 'n')]
    pub(crate) dry_run: bool,
    /// How the summary is printed
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub(crate) format: ReportFormat,
    /// The list on standard input is separated by NUL, not by newlines
    #[arg(long = "null", short = '0')]
    pub(crate) null: bool,
}

/// A number of windows per track, or all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WindowCount {
    All,
    Spread(usize),
}

impl std::str::FromStr for WindowCount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim().to_ascii_lowercase().as_str() {
            "all" => Ok(Self::All),
            number => match number.parse() {
                Ok(n @ 1..=100_000) => Ok(Self::Spread(n)),
                _ => Err(format!("expected a number from 1 to 100000, or \"all\", found \"{text}\"")),
            },
        }
    }
}

/// Find the tracks that sound most like the given ones
///
/// A seed is a file (in the library or not), `id:NUMBER`, or words that match artist and title. Several seeds are
/// averaged. The seeds themselves and their exact duplicates are left out of the answer.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin similar ~/Music/song.flac\n  voisin similar 'nina simone sinnerman' --limit 30 --max-per-artist 2 --format m3u8 > alike.m3u8\n  voisin similar id:17 --genre jazz --year 1950-1969"
)]
pub(crate) struct SimilarArgs {
    /// Files, `id:NUMBER`, or words that match artist and title; `-` reads seeds from standard input
    #[arg(required = true, value_name = "TRACK")]
    pub(crate) seeds: Vec<std::ffi::OsString>,
    /// How many neighbours
    #[arg(long, short, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) limit: u32,
    #[command(flatten)]
    pub(crate) filters: FilterArgs,
    /// At most this many tracks of one artist
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_per_artist: Option<u32>,
    /// Only neighbours at least this similar (cosine, -1 to 1)
    #[arg(long, value_name = "COSINE", allow_negative_numbers = true)]
    pub(crate) min_similarity: Option<f32>,
    /// Keep the seeds and their duplicates in the answer
    #[arg(long)]
    pub(crate) include_seed: bool,
    #[command(flatten)]
    pub(crate) search: SearchArgs,
    #[command(flatten)]
    pub(crate) output: ListOutput,
}

/// How the nearest neighbours are found.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct SearchArgs {
    /// Compare with every track (the same as --search exact)
    #[arg(long)]
    pub(crate) exact: bool,
    /// How to search: auto, exact (every vector), scan (compressed vectors, then exact) or hnsw (graph)
    #[arg(long, value_enum, default_value_t = SearchKind::Auto, conflicts_with = "exact")]
    pub(crate) search: SearchKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SearchKind {
    Auto,
    Exact,
    Scan,
    Hnsw,
}

/// Which tracks may appear in an answer.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Filters")]
pub(crate) struct FilterArgs {
    /// Only tracks of this genre (several: any of them)
    #[arg(long, value_name = "GENRE")]
    pub(crate) genre: Vec<String>,
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
    /// Only tracks at least this long, in seconds
    #[arg(long, value_name = "SECONDS")]
    pub(crate) min_duration: Option<f64>,
    /// Only tracks at most this long, in seconds
    #[arg(long, value_name = "SECONDS")]
    pub(crate) max_duration: Option<f64>,
}

/// An inclusive span of years.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct YearSpan {
    pub(crate) first: i32,
    pub(crate) last: i32,
}

impl std::str::FromStr for YearSpan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("expected a year or a span such as 1970-1979, 1990- or -1965, found \"{text}\"");
        let year = |part: &str| part.trim().parse::<i32>().map_err(|_| wrong());
        let (first, last) = match text.split_once('-') {
            None => (year(text)?, year(text)?),
            Some(("", "")) => return Err(wrong()),
            Some(("", last)) => (i32::MIN, year(last)?),
            Some((first, "")) => (year(first)?, i32::MAX),
            Some((first, last)) => (year(first)?, year(last)?),
        };
        if first > last {
            return Err(format!("the span \"{text}\" ends before it begins; did you mean {last}-{first}?"));
        }
        Ok(Self { first, last })
    }
}

/// How a list of tracks is printed.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct ListOutput {
    /// table, json, csv, m3u8 (a playlist) or paths (one a line, for pipes)
    #[arg(long, value_enum, default_value_t = ListFormat::Table)]
    pub(crate) format: ListFormat,
    /// Playlist paths relative to this folder instead of absolute
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
    Paths,
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

/// Name the genre of tracks, by the labelled tracks that sound like them
///
/// Takes files (in the library or not), or --all for every track of the library. Each answer comes with its
/// evidence: who voted, and how near they are. A track never votes for itself.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin classify new.mp3\n  voisin classify --all --format csv > genres.csv"
)]
pub(crate) struct ClassifyArgs {
    /// Files, `id:NUMBER`, or words that match artist and title
    #[arg(required_unless_present = "all", conflicts_with = "all", value_name = "TRACK")]
    pub(crate) tracks: Vec<std::ffi::OsString>,
    /// Every track of the library
    #[arg(long)]
    pub(crate) all: bool,
    /// How many neighbours vote
    #[arg(long, short = 'k', default_value_t = 15, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) neighbours: u32,
    /// Voters by other artists only
    #[arg(long)]
    pub(crate) other_artists: bool,
    #[command(flatten)]
    pub(crate) search: SearchArgs,
    /// How the answer is printed
    #[arg(long, value_enum, default_value_t = TableFormat::Table)]
    pub(crate) format: TableFormat,
}

/// Show the library's genres, and how near they lie to each other
///
/// With a genre's name: what that genre is nearest to, and which of its tracks are typical or on the border.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  voisin genres\n  voisin genres punk")]
pub(crate) struct GenresArgs {
    /// Only this genre, in detail
    #[arg(value_name = "GENRE")]
    pub(crate) genre: Option<String>,
    /// How the answer is printed
    #[arg(long, value_enum, default_value_t = TableFormat::Table)]
    pub(crate) format: TableFormat,
}

/// Write the window embeddings of files, without a library
///
/// One .npz per file with `embedding` [windows, dimension] and `timestamps` [windows] in seconds, as the openl3
/// tool does: windows every --hop seconds, the first one centred on the start unless --no-center.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  voisin embed song.wav --hop 0.1 --output vectors/")]
pub(crate) struct EmbedArgs {
    /// Audio files
    #[arg(required = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) files: Vec<PathBuf>,
    /// Seconds from one window to the next
    #[arg(long, default_value_t = 0.1, value_name = "SECONDS")]
    pub(crate) hop: f64,
    /// Start the first window at the first sample instead of centring it there
    #[arg(long)]
    pub(crate) no_center: bool,
    /// Folder for the .npz files
    #[arg(long, short, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) output: PathBuf,
}

/// Show what the library holds: tracks, windows, failures, model, index
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  voisin status --format json")]
pub(crate) struct StatusArgs {
    /// How the answer is printed
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub(crate) format: ReportFormat,
}

/// List the files that could not be added, and why
///
/// They are skipped by `add` until they change, or until `voisin retry`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  voisin failed --format paths -0 | xargs -0 ls -l")]
pub(crate) struct FailedArgs {
    #[command(flatten)]
    pub(crate) output: ListOutput,
}

/// Try again the files that could not be added
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  voisin retry")]
pub(crate) struct RetryArgs {
    /// Only files at or below these paths [default: all]
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(crate) paths: Vec<PathBuf>,
    /// How the summary is printed
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub(crate) format: ReportFormat,
}

/// Take tracks out of the library (your files are not touched)
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  voisin remove ~/Music/podcasts\n  voisin remove --missing --dry-run")]
pub(crate) struct RemoveArgs {
    /// Files or folders
    #[arg(required_unless_present = "missing", value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(crate) paths: Vec<PathBuf>,
    /// Files that are not there any more (below PATH, if given)
    #[arg(long)]
    pub(crate) missing: bool,
    /// Only say what would be removed
    #[arg(long, short = 'n')]
    pub(crate) dry_run: bool,
}

/// Write vectors and metadata for other programs
///
/// vectors.npy (float32 [tracks, dimension]), windows.npy (float16 [windows, dimension]) with windows.csv, and
/// tracks.csv in the same row order.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  voisin export vectors/ && python -c \"import numpy; print(numpy.load('vectors/vectors.npy').shape)\""
)]
pub(crate) struct ExportArgs {
    /// Folder to write into
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) output: PathBuf,
    /// Leave out the window vectors
    #[arg(long)]
    pub(crate) no_windows: bool,
}

/// List, describe and check models
#[derive(Debug, Args)]
pub(crate) struct ModelArgs {
    #[command(subcommand)]
    pub(crate) command: ModelCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ModelCommand {
    /// The models that can be named with --model
    List {
        /// How the answer is printed
        #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
        format: ReportFormat,
    },
    /// One model's manifest: architecture, front end, licence, provenance, checksums
    Show {
        /// A model's name, manifest or weights file
        #[arg(value_name = "MODEL")]
        name: Option<String>,
    },
    /// Take in OpenL3 weights of another program: Keras .h5, TensorFlow .pb, ONNX, torch .pth, safetensors
    Import {
        /// The weights file; its contents say what it is
        #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// Name to give the model
        #[arg(long, value_name = "NAME")]
        name: String,
        /// Spectrogram to feed it [default: what the file's publisher uses]
        #[arg(long, value_enum)]
        variant: Option<VariantKind>,
    },
    /// Verify a model's weights against its manifest and run it once
    Check {
        /// A model's name, manifest or weights file
        #[arg(value_name = "MODEL")]
        name: Option<String>,
    },
}

/// Print a completion script for a shell
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  voisin completions bash > ~/.local/share/bash-completion/completions/voisin"
)]
pub(crate) struct CompletionsArgs {
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

/// Print the manual page
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  voisin man | man -l -")]
pub(crate) struct ManArgs {
    /// Write one page per verb into this folder instead
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) output: Option<PathBuf>,
}

/// Find groups of tracks that sound alike, without choosing their number
///
/// Clusters keep their numbers from one run to the next; what split, merged or went is told. Tracks near nothing are noise.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin clusters\n  voisin clusters --detail fine --genre electronic --format json"
)]
pub(crate) struct ClustersArgs {
    /// How finely to divide
    #[arg(long, value_enum, default_value_t = DetailKind::Default)]
    pub(crate) detail: DetailKind,
    /// This many clusters instead of what the music suggests
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(2..=10_000))]
    pub(crate) clusters: Option<u32>,
    /// Only tracks of this genre
    #[arg(long, value_name = "GENRE")]
    pub(crate) genre: Option<String>,
    /// Start of the random numbers: the same seed gives the same clusters
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// How the answer is printed; csv lists every track with its cluster
    #[arg(long, value_enum, default_value_t = TableFormat::Table)]
    pub(crate) format: TableFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DetailKind {
    Coarse,
    Default,
    Fine,
}

/// Draw a map of the library on which neighbours lie together
///
/// An .html file is one self-contained page (no network): pan, zoom, search, hover, click for neighbours, lasso to a playlist.
/// A .png or .svg file is a picture for paper; a .csv file has the coordinates.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin map --output map.html\n  voisin map --output map.png --colour-by cluster"
)]
pub(crate) struct MapArgs {
    /// The file to write; its ending says what: .html, .png, .svg or .csv
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: PathBuf,
    /// Leave the tracks of the last map where they were, and place only new ones
    #[arg(long)]
    pub(crate) update: bool,
    /// Start of the random numbers: the same seed gives the same map
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// For pictures: genre, predicted, cluster or artist
    #[arg(long, default_value = "genre", value_name = "WHAT")]
    pub(crate) colour_by: String,
    /// Title on top
    #[arg(long, value_name = "TEXT")]
    pub(crate) title: Option<String>,
}

/// Walk from one track to another in small steps
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  voisin path 'chaos god' 'nebula' --via 'celtica' --format m3u8 > walk.m3u8"
)]
pub(crate) struct PathArgs {
    /// Where the walk begins: a file of the library, `id:NUMBER`, or words
    #[arg(value_name = "A")]
    pub(crate) from: std::ffi::OsString,
    /// Where it ends
    #[arg(value_name = "B")]
    pub(crate) to: std::ffi::OsString,
    /// A track to pass (several: in this order)
    #[arg(long, value_name = "TRACK")]
    pub(crate) via: Vec<std::ffi::OsString>,
    /// Number of steps [default: as many as it takes]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) steps: Option<u32>,
    /// At most this many tracks of one artist
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_per_artist: Option<u32>,
    /// How the walk is printed
    #[arg(long, value_enum, default_value_t = PlaylistFormat::Table)]
    pub(crate) format: PlaylistFormat,
    /// Playlist paths relative to this folder instead of absolute
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) relative_to: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlaylistFormat {
    Table,
    Json,
    #[value(alias = "m3u")]
    M3u8,
    Xspf,
    Jspf,
    Paths,
}

/// Make a playlist around tracks, a genre or a cluster
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin playlist --seed 'chaos god' --seed 'celtica' --tracks 30 --max-per-artist 2 > list.m3u8\n  voisin playlist --genre jazz --length 90m --diversity 0.5 --format xspf"
)]
pub(crate) struct PlaylistArgs {
    /// A track to start from (several are covered evenly)
    #[arg(long, value_name = "TRACK")]
    pub(crate) seed: Vec<std::ffi::OsString>,
    /// All tracks of this genre as seeds
    #[arg(long, value_name = "GENRE")]
    pub(crate) genre: Vec<String>,
    /// All tracks of this cluster as seeds
    #[arg(long, value_name = "ID")]
    pub(crate) cluster: Option<u32>,
    /// How long: 90m, 1h30m, 3600s
    #[arg(long, value_name = "TIME", conflicts_with = "tracks")]
    pub(crate) length: Option<Time>,
    /// How many tracks [default: 20]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) tracks: Option<u32>,
    /// At most this many tracks of one artist
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_per_artist: Option<u32>,
    /// 0: nearest only; 1: as varied as the neighbourhood allows
    #[arg(long, default_value_t = 0.0, value_name = "0..1")]
    pub(crate) diversity: f32,
    /// Shuffle with this seed instead of ordering by small steps
    #[arg(long, value_name = "SEED")]
    pub(crate) shuffle: Option<u64>,
    /// Least similarity to the seed a track is there for
    #[arg(long, value_name = "COSINE", allow_negative_numbers = true)]
    pub(crate) min_similarity: Option<f32>,
    /// Leave out worse copies of the same recording
    #[arg(long)]
    pub(crate) no_duplicates: bool,
    /// How the list is printed
    #[arg(long, value_enum, default_value_t = PlaylistFormat::M3u8)]
    pub(crate) format: PlaylistFormat,
    /// Paths relative to this folder instead of absolute
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) relative_to: Option<PathBuf>,
}

/// A length of time in seconds, written as `90m`, `1h30m` or `3600s`; a bare number is minutes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Time(pub(crate) f64);

impl std::str::FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("expected a time such as 90m, 1h30m or 3600s, found \"{text}\"");
        let (mut total, mut number) = (0.0, String::new());
        for c in text.trim().chars() {
            let unit = match c {
                'h' => 3600.0,
                'm' => 60.0,
                's' => 1.0,
                '0'..='9' | '.' => {
                    number.push(c);
                    continue;
                }
                _ => return Err(wrong()),
            };
            total += unit * number.parse::<f64>().map_err(|_| wrong())?;
            number.clear();
        }
        if !number.is_empty() {
            total += 60.0 * number.parse::<f64>().map_err(|_| wrong())?;
        }
        if total > 0.0 && total.is_finite() { Ok(Self(total)) } else { Err(wrong()) }
    }
}

/// Show artists, and who is near to whom
///
/// Nearness compares all tracks of both, not only their means.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  voisin artists 'nina simone'")]
pub(crate) struct ArtistsArgs {
    /// Only the artists near to this one
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// How many
    #[arg(long, short, default_value_t = 10, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) limit: u32,
    /// How the answer is printed
    #[arg(long, value_enum, default_value_t = TableFormat::Table)]
    pub(crate) format: TableFormat,
}

/// Find the same recording in several files (nothing is deleted)
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  voisin duplicates --format csv > copies.csv")]
pub(crate) struct DuplicatesArgs {
    /// How the answer is printed
    #[arg(long, value_enum, default_value_t = TableFormat::Table)]
    pub(crate) format: TableFormat,
}

/// Find tracks that lie far from everything: speech, broken rips, test tones
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  voisin outliers --limit 20")]
pub(crate) struct OutliersArgs {
    /// How many at most
    #[arg(long, short, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) limit: u32,
    /// How far is far, in robust standard deviations [default: 3.5]
    #[arg(long, value_name = "SCORE")]
    pub(crate) threshold: Option<f32>,
    /// How the answer is printed
    #[arg(long, value_enum, default_value_t = TableFormat::Table)]
    pub(crate) format: TableFormat,
}

/// Check the database, the index, and that every track finds itself
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  voisin verify --deep")]
pub(crate) struct VerifyArgs {
    /// Listen to a sample of files again and compare
    #[arg(long)]
    pub(crate) deep: bool,
}

/// Mend what verify finds; what cannot be made again is never deleted
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  voisin repair")]
pub(crate) struct RepairArgs {}

/// Measure what this machine does in a second
///
/// encoder: windows through the network (seeded random weights); mel: spectrograms; decode: one file to samples at 48 kHz; search: queries for ten
/// neighbours among made-up tracks.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin bench encoder --arch openl3 --seconds 10\n  voisin bench decode --file song.mp3 --format json"
)]
pub(crate) struct BenchArgs {
    /// What to measure
    #[arg(value_enum)]
    pub(crate) what: BenchKind,
    /// How long to measure
    #[arg(long, default_value_t = 5.0)]
    pub(crate) seconds: f64,
    /// The network (encoder) or its front end (mel)
    #[arg(long, value_enum, default_value_t = NetworkKind::Musicnn)]
    pub(crate) arch: NetworkKind,
    /// Windows that go through the network at once
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(crate) batch: Option<u32>,
    /// The file to decode
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,
    /// Made-up tracks to search
    #[arg(long, default_value_t = 10_000, value_name = "N", value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    pub(crate) tracks: u32,
    /// How the answer is printed
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    pub(crate) format: ReportFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BenchKind {
    Encoder,
    Decode,
    Mel,
    Search,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum NetworkKind {
    Openl3,
    Musicnn,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EngineKind {
    Fast,
    Candle,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum VariantKind {
    Original,
    Kapre04,
    Essentia,
}
