//! Searches for tracks that sound alike.

use std::cell::OnceCell;
use std::collections::VecDeque;

use ndarray::{ArrayView2, Axis, aview1};

use super::seed::{Seed, is_seed};
use super::{Engine, EngineError};
use voisin_base::track::{TrackId, is_same_recording};
use voisin_base::vector::dot;
use voisin_explore::NameLimit;
use voisin_index::{Neighbor, SearchParams};
use voisin_library::recording::LEAST_OF_COPIES;
use voisin_library::{Library, Track, TrackFilter, TrackSet};

#[derive(Debug, Clone)]
pub struct SimilarOptions {
    pub limit: usize,
    pub filter: TrackFilter,
    pub max_per_artist: Option<usize>,
    pub exact: bool,
    /// Seeds to stay away from.
    pub unlike: Vec<Seed>,
}

impl Default for SimilarOptions {
    fn default() -> Self {
        Self {
            limit: 10,
            filter: TrackFilter::default(),
            max_per_artist: None,
            exact: false,
            unlike: Vec::new(),
        }
    }
}

#[derive(Debug, Clone)]
pub struct SimilarTrack {
    /// Its genres are those of the library's label source.
    pub track: Track,
    /// Cosine similarity to the seeds' mean, -1 to 1; higher is nearer.
    pub similarity: f32,
}

impl Engine {
    /// The tracks nearest to the mean of the seeds, away from that of [`SimilarOptions::unlike`], nearest first.
    ///
    /// Filters are applied during the search, so that the list is full whenever enough tracks pass them. The seeds and their
    /// exact duplicates are left out.
    pub fn similar(
        &mut self,
        seeds: &[Seed],
        options: &SimilarOptions,
    ) -> Result<Vec<SimilarTrack>, EngineError> {
        let (seeds, query) = self.space()?.query(seeds, &options.unlike)?;
        let allowed = self.matching(&options.filter)?;
        let index = self.loaded_index();
        let mut artists = options
            .max_per_artist
            .map(|most| NameLimit::new(Some(most)));
        let mut answered = AnsweredTracks::beside(&seeds, &self.library);
        let query = aview1(query.as_slice()).insert_axis(Axis(0));
        let is_unwanted = |track| options.unlike.iter().any(|seed| seed.track == Some(track));
        let choose = |_, mut found: Vec<Neighbor>| {
            found.retain(|neighbor| {
                let vector = index.vector(neighbor.id);
                !is_unwanted(neighbor.id)
                    && !is_seed(&seeds, neighbor.id, vector.as_deref())
                    && answered.is_new(neighbor.id, vector)
            });
            self.of_few_artists(found, &mut artists)
        };
        let found = self.search_until_all(
            query,
            options.limit,
            options.exact,
            allowed.as_ref(),
            choose,
        )?;
        self.answered(found.into_iter().flatten().collect())
    }

    pub(super) fn answered(&self, found: Vec<Neighbor>) -> Result<Vec<SimilarTrack>, EngineError> {
        let ids: Vec<TrackId> = found.iter().map(|neighbor| neighbor.id).collect();
        let mut tracks = self.library.tracks_by_id(&ids)?;
        self.label(&mut tracks)?;
        let answers = tracks.into_iter().zip(found);
        Ok(answers
            .map(|(track, neighbor)| SimilarTrack {
                track,
                similarity: neighbor.similarity,
            })
            .collect())
    }

    /// The neighbours, in order, that keep the limit together with all chosen before; reads the library once.
    fn of_few_artists(
        &self,
        found: Vec<Neighbor>,
        taken: &mut Option<NameLimit>,
    ) -> Result<Vec<Neighbor>, EngineError> {
        let Some(taken) = taken else {
            return Ok(found);
        };
        let ids: Vec<TrackId> = found.iter().map(|neighbor| neighbor.id).collect();
        let tracks = self.library.tracks_by_id(&ids)?;
        let both = found.into_iter().zip(tracks);
        let chosen = both.filter(|(_, track)| taken.admit(track.artist_keys()));
        Ok(chosen.map(|(neighbor, _)| neighbor).collect())
    }

    /// Neighbours of each vector that `choose` keeps, nearest first. The index must have been opened.
    pub(super) fn search_until_all(
        &self,
        queries: ArrayView2<'_, f32>,
        limit: usize,
        exact: bool,
        allowed: Option<&TrackSet>,
        choose: impl FnMut(usize, Vec<Neighbor>) -> Result<Vec<Neighbor>, EngineError>,
    ) -> Result<Vec<Vec<Neighbor>>, EngineError> {
        let index = self.loaded_index();
        let subset = allowed.map(|set| index.subset_of(&set.to_vec()));
        let params = SearchParams {
            exact,
            subset: subset.as_ref(),
            ..SearchParams::default()
        };
        index.search_until(queries, limit, &params, choose)
    }
}

pub(super) struct AnsweredTracks<'a> {
    library: &'a Library,
    seeds: Vec<AnsweredTrack>,
    last: VecDeque<AnsweredTrack>,
}

struct AnsweredTrack {
    id: TrackId,
    vector: Vec<f32>,
    track: OnceCell<Option<Track>>,
}

impl AnsweredTrack {
    fn new(id: TrackId, vector: Vec<f32>) -> Self {
        Self {
            id,
            vector,
            track: OnceCell::new(),
        }
    }

    fn track(&self, library: &Library) -> Option<&Track> {
        self.track
            .get_or_init(|| library.track(self.id).ok())
            .as_ref()
    }
}

impl<'a> AnsweredTracks<'a> {
    /// Most ranks between copies of a recording, whose similarities hardly differ.
    const REACH: usize = 32;

