//! Networks of `lab train`, as processes on the data of `scripts/make_lab_data.py` and on the demo.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use ndarray::Array2;
use ndarray_npy::ReadNpyExt as _;

use crate::common::{Sandbox, code, fine, fine_json, json, text, tone_wav};
use crate::lab::datasets::made;
use voisin_encoder::Weights;

fn train<'a>(data: &'a str, run: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    [&["lab", "train", data, run.to_str().unwrap()], more].concat()
}

#[test]
fn a_network_is_trained_killed_resumed_and_used() {
    let Some(made) = made() else { return };
    let sandbox = Sandbox::new();
    let data = format!("fma:{}", made.join("fma").display());
    let small = [
        "--recipe",
        "baseline-cnn",
        "--set",
        "network.seconds=3",
        "--set",
        "network.training.epochs=3",
        "--set",
        "network.training.batch=8",
    ];
    let more = [small.as_slice(), &["--format", "json"]].concat();
    let whole = sandbox.path("whole");
    let begun = Instant::now();
    let output = sandbox.run(train(&data, &whole, &more));
    let took = begun.elapsed();
    // four files of the miniature cannot be decoded
    assert_eq!(code(&output), 1, "{}", text(&output.stderr));
    let report = json(output);
    assert!(
        report["split"].as_str().unwrap().starts_with(
            "split by the data set: 28 / 14 / 13; 0 artists on two sides; the largest artist has "
        ),
        "{}",
        report["split"]
    );
    assert_eq!(report["figures"]["on"], "test");
    assert_eq!(report["learning"]["loss"][0].as_array().unwrap().len(), 3);
    let metrics = fs::read_to_string(whole.join("metrics.csv")).unwrap();
    let column =
        |line: &str, at: usize| -> f64 { line.split(',').nth(at).unwrap().parse().unwrap() };
    let lines: Vec<&str> = metrics.lines().skip(1).collect();
    assert!(
        column(lines[2], 4) < column(lines[0], 4),
        "the loss falls: {metrics}"
    );
    let page = fs::read_to_string(whole.join("report.html")).unwrap();
    assert!(page.contains(">Training</h2>") && page.contains("Loss after each epoch"));
    assert!(!whole.join("work").exists());

    let cut = sandbox.path("cut");
    let mut killed = 0;
    for moment in [0.3, 0.5, 0.7] {
        let mut command = sandbox.command(train(&data, &cut, &small));
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(took.mul_f64(moment).min(Duration::from_secs(20)));
        killed += u32::from(child.try_wait().unwrap().is_none());
        let _ = child.kill();
        child.wait().unwrap();
    }
    assert!(killed > 0, "nothing was killed");
    assert_eq!(code(&sandbox.run(train(&data, &cut, &small))), 1);
    for file in [
        "best.safetensors",
        "predictions.csv",
        "data.csv",
        "config.toml",
    ] {
        assert_eq!(
            fs::read(whole.join(file)).unwrap(),
            fs::read(cut.join(file)).unwrap(),
            "{file}"
        );
    }
    fine(sandbox.run(["lab", "report", whole.to_str().unwrap()]));

    // the run predicts as in its test part
    let predictions = fs::read_to_string(whole.join("predictions.csv")).unwrap();
    let row = predictions
        .lines()
        .find(|line| line.contains(",test,"))
        .unwrap();
    let cells: Vec<&str> = row.split(',').collect();
    let track = format!(
        "{:0>6}",
        cells[0]
            .rsplit('/')
            .next()
            .unwrap()
            .trim_end_matches(".mp3")
            .trim_end_matches(".wav")
    );
    let audio = made.join("fma/fma_small").join(&track[..3]);
    let file = fs::read_dir(audio)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.to_string_lossy().contains(&track))
        .unwrap();
    let arguments = [
        "lab",
        "predict",
        whole.to_str().unwrap(),
        file.to_str().unwrap(),
        "--format",
        "json",
    ];
    let answers = fine_json(sandbox.run(arguments));
    assert_eq!(answers[0]["genre"], cells[4], "{answers} {row}");
}

/// A folder with ten low tones and ten high ones, a genre each.
fn low_and_high(sandbox: &Sandbox, seconds: f64) -> PathBuf {
    let music = sandbox.path("music");
    for (genre, start) in [("low", 200.0), ("high", 2000.0)] {
        fs::create_dir_all(music.join(genre)).unwrap();
        for track in 0..10 {
            let file = music.join(genre).join(format!("{track}.wav"));
            fs::write(
                file,
                tone_wav(22_050, seconds, start * (1.0 + 0.1 * f64::from(track)), 0.5),
            )
            .unwrap();
        }
    }
    music
}

/// Numbers of a `.npy` file, `[rows, columns]`.
fn array(path: &Path) -> Array2<f32> {
    Array2::read_npy(fs::File::open(path).unwrap()).unwrap()
}

