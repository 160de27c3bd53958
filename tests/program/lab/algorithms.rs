//! Algorithms and measures against scikit-learn and XGBoost; `tests/data/lab/generate.py` made the values.

use ndarray::Array2;
use serde_json::Value;
use voisin_genre::{Logistic, Standardiser};
use voisin_lab::classifiers::{
    Boost, BoostSettings, FittedClassifier, Forest, ForestSettings, Knn, KnnSettings, Svm,
    Training, couple,
};

fn golden(name: &str) -> Value {
    let path = format!("{}/tests/data/lab/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn floats(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v.as_f64().unwrap())
        .collect()
}

fn rows(value: &Value) -> Vec<Vec<f64>> {
    value.as_array().unwrap().iter().map(floats).collect()
}

fn matrix(value: &Value) -> Array2<f32> {
    let rows = rows(value);
    let shape = (rows.len(), rows[0].len());
    Array2::from_shape_vec(
        shape,
        rows.into_iter().flatten().map(|v| v as f32).collect(),
    )
    .unwrap()
}

/// The largest difference between two tables of numbers.
fn apart(ours: impl IntoIterator<Item = f64>, theirs: &Value) -> f64 {
    let theirs: Vec<f64> = rows(theirs).concat();
    let ours: Vec<f64> = ours.into_iter().collect();
    assert_eq!(ours.len(), theirs.len());
    ours.iter()
        .zip(theirs)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f64::max)
}

struct Data {
    golden: Value,
    x: Array2<f32>,
    queries: Array2<f32>,
    class_of: Vec<usize>,
    folds: Vec<usize>,
}

impl Data {
    fn read() -> Self {
        let golden = golden("algorithms.json");
        let class_of: Vec<usize> = floats(&golden["y"])
            .into_iter()
            .map(|y| y as usize)
            .collect();
        Self {
            x: matrix(&golden["x"]),
            queries: matrix(&golden["queries"]),
            folds: vec![0; class_of.len()],
            class_of,
            golden,
        }
    }

    fn training(&self) -> Training<'_> {
        Training {
            x: self.x.view(),
            class_of: &self.class_of,
            classes: 3,
            folds: &self.folds,
            seed: 1,
        }
    }

    fn is_near(&self, name: &str, model: &dyn FittedClassifier, bound: f64) {
        let p = model.probabilities(self.queries.view());
        let apart = apart(p.iter().map(|p| f64::from(*p)), &self.golden[name]);
        assert!(
            apart < bound,
            "{name}: {apart} from scikit-learn's probabilities"
        );
    }
}

#[test]
fn neighbours_and_their_votes_equal_scikit_learn() {
    let data = Data::read();
    let settings = KnnSettings {
        k: 10,
        smoothing: 0.0,
    };
    let knn = Knn::fit(&data.training(), settings);
    data.is_near("knn_cosine", &knn, 1e-6);
    let theirs = rows(&data.golden["knn_cosine_neighbours"]);
    for (mine, theirs) in knn.neighbours(data.queries.view()).iter().zip(theirs) {
        let mine: Vec<f64> = mine.iter().map(|row| *row as f64).collect();
        assert_eq!(mine, theirs);
    }
}

#[test]
fn logistic_regression_equals_scikit_learn() {
    let data = Data::read();
    data.is_near(
        "logistic",
        &Logistic::of_classes(data.x.view(), &data.class_of, 3, 1.0),
        1e-3,
    );
}

#[test]
fn a_support_vector_machine_equals_scikit_learn() {
    let data = Data::read();
    let (standard, rows) = Standardiser::fit(data.x.view());
    let svm = Svm::fit(rows.view(), &data.class_of, 3, 1.5);
    let (pairs, values) = svm.decisions(standard.apply(data.queries.view()).view());
    assert_eq!(pairs, [(0, 1), (0, 2), (1, 2)]);
    let apart = apart(values, &data.golden["svm_decisions"]);
    assert!(apart < 2e-3, "decisions {apart} apart");
}

#[test]
fn one_tree_splits_as_in_scikit_learn() {
    let data = Data::read();
    let settings = ForestSettings {
        trees: 1,
        columns: 7,
        depth: 3,
        bootstrap: false,
        ..ForestSettings::default()
    };
    let tree = Forest::fit(&data.training(), settings);
    data.is_near("tree", &tree, 1e-6);
}

#[test]
fn boosting_equals_xgboost() {
    let data = Data::read();
    let settings = BoostSettings {
        rounds: 10,
        rows: 1.0,
        columns: 1.0,
        ..BoostSettings::default()
    };
    let boost = Boost::fit(&data.training(), settings);
    let margins = boost.margins(data.queries.view());
    let apart = apart(margins.iter().copied(), &data.golden["boost_margins"]);
    assert!(apart < 1e-5, "margins {apart} apart");
    data.is_near("boost", &boost, 1e-5);
}

#[test]
fn coupling_equals_the_reference() {
    let golden = golden("algorithms.json");
    let pairs = rows(&golden["pairs"]);
    let mut p = Array2::from_shape_fn((5, 5), |(i, j)| {
        if i < 4 && j < 4 {
            pairs[i][j]
        } else {
            f64::NAN
        }
    });
    p.diag_mut().fill(f64::NAN);
    let found = couple(&p);
    for (mine, theirs) in found.iter().zip(floats(&golden["coupled"])) {
        assert!((mine - theirs).abs() < 1e-6, "{found:?}");
    }
    assert_eq!(found[4], 0.0, "a class without a vote");
}
