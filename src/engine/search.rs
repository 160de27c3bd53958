//! What sounds like these tracks?

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use ndarray::Array2;

use super::{Embedder, Engine, EngineError, WindowPlan};
use crate::audio;
use crate::encoder::Embedding;
use crate::explore::seeds::like_unlike;
use crate::index::{IndexOptions, Neighbor, SearchMode, SearchParams, VectorIndex};
use crate::library::{Resolution, Track, TrackFilter, TrackSet, stored_path};
use crate::track::TrackId;

/// Two vectors at least this similar are the same recording as far as ears go; only exact copies and re-encodings
/// at high bit rates come so near.
pub(super) const SAME_RECORDING: f32 = 0.999_9;

/// Where a search starts.
#[derive(Debug, Clone)]
pub struct Seed {
    /// The track of the library, if it is one.
    pub track: Option<TrackId>,
    /// The file that was named, or the track's own path where it was named by number or words.
    pub path: PathBuf,
    /// Whether `path` is what was named: then it alone stands for the track, whatever copies the library knows.
    pub is_named_file: bool,
    /// Its vector, unit norm.
    pub vector: Vec<f32>,
    /// Window vectors of a file that is not in the library, as the encoder gave them; the library keeps the others.
    pub windows: Option<ndarray::Array2<f32>>,
}

/// What is looked for, and how.
#[derive(Debug, Clone)]
pub struct SimilarOptions {
    /// How many neighbours.
    pub limit: usize,
    /// Which tracks may be among them.
    pub filter: TrackFilter,
    /// At most so many tracks of one artist.
    pub max_per_artist: Option<usize>,
    /// Least cosine similarity.
    pub min_similarity: Option<f32>,
    /// Keep the seeds and their duplicates in the answer.
    pub include_seed: bool,
    /// How neighbours are found.
    pub mode: SearchMode,
    /// What to stay away from.
    pub unlike: Vec<Seed>,
    /// How strongly, 0 to 1.
    pub unlike_weight: f32,
}

impl Default for SimilarOptions {
    fn default() -> Self {
        Self {
            limit: 10,
            filter: TrackFilter::default(),
            max_per_artist: None,
            min_similarity: None,
            include_seed: false,
            mode: SearchMode::Auto,
            unlike: Vec::new(),
            unlike_weight: 0.5,
        }
    }
}

/// A neighbour with all that is known of it.
#[derive(Debug, Clone)]
pub struct SimilarTrack {
    /// The track.
    pub track: Track,
    /// Cosine similarity to the seeds' mean, -1 to 1; higher is nearer.
    pub similarity: f32,
    /// Largest cosine similarity to what to stay away from, if anything was named.
    pub unlike: Option<f32>,
}

impl Engine {
    /// Turns what a user names into a seed: a file of the library or any other, `id:NUMBER`, or words.
    ///
    /// - `embedder`: makes the model ready, for a file that is not in the library; it must be the library's model
    pub fn seed<E>(
        &self,
        text: &OsStr,
        mut embedder: impl FnMut() -> Result<E, EngineError>,
    ) -> Result<Seed, EngineError>
    where
        E: std::ops::Deref<Target = Embedder>,
    {
        let path = Path::new(text);
        if let Some(track) = self.library.find_by_path(path)? {
            return self.seed_of_file(track, path);
        }
        if let Some(id) = text.to_str().and_then(|text| text.strip_prefix("id:"))
            && let Ok(id) = id.trim().parse()
        {
            let track = TrackId(id);
            if !self.library.contains(track)? {
                return Err(crate::library::LibraryError::UnknownTrack(track).into());
            }
            return self.seed_of(track);
        }
        if path.is_file() {
            let info = audio::probe(path)?;
            if let Some(track) = self.library.find_by_content(&info.content)? {
                return self.seed_of_file(track, path);
            }
            let embedding = embedder()?.embed(path, &info, self.windows_setting()?, None)?;
            return Ok(Seed {
                track: None,
                path: path.to_owned(),
                is_named_file: true,
                vector: embedding.vector.into_vec(),
                windows: Some(embedding.windows),
            });
        }
        match self.library.resolve(text, 10)? {
            Resolution::One(track) => self.seed_of(track),
            Resolution::Ambiguous(tracks) => Err(EngineError::Ambiguous {
                text: text.to_string_lossy().into_owned(),
                candidates: tracks.iter().map(Self::candidate).collect(),
            }),
            Resolution::Nothing => {
                Err(EngineError::NoSuchTrack { text: text.to_string_lossy().into_owned() })
            }
        }
    }

