//! Kinship of the library's genres, and tracks whose labels look wrong.

use super::LabelSource;
use crate::{Engine, EngineError};
use voisin_genre::{FitOptions, Kinship, Suspect, kinship, suspects};

impl Engine {
    /// Measures how near the library's genres are to each other, by the vectors of their tracks.
    ///
    /// Tracks of one artist never count as each other's neighbours.
    pub fn kinship(&self, source: &LabelSource) -> Result<Kinship, EngineError> {
        let tracks = self.labelled_tracks(source)?;
        Ok(kinship(&tracks.set())?)
    }

    /// Ranks labelled tracks by how wrong their labels look, worst first.
    pub fn suspects(
        &self,
        source: &LabelSource,
        options: &FitOptions,
    ) -> Result<Vec<Suspect>, EngineError> {
        let tracks = self.labelled_tracks(source)?;
        Ok(suspects(&tracks.set(), options)?)
    }
}
