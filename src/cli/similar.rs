//! `voisin similar`.

use std::ffi::OsString;
use std::io::Read as _;
use std::path::Path;

use crate::engine::{Engine, Seed, SimilarOptions, SimilarTrack, meta};
use crate::explore::TrackMeta;
use crate::explore::playlist::{self, Format, PathStyle};
use crate::genre::Taxonomy;
use crate::index::SearchMode;
use crate::library::scan::{self, PlaylistKind};
use crate::library::{Track, TrackFilter, stored_path};
use crate::track::TrackId;
use anyhow::Context as _;
use serde::Serialize;

mod passages;

use super::Ending;
use super::args::{FilterArgs, ListFormat, ListOutput, SearchArgs, SearchKind, SimilarArgs};
use super::context::Context;
use super::render::{self, Align, Table, clock};

/// The documented JSON of `similar`.
#[derive(Serialize)]
struct SimilarJson {
    seeds: Vec<SeedJson>,
    neighbours: Vec<NeighbourJson>,
}

#[derive(Serialize)]
struct SeedJson {
    id: Option<TrackId>,
    path: String,
}

#[derive(Serialize)]
struct NeighbourJson {
    rank: usize,
    id: TrackId,
    path: String,
    similarity: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    similarity_to_unlike: Option<f32>,
    artist: Option<String>,
    title: Option<String>,
    genres: Vec<String>,
}

pub(crate) fn run(context: &Context, args: &SimilarArgs) -> anyhow::Result<Ending> {
    let mut engine = context.open_engine()?;
    if let (Some(from), Some(to)) = (args.from, args.to) {
        return passages::run(context, &engine, args, from.0, to.0);
    }
    let seeds = seeds(context, &engine, &args.seeds)?;
    let options = SimilarOptions {
        unlike: self::seeds(context, &engine, &args.unlike)?,
        unlike_weight: args.unlike_weight,
        ..options(args)
    };
    if options.unlike.is_empty() {
        engine.refresh_index()?;
    }
    let neighbours = engine.similar(&seeds, &options)?;
    if neighbours.is_empty() {
        context.console.note("nothing found: loosen the filters or add more music");
    }
    let ending = if neighbours.is_empty() { Ending::Partial } else { Ending::Fine };
    print(&seeds, &neighbours, &args.output)?;
    Ok(ending)
}

fn options(args: &SimilarArgs) -> SimilarOptions {
    SimilarOptions {
        limit: args.limit as usize,
        filter: filter(&args.filters),
        max_per_artist: args.max_per_artist.map(|n| n as usize),
        min_similarity: args.min_similarity,
        include_seed: args.include_seed,
        mode: mode(args.search),
        ..SimilarOptions::default()
    }
}

/// Seeds as they were named.
#[derive(Default)]
pub(crate) struct Named {
    /// One by one.
    pub(crate) named: Vec<Seed>,
    /// By a playlist.
    pub(crate) of_playlists: Vec<Seed>,
}

/// Turns what was named on the command line (and `-`) into seeds.
pub(crate) fn seeds(context: &Context, engine: &Engine, named: &[OsString]) -> anyhow::Result<Vec<Seed>> {
    let mut all = seeds_and_playlists(context, engine, named)?;
    all.named.append(&mut all.of_playlists);
    Ok(all.named)
}

/// As [`seeds`], playlists apart. Their tracks that are not in the library are told and left out.
pub(crate) fn seeds_and_playlists(
    context: &Context,
    engine: &Engine,
    named: &[OsString],
) -> anyhow::Result<Named> {
    let mut texts = Vec::new();
    for text in named {
        if text == "-" {
            let mut bytes = Vec::new();
            std::io::stdin()
                .lock()
                .read_to_end(&mut bytes)
                .context("cannot read the list on standard input")?;
            texts.extend(
                crate::library::scan::split_list(&bytes).into_iter().map(std::path::PathBuf::into_os_string),
            );
        } else {
            texts.push(text.clone());
        }
    }
    let library = engine.library();
    let mut found = Named::default();
    for text in &texts {
        let path = Path::new(text);
        if PlaylistKind::of(path).is_some() && path.is_file() {
            found.of_playlists.extend(seeds_of_playlist(context, engine, path)?);
        } else {
            found.named.push(engine.seed(text, || context.lazy_embedder(Some(library)))?);
        }
    }
    Ok(found)
}

fn seeds_of_playlist(context: &Context, engine: &Engine, path: &Path) -> anyhow::Result<Vec<Seed>> {
    let scanned = scan::scan(&[path.to_owned()], &|_| true);
    let mut missing = scanned.problems.len();
    let mut seeds = Vec::new();
    for file in &scanned.files {
        match engine.library().find_by_path(&file.path)? {
            Some(track) => seeds.push(engine.seed_of_file(track, &file.path)?),
            None => missing += 1,
        }
    }
    if seeds.is_empty() {
        anyhow::bail!(
            "{}: none of its {missing} entries is in the library: run \"voisin add\" on it first",
            path.display()
        );
    }
    if missing > 0 {
        context.console.warn(&format!(
            "{}: {missing} of {} entries are not in the library and left out",
            path.display(),
            missing + seeds.len()
        ));
    }
    Ok(seeds)
}

