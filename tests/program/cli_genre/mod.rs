//! The genre verbs as a process, on small synthetic libraries: audio is decoded only where tags are written.

// A test may fail by a panic.
#![allow(clippy::unwrap_used)]

use crate::common;
mod evidence;
mod labels;
pub(crate) mod shelf;
mod writing;

use std::fs;
use std::path::Path;

use common::{Sandbox, code, json, text};
use serde_json::Value;
use shelf::{D, Shelf, tags};

const AUDIO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/audio");

#[test]
#[expect(clippy::too_many_lines, reason = "one scene")]
fn a_head_is_trained_used_and_found_to_age() {
    let sandbox = Sandbox::new();
    let mut shelf = Shelf::new(&sandbox);
    shelf.fill(4, 24, 0.7);
    for i in 0..4 {
        shelf.put(Path::new(&format!("/music/polka/{i}.mp3")), 5, "Polka", 0.4);
    }
    // far from all others, and without a label
    let stranger: Vec<f32> = (0..D)
        .map(|j| if j % 2 == 0 { 1.0 } else { -1.0 })
        .collect();
    shelf.put_vector(Path::new("/music/stranger.mp3"), &stranger, "", "Nobody");

    // before training: the neighbours alone, with a message
    let before = sandbox.run(["classify", "id:1", "--format", "json"]);
    assert!(
        text(&before.stderr).contains("no trained head"),
        "{}",
        text(&before.stderr)
    );
    let answer = &json(&before)[0];
    assert_eq!(
        (&answer["genre"], &answer["source"]),
        (&"Genre 0".into(), &"neighbours".into())
    );
    let refused = sandbox.run(["classify", "id:1", "--precision", "0.9"]);
    assert_eq!(code(&refused), 2);
    assert!(
        text(&refused.stderr).contains("voisin train"),
        "{}",
        text(&refused.stderr)
    );
    assert_eq!(
        json(sandbox.run(["status", "--format", "json"]))["genre_head"],
        Value::Null
    );

    let trained = sandbox.run(["train", "--format", "json"]);
    assert_eq!(code(&trained), 0, "{}", text(&trained.stderr));
    let trained = json(&trained);
    assert_eq!(trained["tracks"], 100);
    assert_eq!(trained["model_fingerprint"], "made-up-fingerprint");
    assert_eq!(
        trained["without_head"],
        serde_json::json!([{"genre": "Polka", "tracks": 4}])
    );
    assert!(
        trained["quality"]["accuracy"].as_f64().unwrap() > 0.9,
        "{trained}"
    );
    assert_eq!(trained["training_digest"].as_str().unwrap().len(), 64);
    assert!(sandbox.path("library/genre.safetensors").is_file());
    let stdout = text(&sandbox.run(["train"]).stdout);
    assert!(
        stdout.contains("neighbours alone decide for Polka (4)"),
        "{stdout}"
    );
    assert!(stdout.contains("head alone"), "{stdout}");
    assert_eq!(code(&sandbox.run(["train"])), 0);
    assert!(
        stdout.contains("labels from tags") && stdout.contains("right on artists left out"),
        "{stdout}"
    );

    let all = sandbox.run(["classify", "--all", "--format", "json"]);
    assert_eq!(code(&all), 0, "{}", text(&all.stderr));
    let all = json(&all);
    let answers = all.as_array().unwrap();
    assert_eq!(answers.len(), 101);
    let right = answers[..96]
        .iter()
        .enumerate()
        .filter(|(i, a)| a["best"] == format!("Genre {}", i % 4));
    assert!(right.count() >= 92);
    for answer in answers {
        let evidence = answer["evidence"].as_array().unwrap();
        assert!(!evidence.is_empty());
        assert!(
            evidence.iter().all(|voter| voter["path"] != answer["path"]),
            "no track votes for itself"
        );
        assert!(
            evidence[0]["artist"]
                .as_str()
                .unwrap()
                .starts_with("Artist")
        );
        let weights: f64 = evidence
            .iter()
            .map(|voter| voter["weight"].as_f64().unwrap())
            .sum();
        assert!(weights > 0.0 && weights < 1.0001);
        let sum = |list: &Value| {
            list.as_object()
                .unwrap()
                .values()
                .map(|v| v.as_f64().unwrap())
                .sum::<f64>()
        };
        assert!(
            (0.0..1.001).contains(&sum(&answer["probabilities"]))
                && (0.5..1.001).contains(&sum(&answer["votes"]))
        );
    }
    let head = &json(sandbox.run(["status", "--format", "json"]))["genre_head"];
    assert_eq!((&head["tracks"], &head["genres"]), (&100.into(), &5.into()));
    assert_eq!(
        (&head["changed_share"], &head["retrain"]),
        (&0.0.into(), &false.into())
    );
    assert!(
        text(&sandbox.run(["status"]).stdout).contains("trained today on 100 tracks of 5 genres")
    );

    // the labels change: ten tracks are retagged, three removed
    for id in 1..=10 {
        let track = shelf
            .library
            .track(voisin_base::track::TrackId(id))
            .unwrap();
        shelf
            .library
            .attach_file(
                track.id,
                &track.files[0].record,
                &tags("New Wave", "Artist"),
            )
            .unwrap();
    }
    shelf
        .library
        .remove_tracks(&[11, 12, 13].map(voisin_base::track::TrackId))
        .unwrap();
    let status = sandbox.run(["status", "--format", "json"]);
    let head = &json(&status)["genre_head"];
    assert!(
        (head["changed_share"].as_f64().unwrap() - 0.13).abs() < 1e-9,
        "{head}"
    );
    assert_eq!(head["retrain"], true);
    assert!(text(&sandbox.run(["status"]).stderr).contains("voisin train"));
    // removed tracks do not vote, and the new label does
    let all = sandbox.run(["classify", "--all", "--format", "json"]);
    assert!(
        text(&all.stderr).contains("13 % of the labels changed since"),
        "{}",
        text(&all.stderr)
    );
    let all = json(&all);
    let voters: Vec<&Value> = all
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|a| a["evidence"].as_array().unwrap())
        .collect();
    assert!(voters.iter().all(|v| {
        !["/music/genre 2/010.mp3", "/music/genre 3/011.mp3"].contains(&v["path"].as_str().unwrap())
    }));
    assert!(voters.iter().any(|v| v["genre"] == "New Wave"));
    // and the head was trained again, once, as requested
    let head = json(sandbox.run(["status", "--format", "json"]))["genre_head"].clone();
    assert_eq!(
        (&head["changed_share"], &head["retrain"]),
        (&0.0.into(), &false.into()),
        "{head}"
    );
    assert_eq!(head["tracks"], 97);
    let quiet = sandbox.run(["classify", "id:20"]);
    assert!(
        !text(&quiet.stderr).contains("trained again"),
        "{}",
        text(&quiet.stderr)
    );
}

