//! `voisin train genre|encoder`.

mod encoder;
mod genre;

use super::Ending;
use super::args::TrainCommand;
use super::context::Context;

pub(crate) fn run(context: &Context, command: &TrainCommand) -> anyhow::Result<Ending> {
    match command {
        TrainCommand::Genre(args) => genre::run(context, args),
        TrainCommand::Encoder(args) => encoder::run(context, &args.command),
    }
}
