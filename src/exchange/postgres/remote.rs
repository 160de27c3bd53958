//! Queries answered from a database: the tracks that a query needs are fetched into a temporary
//! library, which the code for a library on this disk then queries. Ids are the database's.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::filter::Conditions;
use super::push::{fixed_mean, labelled, restore_settings};
use super::row::{hash, id_of, name_hash};
use super::{Postgres, Result};
use voisin::questions::Filters;
use voisin::{Engine, Seed, SeedName, SimilarOptions, SimilarTrack, TrackPage, TrackQuery};
use voisin_base::track::TrackId;
use voisin_library::scan;
use voisin_library::{NameOf, OpenMode, TrackFilter, fold, path_to_bytes, stored_path};

/// At most this many tracks are fetched for one name.
const MOST_NAMED: usize = 5000;

/// Tracks of a sorted list that are fetched in one step.
const LONGEST_STEP: usize = 5000;

/// Tracks that are fetched where all are compared with each other.
const SAMPLE: usize = 20_000;

/// Random tracks that are fetched besides the nearest of the seeds, in libraries of more than [`SAMPLE`].
const BACKGROUND: usize = 4000;

/// Nearest tracks that are fetched for each seed.
const NEAR: usize = 400;

/// With more seeds than this, their nearest are not fetched.
const MOST_SEEDS: usize = 50;

/// A database, and a temporary library of the tracks that were fetched from it.
pub struct Remote {
    store: Postgres,
    engine: Engine,
    /// Contains the temporary library, and is deleted with it.
    _folder: tempfile::TempDir,
}

