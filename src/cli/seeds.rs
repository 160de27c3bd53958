//! Seeds of a search as a user names them on the command line (docs/grammar.md): files, `id:NUMBER`, words, playlists,
//! folders, `album:NAME`, `artist:NAME`, `composer:NAME`, `sounds:WORDS`.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::cli::NothingFound;
use crate::cli::context::Context;
use crate::cli::named::named_paths;
use crate::cli::render::count;
use voisin_audio::is_audio_candidate;
use voisin_base::text::{fold, with_causes};
use voisin_base::track::TrackId;
use voisin_engine::{Engine, EngineError, Seed, SeedName, sound_notes};
use voisin_library::scan;
use voisin_library::{Library, NameOf, PathLookup, TrackFilter, stored_path};
use voisin_questions::seed::NamedSeed;

/// Seeds as they were named.
#[derive(Default)]
pub(crate) struct NamedSeeds {
    /// One by one.
    pub(crate) named: Vec<Seed>,
    /// By a list of several: a playlist, a folder, an album, an artist, a phrase for their sound.
    pub(crate) of_lists: Vec<Seed>,
}

/// How far a name that is no track of the library is followed.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum SeedReach {
    /// It is refused.
    Library,
    /// Files are analysed.
    Files,
    /// And phrases are searched for.
    Phrases,
}

/// The names on a command line, those of a list on standard input in the place of `-`.
///
/// Standard input can be read once, so names are expanded before anything else is done with them.
pub(crate) fn seed_names(named: &[NamedSeed]) -> anyhow::Result<Vec<OsString>> {
    let written: Vec<OsString> = named.iter().map(NamedSeed::written).collect();
    expand_names(&written)
}

/// As [`seed_names`], for names that were read as plain text.
pub(crate) fn expand_names(named: &[OsString]) -> anyhow::Result<Vec<OsString>> {
    let paths = named_paths(named)?;
    // A `-` that brings nothing makes the list shorter; without this the search would go on without
    // it.
    if paths.len() < named.len() {
        return Err(NothingFound(
            "expected seeds on standard input, one a line, found none".to_owned(),
        )
        .into());
    }
    Ok(paths.into_iter().map(PathBuf::into_os_string).collect())
}

/// The one name of an argument that stands for one track.
pub(crate) fn one_seed_name(named: &NamedSeed) -> anyhow::Result<OsString> {
    let written = named.written();
    let mut names = expand_names(std::slice::from_ref(&written))?;
    // `pop` runs first, so the length is that of the others.
    match (names.pop(), names.len()) {
        (Some(name), 0) => Ok(name),
        (_, others) => Err(several(&written, others + 1)),
    }
}

/// Turns names, which [`seed_names`] expanded, into seeds.
pub(crate) fn seeds(
    context: &Context,
    engine: &Engine,
    named: &[OsString],
) -> anyhow::Result<Vec<Seed>> {
    let mut all = seeds_and_lists(context, engine, named)?;
    all.named.append(&mut all.of_lists);
    Ok(all.named)
}

/// As [`seeds`], for answers about these very tracks: words that fit none are refused.
pub(crate) fn named_seeds(
    context: &Context,
    engine: &Engine,
    named: &[OsString],
) -> anyhow::Result<Vec<Seed>> {
    let mut all = found(context, engine, named, SeedReach::Files)?;
    all.named.append(&mut all.of_lists);
    Ok(all.named)
}

/// As [`named_seeds`], for what works on tracks of the library alone: nothing is listened to.
pub(crate) fn library_seeds(
    context: &Context,
    engine: &Engine,
    named: &[OsString],
) -> anyhow::Result<Vec<Seed>> {
    let mut all = found(context, engine, named, SeedReach::Library)?;
    all.named.append(&mut all.of_lists);
    Ok(all.named)
}

/// As [`seeds`], those of lists apart. What a playlist names that is not in the library is told and left out.
pub(crate) fn seeds_and_lists(
    context: &Context,
    engine: &Engine,
    named: &[OsString],
) -> anyhow::Result<NamedSeeds> {
    found(context, engine, named, SeedReach::Phrases)
}

