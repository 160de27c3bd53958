//! Seeds by the names of docs/guide.md, for callers that take names as a user writes them: the command line and Python.
//!
//! Not for: `-`, which the command line replaces by the lines of standard input before.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::ops::Deref;
use std::path::Path;

use super::seed::{NAME_PREFIXES, SeedName};
use super::{Embedder, Engine, EngineError, Seed};
use voisin_base::text::{count, fold};
use voisin_base::track::TrackId;
use voisin_library::scan;
use voisin_library::{Library, LibraryError, NameOf, PathLookup, TrackFilter, stored_path};

const ADD_FIRST: &str = "run \"voisin add\" on it first";

#[derive(Debug, Default)]
pub struct NamedSeeds {
    pub named: Vec<Seed>,
    /// Those of names of several: a playlist, a folder, an album, an artist.
    pub of_lists: Vec<Seed>,
}

impl NamedSeeds {
    pub fn all(mut self) -> Vec<Seed> {
        self.named.append(&mut self.of_lists);
        self.named
    }
}

/// Turns names into seeds; its fields are what callers differ in.
pub struct SeedReader<'a, E> {
    pub engine: &'a Engine,
    /// Loads the model for a file that is not in the library, or refuses that file.
    pub embedder: &'a dyn Fn(&Path) -> Result<E, EngineError>,
    /// Receives messages: how a name was understood, and what was left out.
    pub report: &'a mut dyn FnMut(String),
}

impl<E: Deref<Target = Embedder>> SeedReader<'_, E> {
    pub fn read_all(&mut self, names: &[OsString]) -> Result<NamedSeeds, EngineError> {
        let joined = self.engine.joined_words(names)?;
        let mut found = NamedSeeds::default();
        let names = joined.as_ref().map_or(names, std::slice::from_ref);
        for name in names {
            self.read(name, &mut found)?;
        }
        let mut seen = HashSet::new();
        for seeds in [&mut found.named, &mut found.of_lists] {
            seeds.retain(|seed| seen.insert(seed.track.ok_or_else(|| seed.path.clone())));
        }
        Ok(found)
    }

    pub fn read(&mut self, text: &OsStr, found: &mut NamedSeeds) -> Result<(), EngineError> {
        let engine = self.engine;
        let seeds = match SeedName::parse(text) {
            SeedName::Playlist(path) => self.seeds_of_playlist(path)?,
            SeedName::Folder(path) => seeds_of_folder(engine, path)?,
            SeedName::Named(kind, name) => {
                seeds_of(engine, &tracks_named(engine.library(), kind, name)?)?
            }
            SeedName::Id(_) | SeedName::PathOrWords(_) => {
                let seed = self.seed(text);
                let meant = match &seed {
                    // Words that fit several tracks may be the name of an artist or album, all of
                    // which is meant then.
                    Err(EngineError::Ambiguous { text, .. }) => engine.kind_named(text)?,
                    _ => None,
                };
                let Some((prefix, kind)) = meant else {
                    found.named.push(seed?);
                    return Ok(());
                };
                let words = text.to_string_lossy();
                let tracks = tracks_named(engine.library(), kind, &words)?;
                let number = count(tracks.len() as u64, "track");
                (self.report)(format!("taken for {prefix}{words}, {number}"));
                seeds_of(engine, &tracks)?
            }
        };
        found.of_lists.extend(seeds);
        Ok(())
    }

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
        let several = || EngineError::several_tracks(&text, found);
        seeds.pop().filter(|_| found == 1).ok_or_else(several)
    }

    fn seed(&self, text: &OsStr) -> Result<Seed, EngineError> {
        self.engine.seed(text, || (self.embedder)(Path::new(text)))
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
            match engine.library().find_by_path(&file.path)? {
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
            let mut problems = scanned.problems.into_iter();
            let fault = problems.find(|problem| problem.path == path);
            let problem = fault.map_or_else(
                || format!("none of its {missing} entries is in the library: {ADD_FIRST}"),
                |fault| fault.reason,
            );
            let path = path.display();
            return Err(EngineError::NotFound(format!("{path}: {problem}")));
        }
        if missing > 0 {
            (self.report)(format!(
                "{}: {missing} of {} entries are not in the library and left out",
                path.display(),
                missing + seeds.len()
            ));
        }
        Ok(seeds)
    }
}

fn seeds_of_folder(engine: &Engine, folder: &Path) -> Result<Vec<Seed>, EngineError> {
    let filter = TrackFilter {
        folders: vec![stored_path(folder)],
        ..TrackFilter::default()
    };
    let tracks = engine.library().matching(&filter)?;
    if tracks.is_empty() {
        return Err(EngineError::NotFound(format!(
            "{}: no track of the library lies below it: {ADD_FIRST}",
            folder.display()
        )));
    }
    seeds_of(engine, &tracks.to_vec())
}

impl Engine {
    /// Words that were typed without quotes, as one name; `None` if together they fit no track, artist or album. An
    /// error if one is no whole word of the library and together they are nearly those of a track.
    pub fn joined_words(&self, names: &[OsString]) -> Result<Option<OsString>, EngineError> {
        if names.len() < 2 {
            return Ok(None);
        }
        let mut is_misspelt = false;
        for name in names {
            let is_words = matches!(SeedName::parse(name), SeedName::PathOrWords(_));
            let path = Path::new(name);
            if !is_words || path.exists() || self.library.find_by_path(path)?.is_some() {
                return Ok(None);
            }
            is_misspelt |= !self.library.has_words(&name.to_string_lossy())?;
        }
        let joined = names.join(OsStr::new(" "));
        let Some(words) = joined.to_str() else {
            return Ok(None);
        };
        if self.kind_named(words)?.is_some() {
            return Ok(Some(joined));
        }
        match self.seed_of_words(words, true) {
            // Without a track that is spelt alike, each of the words is a seed.
            Err(EngineError::NotFound(_))
                if !is_misspelt || self.library.spelt_alike(words, 1)?.is_empty() =>
            {
                Ok(None)
            }
            Err(EngineError::Ambiguous { .. }) => Ok(None),
            found => found.map(|_| Some(joined)),
        }
    }

    /// Whether words are the whole name of an artist, else of an album; with the prefix of such names.
    fn kind_named(&self, words: &str) -> Result<Option<(&'static str, NameOf)>, EngineError> {
        for (prefix, kind) in NAME_PREFIXES {
            let names = self.library.names(kind)?;
            if names.iter().any(|name| fold(name) == fold(words)) {
                return Ok(Some((prefix, kind)));
            }
        }
        Ok(None)
    }
}

fn tracks_named(library: &Library, kind: NameOf, name: &str) -> Result<Vec<TrackId>, LibraryError> {
    let mut tracks = Vec::new();
    for name in library.resolve_names(kind, name)? {
        tracks.extend(library.tracks_named(kind, &name)?);
    }
    // Spellings of one name share tracks; each seed counts once in the mean.
    tracks.sort_unstable();
    tracks.dedup();
    Ok(tracks)
}

fn seeds_of(engine: &Engine, tracks: &[TrackId]) -> Result<Vec<Seed>, EngineError> {
    tracks.iter().map(|&track| engine.seed_of(track)).collect()
}