impl Remote {
    /// Fetches only model, mean and settings of the database.
    pub fn open(mut store: Postgres) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut engine = Engine::open(folder.path(), OpenMode::Create)?;
        engine.library_mut().set_model(store.model())?;
        engine.library_mut().set_mean(&fixed_mean(&store))?;
        restore_settings(&mut store, engine.library_mut(), false)?;
        Ok(Self {
            store,
            engine,
            _folder: folder,
        })
    }

    /// Fetches tracks that were not fetched yet.
    fn fetch_ids(&mut self, ids: &[TrackId]) -> Result<()> {
        let library = self.engine.library();
        let mut missing = Vec::new();
        let mut seen = HashSet::new();
        // Each track is fetched only once.
        for &id in ids {
            if !library.contains(id)? && seen.insert(id) {
                missing.push(id);
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let (fetched, damaged) = self.store.fetch(&missing)?;
        // Damaged rows among others are skipped, as `pull` skips and counts them.
        if fetched.is_empty() && damaged > 0 {
            let total = missing.len();
            let dimension = self.store.model().dimension;
            return Err(self.store.refused(format!(
                "{damaged} of {total} requested tracks are damaged (facts that are not voisin's JSON, or a vector that is not of {dimension} numbers): delete their rows from voisin_track and push again"
            )));
        }
        let library = self.engine.library();
        let mut records = Vec::with_capacity(fetched.len());
        for (id, record, genres) in fetched {
            records.push((Some(id), labelled(library, record, &genres)?));
        }
        self.engine.library_mut().take_in(&records)?;
        Ok(())
    }

    /// Fetches the nearest tracks of each seed, by the database's index.
    fn fetch_near(&mut self, seeds: &[Seed]) -> Result<()> {
        let space = self.store.held_space();
        for seed in seeds {
            let (_, query) = space.query(std::slice::from_ref(seed))?;
            let all = TrackFilter::default();
            let found = self.store.nearest(query.as_slice(), NEAR, &all, false)?;
            let ids: Vec<TrackId> = found.iter().map(|found| found.id).collect();
            self.fetch_ids(&ids)?;
        }
        Ok(())
    }

    /// The number of matching tracks.
    fn count(&mut self, filter: &TrackFilter, words: &str) -> Result<usize> {
        let mut conditions = self.store.conditions(filter, 1)?;
        add_words(&mut conditions, words, "");
        Ok(self.store.count(&conditions, None)? as usize)
    }

    /// Fetches tracks and keeps those that match exactly: the database compares digests of names and paths.
    fn keep_matching(
        &mut self,
        ids: &[TrackId],
        query: &TrackQuery,
        has_words: bool,
    ) -> Result<Vec<TrackId>> {
        self.fetch_ids(ids)?;
        let library = self.engine.library();
        let matching = self.engine.matching(&query.filter)?;
        let with_words = has_words.then(|| library.tracks_with_words(&query.words));
        let with_words = with_words.transpose()?;
        let mut fitting = Vec::with_capacity(ids.len());
        for &id in ids {
            let fits = [&matching, &with_words]
                .into_iter()
                .flatten()
                .all(|set| set.contains(id));
            // A track that was removed meanwhile, or is damaged, was not fetched.
            if fits && library.contains(id)? {
                fitting.push(id);
            }
        }
        Ok(fitting)
    }

    /// Fetches the tracks that a seed of docs/guide.md may mean; `-` names nothing.
    pub fn fetch(&mut self, name: &OsStr) -> Result<()> {
        match SeedName::parse(name) {
            SeedName::StandardInput => Ok(()),
            SeedName::Playlist(path) => {
                let files = scan::scan(&[path.to_owned()], &|_| true).files;
                let paths: Vec<_> = files.into_iter().map(|file| file.path).collect();
                self.fetch_paths(&paths)
            }
            SeedName::Folder(path) => {
                let ids = self.below(&[stored_path(path)], MOST_NAMED)?;
                self.fetch_ids(&ids)
            }
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
        self.fetch_paths(&[stored_path(path)])?;
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

    /// Fetches tracks of artists whose names contain this one, so that suggestions can be made.
    fn fetch_artist(&mut self, name: &str) -> Result<()> {
        self.fetch_by_words(name)?;
        self.fetch_of_artist(name)
    }

    /// Fetches a track of each genre, so that the genres of the database are known.
    fn fetch_genres(&mut self, names: &[String]) -> Result<()> {
        let genres = self.engine.taxonomy()?.named(names);
        for genre in genres {
            let mut conditions = Conditions::none(1);
            conditions.and("genre_keys && {}", vec![hash(genre.key().as_bytes())]);
            let ids = self.store.ids(&conditions, 1)?;
            self.fetch_ids(&ids)?;
        }
        Ok(())
    }

    /// Some of the tracks that have a file at or below these paths.
    fn below(&mut self, paths: &[PathBuf], most: usize) -> Result<Vec<TrackId>> {
        let filter = TrackFilter {
            folders: paths.to_vec(),
            ..TrackFilter::default()
        };
        let conditions = self.store.conditions(&filter, 1)?;
        self.store.ids(&conditions, most)
    }

    /// Fetches the tracks of an artist.
    fn fetch_of_artist(&mut self, name: &str) -> Result<()> {
        self.fetch_keys("artist_keys && {}", name)
    }

    /// Fetches the tracks of albums of this name.
    fn fetch_album(&mut self, name: &str) -> Result<()> {
        self.fetch_keys("album_keys && {}", name)
    }

    fn fetch_keys(&mut self, condition: &str, name: &str) -> Result<()> {
        let mut conditions = Conditions::none(1);
        conditions.and(condition, vec![name_hash(name)]);
        let ids = self.store.ids(&conditions, MOST_NAMED)?;
        self.fetch_ids(&ids)
    }

    /// Fetches tracks whose names contain all of these words; if there are too many, also those with whole words.
    fn fetch_by_words(&mut self, words: &str) -> Result<()> {
        let mut conditions = Conditions::none(1);
        if !add_words(&mut conditions, words, "") {
            return Ok(());
        }
        let mut ids = self.store.ids(&conditions, MOST_NAMED)?;
        // Cut off by id, so the best may be missing: the fewer tracks with whole words are fetched as well.
        if ids.len() == MOST_NAMED {
            let mut whole = Conditions::none(1);
            add_words(&mut whole, words, " ");
            ids.extend(self.store.ids(&whole, MOST_NAMED)?);
        }
        self.fetch_ids(&ids)
    }

    /// Fetches the tracks of these files, as the database has their paths.
    fn fetch_paths(&mut self, paths: &[PathBuf]) -> Result<()> {
        let mut keys = Vec::with_capacity(paths.len());
        for path in paths {
            keys.push(hash(path_to_bytes(path)?));
        }
        let mut conditions = Conditions::none(1);
        conditions.and("paths && {}", keys);
        let ids = self.store.ids(&conditions, MOST_NAMED.max(paths.len()))?;
        self.fetch_ids(&ids)
    }
}

impl Remote {
    /// The temporary library.
    pub fn engine(&mut self) -> &mut Engine {
        &mut self.engine
    }

    /// The number of tracks in the database.
    pub fn tracks(&mut self) -> Result<usize> {
        Ok(self.store.size()?.0 as usize)
    }

    /// Fetches at least one track of each artist, genre and folder that the filters name.
    pub fn fetch_filters(&mut self, filters: &Filters) -> Result<()> {
        for artist in filters.artists() {
            self.fetch_artist(&artist)?;
        }
        self.fetch_genres(&filters.genres())?;
        for folder in filters.folders() {
            let ids = self.below(&[stored_path(&folder)], 1)?;
            self.fetch_ids(&ids)?;
        }
        Ok(())
    }

    /// Fetches the tracks that an answer compares with each other: all, or if they are many, the nearest of each seed, by the
    /// database's index, and a sample that represents the others.
    ///
    /// - returns: a description of the tracks fetched, if these are not all
    pub fn fetch_around(&mut self, seeds: &[Seed]) -> Result<Option<String>> {
        let (all, _) = self.store.size()?;
        if all <= SAMPLE as u64 {
            let ids = self.store.ids(&Conditions::none(1), all as usize)?;
            self.fetch_ids(&ids)?;
            return Ok(None);
        }
        let has_near = !seeds.is_empty() && seeds.len() <= MOST_SEEDS;
        if has_near {
            self.fetch_near(seeds)?;
        }
        let drawn = if has_near { BACKGROUND } else { SAMPLE };
        let ids = self.store.ids(&Conditions::none(1), drawn)?;
        self.fetch_ids(&ids)?;
        Ok(Some(if has_near {
            format!("the {NEAR} nearest tracks of each and a sample of {drawn} of {all}")
        } else {
            format!("a sample of {drawn} of {all} tracks")
        }))
    }

    /// As [`Engine::list`], from the whole database.
    pub fn list(&mut self, query: &TrackQuery) -> Result<TrackPage> {
        let mut conditions = self.store.conditions(&query.filter, 1)?;
        let has_words = add_words(&mut conditions, &query.words, "");
        // One more than the page holds, to see whether another page follows.
        let wanted = query.limit.unwrap_or(usize::MAX).saturating_add(1);
        let step = wanted.clamp(100, LONGEST_STEP);
        let mut ids = Vec::new();
        let mut from = 0;
        // The database compares digests, so fewer may match than it selects.
        while ids.len() < wanted {
            let next = self
                .store
                .sorted(query.sort, query.descending, &conditions, from, step)?;
            from += next.len();
            ids.extend(self.keep_matching(&next, query, has_words)?);
            if next.len() < step {
                break;
            }
        }
        // A list read to its end has been counted already.
        let is_last = ids.len() < wanted;
        ids.truncate(wanted);
        let found = TrackQuery {
            limit: query.limit,
            ..TrackQuery::default()
        };
        let page = self.engine.list_of(&found, &ids, None)?;
        let total = if is_last {
            ids.len()
        } else {
            self.count(&query.filter, &query.words)?
        };
        Ok(TrackPage { total, ..page })
    }

    /// As [`Engine::similar`], from the whole database.
    pub fn similar(
        &mut self,
        seeds: &[Seed],
        options: &SimilarOptions,
    ) -> Result<Vec<SimilarTrack>> {
        let space = self.store.held_space();
        let (_, query) = space.direction(seeds, &options.unlike)?;
        let is_exact = options.exact;
        // The candidates are few and already chosen: they are compared in full.
        let local = SimilarOptions {
            exact: true,
            ..options.clone()
        };
        // Seeds are their own nearest, and copies and artist limits take some more: a few at once
        // often spare a second round.
        let named = seeds.len() + options.unlike.len();
        let mut candidates = options.limit.saturating_add(named).saturating_add(10);
        loop {
            let found =
                self.store
                    .nearest(query.as_slice(), candidates, &options.filter, is_exact)?;
            let ids: Vec<TrackId> = found.iter().map(|found| found.id).collect();
            self.fetch_ids(&ids)?;
            // No track that was not fetched is nearer than the furthest candidate.
            let least = found.last().map_or(-1.0, |last| last.similarity);
            let answer = self.engine.similar(seeds, &local)?;
            let is_all = found.len() < candidates
                || answer.len() >= options.limit
                    && answer
                        .last()
                        // The tolerance is for rounding: the two similarities come from different
                        // forms of the vectors.
                        .is_none_or(|last| last.similarity >= least - 1e-5);
            if is_all {
                return Ok(answer);
            }
            candidates = candidates.saturating_mul(4);
        }
    }
}

/// Adds the condition that a track's names contain all of these words; false if there are none.
///
/// - `around`: put on both sides of each: a space for whole words
fn add_words(conditions: &mut Conditions, words: &str, around: &str) -> bool {
    let folded = fold(words);
    let mut any = false;
    for word in folded.split(' ').filter(|word| !word.is_empty()) {
        any = true;
        // `like` has three special characters, which a word may contain.
        let word = super::row::plain(word)
            .replace('\\', "\\\\")
            .replace('%', "\\%")
            .replace('_', "\\_");
        conditions.and("words like {}", format!("%{around}{word}{around}%"));
    }
    any
}
