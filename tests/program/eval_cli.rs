//! `eval` and the first guess of `classify`, as a process.

// A test may fail by a panic.
#![allow(clippy::unwrap_used)]

use crate::common;

use std::fs;

use common::{Sandbox, fine, fine_json as json, text, tone_wav};
use serde_json::Value;

const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/demo");

#[test]
fn neighbours_are_measured_on_any_labelled_library() {
    let sandbox = Sandbox::new();
    let without = sandbox.run(["lab", "eval", "retrieval"]);
    assert_eq!(without.status.code(), Some(2));
    fine(sandbox.run(["add", "--quiet", &format!("{DEMO}/library")]));
    let report = sandbox.path("retrieval.html");
    let found = json(sandbox.run([
        "lab",
        "eval",
        "retrieval",
        "-k",
        "3",
        "--format",
        "json",
        "--report",
        report.to_str().unwrap(),
    ]));
    let share = |value: &Value| value.as_f64().unwrap();
    let precision = share(&found["precision"]["mean"]);
    let chance = share(&found["chance"]);
    assert!(precision > chance + 0.2 && precision < 1.0, "{found}");
    assert_eq!(found["k"], 3);
    let sizes: u64 = found["genres"]
        .as_array()
        .unwrap()
        .iter()
        .map(|genre| genre["tracks"].as_u64().unwrap())
        .sum();
    assert_eq!(sizes, found["tracks"].as_u64().unwrap());
    let written = fs::read_to_string(&report).unwrap();
    assert!(written.contains("precision@3"), "{written}");

    // Joined genres make the task easier.
    let names: Vec<&str> = found["genres"]
        .as_array()
        .unwrap()
        .iter()
        .map(|genre| genre["genre"].as_str().unwrap())
        .collect();
    let join = format!("{},{}", names[0], names[1]);
    let joined = json(sandbox.run([
        "lab",
        "eval",
        "retrieval",
        "-k",
        "3",
        "--join",
        &join,
        "--format",
        "json",
    ]));
    assert_eq!(joined["genres"].as_array().unwrap().len(), names.len() - 1);
    assert!(share(&joined["precision"]["mean"]) >= precision);
}

#[test]
fn the_first_guess_needs_no_labels_and_no_library() {
    let sandbox = Sandbox::new();
    let file = format!("{DEMO}/library/metal/muldjord-chaos-god.mp3");
    let output = sandbox.run(["classify", &file, "--format", "json"]);
    let stderr = text(&output.stderr);
    assert!(stderr.contains("a first guess"), "{stderr}");
    let answers = json(output);
    assert_eq!(
        (&answers[0]["genre"], &answers[0]["source"]),
        (&"Metal".into(), &"first_guess".into()),
        "{answers}"
    );
    let shares = answers[0]["probabilities"].as_object().unwrap();
    let sum: f64 = shares.values().map(|share| share.as_f64().unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-4 && shares.len() == 17);
    assert_eq!(answers[0]["basis"]["Metal"], "labels");
    let words = sandbox.run(["classify", "chaos god"]);
    assert_eq!(words.status.code(), Some(1));
    assert!(
        text(&words.stderr).contains("no library yet"),
        "{}",
        text(&words.stderr)
    );
    // A library without a label: its tracks, by name.
    let music = sandbox.path("music");
    fs::create_dir_all(&music).unwrap();
    fs::write(music.join("hum.wav"), tone_wav(44_100, 5.0, 220.0, 0.3)).unwrap();
    fine(sandbox.run(["add", "--quiet", music.to_str().unwrap()]));
    // A guess without labels is not written, with a message.
    let write = sandbox.run(["tag", "--all", "--dry-run"]);
    assert_eq!(write.status.code(), Some(2));
    let message = text(&write.stderr);
    assert!(message.contains("found no labelled track"), "{message}");
    let all = sandbox.run(["classify", "--all", "--format", "csv"]);
    assert!(
        text(&all.stdout).starts_with("path,genre,probability,unknown,best,"),
        "{}",
        text(&all.stdout)
    );
    assert_eq!(text(&all.stdout).lines().count(), 2);
    let missing = sandbox.run(["classify", "/nowhere/at all.mp3"]);
    assert_ne!(missing.status.code(), Some(0));
}
