//! `voisin lab`: data sets, features, classifiers and their evaluation.

mod data;
mod eval;
mod features;
mod report;
mod train;

use crate::cli::Ending;
use crate::cli::args::LabCommand;
use crate::cli::context::Context;
use crate::cli::lab::predict_with;

pub(crate) fn run(context: &Context, command: &LabCommand) -> anyhow::Result<Ending> {
    match command {
        LabCommand::Data(args) => data::run(context, args),
        LabCommand::Features(args) => features::run(context, args),
        LabCommand::Train(args) => train::run(context, args),
        LabCommand::Report(args) => report::run(context, args),
        LabCommand::Predict(args) => predict_with(context, args),
        LabCommand::Eval(args) => eval::run(context, &args.command),
    }
}
