//! Metrics against scikit-learn.

use std::path::Path;

use serde_json::Value;
use voisin_genre::metrics;

fn golden(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/genre")
        .join(name);
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

fn numbers(value: &Value) -> Vec<usize> {
    floats(value).into_iter().map(|v| v as usize).collect()
}

#[test]
fn metrics_equal_scikit_learn() {
    let golden = golden("metrics.json");
    let truth = numbers(&golden["truth"]);
    let p = rows(&golden["probabilities"]);
    // numpy's argmax: the first of equals
    let answer: Vec<usize> = p
        .iter()
        .map(|row| (0..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best }))
        .collect();
    let near = |a: f64, name: &str| {
        let b = golden[name].as_f64().unwrap();
        assert!((a - b).abs() < 1e-9, "{name}: {a}, scikit-learn {b}");
    };
    let m = metrics::confusion(&truth, &answer, 5);
    let theirs: Vec<Vec<usize>> = golden["confusion"]
        .as_array()
        .unwrap()
        .iter()
        .map(numbers)
        .collect();
    assert_eq!(m, theirs);
    near(metrics::accuracy(&m), "accuracy");
    near(metrics::macro_f1(&m), "macro_f1");
    let sure: Vec<(f64, bool)> = (0..truth.len())
        .map(|i| (p[i][answer[i]], answer[i] == truth[i]))
        .collect();
    near(metrics::expected_calibration_error(&sure, 10), "ece");
    let precision = floats(&golden["precision"]);
    let recall = floats(&golden["recall"]);
    let f1 = floats(&golden["f1"]);
    for (c, m) in metrics::per_class(&m).iter().enumerate() {
        assert!((m.precision - precision[c]).abs() < 1e-9 && (m.recall - recall[c]).abs() < 1e-9);
        assert!((m.f1 - f1[c]).abs() < 1e-9);
        assert_eq!(m.support, numbers(&golden["support"])[c]);
    }
    for c in 0..5 {
        let scores: Vec<f64> = p.iter().map(|row| row[c]).collect();
        let positive: Vec<bool> = truth.iter().map(|t| *t == c).collect();
        assert!(
            (metrics::auc(&scores, &positive).unwrap() - floats(&golden["auc"])[c]).abs() < 1e-9
        );
        let curve = metrics::roc_curve(&scores, &positive);
        let area: f64 = curve
            .windows(2)
            .map(|w| {
                (w[1].false_positive - w[0].false_positive)
                    * f64::midpoint(w[0].true_positive, w[1].true_positive)
            })
            .sum();
        assert!((area - floats(&golden["roc_area"])[c]).abs() < 1e-9);
    }
}
