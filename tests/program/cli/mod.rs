//! The command line as a process: input, output, and the state after a kill.

// A test may fail by a panic.
#![allow(clippy::unwrap_used)]

mod adding;
use crate::common;
mod messages;

use std::fs;
use std::path::Path;

use common::{Sandbox, code, fine, fine_json, json, six_tracks, six_tracks_added, text};
use serde_json::Value;

#[test]
fn filters_act_inside_the_search() {
    let (sandbox, music) = six_tracks_added();
    let search = |arguments: &[&str]| -> Vec<Value> {
        let mut all = vec!["similar", "chaos god", "--format", "json"];
        all.extend(arguments);
        json(sandbox.run(all))["neighbours"]
            .as_array()
            .unwrap()
            .clone()
    };
    let ambient = search(&["--genre", "AMBIENT"]);
    assert_eq!(ambient.len(), 3);
    assert!(ambient.iter().all(|n| n["genres"][0] == "Ambient"));
    assert_eq!(search(&["--artist", "muldjord"]).len(), 1);
    assert_eq!(search(&["--artist", "!Muldjord"]).len(), 4);
    assert_eq!(
        search(&["--folder", music.join("metal").to_str().unwrap()]).len(),
        2
    );
    let not_metal = format!("!{}", music.join("metal").display());
    assert_eq!(search(&["--folder", &not_metal]).len(), 3);
    assert_eq!(search(&["--limit", "2"]).len(), 2);
    let nothing = sandbox.run(["similar", "chaos god", "--year", "1850-1860"]);
    assert_eq!(code(&nothing), 1, "nothing found");
    // Several seeds: none of them is in the answer.
    let both = json(sandbox.run(["similar", "chaos god", "nebula", "--format", "json"]));
    assert_eq!(both["seeds"].as_array().unwrap().len(), 2);
    assert_eq!(both["neighbours"].as_array().unwrap().len(), 4);
}

#[test]
#[expect(clippy::too_many_lines, reason = "one scene")]
fn exports_and_embeddings_are_arrays_that_give_the_similarities() {
    let (sandbox, music) = six_tracks_added();
    // The export has one row order, and numpy's own layout.
    let out = sandbox.path("export");
    assert_eq!(code(&sandbox.run(["export", out.to_str().unwrap()])), 0);
    let vectors: ndarray::Array2<f32> = ndarray_npy::read_npy(out.join("vectors.npy")).unwrap();
    assert_eq!(vectors.dim(), (6, 256));
    for row in vectors.rows() {
        assert!((row.dot(&row) - 1.0).abs() < 1e-5);
    }
    // Similarity is the cosine after the library's mean is subtracted from each network's part.
    let mean: ndarray::Array1<f32> = ndarray_npy::read_npy(out.join("mean.npy")).unwrap();
    let model = fs::read_to_string(out.join("model.json")).unwrap();
    let model: serde_json::Value = serde_json::from_str(&model).unwrap();
    let centred = |row: usize| {
        let mut beyond = &vectors.row(row) - &mean;
        let mut rest = beyond.view_mut();
        for part in model["parts"].as_array().unwrap() {
            let length = part["dimension"].as_u64().unwrap() as usize;
            let (mut slice, behind) = rest.split_at(ndarray::Axis(0), length);
            let longer = part["weight"].as_f64().unwrap() as f32 / slice.dot(&slice).sqrt();
            slice *= longer;
            rest = behind;
        }
        let length = beyond.dot(&beyond).sqrt();
        beyond / length
    };
    let ids: Vec<i64> = fs::read_to_string(out.join("tracks.csv"))
        .unwrap()
        .lines()
        .skip(1)
        .map(|line| line.split(',').nth(1).unwrap().parse().unwrap())
        .collect();
    let near = fine_json(sandbox.run(["similar", &format!("id:{}", ids[0]), "--format", "json"]));
    let near = near["neighbours"].as_array().unwrap();
    assert_eq!(near.len(), 5);
    for found in near {
        let row = ids.iter().position(|id| found["id"] == *id).unwrap();
        let cosine = centred(0).dot(&centred(row));
        let raw = vectors.row(0).dot(&vectors.row(row));
        let similarity = found["similarity"].as_f64().unwrap() as f32;
        assert!(
            (similarity - cosine).abs() < 1e-3,
            "{found}: {cosine}, raw {raw}"
        );
    }
    assert_eq!(
        fs::read_to_string(out.join("tracks.csv"))
            .unwrap()
            .lines()
            .count(),
        7
    );

    // One file's windows, as in research: hop 0.1 s, centred.
    let embedded = sandbox.path("npz");
    let file = music.join("metal/muldjord-chaos-god.mp3");
    let done = sandbox.run([
        "embed",
        file.to_str().unwrap(),
        "--hop",
        "1",
        "--output",
        embedded.to_str().unwrap(),
    ]);
    assert_eq!(code(&done), 0, "{}", text(&done.stderr));
    let mut npz = ndarray_npy::NpzReader::new(
        fs::File::open(embedded.join("muldjord-chaos-god.npz")).unwrap(),
    )
    .unwrap();
    let embedding: ndarray::Array2<f32> = npz.by_name("embedding").unwrap();
    let timestamps: ndarray::Array1<f64> = npz.by_name("timestamps").unwrap();
    assert_eq!(
        (embedding.nrows(), embedding.ncols()),
        (timestamps.len(), 256)
    );
    assert!((timestamps[1] - 1.0).abs() < 1e-9 && timestamps[0] == 0.0);
}

