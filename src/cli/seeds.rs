//! What a user names on the command line, as seeds of a search (docs/grammar.md): files, `id:NUMBER`, words, playlists,
//! folders, `album:NAME`, `artist:NAME`, `composer:NAME`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::audio::is_audio_candidate;
use crate::base::cue;
use crate::base::text::with_causes;
use crate::cli::NothingFound;
use crate::cli::context::Context;
use crate::cli::named::named_paths;
use crate::engine::{Engine, EngineError, Seed};
use crate::library::scan::{self, PlaylistKind};
use crate::library::{Library, NameOf, TrackFilter, stored_path};
use crate::questions::seed::NamedSeed;
use crate::track::TrackId;

/// Seeds as they were named.
#[derive(Default)]
pub(crate) struct NamedSeeds {
    /// One by one.
    pub(crate) named: Vec<Seed>,
    /// By a list of several: a playlist, a folder, an album, an artist.
    pub(crate) of_lists: Vec<Seed>,
}

/// What was named, as it was written.
pub(crate) fn written(named: &[NamedSeed]) -> Vec<OsString> {
    named.iter().map(NamedSeed::written).collect()
}

/// Turns what was named on the command line (and `-`) into seeds.
pub(crate) fn seeds(context: &Context, engine: &Engine, named: &[OsString]) -> anyhow::Result<Vec<Seed>> {
    let mut all = seeds_and_lists(context, engine, named)?;
    all.named.append(&mut all.of_lists);
    Ok(all.named)
}

/// As [`seeds`], for what works on tracks of the library alone: nothing is listened to.
pub(crate) fn library_seeds(
    context: &Context,
    engine: &Engine,
    named: &[OsString],
) -> anyhow::Result<Vec<Seed>> {
    let mut all = found(context, engine, named, false)?;
    all.named.append(&mut all.of_lists);
    Ok(all.named)
}

/// As [`seeds`], those of lists apart. What a playlist names that is not in the library is told and left out.
pub(crate) fn seeds_and_lists(
    context: &Context,
    engine: &Engine,
    named: &[OsString],
) -> anyhow::Result<NamedSeeds> {
    found(context, engine, named, true)
}

/// - `listens`: whether files that are not in the library are listened to, or refused
fn found(
    context: &Context,
    engine: &Engine,
    named: &[OsString],
    listens: bool,
) -> anyhow::Result<NamedSeeds> {
    let library = engine.library();
    let mut found = NamedSeeds::default();
    for text in &with_listed(named)? {
        let path = Path::new(text);
        let plain = text.to_str().unwrap_or_default();
        if PlaylistKind::of(path).is_some() && path.is_file() {
            found.of_lists.extend(seeds_of_playlist(context, engine, path)?);
        } else if path.is_dir() || (cue::is_sheet(path) && path.is_file()) {
            found.of_lists.extend(seeds_of_folder(context, engine, path, listens)?);
        } else if let Some(name) = plain.strip_prefix("album:") {
            found.of_lists.extend(seeds_of(engine, &tracks_named(library, NameOf::Album, name)?)?);
        } else if let Some(name) = plain.strip_prefix("composer:") {
            found.of_lists.extend(seeds_of(engine, &tracks_named(library, NameOf::Composer, name)?)?);
        } else if let Some(name) = plain.strip_prefix("artist:") {
            found.of_lists.extend(seeds_of(engine, &tracks_named(library, NameOf::Artist, name)?)?);
        } else {
            found.named.push(engine.seed(text, || {
                if listens {
                    context.lazy_embedder(Some(library))
                } else {
                    Err(EngineError::NotInLibrary { path: path.to_owned() })
                }
            })?);
        }
    }
    Ok(found)
}

/// What was named, with the list on standard input in the place of `-`.
pub(crate) fn with_listed(named: &[OsString]) -> anyhow::Result<Vec<OsString>> {
    let paths = named_paths(named)?;
    if paths.len() < named.len() {
        return Err(
            NothingFound("expected seeds on standard input, one a line, found none".to_owned()).into()
        );
    }
    Ok(paths.into_iter().map(PathBuf::into_os_string).collect())
}

/// Whether a path stands for several files: a folder, a playlist, a CUE sheet.
pub(crate) fn is_list(path: &Path) -> bool {
    path.is_dir() || path.is_file() && (PlaylistKind::of(path).is_some() || cue::is_sheet(path))
}

/// The one track that a name stands for.
pub(crate) fn one_seed(context: &Context, engine: &Engine, text: &OsString) -> anyhow::Result<Seed> {
    let mut found = seeds(context, engine, std::slice::from_ref(text))?;
    match (found.pop(), found.len()) {
        (Some(seed), 0) => Ok(seed),
        (_, others) => anyhow::bail!("{}: expected one track, found {}", text.display(), others + 1),
    }
}

fn tracks_named(library: &Library, of: NameOf, name: &str) -> anyhow::Result<Vec<TrackId>> {
    let mut tracks = Vec::new();
    for name in library.names_meant(of, name)? {
        tracks.extend(library.tracks_named(of, &name)?);
    }
    tracks.sort_unstable();
    tracks.dedup();
    Ok(tracks)
}

fn seeds_of(engine: &Engine, tracks: &[TrackId]) -> anyhow::Result<Vec<Seed>> {
    Ok(tracks.iter().map(|&track| engine.seed_of(track)).collect::<Result<_, EngineError>>()?)
}

/// The tracks of the library below a folder; where there are none, its files, which are listened to.
fn seeds_of_folder(
    context: &Context,
    engine: &Engine,
    folder: &Path,
    listens: bool,
) -> anyhow::Result<Vec<Seed>> {
    let library = engine.library();
    let filter = TrackFilter { folders: vec![stored_path(folder)], ..TrackFilter::default() };
    let tracks = library.matching(&filter)?;
    if !tracks.is_empty() {
        return seeds_of(engine, &tracks.to_vec());
    }
    if !listens {
        let text = format!(
            "{}: no track of the library lies below it: run \"voisin add\" on it first",
            folder.display()
        );
        return Err(NothingFound(text).into());
    }
    let mut found = scan::scan(&[folder.to_owned()], &is_audio_candidate);
    found.split_files(&|_| false);
    let mut seeds = Vec::new();
    for file in &found.files {
        match engine.seed(file.path.as_os_str(), || context.lazy_embedder(Some(library))) {
            Ok(seed) => seeds.push(seed),
            Err(error) => context.console.warn(&format!("{} (left out)", with_causes(&error))),
        }
    }
    if seeds.is_empty() {
        let text = format!(
            "{}: expected tracks of the library or files of audio below it, found none: run \"voisin add\" on your music first",
            folder.display()
        );
        return Err(NothingFound(text).into());
    }
    Ok(seeds)
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
