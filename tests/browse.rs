//! What is in the library, as a process shows it and keeps it: list, show, find, watch, backup, relocate.

// A test may fail by a panic.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::Path;

use common::{Sandbox, code, fine, fine_json, json, noise_wav, text};
use serde_json::Value;

/// A sound of four seconds with these text frames of ID3v2.4.
fn sound(path: &Path, seed: u64, frames: &[(&str, &str)]) {
    let mut tag = Vec::new();
    for (id, value) in frames {
        // An address has no mark of its encoding.
        let mark: &[u8] = if id.starts_with('W') { b"" } else { b"\x03" };
        let body = [mark, value.as_bytes()].concat();
        tag.extend([id.as_bytes(), &[0, 0, 0, body.len() as u8, 0, 0], &body].concat());
    }
    let size = [(tag.len() >> 7) as u8, tag.len() as u8 & 0x7f];
    let mut tag = [&b"ID3\x04\0\0\0\0"[..], &size, &tag].concat();
    tag.resize(tag.len().next_multiple_of(2), 0);
    let mut wav = noise_wav(16_000, 4.0, seed);
    wav.extend([&b"id3 "[..], &(tag.len() as u32).to_le_bytes(), &tag].concat());
    let riff = (wav.len() - 8) as u32;
    wav[4..8].copy_from_slice(&riff.to_le_bytes());
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, wav).unwrap();
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
            &[("TPE1", "Ärzte"), ("TIT2", "Zebra"), ("TCON", "Punk"), ("TDRC", "1993"), ("TKEY", "Am")][..],
        ),
        (2, "b/two.wav", &[("TPE1", "Ärzte"), ("TIT2", "apple"), ("TCON", "Punk"), ("TDRC", "1988")]),
        (
            3,
            "a/three.wav",
            &[("TPE1", "Bach"), ("TIT2", "Aria"), ("TCON", "Classical"), ("WCOP", by), ("TBPM", "61")],
        ),
        (
            4,
            "a/four.wav",
            &[("TPE1", "Zoe"), ("TIT2", "Sea"), ("TCON", "Ambient"), ("TCOP", "2020 Zoe, CC BY-SA 3.0")],
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
    tracks.map(|track| track["title"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_list_is_filtered_sorted_and_cut() {
    let sandbox = shelf();
    let titles = |arguments: &[&str]| titles(&sandbox, arguments);
    // Artist, then title; case and accents do not matter.
    assert_eq!(titles(&[]), ["apple", "Zebra", "Aria", "Sea"]);
    assert_eq!(titles(&["--sort", "title"]), ["apple", "Aria", "Sea", "Zebra"]);
    assert_eq!(titles(&["--sort", "title", "--reverse"]), ["Zebra", "Sea", "Aria", "apple"]);
    // What has no year comes last, whichever way is up.
    assert_eq!(titles(&["--sort", "year"])[..2], ["apple", "Zebra"]);
    assert_eq!(titles(&["--sort", "year", "--reverse"])[..2], ["Zebra", "apple"]);
    assert_eq!(titles(&["--sort", "path"])[2..], ["Zebra", "apple"]);
    assert_eq!(titles(&["--sort", "title", "--limit", "2"]), ["apple", "Aria"]);
    assert_eq!(titles(&["arzte", "ZEB"]), ["Zebra"]);
    assert_eq!(titles(&["--genre", "punk", "--year", "1990-"]), ["Zebra"]);
    let every = titles(&["--sort", "id"]);
    assert_eq!(titles(&["--sort", "id", "--reverse"]), every.into_iter().rev().collect::<Vec<_>>());
    let page = fine_json(sandbox.run(["list", "--limit", "1", "--format", "json"]));
    assert_eq!((page["total"].as_u64(), page["tracks"].as_array().unwrap().len()), (Some(4), 1));
}

#[test]
fn a_list_has_ids_first_and_every_format() {
    let sandbox = shelf();
    let table = fine(sandbox.run(["list", "aria"]));
    let id = fine_json(sandbox.run(["list", "aria", "--format", "json"]))["tracks"][0]["id"].to_string();
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].trim_start().starts_with("id") && lines[0].contains("licence"), "{table}");
    assert!(lines[1].trim_start().starts_with(&id) && lines[1].contains("cc-by-4.0"), "{table}");
    assert!(!lines[0].contains("LUFS") || lines[1].contains('-'), "an empty column is no help: {table}");
    let csv = fine(sandbox.run(["list", "--format", "csv"]));
    assert!(csv.starts_with("id,path,artist,title,") && csv.lines().count() == 5, "{csv}");
    let paths = fine(sandbox.run(["list", "--sort", "path", "--format", "paths"]));
    assert_eq!(paths.lines().next().unwrap(), sandbox.path("music/a/four.wav").to_str().unwrap());
    let playlist = fine(sandbox.run(["list", "--format", "m3u8"]));
    assert!(playlist.starts_with("#EXTM3U\n") && playlist.lines().count() == 10, "{playlist}");
    let nothing = sandbox.run(["list", "nosuchword"]);
    assert_eq!(code(&nothing), 1);
    assert!(text(&nothing.stderr).contains("nothing found"), "{}", text(&nothing.stderr));
}

#[test]
fn licences_and_tempo_come_from_tags_and_filter() {
    let sandbox = shelf();
    for (licence, expected) in [
        ("cc-by", &["Aria"][..]),
        ("CC BY-SA 3.0", &["Sea"]),
        ("cc-by-sa", &["Sea"]),
        ("cc", &["Aria", "Sea"]),
    ] {
        assert_eq!(titles(&sandbox, &["--licence", licence]), expected, "{licence}");
    }
    assert_eq!(code(&sandbox.run(["list", "--licence", "cc-by-nd"])), 1);
    let similar = fine_json(sandbox.run(["similar", "zebra", "--licence", "cc", "--format", "json"]));
    assert_eq!(similar["neighbours"].as_array().unwrap().len(), 2, "{similar}");
    let card = &fine_json(sandbox.run(["show", "aria", "--format", "json"]))[0];
    assert_eq!((&card["licence"], &card["tagged_bpm"]), (&"cc-by-4.0".into(), &61.0.into()));
    assert_eq!(card["licence_text"], "https://creativecommons.org/licenses/by/4.0/");
    assert_eq!(fine_json(sandbox.run(["show", "zebra", "--format", "json"]))[0]["tagged_key"], "Am");
}

#[test]
fn cards_and_exports_follow_the_labels() {
    let sandbox = shelf();
    fine(sandbox.run(["labels", "set", "aria", "Jazz"]));
    let card = &fine_json(sandbox.run(["show", "aria", "--format", "json"]))[0];
    assert_eq!((&card["genres"][0], &card["tagged_genres"][0]), (&"Jazz".into(), &"Classical".into()));
    let table = fine(sandbox.run(["show", "aria"]));
    let line =
        |name: &str| table.lines().find(|line| line.trim_start().starts_with(name)).unwrap().to_owned();
    assert!(line("genre").ends_with("Jazz"), "{table}");
    assert!(line("tags say").contains("Classical, 61 beats a minute"), "{table}");
    let out = sandbox.path("out");
    fine(sandbox.run(["export", out.to_str().unwrap()]));
    let exported = fs::read_to_string(out.join("tracks.csv")).unwrap();
    let row = exported.lines().find(|line| line.contains("Aria")).unwrap();
    assert!(row.contains(",Jazz,") && !row.contains("Classical"), "{exported}");
    let genres = fine_json(sandbox.run(["genres", "--format", "json"]));
    let cohesion = |name: &str| {
        let all = genres["genres"].as_array().unwrap();
        all.iter().find(|genre| genre["genre"] == name).unwrap()["cohesion"].clone()
    };
    assert!(cohesion("Jazz").is_null() && cohesion("Punk").is_f64(), "{genres}");
    assert!(fine(sandbox.run(["genres"])).contains('–'));
    let nothing = sandbox.run(["remove", "--missing"]);
    assert!(text(&nothing.stderr).contains("every file of the library is where it was"), "{nothing:?}");
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
    assert!(first["nearest"].as_array().unwrap().iter().all(|near| near["id"] != first["id"]));
    assert!(first["predicted"]["summary"].as_str().unwrap().contains("votes"), "{first}");
    assert!(first["windows"].as_u64().unwrap() > 0);
    assert_eq!(first["cluster"], Value::Null, "nobody has asked for clusters yet");
    assert_eq!(first["places"][0]["state"], "there");
    let page = fine(sandbox.run(["show", &format!("id:{}", first["id"])]));
    for part in ["Ärzte – Zebra (id:", "predicted", "music/b/one.wav (there)", "tags say", "nearest"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let file = sandbox.path("music/b/one.wav");
    fs::OpenOptions::new().append(true).open(&file).unwrap().set_len(100).unwrap();
    assert_eq!(card()["places"][0]["state"], "changed");
    fs::remove_file(&file).unwrap();
    assert_eq!(card()["places"][0]["state"], "gone");
    assert_eq!(
        code(&sandbox.run(["show", "id:99"])),
        if code(&sandbox.run(["similar", "id:99"])) == 1 { 1 } else { 2 }
    );
}

fn ids(answer: &Value) -> Vec<u64> {
    answer["tracks"].as_array().unwrap().iter().map(|track| track["id"].as_u64().unwrap()).collect()
}

#[test]
fn words_find_tracks_by_percentiles_and_what_is_not_understood_is_said() {
    let sandbox = shelf();
    let found = sandbox.run(["find", "calm theremin,", "no voice", "--format", "json"]);
    assert_eq!(code(&found), 0, "{}", text(&found.stderr));
    assert!(text(&found.stderr).contains("not understood and left out: theremin"), "{}", text(&found.stderr));
    let answer = json(&found);
    assert_eq!((ids(&answer).len(), &answer["unknown"][0]), (4, &"theremin".into()));
    let understood = answer["understood"].as_array().unwrap();
    assert_eq!((&understood[0]["word"], &understood[1]["denied"]), (&"calm".into(), &true.into()));
    assert!(understood[1]["tags"].as_array().unwrap().contains(&"male vocalists".into()), "{answer}");
    let fits: Vec<f64> =
        answer["tracks"].as_array().unwrap().iter().map(|t| t["fit"].as_f64().unwrap()).collect();
    assert!(fits.is_sorted_by(|a, b| a >= b) && fits[0] > fits[3], "{fits:?}");
    // Four tracks: each of these percentiles once, unless two are equal.
    let mut shares: Vec<f64> =
        answer["tracks"].as_array().unwrap().iter().map(|t| t["terms"]["calm"].as_f64().unwrap()).collect();
    shares.sort_by(f64::total_cmp);
    assert_eq!(shares, [0.125, 0.375, 0.625, 0.875]);
    // The other way round is the other end.
    let top = |phrase: &str| ids(&fine_json(sandbox.run(["find", phrase, "--format", "json"])));
    assert_eq!(top("not calm"), top("calm").into_iter().rev().collect::<Vec<_>>());

    let nothing = sandbox.run(["find", "theremin"]);
    assert_eq!(code(&nothing), 2);
    assert!(
        text(&nothing.stderr).contains("\"voisin find --words\" lists the "),
        "{}",
        text(&nothing.stderr)
    );
    assert!(text(&nothing.stderr).len() < 160, "not all words: {}", text(&nothing.stderr));
    let misspelt = sandbox.run(["find", "femal voise"]);
    assert!(text(&misspelt.stderr).contains("did you mean female voice"), "{}", text(&misspelt.stderr));
    assert!(fine(sandbox.run(["find", "--words"])).lines().count() > 100);
}

#[test]
fn words_are_filters_and_can_be_added_to() {
    let sandbox = shelf();
    let list = |arguments: &[&str]| {
        let page = sandbox.run([&["list", "--sort", "id", "--format", "json"], arguments].concat());
        ids(&json(&page))
    };
    let (upper, lower) = (list(&["--tag", "rock:50"]), list(&["--not-tag", "rock:50"]));
    assert_eq!((upper.len(), lower.len()), (2, 2));
    assert_eq!(list(&["--tag", "ROCK"]).len(), 1, "the upper fifth");
    assert!(upper.iter().all(|id| !lower.contains(id)));
    let similar = fine_json(sandbox.run([
        "similar",
        "zebra",
        "--include-seed",
        "--tag",
        "rock:50",
        "--format",
        "json",
    ]));
    let neighbours = similar["neighbours"].as_array().unwrap();
    assert!(neighbours.len() == 2 && neighbours.iter().all(|n| upper.contains(&n["id"].as_u64().unwrap())));
    assert_eq!(code(&sandbox.run(["list", "--tag", "theremin"])), 2);
    assert_eq!(code(&sandbox.run(["list", "--tag", "rock:101"])), 2);

    fs::write(sandbox.path("library/words.tsv"), "theremin, spooky\trock\n").unwrap();
    assert_eq!(list(&["--tag", "Spooky:50"]), upper);
    fs::write(sandbox.path("library/words.tsv"), "theremin\tno such tag\n").unwrap();
    let wrong = sandbox.run(["find", "calm"]);
    assert_eq!(code(&wrong), 2);
    assert!(
        text(&wrong.stderr).contains("words.tsv, line 1: expected tags of the model, found \"no such tag\"")
    );
}

#[test]
fn words_are_shown_and_exported() {
    let sandbox = shelf();
    let cards = fine_json(sandbox.run(["show", "id:1", "id:2", "id:3", "id:4", "--format", "json"]));
    let words: Vec<&Value> =
        cards.as_array().unwrap().iter().flat_map(|c| c["words"].as_array().unwrap()).collect();
    assert!(!words.is_empty() && words.iter().all(|word| word["percentile"].as_f64().unwrap() >= 0.75));
    assert!(fine(sandbox.run(["list", "--tag", "rock:0"])).lines().next().unwrap().contains("words"));
    fine(sandbox.run(["export", sandbox.path("out").to_str().unwrap()]));
    let tags = fs::read_to_string(sandbox.path("out/tags.csv")).unwrap();
    assert!(tags.starts_with("id,rock,pop,") && tags.lines().count() == 5, "{tags}");
    assert!(tags.lines().all(|line| line.split(',').count() == 51));
}

#[test]
fn a_model_without_tags_says_which_has_them() {
    let sandbox = Sandbox::new();
    let music = sandbox.path("music");
    sound(&music.join("a.wav"), 1, &[("TIT2", "A")]);
    fine(sandbox.run(["add", "--model", "voisin-2", music.to_str().unwrap()]));
    for arguments in [&["find", "calm"][..], &["list", "--tag", "calm"]] {
        let run = sandbox.run(arguments);
        assert_eq!(code(&run), 2);
        assert!(
            text(&run.stderr).contains("voisin-2 has no tags") && text(&run.stderr).contains("musicnn-msd")
        );
    }
    let card = &fine_json(sandbox.run(["show", "id:1", "--format", "json"]))[0];
    assert_eq!(card["words"].as_array().unwrap().len(), 0);
}

/// A model that was given by its file is found again; where the file is gone, what needs no model goes on.
#[test]
fn a_model_given_by_its_file_is_used_by_every_verb() {
    let sandbox = Sandbox::new();
    let (music, models) = (sandbox.path("music"), sandbox.path("elsewhere"));
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
        sound(&music.join(format!("{seed}.wav")), seed, &[("TIT2", "A"), ("TCON", genre)]);
    }
    let (manifest, at) = (manifest.to_str().unwrap(), music.to_str().unwrap());
    fine(sandbox.run(["add", "--model", manifest, at]));
    let out = sandbox.path("out");
    let out = out.to_str().unwrap();
    let map = sandbox.path("map.csv");
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
        &["outliers"],
        &["playlist", "id:1"],
    ];
    let file = music.join("1.wav");
    let listening = [&["find", "calm"][..], &["verify", "--deep"], &["add", at, "--force"]];
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
    let told = sandbox.run(["similar", file.to_str().unwrap()]);
    let said = text(&told.stderr);
    assert!(
        code(&told) == 2 && said.contains("my-own") && said.contains("name its file with --model"),
        "{said}"
    );
}

