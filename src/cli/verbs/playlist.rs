//! `voisin playlist`.

use crate::cli::Ending;
use crate::cli::args::{ListFormat, PlaylistArgs};
use crate::cli::context::Context;
use crate::cli::render::count;
use crate::cli::render::track::Listing;
use crate::cli::seeds::{library_seeds, seed_names, seeds_and_lists};
use voisin::Standing;
use voisin::questions::answers::playlist::PlaylistJson;
use voisin::questions::seed::NamedSeed;
use voisin_explore::TrackMeta;

pub(crate) fn run(context: &Context, args: &PlaylistArgs) -> anyhow::Result<Ending> {
    let output = args.output.prepare_as(ListFormat::M3u8, context)?;
    args.question.validate()?;
    let mut question = args.question.clone();
    let seeds = seed_names(&question.seeds)?;
    let exclude = seed_names(&question.exclude)?;
    let engine = &mut context.open_engine()?;
    question.filters.check_licences(engine.library())?;
    let seeds = seeds_and_lists(context, engine, &seeds)?;
    let exclude = library_seeds(context, engine, &exclude)?;
    let ids = exclude.iter().filter_map(|seed| seed.track);
    question.exclude = ids.map(|id| NamedSeed::Id(id.0)).collect();
    question.filters.check_folders(engine)?;
    let (collection, list) = question.of_library(engine, &seeds.named, &seeds.of_lists)?;
    if let Some(far) = list.standing.as_ref().and_then(Standing::far) {
        context.console.note(&far);
    }
    if list.ends {
        context
            .console
            .note("the list ends here: nothing near is left");
    }
    let tracks: Vec<&TrackMeta> = list.rows.iter().map(|&row| &collection.meta[row]).collect();
    let json = PlaylistJson::new(engine, &tracks, list.standing.as_ref())?;
    let listing = Listing {
        tracks: json.items.iter().map(|item| &item.track).collect(),
        is_ranked: true,
        leads: Vec::new(),
        facts: question.fields(),
    };
    listing.print(&json, &tracks, "voisin playlist", &output)?;
    // A list written to a file prints nothing else.
    if let Some(file) = &output.file {
        context.console.note(&format!(
            "{} in {}",
            count(tracks.len() as u64, "track"),
            file.display()
        ));
    }
    Ok(Ending::partial_if(tracks.is_empty()))
}
