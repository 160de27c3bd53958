//! `voisin playlist`.

use std::collections::HashSet;
use std::ffi::OsString;
use std::hash::{BuildHasher as _, RandomState};

use anyhow::{Context as _, bail};
use ndarray::ArrayView2;

use crate::answers::graph::{clustered, duplicate_groups, neighbour_graph};
use crate::base::vector::dot;
use crate::cli::args::PlaylistArgs;
use crate::cli::context::Context;
use crate::cli::render::count;
use crate::cli::render::track::{playlist_bytes, print_list};
use crate::cli::seeds::seeds_and_lists;
use crate::cli::sound::with_compatible_keys;
use crate::cli::{Ending, NothingFound};
use crate::engine::{Collection, Engine};
use crate::explore::TrackMeta;
use crate::explore::clusters::ClusterOptions;
use crate::explore::playlist::{Entry, Length, PlaylistOptions, SeedUse, chain, playlist};
use crate::track::{TrackId, is_same_recording};

/// Tracks of a list, where nobody says how many.
const TRACKS: usize = 20;
/// Tempos count as they are shown, rounded.
const SHOWN: f64 = 0.5;
/// So many times the length of a list are candidates where key and tempo choose among them.
const MIX_REACH: usize = 8;

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
    let filter = args.filters.filter(engine.library())?;
    let filter = with_compatible_keys(&engine, filter, &args.filters.sound, &seeds.named)?;
    let allowed = engine.matching(&filter)?;
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
    let mixed = args.harmonic || args.max_bpm_step.is_some();
    let options = PlaylistOptions {
        length: if mixed { length.times(MIX_REACH) } else { length },
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
    let mut rows: Vec<usize> = entries.iter().map(|entry| entry.row).collect();
    if mixed {
        let known = engine.library().descriptors(&collection.ids)?;
        let of = |row: usize| known.get(&collection.ids[row]).copied().unwrap_or_default();
        let fits = |from: usize, to: usize| {
            let (from, to) = (of(from), of(to));
            let in_key = from.key.zip(to.key).is_some_and(|(from, to)| from.compatible().contains(&to));
            let step = from.tempo.zip(to.tempo).map(|(from, to)| (from - to).abs());
            (!args.harmonic || in_key)
                && args.max_bpm_step.is_none_or(|most| step.is_some_and(|step| step <= most + SHOWN))
        };
        rows = chain(&rows, &collection.meta, length, &fits);
        let wanted = match length {
            Length::Tracks(n) => rows.len() < n,
            Length::Seconds(seconds) => {
                rows.iter().map(|&row| collection.meta[row].seconds).sum::<f64>() < 0.8 * seconds
            }
        };
        if wanted {
            context.console.note(&format!(
                "the list ends after {}: nothing else near the seeds follows in key and tempo (\"voisin add --update-descriptors\" measures tracks that never were)",
                count(rows.len() as u64, "track")
            ));
        }
    }
    let tracks: Vec<&TrackMeta> = rows.iter().map(|&row| &collection.meta[row]).collect();
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