    /// A track of the library as a seed.
    pub fn seed_of(&self, track: TrackId) -> Result<Seed, EngineError> {
        let path = self.library.track(track)?.path;
        Ok(Seed {
            track: Some(track),
            path,
            is_named_file: false,
            vector: self.vector(track)?,
            windows: None,
        })
    }

    /// A track of the library as a seed, named by a file of it: one of the library's, or any other with its audio.
    pub fn seed_of_file(&self, track: TrackId, file: &Path) -> Result<Seed, EngineError> {
        Ok(Seed { path: stored_path(file), is_named_file: true, ..self.seed_of(track)? })
    }

    /// The tracks nearest to the mean of the seeds, nearest first; with [`SimilarOptions::unlike`], those that are near
    /// to the seeds and far from the others, by comparing all tracks (see [`seeds`](crate::explore::seeds)).
    ///
    /// Filters act inside the search: the list is full whenever enough tracks pass them. The seeds and their exact
    /// duplicates are left out unless asked for.
    pub fn similar(
        &mut self,
        seeds: &[Seed],
        options: &SimilarOptions,
    ) -> Result<Vec<SimilarTrack>, EngineError> {
        let query = mean(seeds)?;
        let allowed =
            if options.filter.is_empty() { None } else { Some(self.library.matching(&options.filter)?) };
        if options.unlike.is_empty() {
            self.index()?;
        }
        let engine = &*self;
        let mut per_artist = std::collections::HashMap::<String, usize>::new();
        let mut fault = None;
        let accept = |neighbor: &Neighbor| -> bool {
            if options.min_similarity.is_some_and(|least| neighbor.similarity < least) {
                return false;
            }
            if !options.include_seed
                && engine.is_seed(seeds, neighbor.track).unwrap_or_else(|error| {
                    fault.get_or_insert(error);
                    false
                })
            {
                return false;
            }
            let Some(most) = options.max_per_artist else { return true };
            match engine.artist_key(neighbor.track) {
                Ok(None) => true,
                Ok(Some(artist)) => {
                    let count = per_artist.entry(artist).or_default();
                    *count += 1;
                    *count <= most
                }
                Err(error) => {
                    fault.get_or_insert(error);
                    false
                }
            }
        };
        let found: Vec<(Neighbor, Option<f32>)> = if options.unlike.is_empty() {
            let found = engine.search_until(
                query.as_slice(),
                options.limit,
                options.mode,
                allowed.as_ref(),
                accept,
            )?;
            found.into_iter().map(|neighbor| (neighbor, None)).collect()
        } else {
            engine.like_unlike(seeds, options, allowed.as_ref(), accept)?
        };
        if let Some(error) = fault {
            return Err(error);
        }
        found
            .into_iter()
            .map(|(neighbor, unlike)| {
                let track = self.library.track(neighbor.track)?;
                Ok(SimilarTrack { track, similarity: neighbor.similarity, unlike })
            })
            .collect()
    }

    /// Tracks near to the seeds and far from `options.unlike`, best first, each with its largest similarity to the latter.
    fn like_unlike(
        &self,
        seeds: &[Seed],
        options: &SimilarOptions,
        allowed: Option<&TrackSet>,
        mut accept: impl FnMut(&Neighbor) -> bool,
    ) -> Result<Vec<(Neighbor, Option<f32>)>, EngineError> {
        let all = self.library.vectors()?;
        let dimension = all.values.ncols();
        let stacked = |seeds: &[Seed]| {
            let flat = seeds.iter().flat_map(|seed| seed.vector.iter().copied()).collect();
            Array2::from_shape_vec((seeds.len(), dimension), flat).map_err(|_| EngineError::Shape)
        };
        let (like, unlike) = (stacked(seeds)?, stacked(&options.unlike)?);
        let admits = |row: usize| {
            let track = all.ids[row];
            let unwanted = options.unlike.iter().any(|seed| seed.track == Some(track));
            !unwanted && allowed.is_none_or(|set| set.contains(track))
        };
        let weight = options.unlike_weight;
        let ranked = like_unlike(&all.ids, all.values.view(), like.view(), unlike.view(), weight, &admits)?;
        let mut found = Vec::new();
        for liked in ranked {
            let neighbor = Neighbor { track: liked.track, similarity: liked.towards };
            if found.len() == options.limit {
                break;
            }
            if accept(&neighbor) {
                found.push((neighbor, Some(liked.away)));
            }
        }
        Ok(found)
    }