#[test]
fn vectors_are_the_input_of_the_runs_last_layer() {
    let sandbox = Sandbox::new();
    let music = low_and_high(&sandbox, 1.0);
    let data = format!("folder:{}", music.display());
    let run = sandbox.path("run");
    let more = [
        "--recipe",
        "cnn-gap",
        "--split",
        "track",
        "--set",
        "network.seconds=1",
        "--set",
        "network.crop=0",
        "--set",
        "network.training.epochs=6",
        "--set",
        "network.training.batch=8",
        "--format",
        "json",
    ];
    fine(sandbox.run(train(&data, &run, &more)));
    let whole =
        Weights::from_safetensors(&fs::read(run.join("best.safetensors")).unwrap(), "run").unwrap();
    let head = |name: &str| {
        whole
            .tensor(&format!("layers.21.{name}"))
            .unwrap()
            .values
            .clone()
    };
    let weight = head("weight");
    let bias = head("bias");
    let vectors = sandbox.path("inner.npy");
    let classify = ["lab", "predict", run.to_str().unwrap(), &data];
    let to = ["--vectors", vectors.to_str().unwrap()];
    fine(sandbox.run([&classify[..], &to].concat()));
    let inner = array(&vectors);
    assert_eq!(inner.dim(), (20, 128));
    let answers = fine_json(sandbox.run([&classify[..], &["--format", "json"]].concat()));
    for (row, answer) in inner.outer_iter().zip(answers.as_array().unwrap()) {
        let logits: Vec<f64> = weight
            .chunks_exact(128)
            .zip(&bias)
            .map(|(weights, bias)| {
                let products = weights.iter().zip(row);
                f64::from(*bias) + products.map(|(w, x)| f64::from(w * x)).sum::<f64>()
            })
            .collect();
        let sum: f64 = logits.iter().map(|logit| logit.exp()).sum();
        for (class, logit) in ["high", "low"].into_iter().zip(&logits) {
            let p = answer["probabilities"][class].as_f64().unwrap();
            assert!((p - logit.exp() / sum).abs() < 1e-4, "{class}: {p}");
        }
    }
    let refused = |more: &[&str]| {
        let output = sandbox.run([&classify[..], more].concat());
        assert_eq!(code(&output), 2, "{more:?}");
        text(&output.stderr)
    };
    assert!(refused(&["--vectors", "inner.txt"]).contains("expected FILE.npy"));
    let precision = ["--vectors", "other.npy", "--precision", "0.9"];
    assert!(refused(&precision).contains("cannot be used with"));
}

