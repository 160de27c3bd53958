//! Lists of the library's tracks: filtered, sorted, in pages.

use std::collections::HashMap;

use super::{Engine, EngineError};
use voisin_base::track::TrackId;
use voisin_library::{Descriptors, LibraryError, SortBy, Track, TrackFilter, TrackSet};

/// Up to so many tracks are put in order without the others.
const FEW: usize = 10_000;

#[derive(Debug, Clone, Default)]
pub struct TrackQuery {
    /// Words that artist, title, album or file name must contain; empty: all tracks.
    pub words: String,
    pub filter: TrackFilter,
    pub sort: SortBy,
    /// Descending order; tracks without a value stay last.
    pub descending: bool,
    /// Most tracks of a page; `None`: all.
    pub limit: Option<usize>,
    /// The last track of the previous page, after which this one begins.
    pub after: Option<TrackId>,
}

#[derive(Debug, Clone, Default)]
pub struct TrackPage {
    /// The tracks, in order; their genres are those of the library's label source.
    pub tracks: Vec<Track>,
    pub descriptors: HashMap<TrackId, Descriptors>,
    pub total: usize,
    pub next: Option<TrackId>,
}

impl Engine {
    /// An error if the last track of the previous page is no longer in the library.
    pub fn list(&self, query: &TrackQuery) -> Result<TrackPage, EngineError> {
        let library = self.library();
        let _snapshot = library.snapshot()?;
        let fitting = self.fitting(query)?;
        let fits = |id| fitting.as_ref().is_none_or(|set| set.contains(id));
        let total = match &fitting {
            Some(set) => set.len(),
            None => library.status()?.tracks as usize,
        };
        // One more than the page holds, to detect whether another page follows.
        let wanted = query.limit.unwrap_or(usize::MAX).saturating_add(1);
        let mut ids = Vec::new();
        let mut is_after = query.after.is_none();
        // Few tracks are put in order alone. The last track of a page may no longer pass the filter.
        let few = fitting.as_ref().filter(|set| set.len() <= FEW);
        let few: Option<Vec<TrackId>> =
            few.map(|set| set.to_vec().into_iter().chain(query.after).collect());
        library.sorted(query.sort, query.descending, few.as_deref(), |id| {
            if is_after && fits(id) {
                ids.push(id);
            }
            is_after |= Some(id) == query.after;
            ids.len() < wanted
        })?;
        match query.after {
            Some(after) if !is_after => Err(LibraryError::UnknownTrack(after).into()),
            _ => self.page(ids, query.limit, total),
        }
    }

    #[doc(hidden)]
    pub fn fitting(&self, query: &TrackQuery) -> Result<Option<TrackSet>, EngineError> {
        let matching = self.matching(&query.filter)?;
        if query.words.trim().is_empty() {
            return Ok(matching);
        }
        let with_words = self.library().tracks_with_words(&query.words)?;
        Ok(Some(match matching {
            None => with_words,
            Some(matching) => {
                let ids = with_words.to_vec().into_iter();
                ids.filter(|id| matching.contains(*id)).collect()
            }
        }))
    }

    #[doc(hidden)]
    pub fn page(
        &self,
        mut ids: Vec<TrackId>,
        limit: Option<usize>,
        total: usize,
    ) -> Result<TrackPage, EngineError> {
        let limit = limit.unwrap_or(usize::MAX);
        let has_next = ids.len() > limit;
        ids.truncate(limit);
        let mut tracks = self.library().tracks_by_id(&ids)?;
        self.label(&mut tracks)?;
        Ok(TrackPage {
            tracks,
            descriptors: self.library().descriptors(&ids)?,
            total,
            next: ids.last().copied().filter(|_| has_next),
        })
    }

    /// Replaces the genres of the tags by those of the library's label source.
    pub fn label(&self, tracks: &mut [Track]) -> Result<(), EngineError> {
        let genres = self.genres_of(tracks)?;
        for (track, names) in tracks.iter_mut().zip(genres) {
            track.tags.genres = names.iter().map(ToString::to_string).collect();
        }
        Ok(())
    }
}