#[test]
fn precision_is_bought_with_unknowns() {
    let sandbox = Sandbox::new();
    let mut shelf = Shelf::new(&sandbox);
    // genres that overlap
    shelf.fill(4, 24, 2.2);
    sandbox.run(["train"]);
    let unsure = |precision: &str| {
        let all = json(sandbox.run([
            "classify",
            "--all",
            "--precision",
            precision,
            "--format",
            "json",
        ]));
        all.as_array()
            .unwrap()
            .iter()
            .filter(|a| a["unknown"] == "unsure")
            .count()
    };
    let loose = unsure("0.5");
    let strict = unsure("0.95");
    assert!(strict > loose && strict > 10, "{loose} {strict}");
    let csv = text(
        &sandbox
            .run([
                "classify",
                "--all",
                "--precision",
                "0.95",
                "--format",
                "csv",
            ])
            .stdout,
    );
    assert_eq!(
        csv.lines().next(),
        Some("path,genre,probability,unknown,best,labelled_tracks,labelled_genres")
    );
    assert_eq!(
        csv.lines()
            .filter(|line| line.contains(",unsure,Genre "))
            .count(),
        strict
    );
    for wrong in ["0.3", "1.5", "much"] {
        let output = sandbox.run(["classify", "--all", "--precision", wrong]);
        assert_eq!(code(&output), 2);
        assert!(text(&output.stderr).contains("0.5 to 1"));
    }
}

#[test]
fn kinship_is_printed() {
    let sandbox = Sandbox::new();
    let mut shelf = Shelf::new(&sandbox);
    // style 3 lies between 0 and far from the others
    shelf.centres[3] = shelf.centres[0].iter().map(|c| c * 0.9 + 0.03).collect();
    shelf.fill(4, 15, 0.6);
    let one = json(sandbox.run(["genres", "genre 3", "--format", "json"]));
    assert_eq!(one["nearest"][0]["genre"], "Genre 0");
    let unknown = sandbox.run(["genres", "gener 3"]);
    assert!(
        text(&unknown.stderr).contains("did you mean Genre 3"),
        "{}",
        text(&unknown.stderr)
    );
    let table = text(&sandbox.run(["genres", "genre 3"]).stdout);
    assert!(table.contains("typical:"), "{table}");
}