#[test]
fn a_search_over_folds_resumes_and_leaves_the_test_part_alone() {
    let sandbox = Sandbox::new();
    let music = low_and_high(&sandbox, 1.5);
    let data = format!("folder:{}", music.display());
    let small = [
        "--split",
        "track",
        "--set",
        "network.training.batch=8",
        "--format",
        "json",
    ];
    let run = sandbox.path("search");
    let search = [
        small.as_slice(),
        &[
            "--recipe",
            "cnn-lstm-mfcc",
            "--set",
            "network.training.epochs=3",
            "--folds",
            "2",
        ],
        &[
            "--try",
            "network.copies=0,2",
            "--try",
            "network.training.l2=0,0.01",
        ],
    ]
    .concat();
    let report = fine_json(sandbox.run(train(&data, &run, &search)));
    assert_eq!(
        (&report["figures"]["on"], &report["figures"]["tracks"]),
        (&"folds".into(), &20.into())
    );
    assert!(
        report["judged_by"]
            .as_str()
            .unwrap()
            .contains("chosen among 4 trials"),
        "{report}"
    );
    let table = fs::read_to_string(run.join("trials.csv")).unwrap();
    let rows: Vec<Vec<&str>> = table
        .lines()
        .skip(1)
        .map(|line| line.split(',').collect())
        .collect();
    assert_eq!(
        rows.iter().map(|row| row[1]).collect::<Vec<_>>(),
        [
            "network.copies=0 network.training.l2=0",
            "network.copies=0 network.training.l2=0.01",
            "network.copies=2 network.training.l2=0",
            "network.copies=2 network.training.l2=0.01"
        ]
    );
    let most = rows
        .iter()
        .map(|row| row[2].parse::<f64>().unwrap())
        .fold(0.0, f64::max);
    assert!(
        (report["figures"]["accuracy"]["value"].as_f64().unwrap() - most).abs() < 1e-4,
        "{table}"
    );
    let trial = fs::read_to_string(run.join("trials/001/config.toml")).unwrap();
    assert!(trial.contains("l2 = 0.0\n"), "{trial}");

    // finished trials are not repeated, and the held-out part is evaluated by the chosen run alone
    let run = sandbox.path("held-out");
    let search = [
        &["--split", "track", "--format", "json"],
        &[
            "--features",
            "mfcc",
            "--algorithm",
            "knn",
            "--try",
            "settings.knn.k=1,3",
        ][..],
    ]
    .concat();
    fine_json(sandbox.run(train(&data, &run, &search)));
    let parts = |folder: &str| -> bool {
        fs::read_to_string(run.join(folder).join("predictions.csv"))
            .unwrap()
            .contains(",test,")
    };
    assert!(parts("") && !parts("trials/001") && !parts("trials/002"));
    let before = fs::metadata(run.join("trials/002/report.json"))
        .unwrap()
        .modified()
        .unwrap();
    fs::remove_file(run.join("report.json")).unwrap();
    let again = fine_json(sandbox.run(train(&data, &run, &search)));
    assert!(
        again["judged_by"]
            .as_str()
            .unwrap()
            .contains("chosen among 2 trials")
    );
    assert_eq!(
        fs::metadata(run.join("trials/002/report.json"))
            .unwrap()
            .modified()
            .unwrap(),
        before
    );
    // other values are another search
    for (values, expected) in [
        (
            "settings.knn.k=1,5",
            "this run was begun with other settings",
        ),
        (
            "settings.knn.k=1,3,5",
            "this search is finished without a trial of settings.knn.k=5: name another folder",
        ),
    ] {
        let other = [&search[..search.len() - 1], &[values]].concat();
        let output = sandbox.run(train(&data, &run, &other));
        let stderr = text(&output.stderr);
        assert_eq!(code(&output), 2, "{stderr}");
        assert!(stderr.contains(expected), "{stderr}");
    }

    // two of the six combinations, the same ones again
    let drawn = |name: &str| {
        let run = sandbox.path(name);
        let search = [
            &[
                "--split",
                "track",
                "--features",
                "mfcc",
                "--algorithm",
                "knn",
                "--trials",
                "2",
                "--format",
                "json",
            ],
            &[
                "--try",
                "settings.knn.k=1,3,5",
                "--try",
                "settings.knn.metric=cosine,euclid",
            ][..],
        ]
        .concat();
        let report = fine_json(sandbox.run(train(&data, &run, &search)));
        assert!(
            report["judged_by"]
                .as_str()
                .unwrap()
                .contains("chosen among 2 trials")
        );
        let table = fs::read_to_string(run.join("trials.csv")).unwrap();
        table
            .lines()
            .skip(1)
            .map(|line| line.split(',').nth(1).unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let first = drawn("drawn");
    assert!(
        first.len() == 2 && first[0] != first[1] && first == drawn("again"),
        "{first:?}"
    );
}

#[test]
fn training_refuses_unusable_data_in_one_clear_line() {
    let sandbox = Sandbox::new();
    let music = sandbox.path("music");
    for genre in ["a", "b"] {
        fs::create_dir_all(music.join(genre)).unwrap();
        for track in 0..4 {
            fs::write(
                music.join(genre).join(format!("{track}.wav")),
                tone_wav(22_050, 1.0, 440.0, 0.5),
            )
            .unwrap();
        }
    }
    let data = format!("folder:{}", music.display());
    let run = sandbox.path("run");
    for (more, expected) in [
        (
            &["--recipe", "cnn-lstm-time", "--set", "network.crop=200"][..],
            "network.crop: expected 0, or",
        ),
        (
            &[
                "--recipe",
                "cnn-gap",
                "--try",
                "network.training.mixup=0.1,2",
            ],
            "network.training.mixup: expected 0 to 1",
        ),
        (
            &[
                "--recipe",
                "auto",
                "--folds",
                "2",
                "--try",
                "settings.svm.cc=1,2",
            ],
            "unknown field `cc`",
        ),
        (
            &["--recipe", "cnn-gap", "--features", "mfcc"],
            "expected no --features",
        ),
        (
            &["--recipe", "features", "--set", "network.crop=3"],
            "there is no table network",
        ),
    ] {
        let output = sandbox.run(train(&data, &run, more));
        let stderr = text(&output.stderr);
        assert_eq!(code(&output), 2, "{more:?}: {stderr}");
        assert!(
            stderr.contains(expected) && stderr.trim_end().lines().count() == 1,
            "{more:?}: {stderr}"
        );
        let _ = fs::remove_dir_all(&run);
    }
    let plan = fine(sandbox.run(train(&data, &run, &["--recipe", "cnn-gap", "--dry-run"])));
    assert!(
        plan.contains("a spectrogram of 1 x 128 x 1288 each; 60 epochs of cnn-gap"),
        "{plan}"
    );
    assert!(plan.contains("schedule = \"cosine\"") && !plan.contains("[settings") && !run.exists());
    let plan = fine(sandbox.run(train(
        &data,
        &run,
        &["--recipe", "cnn-lstm-mfcc", "--dry-run"],
    )));
    // two classes of 65 each, as in Keras
    assert!(
        plan.contains("lstm 64 last one-bias") && plan.contains("20914"),
        "{plan}"
    );
}
