//! `voisin embed --format parquet`: the data that `add` would store, in files for other engines and other machines.

use std::sync::atomic::Ordering;

use anyhow::bail;

use crate::cli::args::EmbedArgs;
use crate::cli::context::Context;
use crate::cli::render::{self, count};
use crate::cli::{Ending, NothingFound};
use voisin::{AddEvent, AddOptions, Outcome};
use voisin_base::text::with_causes;
use voisin_exchange::parquet::embed_to_parquet;
use voisin_library::scan::Scan;

pub(crate) fn run(context: &Context, args: &EmbedArgs, found: &Scan) -> anyhow::Result<Ending> {
    // Clap cannot exclude these, as that depends on the value of --format.
    if args.hop.is_some() {
        bail!("--hop is for npz, npy and csv: a Parquet file has one vector a track");
    }
    // A shard may be empty by chance, which is no error.
    if found.files.is_empty() && found.problems.is_empty() && args.shard.is_none() {
        return Err(NothingFound("expected audio files, found none".to_owned()).into());
    }
    let options = AddOptions {
        threads: context.threads(),
        ..AddOptions::default()
    };
    let embedder = context.embedder(None)?;
    let stop = context.stop_on_ctrl_c()?;
    let console = context.console;
    let mut progress = |event: AddEvent<'_>| {
        if let AddEvent::Done { path, outcome } = event {
            match outcome {
                Outcome::Failed(error) => console.warn(&with_causes(error)),
                _ => console.detail(&path.display().to_string()),
            }
        }
    };
    let summary = embed_to_parquet(
        &embedder,
        &found.files,
        &args.output,
        &options,
        &mut progress,
        &stop,
    )?;
    let failed = summary.failures + found.problems.len() as u64;
    let text = format!(
        "{} and {} in {}, {} there already",
        count(summary.tracks, "file"),
        count(summary.failures, "failure"),
        args.output.display(),
        summary.known,
    );
    render::print_line(&render::terminal_safe(&text))?;
    // The flag counts, too: Ctrl-C may be pressed after the last file.
    Ok(if summary.interrupted || stop.load(Ordering::Relaxed) {
        Ending::Interrupted
    } else {
        Ending::partial_if(failed > 0)
    })
}
