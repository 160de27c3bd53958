//! Tags that are read again, and those that cannot be read.

use std::fs::{self, File};
use std::path::Path;

use serde_json::{Value, json};

use super::{sound, titles};
use crate::common::{DEMO, Sandbox, fine, fine_json, text, tone_wav};

fn add(sandbox: &Sandbox, more: &[&str]) -> Value {
    let music = sandbox.path("music").to_str().unwrap().to_owned();
    fine_json(sandbox.run([&["add", &music, "--format", "json"], more].concat()))
}

#[cfg(unix)]
#[test]
fn an_edit_that_keeps_size_and_time_is_noticed() {
    let sandbox = Sandbox::new();
    let one = sandbox.path("music/1.wav");
    sound(&one, 1, &[("TIT2", "Before")]);
    sound(&sandbox.path("music/2.wav"), 2, &[("TIT2", "Other")]);
    add(&sandbox, &[]);
    let before = fs::metadata(&one).unwrap();
    sound(&one, 1, &[("TIT2", "Behind")]);
    let file = File::options().append(true).open(&one).unwrap();
    file.set_modified(before.modified().unwrap()).unwrap();
    drop(file);
    let after = fs::metadata(&one).unwrap();
    assert_eq!(
        (after.len(), after.modified().unwrap()),
        (before.len(), before.modified().unwrap())
    );
    let summary = add(&sandbox, &[]);
    assert_eq!(
        (&summary["updated"], &summary["unchanged"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(titles(&sandbox, &["--sort", "title"]), ["Behind", "Other"]);
    let music = sandbox.path("music").to_str().unwrap().to_owned();
    assert_eq!(
        fine(sandbox.run(["add", &music])).trim(),
        "nothing new: 2 files unchanged"
    );
}

#[cfg(unix)]
#[test]
fn files_that_changed_places_keep_their_sound() {
    let sandbox = Sandbox::new();
    let path = |name: &str| sandbox.path(&format!("music/{name}.wav"));
    // One pair with tags, one without.
    sound(&path("1"), 1, &[("TIT2", "One")]);
    sound(&path("2"), 2, &[("TIT2", "Two")]);
    sound(&path("3"), 3, &[]);
    sound(&path("4"), 4, &[]);
    let time = fs::metadata(path("1")).unwrap().modified().unwrap();
    for name in ["2", "3", "4"] {
        let file = File::options().append(true).open(path(name)).unwrap();
        file.set_modified(time).unwrap();
    }
    add(&sandbox, &[]);
    let id = |name: &str| {
        let shown = sandbox.run(["show", path(name).to_str().unwrap(), "--format", "json"]);
        fine_json(shown)["id"].clone()
    };
    let before = ["1", "2", "3", "4"].map(id);
    for (one, other) in [("1", "2"), ("3", "4")] {
        fs::rename(path(one), path("aside")).unwrap();
        fs::rename(path(other), path(one)).unwrap();
        fs::rename(path("aside"), path(other)).unwrap();
    }
    add(&sandbox, &[]);
    assert_eq!(["2", "1", "4", "3"].map(id), before);
}

#[test]
fn the_year_of_a_release_is_read_on_request() {
    let sandbox = Sandbox::new();
    let frames = [("TIT2", "Old"), ("TDRC", "2008"), ("TDOR", "1969-01-05")];
    sound(&sandbox.path("music/1.wav"), 1, &frames);
    add(&sandbox, &[]);
    let year = || fine_json(sandbox.run(["list", "--format", "json"]))["tracks"][0]["year"].clone();
    assert_eq!(year(), 1969);
    assert_eq!(add(&sandbox, &["--year-of", "release"])["updated"], 1);
    assert_eq!(year(), 2008);
    sound(&sandbox.path("music/2.wav"), 2, &frames);
    add(&sandbox, &[]);
    assert_eq!(
        titles(&sandbox, &["--year", "2008"]),
        ["Old", "Old"],
        "it stays so"
    );
    add(&sandbox, &["--year-of", "recording"]);
    assert_eq!(titles(&sandbox, &["--year", "1969"]), ["Old", "Old"]);
}

#[test]
fn unreadable_tags_are_reported() {
    let sandbox = Sandbox::new();
    let odd = sandbox.path("music/1.wav");
    sound(&odd, 1, &[("TIT2", "Odd"), ("UFID", "without a NUL")]);
    sound(&sandbox.path("music/2.wav"), 2, &[("TIT2", "Good")]);
    add(&sandbox, &[]);
    let status = || fine_json(sandbox.run(["status", "--format", "json"]))["unread_tags"].clone();
    assert_eq!(status(), 1);
    let unread = |name: &str| {
        let cards = fine_json(sandbox.run(["show", name, "--format", "json"]));
        cards[0]["places"][0]["unread_tags"].clone()
    };
    assert_eq!((unread("odd"), unread("good")), (json!(1), json!(0)));
    let card = fine(sandbox.run(["show", "odd"]));
    assert!(
        card.contains("(there, 1 tag that could not be read)"),
        "{card}"
    );
    let table = fine(sandbox.run(["status"]));
    assert!(table.contains("not all could be read in 1 file"), "{table}");
    sound(&odd, 1, &[("TIT2", "Mended")]);
    add(&sandbox, &[]);
    assert_eq!(status(), 0);
}

#[test]
fn speech_by_the_kind_of_its_release_is_in_no_list() {
    let sandbox = Sandbox::new();
    for seed in 1..=6 {
        let title = format!("Song {seed}");
        let frames = [("TIT2", title.as_str()), ("TCON", "Fiction")];
        let kind = ("TXXX", "MusicBrainz Album Type\0audiobook");
        let frames = match seed {
            1..=4 => &[frames[0]][..],
            _ => &[frames[0], frames[1], kind],
        };
        sound(&sandbox.path(&format!("music/{seed}.wav")), seed, frames);
    }
    add(&sandbox, &[]);
    let list = fine_json(sandbox.run(["playlist", "song 1", "--format", "json"]));
    let mut found: Vec<&str> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|track| track["title"].as_str().unwrap())
        .collect();
    found.sort_unstable();
    assert_eq!(found, ["Song 1", "Song 2", "Song 3", "Song 4"]);
}

#[test]
fn speech_without_a_genre_is_in_no_list() {
    let sandbox = Sandbox::new();
    let music = sandbox.path("music");
    for genre in ["metal", "folk"] {
        fs::create_dir_all(music.join(genre)).unwrap();
        for file in fs::read_dir(format!("{DEMO}/library/{genre}")).unwrap() {
            let file = file.unwrap();
            fs::copy(file.path(), music.join(genre).join(file.file_name())).unwrap();
        }
    }
    fs::copy("tests/data/genre/speech.opus", music.join("speech.opus")).unwrap();
    fs::write(music.join("tone.wav"), tone_wav(22_050, 20.0, 440.0, 0.3)).unwrap();
    add(&sandbox, &[]);
    let whole = ["-l", "60", "--max-per-artist", "0", "--format", "paths"];
    let has_speech = |question: &[&str]| {
        let found = fine(sandbox.run([question, &whole[..]].concat()));
        assert!(found.lines().count() > 10, "{found}");
        found.contains("speech.opus")
    };
    assert!(!has_speech(&["playlist", "chaos god"]));
    // A seed that is speech may be followed by speech.
    assert!(has_speech(&["playlist", "speech"]));
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
    add(&sandbox, &[]);
    let list = sandbox.path("lists/from Windows.m3u8");
    fs::create_dir_all(list.parent().unwrap()).unwrap();
    fs::write(
        &list,
        "D:\\Musik\\BJÖRK\\Début\\01.wav\nhttp://radio.example/Other/Début/01.wav\n",
    )
    .unwrap();
    let found = sandbox.run(["similar", list.to_str().unwrap(), "--format", "json"]);
    let message = text(&found.stderr);
    assert!(
        message.contains("1 of 2 entries are not in the library"),
        "{message}"
    );
    let found = fine_json(found);
    let seed = found["seeds"][0]["path"].as_str().unwrap();
    assert!(seed.ends_with("Björk/Début/01.wav"), "{seed}");

    let table = sandbox.path("genres.csv");
    fs::write(&table, "path,genre\nE:\\Other\\Début\\01.wav,Zydeco\n").unwrap();
    fine(sandbox.run(["labels", table.to_str().unwrap()]));
    assert_eq!(titles(&sandbox, &["--genre", "zydeco"]), ["Title 2"]);
    // Into WAV nothing is written, but the file is found.
    let listed = crate::common::json(sandbox.run([
        "classify",
        "--write-tags",
        "--format",
        "json",
        "--from-list",
        table.to_str().unwrap(),
    ]));
    let path = listed[0]["path"].as_str().unwrap();
    assert!(path.ends_with("music/Other/Début/01.wav"), "{listed}");
}
