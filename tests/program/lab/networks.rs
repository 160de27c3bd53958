//! `train classifier --recipe space` and the other networks, as processes on the data of `scripts/make_lab_data.py`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::common::{Sandbox, code, fine, fine_json, json, text, tone_wav};
use crate::lab::datasets::made;
use voisin_encoder::Weights;

fn train<'a>(data: &'a str, run: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    [&["train", "classifier", data, run.to_str().unwrap()], more].concat()
}

#[test]
fn a_space_is_trained_killed_resumed_and_used_as_a_model() {
    let Some(made) = made() else { return };
    let sandbox = Sandbox::new();
    let data = format!("fma:{}", made.join("fma").display());
    let small = [
        "--recipe",
        "space",
        "--set",
        "epochs=3",
        "--set",
        "windows=2",
        "--set",
        "batch=8",
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
    assert_eq!(
        (&report["figures"]["on"], &report["columns"]),
        (&"test".into(), &(128 * 199).into())
    );
    assert_eq!(report["learning"]["loss"][0].as_array().unwrap().len(), 3);
    let metrics = fs::read_to_string(whole.join("metrics.csv")).unwrap();
    let column =
        |line: &str, at: usize| -> f64 { line.split(',').nth(at).unwrap().parse().unwrap() };
    let lines: Vec<&str> = metrics.lines().skip(1).collect();
    assert!(
        column(lines[2], 4) < column(lines[0], 4),
        "the loss falls: {metrics}"
    );
    // a map before training and after each epoch, of the tracks outside training
    let forming = &report["learning"]["forming"];
    let maps = forming["epochs"].as_array().unwrap();
    assert_eq!(
        (maps.len(), maps[3].as_array().unwrap().len()),
        (4, 14 + 13),
        "{forming}"
    );
    assert!(maps[0] != maps[3] && !whole.join("places-0.safetensors").exists());
    let page = fs::read_to_string(whole.join("report.html")).unwrap();
    assert!(page.contains("How the space forms") && page.contains("after epoch 3"));
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
    fine(sandbox.run(["eval", "classifier", whole.to_str().unwrap()]));

    // an ordinary model: listed, checked, and used for add, search and maps
    let stdout = fine(sandbox.run(["model", "import", whole.to_str().unwrap(), "--name", "mine"]));
    assert!(stdout.contains("--model mine"), "{stdout}");
    fine(sandbox.run(["model", "check", "mine"]));
    let card = fine_json(sandbox.run(["model", "show", "mine", "--format", "json"]));
    assert!(
        card["provenance"]
            .as_str()
            .unwrap()
            .contains("; started from voisin-3, CC0-1.0; run "),
        "{card}"
    );
    let licence = card["licence"].as_str().unwrap();
    assert!(
        licence.starts_with("initial weights: CC0-1.0; training music: "),
        "{card}"
    );
    let music = made.join("challenge/train");
    fine(sandbox.run(["--model", "mine", "add", music.to_str().unwrap()]));
    let near = fine_json(sandbox.run(["similar", "id:1", "--limit", "3", "--format", "json"]));
    assert_eq!(
        near["neighbours"].as_array().map(Vec::len),
        Some(3),
        "{near}"
    );
    let map = sandbox.path("map.html");
    fine(sandbox.run(["map", "--output", map.to_str().unwrap()]));
    let status = fine_json(sandbox.run(["status", "--format", "json"]));
    assert_eq!(
        (&status["model"], &status["dimension"]),
        (&"mine".into(), &512.into()),
        "{status}"
    );

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
        "classify",
        "--with",
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

/// A network of a run as a model: its card, its check, and a library by it, with a file that is shorter than its windows.
fn is_a_model(sandbox: &Sandbox, model: &str) {
    let shown = fine_json(sandbox.run(["model", "show", model, "--format", "json"]));
    assert_eq!(
        (&shown["architecture"], &shown["dimension"]),
        (&"layers".into(), &128.into()),
        "{shown}"
    );
    assert_eq!(
        (&shown["format"], &shown["front_end"]["standardised"]),
        (&2.into(), &true.into())
    );
    assert_eq!(shown["layers"].as_array().unwrap().last().unwrap(), "gap");
    fine(sandbox.run(["model", "check", model]));
    let short = sandbox.path("music/low/short.wav");
    fs::write(&short, tone_wav(22_050, 0.6, 250.0, 0.5)).unwrap();
    let library = sandbox.path(&format!("library of {model}"));
    let at = ["--library", library.to_str().unwrap()];
    fine(sandbox.run(at.into_iter().chain([
        "--model",
        model,
        "add",
        sandbox.path("music").to_str().unwrap(),
    ])));
    let arguments = [
        "similar",
        short.to_str().unwrap(),
        "--limit",
        "20",
        "--format",
        "json",
    ];
    let near = fine_json(sandbox.run(at.into_iter().chain(arguments)));
    assert_eq!(
        near["neighbours"].as_array().map(Vec::len),
        Some(20),
        "{near}"
    );
    fs::remove_file(short).unwrap();
}

#[test]
fn a_models_vectors_are_the_input_of_the_runs_last_layer() {
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
        "crop=0",
        "--set",
        "layers=[\"conv 16 3x3 same\", \"batch-norm\", \"relu\", \"pool 8x2\", \"conv 24 9x3\", \"elu\", \"gap\", \"linear classes\"]",
        "--set",
        "epochs=6",
        "--set",
        "batch=8",
        "--set",
        "training.rate=0.01",
        "--format",
        "json",
    ];
    fine(sandbox.run(train(&data, &run, &more)));
    fine(sandbox.run(["model", "import", run.to_str().unwrap(), "--name", "gap"]));
    let whole =
        Weights::from_safetensors(&fs::read(run.join("best.safetensors")).unwrap(), "run").unwrap();
    let head = |name: &str| {
        whole
            .tensor(&format!("layers.7.{name}"))
            .unwrap()
            .values
            .clone()
    };
    let weight = head("weight");
    let bias = head("bias");
    for file in ["low/3.wav", "high/6.wav"] {
        let file = music.join(file);
        let _ = fs::remove_dir_all(sandbox.path("library"));
        fine(sandbox.run(["--model", "gap", "add", file.to_str().unwrap()]));
        let (_, windows) = sandbox.vectors().into_values().next().unwrap();
        assert_eq!(windows.len(), 24);
        let inner: Vec<f64> = windows
            .iter()
            .map(|bits| half::f16::from_bits(*bits).to_f64())
            .collect();
        let logits: Vec<f64> = weight
            .chunks_exact(24)
            .zip(&bias)
            .map(|(row, bias)| {
                f64::from(*bias)
                    + row
                        .iter()
                        .zip(&inner)
                        .map(|(w, x)| f64::from(*w) * x)
                        .sum::<f64>()
            })
            .collect();
        let sum: f64 = logits.iter().map(|logit| logit.exp()).sum();
        let arguments = [
            "classify",
            "--with",
            run.to_str().unwrap(),
            file.to_str().unwrap(),
            "--format",
            "json",
        ];
        let answers = fine_json(sandbox.run(arguments));
        for (class, logit) in ["high", "low"].into_iter().zip(&logits) {
            let p = answers[0]["probabilities"][class].as_f64().unwrap();
            assert!(
                (p - logit.exp() / sum).abs() < 5e-3,
                "{class}: {p}, {logits:?}, {answers}"
            );
        }
    }
}

#[test]
fn networks_of_layers_are_trained_with_and_without_batch_norm() {
    let sandbox = Sandbox::new();
    let data = format!("folder:{}", low_and_high(&sandbox, 1.2).display());
    for (recipe, seconds) in [
        ("baseline-cnn", "1"),
        ("baseline-cnn-bn", "1"),
        ("cnn-lstm-mfcc", "0"),
    ] {
        let run = sandbox.path(recipe);
        let seconds = format!("network.seconds={seconds}");
        let more = [
            "--recipe", recipe, "--split", "track", "--set", &seconds, "--set", "epochs=5",
            "--set", "batch=8", "--format", "json",
        ];
        let report = fine_json(sandbox.run(train(&data, &run, &more)));
        assert_eq!(report["methods"][0]["name"], recipe);
        let right = report["figures"]["accuracy"]["value"].as_f64().unwrap();
        assert!(
            right > 0.99 || recipe == "cnn-lstm-mfcc",
            "{recipe} separates low tones from high ones: {right}"
        );
        let parts = report["importance"].as_array().unwrap();
        let lost = |part: &serde_json::Value| part["drop"].as_f64().unwrap();
        let occlusion = &report["learning"]["occlusion"];
        if recipe == "cnn-lstm-mfcc" {
            let names: Vec<&str> = parts
                .iter()
                .map(|part| part["columns"].as_str().unwrap())
                .collect();
            assert_eq!(
                (names.len(), names[0]),
                (8, "coefficients 1 to 5"),
                "{names:?}"
            );
            assert!(occlusion.is_null());
        } else {
            // the tones are from 200 to 380 Hz and from 2000 to 3800 Hz
            let (bands, times): (Vec<_>, Vec<_>) =
                parts.iter().partition(|part| part["single"] == false);
            assert_eq!((bands.len(), times.len()), (8, 8), "{parts:?}");
            let most = bands.iter().map(|part| lost(part)).fold(0.0, f64::max);
            assert!(most > 0.02 && lost(bands[7]) < 0.2 * most, "{bands:?}");
            assert_eq!(occlusion["lost"].as_array().unwrap().len(), 8);
            assert!(
                fs::read_to_string(run.join("report.html"))
                    .unwrap()
                    .contains("blanked for a time")
            );
        }
        let imported = sandbox.run(["model", "import", run.to_str().unwrap(), "--name", recipe]);
        if recipe == "cnn-lstm-mfcc" {
            let stderr = text(&imported.stderr);
            assert!(
                code(&imported) == 2 && stderr.contains("not the mean of a whole track"),
                "{stderr}"
            );
        } else {
            is_a_model(&sandbox, recipe);
        }
        let config = fs::read_to_string(run.join("config.toml")).unwrap();
        assert!(
            config.contains("[network]") && config.contains("\"linear classes\""),
            "{config}"
        );
    }
}

#[test]
fn a_search_over_folds_resumes_and_leaves_the_test_part_alone() {
    let sandbox = Sandbox::new();
    let music = low_and_high(&sandbox, 1.5);
    let data = format!("folder:{}", music.display());
    let small = ["--split", "track", "--set", "batch=8", "--format", "json"];
    let gap = [
        small.as_slice(),
        &[
            "--recipe",
            "cnn-gap",
            "--set",
            "network.seconds=1.4",
            "--set",
            "crop=0.5",
            "--set",
            "copies=1",
        ],
        &[
            "--set",
            "layers=[\"conv 4 3x3 same\", \"relu\", \"pool 8x4\", \"flatten\", \"linear classes\"]",
        ],
        &[
            "--set",
            "epochs=25",
            "--set",
            "training.rate=0.01",
            "--decide",
            "vote",
            "--set",
            "l1=1e-6",
        ],
    ]
    .concat();
    let run = sandbox.path("gap");
    let report = fine_json(sandbox.run(train(&data, &run, &gap)));
    // twenty tracks and a copy of each
    assert_eq!(report["features"][0], "40 spectrograms of 1 x 128 x 61");
    assert_eq!(report["columns"], 128 * 22);
    assert!(
        report["figures"]["accuracy"]["value"].as_f64().unwrap() > 0.9,
        "{}",
        report["figures"]
    );
    let decisions = report["learning"]["decisions"].as_array().unwrap();
    let names: Vec<&str> = decisions
        .iter()
        .map(|one| one[0].as_str().unwrap())
        .collect();
    assert_eq!(
        names[..3],
        ["single windows", "tracks by mean", "tracks by vote"]
    );
    assert_eq!(decisions[2][1], report["figures"]["accuracy"]["value"]);
    let config = fs::read_to_string(run.join("config.toml")).unwrap();
    assert!(
        config.contains("decide = \"vote\"") && config.contains("l1 = 0.000001"),
        "{config}"
    );
    let file = music.join("low/3.wav");
    let arguments = [
        "classify",
        "--with",
        run.to_str().unwrap(),
        file.to_str().unwrap(),
        "--format",
        "json",
    ];
    assert_eq!(fine_json(sandbox.run(arguments))[0]["genre"], "low");

    let run = sandbox.path("search");
    let search = [
        small.as_slice(),
        &[
            "--recipe",
            "cnn-lstm-mfcc",
            "--set",
            "epochs=3",
            "--folds",
            "2",
        ],
        &["--try", "copies=0,2", "--try", "l2=0,0.01"],
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
            "copies=0 l2=0",
            "copies=0 l2=0.01",
            "copies=2 l2=0",
            "copies=2 l2=0.01"
        ]
    );
    let most = rows
        .iter()
        .map(|row| row[3].parse::<f64>().unwrap())
        .fold(0.0, f64::max);
    assert!(
        (report["figures"]["accuracy"]["value"].as_f64().unwrap() - most).abs() < 1e-4,
        "{table}"
    );
    let trial = fs::read_to_string(run.join("trials/001/config.toml")).unwrap();
    assert!(
        trial.contains("initialise = \"keras\"") && trial.contains("l2 = 0.0\n"),
        "{trial}"
    );

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
            "knn.k=1,3",
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
    assert_eq!(
        fine_json(sandbox.run(train(&data, &run, &search)))["digests"],
        again["digests"]
    );
    // other values are another search
    for (values, expected) in [
        (
            "knn.k=1,5",
            "begun with settings.knn.k = 3, and now settings.knn.k is 5",
        ),
        (
            "knn.k=1,3,5",
            "this search is finished without a trial of knn.k=5: name another folder",
        ),
    ] {
        let other = [&search[..search.len() - 1], &[values]].concat();
        let output = sandbox.run(train(&data, &run, &other));
        let stderr = text(&output.stderr);
        assert_eq!(code(&output), 2, "{stderr}");
        assert!(stderr.contains(expected), "{stderr}");
    }

    // nine settings with a ninth of the epochs, three with a third, one whole
    let run = sandbox.path("halving");
    let search = [
        small.as_slice(),
        &[
            "--recipe",
            "cnn-lstm-mfcc",
            "--set",
            "epochs=9",
            "--halving",
        ],
        &[
            "--try",
            "l2=0,0.001,0.01",
            "--try",
            "training.rate=0.001,0.01,0.1",
        ],
    ]
    .concat();
    fine(sandbox.run(train(&data, &run, &search)));
    let table = fs::read_to_string(run.join("trials.csv")).unwrap();
    let budgets: Vec<&str> = table
        .lines()
        .skip(1)
        .map(|line| line.split(',').nth(2).unwrap())
        .collect();
    assert_eq!(
        budgets,
        [["1/9"; 9].as_slice(), &["1/3"; 3], &["1/1"; 1]].concat(),
        "{table}"
    );
    let epochs = |folder: &str| -> u64 {
        let config = fs::read_to_string(run.join(folder).join("config.toml")).unwrap();
        config
            .lines()
            .find_map(|line| line.strip_prefix("epochs = "))
            .unwrap()
            .parse()
            .unwrap()
    };
    assert_eq!((epochs("trials/005-9"), epochs("")), (1, 9));

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
            &["--try", "knn.k=1,3,5", "--try", "knn.metric=cosine,euclid"][..],
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
            &["--recipe", "cnn-lstm-time", "--set", "crop=200"][..],
            "network.crop: expected 0, or",
        ),
        (
            &["--recipe", "cnn-gap", "--try", "mixup=0.1,2"],
            "network.training.mixup: expected 0 to 1, found 2",
        ),
        (
            &["--recipe", "auto", "--folds", "2", "--try", "svm.cc=1,2"],
            "there is no key \"svm.cc\"",
        ),
        (
            &["--recipe", "space", "--features", "mfcc"],
            "expected no --features",
        ),
        (
            &["--recipe", "cnn-lstm-time", "--leak"],
            "expected no --leak",
        ),
        (
            &["--recipe", "space", "--set", "width=3"],
            "network.width: expected 1, 2 or 4",
        ),
        (
            &["--recipe", "space", "--set", "width=2"],
            "network.width: expected 4, found 2: the initial model",
        ),
        (
            &["--recipe", "cnn-gap", "--set", "anchor=1"],
            "network.training.anchor: expected 0",
        ),
        (
            &[
                "--recipe",
                "baseline-cnn",
                "--set",
                "network.seconds=0.5",
                "--set",
                "layers=[\"conv 4 3x3\"]",
            ],
            "layer 1 \"conv 4 3x3\": ends in 4 x 126 x",
        ),
        (
            &[
                "--recipe",
                "baseline-cnn",
                "--set",
                "layers=[\"linear classes\"]",
            ],
            "takes no image",
        ),
        (
            &["--recipe", "features", "--set", "width=3"],
            "only networks have width: name one with --recipe",
        ),
        (
            &["--recipe", "baseline-cnn", "--set", "start=voisin-3"],
            "only the recipe space has an initial model",
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
    let plan = fine(sandbox.run(train(&data, &run, &["--recipe", "space", "--dry-run"])));
    assert!(
        plan.contains("4 spectrograms of 1 x 128 x 199 each; 4 epochs of space"),
        "{plan}"
    );
    assert!(plan.contains("schedule = \"cosine\"") && !plan.contains("[settings") && !run.exists());
    assert!(
        plan.contains("batch_normalization_1") && plan.contains("conv2d_1"),
        "{plan}"
    );
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
