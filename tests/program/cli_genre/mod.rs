//! The genre verbs as a process, on small synthetic libraries: audio is decoded only where tags are written.

// A test may fail by a panic.
#![allow(clippy::unwrap_used)]

use crate::common;
mod evidence;
mod labels;
mod remembered;
pub(crate) mod shelf;
mod writing;

use std::fs;
use std::path::Path;

use common::{Sandbox, code, json, text};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::Value;
use shelf::{D, Shelf, tags};

const AUDIO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/audio");

#[test]
fn a_head_is_as_accurate_in_any_order_of_tracks() {
    let mut rng = StdRng::seed_from_u64(11);
    // Two styles that overlap, four tracks an artist: the folds estimate the accuracy.
    let tracks: Vec<(usize, Vec<f32>)> = (0..64)
        .map(|i| {
            let at = |j| f32::from(u8::from(j == i % 2)) + 2.5 * (rng.random::<f32>() - 0.5);
            (i, (0..D).map(at).collect())
        })
        .collect();
    let quality = |order: &[usize]| {
        let sandbox = Sandbox::new();
        let mut shelf = Shelf::new(&sandbox);
        for &at in order {
            let (i, vector) = &tracks[at];
            let artist = format!("Artist {} {}", i % 2, i / 8);
            shelf.put_vector(
                Path::new(&format!("/music/{i}.mp3")),
                vector,
                &format!("Genre {}", i % 2),
                &artist,
            );
        }
        let trained = json(sandbox.run(["train", "--format", "json"]));
        ["accuracy", "vote_accuracy", "head_accuracy"].map(|part| trained["quality"][part].clone())
    };
    let forwards: Vec<usize> = (0..tracks.len()).collect();
    let first = quality(&forwards);
    assert!(
        first[0]
            .as_f64()
            .is_some_and(|right| (0.5..0.99).contains(&right)),
        "{first:?}"
    );
    let backwards: Vec<usize> = forwards.iter().rev().copied().collect();
    let shuffled: Vec<usize> = forwards.iter().map(|i| i * 37 % 64).collect();
    assert_eq!(
        [quality(&backwards), quality(&shuffled)],
        [first.clone(), first]
    );
}

