//! `voisin mix`.

use crate::cli::Ending;
use crate::cli::args::{ListFormat, MixArgs};
use crate::cli::context::Context;
use crate::cli::render::neighbours::print_neighbours;
use crate::cli::render::track::FactColumns;
use crate::cli::seeds::{seed_names, seeds};
use crate::cli::source::warn_of_lost_labels;
use voisin_engine::Standing;
use voisin_questions::Mixing;

pub(crate) fn run(context: &Context, args: &MixArgs) -> anyhow::Result<Ending> {
    args.output.check()?;
    let question = &args.question;
    let named = seed_names(&question.seeds)?;
    let played = seed_names(&question.played)?;
    let engine = &mut context.open_engine()?;
    question.filters.check_licences(engine.library())?;
    let wanted = seeds(context, engine, &named)?;
    let played = seeds(context, engine, &played)?;
    question.filters.check_folders(engine)?;
    let answer = question.run(engine, &wanted, played, &Mixing::default())?;
    warn_of_lost_labels(context, engine);
    // Programs still get an empty list in their format.
    if answer.found.is_empty() {
        match &answer.short {
            Some(short) => context.console.note(&format!("nothing found: {short}")),
            None => context.nothing_found(engine.library(), &question.filters, "")?,
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
    if let Some(name) = &question.mixing.listener {
        let listeners = engine.library().history().listeners()?;
        if listeners.iter().all(|(known, ..)| known != name) {
            let text = format!("no listener \"{name}\": \"voisin heard\" lists the listeners");
            context.console.warn(&text);
        }
    }
    let facts = FactColumns::new(question.fields());
    print_neighbours(&wanted, &answer, &facts, &args.output)?;
    Ok(if answer.found.is_empty() {
        Ending::Partial
    } else {
        Ending::Fine
    })
}
