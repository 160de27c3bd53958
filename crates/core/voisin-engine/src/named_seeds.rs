//! Seeds by the names of docs/grammar.md, for callers that take names as a user writes them: the command line and Python.
//!
//! Not for: `-`, which the command line replaces by the lines of standard input before.

use std::ffi::OsStr;
use std::ops::Deref;
use std::path::Path;

use super::seed::{NAME_PREFIXES, SeedName};
use super::{Embedder, Engine, EngineError, Seed};
use voisin_audio::is_audio_candidate;
use voisin_base::text::{count, fold, with_causes};
use voisin_base::track::TrackId;
use voisin_library::scan;
use voisin_library::{Library, LibraryError, NameOf, PathLookup, TrackFilter, stored_path};

/// The seeds that names stand for.
#[derive(Debug, Default)]
pub struct NamedSeeds {
    /// Those of names of one track.
    pub named: Vec<Seed>,
    /// Those of names of several: a playlist, a folder, an album, an artist.
    pub of_lists: Vec<Seed>,
}

impl NamedSeeds {
    /// All of them, those of lists last.
    pub fn all(mut self) -> Vec<Seed> {
        self.named.append(&mut self.of_lists);
        self.named
    }
}

/// A message for the user about a name.
#[derive(Debug)]
pub enum SeedNews {
    /// How it was understood.
    Note(String),
    /// Files or entries of it that were left out.
    LeftOut(String),
}

/// Turns names into seeds; its fields are what callers differ in.
pub struct SeedReader<'a, E> {
    /// Has the library.
    pub engine: &'a Engine,
    /// Whether the files of a folder that is not in the library are analysed.
    pub reads_files: bool,
    /// Loads the model for a file that is not in the library, or refuses that file.
    pub embedder: &'a dyn Fn(&Path) -> Result<E, EngineError>,
    /// Receives messages.
    pub report: &'a mut dyn FnMut(SeedNews),
}

impl<E: Deref<Target = Embedder>> SeedReader<'_, E> {
    /// Adds the seeds that a name stands for.
    pub fn read(&mut self, text: &OsStr, found: &mut NamedSeeds) -> Result<(), EngineError> {
        let engine = self.engine;
        let seeds = match SeedName::parse(text) {
            SeedName::Playlist(path) => self.seeds_of_playlist(path)?,
            SeedName::Folder(path) => self.seeds_of_folder(path)?,
            SeedName::Named(kind, name) => {
                seeds_of(engine, &tracks_named(engine.library(), kind, name)?)?
            }
            SeedName::StandardInput | SeedName::Id(_) | SeedName::PathOrWords(_) => {
                let seed = self.seed(text);
                let meant = match &seed {
                    // Words that fit several tracks may be the name of an artist or album, all of
                    // which is meant then.
                    Err(EngineError::Ambiguous { text, .. }) => all_named(engine, text)?,
                    _ => None,
                };
                let Some((name, seeds)) = meant else {
                    found.named.push(seed?);
                    return Ok(());
                };
                self.report_meaning(&name, &seeds);
                seeds
            }
        };
        found.of_lists.extend(seeds);
        Ok(())
    }

    /// The one track that a name stands for.
    pub fn one(&mut self, text: &OsStr) -> Result<Seed, EngineError> {
        // Words for one track never mean an artist's many: those that fit are listed.
        if let SeedName::PathOrWords(_) = SeedName::parse(text) {
            return self.seed(text);
        }
        let mut found = NamedSeeds::default();
        self.read(text, &mut found)?;
        let mut seeds = found.all();
        let text = text.to_string_lossy().into_owned();
        let found = seeds.len();
        let several = EngineError::SeveralTracks { text, found };
        seeds.pop().filter(|_| found == 1).ok_or(several)
    }

    fn seed(&self, text: &OsStr) -> Result<Seed, EngineError> {
        self.engine.seed(text, || (self.embedder)(Path::new(text)))
    }

    fn report_meaning(&mut self, name: &str, seeds: &[Seed]) {
        let tracks = count(seeds.len() as u64, "track");
        (self.report)(SeedNews::Note(format!("taken for {name}, {tracks}")));
    }

    /// The tracks of the library below a folder; where there are none, its files, which are analysed.
    fn seeds_of_folder(&mut self, folder: &Path) -> Result<Vec<Seed>, EngineError> {
        let filter = TrackFilter {
            folders: vec![stored_path(folder)],
            ..TrackFilter::default()
        };
        let tracks = self.engine.library().matching(&filter)?;
        if !tracks.is_empty() {
            return seeds_of(self.engine, &tracks.to_vec());
        }
        let nothing = |problem: &str| EngineError::NothingListed {
            path: folder.to_owned(),
            problem: problem.to_owned(),
        };
        if !self.reads_files {
            return Err(nothing(
                "no track of the library lies below it: run \"voisin add\" on it first",
            ));
        }
        // Analysing a folder outside the library takes time, but it was requested.
        let found = scan::scan(&[folder.to_owned()], &is_audio_candidate);
        let mut seeds = Vec::new();
        for file in &found.files {
            match self.seed(file.path.as_os_str()) {
                Ok(seed) => seeds.push(seed),
                Err(error) => {
                    let text = format!("{} (left out)", with_causes(&error));
                    (self.report)(SeedNews::LeftOut(text));
                }
            }
        }
        if seeds.is_empty() {
            return Err(nothing(
                "expected tracks of the library or files of audio below it, found none: run \"voisin add FOLDER\" first",
            ));
        }
        Ok(seeds)
    }

    fn seeds_of_playlist(&mut self, path: &Path) -> Result<Vec<Seed>, EngineError> {
        let engine = self.engine;
        // Every entry counts, also those that no longer look like audio: they may be in the
        // library.
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
            let path = path.to_owned();
            // Of the list as a whole, not of an entry.
            let mut problems = scanned.problems.into_iter();
            if let Some(fault) = problems.find(|problem| problem.path == path) {
                let reason = fault.reason;
                return Err(EngineError::Playlist { path, reason });
            }
            return Err(EngineError::NothingListed {
                path,
                problem: format!(
                    "none of its {missing} entries is in the library: run \"voisin add\" on it first"
                ),
            });
        }
        if missing > 0 {
            (self.report)(SeedNews::LeftOut(format!(
                "{}: {missing} of {} entries are not in the library and left out",
                path.display(),
                missing + seeds.len()
            )));
        }
        Ok(seeds)
    }
}

