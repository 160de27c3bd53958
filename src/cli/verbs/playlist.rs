//! `voisin playlist`.

use std::ffi::OsString;
use std::hash::{BuildHasher as _, RandomState};

use anyhow::{Context as _, bail};

use crate::answers::graph::{clustered, neighbour_graph};
use crate::answers::playlist::{Copies, PlaylistConstraints, listed};
use crate::cli::args::PlaylistArgs;
use crate::cli::context::Context;
use crate::cli::render::count;
use crate::cli::render::track::{playlist_bytes, print_list};
use crate::cli::seeds::seeds_and_lists;
use crate::cli::sound::with_compatible_keys;
use crate::cli::source::AskedLibrary;
use crate::cli::{Ending, NothingFound};
use crate::engine::{Collection, Engine};
use crate::explore::TrackMeta;
use crate::explore::clusters::ClusterOptions;
use crate::explore::playlist::{Length, PlaylistOptions, SeedUse};
use crate::track::TrackId;

/// Tracks of a list, where nobody says how many.
const TRACKS: usize = 20;

pub(crate) fn run(context: &Context, args: &PlaylistArgs) -> anyhow::Result<Ending> {
    args.output.check()?;
    let seeds: Vec<OsString> = args.seeds.iter().chain(&args.seed).cloned().collect();
    let mut source = AskedLibrary::open(context, &args.backend, false)?;
    source.know_names(&seeds)?;
    source.know_filters(&args.filters)?;
    source.know_all(context, "a playlist")?;
    let mut engine = source.into_engine(context);
    let mut collection = engine.collection()?;
    let cluster = args.cluster.map(|cluster| members(&mut engine, &collection, cluster)).transpose()?;
    let mut rows = Vec::new();
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
    let options = PlaylistOptions {
        length,
        max_per_artist: (args.max_per_artist > 0).then_some(args.max_per_artist as usize),
        diversity: args.diversity,
        shuffle: args.shuffle.then(|| args.random_seed.unwrap_or_else(|| RandomState::new().hash_one(0))),
        seeds: SeedUse::Open(named),
        min_similarity: args.min_similarity,
    };
    let wanted = PlaylistConstraints {
        copies: match (args.no_duplicates, args.keep_duplicates) {
            (true, _) => Copies::LookedFor,
            (false, true) => Copies::Kept,
            (false, false) => Copies::LeftOut,
        },
        harmonic: args.harmonic,
        max_bpm_step: args.max_bpm_step,
        allowed: allowed.as_ref(),
    };
    let list = listed(&mut engine, &collection, &rows, named, &wanted, &options)?;
    if list.is_short {
        context.console.note(&format!(
            "the list ends after {}: nothing else near the seeds follows in key and tempo (\"voisin add --update-descriptors\" measures tracks that never were)",
            count(list.rows.len() as u64, "track")
        ));
    }
    let tracks: Vec<&TrackMeta> = list.rows.iter().map(|&row| &collection.meta[row]).collect();
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
