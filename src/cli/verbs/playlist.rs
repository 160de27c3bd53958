//! `voisin playlist`.

use std::collections::HashSet;

use anyhow::bail;

use crate::cli::Ending;
use crate::cli::args::PlaylistArgs;
use crate::cli::context::Context;
use crate::cli::graph::{clustered, duplicate_groups, neighbour_graph};
use crate::cli::render::track::print_list;
use crate::cli::seeds::seeds_and_playlists;
use crate::explore::clusters::ClusterOptions;
use crate::explore::playlist::{Length, PlaylistOptions, SeedUse, playlist};

pub(crate) fn run(context: &Context, args: &PlaylistArgs) -> anyhow::Result<Ending> {
    let mut engine = context.open_engine()?;
    let collection = engine.collection()?;
    let mut rows = Vec::new();
    let seeds = seeds_and_playlists(context, &engine, &args.seed)?;
    for seed in &seeds.named {
        rows.push(collection.row_of(seed)?);
    }
    let named = rows.len();
    for seed in &seeds.of_playlists {
        rows.push(collection.row_of(seed)?);
    }
    if let Some(cluster) = args.cluster {
        let graph = neighbour_graph(&mut engine, &collection)?;
        let found = clustered(&mut engine, &collection, &graph, None, &ClusterOptions::default())?;
        let before = rows.len();
        rows.extend(
            (0..collection.ids.len()).filter(|&row| cluster != 0 && found.assignment[row] == cluster),
        );
        if rows.len() == before {
            bail!("there is no cluster {cluster}: see \"voisin clusters\" for those there are");
        }
    }
    let allowed = engine.matching(&args.filters.filter())?;
    if let (true, Some(allowed)) = (rows.is_empty(), &allowed) {
        rows = collection.rows_of(allowed);
        if rows.is_empty() {
            context.console.note("no track passes the filters: loosen them");
            return Ok(Ending::Partial);
        }
    }
    if rows.is_empty() {
        bail!("no seed: name tracks or playlists with --seed, or a --cluster, or filters such as --genre");
    }
    let length = match (args.length, args.tracks) {
        (Some(length), _) => Length::Seconds(length.0),
        (None, Some(n)) => Length::Tracks(n as usize),
        (None, None) => Length::Tracks(20),
    };
    let options = PlaylistOptions {
        length,
        max_per_artist: args.max_per_artist.map(|n| n as usize),
        diversity: args.diversity,
        shuffle: args.shuffle,
        seeds: SeedUse::Open(named),
        min_similarity: args.min_similarity,
    };
    let mut excluded: HashSet<usize> = HashSet::new();
    if args.no_duplicates {
        for group in duplicate_groups(&mut engine, &collection, None)? {
            // Of a recording that is named as a seed, every other copy is left out.
            let copies: Vec<usize> =
                group.others.iter().chain([&group.best]).filter_map(|&track| collection.row(track)).collect();
            let kept = copies.iter().copied().find(|row| rows[..named].contains(row));
            let kept = kept.or_else(|| collection.row(group.best));
            excluded.extend(copies.into_iter().filter(|&row| Some(row) != kept));
        }
    }
    let entries = playlist(
        collection.vectors.view(),
        &collection.meta,
        &rows,
        &|row| {
            excluded.contains(&row) || allowed.as_ref().is_some_and(|set| !set.contains(collection.ids[row]))
        },
        &options,
    )?;
    let rows: Vec<usize> = entries.iter().map(|entry| entry.row).collect();
    print_list(&collection, &rows, args.format, args.relative_to.as_deref(), "voisin playlist")?;
    Ok(if rows.is_empty() { Ending::Partial } else { Ending::Fine })
}