/// The tracks of the artist, else of the album, that words name from end to end, or from their beginning where they fit
/// nothing else; with how that is written.
fn all_named(engine: &Engine, words: &str) -> Result<Option<(String, Vec<Seed>)>, EngineError> {
    let library = engine.library();
    let kinds = &NAME_PREFIXES[..2];
    for (prefix, kind) in kinds {
        let names = library.lookup().names(*kind)?;
        if names.iter().any(|name| fold(name) == fold(words)) {
            let tracks = tracks_named(library, *kind, words)?;
            let seeds = seeds_of(engine, &tracks)?;
            return Ok(Some((format!("{prefix}{words}"), seeds)));
        }
    }
    // "nina" means Nina Simone only where she is all that the word finds.
    let fits = library.lookup().search_words(words, usize::MAX)?.len();
    let beginning = format!("{} ", fold(words));
    for (prefix, kind) in kinds {
        let names = library.lookup().names(*kind)?;
        let mut meant = names
            .iter()
            .filter(|name| fold(name).starts_with(&beginning));
        if let (Some(name), None) = (meant.next(), meant.next()) {
            let tracks = tracks_named(library, *kind, name)?;
            // Else the words also fit other tracks, which the user may have meant: better to list
            // them.
            if tracks.len() == fits {
                let seeds = seeds_of(engine, &tracks)?;
                return Ok(Some((format!("{prefix}{name}"), seeds)));
            }
        }
    }
    Ok(None)
}

fn tracks_named(library: &Library, kind: NameOf, name: &str) -> Result<Vec<TrackId>, LibraryError> {
    let mut tracks = Vec::new();
    for name in library.lookup().resolve_names(kind, name)? {
        tracks.extend(library.lookup().tracks_named(kind, &name)?);
    }
    // Spellings of one name share tracks; each seed counts once in the mean.
    tracks.sort_unstable();
    tracks.dedup();
    Ok(tracks)
}

fn seeds_of(engine: &Engine, tracks: &[TrackId]) -> Result<Vec<Seed>, EngineError> {
    tracks.iter().map(|&track| engine.seed_of(track)).collect()
}
