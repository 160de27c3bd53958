//! Search by a sentence, through every interface, in a library of the small seeded CLAP (tests/data/clap): the order
//! follows the vectors of transformers.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use ndarray::Array2;
use ndarray_npy::WriteNpyExt as _;
use serde_json::Value;
use voisin_encoder::{ModelRef, WeightTensor, caption_vectors, read_safetensors};

use crate::common::server::Server;
use crate::common::{Sandbox, fine, fine_json, six_tracks, text};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/clap")
}

fn answers() -> BTreeMap<String, WeightTensor> {
    read_safetensors(&fs::read(golden().join("golden.safetensors")).unwrap()).unwrap()
}

fn array(answers: &BTreeMap<String, WeightTensor>, name: &str) -> Array2<f32> {
    let tensor = &answers[name];
    Array2::from_shape_vec((tensor.shape[0], tensor.shape[1]), tensor.values.clone()).unwrap()
}

fn import(sandbox: &Sandbox) {
    fine(sandbox.run([
        "model",
        "import",
        golden().to_str().unwrap(),
        "--name",
        "small",
    ]));
}

/// Adds the reference's 200 tracks.
fn add_tracks(sandbox: &Sandbox, tracks: &Array2<f32>) {
    let vectors = sandbox.path("tracks.npy");
    tracks.write_npy(File::create(&vectors).unwrap()).unwrap();
    let mut table = "path,title,artist\n".to_owned();
    for row in 0..tracks.nrows() {
        table += &format!("/elsewhere/{row:03}.ogg,Title {row},Artist {}\n", row % 20);
    }
    let csv = sandbox.path("tracks.csv");
    fs::write(&csv, table).unwrap();
    let [vectors, csv] = [&vectors, &csv].map(|path| path.to_str().unwrap());
    let added = fine_json(sandbox.run([
        "--model",
        "small",
        "add",
        "--vectors",
        vectors,
        "--tracks",
        csv,
        "--format",
        "json",
    ]));
    assert_eq!(added["added"], 200);
}

/// The rows of tracks in an answer, by their files.
fn rows(tracks: &Value) -> Vec<usize> {
    let tracks = tracks
        .as_array()
        .unwrap_or_else(|| panic!("no list: {tracks}"));
    tracks
        .iter()
        .map(|track| track["path"].as_str().unwrap()[11..14].parse().unwrap())
        .collect()
}

/// Tracks with a smaller difference may change places.
const TIE: f32 = 2e-6;

fn check_order(found: &[usize], cosines: &[f32], place: &str) {
    for pair in found.windows(2) {
        assert!(
            cosines[pair[0]] > cosines[pair[1]] - TIE,
            "{place}: {pair:?}"
        );
    }
    let best = cosines.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    assert!(cosines[found[0]] > best - TIE, "{place}");
}

#[test]
#[expect(clippy::too_many_lines, reason = "one scene")]
fn sentences_find_in_the_references_order_through_each_door() {
    let sandbox = Sandbox::new();
    import(&sandbox);
    let answers = answers();
    let tracks = array(&answers, "tracks");
    add_tracks(&sandbox, &tracks);
    let texts: Vec<String> =
        serde_json::from_slice(&fs::read(golden().join("texts.json")).unwrap()).unwrap();
    let cosines = tracks.dot(&array(&answers, "text vectors").t());
    let by = |at: usize| cosines.column(at).to_vec();
    let model = ModelRef::Manifest(sandbox.path("models").join("small.json"));
    let captions = caption_vectors(&model).unwrap().unwrap();
    let server = Server::start(&sandbox, &[]);
    for (at, sentence) in texts.iter().enumerate() {
        let query = sentence
            .replace(' ', "%20")
            .replace('é', "%C3%A9")
            .replace('\'', "%27");
        let found = server.good_get(&format!("/api/v1/find?query={query}&limit=200"));
        assert_eq!(found["understood"][0]["word"], sentence.as_str());
        let order = rows(&found["tracks"]);
        assert_eq!(order.len(), 200);
        check_order(&order, &by(at), sentence);
        let row = order[0];
        let less = captions
            .dot(&tracks.row(row))
            .iter()
            .filter(|cosine| **cosine < cosines[[row, at]])
            .count();
        let share = found["tracks"][0]["captions"][sentence].as_f64().unwrap();
        assert!(
            (share - less as f64 / 1000.0).abs() < 0.0011,
            "{share}, {less}"
        );
        let notes = found["notes"].to_string();
        assert!(notes.contains("in English"), "{notes}");
    }
    // On the command line, with filters and exclusions.
    let find = |arguments: &[&str]| {
        let arguments = [&["find"], arguments, &["--format", "json"]].concat();
        fine_json(sandbox.run(arguments))
    };
    check_order(
        &rows(&find(&["rainy evening synths", "--limit", "5"])["tracks"]),
        &by(0),
        "the command line",
    );
    let of_one = rows(&find(&["rainy evening synths", "--artist", "Artist 3"])["tracks"]);
    assert!(
        of_one.len() == 10 && of_one.iter().all(|row| row % 20 == 3),
        "{of_one:?}"
    );
    check_order(
        &of_one[..1],
        &(0..200)
            .map(|row| if row % 20 == 3 { by(0)[row] } else { -1.0 })
            .collect::<Vec<_>>(),
        "filter",
    );
    let denied = rows(&find(&["no rainy evening synths", "--limit", "all"])["tracks"]);
    let negated: Vec<f32> = by(0).iter().map(|cosine| -cosine).collect();
    check_order(&denied, &negated, "no");
    let both = find(&["rainy evening synths, not loud metal with drums"]);
    assert_eq!(both["understood"][1]["denied"], true, "{both}");
    let table = fine(sandbox.run(["find", "rainy evening synths", "--limit", "3"]));
    assert!(table.contains("% of captions"), "{table}");
}

#[test]
fn a_sentence_without_a_text_tower_names_the_import() {
    let sandbox = Sandbox::new();
    let music = six_tracks(&sandbox);
    fine(sandbox.run(["add", music.to_str().unwrap()]));
    for refused in [["find", "calm evening synths"], ["find", "xyzzy plugh"]] {
        let nothing = text(&sandbox.run(refused).stderr);
        let has_step = nothing.contains("voisin model import, voisin add --model");
        assert!(has_step && nothing.lines().count() == 1, "{nothing}");
    }
}
