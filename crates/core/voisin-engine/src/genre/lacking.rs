//! Genres that a library's labels lack, by the first guess from the model's tags.

use std::collections::{BTreeSet, HashSet};
use std::ops::Deref;

use ndarray::Axis;

use super::labels::LabelledTracks;
use crate::parts::EngineGenres;
use crate::{Engine, EngineError, Seed};
use voisin_base::track::TrackId;
use voisin_encoder::TagLayer;
use voisin_genre::{
    DefaultGenres, Genre, GenreShare, Guess, KinStyles, PresentGenres, Taxonomy, thinned,
};

/// A user's own families of kin styles, inside a library's folder.
const KIN_FILE: &str = "genre-kin.tsv";
/// Labelled tracks whose first guess is asked for, at most.
const HEARD: usize = 4000;

/// First guesses, and which of their genres the labels have.
pub(super) struct Lacking {
    genres: DefaultGenres,
    layer: TagLayer,
    present: PresentGenres,
}

impl Lacking {
    /// - `tracks`: the labelled ones
    ///
    /// Returns nothing where the model has not the tags that a first guess is made from.
    ///
    /// # Errors
    /// A user's own table of kin styles cannot be read.
    pub(super) fn of(
        engine: &Engine,
        tracks: &LabelledTracks,
    ) -> Result<Option<Self>, EngineError> {
        let Some((genres, layer)) = heard_by(engine)? else {
            return Ok(None);
        };
        let labelled: Vec<usize> = (0..tracks.labels.len())
            .filter(|&row| !tracks.labels[row].is_empty())
            .collect();
        let some = thinned(labelled.len(), HEARD)
            .into_iter()
            .map(|at| tracks.ids[labelled[at]]);
        let heard = guesses(engine, &genres, &layer, &some.collect::<Vec<_>>())?;
        let heard: Vec<(usize, Guess)> = heard
            .into_iter()
            .filter_map(|(id, guess)| Some((tracks.row(id)?, guess)))
            .collect();
        let present = PresentGenres::new(&tracks.labels, &heard, engine.genres().kin_styles()?);
        Ok(Some(Self {
            genres,
            layer,
            present,
        }))
    }

    /// The same, where it is known what is there by sound.
    pub(super) fn known(
        engine: &Engine,
        labels: BTreeSet<Genre>,
        sounding: BTreeSet<Genre>,
    ) -> Result<Option<Self>, EngineError> {
        let Some((genres, layer)) = heard_by(engine)? else {
            return Ok(None);
        };
        let present = PresentGenres::known(labels, sounding, engine.genres().kin_styles()?);
        Ok(Some(Self {
            genres,
            layer,
            present,
        }))
    }

    /// Genres that the labels have by sound.
    pub(super) fn sounding(&self) -> impl Iterator<Item = &Genre> {
        self.present.sounding()
    }

    /// The genre that each track sounds like and that the labels lack.
    pub(super) fn of_seeds(
        &self,
        engine: &Engine,
        seeds: &[Seed],
    ) -> Result<Vec<Option<GenreShare>>, EngineError> {
        let stored: Vec<TrackId> = seeds.iter().filter_map(|seed| seed.track).collect();
        let stored = guesses(engine, &self.genres, &self.layer, &stored)?;
        let guess_of_seed = |seed: &Seed| {
            let listened = || {
                let mean = seed.windows.as_ref()?.mean_axis(Axis(0))?;
                Some(guess(&self.genres, &self.layer.logits(&mean.to_vec())))
            };
            Ok(match seed.track {
                Some(track) => {
                    let at = stored.binary_search_by_key(&track, |(id, _)| *id).ok();
                    at.and_then(|at| self.present.lacking(&stored[at].1))
                }
                None => listened()
                    .transpose()?
                    .and_then(|guess| self.present.lacking(&guess)),
            })
        };
        seeds.iter().map(guess_of_seed).collect()
    }
}

/// The table and layer of first guesses; nothing where the model has not the tags for it.
fn heard_by(engine: &Engine) -> Result<Option<(DefaultGenres, TagLayer)>, EngineError> {
    let genres = DefaultGenres::shipped(&Taxonomy::default())?;
    let layer = engine
        .tag_layer_if_any()?
        .filter(|layer| layer.names().starts_with(genres.tags()));
    Ok(layer.map(|layer| (genres, layer)))
}

impl<L: Deref<Target = Engine>> EngineGenres<L> {
    /// Families of kin genres, with the library's own.
    #[doc(hidden)]
    pub fn kin_styles(&self) -> Result<KinStyles, EngineError> {
        Ok(KinStyles::with_user_file(
            &self.library().dir().join(KIN_FILE),
        )?)
    }

    /// Which of some tracks are speech: by a genre of that kin, or where they have no genre by a first guess.
    ///
    /// - `tracks`: with their genres, as the label source has them
    pub fn speech<'a>(
        &self,
        tracks: impl IntoIterator<Item = (TrackId, &'a [Genre])>,
    ) -> Result<HashSet<TrackId>, EngineError> {
        let kin = self.kin_styles()?;
        let mut speech = HashSet::new();
        let mut unlabelled = Vec::new();
        for (track, genres) in tracks {
            if genres.is_empty() {
                unlabelled.push(track);
            } else if genres.iter().any(|genre| kin.is_speech(genre)) {
                speech.insert(track);
            }
        }
        // The first guess reads the model's tags: only for tracks that no genre decides.
        if !unlabelled.is_empty()
            && let Some((genres, layer)) = heard_by(self)?
        {
            let heard = guesses(self, &genres, &layer, &unlabelled)?;
            let heard = heard.into_iter().filter(|(_, guess)| guess.is_speech());
            speech.extend(heard.map(|(track, _)| track));
        }
        Ok(speech)
    }
}

/// - `logits`: of the model's tags, of which those that a guess is made from come first
fn guess(genres: &DefaultGenres, logits: &[f32]) -> Result<Guess, EngineError> {
    Ok(genres.guess(&logits[..genres.tags().len()], &[])?)
}

/// Of tracks of a library, ascending, those without windows left out.
fn guesses(
    engine: &Engine,
    genres: &DefaultGenres,
    layer: &TagLayer,
    tracks: &[TrackId],
) -> Result<Vec<(TrackId, Guess)>, EngineError> {
    let logits = engine.tag_logits(layer, Some(tracks))?;
    logits
        .into_iter()
        .map(|(id, logits)| Ok((id, guess(genres, &logits)?)))
        .collect()
}
