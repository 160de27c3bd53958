//! Catalogue commands as a process: list, show, find, watch, backup.

// A test may fail by a panic.
#![allow(clippy::unwrap_used)]

use crate::common;
use crate::common::tagged;
mod albums;
mod keeping;
mod reading;
mod words;

use std::fs;
use std::path::Path;

use common::{Sandbox, code, fine, fine_json, noise_wav, text};
use serde_json::Value;

/// A sound of four seconds with these text frames of ID3v2.4.
fn sound(path: &Path, seed: u64, frames: &[(&str, &str)]) {
    tagged(path, noise_wav(16_000, 4.0, seed), frames);
}

/// Four tracks by three artists.
fn shelf() -> Sandbox {
    let sandbox = Sandbox::new();
    let music = sandbox.path("music");
    let by = "https://creativecommons.org/licenses/by/4.0/";
    for (seed, name, frames) in [
        (
            1,
            "b/one.wav",
            &[
                ("TPE1", "Ärzte"),
                ("TIT2", "Zebra"),
                ("TCON", "Punk"),
                ("TDRC", "1993"),
                ("TKEY", "Am"),
            ][..],
        ),
        (
            2,
            "b/two.wav",
            &[
                ("TPE1", "Ärzte"),
                ("TIT2", "apple"),
                ("TCON", "Punk"),
                ("TDRC", "1988"),
            ],
        ),
        (
            3,
            "a/three.wav",
            &[
                ("TPE1", "Bach"),
                ("TIT2", "Aria"),
                ("TCON", "Classical"),
                ("WCOP", by),
                ("TBPM", "61"),
            ],
        ),
        (
            4,
            "a/four.wav",
            &[
                ("TPE1", "Zoe"),
                ("TIT2", "Sea"),
                ("TCON", "Ambient"),
                ("TCOP", "2020 Zoe, CC BY-SA 3.0"),
            ],
        ),
    ] {
        sound(&music.join(name), seed, frames);
    }
    fine(sandbox.run(["add", music.to_str().unwrap()]));
    sandbox
}

