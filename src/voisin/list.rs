//! Lists of the library's tracks: filtered, sorted, in pages.

use std::collections::HashMap;

use super::{Engine, EngineError};
use voisin_base::track::TrackId;
use voisin_library::{Descriptors, SortBy, Track, TrackFilter, TrackSet};

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
    /// The tracks of a query.
    ///
    /// # Errors
    /// The last track of the previous page is no longer in the library.
    pub fn list(&self, query: &TrackQuery) -> Result<TrackPage, EngineError> {
        let _snapshot = self.library().snapshot()?;
        let matching = self.matching(&query.filter)?;
        if let Some(page) = self.first_page(query, matching.as_ref())? {
            return Ok(page);
        }
        let sorted = self.library().sorted(query.sort, query.descending)?;
        self.list_of(query, &sorted, matching.as_ref())
    }

    /// The first page, from a database index in this order; `None`: all tracks have to be sorted.
    fn first_page(
        &self,
        query: &TrackQuery,
        matching: Option<&TrackSet>,
    ) -> Result<Option<TrackPage>, EngineError> {
        let Some(limit) = query
            .limit
            .filter(|limit| *limit > 0 && query.words.trim().is_empty())
        else {
            return Ok(None);
        };
        let library = self.library();
        let tracks = library.status()?.tracks as usize;
        let total = matching.map_or(tracks, TrackSet::len);
        // Along the index one track in `tracks / total` passes the filter: a page that would read more than an
        // eighth of all tracks is sorted instead.
        if total <= limit || limit.saturating_mul(tracks / total) > tracks / 8 {
            return Ok(None);
        }
        // One more than the page holds, to detect whether another page follows.
        let sort = query.sort;
        let descending = query.descending;
        let after = query.after;
        let fits = |id| matching.is_none_or(|set| set.contains(id));
        let Some(mut ids) = library.first_sorted(sort, descending, after, limit + 1, fits)? else {
            return Ok(None);
        };
        ids.truncate(limit);
        let next = ids.last().copied();
        Ok(Some(TrackPage {
            total,
            next,
            ..self.page_of(&ids)?
        }))
    }

    fn page_of(&self, ids: &[TrackId]) -> Result<TrackPage, EngineError> {
        let mut tracks = self.library().tracks_by_id(ids)?;
        self.label(&mut tracks)?;
        Ok(TrackPage {
            tracks,
            descriptors: self.library().descriptors(ids)?,
            total: 0,
            next: None,
        })
    }

    /// As [`list`](Self::list), with a cached order.
    ///
    /// - `sorted`: all tracks in the query's order
    /// - `matching`: the tracks that pass its filter; `None`: all
    #[doc(hidden)]
    pub fn list_of(
        &self,
        query: &TrackQuery,
        sorted: &[TrackId],
        matching: Option<&TrackSet>,
    ) -> Result<TrackPage, EngineError> {
        // Before filtering, since the last track of a page may no longer pass the filter.
        let skipped = match query.after {
            None => 0,
            Some(after) => {
                let place = sorted.iter().position(|&id| id == after);
                1 + place.ok_or(voisin_library::LibraryError::UnknownTrack(after))?
            }
        };
        let has_words = !query.words.trim().is_empty();
        let with_words = has_words.then(|| self.library().tracks_with_words(&query.words));
        let with_words = with_words.transpose()?;
        let fits = |id: &&TrackId| {
            [matching, with_words.as_ref()]
                .into_iter()
                .flatten()
                .all(|fitting| fitting.contains(**id))
        };
        let (before, rest) = sorted.split_at(skipped);
        let mut ids: Vec<TrackId> = rest.iter().filter(fits).copied().collect();
        let total = before.iter().filter(fits).count() + ids.len();
        let limit = query.limit.unwrap_or(usize::MAX);
        let next = if ids.len() > limit {
            // A page without tracks has no last one.
            limit.checked_sub(1).map(|last| ids[last])
        } else {
            None
        };
        ids.truncate(limit);
        Ok(TrackPage {
            total,
            next,
            ..self.page_of(&ids)?
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

#[cfg(test)]
mod tests {
    use super::*;
    use voisin_library::testing::{library, track};

    #[test]
    fn pages_are_the_same_with_and_without_a_database_index() {
        let dir = tempfile::tempdir().unwrap();
        let mut library = library(dir.path(), 2);
        for seed in 0..120_u64 {
            let mut new = track(seed, vec![0.6, 0.8]);
            // Some have no artist and are not in the index.
            new.tags.artist = (seed % 12 > 0).then(|| format!("Artist {}", seed * 7 % 11));
            new.tags.title = Some(format!("Title {}", seed * 31 % 120));
            new.tags.year = Some(if seed % 2 == 0 { 1990 } else { 1970 });
            library.insert_track(&new).unwrap();
        }
        let engine = Engine::from_library(library);
        let ids = |page: &TrackPage| {
            page.tracks
                .iter()
                .map(|track| track.id)
                .collect::<Vec<TrackId>>()
        };
        for (descending, year) in [
            (false, None),
            (true, None),
            (false, Some(1990)),
            (true, Some(1990)),
        ] {
            let filter = TrackFilter {
                year_from: year,
                year_to: year,
                ..TrackFilter::default()
            };
            let all = TrackQuery {
                filter,
                descending,
                ..TrackQuery::default()
            };
            let expected = engine.list(&all).unwrap();
            assert_eq!(expected.next, None);
            let mut seen = Vec::new();
            let mut after = None;
            loop {
                let query = TrackQuery {
                    limit: Some(2),
                    after,
                    ..all.clone()
                };
                let page = engine.list(&query).unwrap();
                assert_eq!(page.total, expected.total);
                seen.extend(ids(&page));
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(seen, ids(&expected));
            let unknown = TrackQuery {
                limit: Some(2),
                after: Some(TrackId(999)),
                ..all
            };
            assert!(engine.list(&unknown).is_err());
        }
    }
}
