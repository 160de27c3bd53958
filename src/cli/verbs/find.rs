//! `voisin find`.

use anyhow::bail;

use crate::cli::Ending;
use crate::cli::args::{FindArgs, ListFormat};
use crate::cli::context::Context;
use crate::cli::render::find::{print_found, print_words};
use crate::cli::source::warn_of_lost_labels;

pub(crate) fn run(context: &Context, args: &FindArgs) -> anyhow::Result<Ending> {
    let output = args.output.prepare(context)?;
    let engine = context.open_engine()?;
    if args.words {
        let is_json = match output.format {
            ListFormat::Table => false,
            ListFormat::Json => true,
            _ => bail!("--words lists no tracks, expected with it --format table or json"),
        };
        print_words(&engine.predicted_tags()?, is_json)?;
        return Ok(Ending::Fine);
    }
    warn_of_lost_labels(context, &engine);
    args.question.filters.check(&engine)?;
    let predicted = engine.predicted_tags()?;
    let answer = args.question.run(&engine, &predicted)?;
    for note in &answer.notes {
        context.console.note(note);
    }
    if answer.tracks.is_empty() {
        // Without tags looser filters would not help.
        let hint = if predicted.ids.is_empty() {
            "no track has the model's tags, which \"voisin add\" stores; "
        } else {
            ""
        };
        context.nothing_found(&args.question.filters, hint);
    }
    let facts = args.question.filters.fields();
    print_found(&engine, &answer, &predicted, facts, &output)?;
    Ok(Ending::partial_if(answer.tracks.is_empty()))
}
