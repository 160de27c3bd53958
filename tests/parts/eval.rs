//! Retrieval figures against scikit-learn on the same vectors.

use ndarray::Array2;
use voisin_lab::eval::retrieval::retrieval;

struct Golden {
    vectors: Array2<f32>,
    labels: Vec<usize>,
    artists: Vec<Option<usize>>,
    json: serde_json::Value,
}

fn golden() -> Golden {
    let path =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/eval/retrieval.json");
    let text = std::fs::read_to_string(path).expect("the golden file is there");
    let json: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    let rows = json["vectors"].as_array().expect("rows");
    let values: Vec<f32> = rows
        .iter()
        .flat_map(|row| row.as_array().expect("a row"))
        .map(|x| x.as_f64().expect("a number") as f32)
        .collect();
    let numbers = |name: &str| -> Vec<Option<usize>> {
        json[name]
            .as_array()
            .expect("a list")
            .iter()
            .map(|x| x.as_u64().map(|x| x as usize))
            .collect()
    };
    Golden {
        vectors: Array2::from_shape_vec((rows.len(), values.len() / rows.len()), values)
            .expect("a matrix"),
        labels: numbers("labels").into_iter().flatten().collect(),
        artists: numbers("artists"),
        json,
    }
}

fn number(value: &serde_json::Value) -> f64 {
    value.as_f64().expect("a number")
}

#[test]
fn neighbours_are_evaluated_as_in_scikit_learn() {
    let golden = golden();
    let k = golden.json["k"].as_u64().expect("a number") as usize;
    let expected = &golden.json["plain"];
    let found = retrieval(golden.vectors.view(), &golden.labels, &golden.artists, k)
        .expect("it can be evaluated");
    assert_eq!(found.queries, 150);
    let precision = found.precision.mean;
    assert!((precision - number(&expected["precision"])).abs() < 1e-6);
    for (label, found) in found.by_label.iter().enumerate() {
        let expected = number(&expected["by_label"][label]);
        assert!((found - expected).abs() < 1e-6, "label {label}");
    }
}
