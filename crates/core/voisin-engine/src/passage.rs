//! Searches for passages that sound like a given passage.

use std::ffi::OsStr;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::artist_limit::ArtistLimit;
use super::collection::balanced;
use super::parts::EnginePassages;
use super::search::SimilarOptions;
use super::seed::is_seed;
use super::{Embedder, Engine, EngineError, LibrarySpace, Seed, WindowPlan, window_set};
use voisin_base::track::TrackId;
use voisin_encoder::Parts;
use voisin_explore::passage::{PassageMatch, PlaceOptions, best_passages, cut, search};
use voisin_explore::{ExploreError, WindowSet};
use voisin_library::Track;

/// Best places by stored windows that are analysed again.
const ANALYSED: usize = 5;
/// Fewest seconds around a rough place that are analysed; more if the stored windows are further apart.
const AROUND: f32 = 3.0;

/// A passage of a file.
#[derive(Debug, Clone)]
pub struct Passage {
    /// The file it is from, as a whole.
    pub seed: Seed,
    /// Its windows, one per second if the file could be read.
    pub windows: WindowSet,
    /// Length of a window in seconds.
    pub window_seconds: f32,
    /// Seconds from the passage's start to its first window; negative where the passage is shorter than a window.
    lead: f32,
    /// Its length in seconds.
    pub seconds: f32,
    /// Components of a window vector that differ in each window, see [`PlaceOptions::placing`].
    placing: usize,
}

/// A place that sounds like a passage.
#[derive(Debug, Clone)]
pub struct SimilarPassage {
    /// The track.
    pub track: Track,
    /// Where it begins, in seconds.
    pub from: f32,
    /// Where it ends.
    pub to: f32,
    /// Mean cosine similarity of aligned windows.
    pub similarity: f32,
    /// Whether the file was analysed again with one window per second; if not, the place is only as exact as the spacing
    /// of the stored windows.
    pub is_exact: bool,
    /// Whether the file should have been analysed and could not be read.
    pub is_unread: bool,
}

impl<L: Deref<Target = Engine>> EnginePassages<L> {
    /// Analyses a passage with one window per second. For a file that is gone the stored windows are used.
    ///
    /// - `text`: the file's name, as in [`seed`](Engine::seed)
    /// - `from`, `to`: seconds from the file's start
    pub fn passage(
        &self,
        text: &OsStr,
        from: f64,
        to: f64,
        embedder: &Embedder,
    ) -> Result<Passage, EngineError> {
        self.passage_of(self.seed(text, || Ok(embedder))?, from, to, embedder)
    }

    /// As [`passage`](Self::passage), for a seed.
    pub fn passage_of(
        &self,
        seed: Seed,
        from: f64,
        to: f64,
        embedder: &Embedder,
    ) -> Result<Passage, EngineError> {
        let window_seconds = embedder.window_seconds();
        let parts = Parts::of(embedder.encoder().manifest());
        // The end of the passage in a track of this length.
        let end_within = |seconds: f64| {
            // Written so that NaN fails.
            if from >= 0.0 && from < to && from < seconds {
                return Ok(to.min(seconds));
            }
            Err(EngineError::from(ExploreError::Parameter {
                name: "passage",
                found: format!("{from:.2} s to {to:.2} s"),
                expected: if seconds > from {
                    "an end after its start"
                } else {
                    "a start inside the track"
                },
            }))
        };
        let (end, windows) = match voisin_audio::probe(&seed.path) {
            Ok(info) => {
                let end = end_within(info.seconds())?;
                // 32 bits hold 49 days of milliseconds; beyond that the cast saturates.
                let milliseconds = |seconds: f64| (seconds * 1000.0).round() as u32;
                let part = WindowPlan::Part {
                    from: milliseconds(from),
                    to: milliseconds(to),
                };
                let embedded = embedder.embed(&seed.path, &info, part, None)?;
                (end, balanced(&parts, &embedded.starts, embedded.windows))
            }
            // The file is gone or cannot be read: its stored windows are used, which are sparser than
            // one per second.
            Err(error) => {
                let stored = seed
                    .track
                    .and_then(|track| Some((track, window_set(self.library(), &parts, track)?)));
                let Some((track, stored)) = stored else {
                    return Err(error.into());
                };
                let end = end_within(self.library().track(track)?.audio.seconds)?;
                (end, cut(&stored, from as f32, end as f32, window_seconds)?)
            }
        };
        if windows.is_empty() {
            return Err(EngineError::Silent { path: seed.path });
        }
        // The start of the first window within the passage, by which found places are shifted back.
        let lead = windows.starts[0] - from as f32;
        Ok(Passage {
            seed,
            windows,
            window_seconds,
            lead,
            seconds: (end - from) as f32,
            placing: embedder.encoder().manifest().numbers_of_each_window(),
        })
    }