fn titles(sandbox: &Sandbox, arguments: &[&str]) -> Vec<String> {
    let all = [&["list", "--format", "json"], arguments].concat();
    let page = fine_json(sandbox.run(all));
    let tracks = page["tracks"].as_array().unwrap().iter();
    tracks
        .map(|track| track["title"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_list_is_filtered_sorted_and_cut() {
    let sandbox = shelf();
    let titles = |arguments: &[&str]| titles(&sandbox, arguments);
    // Artist, then title; case and accents do not matter.
    assert_eq!(titles(&[]), ["apple", "Zebra", "Aria", "Sea"]);
    assert_eq!(
        titles(&["--sort", "title"]),
        ["apple", "Aria", "Sea", "Zebra"]
    );
    assert_eq!(
        titles(&["--sort", "title", "--reverse"]),
        ["Zebra", "Sea", "Aria", "apple"]
    );
    // Tracks without a year come last in both directions.
    assert_eq!(titles(&["--sort", "year"])[..2], ["apple", "Zebra"]);
    assert_eq!(
        titles(&["--sort", "year", "--reverse"])[..2],
        ["Zebra", "apple"]
    );
    assert_eq!(titles(&["--sort", "path"])[2..], ["Zebra", "apple"]);
    assert_eq!(
        titles(&["--sort", "title", "--limit", "2"]),
        ["apple", "Aria"]
    );
    assert_eq!(titles(&["arzte", "ZEB"]), ["Zebra"]);
    assert_eq!(titles(&["--genre", "punk", "--year", "1990-"]), ["Zebra"]);
    let every = titles(&["--sort", "id"]);
    assert_eq!(
        titles(&["--sort", "id", "--reverse"]),
        every.into_iter().rev().collect::<Vec<_>>()
    );
    let page = fine_json(sandbox.run(["list", "--limit", "1", "--format", "json"]));
    assert_eq!(
        (
            page["total"].as_u64(),
            page["tracks"].as_array().unwrap().len()
        ),
        (Some(4), 1)
    );
}

#[test]
fn licences_and_tempo_come_from_tags_and_filter() {
    let sandbox = shelf();
    for (licence, expected) in [
        ("cc-by", &["Aria"][..]),
        ("CC BY-SA 3.0", &["Sea"]),
        ("cc-by-sa", &["Sea"]),
        ("cc", &["Aria", "Sea"]),
        ("cc-by,cc-by-sa", &["Aria", "Sea"]),
        ("cc-by-sa, cc-by", &["Aria", "Sea"]),
    ] {
        assert_eq!(
            titles(&sandbox, &["--licence", licence]),
            expected,
            "{licence}"
        );
    }
    for unknown in ["cc-by-nd", "cc-by,cc-by-nd"] {
        let refused = sandbox.run(["list", "--licence", unknown]);
        let message = text(&refused.stderr);
        assert_eq!(code(&refused), 2, "{message}");
        assert!(
            message.contains("cc-by-4.0, cc-by-sa-3.0") && message.contains("found cc-by-nd"),
            "{message}"
        );
    }
    let similar =
        fine_json(sandbox.run(["similar", "zebra", "--licence", "cc", "--format", "json"]));
    assert_eq!(
        similar["neighbours"].as_array().unwrap().len(),
        2,
        "{similar}"
    );
    let card = &fine_json(sandbox.run(["show", "aria", "--format", "json"]))[0];
    assert_eq!(
        (&card["licence"], &card["tagged_bpm"]),
        (&"cc-by-4.0".into(), &61.0.into())
    );
    assert_eq!(
        card["licence_text"],
        "https://creativecommons.org/licenses/by/4.0/"
    );
    assert_eq!(
        fine_json(sandbox.run(["show", "zebra", "--format", "json"]))[0]["tagged_key"],
        "Am"
    );
}

#[test]
fn cards_and_exports_follow_the_labels() {
    let sandbox = shelf();
    fine(sandbox.run(["labels", "set", "aria", "Jazz"]));
    let card = &fine_json(sandbox.run(["show", "aria", "--format", "json"]))[0];
    assert_eq!(
        (&card["genres"][0], &card["tagged_genres"][0]),
        (&"Jazz".into(), &"Classical".into())
    );
    let table = fine(sandbox.run(["show", "aria"]));
    let line = |name: &str| {
        table
            .lines()
            .find(|line| line.trim_start().starts_with(name))
            .unwrap()
            .to_owned()
    };
    assert!(line("genre").ends_with("Jazz"), "{table}");
    assert!(
        line("tags ").contains("Classical, 61 beats a minute"),
        "{table}"
    );
    let out = sandbox.path("out");
    fine(sandbox.run(["export", out.to_str().unwrap()]));
    let exported = fs::read_to_string(out.join("tracks.csv")).unwrap();
    let row = exported.lines().find(|line| line.contains("Aria")).unwrap();
    assert!(
        row.contains(",Jazz,") && !row.contains("Classical"),
        "{exported}"
    );
    let genres = fine_json(sandbox.run(["genres", "--format", "json"]));
    let cohesion = |name: &str| {
        let all = genres["genres"].as_array().unwrap();
        all.iter().find(|genre| genre["genre"] == name).unwrap()["cohesion"].clone()
    };
    assert!(
        cohesion("Jazz").is_null() && cohesion("Punk").is_f64(),
        "{genres}"
    );
    assert!(fine(sandbox.run(["genres"])).contains('–'));
    let nothing = sandbox.run(["remove", "--missing"]);
    assert!(
        text(&nothing.stderr).contains("every file of the library is where it was"),
        "{nothing:?}"
    );
}

#[test]
fn a_card_shows_the_track_its_neighbours_and_its_file() {
    let sandbox = shelf();
    let card = || fine_json(sandbox.run(["show", "zebra", "--format", "json"]))[0].clone();
    let first = card();
    assert_eq!(
        (&first["artist"], &first["year"], &first["genres"][0]),
        (&"Ärzte".into(), &1993.into(), &"Punk".into())
    );
    assert_eq!(first["nearest"].as_array().unwrap().len(), 3);
    assert!(
        first["nearest"]
            .as_array()
            .unwrap()
            .iter()
            .all(|near| near["id"] != first["id"])
    );
    assert!(
        first["predicted"]["summary"]
            .as_str()
            .unwrap()
            .contains("% likely, from"),
        "{first}"
    );
    assert_eq!(
        first["cluster"],
        Value::Null,
        "no clusters have been computed yet"
    );
    assert_eq!(first["places"][0]["state"], "there");
    let page = fine(sandbox.run(["show", &format!("id:{}", first["id"])]));
    for part in [
        "Ärzte – Zebra (id:",
        "predicted",
        "music/b/one.wav (there)",
        "  tags  ",
        "nearest",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let file = sandbox.path("music/b/one.wav");
    fs::OpenOptions::new()
        .append(true)
        .open(&file)
        .unwrap()
        .set_len(100)
        .unwrap();
    assert_eq!(card()["places"][0]["state"], "changed");
    fs::remove_file(&file).unwrap();
    assert_eq!(card()["places"][0]["state"], "gone");
    assert_eq!(
        code(&sandbox.run(["show", "id:99"])),
        if code(&sandbox.run(["similar", "id:99"])) == 1 {
            1
        } else {
            2
        }
    );
}

#[test]
fn a_playlist_has_an_artist_limit_and_replaces_its_file() {
    let sandbox = Sandbox::new();
    let music = sandbox.path("music");
    for seed in 1..=8 {
        let artist = if seed <= 5 {
            "Same"
        } else {
            ["Other", "Third & <Fourth>", "Fifth"][seed as usize - 6]
        };
        sound(
            &music.join(format!("{seed}.wav")),
            seed,
            &[("TPE1", artist), ("TIT2", &format!("T{seed}"))],
        );
    }
    fine(sandbox.run(["add", music.to_str().unwrap()]));
    let by_same = |more: &[&str]| {
        let list = fine(sandbox.run([&["playlist", "id:1", "--format", "m3u8"], more].concat()));
        (
            list.lines()
                .filter(|line| line.starts_with("#EXTINF") && line.contains("Same"))
                .count(),
            list,
        )
    };
    assert_eq!(by_same(&[]).0, 2);
    assert_eq!(by_same(&["--max-per-artist", "0"]).0, 5);
    let file = sandbox.path("list.m3u8");
    let name = file.to_str().unwrap();
    for (limit, tracks) in [("5", 5), ("2", 2)] {
        let written = sandbox.run(["playlist", "id:1", "--limit", limit, "--output", name]);
        assert_eq!(fine(written), "");
        let list = fs::read_to_string(&file).unwrap();
        assert_eq!(list.matches("#EXTINF:").count(), tracks, "{list}");
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "one scene")]
fn a_track_belongs_to_each_of_its_artists() {
    let sandbox = Sandbox::new();
    let music = sandbox.path("music");
    let named = [
        "Alpha feat. Beta",
        "Gamma; Delta",
        "ALPHA",
        "Beta",
        "Simon & Garfunkel",
    ];
    for (seed, artist) in (11..).zip(named) {
        sound(
            &music.join(format!("{seed}.wav")),
            seed,
            &[("TPE1", artist), ("TIT2", "Song")],
        );
    }
    fine(sandbox.run(["add", music.to_str().unwrap()]));
    let artists = fine_json(sandbox.run(["similar", "--by", "artist", "--format", "json"]));
    let mut counted: Vec<(String, u64)> = artists
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            (
                one["artist"].as_str().unwrap().to_lowercase(),
                one["tracks"].as_u64().unwrap(),
            )
        })
        .collect();
    counted.sort();
    let expected = [
        ("alpha", 2),
        ("beta", 2),
        ("delta", 1),
        ("gamma", 1),
        ("simon & garfunkel", 1),
    ];
    assert_eq!(
        counted,
        expected.map(|(name, tracks)| (name.to_owned(), tracks)),
        "{artists}"
    );
    let files = |more: &[&str]| {
        let list = fine_json(
            sandbox.run([&["list", "--sort", "path", "--format", "json"], more].concat()),
        );
        let tracks = list["tracks"].as_array().unwrap().clone();
        tracks
            .iter()
            .map(|track| track["artist"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(files(&["--artist", "alpha"]), ["Alpha feat. Beta", "ALPHA"]);
    assert_eq!(files(&["--artist", "delta"]), ["Gamma; Delta"]);
    assert_eq!(
        files(&["--artist", "simon garfunkel"]),
        ["Simon & Garfunkel"]
    );
    assert_eq!(
        files(&["--artist", "alpha feat beta"]),
        ["Alpha feat. Beta"]
    );
    assert_eq!(
        files(&["--artist", "!alpha"]),
        ["Gamma; Delta", "Beta", "Simon & Garfunkel"]
    );
    // One track of each artist: of Alpha, Beta, and both together there is room for two at most, or for one.
    let seed = music.join("12.wav");
    let similar = [
        "similar",
        seed.to_str().unwrap(),
        "--max-per-artist",
        "1",
        "--limit",
        "all",
        "--format",
        "json",
    ];
    let found = fine_json(sandbox.run(similar));
    let mut taken = std::collections::BTreeSet::new();
    for near in found["neighbours"].as_array().unwrap() {
        for artist in near["artist"]
            .as_str()
            .unwrap()
            .to_lowercase()
            .split(" feat. ")
        {
            assert!(taken.insert(artist.to_owned()), "{artist} twice: {found}");
        }
    }
    assert_eq!(taken.len(), 3, "{found}");
}

#[test]
fn one_artist_and_title_stand_once_in_a_list() {
    let sandbox = Sandbox::new();
    let music = sandbox.path("music");
    let named = [
        ("Alpha", "Hurt"),
        ("Alpha feat. Beta", "HURT"),
        ("Beta", "Hurt"),
        ("Alpha", "Hurt, Part 2"),
    ];
    for (seed, (artist, title)) in (21..).zip(named) {
        sound(
            &music.join(format!("{seed}.wav")),
            seed,
            &[("TPE1", artist), ("TIT2", title)],
        );
    }
    fine(sandbox.run(["add", music.to_str().unwrap()]));
    let seed = music.join("23.wav");
    let titles = |more: &[&str]| {
        let arguments = [
            "playlist",
            seed.to_str().unwrap(),
            "--max-per-artist",
            "0",
            "--format",
            "json",
        ];
        let list = fine_json(sandbox.run([&arguments[..], more].concat()));
        let mut titles: Vec<String> = list
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["title"].as_str().unwrap().to_lowercase())
            .collect();
        titles.sort();
        titles
    };
    assert_eq!(titles(&[]), ["hurt", "hurt", "hurt, part 2"]);
    assert_eq!(titles(&["--keep-duplicates"]).len(), 4);
}
