//! The mean that is subtracted from a library's vectors before they are compared, kept as a setting
//! for each model and changed together with the generation. The stored vectors stay as they are.

use rusqlite::OptionalExtension;
use serde::{Deserialize, Serialize};

use super::{Library, LibraryError, Result, store};

/// The mean subtracted from a library's vectors before they are compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredMean {
    /// The vector to subtract; of few vectors it is shorter than their mean.
    #[serde(with = "bits")]
    pub values: Vec<f32>,
    pub tracks: u64,
    /// The generation whose vectors it was last checked against.
    pub generation: u64,
    /// Whether it came from another library and is not to be recomputed here.
    pub is_fixed: bool,
}

/// Kind of a change of the mean in the log of changes; it belongs to no track.
pub(super) const CHANGE: i64 = 3;

const PREFIX: &str = "mean.";

impl Library {
    /// The mean of the current model's vectors, if one is stored; one that cannot be read counts as
    /// none.
    pub fn mean(&self) -> Result<Option<StoredMean>> {
        let Some(model) = self.model()? else {
            return Ok(None);
        };
        let text = self.setting(&format!("{PREFIX}{}", model.fingerprint))?;
        Ok(text.and_then(|text| read(&text, model.dimension)))
    }

    /// Stores the mean of the current model's vectors. Changed values start a new generation.
    ///
    /// Returns the generation that an index of the vectors of `mean.generation` has with this mean.
    ///
    /// Refused where there are no such vectors.
    pub fn set_mean(&mut self, mean: &StoredMean) -> Result<u64> {
        let model = self.model()?.ok_or_else(store::no_model)?;
        if mean.values.len() != model.dimension {
            return Err(LibraryError::dimension(model.dimension, mean.values.len()));
        }
        let name = format!("{PREFIX}{}", model.fingerprint);
        // Serialising numbers cannot fail; an empty text would be read as no mean.
        let text = serde_json::to_string(mean).unwrap_or_default();
        self.write(|tx| {
            let held: Option<String> = tx
                .query_row(
                    "SELECT value FROM settings WHERE name = ?1",
                    [&name],
                    |row| row.get(0),
                )
                .optional()?;
            tx.execute(
                "INSERT INTO settings (name, value) VALUES (?1, ?2)
                 ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                (&name, &text),
            )?;
            // Read before the counter grows, to see whether
            // vectors changed since the mean was computed.
            let before: i64 = tx.query_row("SELECT generation FROM state", [], |row| row.get(0))?;
            let held = held.and_then(|held| read(&held, model.dimension));
            // The same values with a new count of tracks: no index has to be rebuilt.
            if held.is_some_and(|held| held.values == mean.values) {
                return Ok(mean.generation);
            }
            tx.execute("UPDATE state SET generation = generation + 1", [])?;
            tx.execute(
                // every generation has a row in the log, which is how gaps in it are recognised
                "INSERT INTO changes SELECT generation, 0, ?1 FROM state",
                [CHANGE],
            )?;
            // Vectors that changed meanwhile are not in the index yet.
            Ok(if before as u64 == mean.generation {
                mean.generation + 1
            } else {
                mean.generation
            })
        })
    }
}

fn read(text: &str, dimension: usize) -> Option<StoredMean> {
    let mean: StoredMean = serde_json::from_str(text).ok()?;
    // A damaged mean would spoil every comparison; without one it is computed again.
    (mean.values.len() == dimension && mean.values.iter().all(|value| value.is_finite()))
        .then_some(mean)
}

/// Serialises numbers as their bits, so that they are read back exactly.
mod bits {
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        values: &[f32],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(values.iter().map(|value| value.to_bits()))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<f32>, D::Error> {
        Ok(Vec::<u32>::deserialize(deserializer)?
            .into_iter()
            .map(f32::from_bits)
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{library, track};

    fn mean(values: &[f32], generation: u64) -> StoredMean {
        StoredMean {
            values: values.to_vec(),
            tracks: 2,
            generation,
            is_fixed: false,
        }
    }

    #[test]
    fn another_mean_is_another_generation_and_no_change_of_a_track() {
        let dir = tempfile::tempdir().unwrap();
        let mut library = library(dir.path(), 2);
        assert_eq!(library.mean().unwrap(), None);
        let first = library.insert_track(&track(1, vec![0.6, 0.8])).unwrap();
        let one = mean(&[0.1, f32::MIN_POSITIVE], 1);
        assert_eq!(library.set_mean(&one).unwrap(), 2);
        assert_eq!(
            (library.mean().unwrap(), library.generation().unwrap()),
            (Some(one.clone()), 2)
        );
        // the same values again are no change
        assert_eq!(
            library
                .set_mean(&StoredMean {
                    tracks: 9,
                    ..one.clone()
                })
                .unwrap(),
            1
        );
        assert_eq!(
            (
                library.mean().unwrap().unwrap().tracks,
                library.generation().unwrap()
            ),
            (9, 2)
        );
        let changes = library.changes_since(0).unwrap().unwrap();
        assert_eq!(
            (changes.generation, changes.added, changes.removed),
            (2, vec![first], vec![])
        );
        // A track that came meanwhile is still to be put into the index.
        library.insert_track(&track(2, vec![1.0, 0.0])).unwrap();
        assert_eq!(library.set_mean(&mean(&[0.2, 0.2], 2)).unwrap(), 2);
        assert_eq!(library.changes_since(2).unwrap().unwrap().added.len(), 1);
        assert_eq!(library.generation().unwrap(), 4);
    }

    #[test]
    fn a_mean_of_no_use_counts_as_none() {
        let dir = tempfile::tempdir().unwrap();
        let mut library = library(dir.path(), 2);
        library.insert_track(&track(1, vec![0.6, 0.8])).unwrap();
        assert!(matches!(
            library.set_mean(&mean(&[0.1], 1)),
            Err(LibraryError::Refused(_))
        ));
        let name = format!("{PREFIX}{}", library.model().unwrap().unwrap().fingerprint);
        let nan = serde_json::to_string(&mean(&[0.1, f32::NAN], 1)).unwrap();
        let short = serde_json::to_string(&mean(&[0.1], 1)).unwrap();
        for text in [nan.as_str(), short.as_str(), "", "{}", "[1, 2]"] {
            library.set_setting(&name, Some(text)).unwrap();
            assert_eq!(library.mean().unwrap(), None, "{text}");
        }
    }
}
