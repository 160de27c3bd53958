//! `voisin train genre|classifier`.
//!
//! For: options, progress and summaries. Not for: fitting; that is [`voisin_genre`] and [`voisin_lab`].

mod classifier;
mod genre;

use crate::cli::Ending;
use crate::cli::args::TrainCommand;
use crate::cli::context::Context;

pub(crate) fn run(context: &Context, command: &TrainCommand) -> anyhow::Result<Ending> {
    match command {
        TrainCommand::Genre(args) => genre::run(context, args),
        TrainCommand::Classifier(args) => classifier::run(context, args),
    }
}
