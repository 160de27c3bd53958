//! Where a search starts: what a user names, as vectors.

use std::borrow::Borrow;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use ndarray::Array2;

use super::{Embedder, Engine, EngineError, LibrarySpace};
use voisin_base::cue::Place;
use voisin_base::track::{TrackId, is_same_recording};
use voisin_base::vector::dot;
use voisin_encoder::Embedding;
use voisin_library::{LibraryError, Resolution, stored_path};

/// Where a search starts.
#[derive(Debug, Clone)]
pub struct Seed {
    /// The track of the library, if it is one.
    pub track: Option<TrackId>,
    /// The file that was named, or the track's own path where it was named by number or words.
    pub path: PathBuf,
    /// Whether `path` is what was named: then it alone stands for the track, whatever copies the library knows.
    pub is_named_file: bool,
    /// Its vector, raw, unit norm.
    pub vector: Vec<f32>,
    /// Window vectors of a file that is not in the library, as the encoder gave them; the library keeps the others.
    pub windows: Option<ndarray::Array2<f32>>,
    /// Whether the sound of a file that is not in the library hardly changes; of the others their windows tell.
    pub is_steady: Option<bool>,
}

impl Seed {
    /// A vector alone, of no track and no file.
    ///
    /// - `vector`: raw, unit norm
    pub fn of_vector(vector: Vec<f32>) -> Self {
        let path = PathBuf::new();
        Self { track: None, path, is_named_file: false, vector, windows: None, is_steady: None }
    }
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
        if let Some(track) = text.to_str().and_then(track_number) {
            if !self.library.contains(track)? {
                return Err(voisin_library::LibraryError::UnknownTrack(track).into());
            }
            return self.seed_of(track);
        }
        if Place::exists(path) {
            let info = voisin_audio::probe_as(path, self.library.content_kind()?)?;
            if let Some(track) = self.library.find_by_content(&info.content)? {
                return self.seed_of_file(track, path);
            }
            let embedding = embedder()?.embed_seed(path, &info, self.windows_setting()?)?;
            return Ok(Seed {
                path: path.to_owned(),
                is_named_file: true,
                windows: Some(embedding.windows),
                is_steady: embedding.is_steady,
                ..Seed::of_vector(embedding.vector.into_vec())
            });
        }
        match self.library.resolve(text, 10)? {
            Resolution::One(track) => self.seed_of(track),
            Resolution::Ambiguous(tracks) => Err(EngineError::Ambiguous {
                text: text.to_string_lossy().into_owned(),
                count: self.library.search_words(&text.to_string_lossy(), usize::MAX)?.len(),
                candidates: tracks.iter().map(Self::candidate).collect(),
            }),
            Resolution::Nothing => {
                let text = text.to_string_lossy().into_owned();
                let alike = self.library.spelt_alike(&text, 3)?;
                let candidates = self.library.tracks_by_id(&alike)?.iter().map(Self::candidate).collect();
                Err(EngineError::NoSuchTrack { text, candidates })
            }
        }
    }

    /// A track of the library as a seed.
    pub fn seed_of(&self, track: TrackId) -> Result<Seed, EngineError> {
        let path = self.library.track(track)?.path;
        Ok(Seed { track: Some(track), path, ..Seed::of_vector(self.vector(track)?) })
    }

    /// A track of the library as a seed, named by a file of it: one of the library's, or any other with its audio.
    pub fn seed_of_file(&self, track: TrackId, file: &Path) -> Result<Seed, EngineError> {
        Ok(Seed { path: stored_path(file), is_named_file: true, ..self.seed_of(track)? })
    }
}

/// The track that `id:NUMBER` names.
pub fn track_number(text: &str) -> Option<TrackId> {
    text.strip_prefix("id:")?.trim().parse().ok().map(TrackId)
}

impl LibrarySpace {
    /// Seeds as they are compared, and the direction in their middle.
    pub fn query(&self, seeds: &[Seed]) -> Result<(Vec<Seed>, Embedding), EngineError> {
        let seeds = self.centre_seeds(seeds);
        let query = mean(&seeds)?;
        Ok((seeds, query))
    }

    /// Seeds as they are compared; of their windows nothing is left.
    pub(super) fn centre_seeds(&self, seeds: &[Seed]) -> Vec<Seed> {
        let centred = |seed: &Seed| Seed {
            path: seed.path.clone(),
            vector: self.centre(&seed.vector),
            windows: None,
            is_steady: None,
            ..*seed
        };
        seeds.iter().map(centred).collect()
    }
}

/// The direction in the middle of some seeds.
fn mean(seeds: &[Seed]) -> Result<Embedding, EngineError> {
    let Some(first) = seeds.first() else { return Err(EngineError::NoSeeds) };
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

/// The vectors of seeds as rows.
pub(super) fn stacked<S: Borrow<Seed>>(seeds: &[S], dimension: usize) -> Result<Array2<f32>, EngineError> {
    let row = |row: usize| &seeds[row].borrow().vector;
    if let Some(found) = (0..seeds.len()).map(|at| row(at).len()).find(|&found| found != dimension) {
        return Err(LibraryError::Dimension { expected: dimension, found }.into());
    }
    Ok(Array2::from_shape_fn((seeds.len(), dimension), |(at, column)| row(at)[column]))
}

/// Whether a track is one of the seeds, or sounds exactly like one.
pub(super) fn is_seed(seeds: &[Seed], track: TrackId, vector: Option<&[f32]>) -> bool {
    seeds.iter().any(|seed| {
        seed.track == Some(track) || vector.is_some_and(|vector| is_same_recording(dot(&seed.vector, vector)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_seeds_meet_in_the_middle() {
        let middle = mean(&[Seed::of_vector(vec![1.0, 0.0]), Seed::of_vector(vec![0.0, 1.0])]).unwrap();
        let half = std::f32::consts::FRAC_1_SQRT_2;
        assert!((middle.as_slice()[0] - half).abs() < 1e-6 && (middle.as_slice()[1] - half).abs() < 1e-6);
    }

    #[test]
    fn opposite_seeds_are_refused() {
        assert!(matches!(
            mean(&[Seed::of_vector(vec![1.0, 0.0]), Seed::of_vector(vec![-1.0, 0.0])]),
            Err(EngineError::SeedsCancel)
        ));
        assert!(matches!(mean(&[]), Err(EngineError::NoSeeds)));
    }
}
