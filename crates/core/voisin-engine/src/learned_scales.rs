//! Scales learned from a user's values by ridge regression on stored vectors and measured scales.
//!
//! Not for: obtaining the values, which is the caller's task.

use std::collections::{BTreeMap, HashMap};
use std::ops::{Deref, DerefMut};

use ndarray::{Array2, Axis};
use serde::{Deserialize, Serialize};

use super::parts::EngineScales;
use super::scales::MEASURED_SCALES;
use super::{Engine, EngineError};
use voisin_base::text::count;
use voisin_base::track::{ContentId, TrackId};
use voisin_base::vector::{dot, make_unit};
use voisin_learn::{Ridge, RidgeFigures, learn_ridge};
use voisin_library::{ScaleName, ScaleOrigin, ScaleValue};

/// Fewest training tracks of a scale.
pub const FEWEST_VALUES: usize = 20;
/// Significance level for a scale to be stored.
const MOST_CHANCE: f64 = 0.05;
/// Most training tracks to compare a track with.
const MOST_TRAINING: usize = 1000;
/// Value of a measured scale that a track lacks.
// The middle of 0 to 100, so that the prediction is not biased.
const UNMEASURED: f64 = 50.0;

/// The definition of a learned scale.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LearnedScale {
    /// Where its values come from, and how they were mapped to 0 to 100.
    pub from: String,
    /// The fingerprint of the model whose vectors it uses.
    pub model: String,
    /// Input columns besides the vectors.
    measured: Vec<ScaleName>,
    ridge: Ridge,
    /// Measured on held-out artists.
    pub figures: RidgeFigures,
    /// Least similarity to the nearest training track for a prediction: the first percentile among training tracks by
    /// different artists.
    least: f32,
}

/// A learned scale with its evaluation.
#[derive(Debug, Clone)]
pub struct ScaleTraining {
    /// The scale.
    pub scale: LearnedScale,
    /// Each training track with its value and the prediction from other artists' tracks.
    pub held_out: Vec<(TrackId, f64, f64)>,
}

impl ScaleTraining {
    /// Whether its predictions are better than the mean of its values.
    pub fn beats_mean(&self) -> bool {
        self.scale.figures.p < MOST_CHANCE
    }
}

/// Inputs of a scale.
struct ScaleRows {
    ids: Vec<TrackId>,
    contents: Vec<ContentId>,
    x: Array2<f32>,
    dimension: usize,
}

impl ScaleRows {
    /// Vectors of some rows relative to `mean`, of length 1.
    fn directions(&self, rows: &[usize], mean: &[f32]) -> Vec<Vec<f32>> {
        let direction = |&row: &usize| {
            let values = self.x.row(row);
            let mut vector: Vec<f32> = values.iter().zip(mean).map(|(a, b)| a - b).collect();
            make_unit(&mut vector);
            vector
        };
        rows.iter().map(direction).collect()
    }

    fn mean(&self, rows: &[usize]) -> Vec<f32> {
        let vectors = self.x.select(Axis(0), rows);
        let mean = vectors.mean_axis(Axis(0)).unwrap_or_default();
        mean.iter().take(self.dimension).copied().collect()
    }
}

