//! `train encoder`, `eval` and the first guess of `classify`, as a process.

// A test may fail by a panic.
#![allow(clippy::unwrap_used)]

use crate::common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::{Sandbox, fine, fine_json as json, noise_wav, text, tone_wav};
use serde_json::Value;
use voisin_train::encoder::Checkpoint;

const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/demo");
const NARROW: &str = "16,16,16,16,16,16,16,16";

/// Three albums of two tracks, prepared in three crops each, by the command line.
fn prepared(sandbox: &Sandbox) -> PathBuf {
    let music = sandbox.path("music");
    for track in 0..6u64 {
        let album = music.join(format!("album {}", track / 2));
        fs::create_dir_all(&album).unwrap();
        let wav = if track % 2 == 0 {
            noise_wav(44_100, 6.0, track + 1)
        } else {
            tone_wav(44_100, 6.0, 110.0 * (track + 1) as f64, 0.4)
        };
        fs::write(album.join(format!("{track}.wav")), wav).unwrap();
    }
    let cache = sandbox.path("cache");
    let arguments = [
        "train",
        "encoder",
        "prepare",
        music.to_str().unwrap(),
        "--crops",
        "3",
        "--cache",
    ];
    let prepare = || sandbox.run(arguments.iter().copied().chain([cache.to_str().unwrap()]));
    assert!(fine(prepare()).contains("prepared 6 tracks with 18 crops"));
    let again = fine(prepare());
    assert!(
        again.contains("prepared 0 tracks with 0 crops; 6 were there"),
        "{again}"
    );
    cache
}

fn run(cache: &Path, out: &Path, more: &[&str]) -> Vec<String> {
    let base = [
        "train",
        "encoder",
        "run",
        cache.to_str().unwrap(),
        out.to_str().unwrap(),
        "--widths",
        NARROW,
        "--batch",
        "4",
        "--windows",
        "96",
        "--holdout-group",
        "album 2",
        "--validate-every",
        "48",
    ];
    base.iter()
        .chain(more)
        .map(|&word| word.to_owned())
        .collect()
}

#[test]
fn training_is_cut_off_and_goes_on_and_its_model_is_used() {
    let sandbox = Sandbox::new();
    let cache = prepared(&sandbox);
    let whole = sandbox.path("whole");
    let parts = sandbox.path("parts");
    let said = fine(sandbox.run(run(&cache, &whole, &[])));
    assert!(
        said.contains("finished after 24 steps and 96 windows"),
        "{said}"
    );
    // Twice cut off, with other numbers of threads.
    fine(sandbox.run(run(
        &cache,
        &parts,
        &["--stop-after", "5", "--threads", "1"],
    )));
    let said = fine(sandbox.run(run(&cache, &parts, &["--stop-after", "13"])));
    assert!(said.contains("stopped after 13 steps"), "{said}");
    fine(sandbox.run(run(&cache, &parts, &["--threads", "3"])));
    let load = |folder: &Path| Checkpoint::load(&folder.join("checkpoint.safetensors")).unwrap();
    let one = load(&whole);
    let two = load(&parts);
    assert!(
        one.network == two.network && one.average == two.average,
        "the same weights"
    );
    assert!(one.head == two.head && one.adam == two.adam);
    assert_eq!((one.run.step, two.run.step), (24, 24));
    for file in ["loss.csv", "loss.svg", "loss.png", "validation.csv"] {
        assert!(fs::metadata(parts.join(file)).unwrap().len() > 0, "{file}");
    }
    assert!(
        fs::read_to_string(whole.join("loss.svg"))
            .unwrap()
            .contains("penultimate_mse")
    );
    let rows = fs::read_to_string(whole.join("validation.csv")).unwrap();
    assert_eq!(rows.lines().count(), 3, "{rows}");
    // Objectives are switches: without any there is nothing to learn.
    let none = sandbox.run(run(
        &cache,
        &sandbox.path("none"),
        &["--penultimate", "0", "--tags", "0"],
    ));
    assert_eq!(none.status.code(), Some(2));
    assert!(
        text(&none.stderr).contains("one of them above 0"),
        "{}",
        text(&none.stderr)
    );
    let styled = sandbox.run(run(&cache, &sandbox.path("styled"), &["--style", "1"]));
    assert!(
        text(&styled.stderr).contains("needs prepared grooves"),
        "{}",
        text(&styled.stderr)
    );
    let stranger = sandbox.run(run(
        &cache,
        &sandbox.path("stranger"),
        &["--teacher", "vgg-msd"],
    ));
    assert!(
        text(&stranger.stderr).contains("0 of 6 prepared files"),
        "{}",
        text(&stranger.stderr)
    );

    // The exported model is found by its name, and listens.
    let checkpoint = whole.join("checkpoint.safetensors");
    let export = [
        "train",
        "encoder",
        "export",
        checkpoint.to_str().unwrap(),
        "--name",
        "mine",
        "--cache",
    ];
    let said = fine(sandbox.run(export.iter().copied().chain([cache.to_str().unwrap()])));
    assert!(said.contains("--model mine"), "{said}");
    assert!(fine(sandbox.run(["model", "check", "mine"])).contains("mine"));
    let music = sandbox.path("music");
    fine(sandbox.run(["--model", "mine", "add", music.to_str().unwrap()]));
    let status = json(sandbox.run(["status", "--format", "json"]));
    assert_eq!(
        (&status["tracks"], &status["dimension"]),
        (&6.into(), &512.into()),
        "{status}"
    );
    assert_eq!(sandbox.vectors().len(), 6);
}

