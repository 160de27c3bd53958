//! Genres that are missing from a library's labels, by the first guess from the model's tags.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::Deref;

use ndarray::Axis;

use super::labels::LabelledTracks;
use crate::parts::EngineGenres;
use crate::{Engine, EngineError, Seed};
use voisin_base::track::TrackId;
use voisin_encoder::TagLayer;
use voisin_genre::{
    DefaultGenres, Genre, GenreShare, Guess, GuessShare, KinStyles, PresentGenres, Taxonomy,
    thinned,
};

/// Name of a user's families of related styles inside a library's folder.
const KIN_FILE: &str = "genre-kin.tsv";
/// Most labelled tracks for which a first guess is computed.
const MOST_GUESSED: usize = 4000;

/// First guesses, and which of their genres the labels have.
pub(super) struct Lacking {
    genres: DefaultGenres,
    layer: TagLayer,
    present: PresentGenres,
}

impl Lacking {
    /// - `tracks`: the library's labelled tracks
    ///
    /// Returns `None` if the model lacks the tags for a first guess.
    ///
    /// # Errors
    /// A user's table of related styles cannot be read.
    pub(super) fn of(
        engine: &Engine,
        tracks: &LabelledTracks,
    ) -> Result<Option<Self>, EngineError> {
        let Some((genres, layer)) = guess_layer(engine)? else {
            return Ok(None);
        };
        let labelled: Vec<usize> = (0..tracks.labels.len())
            .filter(|&row| !tracks.labels[row].is_empty())
            .collect();
        let some = thinned(labelled.len(), MOST_GUESSED)
            .into_iter()
            .map(|at| tracks.ids[labelled[at]]);
        let found = guesses(engine, &genres, &layer, &some.collect::<Vec<_>>())?;
        let found: Vec<(usize, Guess)> = found
            .into_iter()
            .filter_map(|(id, guess)| Some((tracks.row(id)?, guess)))
            .collect();
        let present = PresentGenres::new(&tracks.labels, &found, engine.genres().kin_styles()?);
        Ok(Some(Self {
            genres,
            layer,
            present,
        }))
    }

    /// The same from stored genres.
    pub(super) fn known(
        engine: &Engine,
        labels: BTreeSet<Genre>,
        sounding: BTreeSet<Genre>,
    ) -> Result<Option<Self>, EngineError> {
        let Some((genres, layer)) = guess_layer(engine)? else {
            return Ok(None);
        };
        let present = PresentGenres::known(labels, sounding, engine.genres().kin_styles()?);
        Ok(Some(Self {
            genres,
            layer,
            present,
        }))
    }

    /// Genres that the labelled tracks have by the first guess.
    pub(super) fn sounding(&self) -> impl Iterator<Item = &Genre> {
        self.present.sounding()
    }

    /// The genre of each seed by the first guess, if the labels lack it.
    pub(super) fn of_seeds(
        &self,
        engine: &Engine,
        seeds: &[Seed],
    ) -> Result<Vec<Option<GenreShare>>, EngineError> {
        let stored: Vec<TrackId> = seeds.iter().filter_map(|seed| seed.track).collect();
        let stored = guesses(engine, &self.genres, &self.layer, &stored)?;
        let guess_of_seed = |seed: &Seed| {
            let from_windows = || {
                let mean = seed.windows.as_ref()?.mean_axis(Axis(0))?;
                Some(guess(&self.genres, &self.layer.logits(&mean.to_vec())))
            };
            Ok(match seed.track {
                Some(track) => {
                    let at = stored.binary_search_by_key(&track, |(id, _)| *id).ok();
                    at.and_then(|at| self.present.lacking(&stored[at].1))
                }
                None => from_windows()
                    .transpose()?
                    .and_then(|guess| self.present.lacking(&guess)),
            })
        };
        seeds.iter().map(guess_of_seed).collect()
    }
}

/// The table and the tag layer for first guesses; `None` if the model lacks the tags.
fn guess_layer(engine: &Engine) -> Result<Option<(DefaultGenres, TagLayer)>, EngineError> {
    let genres = DefaultGenres::shipped(&Taxonomy::default())?;
    let layer = engine
        .tag_layer_if_any()?
        .filter(|layer| layer.names().starts_with(genres.tags()));
    Ok(layer.map(|layer| (genres, layer)))
}

