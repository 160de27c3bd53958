//! The command line: arguments in, results on standard output, messages on standard error, an exit code.
//!
//! Each verb has a file of its own and works in three steps: parse (clap), do (the library), render.

mod add;
mod args;
mod bench;
mod check;
mod classify;
mod context;
mod demo;
mod embed;
mod eval;
mod explore;
mod export;
mod first_guess;
mod genres;
mod model;
mod render;
mod shell;
mod similar;
mod status;
mod suspects;
mod train;
mod write_tags;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use args::{Cli, Command};
use context::Context;

/// How a verb ended, when nothing went wrong that is an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// All is well.
    Fine,
    /// Some files failed, or nothing was found.
    Partial,
    /// Someone pressed Ctrl-C.
    Interrupted,
}

impl From<Ending> for ExitCode {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Fine => Self::SUCCESS,
            Ending::Partial => Self::from(1),
            Ending::Interrupted => Self::from(130),
        }
    }
}

/// Runs the program.
pub fn main() -> ExitCode {
    // A panic of a codec on a damaged file is caught and becomes that file's failure: nothing to alarm anyone with.
    let loud = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !crate::audio::is_guarded() {
            loud(panic);
        }
    }));
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to standard output and end well; mistakes to standard error, with exit code 2.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match run(cli) {
        Ok(ending) => ending.into(),
        Err(error) => {
            render::print_error(&error);
            let nothing_found = error.downcast_ref::<crate::engine::EngineError>().is_some_and(|error| {
                use crate::engine::EngineError as E;
                matches!(
                    error,
                    E::Ambiguous { .. } | E::NoSuchTrack { .. } | E::EmptyLibrary { .. } | E::NoLabels
                )
            });
            ExitCode::from(if nothing_found { 1 } else { 2 })
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<Ending> {
    // Said here, once, and not wherever a kernel is first needed.
    crate::kernels::isa()?;
    let context = Context::new(cli.global)?;
    match cli.command {
        Command::Demo(args) => demo::run(&context, &args),
        Command::Add(args) => add::run(&context, args),
        Command::Similar(args) => similar::run(&context, &args),
        Command::Classify(args) => classify::run(&context, &args),
        Command::Genres(args) => genres::run(&context, &args),
        Command::Suspects(args) => suspects::run(&context, &args),
        Command::Clusters(args) => explore::clusters(&context, &args),
        Command::Map(args) => explore::map(&context, &args),
        Command::Path(args) => explore::walk(&context, &args),
        Command::Playlist(args) => explore::make_playlist(&context, &args),
        Command::Artists(args) => explore::near_artists(&context, &args),
        Command::Duplicates(args) => explore::find_copies(&context, &args),
        Command::Outliers(args) => explore::find_outliers(&context, &args),
        Command::Embed(args) => embed::run(&context, &args),
        Command::Status(args) => status::status(&context, &args),
        Command::Failed(args) => status::failed(&context, &args),
        Command::Retry(args) => add::retry(&context, &args),
        Command::Remove(args) => status::remove(&context, &args),
        Command::Verify(args) => check::verify(&context, &args),
        Command::Repair(_) => check::repair(&context),
        Command::Export(args) => export::run(&context, &args),
        Command::Train(args) => train::run(&context, &args.command),
        Command::Eval(args) => eval::run(&context, &args.command),
        Command::Bench(args) => bench::run(&context, &args),
        Command::Model(args) => model::run(&context, &args.command),
        Command::Completions(args) => shell::completions(&mut Cli::command(), args.shell),
        Command::Man(args) => shell::man(Cli::command(), args.output.as_deref()),
    }
}