#[cfg(unix)]
#[test]
fn ctrl_c_writes_a_checkpoint() {
    let sandbox = Sandbox::new();
    let cache = prepared(&sandbox);
    let out = sandbox.path("run");
    let more = ["--windows", "100000000", "--checkpoint-every", "100000"];
    let mut arguments = run(&cache, &out, &[]);
    arguments.retain(|word| word != "96");
    let at = arguments
        .iter()
        .position(|word| word == "--windows")
        .unwrap();
    arguments.remove(at);
    arguments.extend(more.iter().map(|&word| word.to_owned()));
    let child = sandbox
        .command(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The first line of losses is written after ten steps.
    let begun = Instant::now();
    while fs::read_to_string(out.join("loss.csv")).map_or(0, |text| text.lines().count()) < 2 {
        assert!(begun.elapsed() < Duration::from_mins(2), "no step was made");
        std::thread::sleep(Duration::from_millis(50));
    }
    let killed = std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
    assert!(
        text(&output.stderr).contains("goes on from here"),
        "{}",
        text(&output.stderr)
    );
    let checkpoint = Checkpoint::load(&out.join("checkpoint.safetensors")).unwrap();
    assert!(checkpoint.run.step >= 10);
}

#[test]
fn neighbours_and_vectors_are_measured_on_any_labelled_library() {
    let sandbox = Sandbox::new();
    let without = sandbox.run(["eval", "retrieval"]);
    assert_eq!(without.status.code(), Some(2));
    fine(sandbox.run(["add", "--quiet", &format!("{DEMO}/library")]));
    let report = sandbox.path("retrieval.md");
    let found = json(sandbox.run([
        "eval",
        "retrieval",
        "-k",
        "3",
        "--robustness",
        "--sample",
        "3",
        "--format",
        "json",
        "--report",
        report.to_str().unwrap(),
    ]));
    let share = |value: &Value| value.as_f64().unwrap();
    let precision = share(&found["precision"]["mean"]);
    let chance = share(&found["chance"]);
    assert!(precision > chance + 0.2 && precision < 1.0, "{found}");
    assert!(
        share(&found["average_precision"]["mean"]) > chance
            && share(&found["knn_accuracy"]["mean"]) > 0.3
    );
    assert_eq!(found["k"], 3);
    let sizes: u64 = found["genres"]
        .as_array()
        .unwrap()
        .iter()
        .map(|genre| genre["tracks"].as_u64().unwrap())
        .sum();
    assert_eq!(sizes, found["tracks"].as_u64().unwrap());
    let kinds = found["robustness"].as_array().unwrap();
    assert_eq!(kinds.len(), 11);
    let softer = kinds
        .iter()
        .find(|kind| kind["degradation"] == "softer")
        .unwrap();
    assert_eq!(
        (&softer["copies"], &softer["found"]),
        (&3.into(), &1.0.into()),
        "{softer}"
    );
    assert!(
        share(&softer["similarity"]) > 0.999,
        "the level does not matter: {softer}"
    );
    for kind in kinds.iter().filter(|kind| kind["skipped"].is_null()) {
        assert_eq!(
            (&kind["copies"], &kind["failed"]),
            (&3.into(), &0.into()),
            "{kind}"
        );
    }
    let written = fs::read_to_string(&report).unwrap();
    assert!(
        written.contains("precision@3") && written.contains("(<retrieval-robustness.svg>)"),
        "{written}"
    );
    assert!(
        fs::read_to_string(sandbox.path("retrieval-genres.svg"))
            .unwrap()
            .ends_with("</svg>")
    );

    // Labels may be the names of folders.
    let folders = [
        "eval",
        "retrieval",
        "-k",
        "3",
        "--label-from",
        "folder",
        "--format",
        "json",
    ];
    let folders = json(sandbox.run(folders));
    let listed = |kind: &Value| kind["genre"].as_str().unwrap().to_lowercase();
    let mut said: Vec<String> = folders["genres"]
        .as_array()
        .unwrap()
        .iter()
        .map(listed)
        .collect();
    said.sort();
    let mut there: Vec<String> = fs::read_dir(format!("{DEMO}/library"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir() && fs::read_dir(path).unwrap().count() > 1)
        .map(|path| {
            path.file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .replace('-', " ")
        })
        .collect();
    there.sort();
    assert_eq!(said, there);

    // Joined genres make the question easier.
    let names: Vec<&str> = found["genres"]
        .as_array()
        .unwrap()
        .iter()
        .map(|genre| genre["genre"].as_str().unwrap())
        .collect();
    let join = format!("{},{}", names[0], names[1]);
    let joined = json(sandbox.run([
        "eval",
        "retrieval",
        "-k",
        "3",
        "--join",
        &join,
        "--format",
        "json",
    ]));
    assert_eq!(joined["genres"].as_array().unwrap().len(), names.len() - 1);
    assert!(share(&joined["precision"]["mean"]) >= precision);

    let probes = json(sandbox.run([
        "eval",
        "embedding",
        "--folds",
        "3",
        "--repeats",
        "20",
        "--format",
        "json",
    ]));
    let svm = share(&probes["svm"]["mean"]);
    let linear = share(&probes["linear"]["mean"]);
    let majority = share(&probes["majority"]);
    assert!(svm > majority + 0.1 && linear > majority + 0.1, "{probes}");
    assert_eq!(
        (&probes["folds"], &probes["seeds"]),
        (&3.into(), &20.into())
    );
    let table = fine(sandbox.run(["eval", "embedding", "--folds", "3", "--repeats", "1"]));
    assert!(
        table.contains("\nRBF SVM, C = 3                   0."),
        "{table}"
    );
}

#[test]
fn the_first_guess_needs_no_labels_and_no_library() {
    let sandbox = Sandbox::new();
    let file = format!("{DEMO}/library/metal/muldjord-chaos-god.mp3");
    let output = sandbox.run(["classify", &file, "--format", "json"]);
    let said = text(&output.stderr);
    assert!(said.contains("a first guess"), "{said}");
    let answers = json(output);
    assert_eq!(
        (&answers[0]["genre"], &answers[0]["source"]),
        (&"Metal".into(), &"first_guess".into()),
        "{answers}"
    );
    let shares = answers[0]["probabilities"].as_object().unwrap();
    let sum: f64 = shares.values().map(|share| share.as_f64().unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-4 && shares.len() == 17);
    assert_eq!(answers[0]["basis"]["Metal"], "labels");
    let among = json(sandbox.run([
        "classify",
        &file,
        "--among",
        "jazz, electronic",
        "--format",
        "json",
    ]));
    let shares: Vec<&String> = among[0]["probabilities"]
        .as_object()
        .unwrap()
        .keys()
        .collect();
    assert_eq!(shares, ["Electronic", "Jazz"]);
    let nothing = sandbox.run(["classify", &file, "--among", "polka"]);
    assert_eq!(nothing.status.code(), Some(2));
    assert!(
        text(&nothing.stderr).contains("the genres that can are Blues"),
        "{}",
        text(&nothing.stderr)
    );
    // What nobody can promise is not written, and that is said.
    let write = sandbox.run(["classify", &file, "--write-tags", "--dry-run"]);
    assert_eq!(write.status.code(), Some(2));
    assert!(
        text(&write.stderr).contains("found no labelled track"),
        "{}",
        text(&write.stderr)
    );
    // A library without a label: its tracks, by name.
    let music = sandbox.path("music");
    fs::create_dir_all(&music).unwrap();
    fs::write(music.join("hum.wav"), tone_wav(44_100, 5.0, 220.0, 0.3)).unwrap();
    fine(sandbox.run(["add", "--quiet", music.to_str().unwrap()]));
    let all = sandbox.run(["classify", "--all", "--format", "csv"]);
    assert!(
        text(&all.stdout).starts_with("path,genre,probability,unknown,best,"),
        "{}",
        text(&all.stdout)
    );
    assert_eq!(text(&all.stdout).lines().count(), 2);
    let missing = sandbox.run(["classify", "/nowhere/at all.mp3"]);
    assert_ne!(missing.status.code(), Some(0));
}
