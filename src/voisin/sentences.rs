//! Similarity of tracks to sentences, by the text encoder of a library's model.
//!
//! Not for: words of a model with tags ([`words`](super::words)).

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use ndarray::{Array1, Array2, aview1};

use super::{Engine, EngineError, held_model};
use voisin_base::track::TrackId;
use voisin_encoder::{ClapText, EncoderError, ModelRef, caption_vectors};

/// The vectors of a library whose model reads sentences. The text encoder is loaded with the first sentence.
#[derive(Debug)]
pub(super) struct ReadingSide {
    pub(super) ids: Vec<TrackId>,
    vectors: Array2<f32>,
    captions: OnceLock<Array2<f32>>,
    model: ModelRef,
    fingerprint: String,
}

#[derive(Debug, Clone)]
pub(super) struct Sentence {
    pub(super) text: String,
    /// Its cosine with each track.
    pub(super) cosines: Array1<f32>,
    side: Arc<ReadingSide>,
}

/// The text encoder that was used last, with its model's fingerprint: half a gigabyte, which a server loads once.
static LAST_READER: Mutex<Option<(String, Arc<ClapText>)>> = Mutex::new(None);

impl ReadingSide {
    pub(super) fn of(engine: &Engine) -> Result<Self, EngineError> {
        let all = engine.library().vectors()?;
        Ok(Self {
            ids: all.ids,
            vectors: all.values,
            captions: OnceLock::new(),
            model: held_model(engine.library(), &engine.model()?)?,
            fingerprint: engine.model()?.fingerprint,
        })
    }

    /// Encodes a sentence and compares it with each track.
    ///
    /// # Errors
    /// The model's files cannot be read, or are of another model than the vectors.
    pub(super) fn read(self: &Arc<Self>, text: &str) -> Result<Sentence, EngineError> {
        let text = text.trim().to_owned();
        let vector = self.reader()?.vector(&text)?;
        if vector.len() != self.vectors.ncols() {
            return Err(self.changed());
        }
        if self.captions.get().is_none() {
            let captions = caption_vectors(&self.model)?.ok_or_else(|| self.changed())?;
            // Another thread may have been faster, with the same result.
            let _ = self.captions.set(captions);
        }
        Ok(Sentence {
            text,
            cosines: self.vectors.dot(&aview1(&vector)),
            side: Arc::clone(self),
        })
    }

    fn reader(&self) -> Result<Arc<ClapText>, EngineError> {
        // Held while the encoder loads, since a second thread would load the same half gigabyte.
        let mut last = LAST_READER.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, reader)) = last
            .as_ref()
            .filter(|(model, _)| *model == self.fingerprint)
        {
            return Ok(Arc::clone(reader));
        }
        // The model of this name may have been replaced on the disk; the text encoder of another model
        // has another space.
        if self.model.manifest()?.fingerprint() != self.fingerprint {
            return Err(self.changed());
        }
        let reader = Arc::new(ClapText::load(&self.model)?.ok_or_else(|| self.changed())?);
        *last = Some((self.fingerprint.clone(), Arc::clone(&reader)));
        Ok(reader)
    }

    fn changed(&self) -> EngineError {
        EncoderError::BadWeights {
            origin: self.model.to_string(),
            reason: "expected the model that the library's vectors are of, found another one of its name: import it again"
                .to_owned(),
        }
        .into()
    }
}

impl Sentence {
    /// The share of captions that a track is less similar to than to this sentence, 0 to 1.
    ///
    /// - `row`: of the track
    pub(super) fn likeness(&self, row: usize) -> f32 {
        let Some(captions) = self.side.captions.get() else {
            return 0.0;
        };
        let cosines = captions.dot(&self.side.vectors.row(row));
        let less = cosines.iter().filter(|cosine| **cosine < self.cosines[row]);
        less.count() as f32 / captions.nrows().max(1) as f32
    }
}