fn found(
    context: &Context,
    engine: &Engine,
    named: &[OsString],
    reach: SeedReach,
) -> anyhow::Result<NamedSeeds> {
    let library = engine.library();
    let listens = reach >= SeedReach::Files;
    let mut found = NamedSeeds::default();
    for text in named {
        match SeedName::parse(text) {
            SeedName::StandardInput => {
                anyhow::bail!("a list on standard input cannot name \"-\", standard input itself");
            }
            SeedName::Playlist(path) => found
                .of_lists
                .extend(seeds_of_playlist(context, engine, path)?),
            SeedName::Folder(path) | SeedName::Sheet(path) => {
                found
                    .of_lists
                    .extend(seeds_of_folder(context, engine, path, listens)?);
            }
            SeedName::Named(kind, name) => {
                found
                    .of_lists
                    .extend(seeds_of(engine, &tracks_named(library, kind, name)?)?);
            }
            SeedName::Sounds(phrase) => {
                let seeds = engine.words().seeds(phrase, false)?;
                report_phrase(context, phrase, &seeds);
                found.of_lists.extend(seeds);
            }
            SeedName::Id(_) | SeedName::PathOrWords(_) => {
                let seed = engine.seed(text, || {
                    if listens {
                        context.lazy_embedder(Some(library))
                    } else {
                        Err(EngineError::NotInLibrary {
                            path: PathBuf::from(text),
                        })
                    }
                });
                // Only words that are no track are tried as a sound: a title always goes first.
                if let (Err(EngineError::NoSuchTrack { text, .. }), SeedReach::Phrases) =
                    (&seed, reach)
                    && let Some(seeds) = engine.words().seeds_of_unknown(text)?
                {
                    report_phrase(context, text, &seeds);
                    found.of_lists.extend(seeds);
                    continue;
                }
                // Words that fit several tracks may be the name of an artist or album, all of which
                // is meant then.
                let whole = match &seed {
                    Err(EngineError::Ambiguous { text, .. }) => all_named(library, text)?,
                    _ => None,
                };
                if let Some((name, tracks)) = whole {
                    let tracks_meant = count(tracks.len() as u64, "track");
                    context
                        .console
                        .note(&format!("taken for {name}, {tracks_meant}"));
                    found.of_lists.extend(seeds_of(engine, &tracks)?);
                } else {
                    found.named.push(seed?);
                }
            }
        }
    }
    Ok(found)
}

fn report_phrase(context: &Context, phrase: &str, seeds: &[Seed]) {
    let tracks_meant = count(seeds.len() as u64, "track");
    context
        .console
        .note(&format!("taken for sounds:{phrase}, {tracks_meant}"));
    for note in sound_notes(seeds) {
        context.console.note(&note);
    }
}

/// The one track that a name stands for, of a phrase for its sound the one that fits best.
pub(crate) fn one_seed(
    context: &Context,
    engine: &Engine,
    text: &OsString,
) -> anyhow::Result<Seed> {
    // Words for one track never mean an artist's many: those that fit are listed.
    if matches!(SeedName::parse(text), SeedName::PathOrWords(_)) {
        return Ok(engine.seed(text, || context.lazy_embedder(Some(engine.library())))?);
    }
    if let SeedName::Sounds(phrase) = SeedName::parse(text) {
        let seed = engine.words().seed(phrase)?;
        report_phrase(context, phrase, std::slice::from_ref(&seed));
        return Ok(seed);
    }
    let mut found = seeds(context, engine, std::slice::from_ref(text))?;
    match (found.pop(), found.len()) {
        (Some(seed), 0) => Ok(seed),
        (_, others) => Err(several(text, others + 1)),
    }
}

fn several(text: &OsStr, found: usize) -> anyhow::Error {
    anyhow::anyhow!("{}: expected one track, found {found}", text.display())
}

