//! Queries answered from a database: the tracks that a query needs are fetched into a temporary
//! library, which the code for a library on this disk then queries. Ids are the database's.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::ddl::IndexCodes;
use super::filter::no_conditions;
use super::push::{fixed_mean, labelled, restore_settings};
use super::row::{hash, id_of, name_hash};
use super::server::{IndexState, WantedVectors};
use super::{BackendError, Effort, Postgres, Result, TrackStore as _};
use voisin_base::text::count;
use voisin_base::track::TrackId;
use voisin_engine::{Engine, Seed, SeedName, SimilarOptions, SimilarTrack, TrackPage, TrackQuery};
use voisin_index::SearchMode;
use voisin_library::scan;
use voisin_library::{
    FilterSql, FilterValue, LibraryError, NameOf, OpenMode, SearchTexts, Track, TrackFilter, fold,
    path_to_bytes, stored_path,
};
use voisin_questions::answers::status::StatusJson;
use voisin_questions::{Filters, LocalOnly, Named, QuestionError, RemoteLibrary};

/// At most this many tracks are fetched for one name.
const MOST_NAMED: usize = 5000;

/// At most this many tracks are kept for the next query: those of a library that is fetched whole.
const MOST_FETCHED: u64 = SAMPLE as u64;

/// Tracks of a sorted list that are tested against a filter in one step.
const LONGEST_STEP: usize = 5000;

/// Tracks that are fetched by default where all are compared with each other.
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
    /// The vectors to fetch besides the facts.
    wanted: WantedVectors,
    /// Whether the temporary library uses short ids.
    has_short_ids: bool,
    /// Size of the sample that replaces a larger library where all tracks are compared; `None`: the default.
    sample: Option<usize>,
    is_whole: bool,
    /// The generation of the database when it was opened.
    generation: u64,
    /// Contains the temporary library, and is deleted with it.
    _folder: tempfile::TempDir,
}

impl Remote {
    /// Fetches only model, mean and settings of the database.
    pub fn open(mut store: Postgres) -> Result<Self> {
        // Read before anything is fetched, so that later changes are noticed.
        let generation = store.generation()?;
        let folder = tempfile::tempdir()?;
        let mut engine = Engine::open(folder.path(), OpenMode::Create)?;
        engine.library_mut().set_model(store.model())?;
        engine
            .library_mut()
            .derived_mut()
            .set_mean(&fixed_mean(&store))?;
        restore_settings(&mut store, engine.library_mut(), false)?;
        let wanted = WantedVectors {
            windows: false,
            exact: false,
        };
        Ok(Self {
            store,
            engine,
            wanted,
            has_short_ids: false,
            sample: None,
            is_whole: false,
            generation,
            _folder: folder,
        })
    }

    /// Uses [short ids](Postgres::short_id) in the temporary library, as copies do. Call it before the first query.
    #[must_use]
    pub fn with_short_ids(self) -> Self {
        Self {
            has_short_ids: true,
            ..self
        }
    }

    /// Sets the size of the sample that replaces a larger library where all tracks are compared.
    #[must_use]
    pub fn with_sample(self, sample: Option<usize>) -> Self {
        Self { sample, ..self }
    }

    /// The database.
    pub fn store(&mut self) -> &mut Postgres {
        &mut self.store
    }

