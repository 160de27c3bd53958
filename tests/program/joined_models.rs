//! A model of several networks: one decode, concatenated vectors. The default is one, so every other test is of one, too.

// A test may fail by a panic; helpers of tests unwrap as tests do.
#![allow(clippy::unwrap_used)]

use crate::common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{Sandbox, code, fine, fine_json, text};
use serde_json::{Value, json};

/// The folder of the built-in models.
fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models")
}

fn manifest(name: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(shipped().join(format!("{name}.json"))).unwrap())
        .unwrap()
}

/// Makes a model of two built-in ones: `first` with `second` beside it.
fn pair(sandbox: &Sandbox, name: &str, first: &str, second: &str, weight: f64) {
    let folder = sandbox.path("models");
    fs::create_dir_all(&folder).unwrap();
    let mut card = manifest(first);
    let other = manifest(second);
    card["name"] = json!(name);
    card["dimension"] =
        json!(card["dimension"].as_u64().unwrap() + other["dimension"].as_u64().unwrap());
    let of_other = |key: &str| other[key].clone();
    card["networks"] = json!([{
        "architecture": of_other("architecture"), "front_end": of_other("front_end"),
        "weights": of_other("weights"), "weights_sha256": of_other("weights_sha256"), "weight": weight,
    }]);
    for file in [
        card["weights"].as_str().unwrap(),
        other["weights"].as_str().unwrap(),
    ] {
        fs::copy(shipped().join(file), folder.join(file)).unwrap();
    }
    fs::write(folder.join(format!("{name}.json")), card.to_string()).unwrap();
}

fn string(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// The track vectors of a library, in the order of their contents.
fn vectors(sandbox: &Sandbox) -> Vec<Vec<f32>> {
    sandbox
        .vectors()
        .into_values()
        .map(|(bits, _)| bits.into_iter().map(f32::from_bits).collect())
        .collect()
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

fn norm(vector: &[f32]) -> f32 {
    vector.iter().map(|x| x * x).sum::<f32>().sqrt()
}

#[test]
fn the_parts_are_the_networks_own_vectors_with_their_weights() {
    let sandbox = Sandbox::new();
    let music = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/demo/library/metal");
    pair(&sandbox, "both", "musicnn-msd", "voisin-3", 2.0);
    let with = |model: &str| {
        let library = Sandbox::new();
        fine(
            library
                .command(["--model", model, "add", "--quiet", &string(&music)])
                .env("VOISIN_MODELS", sandbox.path("models"))
                .output()
                .unwrap(),
        );
        vectors(&library)
    };
    let msd = with("musicnn-msd");
    let voisin = with("voisin-3");
    // Decoded at 48 kHz, the first network gets the same input as at 16 kHz; the second one the middle second of each
    // window.
    for ((pair, msd), voisin) in with("both").iter().zip(&msd).zip(&voisin) {
        let (first, second) = pair.split_at(200);
        assert_eq!(second.len(), 512);
        assert!((norm(pair) - 1.0).abs() < 1e-5);
        assert!((norm(second) / norm(first) - 2.0).abs() < 1e-4);
        assert!(cosine(first, msd) > 0.99, "{}", cosine(first, msd));
        assert!(cosine(second, voisin) > 0.9, "{}", cosine(second, voisin));
    }
}

/// A layer that computes logits from vectors: its output for voices is on a track's card and in words.
#[test]
#[expect(clippy::too_many_lines, reason = "one scene")]
fn an_output_for_voices_is_on_the_card_and_in_words() {
    use sha2::Digest as _;
    use voisin_encoder::{WeightTensor, Weights};
    let sandbox = Sandbox::new();
    let folder = sandbox.path("models");
    fs::create_dir_all(&folder).unwrap();
    let bytes = fs::read(shipped().join("musicnn-msd.safetensors")).unwrap();
    let weights = Weights::from_safetensors(&bytes, "musicnn-msd").unwrap();
    let mut tensors: std::collections::BTreeMap<_, _> = weights
        .iter()
        .map(|(name, tensor)| (name.to_owned(), tensor.clone()))
        .collect();
    let mut add = |name: &str, shape: &[usize], values: Vec<f32>| {
        tensors.insert(
            name.to_owned(),
            WeightTensor {
                shape: shape.to_vec(),
                values,
            },
        );
    };
    add("told.weight", &[1, 200], vec![0.0; 200]);
    add("told.bias", &[1], vec![2.0]);
    let path = folder.join("voiced.safetensors");
    Weights::new("voiced", tensors)
        .to_safetensors(&path)
        .unwrap();
    let digest = sha2::Sha256::digest(fs::read(&path).unwrap());
    let mut card = manifest("musicnn-msd");
    card["name"] = json!("voiced");
    card["weights"] = json!("voiced.safetensors");
    card["weights_sha256"] = json!(
        digest
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    );
    card["outputs"] = json!([{"name": "voice", "labels": ["sung"]}]);
    fs::write(folder.join("voiced.json"), card.to_string()).unwrap();
    let metal = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/demo/library/metal");
    fine(sandbox.run(["--model", "voiced", "add", &string(&metal)]));
    let shown = fine_json(sandbox.run(["show", "id:1", "--format", "json"]));
    let sung = shown[0]["sung"].as_f64().unwrap();
    assert!(
        (sung - 1.0 / (1.0 + (-1f64).exp())).abs() < 1e-6,
        "half as sure as its logit of 2: {sung}"
    );
    let card_of = fine(sandbox.run(["show", "id:1"]));
    assert!(card_of.contains("yes, 73 % sure"), "{card_of}");
    let marks = shown[0]["words"].to_string();
    assert!(!marks.contains("sung"), "it has a separate line: {marks}");
    let found = fine_json(sandbox.run(["find", "no voice", "--format", "json"]));
    assert_eq!(found["understood"][0]["tags"], json!(["sung"]), "{found}");
    let guess = sandbox.run(["classify", "id:1", "--format", "json"]);
    assert!(
        code(&guess) <= 1,
        "the first guess takes the first tags: {}",
        text(&guess.stderr)
    );
    // A manifest with different numbers of names and logits is refused.
    card["outputs"] = json!([{"name": "voice", "labels": ["sung", "spoken"]}]);
    fs::write(folder.join("voiced.json"), card.to_string()).unwrap();
    let wrong = sandbox.run(["--model", "voiced", "add", &string(&metal)]);
    let stderr = text(&wrong.stderr);
    assert!(
        code(&wrong) == 2 && stderr.contains("52 names, its networks give 51 logits"),
        "{stderr}"
    );
}

#[test]
fn weights_of_a_further_network_are_checked_too() {
    let sandbox = Sandbox::new();
    pair(&sandbox, "both", "musicnn-msd", "voisin-3", 1.0);
    let weights = sandbox.path("models").join("voisin-3.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&weights, bytes).unwrap();
    let music = string(&Path::new(env!("CARGO_MANIFEST_DIR")).join("data/demo/library/metal"));
    let add = ["--model", "both", "add", &music];
    let output = sandbox.run(add);
    let stderr = text(&output.stderr);
    assert_eq!(code(&output), 2, "{stderr}");
    assert!(
        stderr.contains("voisin-3.safetensors") && stderr.contains("SHA-256"),
        "{stderr}"
    );
    fs::remove_file(&weights).unwrap();
    assert!(text(&sandbox.run(add).stderr).contains("voisin-3.safetensors"));
}