pub(crate) fn mode(args: SearchArgs) -> SearchMode {
    match args.search {
        _ if args.exact => SearchMode::Exact,
        SearchKind::Auto => SearchMode::Auto,
        SearchKind::Exact => SearchMode::Exact,
        SearchKind::Scan => SearchMode::Scan,
        SearchKind::Hnsw => SearchMode::Hnsw,
    }
}

pub(crate) fn filter(args: &FilterArgs) -> TrackFilter {
    TrackFilter {
        genres: args.genre.clone(),
        artists: args.artist.clone(),
        exclude_artists: args.exclude_artist.clone(),
        year_from: args.year.map(|span| span.first).filter(|&year| year != i32::MIN),
        year_to: args.year.map(|span| span.last).filter(|&year| year != i32::MAX),
        folders: args.folder.iter().map(|folder| stored_path(folder)).collect(),
        seconds_from: args.min_duration,
        seconds_to: args.max_duration,
    }
}

pub(crate) fn print(seeds: &[Seed], neighbours: &[SimilarTrack], output: &ListOutput) -> anyhow::Result<()> {
    match output.format {
        ListFormat::Table if neighbours.iter().any(|found| found.unlike.is_some()) => {
            let mut table = Table::new(&[
                ("", Align::Right),
                ("similarity", Align::Right),
                ("to the unlike", Align::Right),
                ("artist", Align::Left),
                ("title", Align::Left),
                ("genre", Align::Left),
                ("path", Align::Left),
            ]);
            for (i, SimilarTrack { track, similarity, unlike }) in neighbours.iter().enumerate() {
                table.row([
                    (i + 1).to_string(),
                    format!("{similarity:.3}"),
                    unlike.map_or_else(String::new, |unlike| format!("{unlike:.3}")),
                    track.tags.artist.clone().unwrap_or_default(),
                    title(track),
                    track.tags.genres.join(", "),
                    lossy(&track.path),
                ]);
            }
            table.print()
        }
        ListFormat::Table => {
            let mut table = Table::new(&[
                ("", Align::Right),
                ("similarity", Align::Right),
                ("artist", Align::Left),
                ("title", Align::Left),
                ("genre", Align::Left),
                ("time", Align::Right),
                ("path", Align::Left),
            ]);
            for (i, SimilarTrack { track, similarity, .. }) in neighbours.iter().enumerate() {
                table.row([
                    (i + 1).to_string(),
                    format!("{similarity:.3}"),
                    track.tags.artist.clone().unwrap_or_default(),
                    title(track),
                    track.tags.genres.join(", "),
                    clock(track.audio.seconds),
                    track.path.to_string_lossy().into_owned(),
                ]);
            }
            table.print()
        }
        ListFormat::Json => render::print_json(&SimilarJson {
            seeds: seeds.iter().map(|seed| SeedJson { id: seed.track, path: lossy(&seed.path) }).collect(),
            neighbours: neighbours
                .iter()
                .enumerate()
                .map(|(i, SimilarTrack { track, similarity, unlike })| NeighbourJson {
                    rank: i + 1,
                    id: track.id,
                    path: lossy(&track.path),
                    similarity: *similarity,
                    similarity_to_unlike: *unlike,
                    artist: track.tags.artist.clone(),
                    title: track.tags.title.clone(),
                    genres: track.tags.genres.clone(),
                })
                .collect(),
        }),
        ListFormat::Csv => render::print_csv(
            ["rank", "id", "path", "similarity", "artist", "title", "genres"],
            neighbours.iter().enumerate().map(|(i, SimilarTrack { track, similarity, .. })| {
                [
                    (i + 1).to_string(),
                    track.id.to_string(),
                    lossy(&track.path),
                    format!("{similarity:.6}"),
                    track.tags.artist.clone().unwrap_or_default(),
                    track.tags.title.clone().unwrap_or_default(),
                    track.tags.genres.join(";"),
                ]
            }),
        ),
        ListFormat::M3u8 => {
            let metas: Vec<TrackMeta> =
                neighbours.iter().map(|found| meta(&found.track, &Taxonomy::default())).collect();
            print_playlist(&metas, output.relative_to.as_deref())
        }
        ListFormat::Paths => {
            render::print_paths(neighbours.iter().map(|found| found.track.path.as_path()), output.null)
        }
    }
}

/// Prints tracks as an M3U8 playlist.
pub(crate) fn print_playlist(tracks: &[TrackMeta], relative_to: Option<&Path>) -> anyhow::Result<()> {
    let style = relative_to.map_or(PathStyle::Absolute, |folder| PathStyle::Relative(stored_path(folder)));
    let tracks: Vec<&TrackMeta> = tracks.iter().collect();
    render::print(playlist::write(&tracks, "voisin", Format::M3u8, &style)?)
}

/// The title, or the file's name without its extension.
pub(crate) fn title(track: &Track) -> String {
    track.tags.title.clone().unwrap_or_else(|| lossy(Path::new(track.path.file_stem().unwrap_or_default())))
}

pub(crate) fn lossy(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
