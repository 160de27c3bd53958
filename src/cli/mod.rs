//! The command line: arguments in, results on standard output, messages on standard error, an exit code.
//!
//! Each verb has a file of its own in [`verbs`] and works in three steps: parse ([`args`], clap), run (the library),
//! [`render`]. Code that several verbs need has a file of its own here; no verb uses another.
//!
//! Not for: anything that another program could use. Computation belongs to the engine or below it, JSON that the server
//! also returns to `answers`.

mod add_files;
mod args;
#[cfg(feature = "parquet")]
mod columnar;
#[cfg(not(feature = "parquet"))]
#[path = "columnar/absent.rs"]
mod columnar;
mod context;
#[cfg(feature = "postgres")]
mod database;
#[cfg(not(feature = "postgres"))]
#[path = "database/absent.rs"]
mod database;
mod lab;
mod merge_outcome;
mod meter;
mod missing_files;
mod named;
mod outputs;
mod render;
mod seeds;
mod source;
mod vectors_table;
mod verbs;

use std::process::ExitCode;

use clap::FromArgMatches as _;

use args::Cli;
use context::Context;

use voisin::EngineError;
use voisin_explore::ExploreError;
use voisin_library::LibraryError;

/// How a verb ended, if without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Fine,
    /// Some files failed, or nothing was found.
    Partial,
    /// Ctrl-C was pressed.
    Interrupted,
}

impl Ending {
    pub(crate) fn partial_if(is_partial: bool) -> Self {
        if is_partial {
            Self::Partial
        } else {
            Self::Fine
        }
    }
}

/// A named item does not exist: exit code 1, as for a search without results.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NothingFound(pub(crate) String);

impl From<Ending> for ExitCode {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Fine => Self::SUCCESS,
            Ending::Partial => Self::from(1),
            Ending::Interrupted => Self::from(130),
        }
    }
}

pub fn main() -> ExitCode {
    // A codec's panic on a damaged file is caught and becomes that file's failure: its message would only alarm users.
    let loud = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !voisin_audio::is_guarded() {
            loud(panic);
        }
    }));
    voisin_simd::buffer::explain_cut_files();
    let mut words = std::env::args_os().skip(1);
    let command = match (words.next(), words.next()) {
        (None, _) => args::first_screen(),
        (Some(word), None) if word == "-h" => args::first_screen(),
        _ => args::command(),
    };
    let parsed = command
        .try_get_matches()
        .and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to standard output with exit code 0, mistakes to standard error with exit code 2.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match run(cli) {
        Ok(ending) => ending.into(),
        // As with `head`: the reader closed the pipe on purpose.
        Err(error) if error.is::<render::ReaderGone>() => ExitCode::SUCCESS,
        Err(error) => {
            render::print_error(&error);
            ExitCode::from(if is_nothing_found(&error) { 1 } else { 2 })
        }
    }
}

/// Whether the error is that a named item does not exist, or that the library has no data for an answer.
fn is_nothing_found(error: &anyhow::Error) -> bool {
    error.is::<NothingFound>()
        || database::is_not_found(error)
        || error.downcast_ref().is_some_and(EngineError::is_not_found)
        || error.downcast_ref().is_some_and(LibraryError::is_not_found)
        || matches!(
            error.downcast_ref(),
            Some(ExploreError::UnknownArtist { .. })
        )
}

fn run(cli: Cli) -> anyhow::Result<Ending> {
    // Checked here, so that the error is reported once and not wherever a kernel is first used.
    voisin_simd::isa()?;
    let context = Context::new(cli.global)?;
    if context.database().is_some() && !cli.command.asks_a_database() {
        anyhow::bail!(
            "a library in a database answers similar, list, show and classify: fetch it with \"voisin pull --from URL --library DIR\" for other commands"
        );
    }
    let _busy = cli
        .command
        .is_busy()
        .then(|| context.console.busy("working"));
    cli.command.run(&context)
}
