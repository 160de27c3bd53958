//! What is in the library: filtered, in order, a page at a time.

use std::collections::HashMap;

use super::{Engine, EngineError};
use voisin_base::track::TrackId;
use voisin_library::{Descriptors, SearchTexts, SortBy, Track, TrackFilter, TrackSet};

/// Which tracks are asked for, and in which order.
#[derive(Debug, Clone, Default)]
pub struct TrackQuery {
    /// Words that artist, title, album or file name must have; all if there are none.
    pub words: String,
    /// Which tracks fit.
    pub filter: TrackFilter,
    /// Their order.
    pub sort: SortBy,
    /// The other way round; what has no value stays last.
    pub descending: bool,
    /// At most so many; `None`: all.
    pub limit: Option<usize>,
    /// Only those after this track, the last of the page before.
    pub after: Option<TrackId>,
}

/// A page of tracks.
#[derive(Debug, Clone, Default)]
pub struct TrackPage {
    /// The tracks, in order; their genres are those of the library's label source.
    pub tracks: Vec<Track>,
    /// What was measured of them, as far as it was.
    pub descriptors: HashMap<TrackId, Descriptors>,
    /// How many fit in all.
    pub total: usize,
    /// The last track of this page, where another page follows.
    pub next: Option<TrackId>,
}

impl Engine {
    /// The tracks that a query asks for.
    ///
    /// # Errors
    /// The track to go on after is no longer in the library.
    pub fn list(&self, query: &TrackQuery) -> Result<TrackPage, EngineError> {
        let _snapshot = self.library().snapshot()?;
        let sorted = self.library().sorted(query.sort, query.descending)?;
        let has_words = !query.words.trim().is_empty();
        let texts = if has_words { self.library().search_texts()? } else { SearchTexts::default() };
        self.list_of(query, &sorted, &texts, self.matching(&query.filter)?.as_ref())
    }

    /// As [`list`](Self::list), where order and words are known from a question before.
    ///
    /// - `sorted`: all tracks in the query's order
    /// - `matching`: those that fit its filter; `None`: all
    #[doc(hidden)]
    pub fn list_of(
        &self,
        query: &TrackQuery,
        sorted: &[TrackId],
        texts: &SearchTexts,
        matching: Option<&TrackSet>,
    ) -> Result<TrackPage, EngineError> {
        let library = self.library();
        // Before anything is left out: the last track of a page need not fit any more.
        let skipped = match query.after {
            None => 0,
            Some(after) => {
                let place = sorted.iter().position(|&id| id == after);
                1 + place.ok_or(voisin_library::LibraryError::UnknownTrack(after))?
            }
        };
        let with_words = (!query.words.trim().is_empty()).then(|| texts.with(&query.words));
        let fits = |id: &&TrackId| {
            [matching, with_words.as_ref()].into_iter().flatten().all(|fitting| fitting.contains(**id))
        };
        let (before, rest) = sorted.split_at(skipped);
        let mut ids: Vec<TrackId> = rest.iter().filter(fits).copied().collect();
        let total = before.iter().filter(fits).count() + ids.len();
        let limit = query.limit.unwrap_or(usize::MAX);
        let next = if ids.len() > limit { limit.checked_sub(1).map(|last| ids[last]) } else { None };
        ids.truncate(limit);
        let mut tracks = library.tracks_by_id(&ids)?;
        self.label(&mut tracks)?;
        Ok(TrackPage { tracks, descriptors: library.descriptors(&ids)?, total, next })
    }

    /// Puts the genres of the library's label source where the tags' own are.
    pub fn label(&self, tracks: &mut [Track]) -> Result<(), EngineError> {
        let genres = self.genres_of(tracks)?;
        for (track, own) in tracks.iter_mut().zip(genres) {
            track.tags.genres = own.iter().map(ToString::to_string).collect();
        }
        Ok(())
    }
}