impl<L: Deref<Target = Engine>> EngineScales<L> {
    /// Learns a scale from values of tracks, 0 to 100; nothing is stored.
    ///
    /// # Errors
    /// Too few tracks or artists have values.
    #[doc(hidden)]
    pub fn learn_scale(
        &self,
        given: &BTreeMap<TrackId, f64>,
        from: &str,
    ) -> Result<ScaleTraining, EngineError> {
        let measured: Vec<ScaleName> = MEASURED_SCALES
            .iter()
            .filter_map(|scale| scale.name.parse().ok())
            .collect();
        let rows = self.scale_rows(Some(given), &measured)?;
        let tracks = self.library().tracks_by_id(&rows.ids)?;
        let mut numbers = HashMap::new();
        let groups: Vec<usize> = tracks
            .iter()
            .enumerate()
            .map(|(row, track)| {
                // A track without an artist is a group of its own.
                let name = track.people().first().map(|name| (*name).to_owned());
                let next = numbers.len();
                *numbers.entry(name.ok_or(row)).or_insert(next)
            })
            .collect();
        let y: Vec<f64> = rows.ids.iter().map(|id| given[id]).collect();
        let few = |found: String| EngineError::FewValues { found };
        if y.len() < FEWEST_VALUES {
            return Err(few(count(y.len() as u64, "track") + " with a value"));
        }
        let fit = learn_ridge(rows.x.view(), &y, &groups, 0).ok_or_else(|| {
            few(format!(
                "tracks by {}",
                count(numbers.len() as u64, "artist")
            ))
        })?;
        let all: Vec<usize> = (0..y.len()).collect();
        let some = thinned(&all);
        let directions = rows.directions(&some, &rows.mean(&all));
        let mut nearest: Vec<f32> = (0..some.len())
            .filter_map(|at| {
                // Tracks by the same artist are near in any case and would make the bound too strict.
                let others =
                    (0..some.len()).filter(|&other| groups[some[other]] != groups[some[at]]);
                let likeness = others.map(|other| dot(&directions[at], &directions[other]));
                likeness.max_by(f32::total_cmp)
            })
            .collect();
        nearest.sort_by(f32::total_cmp);
        let scale = LearnedScale {
            from: from.to_owned(),
            model: self.model()?.fingerprint.clone(),
            measured,
            ridge: fit.ridge,
            figures: fit.figures,
            // The first percentile; with fewer than a hundred training tracks the minimum.
            least: nearest.get(nearest.len() / 100).copied().unwrap_or(-1.0),
        };
        let held_out = rows.ids.iter().zip(&y).zip(fit.held_out);
        let held_out = held_out.map(|((id, value), found)| (*id, *value, found.clamp(0.0, 100.0)));
        Ok(ScaleTraining {
            scale,
            held_out: held_out.collect(),
        })
    }

    /// The learned scales with their definitions.
    #[doc(hidden)]
    pub fn learned_scales(&self) -> Result<Vec<(ScaleName, LearnedScale)>, EngineError> {
        let mut found = Vec::new();
        for name in self.library().scales().learned_scales()? {
            let text = self.library().scales().scale_definition(name)?;
            // A definition of a later version of voisin is ignored.
            let scale = text.and_then(|text| serde_json::from_str(&text).ok());
            found.extend(scale.map(|scale| (name, scale)));
        }
        Ok(found)
    }

    /// Whether a scale uses the library's model.
    #[doc(hidden)]
    pub fn is_current(&self, scale: &LearnedScale) -> Result<bool, EngineError> {
        let held = self.library().model()?;
        Ok(held.is_some_and(|held| held.fingerprint == scale.model))
    }

    /// The user's values of a scale.
    #[doc(hidden)]
    pub fn own_values(&self, name: ScaleName) -> Result<BTreeMap<TrackId, f64>, EngineError> {
        let known = self
            .library()
            .scales()
            .values(&self.library().track_ids()?)?;
        let given = known.into_iter().filter_map(|(id, scales)| {
            let value = scales.get(&name)?;
            (value.origin == ScaleOrigin::Own).then_some((id, value.value))
        });
        Ok(given.collect())
    }
}