#[test]
fn wrong_labels_are_suspected_with_reasons() {
    let sandbox = Sandbox::new();
    let mut shelf = Shelf::new(&sandbox);
    shelf.fill(4, 24, 0.7);
    for (id, genre) in [(5, "Genre 1"), (30, "Genre 3"), (63, "Genre 0")] {
        let track = shelf
            .library
            .track(voisin_base::track::TrackId(id))
            .unwrap();
        let artist = track.tags.artist.clone().unwrap();
        shelf
            .library
            .attach_file(track.id, &track.files[0].record, &tags(genre, &artist))
            .unwrap();
    }
    let found = json(sandbox.run(["labels", "suspects", "--format", "json"]));
    let found = found.as_array().unwrap();
    let ids: Vec<u64> = found
        .iter()
        .take(3)
        .map(|s| s["id"].as_u64().unwrap())
        .collect();
    assert!([5, 30, 63].iter().all(|id| ids.contains(id)), "{ids:?}");
    let first = &found[0];
    assert!(
        first["confident"].as_bool().unwrap()
            && first["reason"].as_str().unwrap().contains("looks like")
    );
    // The reason has the probabilities of head and neighbours together.
    let reason = format!(
        ": {:.0} %, its own label {:.0} %",
        100.0 * first["suggested_probability"].as_f64().unwrap(),
        100.0 * first["label_probability"].as_f64().unwrap()
    );
    assert!(
        first["reason"].as_str().unwrap().ends_with(&reason),
        "{first}"
    );
    assert_eq!(
        first["suggested"],
        format!("Genre {}", (first["id"].as_u64().unwrap() - 1) % 4)
    );
    let csv = text(
        &sandbox
            .run([
                "labels", "suspects", "--all", "--limit", "0", "--format", "csv",
            ])
            .stdout,
    );
    assert_eq!(csv.lines().count(), 97);
    let table = sandbox.run(["labels", "suspects", "--limit", "2"]);
    assert_eq!(text(&table.stdout).lines().count(), 1 + 2);
    assert!(text(&table.stderr).contains("contradicted"));
}

#[test]
#[expect(clippy::too_many_lines, reason = "one scene")]
fn an_evaluation_of_a_library_has_its_report() {
    let sandbox = Sandbox::new();
    let mut shelf = Shelf::new(&sandbox);
    shelf.fill(3, 18, 1.0);
    let page = sandbox.path("report.html");
    let report = sandbox.run([
        "lab",
        "eval",
        "genre",
        "--folds",
        "3",
        "--repeats",
        "1",
        "--format",
        "json",
        "--html",
        page.to_str().unwrap(),
    ]);
    assert_eq!(code(&report), 0, "{}", text(&report.stderr));
    let report = json(&report);
    assert_eq!(
        (&report["tracks"], &report["folds"]),
        (&54.into(), &3.into())
    );
    let methods: Vec<&str> = report["methods"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["method"].as_str().unwrap())
        .collect();
    assert_eq!(methods, ["fused", "head", "vote"]);
    assert!(report["methods"][0]["accuracy"]["mean"].as_f64().unwrap() > 0.7);
    let html = fs::read_to_string(&page).unwrap();
    assert!(
        html.contains("<svg") && html.contains("Genre recognition") && !html.contains("<script")
    );
    let plain = ["lab", "eval", "genre", "--folds", "3", "--repeats", "1"];
    let words = sandbox.run(plain);
    assert!(!text(&words.stderr).contains("no artist is known"));
    let words = text(&words.stdout);
    assert!(
        words.contains("fused") && words.contains("macro F1") && words.contains("Genre 2"),
        "{words}"
    );
    // Without artists, copies of a recording may lie on both sides.
    let nameless = Sandbox::new();
    let mut shelf = Shelf::new(&nameless);
    for i in 0..24 {
        let style: Vec<f32> = (0..D)
            .map(|j| if j % 2 == i % 2 { 1.0 } else { 0.1 })
            .collect();
        // albums of one name in several folders are several
        shelf.put_spread(
            Path::new(&format!("/music/folder {i} of many/song.mp3")),
            &style,
            &format!("Genre {}", i % 2),
            0.5,
            "",
        );
    }
    let output = nameless.run(plain);
    let notes = text(&output.stderr);
    assert!(
        notes.contains("no artist is known: folds are by track"),
        "{notes}"
    );
    let words = text(&output.stdout);
    assert!(
        words.contains("24 tracks, 2 genres; 3 folds by track") && words.contains("at most this"),
        "{words}"
    );
    assert!(!words.contains("24 artists"), "{words}");
}
