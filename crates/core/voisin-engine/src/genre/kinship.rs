//! Kinship of the library's genres, and tracks whose labels look wrong.

use super::{GroupBy, LabelSource};
use crate::parts::EngineGenres;
use crate::{Engine, EngineError};
use std::ops::Deref;
use voisin_genre::{FitOptions, Kinship, KinshipOptions, Suspect, kinship, suspects};

impl<L: Deref<Target = Engine>> EngineGenres<L> {
    /// Measures how near the library's genres are to each other, by the vectors of their tracks.
    ///
    /// Tracks of one artist never count as each other's neighbours.
    pub fn kinship(
        &self,
        source: &LabelSource,
        options: &KinshipOptions,
    ) -> Result<Kinship, EngineError> {
        let tracks = self.labelled_tracks(source, GroupBy::Artist)?;
        Ok(kinship(&tracks.set(), options)?)
    }

    /// Ranks labelled tracks by how wrong their labels look, worst first.
    pub fn suspects(
        &self,
        source: &LabelSource,
        options: &FitOptions,
    ) -> Result<Vec<Suspect>, EngineError> {
        let tracks = self.labelled_tracks(source, GroupBy::Artist)?;
        Ok(suspects(&tracks.set(), options)?)
    }
}