#[test]
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
    // A head of the library's labels does not answer for another source.
    let others = [
        "classify",
        "id:1",
        "--label-from",
        "folder",
        "--precision",
        "0.9",
    ];
    let stderr = text(&sandbox.run(others).stderr);
    let next = "\"voisin train --label-from folder\" trains one";
    assert_eq!(stderr.matches(next).count(), 2, "{stderr}");
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
    let settings = ["penalty", "calibration error"];
    assert!(
        settings.iter().all(|word| !stdout.contains(word)),
        "{stdout}"
    );
    let verbose = text(&sandbox.run(["-v", "train"]).stderr);
    assert!(
        settings.iter().all(|word| verbose.contains(word)),
        "{verbose}"
    );
    let headless = text(&sandbox.run(["train", "--min-tracks", "1000"]).stdout);
    assert!(
        headless.contains("head:     none") && !headless.contains("head alone"),
        "{headless}"
    );
    let evaluated = text(
        &sandbox
            .run([
                "lab",
                "eval",
                "genre",
                "--repeats",
                "1",
                "--min-tracks",
                "1000",
            ])
            .stdout,
    );
    assert!(
        evaluated.contains("the vote of neighbours alone")
            && !evaluated.contains("the trained head"),
        "{evaluated}"
    );
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
    let stranger = &answers[100];
    assert_eq!(
        (&stranger["genre"], &stranger["unknown"]),
        (&Value::Null, &"novel".into())
    );
    assert!(!stranger["kin"].as_array().unwrap().is_empty());
    let words = text(&sandbox.run(["classify", "id:101"]).stdout);
    assert!(
        words.contains("unknown: unlike anything labelled here; nearest to"),
        "{words}"
    );
    let words = text(&sandbox.run(["classify", "id:1"]).stdout);
    assert!(
        words.contains("Genre 0 (") && words.contains("head:") && words.contains("neighbours:"),
        "{words}"
    );
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

    // a head of other vectors is refused, and the neighbours still answer
    let path = sandbox.path("library/genre.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 2;
    bytes[last] ^= 0x10;
    fs::write(&path, bytes).unwrap();
    let damaged = sandbox.run(["classify", "id:20", "--format", "json"]);
    assert!(
        text(&damaged.stderr).contains("checksum")
            && text(&damaged.stderr).contains("voisin train")
    );
    assert_eq!(code(&damaged), 0);
    let head = json(sandbox.run(["status", "--format", "json"]))["genre_head"].clone();
    assert_eq!(
        head["retrain"], false,
        "the owner chooses the labels of training"
    );
    assert!(
        head["problem"].as_str().unwrap().contains("checksum"),
        "{head}"
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
fn labels_come_from_folders_and_files_too() {
    let sandbox = Sandbox::new();
    let mut shelf = Shelf::new(&sandbox);
    shelf.fill(3, 18, 0.7);
    let genres = |arguments: &[&str]| -> Vec<(String, u64)> {
        let output = sandbox.run([&["genres", "--format", "json"], arguments].concat());
        assert_eq!(code(&output), 0, "{}", text(&output.stderr));
        json(&output)["genres"]
            .as_array()
            .unwrap()
            .iter()
            .map(|g| {
                (
                    g["genre"].as_str().unwrap().to_owned(),
                    g["tracks"].as_u64().unwrap(),
                )
            })
            .collect()
    };
    let named = |names: [&str; 3]| names.map(|n| (n.to_owned(), 18)).to_vec();
    assert_eq!(genres(&[]), named(["Genre 0", "Genre 1", "Genre 2"]));
    assert_eq!(
        genres(&["--label-from", "folder"]),
        named(["genre 0", "genre 1", "genre 2"])
    );

    // relative paths, an absolute one, two labels in a cell, and a line that names nothing
    let file = sandbox.path("labels.csv");
    let mut csv =
        String::from("path,genre\n/music/genre 0/000.mp3,Ska; Dub\ngenre 1/nowhere.mp3,Ska\n");
    for i in 1..54 {
        csv += &format!(
            "genre {}/{i:03}.mp3,{}\n",
            i % 3,
            ["Ska", "Dub", "Zouk"][i % 3]
        );
    }
    fs::write(&file, csv).unwrap();
    let file = file.to_str().unwrap();
    let found = genres(&["--label-from", file]);
    assert_eq!(
        found,
        [
            ("Dub".to_owned(), 19),
            ("Ska".to_owned(), 18),
            ("Zouk".to_owned(), 18)
        ]
    );

    let trained = sandbox.run(["train", "--label-from", file]);
    assert_eq!(code(&trained), 0, "{}", text(&trained.stderr));
    assert!(text(&trained.stderr).contains("1 line of the label file named no track"));
    // the head's own labels are the default from now on
    let answer = &json(sandbox.run(["classify", "id:5", "--format", "json"]))[0];
    assert_eq!(
        (&answer["best"], &answer["evidence"][0]["genre"]),
        (&"Dub".into(), &"Dub".into())
    );
    let other = sandbox.run([
        "classify",
        "id:5",
        "--label-from",
        "tags",
        "--format",
        "json",
    ]);
    assert!(text(&other.stderr).contains("neighbours vote alone"));
    assert_eq!(json(&other)[0]["genre"], "Genre 1");

    let missing = sandbox.run(["genres", "--label-from", "/no/such.csv"]);
    assert_eq!(code(&missing), 2);
    assert!(text(&missing.stderr).contains("tags, folder or the path of a CSV file"));
    fs::write(sandbox.path("bad.csv"), "file,style\na,b\n").unwrap();
    let bad = sandbox.run([
        "genres",
        "--label-from",
        sandbox.path("bad.csv").to_str().unwrap(),
    ]);
    assert!(
        text(&bad.stderr).contains("path and genre"),
        "{}",
        text(&bad.stderr)
    );

    // a user's synonyms join genres
    fs::write(
        sandbox.path("library/genre-synonyms.tsv"),
        "Genre 1\tGenre 0\n",
    )
    .unwrap();
    let by_tags = genres(&["--label-from", "tags"]);
    assert_eq!(
        by_tags,
        [("Genre 0".to_owned(), 36), ("Genre 2".to_owned(), 18)]
    );
    // without an option, labels come from the head's source
    assert_eq!(genres(&[]), found);
}

#[test]
fn a_head_of_folders_is_used_in_a_library_without_tags() {
    let sandbox = Sandbox::new();
    let mut shelf = Shelf::new(&sandbox);
    for i in 0..54 {
        shelf.put(
            Path::new(&format!("/music/style {}/{i:03}.mp3", i % 3)),
            i % 3,
            "",
            0.7,
        );
    }
    // nothing is labelled: neither neighbours nor a precision are available
    let neighbours = sandbox.run(["classify", "id:5"]);
    assert_eq!(code(&neighbours), 1);
    let message = text(&neighbours.stderr);
    assert!(message.contains("no labelled track"), "{message}");
    let precision = sandbox.run(["classify", "id:5", "--precision", "0.9"]);
    assert_eq!(code(&precision), 2);
    assert!(
        text(&precision.stderr).contains("voisin train"),
        "{}",
        text(&precision.stderr)
    );

    assert_eq!(code(&sandbox.run(["train", "--label-from", "folder"])), 0);
    let classified = sandbox.run(["classify", "id:5", "--format", "json"]);
    assert_eq!(code(&classified), 0, "{}", text(&classified.stderr));
    assert!(
        !text(&classified.stderr).contains("first guess"),
        "{}",
        text(&classified.stderr)
    );
    let answer = &json(&classified)[0];
    assert_eq!(
        (&answer["source"], &answer["genre"]),
        (&"head".into(), &"style 1".into())
    );
    for verb in [
        &["genres"][..],
        &["labels", "suspects"],
        &["lab", "eval", "genre", "--no-rivals", "--repeats", "1"],
    ] {
        let output = sandbox.run(verb);
        assert_eq!(code(&output), 0, "{verb:?}: {}", text(&output.stderr));
    }
    assert!(text(&sandbox.run(["genres"]).stdout).contains("style 2"));
    let status = text(&sandbox.run(["status"]).stdout);
    assert!(
        status.contains("labels from folder") && status.contains("right on tracks left out"),
        "{status}"
    );
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
    assert_eq!(
        methods,
        [
            "fused",
            "head",
            "vote",
            "rbf svm",
            "nearest centroid",
            "majority"
        ]
    );
    assert!(report["methods"][0]["accuracy"]["mean"].as_f64().unwrap() > 0.7);
    let html = fs::read_to_string(&page).unwrap();
    assert!(
        html.contains("<svg") && html.contains("Genre recognition") && !html.contains("<script")
    );
    let plain = [
        "lab",
        "eval",
        "genre",
        "--folds",
        "3",
        "--repeats",
        "1",
        "--no-rivals",
    ];
    let words = sandbox.run(plain);
    assert!(!text(&words.stderr).contains("no artist is known"));
    let words = text(&words.stdout);
    assert!(
        words.contains("fused") && words.contains("macro F1") && words.contains("Genre 2"),
        "{words}"
    );
    // Two tracks of a genre are too few for a measure, and are in no mean.
    for i in 0..2 {
        shelf.put(Path::new(&format!("/music/rare/{i}.mp3")), i, "Rare", 1.0);
    }
    let rare = [
        "lab",
        "eval",
        "genre",
        "--folds",
        "3",
        "--repeats",
        "1",
        "--no-rivals",
    ];
    let words = text(&sandbox.run(rare).stdout);
    assert!(
        words.contains("leave out genres of fewer than 3 tracks, whose figures are chance: Rare"),
        "{words}"
    );
    let report = json(sandbox.run(rare.iter().chain(&["--format", "json"])));
    assert_eq!(report["too_few"], serde_json::json!(["Rare"]));
    let fused = &report["methods"][0];
    let balanced = &fused["balanced_accuracy"]["mean"];
    let of_all = &report["details"]["genres"];
    let recalls: Vec<f64> = of_all
        .as_array()
        .unwrap()
        .iter()
        .map(|g| g["recall"].as_f64().unwrap())
        .collect();
    assert_eq!(recalls.len(), 4);
    let with_it = recalls.iter().sum::<f64>() / 4.0;
    assert!(
        balanced.as_f64().unwrap() > with_it + 0.05,
        "{balanced} {with_it}"
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
