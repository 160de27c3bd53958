//! `voisin train genre|encoder|classifier`.
//!
//! For: options, progress and summaries. Not for: fitting; that is [`crate::genre`], [`crate::train`] and `lab`.

mod classifier;
mod encoder;
mod genre;

use crate::cli::Ending;
use crate::cli::args::TrainCommand;
use crate::cli::context::Context;

pub(crate) fn run(context: &Context, command: &TrainCommand) -> anyhow::Result<Ending> {
    match command {
        TrainCommand::Genre(args) => genre::run(context, args),
        TrainCommand::Encoder(args) => encoder::run(context, &args.command),
        TrainCommand::Classifier(args) => classifier::run(context, args),
    }
}