/// The tracks of the artist, else of the album, that words name from end to end, or from their beginning where they fit
/// nothing else; with how that is written.
fn all_named(library: &Library, words: &str) -> anyhow::Result<Option<(String, Vec<TrackId>)>> {
    let kinds = [("artist:", NameOf::Artist), ("album:", NameOf::Album)];
    for (prefix, kind) in kinds {
        let names = library.lookup().names(kind)?;
        if names.iter().any(|name| fold(name) == fold(words)) {
            let tracks = tracks_named(library, kind, words)?;
            return Ok(Some((format!("{prefix}{words}"), tracks)));
        }
    }
    // "nina" means Nina Simone only where she is all that the word finds.
    let fits = library.lookup().search_words(words, usize::MAX)?.len();
    let beginning = format!("{} ", fold(words));
    for (prefix, kind) in kinds {
        let names = library.lookup().names(kind)?;
        let mut meant = names
            .iter()
            .filter(|name| fold(name).starts_with(&beginning));
        if let (Some(name), None) = (meant.next(), meant.next()) {
            let tracks = tracks_named(library, kind, name)?;
            // Else the words also fit other tracks, which the user may have meant: better to list
            // them.
            if tracks.len() == fits {
                return Ok(Some((format!("{prefix}{name}"), tracks)));
            }
        }
    }
    Ok(None)
}

fn tracks_named(library: &Library, kind: NameOf, name: &str) -> anyhow::Result<Vec<TrackId>> {
    let mut tracks = Vec::new();
    for name in library.lookup().names_meant(kind, name)? {
        tracks.extend(library.lookup().tracks_named(kind, &name)?);
    }
    // Spellings of one name share tracks; each seed counts once in the mean.
    tracks.sort_unstable();
    tracks.dedup();
    Ok(tracks)
}

fn seeds_of(engine: &Engine, tracks: &[TrackId]) -> anyhow::Result<Vec<Seed>> {
    Ok(tracks
        .iter()
        .map(|&track| engine.seed_of(track))
        .collect::<Result<_, EngineError>>()?)
}

/// The tracks of the library below a folder; where there are none, its files, which are listened to.
fn seeds_of_folder(
    context: &Context,
    engine: &Engine,
    folder: &Path,
    listens: bool,
) -> anyhow::Result<Vec<Seed>> {
    let library = engine.library();
    let filter = TrackFilter {
        folders: vec![stored_path(folder)],
        ..TrackFilter::default()
    };
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
    // A folder of files that nobody added: listening to them takes time, but it is what was asked
    // for.
    let mut found = scan::scan(&[folder.to_owned()], &is_audio_candidate);
    found.split_files(&|_| false);
    let mut seeds = Vec::new();
    for file in &found.files {
        match engine.seed(file.path.as_os_str(), || {
            context.lazy_embedder(Some(library))
        }) {
            Ok(seed) => seeds.push(seed),
            Err(error) => context
                .console
                .warn(&format!("{} (left out)", with_causes(&error))),
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
    // Every entry counts, also those that no longer look like audio: the library may know them.
    let scanned = scan::scan(&[path.to_owned()], &|_| true);
    let mut missing = 0;
    let mut seeds = Vec::new();
    let mut lookup = PathLookup::new(engine.library());
    for file in &scanned.files {
        match engine.library().files().find_by_path(&file.path)? {
            Some(track) => seeds.push(engine.seed_of_file(track, &file.path)?),
            None => missing += 1,
        }
    }
    // Of files that are not there the library may have those that are meant.
    for problem in &scanned.problems {
        // A stream is no file of the library under another root, however its end reads.
        let is_address = problem.path.to_string_lossy().contains("://");
        let meant = if is_address {
            None
        } else {
            lookup.track(&problem.path)?
        };
        match meant {
            Some(track) => seeds.push(engine.seed_of(track)?),
            None => missing += 1,
        }
    }
    if seeds.is_empty() {
        // Of the list as a whole, not of an entry.
        let mut problems = scanned.problems.iter();
        if let Some(fault) = problems.find(|problem| problem.path == path) {
            anyhow::bail!("{}: {}", path.display(), fault.reason);
        }
        let text = format!(
            "{}: none of its {missing} entries is in the library: run \"voisin add\" on it first",
            path.display()
        );
        return Err(NothingFound(text).into());
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
