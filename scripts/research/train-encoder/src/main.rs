//! The program `voisin-train-encoder`: an OpenL3-shaped student learns to reproduce its teachers' outputs.
//!
//! ```text
//! music files → prepare → cache (spectrograms + teachers' outputs) → run → checkpoint → export → model
//! ```
//!
//! Distillation: Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network", 2015. Student: Cramer, Wu,
//! Salamon and Bello, "Look, listen and learn more", ICASSP 2019.

mod augment;
mod cache;
#[cfg(test)]
mod check;
mod checkpoint;
mod codec;
mod export;
mod head;
mod layout;
mod loss;
mod mix;
mod prepare;
mod train;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use voisin_encoder::DeviceChoice;

const SOME_SKIPPED: u8 = 1;
const INTERRUPTED: u8 = 130;
/// Time between lines of progress.
const LINE_EVERY: Duration = Duration::from_secs(20);

/// Trains an encoder: an OpenL3-shaped network learns to reproduce its teachers' outputs on your music
#[derive(Debug, Parser)]
struct Cli {
    /// Where the network runs: auto, cpu, cuda or cuda:N
    #[arg(long, global = true, env = "VOISIN_DEVICE", default_value = "auto")]
    device: DeviceChoice,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Prepare(PrepareArgs),
    Run(RunArgs),
    Export(ExportArgs),
}

/// Decode music once: spectrograms for the student, outputs of the teachers; existing files are kept
#[derive(Debug, Args)]
struct PrepareArgs {
    /// Folders of music; the first folder below one is a track's group
    music: Vec<PathBuf>,
    /// Folder of the prepared files
    #[arg(long)]
    cache: PathBuf,
    /// Folder of rendered grooves; the first folder below it is a track's style
    #[arg(long)]
    grooves: Vec<PathBuf>,
    /// A teacher: a model with tags at 16 kHz, by name or manifest; may be repeated
    #[arg(long, default_value = "musicnn-msd")]
    teacher: Vec<String>,
    /// Passes over the music, each with other crops
    #[arg(long, default_value_t = 1)]
    passes: u32,
    /// Further passes with mixtures, as input of the teachers too: other speeds and balances, two tracks at once
    #[arg(long, default_value_t = 0)]
    mixed: u32,
    /// Mixtures of each crop in such a pass: other balances, speeds and pieces of the same companions
    #[arg(long, default_value_t = 3)]
    mixtures: usize,
    /// Folder of sounds that are mixed in at times, such as voices; may be repeated
    #[arg(long)]
    overlay: Vec<PathBuf>,
    /// Crops per track and pass; short tracks give fewer
    #[arg(long, default_value_t = 12)]
    crops: usize,
    /// Seed of random numbers: the same seed gives the same result
    #[arg(long, default_value_t = 1)]
    random_seed: u64,
}

/// Train on prepared music; repeat the command to continue an interrupted run
///
/// Writes checkpoint.safetensors and loss.csv into the run's folder.
#[derive(Debug, Args)]
struct RunArgs {
    /// Folder of prepared music
    cache: PathBuf,
    /// Folder of the run
    run: PathBuf,
    /// Windows to train on in all; the schedule ends here
    #[arg(long, default_value_t = 200_000)]
    windows: u64,
    /// Windows per step
    #[arg(long, default_value_t = 32)]
    batch: usize,
    /// Highest learning rate
    #[arg(long, default_value_t = 2e-3)]
    rate: f64,
    /// Seed of random numbers: the same seed gives the same result
    #[arg(long, default_value_t = 1)]
    random_seed: u64,
    /// Start with the averaged weights of another run
    #[arg(long, value_name = "CHECKPOINT")]
    from: Option<PathBuf>,
}

/// Write a run's averaged weights as a model: f16, a manifest, a SHA-256
#[derive(Debug, Args)]
struct ExportArgs {
    /// The run's checkpoint
    checkpoint: PathBuf,
    /// The model's name
    #[arg(long)]
    name: String,
    /// Folder of the model
    #[arg(long)]
    output: PathBuf,
    /// SPDX expression of the weights' licence
    #[arg(long, default_value = "CC0-1.0")]
    licence: String,
    /// The music it was trained on, for the manifest
    #[arg(long, default_value = "trained with voisin-train-encoder")]
    provenance: String,
    /// A teacher whose penultimate layer is in the search vector, and its weight; may be repeated [default: the first]
    #[arg(long, value_name = "NAME[:WEIGHT]")]
    frame: Vec<Weighted>,
}

/// `NAME` or `NAME:WEIGHT`.
#[derive(Debug, Clone, PartialEq)]
struct Weighted(String, f32);

impl std::str::FromStr for Weighted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // From the right: a name may contain a colon.
        let (name, weight) = text.rsplit_once(':').unwrap_or((text, "1"));
        match weight.parse::<f32>() {
            Ok(weight) if weight.is_finite() && weight > 0.0 => Ok(Self(name.to_owned(), weight)),
            _ => Err(format!("expected NAME or NAME:WEIGHT, found \"{text}\"")),
        }
    }
}

fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    let stop = Arc::new(AtomicBool::new(false));
    let raised = Arc::clone(&stop);
    ctrlc::set_handler(move || raised.store(true, Ordering::Relaxed))
        .context("cannot listen for Ctrl-C")?;
    let is_stopped = || stop.load(Ordering::Relaxed);
    let skipped = match &cli.command {
        Command::Prepare(args) => {
            let last = Mutex::new(Instant::now());
            let found = prepare::prepare(args, &|now| {
                if let Ok(mut last) = last.lock()
                    && last.elapsed() >= LINE_EVERY
                {
                    *last = Instant::now();
                    eprintln!("{} of {} tracks, {} crops", now.done, now.total, now.crops);
                }
                !is_stopped()
            })?;
            for (path, reason) in &found.skipped {
                eprintln!("{}: {reason}", path.display());
            }
            println!(
                "{} of {} tracks, {} new crops, {} skipped",
                found.done,
                found.total,
                found.crops,
                found.skipped.len()
            );
            !found.skipped.is_empty()
        }
        Command::Run(args) => {
            let mut last = Instant::now();
            train::train(cli.device, args, &mut |run, losses| {
                if last.elapsed() >= LINE_EVERY {
                    last = Instant::now();
                    let loss = losses.total();
                    eprintln!("step {}, {} windows, loss {loss:.4}", run.step, run.windows);
                }
                !is_stopped()
            })?;
            false
        }
        Command::Export(args) => {
            println!("{}", export::export(args)?.display());
            false
        }
    };
    Ok(ExitCode::from(if is_stopped() {
        INTERRUPTED
    } else if skipped {
        SOME_SKIPPED
    } else {
        0
    }))
}