    /// Neighbours of a vector that `accept` takes, nearest first. The index must have been opened.
    pub(super) fn search_until(
        &self,
        query: &[f32],
        limit: usize,
        mode: SearchMode,
        allowed: Option<&TrackSet>,
        accept: impl FnMut(&Neighbor) -> bool,
    ) -> Result<Vec<Neighbor>, EngineError> {
        let index = self
            .index
            .as_ref()
            .ok_or_else(|| EngineError::EmptyLibrary { dir: self.library.dir().to_owned() })?;
        let filter = allowed.map(|set| move |track: TrackId| set.contains(track));
        let params = SearchParams {
            mode,
            filter: filter.as_ref().map(|filter| filter as &(dyn Fn(TrackId) -> bool + Sync)),
            ..SearchParams::default()
        };
        if mode == SearchMode::Hnsw && index.stats().layers == 0 {
            // A small library has no graph; one that is asked for is built for the occasion.
            let (ids, vectors) = index.vectors();
            let options = IndexOptions { graph_from: 0, ..IndexOptions::default() };
            let graph = VectorIndex::build(&ids, vectors.view(), &options)?;
            return Ok(graph.search_until(query, limit, &params, accept)?);
        }
        Ok(index.search_until(query, limit, &params, accept)?)
    }

    /// Whether a track is one of the seeds, or sounds exactly like one.
    pub(super) fn is_seed(&self, seeds: &[Seed], track: TrackId) -> Result<bool, EngineError> {
        if seeds.iter().any(|seed| seed.track == Some(track)) {
            return Ok(true);
        }
        let vector = self.vector(track)?;
        Ok(seeds.iter().any(|seed| dot(&seed.vector, &vector) >= SAME_RECORDING))
    }

    /// What tracks of one artist share; `None` where the artist is not known.
    pub(super) fn artist_key(&self, track: TrackId) -> Result<Option<String>, EngineError> {
        Ok(self.library.track(track)?.main_artist().map(crate::library::fold))
    }

    /// The windows that tracks of this library are listened to with.
    pub fn windows_setting(&self) -> Result<WindowPlan, EngineError> {
        Ok(match self.library.setting(WINDOWS_SETTING)?.as_deref() {
            Some("all") => WindowPlan::All,
            Some(number) => number.parse().map_or(DEFAULT_WINDOWS, WindowPlan::Spread),
            None => DEFAULT_WINDOWS,
        })
    }

    /// Sets the windows that tracks are listened to with from now on.
    pub fn set_windows_setting(&mut self, plan: WindowPlan) -> Result<(), EngineError> {
        let text = match plan {
            WindowPlan::Spread(n) => n.to_string(),
            WindowPlan::All | WindowPlan::Part { .. } | WindowPlan::Reference { .. } => "all".to_owned(),
        };
        Ok(self.library.set_setting(WINDOWS_SETTING, Some(&text))?)
    }
}

/// Windows per track where nothing else is asked for: the knee of the curve in BENCHMARKS.md.
pub const DEFAULT_WINDOWS: WindowPlan = WindowPlan::Spread(24);

const WINDOWS_SETTING: &str = "windows";

fn mean(seeds: &[Seed]) -> Result<Embedding, EngineError> {
    let Some(first) = seeds.first() else { return Err(EngineError::SeedsCancel) };
    let mut sum = vec![0.0f32; first.vector.len()];
    for seed in seeds {
        for (sum, value) in sum.iter_mut().zip(&seed.vector) {
            *sum += value;
        }
    }
    let norm = sum.iter().map(|value| value * value).sum::<f32>().sqrt();
    if norm < 1e-3 * seeds.len() as f32 {
        return Err(EngineError::SeedsCancel);
    }
    Ok(Embedding::new(sum)?)
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seed(vector: Vec<f32>) -> Seed {
        Seed { track: None, path: PathBuf::new(), is_named_file: false, vector, windows: None }
    }

    #[test]
    fn several_seeds_meet_in_the_middle() {
        let middle = mean(&[seed(vec![1.0, 0.0]), seed(vec![0.0, 1.0])]).unwrap();
        let half = std::f32::consts::FRAC_1_SQRT_2;
        assert!((middle.as_slice()[0] - half).abs() < 1e-6 && (middle.as_slice()[1] - half).abs() < 1e-6);
    }

    #[test]
    fn opposite_seeds_are_refused() {
        assert!(matches!(
            mean(&[seed(vec![1.0, 0.0]), seed(vec![-1.0, 0.0])]),
            Err(EngineError::SeedsCancel)
        ));
        assert!(matches!(mean(&[]), Err(EngineError::SeedsCancel)));
    }
}
