//! Answers from a database: what a question needs is fetched into a temporary library, and the same code answers
//! from there as from a library on this disk. Ids are the database's.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::filter::no_conditions;
use super::push::{fixed_mean, labelled, restore_settings};
use super::row::{hash, id_of, name_hash};
use super::{BackendError, Effort, Postgres, Result, TrackStore as _};
use voisin::{Engine, Seed, SimilarOptions, SimilarTrack, track_number};
use voisin_base::track::{ContentId, TrackId};
use voisin_index::SearchMode;
use voisin_library::scan::{self, PlaylistKind};
use voisin_library::{
    FilterSql, FilterValue, OpenMode, Track, TrackFilter, fold, path_to_bytes, stored_path,
};

/// Tracks that are fetched for one name at most.
const MOST_NAMED: usize = 5000;

/// What a question needs of the tracks that nobody names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TracksNeeded {
    /// Nothing.
    Named,
    /// So many, drawn by their ids, which are as good as random; all, if there are no more.
    Sample(usize),
    /// All.
    All,
}

/// A database, and a temporary library with what was fetched from it.
pub struct Remote {
    store: Postgres,
    engine: Engine,
    /// Fetch window vectors too.
    windows: bool,
    folder: tempfile::TempDir,
}

impl Remote {
    /// - `windows`: fetch window vectors too, as far as they were sent
    pub fn open(mut store: Postgres, windows: bool) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut engine = Engine::open(folder.path(), OpenMode::Create)?;
        engine.library_mut().set_model(store.model())?;
        engine.library_mut().set_mean(&fixed_mean(&store))?;
        restore_settings(&mut store, engine.library_mut(), false)?;
        Ok(Self { store, engine, windows, folder })
    }

    /// The temporary library.
    pub fn engine(&mut self) -> &mut Engine {
        &mut self.engine
    }

    /// Both, to go on alone: the library lasts as long as the folder.
    pub fn into_parts(self) -> (Engine, tempfile::TempDir) {
        (self.engine, self.folder)
    }

    /// The database.
    pub fn store(&mut self) -> &mut Postgres {
        &mut self.store
    }

    /// From now on tracks come without their windows.
    pub fn leave_windows(&mut self) {
        self.windows = false;
    }

    /// Fetches tracks that were not fetched yet.
    pub fn fetch(&mut self, ids: &[TrackId]) -> Result<()> {
        let library = self.engine.library();
        let mut missing = Vec::new();
        for &id in ids {
            if !library.contains(id)? {
                missing.push(id);
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let (fetched, damaged) = self.store.fetch(&missing, self.windows)?;
        // Some of many are left out, as `pull` leaves them out and counts them.
        if fetched.is_empty() && damaged > 0 {
            let (place, of) = (self.store.place().to_string(), missing.len());
            let dimension = self.store.model().dimension;
            return Err(BackendError::Damaged { place, damaged, of, dimension });
        }
        let library = self.engine.library();
        let mut records = Vec::with_capacity(fetched.len());
        for (id, record, genres) in fetched {
            records.push((Some(id), labelled(library, record, &genres)?));
        }
        self.engine.library_mut().take_in(&records)?;
        Ok(())
    }

    /// Fetches tracks that nobody names; returns how many there are in all if it is not all of them.
    pub fn fetch_some(&mut self, wanted: TracksNeeded) -> Result<Option<u64>> {
        let most = match wanted {
            TracksNeeded::Named => return Ok(None),
            TracksNeeded::Sample(most) => most,
            TracksNeeded::All => usize::MAX >> 1,
        };
        let (count, _) = self.store.size()?;
        let ids = self.store.ids(&no_conditions(1), most.min(count as usize))?;
        self.fetch(&ids)?;
        Ok((count > ids.len() as u64).then_some(count))
    }

    /// Fetches the nearest of each of these, by the database's index.
    pub fn fetch_near(&mut self, seeds: &[Seed], each: usize) -> Result<()> {
        let space = self.store.held_space();
        for seed in seeds {
            let (_, query) = space.query(std::slice::from_ref(seed))?;
            let found = self.store.nearest(query.as_slice(), each, &TrackFilter::default(), Effort::Index)?;
            let ids: Vec<TrackId> = found.iter().map(|found| found.track).collect();
            self.fetch(&ids)?;
        }
        Ok(())
    }

    /// Fetches what fits a filter, if it is no more than so many; else returns how many it is.
    pub fn fetch_fitting(&mut self, filter: &TrackFilter, words: &str, most: usize) -> Result<Option<u64>> {
        let mut conditions = self.store.conditions(filter, 1)?;
        add_words(&mut conditions, words);
        let ids = self.store.ids(&conditions, most.saturating_add(1))?;
        if ids.len() > most {
            return Ok(Some(self.store.count(&conditions)? as u64));
        }
        self.fetch(&ids)?;
        Ok(None)
    }

    /// Fetches the tracks that names on the command line may mean, in the ways of docs/grammar.md.
    pub fn fetch_named(&mut self, names: &[OsString]) -> Result<()> {
        for name in names {
            let path = Path::new(name);
            let plain = name.to_str().unwrap_or_default();
            if PlaylistKind::of(path).is_some() && path.is_file() {
                let files = scan::scan(&[path.to_owned()], &|_| true).files;
                let paths: Vec<_> = files.iter().map(|file| file.path.clone()).collect();
                self.fetch_paths(&paths)?;
            } else if path.is_dir() {
                let filter = TrackFilter { folders: vec![stored_path(path)], ..TrackFilter::default() };
                self.fetch_fitting_some(&filter, "")?;
            } else if let Some(album) = plain.strip_prefix("album:") {
                self.fetch_by_words(album)?;
                self.fetch_keys("album_keys && {}", album)?;
            } else if let Some(artist) = plain.strip_prefix("artist:") {
                self.fetch_artist(artist)?;
            } else if let Some(id) = track_number(plain) {
                self.fetch(&[id])?;
            } else {
                self.fetch_paths(&[stored_path(path)])?;
                if path.is_file() {
                    let kind = self.engine.library().content_kind()?;
                    if let Ok(info) = voisin_audio::probe_as(path, kind) {
                        self.fetch_content(&info.content)?;
                    }
                } else {
                    if let Ok(id) = plain.trim_start_matches('#').parse().map(TrackId) {
                        self.fetch(&[id])?;
                    }
                    self.fetch_by_words(plain)?;
                }
            }
        }
        Ok(())
    }

    /// Fetches the tracks that have these ids, and those that have a file at or below these paths.
    pub fn fetch_at(&mut self, ids: &[TrackId], paths: &[PathBuf]) -> Result<Vec<Track>> {
        self.fetch(ids)?;
        let paths: Vec<PathBuf> = paths.iter().map(|path| stored_path(path)).collect();
        let mut found = ids.to_vec();
        if !paths.is_empty() {
            let filter = TrackFilter { folders: paths.clone(), ..TrackFilter::default() };
            let conditions = self.store.conditions(&filter, 1)?;
            let fitting = self.store.ids(&conditions, usize::MAX >> 1)?;
            self.fetch(&fitting)?;
            found.extend(fitting);
        }
        found.sort_unstable();
        found.dedup();
        let mut there = Vec::with_capacity(found.len());
        for id in found {
            if self.engine.library().contains(id)? {
                there.push(id);
            }
        }
        let mut tracks = self.engine.library().tracks_by_id(&there)?;
        // Names are compared by digests there.
        tracks.retain(|track| {
            ids.contains(&track.id)
                || track.files.iter().any(|file| paths.iter().any(|path| file.record.path.starts_with(path)))
        });
        Ok(tracks)
    }

    /// Fetches tracks of artists whose names hold this one, so that it can be told who is meant.
    pub fn fetch_artist(&mut self, name: &str) -> Result<()> {
        self.fetch_by_words(name)?;
        self.fetch_keys("artist_keys && {}", name)
    }

    /// Fetches a track of each genre, so that it can be told which there are.
    pub fn fetch_genres(&mut self, names: &[String]) -> Result<()> {
        let genres = self.engine.taxonomy()?.named(names);
        for genre in genres {
            let mut conditions = no_conditions(1);
            conditions.and("genre_keys && {}", FilterValue::Keys(vec![hash(genre.key().as_bytes())]));
            let ids = self.store.ids(&conditions, 1)?;
            self.fetch(&ids)?;
        }
        Ok(())
    }

    /// Fetches a track of each folder, so that it can be told which there are.
    pub fn fetch_folders<'a>(&mut self, folders: impl Iterator<Item = &'a PathBuf>) -> Result<()> {
        for folder in folders {
            let filter = TrackFilter { folders: vec![stored_path(folder)], ..TrackFilter::default() };
            let conditions = self.store.conditions(&filter, 1)?;
            let ids = self.store.ids(&conditions, 1)?;
            self.fetch(&ids)?;
        }
        Ok(())
    }

    fn fetch_keys(&mut self, condition: &str, name: &str) -> Result<()> {
        let mut conditions = no_conditions(1);
        conditions.and(condition, FilterValue::Keys(vec![name_hash(name)]));
        let ids = self.store.ids(&conditions, MOST_NAMED)?;
        self.fetch(&ids)
    }

    fn fetch_by_words(&mut self, words: &str) -> Result<()> {
        self.fetch_fitting_some(&TrackFilter::default(), words)
    }

    fn fetch_fitting_some(&mut self, filter: &TrackFilter, words: &str) -> Result<()> {
        let mut conditions = self.store.conditions(filter, 1)?;
        if filter.is_empty() && !add_words(&mut conditions, words) {
            return Ok(());
        }
        let ids = self.store.ids(&conditions, MOST_NAMED)?;
        self.fetch(&ids)
    }

    fn fetch_paths(&mut self, paths: &[PathBuf]) -> Result<()> {
        let mut keys = Vec::with_capacity(paths.len());
        for path in paths {
            keys.push(hash(path_to_bytes(path)?));
        }
        let mut conditions = no_conditions(1);
        conditions.and("paths && {}", FilterValue::Keys(keys));
        let ids = self.store.ids(&conditions, MOST_NAMED.max(paths.len()))?;
        self.fetch(&ids)
    }

    fn fetch_content(&mut self, content: &ContentId) -> Result<()> {
        self.fetch(&[id_of(content)])
    }

    /// As [`Engine::similar`], from the whole database: the candidates are found there.
    pub fn similar(&mut self, seeds: &[Seed], options: &SimilarOptions) -> Result<Vec<SimilarTrack>> {
        if !options.unlike.is_empty() {
            return Err(BackendError::Unsupported("staying away from a track"));
        }
        let (_, query) = self.store.held_space().query(seeds)?;
        let effort = if options.mode == SearchMode::Exact { Effort::Exact } else { Effort::Index };
        // What is fetched is few and has been chosen: it is compared in full.
        let local = SimilarOptions { mode: SearchMode::Exact, ..options.clone() };
        let mut asked = options.limit.saturating_add(seeds.len()).saturating_add(10);
        loop {
            let found = self.store.nearest(query.as_slice(), asked, &options.filter, effort)?;
            let ids: Vec<TrackId> = found.iter().map(|found| found.track).collect();
            self.fetch(&ids)?;
            // The furthest candidate says how near all that were not fetched can be at most.
            let least = found.last().map_or(-1.0, |last| last.similarity);
            let answer = self.engine.similar(seeds, &local)?;
            let is_all = found.len() < asked
                || options.min_similarity.is_some_and(|wanted| least < wanted)
                || answer.len() >= options.limit
                    && answer.last().is_none_or(|last| last.similarity >= least - 1e-5);
            if is_all {
                return Ok(answer);
            }
            asked = asked.saturating_mul(4);
        }
    }
}

/// Adds that all of these words stand in a track's names; false where there are none.
fn add_words(conditions: &mut FilterSql, words: &str) -> bool {
    let folded = fold(words);
    let mut any = false;
    for word in folded.split(' ').filter(|word| !word.is_empty()) {
        any = true;
        let word = super::row::plain(word).replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
        conditions.and("words like {}", FilterValue::Text(format!("%{word}%")));
    }
    any
}
