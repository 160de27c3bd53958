//! A part of a seed, read from its file.

use super::{Embedder, Engine, EngineError, Seed, WindowPlan};
use voisin_explore::ExploreError;

impl Engine {
    /// A seed with the vector of a part of its file, by one window per second.
    ///
    /// - `from`, `to`: seconds from the file's start; a part that goes on after the file's end stops there
    pub fn part_of_seed(
        &self,
        seed: Seed,
        from: f64,
        to: f64,
        embedder: &Embedder,
    ) -> Result<Seed, EngineError> {
        let info = voisin_audio::probe(&seed.path)?;
        let seconds = info.seconds();
        // Written so that NaN fails.
        if !(from >= 0.0 && from < to && from < seconds) {
            return Err(EngineError::from(ExploreError::Parameter {
                name: "part",
                found: format!("{from:.2} s to {to:.2} s"),
                expected: if seconds > from {
                    "an end after its start"
                } else {
                    "a start inside the track"
                },
            }));
        }
        let end = to.min(seconds);
        // 32 bits hold 49 days of milliseconds; beyond that the cast saturates.
        let milliseconds = |seconds: f64| (seconds * 1000.0).round() as u32;
        let part = WindowPlan::Part {
            from: milliseconds(from),
            to: milliseconds(end),
        };
        let embedded = embedder.embed_seed(&seed.path, &info, part)?;
        Ok(Seed {
            seconds: Some(end - from),
            vector: embedded.vector.into_vec(),
            is_steady: embedded.is_steady,
            ..seed
        })
    }
}
