//! `voisin playlist`.

use crate::cli::Ending;
use crate::cli::args::PlaylistArgs;
use crate::cli::context::Context;
use crate::cli::remote::PULL;
use crate::cli::render::count;
use crate::cli::render::track::print_list;
use crate::cli::seeds::{seed_names, seeds_and_lists};
use crate::cli::source::LibraryTarget;
use crate::engine::{Seed, Standing};
use crate::explore::TrackMeta;

pub(crate) fn run(context: &Context, args: &PlaylistArgs) -> anyhow::Result<Ending> {
    args.output.check()?;
    let asked = &args.question;
    asked.validate()?;
    let mut seeds = seed_names(&asked.seeds)?;
    seeds.extend(seed_names(&args.seed)?);
    let mut source = LibraryTarget::open(context, &args.backend, false)?;
    if asked.cluster.is_some() && source.is_remote() {
        anyhow::bail!("--cluster: a database knows no clusters: {PULL}");
    }
    source.resolve_names(&seeds)?;
    source.resolve_filters(&asked.filters)?;
    let seeds = seeds_and_lists(context, source.engine(), &seeds)?;
    let around: Vec<Seed> = seeds.named.iter().chain(&seeds.of_lists).cloned().collect();
    let filter = asked.filters.filter(source.engine(), &seeds.named)?;
    source.fetch_around(context, "a playlist", &around, &filter)?;
    // What was fetched for this question alone has no index.
    let has_index = !source.is_remote();
    let mut engine = source.into_engine(context);
    asked.filters.check_folders(&engine)?;
    let near = if has_index {
        asked.run_near(&mut engine, &seeds.named, &seeds.of_lists)?
    } else {
        None
    };
    let (collection, list) = if let Some(found) = near {
        found
    } else {
        let mut collection = engine.collection()?;
        collection.take_in(seeds.named.iter().chain(&seeds.of_lists))?;
        let list = asked.run(
            &mut engine,
            &collection,
            None,
            &seeds.named,
            &seeds.of_lists,
        )?;
        (collection, list)
    };
    if list.is_short {
        context.console.note(&format!(
            "the list ends after {}: nothing else near the seeds follows in key and tempo (\"voisin add --update-descriptors\" measures tracks that never were)",
            count(list.rows.len() as u64, "track")
        ));
    }
    if let Some(far) = list.standing.as_ref().and_then(Standing::far) {
        context.console.note(&far);
    }
    let tracks: Vec<&TrackMeta> = list.rows.iter().map(|&row| &collection.meta[row]).collect();
    print_list(
        &tracks,
        list.standing.as_ref(),
        "voisin playlist",
        &args.output,
    )?;
    if let Some(file) = &args.output.target {
        context.console.note(&format!(
            "{} in {}",
            count(tracks.len() as u64, "track"),
            file.display()
        ));
    }
    Ok(if tracks.is_empty() {
        Ending::Partial
    } else {
        Ending::Fine
    })
}