#[test]
fn shards_of_embed_write_every_file_once() {
    let sandbox = Sandbox::new();
    let music = sandbox.path("music");
    fs::create_dir_all(&music).unwrap();
    let song = common::tone_wav(22_050, 4.0, 440.0, 0.5);
    // Pairs that differ only in their ending: some fall into two shards, for any folder name.
    for number in 0..8 {
        for ending in ["wav", "wave"] {
            fs::write(music.join(format!("{number}.{ending}")), &song).unwrap();
        }
    }
    let vectors = sandbox.path("vectors");
    let music = music.to_str().unwrap();
    let out = vectors.to_str().unwrap();
    let embed = |shard: &str| {
        fine(sandbox.run([
            "embed", music, "--hop", "1", "--shard", shard, "--output", out,
        ]));
    };
    embed("0/2");
    embed("1/2");
    assert_eq!(fs::read_dir(&vectors).unwrap().count(), 16);
    // Of a million shards this one is empty, which is no failure.
    embed("7/1000000");
}

#[test]
fn an_export_keeps_genres_and_years_on_its_way_back() {
    let sandbox = Sandbox::new();
    let array = sandbox.path("x.npy");
    ndarray_npy::write_npy(&array, &ndarray::Array2::<f64>::eye(3)).unwrap();
    let table = sandbox.path("x.csv");
    fs::write(
        &table,
        "path,genre,year\n/x/a.mp3,Rock;Jazz,1999.0\n//x/b.mp3,Folk,19999\n/x/c.mp3,,\n",
    )
    .unwrap();
    let add = |sandbox: &Sandbox, array: &Path, table: &Path, more: &[&str]| {
        let [array, table] = [array, table].map(|path| path.to_str().unwrap());
        let files = ["add", "--vectors", array, "--tracks", table, "--model", "x"];
        sandbox.run([&files[..], more].concat())
    };
    let added = add(&sandbox, &array, &table, &[]);
    assert_eq!(code(&added), 0, "{}", text(&added.stderr));
    let out = sandbox.path("out");
    fine(sandbox.run(["export", out.to_str().unwrap()]));
    let other = Sandbox::new();
    let exported = [out.join("vectors.npy"), out.join("tracks.csv")];
    let back = add(&other, &exported[0], &exported[1], &[]);
    assert_eq!(code(&back), 0, "{}", text(&back.stderr));
    let expected = serde_json::json!([
        ["/x/a.mp3", ["Rock", "Jazz"], 1999],
        ["/x/b.mp3", ["Folk"], null],
        ["/x/c.mp3", [], null],
    ]);
    for library in [&sandbox, &other] {
        let tracks = json(library.run(["list", "--sort", "path", "--format", "json"]));
        let tracks = tracks["tracks"].as_array().unwrap().iter();
        let tracks = tracks.map(|track| ["path", "genres", "year"].map(|key| track[key].clone()));
        assert_eq!(serde_json::json!(tracks.collect::<Vec<_>>()), expected);
    }
    // A vector of another program takes the place of a seed.
    let asked = sandbox.path("asked.npy");
    let ask = |numbers: &[f32]| {
        let row = ndarray::aview1(numbers).insert_axis(ndarray::Axis(0));
        ndarray_npy::write_npy(&asked, &row).unwrap();
        let file = asked.to_str().unwrap();
        sandbox.run(["similar", "--vector", file, "--format", "json"])
    };
    let near = json(ask(&[2.0, 1.0, 0.0]));
    let paths = near["neighbours"].as_array().unwrap().iter();
    let paths: Vec<_> = paths.map(|near| near["path"].clone()).collect();
    assert_eq!(paths, ["/x/a.mp3", "/x/b.mp3", "/x/c.mp3"]);
    for numbers in [&[1.0, 2.0][..], &[0.0; 3], &[f32::NAN, 1.0, 0.0]] {
        let refused = ask(numbers);
        assert_eq!(code(&refused), 2, "{numbers:?}");
        assert!(
            text(&refused.stderr).contains("--vector: expected"),
            "{numbers:?}"
        );
    }
    // No file is scanned, so options of a scan are refused.
    for option in [&["--exclude", "*.wav"][..], &["--remove-missing"]] {
        assert_eq!(code(&add(&other, &array, &table, option)), 2, "{option:?}");
    }
}

