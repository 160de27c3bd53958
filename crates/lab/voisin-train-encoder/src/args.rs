//! The command line, defined for clap.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueHint};
use voisin_encoder::DeviceChoice;

/// Trains an encoder: an OpenL3-shaped network learns to reproduce its teachers' outputs on your music.
///
/// Three steps, each of which continues after an interruption: prepare (decode the music, run the
/// teachers), run (train), export (write a model for `voisin --model`).
#[derive(Debug, Parser)]
#[command(
    name = "voisin-train-encoder",
    version,
    max_term_width = 110,
    after_help = "Example:\n  voisin-train-encoder prepare music --cache cache --grooves grooves\n  voisin-train-encoder run cache run1 --width 4 --windows 150000\n  voisin-train-encoder run cache run2 --from run1/checkpoint.safetensors --windows 150000 --rate 1e-3\n  voisin-train-encoder export run2/checkpoint.safetensors --name mine\n  voisin --model mine add ~/Music\n\nExit codes: 0 success, 1 some files were skipped, 2 wrong arguments or a failure, 130 interrupted."
)]
pub(crate) struct EncoderCli {
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
    #[command(subcommand)]
    pub(crate) command: EncoderCommand,
}

/// Device, threads and output.
#[derive(Debug, Args)]
pub(crate) struct MachineArgs {
    /// Where the network runs: auto, cpu, cuda or cuda:N
    #[arg(
        long,
        global = true,
        env = "VOISIN_DEVICE",
        default_value = "auto",
        value_name = "DEVICE"
    )]
    pub(crate) device: DeviceChoice,
    /// At most this many threads [default: all cores]
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,
    /// Print only results and errors
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum EncoderCommand {
    Prepare(PrepareArgs),
    Run(RunArgs),
    Export(ExportEncoderArgs),
}

/// Decode music once: spectrograms for the student, outputs of the teachers
///
/// Each track is cut at random positions, different in each pass. Existing files are kept, and the
/// outputs of missing teachers are added.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin-train-encoder prepare music --cache cache --passes 3\n  voisin-train-encoder prepare music --cache cache --passes 3 --teacher musicnn-msd --teacher teachers/other.json"
)]
pub(crate) struct PrepareArgs {
    /// Folders of music; the first folder below one is a track's group, and validation holds out groups
    #[arg(value_name = "DIR", required_unless_present = "grooves", value_hint = ValueHint::DirPath)]
    pub(crate) music: Vec<PathBuf>,
    /// Folder of the prepared files
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) cache: PathBuf,
    /// Folder of rendered grooves; the first folder below it is a track's style
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) grooves: Vec<PathBuf>,
    /// A teacher: a model with tags at 16 kHz, by name or manifest; may be repeated [default: musicnn-msd]
    #[arg(long, value_name = "MODEL")]
    pub(crate) teacher: Vec<String>,
    /// Passes over the music, each with other crops
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) passes: u32,
    /// Further passes with mixtures, as input of the teachers too: other speeds and balances, two tracks at once
    #[arg(long, default_value_t = 0, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub(crate) mixed: u32,
    /// Mixtures of each crop in such a pass: other balances, speeds and pieces of the same companions
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) mixtures: u32,
    /// Folder of sounds that are mixed in at times, such as voices; may be repeated
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) overlay: Vec<PathBuf>,
    /// Crops per track and pass; short tracks give fewer
    #[arg(long, default_value_t = 12, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) crops: u32,
    /// Degraded versions of each crop, besides the original
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=100))]
    pub(crate) degraded: u32,
    /// Seed of random numbers: the same seed gives the same result
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(crate) random_seed: u64,
}

