//! `voisin playlist`.

use std::collections::HashSet;
use std::ffi::OsString;
use std::hash::{BuildHasher as _, RandomState};

use anyhow::{Context as _, bail};
use ndarray::ArrayView2;

use crate::base::vector::dot;
use crate::cli::args::PlaylistArgs;
use crate::cli::context::Context;
use crate::cli::graph::{clustered, duplicate_groups, neighbour_graph};
use crate::cli::render::count;
use crate::cli::render::track::{playlist_bytes, print_list};
use crate::cli::seeds::seeds_and_lists;
use crate::cli::{Ending, NothingFound};
use crate::engine::{Collection, Engine};
use crate::explore::TrackMeta;
use crate::explore::clusters::ClusterOptions;
use crate::explore::playlist::{Entry, Length, PlaylistOptions, SeedUse, playlist};
use crate::track::{TrackId, is_same_recording};

/// Tracks of a list, where nobody says how many.
const TRACKS: usize = 20;

pub(crate) fn run(context: &Context, args: &PlaylistArgs) -> anyhow::Result<Ending> {
    args.output.check()?;
    let mut engine = context.open_engine()?;
    let mut collection = engine.collection()?;
    let cluster = args.cluster.map(|cluster| members(&mut engine, &collection, cluster)).transpose()?;
    let mut rows = Vec::new();
    let seeds: Vec<OsString> = args.seeds.iter().chain(&args.seed).cloned().collect();
    let seeds = seeds_and_lists(context, &engine, &seeds)?;
    collection.take_in(seeds.named.iter().chain(&seeds.of_lists))?;
    let collection = collection;
    for seed in &seeds.named {
        rows.push(collection.row_of(seed)?);
    }
    let named = rows.len();
    for seed in &seeds.of_lists {
        rows.push(collection.row_of(seed)?);
    }
    rows.extend(cluster.iter().flatten().filter_map(|&track| collection.row(track)));
    let allowed = engine.matching(&args.filters.filter(engine.library())?)?;
    if let (true, Some(allowed)) = (rows.is_empty(), &allowed) {
        rows = collection.rows_of(allowed);
        if rows.is_empty() {
            context.console.note("no track passes the filters: loosen them");
            return Ok(Ending::Partial);
        }
    }
    if rows.is_empty() {
        bail!(
            "expected a seed, found none: name tracks, playlists or folders, a --cluster, or filters such as --genre"
        );
    }
    let length = match args.length {
        Some(length) => Length::Seconds(length.0),
        None => Length::Tracks(args.limit.unwrap_or(TRACKS.into()).of(collection.ids.len())),
    };
    let options = PlaylistOptions {
        length,
        max_per_artist: (args.max_per_artist > 0).then_some(args.max_per_artist as usize),
        diversity: args.diversity,
        shuffle: args.shuffle.then(|| args.random_seed.unwrap_or_else(|| RandomState::new().hash_one(0))),
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
    let vectors = collection.vectors.view();
    let entries = loop {
        let is_out = |row: usize| {
            excluded.contains(&row) || allowed.as_ref().is_some_and(|set| !set.contains(collection.ids[row]))
        };
        let entries = playlist(vectors, &collection.meta, &rows, &is_out, &options)?;
        let copies =
            if args.keep_duplicates { Vec::new() } else { copies(vectors, &entries, &rows[..named]) };
        if copies.is_empty() {
            break entries;
        }
        excluded.extend(copies);
    };
    let tracks: Vec<&TrackMeta> = entries.iter().map(|entry| &collection.meta[entry.row]).collect();
    if let Some(file) = &args.file {
        if file.exists() && !args.force {
            bail!("{} is there already: name another file, or replace it with --force", file.display());
        }
        let Some(bytes) = playlist_bytes(&tracks, &args.name, &args.output)? else {
            bail!(
                "--output takes a playlist, expected with it --format m3u8, xspf, jspf, rekordbox, traktor or paths"
            );
        };
        crate::base::atomic_file::write(file, bytes)
            .with_context(|| format!("cannot write {}", file.display()))?;
        context.console.note(&format!("{} in {}", count(tracks.len() as u64, "track"), file.display()));
    } else {
        print_list(&tracks, &args.name, &args.output)?;
    }
    Ok(if tracks.is_empty() { Ending::Partial } else { Ending::Fine })
}

/// The tracks of a cluster.
fn members(engine: &mut Engine, collection: &Collection, cluster: u32) -> anyhow::Result<Vec<TrackId>> {
    let graph = neighbour_graph(engine, collection)?;
    let found = clustered(engine, collection, &graph, None, &ClusterOptions::default())?;
    found.clusters.into_iter().find(|one| one.id == cluster).map(|one| one.members).ok_or_else(|| {
        NothingFound(format!("no cluster {cluster}: \"voisin clusters\" lists those there are")).into()
    })
}

/// Rows of a list that are copies of one before them; a seed that was named is never one.
fn copies(vectors: ArrayView2<'_, f32>, entries: &[Entry], named: &[usize]) -> Vec<usize> {
    let same = |a: usize, b: usize| match (vectors.row(a).to_slice(), vectors.row(b).to_slice()) {
        (Some(a), Some(b)) => is_same_recording(dot(a, b)),
        _ => false,
    };
    let mut kept: Vec<usize> = named.to_vec();
    let mut found = Vec::new();
    for row in entries.iter().map(|entry| entry.row).filter(|row| !named.contains(row)) {
        if kept.iter().any(|&other| same(row, other)) {
            found.push(row);
        } else {
            kept.push(row);
        }
    }
    found
}