#[test]
fn a_backup_is_whole_and_overwrites_nothing() {
    let sandbox = shelf();
    let file = sandbox.path("copy/voisin.db");
    fs::create_dir(sandbox.path("copy")).unwrap();
    let name = file.to_str().unwrap();
    assert!(fine(sandbox.run(["backup", name])).contains("4 tracks and 4 files"));
    let before = fs::read(&file).unwrap();
    let again = sandbox.run(["backup", name]);
    assert_eq!(code(&again), 2);
    assert!(text(&again.stderr).contains("is there already"), "{}", text(&again.stderr));
    assert_eq!(fs::read(&file).unwrap(), before);
    fine(sandbox.run(["backup", name, "--force"]));
    // Nothing but the copy is left beside it.
    assert_eq!(fs::read_dir(sandbox.path("copy")).unwrap().count(), 1);
    let copied =
        ["list", "--library", sandbox.path("copy").to_str().unwrap(), "--format", "json"].map(str::to_owned);
    assert_eq!(fine_json(sandbox.run(copied)), fine_json(sandbox.run(["list", "--format", "json"])));
}

#[test]
fn a_moved_folder_keeps_its_tracks() {
    let sandbox = shelf();
    let (old, new) = (sandbox.path("music"), sandbox.path("elsewhere/deep"));
    let [from, to] = [old.to_str().unwrap(), new.to_str().unwrap()];
    let refused = sandbox.run(["relocate", from, to]);
    assert_eq!(code(&refused), 2, "nothing was moved yet");
    assert!(text(&refused.stderr).contains("none of the 4 files is below"), "{}", text(&refused.stderr));
    fs::create_dir_all(new.parent().unwrap()).unwrap();
    fs::rename(&old, &new).unwrap();
    fs::remove_file(new.join("a/four.wav")).unwrap();
    assert_eq!(code(&sandbox.run(["relocate", "/no/such/folder", to])), 2);
    let vectors = sandbox.vectors();
    let planned = fine(sandbox.run(["relocate", from, to, "--dry-run"]));
    assert!(planned.contains("would move 4 files, of which 3 are there"), "{planned}");
    let paths = || fine(sandbox.run(["list", "--sort", "path", "--format", "paths"]));
    assert!(paths().lines().all(|path| path.starts_with(from)));
    assert!(fine(sandbox.run(["relocate", from, to])).contains("moved 4 files"));
    assert!(paths().lines().all(|path| path.starts_with(to) && !path.contains("//")), "{}", paths());
    let again = fine_json(sandbox.run(["add", to, "--format", "json"]));
    assert_eq!((&again["unchanged"], &again["added"]), (&3.into(), &0.into()));
    assert_eq!(sandbox.vectors(), vectors);
    fine(sandbox.run(["verify"]));
}

