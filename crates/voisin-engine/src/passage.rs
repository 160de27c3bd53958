//! Where does something like this passage sound?

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::collection::balanced;
use super::search::{ArtistLimit, SimilarOptions, is_seed};
use super::{Embedder, Engine, EngineError, LibrarySpace, Seed, WindowPlan, window_set};
use voisin_base::track::TrackId;
use voisin_encoder::Parts;
use voisin_explore::passage::{PassageMatch, best_passage, cut, search};
use voisin_explore::{ExploreError, WindowSet};
use voisin_library::Track;

/// Tracks beyond the answer's length that are listened to again: the stored windows' order is rough.
const RESERVE: usize = 10;
/// Of tracks longer than this, in seconds, only the surroundings of the rough place are listened to.
const LONG: f64 = 1200.0;
/// How far around, in seconds.
const AROUND: f32 = 60.0;

/// A passage of a file.
#[derive(Debug, Clone)]
pub struct Passage {
    /// The file it is from, as a whole.
    pub seed: Seed,
    /// Its windows, one a second where the file could be read.
    pub windows: WindowSet,
    /// Length of a window in seconds.
    pub window_seconds: f32,
    /// Seconds from the passage's start to its first window; negative where the passage is shorter than a window.
    lead: f32,
    /// Its length in seconds.
    pub seconds: f32,
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
    /// Mean cosine similarity of the windows laid over each other.
    pub similarity: f32,
    /// Whether the file was listened to, second by second; if not, the place is as exact as the stored windows
    /// lie dense.
    pub listened: bool,
}

impl Engine {
    /// Listens to a passage, one window a second. Of a file that is gone the stored windows are taken.
    ///
    /// - `text`: what names the file, as in [`seed`](Self::seed)
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

    /// As [`passage`](Self::passage), of a seed that is known.
    pub fn passage_of(
        &self,
        seed: Seed,
        from: f64,
        to: f64,
        embedder: &Embedder,
    ) -> Result<Passage, EngineError> {
        let window_seconds = embedder.window_seconds();
        let parts = Parts::of(embedder.encoder().manifest());
        let outside = |seconds: f64| {
            EngineError::from(ExploreError::Parameter {
                name: "passage",
                found: format!("{from:.2} s to {to:.2} s"),
                expected: if seconds > from { "an end behind its start" } else { "a start inside the track" },
            })
        };
        let mut end = to;
        let windows = match voisin_audio::probe(&seed.path) {
            Ok(info) => {
                if !(from >= 0.0 && from < to && from < info.seconds()) {
                    return Err(outside(info.seconds()));
                }
                end = to.min(info.seconds());
                let milliseconds = |seconds: f64| (seconds * 1000.0).round() as u32;
                let part = WindowPlan::Part { from: milliseconds(from), to: milliseconds(to) };
                let heard = embedder.embed(&seed.path, &info, part, None)?;
                balanced(&parts, &heard.starts, heard.windows)
            }
            Err(error) => {
                let stored = seed.track.and_then(|track| window_set(self.library(), &parts, track));
                let Some(stored) = stored else { return Err(error.into()) };
                cut(&stored, from as f32, to as f32, window_seconds)?
            }
        };
        if windows.is_empty() {
            return Err(EngineError::Silent { path: seed.path });
        }
        let lead = windows.starts[0] - from as f32;
        Ok(Passage { seed, windows, window_seconds, lead, seconds: (end - from) as f32 })
    }

    /// The places that sound most like a passage, at most one per track, best first.
    ///
    /// All tracks are compared by their stored windows. The best are then listened to again, one window a second, so
    /// that the place is right to a second; tracks whose file is gone keep the rough place.
    ///
    /// - `embedder`: the library's model; `None` answers from the stored windows alone
    pub fn similar_passages(
        &self,
        passage: &Passage,
        embedder: Option<&Embedder>,
        options: &SimilarOptions,
    ) -> Result<Vec<SimilarPassage>, EngineError> {
        let library = self.library();
        let allowed = self.matching(&options.filter)?;
        let vectors = library.vectors()?;
        let passes = |track: &TrackId| allowed.as_ref().is_none_or(|set| set.contains(*track));
        let ids: Vec<TrackId> = vectors.ids.iter().copied().filter(passes).collect();
        let parts = self.parts()?;
        let mut source = |track: TrackId| window_set(library, &parts, track);
        let mut rough = search(&passage.windows, passage.window_seconds, &ids, &mut source, usize::MAX)?;
        if !options.include_seed {
            let space = LibrarySpace::of(library, &vectors)?;
            let seed = space.centre_seeds(std::slice::from_ref(&passage.seed));
            rough.retain(|found| {
                let row = vectors.ids.binary_search(&found.track).ok();
                let vector = row.and_then(|row| Some(space.centre(vectors.values.row(row).to_slice()?)));
                !is_seed(&seed, found.track, vector.as_deref())
            });
        }
        let mut artists = ArtistLimit::new(library, options.max_per_artist);
        let rough = artists.first(rough, options.limit + RESERVE, |found| found.track)?;
        let tracks = library.tracks_by_id(&rough.iter().map(|found| found.track).collect::<Vec<_>>())?;
        let near: Vec<(Track, PassageMatch)> = tracks.into_iter().zip(rough).collect();
        // Paths only: the library's connection stays on this thread.
        let files: Vec<(PathBuf, f64)> =
            near.iter().map(|(track, _)| (track.path.clone(), track.audio.seconds)).collect();
        let exact: Vec<Option<PassageMatch>> = files
            .par_iter()
            .zip(near.par_iter().map(|found| &found.1))
            .map(|((path, seconds), rough)| listen(embedder?, path, *seconds, passage, rough))
            .collect();
        let mut found: Vec<SimilarPassage> = near
            .into_iter()
            .zip(exact)
            .map(|((track, rough), exact)| {
                let listened = exact.is_some();
                let place = exact.unwrap_or(rough);
                // Windows do not reach to a track's last moment: the place may be pushed back by as much.
                let length = track.audio.seconds as f32;
                let from = (place.from - passage.lead).min(length - passage.seconds).max(0.0);
                let to = (from + passage.seconds).min(length);
                SimilarPassage { track, from, to, similarity: place.similarity, listened }
            })
            .filter(|found| options.min_similarity.is_none_or(|least| found.similarity >= least))
            .collect();
        found.sort_by(|a, b| b.similarity.total_cmp(&a.similarity).then(a.track.id.cmp(&b.track.id)));
        found.truncate(options.limit);
        Ok(found)
    }
}

/// The best place in a file; `None` where it cannot be read.
fn listen(
    embedder: &Embedder,
    path: &Path,
    seconds: f64,
    passage: &Passage,
    rough: &PassageMatch,
) -> Option<PassageMatch> {
    let info = voisin_audio::probe(path).ok()?;
    let milliseconds = |seconds: f32| (seconds.max(0.0) * 1000.0) as u32;
    let plan = if seconds <= LONG {
        WindowPlan::All
    } else {
        WindowPlan::Part { from: milliseconds(rough.from - AROUND), to: milliseconds(rough.to + AROUND) }
    };
    let heard = embedder.embed(path, &info, plan, None).ok()?;
    let windows = balanced(&Parts::of(embedder.encoder().manifest()), &heard.starts, heard.windows);
    let found = best_passage(&passage.windows, passage.window_seconds, &windows).ok()?;
    Some(PassageMatch { track: rough.track, ..found })
}
