//! Queries answered from a database: the tracks that a query needs are fetched into a temporary
//! library, which the code for a library on this disk then queries. Ids are the database's.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::filter::{self, Conditions, path_keys};
use super::push::{labelled, take_settings};
use super::row::{genre_keys, id_of, key};
use super::{Postgres, Result};
use voisin::questions::Filters;
use voisin::{Engine, Seed, SeedName, SimilarOptions, SimilarTrack, TrackPage, TrackQuery};
use voisin_base::track::TrackId;
use voisin_library::{NameOf, OpenMode, TrackFilter, fold, scan};

/// At most this many tracks are fetched for one name, or in one step of a sorted list.
const MOST_NAMED: usize = 5000;

/// Tracks that are fetched where all are compared with each other.
const SAMPLE: usize = 20_000;

/// Tracks that are fetched besides the nearest of the seeds, from databases of more than [`SAMPLE`]: ids are random.
const BACKGROUND: usize = 4000;

/// Nearest tracks that are fetched for each seed.
const NEAR: usize = 400;

/// The largest error of a similarity at 16 bits a number.
const ROUNDING: f32 = 1e-4;

/// A database, and a temporary library of the tracks that were fetched from it.
pub struct Remote {
    store: Postgres,
    engine: Engine,
    /// Contains the temporary library, and is deleted with it.
    _folder: tempfile::TempDir,
}

