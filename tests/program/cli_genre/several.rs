//! Several genres on one track.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::shelf::Shelf;
use crate::common::{Sandbox, code, fine, fine_json, text};

fn entry_with<'a>(list: &'a Value, key: &str, value: &str) -> &'a Value {
    list.as_array()
        .unwrap()
        .iter()
        .find(|entry| entry[key] == value)
        .unwrap_or_else(|| panic!("{value}: {list}"))
}

#[test]
fn a_users_hierarchy_applies_everywhere() {
    let sandbox = Sandbox::new();
    let mut shelf = Shelf::new(&sandbox);
    for i in 0..12 {
        let genre = ["Bebop", "Swing", "Rock"][i % 3];
        shelf.put(Path::new(&format!("/music/{i}.mp3")), i % 3, genre, 0.3);
    }
    assert_eq!(
        code(&sandbox.run(["list", "--genre", "jazz"])),
        2,
        "no track is labelled so"
    );
    fs::write(
        sandbox.path("library/genre-hierarchy.tsv"),
        "Bebop\tJazz\nSwing\tJazz\n",
    )
    .unwrap();
    let jazz = fine_json(sandbox.run(["list", "--genre", "jazz", "--format", "json"]));
    assert_eq!(jazz["total"], 8, "{jazz}");
    let genres = fine(sandbox.run(["genres"]));
    assert!(
        genres.contains("Bebop (within Jazz)") && genres.contains("Swing (within Jazz)"),
        "{genres}"
    );
    let answer = fine(sandbox.run(["classify", "id:1"]));
    assert!(
        answer.contains("Jazz") && !answer.contains("Jazz (within"),
        "{answer}"
    );
    fs::write(sandbox.path("library/genre-hierarchy.tsv"), "Bebop\n").unwrap();
    let broken = sandbox.run(["genres"]);
    let stderr = text(&broken.stderr);
    assert!(
        code(&broken) == 2
            && stderr.contains("genre-hierarchy.tsv, line 1: expected a genre, a tab"),
        "{stderr}"
    );
}

#[test]
fn genres_of_one_track_are_predicted_and_counted_together() {
    let sandbox = Sandbox::new();
    let mut shelf = Shelf::new(&sandbox);
    for i in 0..36 {
        let genre = ["Jazz; Bebop", "Jazz", "Rock"][i % 3];
        shelf.put(Path::new(&format!("/music/{i:02}.mp3")), i % 3, genre, 0.6);
    }
    for i in 0..3 {
        shelf.put(
            Path::new(&format!("/music/twins/{i}.mp3")),
            5,
            "Ska; Two Tone",
            0.4,
        );
    }
    shelf.put(Path::new("/music/asked.mp3"), 0, "", 0.4);
    // by the neighbours, then by a trained model
    for source in ["neighbours", "head"] {
        if source == "head" {
            fine(sandbox.run(["train"]));
        }
        let answer = fine_json(sandbox.run(["classify", "id:40", "--format", "json"]))[0].clone();
        assert_eq!(
            (&answer["source"], &answer["genre"]),
            (&json!(source), &json!("Jazz")),
            "{answer}"
        );
        assert_eq!(answer["genres"], json!(["Jazz", "Bebop"]), "{answer}");
        assert!(answer["probability"].as_f64().unwrap() > 0.8, "{answer}");
        assert!(answer["votes"]["Bebop"].as_f64().unwrap() > 0.8, "{answer}");
        assert!(
            answer["summary"]
                .as_str()
                .unwrap()
                .starts_with("Jazz, and Bebop within it"),
            "{answer}"
        );
        let stdout = fine(sandbox.run(["classify", "id:40"]));
        assert!(stdout.contains("Jazz, and Bebop within it"), "{stdout}");
    }
    let kin = fine_json(sandbox.run(["genres", "--format", "json"]));
    let [jazz, bebop, ska] =
        ["Jazz", "Bebop", "Ska"].map(|name| entry_with(&kin["genres"], "genre", name));
    assert_eq!(
        (&bebop["within"], &jazz["within"], &ska["within"]),
        (&json!(["Jazz"]), &json!([]), &json!([]))
    );
    let twin = &ska["nearest"][0];
    assert_eq!(twin["genre"], "Two Tone");
    assert!(
        twin["distance"].as_f64().unwrap() < 1e-6 && twin["high"].as_f64().unwrap() < 1e-6,
        "{twin}"
    );
    let table = fine(sandbox.run(["genres"]));
    assert!(table.contains("Bebop (within Jazz)"), "{table}");
    assert!(fine(sandbox.run(["genres", "bebop"])).contains("12 tracks (within Jazz)"));
    let report = fine_json(sandbox.run([
        "lab",
        "eval",
        "genre",
        "--repeats",
        "1",
        "--no-rivals",
        "--format",
        "json",
    ]));
    for (genre, tracks) in [
        ("Jazz", 24),
        ("Bebop", 12),
        ("Rock", 12),
        ("Ska", 3),
        ("Two Tone", 3),
    ] {
        assert_eq!(
            entry_with(&report["details"]["genres"], "genre", genre)["support"],
            tracks,
            "{report}"
        );
    }
}