#[test]
fn imported_vectors_replace_those_of_an_earlier_table() {
    let sandbox = Sandbox::new();
    let array = sandbox.path("x.npy");
    let table = sandbox.path("x.csv");
    let [array_name, table_name] = [&array, &table].map(|path| path.to_str().unwrap());
    let library = sandbox.path("library");
    let import = |vectors: &ndarray::Array2<f32>, rows: &str| {
        ndarray_npy::write_npy(&array, vectors).unwrap();
        fs::write(&table, format!("path,title\n{rows}")).unwrap();
        let files = ["--vectors", array_name, "--tracks", table_name];
        sandbox.run([&["add", "--model", "x"][..], &files].concat())
    };
    let refused = |output: &std::process::Output, words: &str| {
        let stderr = text(&output.stderr);
        assert_eq!(code(output), 2, "{stderr}");
        assert!(stderr.contains(words), "{stderr}");
    };
    // Nothing is stored of vectors that no index takes.
    let wide = ndarray::Array2::from_elem((1, 65_537), 1.0);
    let words = "expected vectors of 1 to 65 536 numbers, found 65 537";
    refused(&import(&wide, "/m/a.ogg,a\n"), words);
    assert!(!library.join("voisin.db").exists());

    let mut vectors = ndarray::Array2::<f32>::eye(4);
    let rows = "/m/a.ogg,a\n/m/b.ogg,b\n/m/c.ogg,c\n/m/d.ogg,d\n";
    assert!(fine(import(&vectors, rows)).contains("added 4, updated 0, unchanged 0"));
    assert!(fine(import(&vectors, rows)).contains("added 0, updated 0, unchanged 4"));
    vectors
        .row_mut(2)
        .assign(&ndarray::arr1(&[1.0, 0.1, 0.0, 0.0]));
    let rows = rows.replace("b.ogg,b", "b.ogg,new");
    assert!(fine(import(&vectors, &rows)).contains("added 0, updated 2, unchanged 2"));

    let twice = format!("{rows}/m/a.ogg,e\n");
    let five = ndarray::Array2::from_elem((5, 4), 1.0);
    refused(
        &import(&five, &twice),
        "expected each path once, found /m/a.ogg in rows 1 and 5",
    );
    let other = ndarray::Array2::eye(5);
    let five = "/m/a.ogg,\n/m/b.ogg,\n/m/c.ogg,\n/m/d.ogg,\n/m/e.ogg,\n";
    refused(
        &import(&other, five),
        "expected vectors of 4 numbers, as this library has of x, found 5",
    );

    // A vector of another value is replaced by the next import.
    let raw = rusqlite::Connection::open(library.join("voisin.db")).unwrap();
    raw.execute(
        "UPDATE vectors SET vector = zeroblob(length(vector)) WHERE track = 3",
        [],
    )
    .unwrap();
    drop(raw);
    assert!(fine(import(&vectors, &rows)).contains("added 0, updated 1, unchanged 3"));
    fine(sandbox.run(["verify"]));
}

#[test]
fn the_demo_leaves_libraries_alone() {
    let sandbox = Sandbox::new();
    let music = six_tracks(&sandbox);
    let first = sandbox.run(["add", music.to_str().unwrap()]);
    assert!(
        text(&first.stderr).contains("next: \"voisin similar id:"),
        "{}",
        text(&first.stderr)
    );
    fine(first);
    let tracks = || json(sandbox.run(["status", "--format", "json"]))["tracks"].clone();
    // a variable does not select the library of the demo, which has its own folder
    let shown = fine(sandbox.run(["demo"]));
    let kept = sandbox.path("voisin-demo");
    let kept = kept.to_str().unwrap();
    assert!(shown.contains(&format!("voisin --library {kept:?} serve")));
    let status = json(sandbox.run(["--library", kept, "status", "--format", "json"]));
    assert_eq!(status["tracks"], 60);
    let (_, punk) = shown.split_once("How far is punk").expect("distances");
    let nearest = punk.lines().nth(1).unwrap();
    assert!(nearest.contains("rock"), "{punk}");
    assert_eq!(tracks(), 6);
    let library = sandbox.path("library");
    let refused = sandbox.run(["--library", library.to_str().unwrap(), "demo"]);
    assert_eq!(code(&refused), 2);
    assert!(
        text(&refused.stderr).contains("holds 6 tracks of your own"),
        "{}",
        text(&refused.stderr)
    );
    assert_eq!(tracks(), 6);
}
