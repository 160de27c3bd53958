//! `voisin playlist`.

use crate::cli::Ending;
use crate::cli::args::{ListFormat, PlaylistArgs};
use crate::cli::context::Context;
use crate::cli::render::count;
use crate::cli::render::track::Listing;
use crate::cli::seeds::{library_seeds, seed_names, seeds_and_lists};
use voisin::questions::seed::NamedSeed;

pub(crate) fn run(context: &Context, args: &PlaylistArgs) -> anyhow::Result<Ending> {
    let output = args.output.prepare_as(ListFormat::M3u8, context)?;
    args.question.validate()?;
    let mut question = args.question.clone();
    let seeds = seed_names(&question.seeds)?;
    let exclude = seed_names(&question.exclude)?;
    let engine = &mut context.open_engine()?;
    question.filters.check(engine)?;
    let seeds = seeds_and_lists(context, engine, &seeds)?;
    let exclude = library_seeds(context, engine, &exclude)?;
    let ids = exclude.iter().filter_map(|seed| seed.track);
    question.exclude = ids.map(|id| NamedSeed::Id(id.0)).collect();
    let list = question.run(engine, &seeds.named, &seeds.of_lists)?;
    if let Some(far) = &list.far.note {
        context.console.note(far);
    }
    if list.ends {
        context
            .console
            .note("the list ends here: nothing near is left");
    }
    let listing = Listing {
        tracks: list.items.iter().map(|item| &item.track).collect(),
        is_ranked: true,
        leads: Vec::new(),
        facts: question.filters.fields(),
    };
    listing.print(&list, "voisin playlist", &output)?;
    // A list written to a file prints nothing else.
    if let Some(file) = &output.file {
        context.console.note(&format!(
            "{} in {}",
            count(list.items.len() as u64, "track"),
            file.display()
        ));
    }
    Ok(Ending::partial_if(list.items.is_empty()))
}