impl<L: DerefMut<Target = Engine>> EngineScales<L> {
    /// Stores the user's values of a scale and its definition, and predicts values for all other tracks; returns the number
    /// of predictions.
    #[doc(hidden)]
    pub fn keep_scale(
        &mut self,
        name: ScaleName,
        given: &BTreeMap<TrackId, f64>,
        scale: &LearnedScale,
    ) -> Result<u64, EngineError> {
        let tracks: Vec<TrackId> = given.keys().copied().collect();
        let tracks = self.library().tracks_by_id(&tracks)?;
        let values = tracks.iter().filter_map(|track| {
            let value = ScaleValue::new(given[&track.id], None, ScaleOrigin::Own)?;
            Some((track.audio.content, value))
        });
        let values: Vec<(ContentId, ScaleValue)> = values.collect();
        let definition = serde_json::to_string(scale).unwrap_or_default();
        // Not through `library_mut`: no vector changes, and the index stays as it is.
        self.library.scales_mut().remove_scale(name, true)?;
        self.library.scales_mut().set_scale(name, &values)?;
        self.library.scales_mut().define_scale(name, &definition)?;
        self.fill_scale(name, scale)
    }

    /// Predicts missing values of the learned scales, except for tracks unlike all training tracks and for scales of another
    /// model. Returns the number of predictions.
    #[doc(hidden)]
    pub fn fill_scales(&mut self) -> Result<u64, EngineError> {
        let mut filled = 0;
        for (name, scale) in self.learned_scales()? {
            if self.is_current(&scale)? {
                filled += self.fill_scale(name, &scale)?;
            }
        }
        Ok(filled)
    }
}

impl Engine {
    fn fill_scale(&mut self, name: ScaleName, scale: &LearnedScale) -> Result<u64, EngineError> {
        let rows = self.scale_rows(None, &scale.measured)?;
        // A definition from another library may have other columns; it cannot be used here.
        if rows.x.ncols() != scale.ridge.columns() {
            return Ok(0);
        }
        let known = self.library().scales().values(&rows.ids)?;
        let origin = |row: usize| Some(known.get(&rows.ids[row])?.get(&name)?.origin);
        let all = 0..rows.ids.len();
        let teachers: Vec<usize> = all
            .clone()
            .filter(|&row| origin(row) == Some(ScaleOrigin::Own))
            .collect();
        let mean = rows.mean(&teachers);
        let teachers = rows.directions(&thinned(&teachers), &mean);
        // The user's values and earlier predictions stay.
        let missing: Vec<usize> = all.filter(|&row| origin(row).is_none()).collect();
        let mut values = Vec::new();
        for (row, direction) in missing.iter().zip(rows.directions(&missing, &mean)) {
            if !teachers
                .iter()
                .any(|one| dot(one, &direction) >= scale.least)
            {
                continue;
            }
            let value = scale.ridge.predict(rows.x.row(*row).iter().copied());
            let error = Some(scale.figures.two_thirds);
            let value = ScaleValue::new(value, error, ScaleOrigin::Learned);
            values.extend(value.map(|value| (rows.contents[*row], value)));
        }
        Ok(self.library.scales_mut().set_scale(name, &values)?)
    }

    /// Vectors and measured scales of the tracks with a vector.
    ///
    /// - `among`: only these tracks
    fn scale_rows(
        &self,
        among: Option<&BTreeMap<TrackId, f64>>,
        measured: &[ScaleName],
    ) -> Result<ScaleRows, EngineError> {
        let vectors = self.library().vectors()?;
        let is_in = |row: &usize| among.is_none_or(|among| among.contains_key(&vectors.ids[*row]));
        let kept: Vec<usize> = (0..vectors.ids.len()).filter(is_in).collect();
        let ids: Vec<TrackId> = kept.iter().map(|&row| vectors.ids[row]).collect();
        let known = self.library().scales().values(&ids)?;
        let tracks = self.library().tracks_by_id(&ids)?;
        let dimension = vectors.values.ncols();
        let value = |id: &TrackId, name: &ScaleName| {
            let value = known.get(id).and_then(|scales| scales.get(name));
            value.map_or(UNMEASURED, |value| value.value)
        };
        let x = Array2::from_shape_fn((ids.len(), dimension + measured.len()), |(row, column)| {
            match column.checked_sub(dimension) {
                None => vectors.values[[kept[row], column]],
                // Scaled to 0 to 1, near the size of a vector's components.
                Some(at) => (value(&ids[row], &measured[at]) / 100.0) as f32,
            }
        });
        Ok(ScaleRows {
            contents: tracks.iter().map(|track| track.audio.content).collect(),
            ids,
            x,
            dimension,
        })
    }
}

