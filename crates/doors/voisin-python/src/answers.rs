//! Converts answers to the classes of python/voisin/_answers.py.

use std::collections::HashMap;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use voisin_base::musical_key::MusicalKey;
use voisin_base::track::TrackId;
use voisin_engine::SimilarTrack;
use voisin_genre::Genre;
use voisin_library::{Descriptors, Track, licence_id};
use voisin_questions::SimilarAnswer;
use voisin_questions::answers::list::scale_values;

/// Logs notes on an answer with the logger "voisin".
pub(super) fn log_notes(py: Python<'_>, news: &[String]) -> PyResult<()> {
    let logger = py
        .import("logging")?
        .call_method1("getLogger", ("voisin",))?;
    // With "%s", since titles may contain percent signs.
    news.iter()
        .try_for_each(|text| logger.call_method1("info", ("%s", text)).map(drop))
}

/// Similar tracks with their measurements.
pub(super) fn neighbors(
    py: Python<'_>,
    answer: &SimilarAnswer,
    measured: &HashMap<TrackId, Descriptors>,
) -> PyResult<Vec<Py<PyAny>>> {
    let answers = AnswerClasses::new(py)?;
    let neighbor = |found: &SimilarTrack| {
        let track = answers.track(&found.track, &found.genres, measured)?;
        let percentile = answer
            .standing
            .as_ref()
            // The engine has percent, Python shares from 0 to 1.
            .and_then(|standing| standing.percentile(found.similarity));
        let neighbor = answers.make("Neighbor", |fields| {
            fields.set_item("track", track)?;
            fields.set_item("similarity", found.similarity)?;
            fields.set_item(
                "percentile",
                percentile.map(|percent| f64::from(percent) / 100.0),
            )
        });
        neighbor.map(Bound::unbind)
    };
    answer.found.iter().map(neighbor).collect()
}

/// The classes of answers.
pub(super) struct AnswerClasses<'py>(Bound<'py, PyModule>);

impl<'py> AnswerClasses<'py> {
    pub(super) fn new(py: Python<'py>) -> PyResult<Self> {
        py.import("voisin._answers").map(Self)
    }

    /// An answer of this class.
    pub(super) fn make(
        &self,
        class: &str,
        fill: impl FnOnce(&Bound<'py, PyDict>) -> PyResult<()>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let fields = PyDict::new(self.0.py());
        fill(&fields)?;
        // By keyword, independent of the order of the fields.
        self.0.getattr(class)?.call((), Some(&fields))
    }

    /// A track with its measurements.
    pub(super) fn track(
        &self,
        track: &Track,
        genres: &[Genre],
        measured: &HashMap<TrackId, Descriptors>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let tags = &track.tags;
        let measured = measured.get(&track.id);
        let key = measured.and_then(|measured| measured.key);
        self.make("Track", |fields| {
            fields.set_item("id", track.id.0)?;
            fields.set_item("path", &track.path)?;
            fields.set_item("title", &tags.title)?;
            fields.set_item("artist", &tags.artist)?;
            fields.set_item("album", &tags.album)?;
            fields.set_item("album_artist", &tags.album_artist)?;
            fields.set_item("composer", &tags.composer)?;
            fields.set_item(
                "genres",
                PyTuple::new(self.0.py(), genres.iter().map(Genre::name))?,
            )?;
            fields.set_item("year", tags.year)?;
            fields.set_item("seconds", track.audio.seconds)?;
            fields.set_item("codec", &track.audio.codec)?;
            fields.set_item("content", track.audio.content.to_string())?;
            fields.set_item("licence", tags.licence.as_deref().map(licence_id))?;
            fields.set_item("mbid", &tags.mbid)?;
            fields.set_item("isrc", &tags.isrc)?;
            fields.set_item("replay_gain", tags.replay_gain)?;
            fields.set_item("tempo", measured.and_then(|measured| measured.tempo))?;
            fields.set_item("key", key.map(MusicalKey::name))?;
            fields.set_item("camelot", key.map(MusicalKey::camelot))?;
            fields.set_item("loudness", measured.and_then(|measured| measured.loudness))?;
            fields.set_item("scales", measured.map(scale_values).unwrap_or_default())?;
            fields.set_item("added", track.added_at)
        })
    }
}