#[test]
fn patterns_keep_files_out() {
    let sandbox = Sandbox::new();
    let music = sandbox.path("music");
    for (seed, name) in
        ["keep.wav", "Podcasts/one.wav", "live/tape.wav", "live/best.wav", "live/deep/raw.wav"]
            .iter()
            .enumerate()
    {
        sound(&music.join(name), seed as u64 + 1, &[]);
    }
    sound(&sandbox.path("other/x.wav"), 9, &[]);
    fine(sandbox.run(["add", sandbox.path("other").to_str().unwrap()]));
    fs::write(music.join("live/.voisinignore"), "# rough takes\n*.wav\n!best.wav\n").unwrap();
    let add = |more: &[&str]| {
        sandbox.run([&["add", music.to_str().unwrap(), "--dry-run", "--format", "json"], more].concat())
    };
    assert_eq!(fine_json(add(&[]))["added"], 3);
    assert_eq!(fine_json(add(&["--exclude", "podcasts/"]))["added"], 3, "patterns know case, as git's do");
    assert_eq!(fine_json(add(&["--exclude", "Podcasts/"]))["added"], 2);
    assert_eq!(fine_json(add(&["--exclude", "Podcasts/", "--exclude", "/keep.*"]))["added"], 1);
}

#[cfg(unix)]
#[test]
fn watching_survives_bursts_renames_and_folders_that_go_and_come() {
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    let sandbox = Sandbox::new();
    let music = sandbox.path("music");
    sound(&music.join("a/one.wav"), 1, &[("TIT2", "One")]);
    let log = fs::File::create(sandbox.path("log")).unwrap();
    let mut watch = sandbox
        .command(["watch", music.to_str().unwrap(), "--exclude", "skipped/"])
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    let said = || fs::read_to_string(sandbox.path("log")).unwrap();
    let paths = || {
        let run = sandbox.run(["list", "--sort", "path", "--format", "paths", "--quiet"]);
        text(&run.stdout).lines().map(|path| path.rsplit('/').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let wait_for = |expected: &[&str]| {
        let start = Instant::now();
        while paths() != expected {
            assert!(
                start.elapsed() < Duration::from_mins(2),
                "{:?}, expected {expected:?}: {}",
                paths(),
                said()
            );
            std::thread::sleep(Duration::from_millis(300));
        }
    };
    wait_for(&["one.wav"]);
    // Ten thousand changes, and one of them is music.
    for i in 0..10_000 {
        fs::write(music.join(format!("a/{i}.tmp")), b"").unwrap();
    }
    sound(&music.join("b/two.wav"), 2, &[("TIT2", "Two")]);
    sound(&music.join("skipped/three.wav"), 3, &[]);
    wait_for(&["one.wav", "two.wav"]);
    // Another run may write in between: the lock is held only while there is work.
    let start = Instant::now();
    loop {
        let run = sandbox.run(["add", music.join("b").to_str().unwrap(), "--format", "json"]);
        if code(&run) == 0 {
            assert_eq!(json(&run)["unchanged"], 1);
            break;
        }
        assert!(start.elapsed() < Duration::from_mins(1), "{}", text(&run.stderr));
    }
    fs::rename(music.join("b/two.wav"), music.join("b/zwei.wav")).unwrap();
    wait_for(&["one.wav", "zwei.wav"]);
    // The whole folder goes, as when a disk is unmounted, and comes back with more.
    fs::rename(&music, sandbox.path("unmounted")).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(paths(), ["one.wav", "zwei.wav"]);
    sound(&sandbox.path("unmounted/b/drei.wav"), 4, &[]);
    fs::rename(sandbox.path("unmounted"), &music).unwrap();
    wait_for(&["one.wav", "drei.wav", "zwei.wav"]);
    assert!(watch.try_wait().unwrap().is_none(), "{}", said());
    assert!(Command::new("kill").args(["-INT", &watch.id().to_string()]).status().unwrap().success());
    let start = Instant::now();
    let ended = loop {
        if let Some(status) = watch.try_wait().unwrap() {
            break status;
        }
        assert!(start.elapsed() < Duration::from_mins(1), "{}", said());
        std::thread::sleep(Duration::from_millis(100));
    };
    assert_eq!(ended.code(), Some(0), "{}", said());
    assert!(said().contains("no longer watching"), "{}", said());
}

#[test]
fn a_playlist_has_a_name_two_tracks_an_artist_and_a_file_that_is_not_overwritten() {
    let sandbox = Sandbox::new();
    let music = sandbox.path("music");
    for seed in 1..=8 {
        let artist =
            if seed <= 5 { "Same" } else { ["Other", "Third & <Fourth>", "Fifth"][seed as usize - 6] };
        sound(&music.join(format!("{seed}.wav")), seed, &[("TPE1", artist), ("TIT2", &format!("T{seed}"))]);
    }
    fine(sandbox.run(["add", music.to_str().unwrap()]));
    let by_same = |more: &[&str]| {
        let list = fine(sandbox.run([&["playlist", "--seed", "id:1", "--format", "m3u8"], more].concat()));
        (list.lines().filter(|line| line.starts_with("#EXTINF") && line.contains("Same")).count(), list)
    };
    assert_eq!(by_same(&[]).0, 2);
    assert_eq!(by_same(&["--max-per-artist", "0"]).0, 5);
    assert!(by_same(&["--name", "Late\nnight"]).1.contains("#PLAYLIST:Late night\n"));
    let file = sandbox.path("list.xml");
    let write = |more: &[&str]| {
        let name = file.to_str().unwrap();
        sandbox.run(
            [
                &["playlist", "--seed", "id:1", "--name", "A&B", "--format", "rekordbox", "--output", name],
                more,
            ]
            .concat(),
        )
    };
    assert_eq!(fine(write(&[])), "");
    let first = fs::read_to_string(&file).unwrap();
    assert!(
        first.contains("<NODE Name=\"A&amp;B\" Type=\"1\"") && first.contains("Third &amp; &lt;Fourth&gt;"),
        "{first}"
    );
    assert_eq!(first.matches("<TRACK TrackID").count(), 5);
    let again = write(&["--tracks", "2"]);
    assert_eq!((code(&again), fs::read_to_string(&file).unwrap()), (2, first));
    assert!(text(&again.stderr).contains("--force"));
    fine(write(&["--tracks", "2", "--force"]));
    assert_eq!(fs::read_to_string(&file).unwrap().matches("<TRACK TrackID").count(), 2);
    let nml = fine(sandbox.run(["playlist", "--seed", "id:1", "--format", "traktor"]));
    assert!(nml.contains("<PRIMARYKEY TYPE=\"TRACK\"") && nml.matches("FILE=\"").count() == 5, "{nml}");
    assert_eq!(code(&sandbox.run(["playlist", "--seed", "id:1", "--format", "json", "--output", "x"])), 2);
}

/// The samples of a long file: three sounds of six seconds.
fn long_wav() -> Vec<u8> {
    let sound = |seed| noise_wav(16_000, 6.0, seed)[44..].to_vec();
    let samples = [sound(1), sound(2), sound(3)].concat();
    [&noise_wav(16_000, 18.0, 1)[..44], &samples].concat()
}

/// A FLAC file of 14 seconds; with a sheet of three parts inside of it, as a block or (true) as a comment.
fn flac_with_sheet(comment: Option<bool>) -> Vec<u8> {
    let name = "data/demo/library/folk/omri-lahav-an-old-warhorse-goes-to-pasture.flac";
    let file = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
    let size = |at: usize| u32::from_be_bytes([0, file[at + 1], file[at + 2], file[at + 3]]) as usize;
    let head = |kind: u8, block: &[u8]| [&[kind], &(block.len() as u32).to_be_bytes()[1..]].concat();
    match comment {
        None => file,
        Some(false) => {
            let rate = u64::from(u32::from_be_bytes([0, file[18], file[19], file[20]]) >> 4);
            let mut block = vec![0; 395];
            block.push(4);
            for (number, second) in [(1, 0), (2, 4), (3, 8), (170, 14)] {
                block.extend((rate * second).to_be_bytes());
                block.push(number);
                block.extend([0; 26]);
                block.push(u8::from(number != 170));
                block.extend(if number == 170 { &[][..] } else { &[0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0] });
            }
            [&file[..42], &head(5, &block), &block, &file[42..]].concat()
        }
        Some(true) => {
            let mut at = 42;
            while file[at] & 0x7f != 4 {
                at += 4 + size(at);
            }
            let (mut block, rest) = (file[at + 4..at + 4 + size(at)].to_vec(), &file[at + 4 + size(at)..]);
            let count = 4 + u32::from_le_bytes(block[..4].try_into().unwrap()) as usize;
            block[count] += 1;
            let sheet = "CUESHEET=FILE \"image.wav\" WAVE\nTRACK 01 AUDIO\nTITLE First\nINDEX 01 00:00:00\n\
                TRACK 02 AUDIO\nTITLE Second\nINDEX 01 00:04:00\nTRACK 03 AUDIO\nTITLE Third\nINDEX 01 00:08:00";
            block.extend((sheet.len() as u32).to_le_bytes());
            block.extend(sheet.as_bytes());
            [&file[..at], &head(file[at], &block), &block, rest].concat()
        }
    }
}

const SHEET: &[u8] =
    b"REM GENRE Dub\r\nREM DATE 1999\r\nPERFORMER \"DJ Caf\xe9\"\r\nTITLE \"One \x96 Mix\"\r\n\
    FILE \"ALBUM.WAV\" WAVE\r\n  TRACK 01 AUDIO\r\n    TITLE \"First\"\r\n    INDEX 01 00:00:00\r\n\
      TRACK 02 AUDIO\r\n    TITLE \"Second\"\r\n    PERFORMER \"Else\"\r\n    INDEX 00 00:05:00\r\n    \
    INDEX 01 00:06:00\r\n  TRACK 03 AUDIO\r\n    TITLE \"Third\"\r\n    INDEX 01 00:12:00\r\n";

#[test]
fn a_long_file_with_a_sheet_is_its_parts() {
    let sandbox = Sandbox::new();
    let music = sandbox.path("music");
    let (mix, single) = (music.join("Techno/mix"), music.join("single"));
    fs::create_dir_all(&mix).unwrap();
    fs::create_dir_all(&single).unwrap();
    fs::write(mix.join("album.wav"), long_wav()).unwrap();
    let sheet = mix.join("album.cue");
    fs::write(&sheet, SHEET).unwrap();
    // The second sound by itself.
    fs::write(single.join("alone.wav"), noise_wav(16_000, 6.0, 2)).unwrap();
    let add = || sandbox.run(["add", music.to_str().unwrap(), "--format", "json"]);
    assert_eq!(fine_json(add())["added"], 4);
    assert_eq!(fine_json(add())["unchanged"], 4);

    let page = fine_json(sandbox.run(["list", "--sort", "path", "--format", "json"]));
    let tracks = page["tracks"].as_array().unwrap();
    let paths: Vec<&str> = tracks.iter().map(|track| track["path"].as_str().unwrap()).collect();
    let part = |number: &str| sheet.join(number).to_str().unwrap().to_owned();
    assert_eq!(paths[..3], [part("01"), part("02"), part("03")]);
    for (track, (artist, title)) in
        tracks.iter().zip([("DJ Caf\u{e9}", "First"), ("Else", "Second"), ("DJ Caf\u{e9}", "Third")])
    {
        assert_eq!((&track["artist"], &track["title"]), (&artist.into(), &title.into()));
        assert_eq!((&track["album"], &track["seconds"]), (&"One \u{2013} Mix".into(), &6.0.into()));
        assert_eq!((&track["year"], &track["genres"][0]), (&1999.into(), &"Dub".into()));
    }

    // A part sounds like the same music by itself, and is named by path, number, words and its sheet.
    let similarity = |seed: &str, to: &str| {
        let line = ["similar", seed, "--include-seed", "--limit", "2", "--format", "json"];
        let found = fine_json(sandbox.run(line));
        let mut found = found["neighbours"].as_array().unwrap().clone();
        found.retain(|track| track["path"] == to);
        found[0]["similarity"].as_f64().unwrap()
    };
    let alone = single.join("alone.wav").to_str().unwrap().to_owned();
    for seed in [part("02"), format!("id:{}", tracks[1]["id"]), "else second".to_owned()] {
        assert!(similarity(&seed, &alone) > 0.9999, "{seed}");
    }
    let line = ["similar", sheet.to_str().unwrap(), "--include-seed", "--format", "json"];
    let of_sheet = fine_json(sandbox.run(line));
    assert_eq!(
        (&of_sheet["seeds"].as_array().unwrap().len(), of_sheet["neighbours"].as_array().unwrap().len()),
        (&3, 4)
    );
    assert_eq!(titles(&sandbox, &["--folder", mix.to_str().unwrap()]).len(), 3);

    // Players get the file and the times; a bare path leads back to the very part.
    let list = |format: &str| {
        fine(sandbox.run(["list", "second", "--format", format, "--folder", mix.to_str().unwrap()]))
    };
    let file = mix.join("album.wav").to_str().unwrap().to_owned();
    let m3u8 = list("m3u8");
    let options = "#EXTVLCOPT:start-time=6.000\n#EXTVLCOPT:stop-time=12.000\n";
    assert!(m3u8.contains(&format!("{options}{file}\n")), "{m3u8}");
    let xspf = list("xspf");
    assert!(
        xspf.contains("<vlc:option>start-time=6.000</vlc:option>") && xspf.contains("album.wav"),
        "{xspf}"
    );
    let jspf: Value = serde_json::from_str(&list("jspf")).unwrap();
    let track = &jspf["playlist"]["track"][0];
    assert_eq!(
        track["extension"]["http://www.videolan.org/vlc/playlist/0"][0]["option"][1],
        "stop-time=12.000"
    );
    assert!(list("rekordbox").contains("Start=\"6.000\"") && list("traktor").contains("START=\"6000.000\""));
    let bare = list("paths");
    assert_eq!(bare.trim_end(), part("02"));
    assert!(similarity(bare.trim_end(), &alone) > 0.9999);

    let card = &fine_json(sandbox.run(["show", &part("03"), "--format", "json"]))[0];
    let place = &card["places"][0];
    assert_eq!((&place["state"], &place["bytes"]), (&"there".into(), &0.into()));
    assert_eq!(place["part"], serde_json::json!({"file": file, "from": 12.0, "to": null}));
    let shown = fine(sandbox.run(["show", &part("02")]));
    assert!(shown.contains("album.wav, 0:06 to 0:12"), "{shown}");

    // Its genre can be a label of its own, and a folder's name, but never a tag of the long file.
    fine(sandbox.run(["labels", "set", &part("02"), "Ambient"]));
    let written = sandbox.run(["classify", &part("02"), "--write-tags", "--format", "json", "--overwrite"]);
    assert_eq!((code(&written), &json(&written)[0]["outcome"]), (1, &"failed".into()));
    assert!(
        json(&written)[0]["reason"].as_str().unwrap().contains("voisin labels set"),
        "{}",
        text(&written.stdout)
    );
    assert_eq!(fs::read(mix.join("album.wav")).unwrap(), long_wav());
    let folders = fine_json(sandbox.run(["labels", "folder", "--format", "json"]));
    assert!(
        folders.to_string().to_lowercase().contains("\"mix\"") && !folders.to_string().contains("cue"),
        "{folders}"
    );
    fine(sandbox.run(["verify", "--deep"]));
    fine(sandbox.run([
        "embed",
        sheet.to_str().unwrap(),
        "--output",
        sandbox.path("vectors").to_str().unwrap(),
    ]));
    assert_eq!(fs::read_dir(sandbox.path("vectors")).unwrap().count(), 3);

    // A sheet that changed: another title, and a part less.
    let shorter = text(SHEET).replace("Second", "Zweiter").replace("TITLE \"Third\"", "");
    let shorter = shorter.split("  TRACK 03").next().unwrap();
    fs::write(&sheet, shorter).unwrap();
    let changed = fine_json(add());
    assert_eq!((&changed["gone"], &changed["failed"]), (&1.into(), &0.into()), "{changed}");
    assert_eq!(titles(&sandbox, &["zweiter"]), ["Zweiter"]);
    fine(sandbox.run(["remove", sheet.to_str().unwrap()]));
    let left = fine_json(sandbox.run(["list", "--format", "json"]));
    assert_eq!((&left["total"], &left["tracks"][0]["path"]), (&1.into(), &alone.into()));
    fine_json(add());
    assert_eq!(titles(&sandbox, &["--folder", mix.to_str().unwrap()]).len(), 2);
}

/// A FLAC file that a sheet was not in before is its parts as if the sheet had always been there.
#[test]
fn parts_take_the_place_of_the_whole_that_came_first() {
    let sandbox = Sandbox::new();
    let music = sandbox.path("music");
    fs::create_dir_all(&music).unwrap();
    let (wav, flac) = (music.join("album.wav"), music.join("image.flac"));
    fs::write(&wav, long_wav()).unwrap();
    fs::write(&flac, flac_with_sheet(None)).unwrap();
    let add = |more: &[&str]| {
        let line = [&["add", music.to_str().unwrap(), "--format", "json"], more].concat();
        sandbox.run(line)
    };
    assert_eq!(fine_json(add(&[]))["added"], 2);
    for whole in [&wav, &flac] {
        fine(sandbox.run(["labels", "set", whole.to_str().unwrap(), "Dub"]));
    }
    fs::write(music.join("album.cue"), SHEET).unwrap();
    fs::write(&flac, flac_with_sheet(Some(false))).unwrap();

    let tried = add(&["--dry-run"]);
    let said = text(&tried.stderr);
    assert!(
        said.contains("album.wav would make way for its 3 parts") && said.contains("image.flac would"),
        "{said}"
    );
    let replaced = add(&[]);
    let said = text(&replaced.stderr);
    assert_eq!(
        (&fine_json(&replaced)["added"], &json(&replaced)["removed"]),
        (&6.into(), &2.into()),
        "{said}"
    );
    assert!(said.contains("image.flac was added as one track before its CUE sheet: its 3 parts took its place and keep its label, Dub"), "{said}");
    let page = fine_json(sandbox.run(["list", "--sort", "path", "--format", "json"]));
    let tracks = page["tracks"].as_array().unwrap();
    assert_eq!(tracks.len(), 6);
    assert!(tracks.iter().all(|track| track["genres"] == serde_json::json!(["Dub"])), "{page}");
    let part = flac.join("02");
    assert_eq!((&tracks[4]["path"], &tracks[4]["seconds"]), (&part.to_str().unwrap().into(), &4.0.into()));
    assert_eq!(tracks[4]["artist"], "Omri Lahav", "what a block does not tell comes from the file");
    let card = &fine_json(sandbox.run(["show", part.to_str().unwrap(), "--format", "json"]))[0];
    assert_eq!(card["places"][0]["part"], serde_json::json!({"file": flac, "from": 4.0, "to": 8.0}));
    let m3u8 = fine(sandbox.run(["list", "--folder", flac.to_str().unwrap(), "--format", "m3u8"]));
    assert_eq!(m3u8.matches("image.flac\n").count(), 3, "{m3u8}");
    fine(sandbox.run(["verify", "--deep"]));
    assert_eq!(fine_json(add(&[]))["unchanged"], 6);

    // A comment has titles, and what is heard is the same.
    fs::write(&flac, flac_with_sheet(Some(true))).unwrap();
    let named = fine_json(add(&[]));
    assert_eq!((&named["added"], &named["updated"]), (&0.into(), &3.into()));
    assert_eq!(
        titles(&sandbox, &["--folder", flac.to_str().unwrap(), "--sort", "path"]),
        ["First", "Second", "Third"]
    );
    // The whole is the file, where it is named; and without the sheet it is one track again.
    fine(sandbox.run(["similar", flac.to_str().unwrap()]));
    let out = sandbox.path("vectors");
    fine(sandbox.run(["embed", music.to_str().unwrap(), "--output", out.to_str().unwrap(), "--hop", "1"]));
    let made = |folder: &str| fs::read_dir(out.join(folder)).unwrap().count();
    assert_eq!((made("album.cue"), made("image.flac")), (3, 3));
    fs::write(&flac, flac_with_sheet(None)).unwrap();
    let whole = fine_json(add(&["--remove-missing"]));
    assert_eq!((&whole["added"], &whole["removed"]), (&1.into(), &3.into()));
}

#[test]
fn sheets_that_make_no_sense_are_told_in_one_line_each() {
    let sandbox = Sandbox::new();
    let music = sandbox.path("music");
    fs::create_dir_all(&music).unwrap();
    fs::write(music.join("album.wav"), long_wav()).unwrap();
    let two = "FILE album.wav WAVE\nTRACK 01 AUDIO\nINDEX 01 00:00:00\nTRACK 02 AUDIO\nINDEX 01 ";
    let sheets: [(&str, Vec<u8>, &str); 6] = [
        ("a-time.cue", format!("{two}00:61:00").into_bytes(), "line 5: expected a time such as 03:25:74"),
        ("b-gone.cue", format!("{two}00:06:00").replace("album", "../gone").into_bytes(), "found no"),
        ("c-large.cue", vec![b'x'; 2 << 20], "expected at most 1 MB"),
        ("d-bytes.cue", (0..=255).cycle().take(10_000).collect(), "expected FILE, TRACK and INDEX 01 lines"),
        (
            "e-disc.cue",
            b"FILE \"image.bin\" BINARY\nTRACK 01 AUDIO\nINDEX 01 00:00:00".to_vec(),
            "a disc's data",
        ),
        ("f-empty.cue", Vec::new(), "expected FILE, TRACK and INDEX 01 lines"),
    ];
    for (name, bytes, _) in &sheets {
        fs::write(music.join(name), bytes).unwrap();
    }
    #[cfg(unix)]
    assert!(std::process::Command::new("mkfifo").arg(music.join("g-pipe.cue")).status().unwrap().success());
    let add = || sandbox.run(["add", music.to_str().unwrap(), "--format", "json"]);
    let first = add();
    // The long file is one track: no sheet that makes sense says otherwise.
    assert_eq!((code(&first), &json(&first)["added"], &json(&first)["failed"]), (1, &1.into(), &6.into()));
    let failed = fine_json(sandbox.run(["failed", "--format", "json"]));
    for (name, _, expected) in &sheets {
        let of: Vec<_> = failed
            .as_array()
            .unwrap()
            .iter()
            .filter(|one| one["path"].as_str().unwrap().ends_with(name))
            .collect();
        let reason = of[0]["reason"].as_str().unwrap();
        assert!(of.len() == 1 && reason.contains(expected) && !reason.contains('\n'), "{name}: {reason}");
    }
    assert_eq!(fine_json(add())["skipped"], 6, "what has not changed is not tried again");

    // A part behind the end of its file fails by itself; a sheet that is mended is no failure any more.
    fs::write(music.join("a-time.cue"), format!("{two}00:59:00")).unwrap();
    let behind = add();
    assert_eq!(
        (&json(&behind)["added"], &json(&behind)["failed"]),
        (&1.into(), &1.into()),
        "{}",
        text(&behind.stderr)
    );
    let reasons = fine(sandbox.run(["failed"]));
    assert!(reasons.contains("begins within the 18.0 s of"), "{reasons}");
    assert_eq!(json(&behind)["removed"], 1, "the part that is there stands for the long file");
    fs::write(music.join("a-time.cue"), format!("{two}00:06:00")).unwrap();
    let mended = add();
    assert_eq!((&fine_json(&mended)["added"], &json(&mended)["removed"]), (&2.into(), &1.into()));
    let failed = fine_json(sandbox.run(["failed", "--format", "json"]));
    assert!(!failed.to_string().contains("a-time.cue"), "{failed}");
    // One that is named is told, too.
    let named = sandbox.run(["similar", music.join("b-gone.cue").to_str().unwrap()]);
    assert_eq!(code(&named), 1, "{}", text(&named.stderr));
}