/// At most [`MOST_TRAINING`] rows, evenly spread.
fn thinned(rows: &[usize]) -> Vec<usize> {
    let every = rows.len().div_ceil(MOST_TRAINING).max(1);
    rows.iter().copied().step_by(every).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use voisin_base::random::Random;
    use voisin_library::testing::{library, track};

    /// Sixty tracks by fifteen artists with the value in their first component, and one unlike them all.
    fn engine(dir: &std::path::Path) -> (Engine, BTreeMap<TrackId, f64>) {
        let mut library = library(dir, 6);
        let mut random = Random::new(2);
        let mut given = BTreeMap::new();
        for seed in 0..61u64 {
            let strength = random.normal();
            let mut vector: Vec<f32> = (0..6).map(|_| 0.3 * random.normal() as f32).collect();
            vector[0] += strength as f32;
            vector[5] += if seed == 60 { -40.0 } else { 3.0 };
            make_unit(&mut vector);
            let mut new = track(seed, vector, 0);
            new.tags.artist = Some(format!("Artist {}", seed % 15));
            let id = library.insert_track(&new).unwrap();
            if seed < 40 {
                given.insert(id, (50.0 + 15.0 * strength).clamp(0.0, 100.0));
            }
        }
        (Engine::from_library(library), given)
    }

    #[test]
    fn a_learned_scale_predicts_missing_values_only() {
        let dir = tempfile::tempdir().unwrap();
        let (mut engine, given) = engine(dir.path());
        let name: ScaleName = "mine".parse().unwrap();
        let learned = engine.scales().learn_scale(&given, "test").unwrap();
        assert!(learned.beats_mean(), "{:?}", learned.scale.figures);
        // One of 21 tracks without a value is unlike all others.
        assert_eq!(
            engine
                .scales_mut()
                .keep_scale(name, &given, &learned.scale)
                .unwrap(),
            20
        );
        let ids: Vec<TrackId> = (1..=61).map(TrackId).collect();
        let known = engine.library().scales().values(&ids).unwrap();
        assert!(!known.contains_key(&TrackId(61)));
        for (id, value) in &given {
            let found = known[id][&name];
            assert!((found.value - value).abs() < 0.01 && found.origin == ScaleOrigin::Own);
        }
        let new = known[&TrackId(50)][&name];
        assert_eq!(new.origin, ScaleOrigin::Learned);
        assert!(new.error.is_some_and(|error| error > 0.0 && error < 15.0));
        assert_eq!(engine.scales().own_values(name).unwrap().len(), 40);
        // Nothing is left to predict, and removed values are predicted again.
        assert_eq!(engine.scales_mut().fill_scales().unwrap(), 0);
        engine
            .library
            .scales_mut()
            .remove_scale(name, false)
            .unwrap();
        assert!(engine.scales().learned_scales().unwrap().is_empty());
        assert_eq!(engine.scales().own_values(name).unwrap().len(), 40);
    }

    #[test]
    fn random_or_few_values_train_no_scale() {
        let dir = tempfile::tempdir().unwrap();
        let (engine, given) = engine(dir.path());
        let mut random = Random::new(9);
        let noise = given.keys().map(|id| (*id, 100.0 * random.f64())).collect();
        assert!(
            !engine
                .scales()
                .learn_scale(&noise, "noise")
                .unwrap()
                .beats_mean()
        );
        let few: BTreeMap<TrackId, f64> = given.into_iter().take(FEWEST_VALUES - 1).collect();
        let error = engine.scales().learn_scale(&few, "few").unwrap_err();
        assert!(error.to_string().contains("found 19 tracks"), "{error}");
    }
}
