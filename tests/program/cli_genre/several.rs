//! Several genres on one track.

use std::path::Path;

use serde_json::Value;

use super::shelf::Shelf;
use crate::common::{Sandbox, fine, fine_json};

fn entry_with<'a>(list: &'a Value, key: &str, value: &str) -> &'a Value {
    list.as_array()
        .unwrap()
        .iter()
        .find(|entry| entry[key] == value)
        .unwrap_or_else(|| panic!("{value}: {list}"))
}

#[test]
fn a_track_counts_in_each_of_its_genres() {
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
        assert_eq!(answer["source"], source, "{answer}");
        let genre = answer["genre"].as_str().unwrap();
        assert!(["Jazz", "Bebop"].contains(&genre), "{answer}");
    }
    let kin = fine_json(sandbox.run(["genres", "--format", "json"]));
    let ska = entry_with(&kin["genres"], "genre", "Ska");
    let twin = &ska["nearest"][0];
    assert_eq!(twin["genre"], "Two Tone");
    assert!(twin["distance"].as_f64().unwrap() < 1e-6, "{twin}");
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