    /// Fetches tracks that were not fetched yet.
    fn fetch_ids(&mut self, ids: &[TrackId]) -> Result<()> {
        let library = self.engine.library();
        let mut missing = Vec::new();
        let mut seen = HashSet::new();
        // Each track is fetched only once.
        for &id in ids {
            let local = self.local_id(id);
            if !library.contains(local)? && seen.insert(local) {
                missing.push(id);
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let (fetched, damaged) = self.store.fetch(&missing, self.wanted)?;
        // Damaged rows among others are skipped, as `pull` skips and counts them.
        if fetched.is_empty() && damaged > 0 {
            let place = self.store.place().to_string();
            let total = missing.len();
            let dimension = self.store.model().dimension;
            return Err(BackendError::Damaged {
                place,
                damaged,
                total,
                dimension,
            });
        }
        let library = self.engine.library();
        let mut records = Vec::with_capacity(fetched.len());
        for (id, record, genres) in fetched {
            records.push((Some(self.local_id(id)), labelled(library, record, &genres)?));
        }
        self.engine.library_mut().transfer_mut().take_in(&records)?;
        Ok(())
    }

    /// The id that a track of the database has in the temporary library.
    fn local_id(&self, id: TrackId) -> TrackId {
        if self.has_short_ids {
            Postgres::short_id(id)
        } else {
            id
        }
    }

    /// Translates ids of the temporary library into the database's.
    fn of_local(&mut self, ids: &[TrackId]) -> Result<Vec<TrackId>> {
        if self.has_short_ids {
            self.store.of_short(ids)
        } else {
            Ok(ids.to_vec())
        }
    }

    /// Fetches tracks by their ids in the temporary library.
    fn fetch_local(&mut self, ids: &[TrackId]) -> Result<()> {
        let ids = self.of_local(ids)?;
        self.fetch_ids(&ids)
    }

    /// Fetches the nearest tracks of each seed that match a filter, by the database's index.
    fn fetch_near(&mut self, seeds: &[Seed], filter: &TrackFilter, each: usize) -> Result<()> {
        let space = self.store.held_space();
        for seed in seeds {
            let (_, query) = space.query(std::slice::from_ref(seed))?;
            let found = self
                .store
                .nearest(query.as_slice(), each, filter, Effort::Index)?;
            let ids: Vec<TrackId> = found.iter().map(|found| found.id).collect();
            self.fetch_ids(&ids)?;
        }
        Ok(())
    }

    /// The matching tracks, unless they are more than [`LONGEST_STEP`].
    fn few(&mut self, filter: &TrackFilter, words: &str) -> Result<Option<Vec<TrackId>>> {
        let mut conditions = self.store.conditions(filter, 1)?;
        add_words(&mut conditions, words, "");
        // Counted with a limit first, which is cheaper than fetching too many ids.
        if self.store.count(&conditions, LONGEST_STEP)? > LONGEST_STEP as i64 {
            return Ok(None);
        }
        self.store.ids(&conditions, LONGEST_STEP).map(Some)
    }

    /// The number of matching tracks.
    fn count(&mut self, filter: &TrackFilter, words: &str) -> Result<usize> {
        let mut conditions = self.store.conditions(filter, 1)?;
        add_words(&mut conditions, words, "");
        Ok(self.store.sum("count(*)", &conditions)? as usize)
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
        let with_words = has_words
            .then(|| Ok::<_, LibraryError>(library.lookup().search_texts()?.with(&query.words)));
        let with_words = with_words.transpose()?;
        let mut fitting = Vec::with_capacity(ids.len());
        for id in ids.iter().map(|&id| self.local_id(id)) {
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

    /// Fetches the tracks that a seed of docs/grammar.md may mean.
    ///
    /// - errors: [`LocalOnly`] for a composer, which a database does not store
    fn fetch_seed(&mut self, name: &OsStr) -> Result<()> {
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
            SeedName::Named(NameOf::Composer, _) => Err(LocalOnly::Composer.into()),
            SeedName::Sounds(_) => Err(LocalOnly::Find.into()),
            SeedName::Id(id) => self.fetch_local(&[id]),
            SeedName::PathOrWords(text) => self.fetch_path_or_words(text),
        }
    }

    fn fetch_path_or_words(&mut self, text: &OsStr) -> Result<()> {
        let path = Path::new(text);
        self.fetch_paths(&[stored_path(path)])?;
        if path.is_file() {
            let kind = self.engine.library().settings().content_kind()?;
            // A file of this disk is found there by its content, whatever its path was on the other machine.
            if let Ok(info) = voisin_audio::probe_as(path, kind) {
                self.fetch_ids(&[id_of(&info.content)])?;
            }
            return Ok(());
        }
        let words = text.to_str().unwrap_or_default();
        // A number may be an id or a title ("1979"): both are fetched, and the code for a library on disk decides.
        if let Ok(id) = words.trim_start_matches('#').parse().map(TrackId) {
            self.fetch_local(&[id])?;
        }
        // Words that are an artist's or an album's name mean all of its tracks.
        self.fetch_artist(words)?;
        self.fetch_album(words)
    }

    /// Fetches the tracks that have these ids, and those that have a file at or below these paths.
    pub fn fetch_at(&mut self, ids: &[TrackId], paths: &[PathBuf]) -> Result<Vec<Track>> {
        self.fetch_ids(ids)?;
        let paths: Vec<PathBuf> = paths.iter().map(|path| stored_path(path)).collect();
        let mut found = ids.to_vec();
        if !paths.is_empty() {
            let fitting = self.below(&paths, usize::MAX >> 1)?;
            self.fetch_ids(&fitting)?;
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
        // The database compares digests of paths only.
        tracks.retain(|track| {
            ids.contains(&track.id)
                || track
                    .files
                    .iter()
                    .any(|file| paths.iter().any(|path| file.record.path.starts_with(path)))
        });
        Ok(tracks)
    }

    /// Fetches tracks of artists whose names contain this one, so that suggestions can be made.
    fn fetch_artist(&mut self, name: &str) -> Result<()> {
        self.fetch_by_words(name)?;
        self.fetch_of_artist(name)
    }

    /// Fetches a track of each genre, so that the genres of the database are known.
    fn fetch_genres(&mut self, names: &[String]) -> Result<()> {
        let genres = self.engine.genres().taxonomy()?.named(names);
        for genre in genres {
            let mut conditions = no_conditions(1);
            conditions.and(
                "genre_keys && {}",
                FilterValue::Keys(vec![hash(genre.key().as_bytes())]),
            );
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
        let mut conditions = no_conditions(1);
        conditions.and(condition, FilterValue::Keys(vec![name_hash(name)]));
        let ids = self.store.ids(&conditions, MOST_NAMED)?;
        self.fetch_ids(&ids)
    }

    /// Fetches tracks whose names contain all of these words; if there are too many, also those with whole words.
    fn fetch_by_words(&mut self, words: &str) -> Result<()> {
        let mut conditions = no_conditions(1);
        if !add_words(&mut conditions, words, "") {
            return Ok(());
        }
        let mut ids = self.store.ids(&conditions, MOST_NAMED)?;
        // Cut off by id, so the best may be missing: the fewer tracks with whole words are fetched as well.
        if ids.len() == MOST_NAMED {
            let mut whole = no_conditions(1);
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
        let mut conditions = no_conditions(1);
        conditions.and("paths && {}", FilterValue::Keys(keys));
        let ids = self.store.ids(&conditions, MOST_NAMED.max(paths.len()))?;
        self.fetch_ids(&ids)
    }
}

impl RemoteLibrary for Remote {
    fn engine(&mut self) -> &mut Engine {
        &mut self.engine
    }

    fn tracks(&mut self) -> Result<usize, QuestionError> {
        Ok(self.store.size()?.0 as usize)
    }

    fn generation(&self) -> u64 {
        self.generation
    }

    fn is_current(&mut self) -> Result<bool, QuestionError> {
        // A larger temporary library is discarded, so that it does not grow without bound.
        let fetched = self.engine.library().status()?.tracks;
        Ok(fetched <= MOST_FETCHED && self.store.generation()? == self.generation)
    }

    fn is_whole(&self) -> bool {
        self.is_whole
    }

    fn set_vectors(&mut self, windows: bool, exact: bool) {
        self.wanted = WantedVectors { windows, exact };
    }

    fn fetch(&mut self, named: Named<'_>) -> Result<(), QuestionError> {
        match named {
            Named::Id(id) => self.fetch_local(&[id])?,
            Named::Path(path) => self.fetch_paths(&[path.to_owned()])?,
            Named::Words(words) => self.fetch_by_words(words)?,
            Named::Written(text) => self.fetch_seed(text)?,
        }
        Ok(())
    }

    fn fetch_filters(&mut self, filters: &Filters) -> Result<(), QuestionError> {
        if !filters.composer.is_empty() {
            return Err(LocalOnly::Composer.into());
        }
        for artist in filters.artists() {
            self.fetch_artist(artist)?;
        }
        self.fetch_genres(&filters.genres().map(str::to_owned).collect::<Vec<_>>())?;
        for folder in filters.folders() {
            let ids = self.below(&[stored_path(folder)], 1)?;
            self.fetch_ids(&ids)?;
        }
        Ok(())
    }

    fn fetch_all(&mut self, most: Option<usize>) -> Result<(), QuestionError> {
        let ids = self
            .store
            .ids(&no_conditions(1), most.unwrap_or(usize::MAX >> 1))?;
        Ok(self.fetch_ids(&ids)?)
    }

    fn fetch_around(
        &mut self,
        seeds: &[Seed],
        filter: &TrackFilter,
    ) -> Result<Option<String>, QuestionError> {
        if self.is_whole {
            return Ok(None);
        }
        let (mut all, _) = self.store.size()?;
        if all <= self.sample.unwrap_or(SAMPLE) as u64 {
            let ids = self.store.ids(&no_conditions(1), all as usize)?;
            self.fetch_ids(&ids)?;
            // Not whole if rows were added between the count and the list.
            self.is_whole = ids.len() as u64 >= all;
            return Ok(None);
        }
        let has_near = !seeds.is_empty() && seeds.len() <= MOST_SEEDS;
        if has_near {
            self.fetch_near(seeds, filter, NEAR)?;
        }
        let drawn = self
            .sample
            .unwrap_or(if has_near { BACKGROUND } else { SAMPLE });
        let conditions = self.store.conditions(filter, 1)?;
        let ids = self.store.ids(&conditions, drawn)?;
        self.fetch_ids(&ids)?;
        // Fewer than requested are all matching tracks, not a sample.
        if ids.len() < drawn {
            return Ok(None);
        }
        if !filter.is_empty() {
            all = self.count(filter, "")? as u64;
        }
        Ok(Some(if has_near {
            format!("the {NEAR} nearest tracks of each and a sample of {drawn} of {all}")
        } else {
            format!("a sample of {drawn} of {all} tracks")
        }))
    }

    fn list(&mut self, query: &TrackQuery) -> Result<TrackPage, QuestionError> {
        let mut conditions = self.store.conditions(&query.filter, 2)?;
        let has_words = add_words(&mut conditions, &query.words, "");
        let is_all = query.filter.is_empty() && !has_words;
        let after = match query.after {
            Some(after) => Some(
                self.of_local(&[after])?
                    .pop()
                    .ok_or(LibraryError::UnknownTrack(after))?,
            ),
            None => None,
        };
        // Few matching tracks are sorted by themselves: in the order of all tracks they are far apart.
        let few = if is_all {
            None
        } else {
            self.few(&query.filter, &query.words)?
        };
        let is_tried = !is_all && few.is_none();
        let mut walk = self
            .store
            .sorted(query.sort, query.descending, after, few)?;
        // One more than the page holds, to see whether another page follows.
        let wanted = query.limit.unwrap_or(usize::MAX).saturating_add(1);
        let mut ids = Vec::new();
        // Steps double, since it is not known how many of the next rows match.
        let mut step = wanted.clamp(100, LONGEST_STEP);
        while ids.len() < wanted {
            let mut next = self.store.next_sorted(&mut walk, step)?;
            if next.is_empty() {
                break;
            }
            if is_tried {
                next = self.store.matching(&next, &conditions)?;
            }
            for some in next.chunks(wanted.min(LONGEST_STEP)) {
                if ids.len() < wanted {
                    ids.extend(self.keep_matching(some, query, has_words)?);
                }
            }
            step = (2 * step).min(LONGEST_STEP);
        }
        // A list read from its first track to its end has been counted already.
        let is_last = ids.len() < wanted && query.after.is_none();
        ids.truncate(wanted);
        let found = TrackQuery {
            limit: query.limit,
            ..TrackQuery::default()
        };
        let page = self
            .engine
            .list_of(&found, &ids, &SearchTexts::default(), None)?;
        let total = if is_last {
            ids.len()
        } else {
            self.count(&query.filter, &query.words)?
        };
        Ok(TrackPage { total, ..page })
    }

    fn similar(
        &mut self,
        seeds: &[Seed],
        options: &SimilarOptions,
    ) -> Result<Vec<SimilarTrack>, QuestionError> {
        if !options.unlike.is_empty() {
            return Err(LocalOnly::Unlike.into());
        }
        let (_, query) = self.store.held_space().query(seeds)?;
        let effort = if options.mode == SearchMode::Exact {
            Effort::Exact
        } else {
            Effort::Index
        };
        // The candidates are few and already chosen: they are compared in full.
        let local = SimilarOptions {
            mode: SearchMode::Exact,
            ..options.clone()
        };
        // Seeds are their own nearest, and copies and artist limits take some more: a few at once
        // often spare a second round.
        let mut candidates = options.limit.saturating_add(seeds.len()).saturating_add(10);
        loop {
            let found =
                self.store
                    .nearest(query.as_slice(), candidates, &options.filter, effort)?;
            let ids: Vec<TrackId> = found.iter().map(|found| found.id).collect();
            self.fetch_ids(&ids)?;
            // No track that was not fetched is nearer than the furthest candidate.
            let least = found.last().map_or(-1.0, |last| last.similarity);
            let answer = self.engine.similar(seeds, &local)?;
            let is_all = found.len() < candidates
                || options.min_similarity.is_some_and(|wanted| least < wanted)
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

    fn describe(&mut self, status: &mut StatusJson) -> Result<(), QuestionError> {
        let store = &mut self.store;
        let counts = store.counts()?;
        let index = store.index_state()?;
        status.library = store.place().to_string();
        status.tracks = counts.tracks;
        status.files = counts.files;
        status.windows = counts.windows;
        status.index_generation = counts.generation;
        status.database_bytes = counts.bytes;
        status.index.generation = Some(counts.generation);
        status.index.state = "current";
        status.index.note = match index {
            IndexState::There(bytes) => {
                status.index_bytes = bytes;
                String::new()
            }
            IndexState::OnShards => {
                let shards = count(store.shards().len() as u64, "shard");
                format!("on each of {shards}")
            }
            IndexState::Missing => {
                status.index.state = "none";
                "the next push builds it; until then all tracks are compared".to_owned()
            }
        };
        let codes = if store.codes() == IndexCodes::Signs {
            "of one bit a number, "
        } else {
            ""
        };
        status.search.mode = "hnsw";
        status.search.batch_mode = "hnsw";
        status.search.speeds = None;
        status.search.why = format!(
            "{}; the database's index, {codes}of width {}; filters that leave few tracks are compared in full",
            count(counts.tracks, "track"),
            store.width()
        );
        Ok(())
    }
}

/// Adds the condition that a track's names contain all of these words; false if there are none.
///
/// - `around`: put on both sides of each: a space for whole words
fn add_words(conditions: &mut FilterSql, words: &str, around: &str) -> bool {
    let folded = fold(words);
    let mut any = false;
    for word in folded.split(' ').filter(|word| !word.is_empty()) {
        any = true;
        // `like` has three special characters, which a word may contain.
        let word = super::row::plain(word)
            .replace('\\', "\\\\")
            .replace('%', "\\%")
            .replace('_', "\\_");
        conditions.and(
            "words like {}",
            FilterValue::Text(format!("%{around}{word}{around}%")),
        );
    }
    any
}