    /// The places that sound most like a passage, best first; places in its own track that overlap it are left out, unless
    /// the options include the seed.
    ///
    /// All tracks are compared by their stored windows. The five best places are then analysed again with one window per
    /// second, and are exact to a second; the others, and those whose file is gone, keep the rough place.
    ///
    /// - `embedder`: the library's model; `None` uses the stored windows alone
    /// - `places`: most places per track, without overlaps
    pub fn similar_passages(
        &self,
        passage: &Passage,
        embedder: Option<&Embedder>,
        options: &SimilarOptions,
        places: usize,
    ) -> Result<Vec<SimilarPassage>, EngineError> {
        let library = self.library();
        let allowed = self.allowed(options)?;
        let vectors = library.vectors()?;
        let passes = |track: &TrackId| allowed.as_ref().is_none_or(|set| set.contains(*track));
        let ids: Vec<TrackId> = vectors.ids.iter().copied().filter(passes).collect();
        let parts = self.parts()?;
        let mut source = |track: TrackId| window_set(library, &parts, track);
        let mut wanted = PlaceOptions {
            places,
            placing: passage.placing,
            query_place: passage.place(),
            ..PlaceOptions::default()
        };
        if !options.include_seed {
            let space = LibrarySpace::of(library, &vectors)?;
            let seed = space.centre_seeds(std::slice::from_ref(&passage.seed));
            let is_own = |track: &TrackId| {
                let row = vectors.ids.binary_search(track).ok();
                let vector =
                    row.and_then(|row| Some(space.centre(vectors.values.row(row).to_slice()?)));
                is_seed(&seed, *track, vector.as_deref())
            };
            wanted.query_tracks = ids.iter().copied().filter(is_own).collect();
        }
        let rough = search(
            &passage.windows,
            passage.window_seconds,
            &ids,
            &mut source,
            &wanted,
            usize::MAX,
        )?;
        let mut artists = ArtistLimit::new(library, options.max_per_artist);
        // At least as many as are analysed again, since that may change their order.
        let rough = artists.first(rough, options.limit.max(ANALYSED), |found| found.track)?;
        let tracks =
            library.tracks_by_id(&rough.iter().map(|found| found.track).collect::<Vec<_>>())?;
        let near: Vec<(Track, PassageMatch)> = tracks.into_iter().zip(rough).collect();
        // Only paths, because the library's connection has to stay on this thread.
        let files: Vec<(PathBuf, f64)> = near
            .iter()
            .map(|(track, _)| (track.path.clone(), track.audio.seconds))
            .collect();
        // With one window per second every network processes each window, so that all components
        // count; and there is one place in the stretch that is read.
        let exactly = PlaceOptions {
            places: 1,
            placing: 0,
            ..wanted
        };
        let exact: Vec<Option<PassageMatch>> = files[..files.len().min(ANALYSED)]
            .par_iter()
            .zip(near.par_iter().map(|found| &found.1))
            .map(|((path, seconds), rough)| {
                exact_place(embedder?, path, *seconds, passage, rough, &exactly)
            })
            .collect();
        let analysed = if embedder.is_some() { exact.len() } else { 0 };
        let exact = exact.into_iter().chain(std::iter::repeat(None));
        let mut found: Vec<SimilarPassage> = near
            .into_iter()
            .zip(exact)
            .enumerate()
            .map(|(rank, ((track, rough), exact))| {
                let is_exact = exact.is_some();
                let is_unread = rank < analysed && !is_exact;
                let place = exact.unwrap_or(rough);
                // Windows may end before the track does, so that the place has to be limited to its length.
                let length = track.audio.seconds as f32;
                let from = (place.from - passage.lead)
                    .min(length - passage.seconds)
                    .max(0.0);
                let to = (from + passage.seconds).min(length);
                SimilarPassage {
                    track,
                    from,
                    to,
                    similarity: place.similarity,
                    is_exact,
                    is_unread,
                }
            })
            .filter(|found| {
                options
                    .min_similarity
                    .is_none_or(|least| found.similarity >= least)
            })
            .collect();
        found.sort_by(|a, b| {
            b.similarity
                .total_cmp(&a.similarity)
                .then(a.track.id.cmp(&b.track.id))
        });
        // After the new analysis two places of a track may coincide.
        let mut apart: Vec<SimilarPassage> = Vec::new();
        for place in found {
            let overlaps = |known: &SimilarPassage| {
                known.track.id == place.track.id && place.from < known.to && place.to > known.from
            };
            if !apart.iter().any(overlaps) {
                apart.push(place);
            }
        }
        apart.truncate(options.limit);
        Ok(apart)
    }
}

impl Passage {
    /// Its start and end in the file, in seconds.
    fn place(&self) -> (f32, f32) {
        let from = self.windows.starts[0] - self.lead;
        (from, from + self.seconds)
    }
}

/// The best place in a file near a rough one; `None` if the file cannot be read.
fn exact_place(
    embedder: &Embedder,
    path: &Path,
    seconds: f64,
    passage: &Passage,
    rough: &PassageMatch,
    options: &PlaceOptions,
) -> Option<PassageMatch> {
    let info = voisin_audio::probe(path).ok()?;
    let milliseconds = |seconds: f32| (seconds.max(0.0) * 1000.0) as u32;
    // The true place is within one gap of the rough one, and stored windows may be farther apart than
    // three seconds.
    let around = rough.spacing.max(AROUND);
    let from = rough.from - around;
    let to = (rough.to + around).min(seconds as f32);
    let plan = WindowPlan::Part {
        from: milliseconds(from),
        to: milliseconds(to),
    };
    let found = embedder.embed(path, &info, plan, None).ok()?;
    let windows = balanced(
        &Parts::of(embedder.encoder().manifest()),
        &found.starts,
        found.windows,
    );
    let found = best_passages(
        &passage.windows,
        passage.window_seconds,
        (rough.track, &windows),
        options,
    )
    .ok()?;
    found.into_iter().next()
}
