//! Search by a model's tags: find, words as filters, models without tags.

use std::fs;
use std::path::Path;

use crate::catalogue::{shelf, sound};
use crate::common::{Sandbox, code, fine, fine_json, json, noise_wav, text};
use serde_json::Value;

fn ids(answer: &Value) -> Vec<u64> {
    answer["tracks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|track| track["id"].as_u64().unwrap())
        .collect()
}

#[test]
#[expect(clippy::too_many_lines, reason = "one scene")]
fn words_find_tracks_by_percentiles_and_unknown_ones_are_named() {
    let sandbox = shelf();
    let refused = sandbox.run(["find", "calm theremin,", "no voice", "--format", "json"]);
    let why = text(&refused.stderr);
    assert!(
        code(&refused) == 2 && why.contains("\"theremin\" is not understood"),
        "{why}"
    );
    let answer = fine_json(sandbox.run(["find", "calm,", "no voice", "--format", "json"]));
    assert_eq!(ids(&answer).len(), 4);
    let understood = answer["understood"].as_array().unwrap();
    assert_eq!(
        (&understood[0]["word"], &understood[1]["denied"]),
        (&"calm".into(), &true.into())
    );
    assert!(
        understood[1]["tags"]
            .as_array()
            .unwrap()
            .contains(&"sung".into()),
        "{answer}"
    );
    // Four tracks: each of these percentiles once, unless two are equal.
    let mut shares: Vec<f64> = answer["tracks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| t["terms"]["calm"].as_f64().unwrap())
        .collect();
    shares.sort_by(f64::total_cmp);
    assert_eq!(shares, [0.125, 0.375, 0.625, 0.875]);
    // The reverse order starts at the other end.
    let top = |phrase: &str| {
        ids(&fine_json(
            sandbox.run(["find", phrase, "--format", "json"]),
        ))
    };
    assert_eq!(
        top("not calm"),
        top("calm").into_iter().rev().collect::<Vec<_>>()
    );

    assert_eq!(
        ids(&fine_json(
            sandbox.run(["find", "calm", "-lall", "--format", "json"])
        )),
        top("calm")
    );

    let nothing = sandbox.run(["find", "theremin"]);
    assert_eq!(code(&nothing), 2);
    assert!(
        text(&nothing.stderr).contains("\"voisin find --words\" lists all "),
        "{}",
        text(&nothing.stderr)
    );
    assert!(
        text(&nothing.stderr).len() < 220,
        "not all words: {}",
        text(&nothing.stderr)
    );
    let misspelt = sandbox.run(["find", "femal voise"]);
    assert!(
        text(&misspelt.stderr).contains("did you mean female voice"),
        "{}",
        text(&misspelt.stderr)
    );
    assert!(fine(sandbox.run(["find", "--words"])).lines().count() > 100);
    let words = fine_json(sandbox.run(["find", "--words", "--format", "json"]));
    assert!(words["words"].as_array().unwrap().len() > 100);
    assert!(
        words["words"][0]["tags"].is_array(),
        "{}",
        words["words"][0]
    );
    assert_eq!(
        code(&sandbox.run(["find", "--words", "--format", "m3u8"])),
        2
    );
}

/// Noise is not reported as jazz, even the most similar; the tag used for a word is in the table's head.
#[test]
fn a_library_that_lacks_a_genre_reports_it() {
    let sandbox = shelf();
    let run = sandbox.run(["find", "bebop", "violin"]);
    let table = text(&run.stdout);
    let stderr = text(&run.stderr);
    assert!(
        table.lines().next().unwrap().contains("bebop (jazz)") && table.contains("top 1"),
        "{table}"
    );
    assert!(
        stderr.contains("nothing here is likely to be jazz ("),
        "{stderr}"
    );
    assert!(
        stderr.contains("nothing here is likely to be violin ("),
        "{stderr}"
    );
    let answer = fine_json(sandbox.run(["find", "jazz,", "no rock,", "calm", "--format", "json"]));
    let likeliest = |at: usize| answer["understood"][at]["likeliest"].as_f64();
    assert!(
        likeliest(0).is_some_and(|most| most < 0.5)
            && likeliest(1).is_some()
            && likeliest(2).is_none()
    );
    assert_eq!(
        answer["notes"].as_array().unwrap().len(),
        1,
        "an excluded word may be unknown: {answer}"
    );
}

#[test]
fn words_are_filters_and_can_be_added_to() {
    let sandbox = shelf();
    let list = |arguments: &[&str]| {
        let page = sandbox.run([&["list", "--sort", "id", "--format", "json"], arguments].concat());
        ids(&json(&page))
    };
    let upper = list(&["--tag", "rock:50"]);
    let lower = list(&["--tag", "!rock:50"]);
    assert_eq!((upper.len(), lower.len()), (2, 2));
    assert_eq!(list(&["--tag", "ROCK"]).len(), 1, "the upper fifth");
    assert!(upper.iter().all(|id| !lower.contains(id)));
    let similar =
        fine_json(sandbox.run(["similar", "zebra", "--tag", "rock:50", "--format", "json"]));
    let neighbours = similar["neighbours"].as_array().unwrap();
    assert!(
        !neighbours.is_empty()
            && neighbours
                .iter()
                .all(|n| upper.contains(&n["id"].as_u64().unwrap()))
    );
    assert_eq!(code(&sandbox.run(["list", "--tag", "theremin"])), 2);
    assert_eq!(code(&sandbox.run(["list", "--tag", "rock:101"])), 2);
}

#[test]
fn a_model_without_tags_names_one_with_tags() {
    let sandbox = Sandbox::new();
    let music = sandbox.path("music");
    sound(&music.join("a.wav"), 1, &[("TIT2", "A")]);
    let model = sandbox.path("plain.safetensors");
    voisin_encoder::Weights::random(voisin_encoder::Architecture::OpenL3, 1)
        .to_safetensors(&model)
        .unwrap();
    fine(sandbox.run([
        "add",
        "--model",
        model.to_str().unwrap(),
        music.to_str().unwrap(),
    ]));
    for arguments in [&["find", "calm"][..], &["list", "--tag", "calm"]] {
        let run = sandbox.run(arguments);
        assert_eq!(code(&run), 2);
        assert!(
            text(&run.stderr).contains("plain has no tags")
                && text(&run.stderr).contains("musicnn-msd")
        );
    }
    let card = &fine_json(sandbox.run(["show", "id:1", "--format", "json"]))[0];
    assert_eq!(card["words"].as_array().unwrap().len(), 0);
}

/// A model given by its file is found again; without the file, commands that need no model still work.
#[test]
#[expect(clippy::too_many_lines, reason = "one scene")]
fn a_model_given_by_its_file_is_used_by_every_verb() {
    let sandbox = Sandbox::new();
    let music = sandbox.path("music");
    let models = sandbox.path("elsewhere");
    fs::create_dir_all(&models).unwrap();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let card = fs::read_to_string(shipped.join("musicnn-msd.json")).unwrap();
    let mut card: Value = serde_json::from_str(&card).unwrap();
    card["name"] = "my-own".into();
    let weights = shipped.join("musicnn-msd.safetensors");
    fs::copy(&weights, models.join(card["weights"].as_str().unwrap())).unwrap();
    let manifest = models.join("my-own.json");
    fs::write(&manifest, card.to_string()).unwrap();
    for seed in 1..9 {
        let genre = if seed % 2 == 0 { "Rock" } else { "Jazz" };
        sound(
            &music.join(format!("{seed}.wav")),
            seed,
            &[("TIT2", "A"), ("TCON", genre)],
        );
    }
    let manifest = manifest.to_str().unwrap();
    let at = music.to_str().unwrap();
    fine(sandbox.run(["add", "--model", manifest, at]));
    let out = sandbox.path("out");
    let out = out.to_str().unwrap();
    let map = sandbox.path("map.html");
    let verbs = [
        &["export", out][..],
        &["list"],
        &["show", "id:1"],
        &["status"],
        &["similar", "id:1"],
        &["genres"],
        &["map", "--output", map.to_str().unwrap()],
        &["classify", "id:1", "--format", "json"],
        &["verify"],
        &["playlist", "id:1"],
    ];
    let file = music.join("1.wav");
    let listening = [
        &["find", "calm"][..],
        &["verify", "--deep"],
        &["add", at, "--force"],
    ];
    for arguments in verbs.iter().chain(&listening) {
        fine(sandbox.run(arguments.iter()));
    }
    fs::remove_dir_all(&models).unwrap();
    fs::remove_dir_all(out).unwrap();
    for arguments in verbs {
        fine(sandbox.run(arguments));
    }
    let file = file.with_file_name("new.wav");
    fs::write(&file, noise_wav(16_000, 4.0, 9)).unwrap();
    let output = sandbox.run(["similar", file.to_str().unwrap()]);
    let stderr = text(&output.stderr);
    assert!(
        code(&output) == 2
            && stderr.contains("my-own")
            && stderr.contains("name its file with --model"),
        "{stderr}"
    );
}