/// Train on prepared music; repeat the command to continue an interrupted run
///
/// Writes into the run's folder: checkpoint.safetensors, loss.csv, validation.csv, loss.svg and loss.png. Ctrl-C writes a
/// checkpoint and stops. The same options, music and processor give the same weights, also after interruptions.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  voisin-train-encoder run cache run1 --width 4 --windows 150000\n  voisin-train-encoder run cache run3 --teacher musicnn-msd --teacher other:0.5 --style 0.2 --contrast 0.1"
)]
pub(crate) struct RunArgs {
    /// Folder of prepared music
    #[arg(value_name = "CACHE", value_hint = ValueHint::DirPath)]
    pub(crate) cache: PathBuf,
    /// Folder of the run
    #[arg(value_name = "RUN", value_hint = ValueHint::DirPath)]
    pub(crate) run: PathBuf,
    /// Share of OpenL3's width: 1, 2 (half) or 4 (quarter)
    #[arg(long, default_value_t = 1, value_name = "DIVISOR")]
    pub(crate) width: usize,
    /// Channels of the eight convolutions, instead of --width
    #[arg(
        long,
        value_name = "N,N,N,N,N,N,N,N",
        value_delimiter = ',',
        conflicts_with = "width"
    )]
    pub(crate) widths: Option<Vec<usize>>,
    /// Windows to train on in all; the schedule ends here
    #[arg(long, default_value_t = 200_000, value_name = "N")]
    pub(crate) windows: u64,
    /// Minutes of training in all sessions, if that ends before --windows
    #[arg(long, value_name = "MINUTES")]
    pub(crate) minutes: Option<f64>,
    /// Windows per step
    #[arg(long, default_value_t = 32, value_name = "N")]
    pub(crate) batch: usize,
    /// Highest learning rate
    #[arg(long, default_value_t = 2e-3, value_name = "RATE")]
    pub(crate) rate: f64,
    /// Seed of random numbers: the same seed gives the same result
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(crate) random_seed: u64,
    /// Start with the weights of another run or of a finished model (a name from `voisin model
    /// list`, a manifest or a weights file), widened if this run is wider
    #[arg(long, value_name = "CHECKPOINT|MODEL", value_hint = ValueHint::FilePath)]
    pub(crate) from: Option<String>,
    /// A teacher to learn from and its weight; may be repeated [default: all in the prepared music, or the run's]
    #[arg(long, value_name = "NAME[:WEIGHT]")]
    pub(crate) teacher: Vec<Weighted>,
    /// Objective: mean square error of the teachers' penultimate layers; 0 switches it off
    #[arg(long, default_value_t = 1.0, value_name = "WEIGHT")]
    pub(crate) penultimate: f32,
    /// Objective: 1 - cosine of the penultimate layers
    #[arg(long, default_value_t = 0.0, value_name = "WEIGHT")]
    pub(crate) cosine: f32,
    /// Objective: mean square error of the tag logits
    #[arg(long, default_value_t = 1.0, value_name = "WEIGHT")]
    pub(crate) tags: f32,
    /// Objective: cross-entropy of the tags' probabilities
    #[arg(long, default_value_t = 0.0, value_name = "WEIGHT")]
    pub(crate) bce: f32,
    /// Objective: windows of one track near each other, others far apart
    #[arg(long, default_value_t = 0.0, value_name = "WEIGHT")]
    pub(crate) contrast: f32,
    /// Temperature of the contrast
    #[arg(long, default_value_t = 0.1, value_name = "T")]
    pub(crate) temperature: f32,
    /// Objective: the style of rendered grooves
    #[arg(long, default_value_t = 0.0, value_name = "WEIGHT")]
    pub(crate) style: f32,
    /// Do not augment spectrograms by tilt and band limits
    #[arg(long)]
    pub(crate) no_colour: bool,
    /// Share of the moving average of the weights that each step keeps
    #[arg(long, default_value_t = 0.999, value_name = "SHARE")]
    pub(crate) average: f32,
    /// Share of tracks in held-out groups
    #[arg(long, default_value_t = 0.12, value_name = "SHARE")]
    pub(crate) holdout: f64,
    /// A group to hold out, instead of a share; may be repeated
    #[arg(long, value_name = "GROUP")]
    pub(crate) holdout_group: Vec<String>,
    /// Windows between validations
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    pub(crate) validate_every: u64,
    /// Seconds between checkpoints
    #[arg(long, default_value_t = 180, value_name = "SECONDS")]
    pub(crate) checkpoint_every: u64,
    /// Stop after this step, as Ctrl-C would; repeat the command to continue
    #[arg(long, value_name = "STEP")]
    pub(crate) stop_after: Option<u64>,
}

/// Write a run's averaged weights as a model: f16, a manifest, a SHA-256
///
/// The search vector comes from a last linear layer, 512 numbers to 512: the student's prediction
/// of the teachers' penultimate layers. With --cache, centring and whitening are fitted on the
/// prepared music and folded in if they help on groups that they were not fitted on.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  voisin-train-encoder export run2/checkpoint.safetensors --name mine --cache cache"
)]
pub(crate) struct ExportEncoderArgs {
    /// The run's checkpoint
    #[arg(value_name = "CHECKPOINT", value_hint = ValueHint::FilePath)]
    pub(crate) checkpoint: PathBuf,
    /// The model's name
    #[arg(long, value_name = "NAME")]
    pub(crate) name: String,
    /// Folder of the model [default: the folder of your models]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) output: Option<PathBuf>,
    /// Replace a model of that name
    #[arg(long)]
    pub(crate) force: bool,
    /// SPDX expression of the weights' licence
    #[arg(long, default_value = "CC0-1.0", value_name = "SPDX")]
    pub(crate) licence: String,
    /// The music it was trained on, for the manifest
    #[arg(
        long,
        default_value = "trained with voisin-train-encoder",
        value_name = "TEXT"
    )]
    pub(crate) provenance: String,
    /// Widen a narrow network to OpenL3's channels, for programs that expect those; the vectors stay the same
    #[arg(long)]
    pub(crate) full_width: bool,
    /// A teacher whose penultimate layer is in the search vector, and its weight; may be repeated [default: the first]
    #[arg(long, value_name = "NAME[:WEIGHT]")]
    pub(crate) frame: Vec<Weighted>,
    /// Share of the tag logits in the search vector, relative to 1 for the penultimate layer
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    pub(crate) tags_share: f32,
    /// A teacher whose tags the model predicts, for `find` and `show`; may be repeated [default: all whose tags have names]
    #[arg(long, value_name = "NAME")]
    pub(crate) tell: Vec<String>,
    /// Prepared music to fit centring and whitening on
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) cache: Option<PathBuf>,
}

/// `NAME` or `NAME:WEIGHT`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Weighted(pub(crate) String, pub(crate) f32);

impl std::str::FromStr for Weighted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // From the right: a name may contain a colon.
        let (name, weight) = text.rsplit_once(':').unwrap_or((text, "1"));
        match weight.parse::<f32>() {
            Ok(weight) if weight.is_finite() && weight >= 0.0 && !name.is_empty() => {
                Ok(Self(name.to_owned(), weight))
            }
            _ => Err(format!(
                "expected NAME or NAME:WEIGHT with a weight of 0 or more, found \"{text}\""
            )),
        }
    }
}
