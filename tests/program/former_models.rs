//! Libraries of former built-in models: stored vectors stay usable, and commands that need the network name the next
//! step.

// A test may fail by a panic; helpers of tests unwrap as tests do.
#![allow(clippy::unwrap_used)]

use crate::common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{Sandbox, code, fine, fine_json, noise_wav, tagged, text};

/// Each former model with its files and the folders of the repository that have them.
const FORMER: [(&str, &[(&str, &str)]); 2] = [
    (
        "voisin-2",
        &[
            ("research/former-models", "voisin-2.json"),
            ("research/former-models", "voisin-2.safetensors"),
        ],
    ),
    (
        "musicnn-pair",
        &[
            ("research/former-models", "musicnn-pair.json"),
            ("models", "musicnn-msd.safetensors"),
            ("research/former-models", "musicnn-jamendo.safetensors"),
        ],
    ),
];

fn fetch(sandbox: &Sandbox, files: &[(&str, &str)]) -> PathBuf {
    let folder = sandbox.path("models");
    fs::create_dir_all(&folder).unwrap();
    for (from, file) in files {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        fs::copy(root.join(from).join(file), folder.join(file)).unwrap();
    }
    folder
}

#[test]
fn a_damaged_card_has_its_own_error() {
    let sandbox = Sandbox::new();
    let models = sandbox.path("models");
    fs::create_dir_all(&models).unwrap();
    fs::write(models.join("mine.json"), "{\"format\": 1, \"name\"").unwrap();
    let file = sandbox.path("new.wav");
    fs::write(&file, noise_wav(16_000, 4.0, 77)).unwrap();
    let output = sandbox.run(["--model", "mine", "add", file.to_str().unwrap()]);
    assert_ne!(code(&output), 0);
    let message = text(&output.stderr);
    assert!(message.contains("mine.json"), "{message}");
    assert!(!message.contains("no model named"), "{message}");
}

/// A library of eight labelled tracks, made while the model's files were there; they are gone now.
fn library_of(model: &str, files: &[(&str, &str)]) -> Sandbox {
    let sandbox = Sandbox::new();
    let models = fetch(&sandbox, files);
    for seed in 1..9 {
        let genre = if seed % 2 == 0 { "Rock" } else { "Jazz" };
        tagged(
            &sandbox.path("music").join(format!("{seed}.wav")),
            noise_wav(16_000, 4.0, seed),
            &[("TIT2", "A"), ("TPE1", "B"), ("TCON", genre)],
        );
    }
    let music = sandbox.path("music");
    fine(sandbox.run(["--model", model, "add", music.to_str().unwrap()]));
    fs::remove_dir_all(models).unwrap();
    fs::write(sandbox.path("new.wav"), noise_wav(16_000, 4.0, 77)).unwrap();
    sandbox
}

#[test]
fn stored_vectors_answer_without_their_model() {
    for (model, files) in FORMER {
        let sandbox = library_of(model, files);
        let path = |name: &str| sandbox.path(name).to_str().unwrap().to_owned();
        let track = path("music/1.wav");
        let map = path("map.svg");
        let copy = path("export");
        let verbs = [
            &["similar", "id:1"][..],
            &["similar", &track],
            &["--model", model, "similar", "id:1"],
            &["list"],
            &["show", "id:1"],
            &["status"],
            &["artists"],
            &["albums"],
            &["genres"],
            &["map", "--output", &map],
            &["classify", "id:1"],
            &["train", "genre", "--min-tracks", "2"],
            &["classify", "id:2"],
            &["clusters"],
            &["duplicates"],
            &["playlist", "id:1"],
            &["path", "id:1", "id:2"],
            &["verify"],
            &["export", &copy],
        ];
        for arguments in verbs {
            let output = sandbox.run(arguments);
            let code = code(&output);
            // 1: nothing found, such as no duplicates.
            assert!(
                code <= 1,
                "{model}: {arguments:?}: {code} {}",
                text(&output.stderr)
            );
        }
        // Their names are those of copies, which only this option shows.
        let with_copies = ["similar", "id:1", "--include-seed", "--format", "json"];
        let near = fine_json(sandbox.run(with_copies));
        assert_eq!(near["neighbours"].as_array().unwrap().len(), 8, "{near}");
    }
}

#[test]
fn stored_tags_answer_without_their_model() {
    let (model, files) = FORMER[1];
    let sandbox = library_of(model, files);
    let answer = || fine_json(sandbox.run(["find", "piano", "--format", "json"]));
    let stored = answer();
    assert!(stored.to_string().contains("instrument piano"), "{stored}");
    fetch(&sandbox, files);
    assert_eq!(stored, answer(), "with the model at hand");
}

#[test]
fn a_new_file_needs_the_models_files() {
    for (model, files) in FORMER {
        let sandbox = library_of(model, files);
        let new = sandbox.path("new.wav").to_str().unwrap().to_owned();
        let folder = sandbox.path("models");
        for arguments in [&["add", &new][..], &["similar", &new], &["classify", &new]] {
            let output = sandbox.run(arguments);
            let message = text(&output.stderr);
            assert_eq!(code(&output), 2, "{model}: {arguments:?}: {message}");
            let expected = [
                model,
                files[0].1,
                files[1].1,
                folder.to_str().unwrap(),
                "research/former-models",
                "another --library",
            ];
            let message = message.lines().last().unwrap();
            for words in expected {
                assert!(message.contains(words), "{arguments:?}: {message}");
            }
        }
        fetch(&sandbox, files);
        fine(sandbox.run(["add", &new]));
        fine(sandbox.run(["similar", &new]));
    }
}