impl<L: Deref<Target = Engine>> EngineGenres<L> {
    /// Families of related genres, including the library's own.
    #[doc(hidden)]
    pub fn kin_styles(&self) -> Result<KinStyles, EngineError> {
        Ok(KinStyles::with_user_file(
            &self.library().dir().join(KIN_FILE),
        )?)
    }

    /// The tracks that are speech by their genres, or by the first guess if none of these is a known style of music.
    ///
    /// - `tracks`: with their genres from the label source
    pub fn speech<'a>(
        &self,
        tracks: impl IntoIterator<Item = (TrackId, &'a [Genre])>,
    ) -> Result<HashSet<TrackId>, EngineError> {
        let kin = self.kin_styles()?;
        let styles = DefaultGenres::shipped(&Taxonomy::default())?;
        let mut known = HashMap::new();
        let mut speech = HashSet::new();
        let mut unlabelled = Vec::new();
        for (track, genres) in tracks {
            if genres.iter().any(|genre| kin.is_speech(genre)) {
                speech.insert(track);
            } else if !genres.iter().any(|genre| {
                let is_known = known.entry(genre);
                *is_known.or_insert_with(|| is_style(genre, &styles, &kin))
            }) {
                // "Fantasy", "Comedy" or "Other" may be a book as well as a song.
                unlabelled.push(track);
            }
        }
        // The first guess needs the model's tags, which are read only for tracks without a style.
        if !unlabelled.is_empty()
            && let Some((genres, layer)) = guess_layer(self)?
        {
            let found = guesses(self, &genres, &layer, &unlabelled)?;
            let found = found.into_iter().filter(|(_, guess)| guess.is_speech());
            speech.extend(found.map(|(track, _)| track));
        }
        Ok(speech)
    }
}

/// Whether a label is a genre of the first guess or a style related to one, by its name.
fn is_style(label: &Genre, styles: &DefaultGenres, kin: &KinStyles) -> bool {
    let labels = BTreeSet::from([label.clone()]);
    let present = PresentGenres::known(labels, BTreeSet::new(), kin.clone());
    styles.genres().any(|(genre, basis)| {
        let genre = genre.clone();
        let certain = Guess {
            genre: None,
            probability: 1.0,
            shares: vec![GuessShare {
                genre,
                probability: 1.0,
                basis,
            }],
        };
        present.lacking(&certain).is_none()
    })
}

/// - `logits`: of the model's tags, beginning with those for the guess
fn guess(genres: &DefaultGenres, logits: &[f32]) -> Result<Guess, EngineError> {
    Ok(genres.guess(&logits[..genres.tags().len()], &[])?)
}

/// First guesses of a library's tracks with windows, ascending by id.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn genre(name: &str) -> Genre {
        Taxonomy::default().genre(name).unwrap()
    }

    fn kin() -> KinStyles {
        KinStyles::with_user_file(std::path::Path::new("no such file")).unwrap()
    }

    #[test]
    fn kinds_of_speech_are_known_in_many_languages() {
        let names = "Audiobooks; Audio-Books; Podcasts; Kinderhörspiel; Livres audio; Аудиокниги; オーディオブック; \
                     有声书; Sesli Kitap; Interviews; Radio Drama; Non-Music; Conférence";
        for name in names.split("; ") {
            assert!(kin().is_speech(&genre(name)), "{name}");
        }
    }

    #[test]
    fn a_genre_without_kin_is_no_known_style() {
        let styles = DefaultGenres::shipped(&Taxonomy::default()).unwrap();
        for (name, expected) in [
            ("Rock", true),
            ("Melodic Death Metal", true),
            ("Schlager", true),
            ("Comedy Rock", true),
            ("Comedy", false),
            ("Fantasy", false),
            ("Thriller", false),
            ("Talk", false),
        ] {
            assert_eq!(is_style(&genre(name), &styles, &kin()), expected, "{name}");
        }
    }
}
