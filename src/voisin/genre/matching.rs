//! The tracks of a library that pass a filter.

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::time::SystemTime;

use super::labels::{LabelSource, SYNONYMS_FILE, table_state};
use crate::{Engine, EngineError};
use voisin_base::track::TrackId;
use voisin_genre::{Genre, GenreError, Spellings, Taxonomy};
use voisin_library::{TrackFilter, TrackSet};

/// The tracks that passed the last filter, and all that they depend on.
#[derive(Debug)]
pub(crate) struct KnownFilter {
    state: String,
    tracks: TrackSet,
}

impl Engine {
    /// The tracks that pass a filter, with genres from the library's label source; `None`: all.
    ///
    /// # Errors
    /// No track has a genre of the filter; labels cannot be read.
    pub fn matching(&self, filter: &TrackFilter) -> Result<Option<TrackSet>, EngineError> {
        let Some(state) = self.filter_state(filter)? else {
            return self.matching_now(filter);
        };
        let mut known = self
            .known_filter
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.as_ref().filter(|known| known.state == state) {
            return Ok(Some(known.tracks.clone()));
        }
        let found = self.matching_now(filter)?;
        *known = found.clone().map(|tracks| KnownFilter { state, tracks });
        Ok(found)
    }

    /// The filter with all that its result depends on; `None` if that includes other files or a model.
    fn filter_state(&self, filter: &TrackFilter) -> Result<Option<String>, EngineError> {
        let source = self.label_source();
        let is_of_files = matches!(source, LabelSource::File(_));
        if filter.is_empty() || !filter.words.is_empty() || is_of_files {
            return Ok(None);
        }
        let commits = self.library.commits()?;
        let state = (commits, source, self.synonyms_state(), filter);
        Ok(Some(format!("{state:?}")))
    }

    /// Length and time of the user's synonyms.
    pub(crate) fn synonyms_state(&self) -> Option<(u64, SystemTime)> {
        table_state(&self.library.dir().join(SYNONYMS_FILE))
    }

    fn matching_now(&self, filter: &TrackFilter) -> Result<Option<TrackSet>, EngineError> {
        // The database has neither synonyms nor words: genres and words are evaluated here, everything
        // else there.
        let rest = TrackFilter {
            genres: Vec::new(),
            exclude_genres: Vec::new(),
            words: Vec::new(),
            ..filter.clone()
        };
        let fitting = if rest.is_empty() {
            None
        } else {
            Some(self.library.matching(&rest)?)
        };
        let fitting = self.matching_words(&filter.words, fitting)?;
        if filter.genres.is_empty() && filter.exclude_genres.is_empty() {
            return Ok(fitting);
        }
        let taxonomy = self.taxonomy()?;
        let [wanted, unwanted] =
            [&filter.genres, &filter.exclude_genres].map(|names| taxonomy.named(names));
        let source = self.label_source();
        let set = match source {
            LabelSource::Tags => self.tagged(&taxonomy, &wanted, &unwanted)?,
            _ => self.labelled(&source, &wanted, &unwanted)?,
        };
        let is_in = |track: &TrackId| fitting.as_ref().is_none_or(|set| set.contains(*track));
        Ok(Some(set.into_iter().filter(is_in).collect()))
    }

    /// Tracks that have one of the wanted genres (empty: all tracks) and none of the unwanted ones, by reading all tracks.
    ///
    /// # Errors
    /// No track has one of these genres.
    fn labelled(
        &self,
        source: &LabelSource,
        wanted: &[Genre],
        unwanted: &[Genre],
    ) -> Result<BTreeSet<TrackId>, EngineError> {
        let mut met = Vec::new();
        let mut set = BTreeSet::new();
        self.for_each_labelled(source, |track, genres| {
            let has = |some: &[Genre]| genres.iter().any(|genre| some.contains(genre));
            if (wanted.is_empty() || has(wanted)) && !has(unwanted) {
                set.insert(track.id);
            }
            met.extend(genres);
            Ok(())
        })?;
        let known = Spellings::count(&met).genres();
        GenreError::check_known(wanted.iter().chain(unwanted), &known)?;
        Ok(set)
    }

