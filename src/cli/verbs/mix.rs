//! `voisin mix`.

use crate::cli::Ending;
use crate::cli::args::{ListFormat, MixArgs};
use crate::cli::context::Context;
use crate::cli::render::neighbours::print_neighbours;
use crate::cli::render::track::FactColumns;
use crate::cli::seeds::{seed_names, seeds};
use crate::cli::source::{self, fetch_named, warn_of_lost_labels};
use voisin_engine::Standing;
use voisin_questions::Mixing;

pub(crate) fn run(context: &Context, args: &MixArgs) -> anyhow::Result<Ending> {
    args.output.check()?;
    let question = &args.question;
    let named = seed_names(&question.seeds)?;
    let played = seed_names(&question.played)?;
    let mut source = source::open(context, &args.backend)?;
    fetch_named(&mut source, &named)?;
    fetch_named(&mut source, &played)?;
    source.fetch_filters(&question.filters)?;
    let engine = source.engine();
    let wanted = seeds(context, engine, &named)?;
    let played = seeds(context, engine, &played)?;
    question.filters.check_folders(engine)?;
    let answer = source.mix(question, &wanted, played, &Mixing::default())?;
    warn_of_lost_labels(context, source.engine());
    // Programs still get an empty list in their format.
    if answer.found.is_empty() {
        match &answer.short {
            Some(short) => context.console.note(&format!("nothing found: {short}")),
            None => context.nothing_found(source.engine().library(), &question.filters, "")?,
        }
        if args.output.format == ListFormat::Table {
            return Ok(Ending::Partial);
        }
    }
    if let Some(far) = answer.standing.as_ref().and_then(Standing::far) {
        context.console.note(&far);
    }
    if let (false, Some(short)) = (answer.found.is_empty(), &answer.short) {
        context.console.note(short);
    }
    let facts = FactColumns::new(question.fields());
    print_neighbours(&wanted, &answer, &facts, &args.output)?;
    Ok(if answer.found.is_empty() {
        Ending::Partial
    } else {
        Ending::Fine
    })
}
