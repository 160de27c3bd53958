//! `voisin tag`: genres into the files themselves.

use super::classify::classified;
use super::{undo, write_tags};
use crate::cli::Ending;
use crate::cli::args::TagArgs;
use crate::cli::context::Context;
use crate::cli::seeds::seed_names;
use voisin::ClassifyOptions;
use voisin_library::{Library, OpenMode};

/// Default precision: writing changes files, so it requires more than printing.
const PRECISION: f32 = 0.9;

pub(crate) fn run(context: &Context, args: &TagArgs) -> anyhow::Result<Ending> {
    if args.undo {
        return undo::run(context, args);
    }
    // Genres from a table need no prediction and no model.
    if let Some(list) = &args.from_list {
        let mut library = Library::open(&context.library_dir(), OpenMode::ReadWrite)?;
        let wishes = write_tags::wishes_of_list(&library, list)?;
        return write_tags::run(context, &mut library, wishes, args);
    }
    let names = seed_names(&args.question.tracks)?;
    let mut engine = context.open_engine()?;
    let question = args.question.options();
    let options = ClassifyOptions {
        precision: question.precision.or(Some(PRECISION)),
        or_share: true,
        ..question
    };
    let names = (!args.all).then_some(names);
    let found = classified(context, Some(&mut engine), &options, names)?;
    let wishes = write_tags::wishes(&engine, &found.answers)?;
    match write_tags::run(context, engine.library_mut(), wishes, args)? {
        Ending::Fine => Ok(found.ending()),
        ending => Ok(ending),
    }
}