    /// The same for tags and manual labels, from the database.
    fn tagged(
        &self,
        taxonomy: &Taxonomy,
        wanted: &[Genre],
        unwanted: &[Genre],
    ) -> Result<BTreeSet<TrackId>, EngineError> {
        // Parses each spelling once, not for each track.
        let texts = self.library.genre_texts()?;
        let named: Vec<(&str, Vec<Genre>)> = texts
            .iter()
            .map(|text| (text.as_str(), taxonomy.parse(&[text])))
            .collect();
        let mut by_hand: Vec<(TrackId, Vec<Genre>)> = Vec::new();
        for (content, text) in self.library.hand_labels()? {
            let track = self.library.find_by_content(&content)?;
            by_hand.extend(track.map(|track| (track, taxonomy.parse(&[text]))));
        }
        let known = named.iter().map(|(_, genres)| genres);
        let known = known.chain(by_hand.iter().map(|(_, genres)| genres));
        let known = Spellings::count(known.flatten()).genres();
        GenreError::check_known(wanted.iter().chain(unwanted), &known)?;
        let tracks_of = |some: &[Genre]| {
            let has =
                |(_, genres): &&(&str, Vec<Genre>)| genres.iter().any(|genre| some.contains(genre));
            let texts: Vec<&str> = named.iter().filter(has).map(|(text, _)| *text).collect();
            self.library.tracks_with_genres(&texts)
        };
        let mut set: BTreeSet<TrackId> = if wanted.is_empty() {
            self.library.track_ids()?.into_iter().collect()
        } else {
            tracks_of(wanted)?.to_vec().into_iter().collect()
        };
        if !unwanted.is_empty() {
            let out = tracks_of(unwanted)?;
            set.retain(|track| !out.contains(*track));
        }
        // Last, because a manual label replaces the genres of the tags, which may add or remove the
        // track.
        for (track, genres) in by_hand {
            let has = |some: &[Genre]| genres.iter().any(|genre| some.contains(genre));
            if (wanted.is_empty() || has(wanted)) && !has(unwanted) {
                set.insert(track);
            } else {
                set.remove(&track);
            }
        }
        Ok(set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_the_library_invalidates_cached_filters() {
        use voisin_library::testing::{library, track};
        let dir = tempfile::tempdir().unwrap();
        let mut library = library(dir.path(), 2);
        let new = |seed, genre: &str| {
            let mut new = track(seed, vec![0.6, 0.8]);
            new.tags.genres = vec![genre.to_owned()];
            new
        };
        library.insert_track(&new(1, "Jazz")).unwrap();
        library.insert_track(&new(2, "Rock")).unwrap();
        let mut engine = Engine::from_library(library);
        let jazz = TrackFilter {
            genres: vec!["jazz".to_owned()],
            ..TrackFilter::default()
        };
        let found = |engine: &Engine| -> Vec<i64> {
            let set = engine.matching(&jazz).unwrap().unwrap();
            assert_eq!(Some(&set), engine.matching(&jazz).unwrap().as_ref());
            assert_eq!(Some(&set), engine.matching_now(&jazz).unwrap().as_ref());
            set.to_vec().into_iter().map(|track| track.0).collect()
        };
        assert_eq!(found(&engine), [1]);
        // Changes by this connection, by another one, and in a table beside the database.
        engine.library.insert_track(&new(3, "Jazz")).unwrap();
        assert_eq!(found(&engine), [1, 3]);
        let mut other =
            voisin_library::Library::open(dir.path(), voisin_library::OpenMode::ReadWrite).unwrap();
        other
            .set_labels(&[new(2, "").audio.content], Some("Jazz"))
            .unwrap();
        assert_eq!(found(&engine), [1, 2, 3]);
        other.insert_track(&new(4, "Bebop")).unwrap();
        assert_eq!(found(&engine), [1, 2, 3]);
        std::fs::write(dir.path().join(SYNONYMS_FILE), "bebop\tJazz\n").unwrap();
        assert_eq!(found(&engine), [1, 2, 3, 4]);
        let salsa = TrackFilter {
            genres: vec!["salsa".to_owned()],
            ..TrackFilter::default()
        };
        assert!(engine.matching(&salsa).is_err() && engine.matching(&salsa).is_err());
    }

    #[test]
    fn the_database_finds_the_same_genres_as_reading_all_tracks() {
        use voisin_library::testing::{library, track};
        let dir = tempfile::tempdir().unwrap();
        let mut library = library(dir.path(), 2);
        let tags: [&[&str]; 9] = [
            &["Rock"],
            &["rock/pop"],
            &["Hip-Hop", "Jazz; Bebop"],
            &["(17)"],
            &[],
            &["Jazz"],
            &["hiphop"],
            &["Unknown"],
            &["Jazz, Rock"],
        ];
        for (seed, genres) in (1..).zip(tags) {
            let mut new = track(seed, vec![0.6, 0.8]);
            new.tags.genres = genres.iter().map(|genre| (*genre).to_owned()).collect();
            library.insert_track(&new).unwrap();
        }
        // A second file of the first track has another genre, and the sixth a manual label.
        let mut second = track(1, vec![0.6, 0.8]);
        second.file.path = "/m/other.ogg".into();
        second.tags.genres = vec!["Polka".into()];
        library
            .attach_file(TrackId(1), &second.file, &second.tags)
            .unwrap();
        library
            .set_labels(&[track(6, vec![0.6, 0.8]).audio.content], Some("Techno"))
            .unwrap();
        let engine = Engine::from_library(library);
        let taxonomy = engine.taxonomy().unwrap();
        let named = |names: &str| {
            let names = names.split_terminator(',').map(str::to_owned);
            taxonomy.named(&names.collect::<Vec<_>>())
        };
        let mut found = 0;
        for wanted in ["", "rock", "Jazz,hip hop", "Techno", "bebop", "rock,pop"] {
            for unwanted in ["", "jazz", "Rock", "techno,Pop"] {
                let wanted = named(wanted);
                let unwanted = named(unwanted);
                let expected = engine
                    .labelled(&LabelSource::Tags, &wanted, &unwanted)
                    .unwrap();
                let tagged = engine.tagged(&taxonomy, &wanted, &unwanted).unwrap();
                assert_eq!(tagged, expected, "{wanted:?} {unwanted:?}");
                found += expected.len();
            }
        }
        assert!(found > 40, "{found}");
        let salsa = named("Salsa");
        assert!(engine.tagged(&taxonomy, &salsa, &[]).is_err());
        assert!(engine.labelled(&LabelSource::Tags, &salsa, &[]).is_err());
    }
}