    pub(super) fn beside(seeds: &[Seed], library: &'a Library) -> Self {
        Self {
            library,
            seeds: seeds
                .iter()
                .filter_map(|seed| Some(AnsweredTrack::new(seed.track?, seed.vector.clone())))
                .collect(),
            last: VecDeque::new(),
        }
    }

    /// Whether neither a seed nor one of the last results is the same recording; if so, adds the track to them.
    pub(super) fn is_new(&mut self, id: TrackId, vector: Option<Vec<f32>>) -> bool {
        // Without a vector nothing can be compared, and a repeated track is better than none.
        let Some(vector) = vector else {
            return true;
        };
        let track = AnsweredTrack::new(id, vector);
        let mut known = self.seeds.iter().chain(&self.last);
        if known.any(|other| is_same_recording(dot(&other.vector, &track.vector))) {
            return false;
        }
        let mut known = self.seeds.iter().chain(&self.last);
        let is_copy = known.any(|other| self.are_copies(other, &track));
        if self.last.len() == Self::REACH {
            self.last.pop_front();
        }
        self.last.push_back(track);
        !is_copy
    }

    /// Whether names and lengths say so, which takes a read of both tracks.
    fn are_copies(&self, a: &AnsweredTrack, b: &AnsweredTrack) -> bool {
        let similarity = dot(&a.vector, &b.vector);
        if similarity < LEAST_OF_COPIES {
            return false;
        }
        let [Some(a), Some(b)] = [a, b].map(|one| one.track(self.library)) else {
            return false;
        };
        a.recording().is_copy(&b.recording(), similarity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn engine(dir: &Path) -> Engine {
        use voisin_library::testing::{library, track};

        let mut library = library(dir, 2);
        for i in 0..60_u8 {
            let angle = f32::from(i) * 0.02;
            let mut new = track(i.into(), vec![angle.cos(), angle.sin()]);
            let artist = format!("{}{}", if i % 2 == 0 { "Björk " } else { "BJORK " }, i / 20);
            new.tags.album_artist = Some(artist);
            library.insert_track(&new).unwrap();
        }
        Engine::from_library(library)
    }

    #[test]
    fn a_search_returns_one_copy_of_each_recording() {
        use voisin_library::testing::{library, track};

        // The answer for the first of tracks with these angles, titles and artists.
        let found = |tracks: &[(f32, &str, &str)]| -> Vec<i64> {
            let dir = tempfile::tempdir().unwrap();
            let mut library = library(dir.path(), 2);
            for (i, (angle, title, artist)) in tracks.iter().enumerate() {
                let mut new = track(i as u64, vec![angle.cos(), angle.sin()]);
                new.tags.title = Some((*title).to_owned());
                new.tags.artist = Some((*artist).to_owned());
                library.insert_track(&new).unwrap();
            }
            let mut engine = Engine::from_library(library);
            let seeds = [engine.seed_of(TrackId(1)).unwrap()];
            let found = engine.similar(&seeds, &SimilarOptions::default()).unwrap();
            found.iter().map(|found| found.track.id.0).collect()
        };
        let by_sound = [
            (0.0, "One", "A"),
            (0.3, "Two", "B"),
            (0.302, "Three", "C"),
            (0.4, "Four", "D"),
            (0.6, "Five", "E"),
            (0.601, "Six", "F"),
        ];
        assert_eq!(found(&by_sound), [2, 4, 5]);
        // Cosines of 0.9992 and 0.9988 between neighbours of one name.
        let by_name = [
            (0.0, "Seed", "A"),
            (0.04, "seed", "A"),
            (0.3, "Song", "A"),
            (0.35, "SONG", "a"),
            (0.40, "Song", "B"),
            (0.44, "Song (Live)", "A"),
        ];
        assert_eq!(found(&by_name), [3, 5, 6]);
    }

    #[test]
    fn no_artist_has_more_tracks_than_requested() {
        let dir = tempfile::tempdir().unwrap();
        let mut engine = engine(dir.path());
        let seeds = [engine.seed_of(TrackId(1)).unwrap()];
        let mut options = SimilarOptions {
            limit: 5,
            max_per_artist: Some(2),
            ..SimilarOptions::default()
        };
        let mut found = |options: &SimilarOptions| -> Vec<i64> {
            engine
                .similar(&seeds, options)
                .unwrap()
                .iter()
                .map(|found| found.track.id.0)
                .collect()
        };
        // The third artist's first track is the fortieth neighbour, found in a second round.
        assert_eq!(found(&options), [2, 3, 21, 22, 41]);
        options = SimilarOptions {
            limit: 3,
            ..SimilarOptions::default()
        };
        assert_eq!(found(&options), [2, 3, 4]);
        options.exact = true;
        assert_eq!(found(&options), [2, 3, 4]);
    }

    #[test]
    fn a_search_away_from_a_seed_leaves_it_out_and_limits_artists() {
        let dir = tempfile::tempdir().unwrap();
        let mut engine = engine(dir.path());
        let seeds = [engine.seed_of(TrackId(30)).unwrap()];
        let unlike = vec![engine.seed_of(TrackId(31)).unwrap()];
        let options = SimilarOptions {
            limit: 3,
            max_per_artist: Some(2),
            unlike,
            ..SimilarOptions::default()
        };
        let found = engine.similar(&seeds, &options).unwrap();
        let ids: Vec<i64> = found.iter().map(|found| found.track.id.0).collect();
        // Track 31 is as near as 29, and lies on the side to stay away from.
        assert!(ids.len() == 3 && ids.iter().all(|id| *id < 30), "{ids:?}");
    }
}
