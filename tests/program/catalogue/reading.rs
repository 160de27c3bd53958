//! Lists of songs, missing paths, and lists of another machine.

use std::fs;
use std::path::Path;

use super::sound;
use crate::common::{Sandbox, fine, fine_json, text};

fn add(sandbox: &Sandbox) {
    fine(sandbox.run(["add", sandbox.path("music").to_str().unwrap()]));
}

#[test]
fn a_missing_path_creates_no_library() {
    let sandbox = Sandbox::new();
    let refused = sandbox.run(["add", "no such folder"]);
    let message = text(&refused.stderr);
    assert!(
        message.contains("there is no such file or folder"),
        "{message}"
    );
    assert!(!Path::new(&sandbox.path("library/voisin.db")).exists());
}

#[test]
fn lists_of_another_machine_name_the_tracks_here() {
    let sandbox = Sandbox::new();
    for (seed, name) in [
        (1, "Björk/Début/01.wav"),
        (2, "Other/Début/01.wav"),
        (3, "x.wav"),
    ] {
        let title = format!("Title {seed}");
        sound(
            &sandbox.path(&format!("music/{name}")),
            seed,
            &[("TIT2", &title)],
        );
    }
    add(&sandbox);
    let list = sandbox.path("lists/from Windows.m3u8");
    fs::create_dir_all(list.parent().unwrap()).unwrap();
    fs::write(
        &list,
        "D:\\Musik\\BJÖRK\\Début\\01.wav\nhttp://radio.example/Other/Début/01.wav\n",
    )
    .unwrap();
    let found = sandbox.run(["similar", list.to_str().unwrap(), "--format", "json"]);
    let found = fine_json(found);
    let seed = found["seeds"][0]["path"].as_str().unwrap();
    assert!(seed.ends_with("Björk/Début/01.wav"), "{seed}");

    let table = sandbox.path("genres.csv");
    fs::write(&table, "path,genre\nE:\\Other\\Début\\01.wav,Zydeco\n").unwrap();
    // Into WAV nothing is written, but the file is found.
    let listed = crate::common::json(sandbox.run([
        "tag",
        "--format",
        "json",
        "--from",
        table.to_str().unwrap(),
    ]));
    let path = listed[0]["path"].as_str().unwrap();
    assert!(path.ends_with("music/Other/Début/01.wav"), "{listed}");
}
