//! Algorithms by name: fitting, saving, loading, predicting.

use std::collections::HashMap;
use std::path::Path;
use std::str::FromStr;

use ndarray::{Array2, ArrayView2};
use serde::{Deserialize, Serialize};

use super::LabError;
use super::classifiers::{
    Boost, BoostSettings, FittedClassifier, Forest, ForestSettings, Knn, KnnSettings, Majority,
    Preparation, SvmProbabilities, SvmSettings, Tensors, Training, load_logistic,
};
use super::config::in_range;
use voisin_base::regular_file;
use voisin_genre::Logistic;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    Majority,
    Knn,
    Logistic,
    Svm,
    Forest,
    Boost,
}

impl Algorithm {
    /// All of them, the cheapest first.
    pub const ALL: [(&str, Self); 6] = [
        ("majority", Self::Majority),
        ("knn", Self::Knn),
        ("logistic", Self::Logistic),
        ("svm", Self::Svm),
        ("forest", Self::Forest),
        ("boost", Self::Boost),
    ];

    pub fn name(self) -> &'static str {
        let named = Self::ALL.iter().find(|(_, other)| *other == self);
        named.map_or("", |(name, _)| name)
    }
}

impl FromStr for Algorithm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = Self::ALL.iter().find(|(name, _)| *name == text);
        named.map(|(_, algorithm)| *algorithm).ok_or_else(|| {
            let names = Self::ALL.map(|(name, _)| name).join(", ");
            format!("no algorithm \"{text}\": expected {names}")
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogisticSettings {
    /// Weight of errors against the penalty.
    pub c: f64,
}

impl Default for LogisticSettings {
    fn default() -> Self {
        Self { c: 1.0 }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlgorithmSettings {
    pub knn: KnnSettings,
    pub logistic: LogisticSettings,
    pub svm: SvmSettings,
    pub forest: ForestSettings,
    pub boost: BoostSettings,
}

impl AlgorithmSettings {
    /// Checks all settings; the error names the first one out of range.
    pub(super) fn check(&self) -> Result<(), String> {
        let boost = self.boost;
        in_range(&[
            ("knn.k", self.knn.k as f64, 1.0, 1e9),
            ("knn.smoothing", self.knn.smoothing, 0.0, 1e6),
            ("logistic.c", self.logistic.c, 1e-9, 1e9),
            ("svm.c", self.svm.c, 1e-9, 1e9),
            ("forest.trees", self.forest.trees as f64, 1.0, 1e5),
            ("boost.rounds", boost.rounds as f64, 1.0, 1e5),
            ("boost.depth", boost.depth as f64, 1.0, 16.0),
            ("boost.rate", boost.rate, 1e-9, 1.0),
            ("boost.rows", boost.rows, 1e-9, 1.0),
            ("boost.columns", boost.columns, 1e-9, 1.0),
            ("boost.lambda", boost.lambda, 0.0, 1e9),
            ("boost.least", boost.least, 0.0, 1e9),
        ])
        .map_err(|problem| format!("settings.{problem}"))
    }
}

/// Most rows of an SVM's two largest classes together: their kernel matrix has the square of this many numbers.
const LARGEST_PAIR: usize = 24_000;

/// A fitted algorithm in a model, with the scaling of its input.
struct Member {
    algorithm: Algorithm,
    weight: f64,
    preparation: Preparation,
    classifier: Box<dyn FittedClassifier>,
}

/// A fitted algorithm, or a weighted ensemble of several.
pub struct Model {
    pub classes: Vec<String>,
    pub columns: Vec<String>,
    members: Vec<Member>,
}

impl Model {
    /// Fits on raw rows.
    ///
    /// - `data`: `x` is `[n, columns]`; `folds`: the fold of each row, groups whole, for algorithms
    ///   that calibrate on held-out rows
    pub fn fit(
        algorithm: Algorithm,
        settings: &AlgorithmSettings,
        data: &Training,
        classes: &[String],
        columns: &[String],
    ) -> Result<Self, LabError> {
        // All algorithms get scaled columns without missing values, fitted on the training rows alone.
        let (preparation, rows) = Preparation::fit(data.x);
        let data = &Training {
            x: rows.view(),
            ..*data
        };
        if algorithm == Algorithm::Svm {
            check_memory(data)?;
        }
        let classifier: Box<dyn FittedClassifier> = match algorithm {
            Algorithm::Majority => Box::new(Majority::fit(data)),
            Algorithm::Knn => Box::new(Knn::fit(data, settings.knn)),
            Algorithm::Logistic => {
                let c = settings.logistic.c;
                Box::new(Logistic::of_classes(data.x, data.class_of, data.classes, c))
            }
            Algorithm::Svm => Box::new(SvmProbabilities::fit(data, settings.svm)),
            Algorithm::Forest => Box::new(Forest::fit(data, settings.forest)),
            Algorithm::Boost => Box::new(Boost::fit(data, settings.boost)),
        };
        // A single algorithm is an ensemble of one, so that both have one format.
        let members = vec![Member {
            algorithm,
            weight: 1.0,
            preparation,
            classifier,
        }];
        Ok(Self {
            classes: classes.to_vec(),
            columns: columns.to_vec(),
            members,
        })
    }

    /// An ensemble of models of the same rows, with a weight for each.
    pub fn joined(models: Vec<(f64, Self)>) -> Option<Self> {
        let mut members = Vec::new();
        let mut names = None;
        for (weight, model) in models {
            members.extend(model.members.into_iter().map(|one| Member {
                weight: weight * one.weight,
                ..one
            }));
            // all of one run, so with the same classes and columns
            names = Some((model.classes, model.columns));
        }
        names.map(|(classes, columns)| Self {
            classes,
            columns,
            members,
        })
    }

    /// Probability of each class for raw rows, `[n, classes]`.
    pub fn probabilities(&self, x: ArrayView2<f32>) -> Array2<f32> {
        let mut all = Array2::zeros((x.nrows(), self.classes.len()));
        for one in &self.members {
            // Each member scales rows as in its fit.
            let rows = one.preparation.apply(x);
            let p = one.classifier.probabilities(rows.view());
            all.scaled_add(one.weight as f32, &p);
        }
        all
    }

    pub fn to_bytes(&self, settings: &AlgorithmSettings) -> Result<Vec<u8>, String> {
        let members = self.members.iter();
        let head = Head {
            algorithms: members.map(|one| (one.algorithm, one.weight)).collect(),
            classes: self.classes.clone(),
            columns: self.columns.clone(),
            settings: settings.clone(),
        };
        let mut tensors = Tensors::default();
        for (number, one) in self.members.iter().enumerate() {
            let mut member_tensors = Tensors::default();
            one.preparation.save(&mut member_tensors);
            one.classifier.save(&mut member_tensors);
            tensors.put_all(number, member_tensors);
        }
        let head = serde_json::to_string(&head).map_err(|error| error.to_string())?;
        tensors.to_bytes(HashMap::from([(KEY.to_owned(), head)]))
    }

    /// Reads a file; every number is checked before it is used.
    pub fn read(path: &Path) -> Result<Self, LabError> {
        let bytes = regular_file::read(path, LARGEST).map_err(LabError::io(path))?;
        Self::from_bytes(&bytes).map_err(|problem| LabError::run(path, problem))
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let (tensors, header) =
            Tensors::from_bytes(bytes).map_err(|error| format!("damaged ({error})"))?;
        let text = header
            .get(KEY)
            .ok_or("expected a model of a run, found a header without its description")?;
        let head: Head =
            serde_json::from_str(text).map_err(|error| format!("damaged ({error})"))?;
        // a file may hold settings that no fit accepts, such as 0 neighbours
        head.settings.check()?;
        let members = head.algorithms.iter().enumerate();
        let members = members.map(|(number, &(algorithm, weight))| {
            head.member(algorithm, weight, &tensors.all_of(number))
        });
        let members: Option<Vec<Member>> = members.collect();
        match members.filter(|members| !members.is_empty() && !head.classes.is_empty()) {
            Some(members) => Ok(Self {
                classes: head.classes,
                columns: head.columns,
                members,
            }),
            None => Err("damaged (its parts do not fit each other)".to_owned()),
        }
    }
}

/// An SVM of each pair of classes holds a kernel matrix of their rows, so the largest pair determines the memory.
fn check_memory(data: &Training) -> Result<(), LabError> {
    let mut sizes = vec![0; data.classes];
    data.class_of.iter().for_each(|&class| sizes[class] += 1);
    sizes.sort_unstable();
    let pair: usize = sizes.iter().rev().take(2).sum();
    if pair <= LARGEST_PAIR {
        return Ok(());
    }
    Err(LabError::Options(format!(
        "the support vector machine would hold {pair} x {pair} numbers for the two largest classes: expected at most {LARGEST_PAIR} tracks of them; use logistic or boost"
    )))
}

#[derive(Serialize, Deserialize)]
struct Head {
    algorithms: Vec<(Algorithm, f64)>,
    classes: Vec<String>,
    columns: Vec<String>,
    settings: AlgorithmSettings,
}

impl Head {
    fn member(&self, algorithm: Algorithm, weight: f64, from: &Tensors) -> Option<Member> {
        let k = self.classes.len();
        let d = self.columns.len();
        let classifier = match algorithm {
            Algorithm::Majority => boxed(Majority::load(from, k)),
            Algorithm::Knn => boxed(Knn::load(from, self.settings.knn, k, d)),
            Algorithm::Logistic => boxed(load_logistic(from, k, d)),
            Algorithm::Svm => boxed(SvmProbabilities::load(from, k, d)),
            Algorithm::Forest => boxed(Forest::load(from, k, d)),
            Algorithm::Boost => boxed(Boost::load(from, k, d)),
        }?;
        // With another number of columns it would not fit the rows.
        let preparation =
            Preparation::load(from).filter(|preparation| preparation.columns() == d)?;
        Some(Member {
            algorithm,
            weight,
            preparation,
            classifier,
        })
    }
}

fn boxed<C: FittedClassifier + 'static>(found: Option<C>) -> Option<Box<dyn FittedClassifier>> {
    found.map(|classifier| Box::new(classifier) as _)
}

const LARGEST: u64 = 8 << 30;
/// Key of the model's description in the header of its file.
const KEY: &str = "voisin-run";

#[cfg(test)]
mod tests {
    use super::*;
    use voisin_base::random::Random;
    use voisin_genre::metrics::argmax;

    /// Three classes of 30 rows that overlap a little.
    fn blobs(seed: u64) -> (Array2<f32>, Vec<usize>) {
        let mut random = Random::new(seed);
        let class_of: Vec<usize> = (0..90).map(|row| row % 3).collect();
        let x = Array2::from_shape_fn((90, 6), |(row, column)| {
            let is_own = column % 3 == class_of[row];
            (1.5 * f64::from(u8::from(is_own)) + random.normal()) as f32
        });
        (x, class_of)
    }

    #[test]
    fn every_algorithm_learns_and_round_trips_through_a_file() {
        let (x, class_of) = blobs(1);
        let (queries, truth) = blobs(2);
        let folds: Vec<usize> = (0..90).map(|row| row / 3 % 5).collect();
        let data = Training {
            x: x.view(),
            class_of: &class_of,
            classes: 3,
            folds: &folds,
            seed: 7,
        };
        let names: Vec<String> = ["a", "b", "c"].map(str::to_owned).into();
        let columns: Vec<String> = (0..6).map(|c| c.to_string()).collect();
        let mut settings = AlgorithmSettings::default();
        (settings.forest.trees, settings.boost.rounds) = (40, 20);
        for (name, algorithm) in Algorithm::ALL {
            let fit = || Model::fit(algorithm, &settings, &data, &names, &columns).unwrap();
            let model = fit();
            let p = model.probabilities(queries.view());
            let is_whole = p.outer_iter().all(|row| (row.sum() - 1.0).abs() < 1e-4);
            let pairs = p.outer_iter().zip(&truth);
            let right = pairs.filter(|(p, t)| argmax(*p) == **t).count();
            let is_right = right >= 65 || name == "majority" && right == 30;
            assert!(is_whole && is_right, "{name}: {right} of 90");
            let bytes = model.to_bytes(&settings).unwrap();
            let again = Model::from_bytes(&bytes).unwrap();
            assert_eq!(again.probabilities(queries.view()), p, "{name}");
            // two equal members, so the ensemble predicts as each does
            let pair = Model::joined(vec![(0.25, fit()), (0.75, fit())]).unwrap();
            let pair = Model::from_bytes(&pair.to_bytes(&settings).unwrap()).unwrap();
            let apart = pair.probabilities(queries.view()) - &p;
            assert!(apart.iter().all(|apart| apart.abs() < 1e-6), "{name}");
            // one thread fits bit-for-bit the same model
            let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build();
            let again = alone.unwrap().install(|| fit().to_bytes(&settings));
            assert_eq!(again.unwrap(), bytes, "{name}");
            for cut in (0..bytes.len()).step_by(bytes.len() / 40 + 1) {
                assert!(Model::from_bytes(&bytes[..cut]).is_err());
                let mut flipped = bytes.clone();
                flipped[cut] ^= 0x41;
                if let Ok(odd) = Model::from_bytes(&flipped) {
                    let _ = odd.probabilities(queries.view());
                }
            }
        }
    }
}
