//! Training tracks are not predicted by the head itself, but by folds without their artist.

use std::path::Path;

use serde_json::Value;

use super::shelf::Shelf;
use crate::common::{Sandbox, fine, fine_json};

#[test]
fn trained_tracks_are_no_surer_than_their_folds() {
    let sandbox = Sandbox::new();
    let mut shelf = Shelf::with(&sandbox, 60, 4);
    // genres that are hard to separate, each track by another artist
    for i in 0..60 {
        let centre: Vec<f32> = shelf.centres[i % 3].clone();
        let path = format!("/music/{i:02}.mp3");
        shelf.put_spread(
            Path::new(&path),
            &centre,
            &format!("Genre {}", i % 3),
            6.0,
            &format!("Artist {i}"),
        );
    }
    let trained = fine_json(sandbox.run(["train", "--format", "json"]));
    let promised = trained["quality"]["accuracy"].as_f64().unwrap();
    assert!((0.1..0.8).contains(&promised), "{trained}");
    let stdout = fine(sandbox.run(["train"]));
    // sixty artists of one track each do not keep copies on one side
    assert!(
        stdout.contains("no two tracks are known to share one"),
        "{stdout}"
    );
    let all = fine_json(sandbox.run(["classify", "--all", "--format", "json"]));
    let answers = all.as_array().unwrap();
    let is_right = |(i, a): &(usize, &Value)| a["best"] == format!("Genre {}", i % 3);
    let right = answers.iter().enumerate().filter(is_right).count() as f64 / 60.0;
    let sure: f64 = answers
        .iter()
        .map(|a| a["probability"].as_f64().unwrap())
        .sum::<f64>()
        / 60.0;
    // The votes of the library's own space differ a little from those of the training.
    assert!(
        (right - promised).abs() < 0.1,
        "right {right}, promised {promised}"
    );
    assert!(
        sure < promised + 0.2,
        "mean probability {sure}, promised {promised}"
    );
    assert!(answers.iter().all(|a| a["held_out"] == true));
    let one = fine(sandbox.run(["classify", "id:1"]));
    assert!(
        one.contains("it trained the head: this prediction is of a head without its artist"),
        "{one}"
    );
    let card = fine_json(sandbox.run(["show", "id:1", "--format", "json"]));
    let of_card = card[0]["predicted"]["probability"].as_f64().unwrap();
    assert!(
        (of_card - answers[0]["probability"].as_f64().unwrap()).abs() < 1e-6,
        "{card}"
    );
}