impl Remote {
    /// Fetches only model, mean and settings of the database.
    pub fn open(store: Postgres) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut engine = Engine::open(folder.path(), OpenMode::Create)?;
        take_settings(&store, engine.library_mut(), true)?;
        Ok(Self {
            store,
            engine,
            _folder: folder,
        })
    }

    /// The temporary library.
    pub fn engine(&mut self) -> &mut Engine {
        &mut self.engine
    }

    /// The number of tracks in the database.
    pub fn tracks(&mut self) -> Result<usize> {
        self.store.count(&Conditions::none(), i64::MAX as usize)
    }

    fn conditions(&mut self, filter: &TrackFilter) -> Result<Conditions> {
        let licences = if filter.licences.is_empty() {
            Vec::new()
        } else {
            self.store.licences()?
        };
        filter::conditions(filter, &self.engine.taxonomy()?, licences)
    }

    /// Fetches tracks that were not fetched yet.
    fn fetch_ids(&mut self, ids: &[TrackId]) -> Result<()> {
        let library = self.engine.library();
        let mut missing = Vec::new();
        let mut seen = HashSet::new();
        for &id in ids {
            if !library.contains(id)? && seen.insert(id) {
                missing.push(id);
            }
        }
        let (fetched, damaged) = self.store.fetch(&missing)?;
        // Damaged rows among others are skipped.
        if fetched.is_empty() && damaged > 0 {
            return Err(self.store.damaged(damaged));
        }
        let mut records = Vec::with_capacity(fetched.len());
        for (id, record, genres) in fetched {
            records.push((Some(id), labelled(library, record, &genres)?));
        }
        self.engine.library_mut().take_in(&records)?;
        Ok(())
    }

    fn fetch_matching(&mut self, conditions: &Conditions, most: usize) -> Result<()> {
        let ids = self.store.ids(conditions, most)?;
        self.fetch_ids(&ids)
    }

    /// Fetches tracks with any of these keys.
    fn fetch_keys(&mut self, condition: &str, keys: Vec<String>, most: usize) -> Result<()> {
        let mut conditions = Conditions::none();
        conditions.and_keys(condition, keys);
        self.fetch_matching(&conditions, most)
    }

    /// Fetches tracks whose names contain all of these words.
    fn fetch_by_words(&mut self, words: &str) -> Result<()> {
        let mut conditions = Conditions::none();
        if conditions.and_words(words) {
            self.fetch_matching(&conditions, MOST_NAMED)?;
        }
        Ok(())
    }

    /// Fetches tracks of artists whose names contain this one, so that suggestions can be made.
    fn fetch_artist(&mut self, name: &str) -> Result<()> {
        self.fetch_by_words(name)?;
        self.fetch_keys("artist_keys && {}", vec![key(&fold(name))], MOST_NAMED)
    }

    fn fetch_album(&mut self, name: &str) -> Result<()> {
        self.fetch_keys("album_keys && {}", vec![key(&fold(name))], MOST_NAMED)
    }

    fn fetch_paths(&mut self, paths: &[PathBuf]) -> Result<()> {
        let most = MOST_NAMED.max(paths.len());
        self.fetch_keys("folders && {}", path_keys(paths), most)
    }

    /// Fetches the tracks that a seed of docs/guide.md may mean; `-` names nothing.
    pub fn fetch(&mut self, name: &OsStr) -> Result<()> {
        match SeedName::parse(name) {
            SeedName::Playlist(path) => {
                let files = scan::scan(&[path.to_owned()], &|_| true).files;
                let paths: Vec<_> = files.into_iter().map(|file| file.path).collect();
                self.fetch_paths(&paths)
            }
            SeedName::Folder(path) => self.fetch_paths(&[path.to_owned()]),
            SeedName::Named(NameOf::Album, album) => {
                self.fetch_by_words(album)?;
                self.fetch_album(album)
            }
            SeedName::Named(NameOf::Artist, artist) => self.fetch_artist(artist),
            SeedName::Id(id) => self.fetch_ids(&[id]),
            SeedName::PathOrWords(text) => self.fetch_path_or_words(text),
        }
    }

    fn fetch_path_or_words(&mut self, text: &OsStr) -> Result<()> {
        let path = Path::new(text);
        self.fetch_paths(&[path.to_owned()])?;
        if path.is_file() {
            // A file of this disk is found there by its content, whatever its path was on the other machine.
            if let Ok(info) = voisin_audio::probe(path) {
                self.fetch_ids(&[id_of(&info.content)])?;
            }
            return Ok(());
        }
        let words = text.to_str().unwrap_or_default();
        // A number may be an id or a title ("1979"): both are fetched, and the code for a library on disk decides.
        if let Ok(id) = words.trim_start_matches('#').parse().map(TrackId) {
            self.fetch_ids(&[id])?;
        }
        // Words that are an artist's or an album's name mean all of its tracks.
        self.fetch_artist(words)?;
        self.fetch_album(words)
    }

    /// Fetches at least one track of each artist, genre and folder that the filters name.
    pub fn fetch_filters(&mut self, filters: &Filters) -> Result<()> {
        for artist in filters.artists() {
            self.fetch_artist(&artist)?;
        }
        for genre in self.engine.taxonomy()?.named(&filters.genres()) {
            self.fetch_keys("genre_keys && {}", genre_keys(&[genre]), 1)?;
        }
        for folder in filters.folders() {
            self.fetch_keys("folders && {}", path_keys(&[folder]), 1)?;
        }
        Ok(())
    }

    /// Fetches the tracks that an answer compares with each other: all, or if they are many, the nearest of each seed and
    /// others that stand for the rest.
    ///
    /// - returns: a description of the tracks fetched, if these are not all
    pub fn fetch_around(&mut self, seeds: &[Seed]) -> Result<Option<String>> {
        let all = self.tracks()?;
        if all <= SAMPLE {
            self.fetch_matching(&Conditions::none(), SAMPLE)?;
            return Ok(None);
        }
        for seed in seeds {
            let (_, query) = self.store.space().query(std::slice::from_ref(seed), &[])?;
            let near = self
                .store
                .nearest(query.as_slice(), NEAR, &Conditions::none(), false)?;
            let ids: Vec<TrackId> = near.iter().map(|found| found.id).collect();
            self.fetch_ids(&ids)?;
        }
        self.fetch_matching(&Conditions::none(), BACKGROUND)?;
        Ok(Some(format!(
            "the {NEAR} nearest tracks of each and a sample of {BACKGROUND} of {all}"
        )))
    }

    /// As [`Engine::list`], from the whole database.
    pub fn list(&mut self, query: &TrackQuery) -> Result<TrackPage> {
        let mut conditions = self.conditions(&query.filter)?;
        conditions.and_words(&query.words);
        // One more than the page holds, to see whether another page follows.
        let wanted = query.limit.unwrap_or(usize::MAX).saturating_add(1);
        let step = wanted.clamp(100, MOST_NAMED);
        let mut ids = Vec::new();
        let mut from = 0;
        // The database selects more than what matches.
        while ids.len() < wanted {
            let next = self
                .store
                .sorted(query.sort, query.descending, &conditions, from, step)?;
            from += next.len();
            self.fetch_ids(&next)?;
            let fitting = self.engine.fitting(query)?;
            let library = self.engine.library();
            for &id in &next {
                if fitting.as_ref().is_none_or(|set| set.contains(id)) && library.contains(id)? {
                    ids.push(id);
                }
            }
            if next.len() < step {
                break;
            }
        }
        let total = if ids.len() < wanted {
            ids.len()
        } else {
            self.store.count(&conditions, i64::MAX as usize)?
        };
        Ok(self.engine.page(ids, query.limit, total)?)
    }

    /// As [`Engine::similar`], from the whole database.
    pub fn similar(
        &mut self,
        seeds: &[Seed],
        options: &SimilarOptions,
    ) -> Result<Vec<SimilarTrack>> {
        let (_, query) = self.store.space().query(seeds, &options.unlike)?;
        let conditions = self.conditions(&options.filter)?;
        // The candidates are few and already chosen: they are compared in full.
        let local = SimilarOptions {
            exact: true,
            ..options.clone()
        };
        // Seeds are their own nearest, and copies and artist limits take some more.
        let named = seeds.len() + options.unlike.len();
        let mut candidates = options.limit.saturating_add(named).saturating_add(16);
        loop {
            let found =
                self.store
                    .nearest(query.as_slice(), candidates, &conditions, options.exact)?;
            let ids: Vec<TrackId> = found.iter().map(|found| found.id).collect();
            self.fetch_ids(&ids)?;
            // No track that was not fetched is nearer than the furthest candidate.
            let least = found.last().map_or(-1.0, |last| last.similarity) + ROUNDING;
            let answer = self.engine.similar(seeds, &local)?;
            let is_sure = |last: &SimilarTrack| last.similarity >= least;
            let is_full = answer.len() >= options.limit && answer.last().is_none_or(is_sure);
            if is_full || found.len() < candidates {
                return Ok(answer);
            }
            candidates = candidates.saturating_mul(4);
        }
    }
}
