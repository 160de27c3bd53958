//! `lab train` and `lab report` on tables of features.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::common::{Sandbox, code, fine, fine_json, json, text, tone_wav};

/// A table of features: `classes` of `tracks` tracks by artists of three tracks each, separable by some columns.
fn features(classes: usize, tracks: usize, name: impl Fn(usize) -> String) -> String {
    let mut table =
        "track,genre,artist,mfcc_mean_01,mfcc_mean_02,chroma_mean_01,noise_1\n".to_owned();
    let mut state = 7u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as f64 / u64::MAX as f64 - 0.5
    };
    for class in 0..classes {
        for track in 0..tracks {
            let centre = [class as f64, (class * class % 7) as f64, (class % 3) as f64];
            let _ = write!(
                table,
                "{class}-{track},{},artist {class} {}",
                name(class),
                track / 3
            );
            for centre in centre {
                let _ = write!(table, ",{:.4}", centre + 1.2 * random());
            }
            let _ = writeln!(table, ",{:.4}", random());
        }
    }
    table
}

fn write(sandbox: &Sandbox, name: &str, table: &str) -> String {
    let path = sandbox.path(name);
    fs::write(&path, table).unwrap();
    format!("features:{}", path.display())
}

fn train(data: &str, run: &Path, more: &[&str]) -> Vec<String> {
    let base = ["lab", "train", data, run.to_str().unwrap()];
    base.iter()
        .chain(more)
        .map(|&word| word.to_owned())
        .collect()
}

#[test]
fn algorithms_are_evaluated_and_the_best_one_is_chosen() {
    let sandbox = Sandbox::new();
    let data = write(
        &sandbox,
        "f.csv",
        &features(4, 30, |class| format!("genre {class}")),
    );
    let run = sandbox.path("run");
    let all = "majority,knn,logistic,svm,forest,boost";
    let small = [
        "--set",
        "settings.forest.trees=50",
        "--set",
        "settings.boost.rounds=20",
    ];
    let more = [["--algorithm", all, "--format", "json"].as_slice(), &small].concat();
    let report = fine_json(sandbox.run(train(&data, &run, &more)));
    let methods = report["methods"].as_array().unwrap();
    assert_eq!(methods.len(), 6);
    let value = |method: &serde_json::Value| method["accuracy"]["value"].as_f64().unwrap();
    let best = methods.iter().map(value).fold(0.0, f64::max);
    let chosen: Vec<&serde_json::Value> = methods
        .iter()
        .filter(|method| method["chosen"] == true)
        .collect();
    assert!(
        chosen.len() == 1 && value(chosen[0]) == best && best > 0.7,
        "{methods:?}"
    );
    assert!(
        methods[4]["note"]
            .as_str()
            .unwrap()
            .starts_with("out of bag ")
    );
    assert_eq!(report["figures"]["on"], "test");
    assert!(
        report["split"].as_str().unwrap().starts_with(
            "split by artist: 96 / 12 / 12; 0 artists on two sides; the largest artist has "
        ),
        "{}",
        report["split"]
    );
    let important = report["importance"].as_array().unwrap();
    let columns_of = |single: bool| -> Vec<&str> {
        let rows = important.iter().filter(|one| one["single"] == single);
        rows.map(|one| one["columns"].as_str().unwrap()).collect()
    };
    assert_eq!(
        columns_of(false).len(),
        3,
        "mfcc, chroma and noise are shuffled as groups: {important:?}"
    );
    assert_eq!(columns_of(false)[0], "mfcc");
    assert_eq!(
        (columns_of(true).len(), columns_of(true)[3]),
        (4, "noise_1"),
        "{important:?}"
    );
    for file in [
        "config.toml",
        "data.csv",
        "failed.csv",
        "predictions.csv",
        "model.safetensors",
    ] {
        assert!(run.join(file).is_file(), "{file}");
    }
    let page = fs::read_to_string(run.join("report.html")).unwrap();
    assert!(page.contains("Leakage") && page.contains("ROC") && !page.contains("<script"));
    // a second call shows the finished run, and the same settings repeat it
    let again = sandbox.run(train(&data, &run, &more));
    assert!(
        text(&again.stderr).contains("this run is finished"),
        "{}",
        text(&again.stderr)
    );
    let second = sandbox.path("second");
    fine(sandbox.run(train(&data, &second, &more)));
    for file in ["model.safetensors", "predictions.csv", "config.toml"] {
        assert_eq!(
            fs::read(run.join(file)).unwrap(),
            fs::read(second.join(file)).unwrap(),
            "{file}"
        );
    }
    // other settings are refused there
    let other = sandbox.run(train(
        &data,
        &run,
        &["--algorithm", "knn", "--set", "settings.knn.k=3"],
    ));
    let stderr = text(&other.stderr);
    assert!(
        code(&other) == 2 && stderr.contains("use another folder"),
        "{stderr}"
    );
}

#[test]
fn folds_leave_a_given_test_part_alone_and_runs_are_compared() {
    let sandbox = Sandbox::new();
    let table = features(3, 30, |class| class.to_string());
    let data = write(&sandbox, "f.csv", &table);
    let a = sandbox.path("a");
    let b = sandbox.path("b");
    let folds = ["--folds", "5", "--repeats", "2", "--format", "json"];
    let report = fine_json(sandbox.run(train(
        &data,
        &a,
        &[&["--algorithm", "logistic"], folds.as_slice()].concat(),
    )));
    assert_eq!(
        (&report["figures"]["on"], &report["figures"]["tracks"]),
        (&"folds".into(), &90.into())
    );
    assert_eq!(report["methods"][0]["name"], "logistic");
    assert_eq!(
        report["judged_by"],
        "5-fold cross-validation, repeated 2 times, groups kept together"
    );
    fine(sandbox.run(train(
        &data,
        &b,
        &[&["--algorithm", "majority"], folds.as_slice()].concat(),
    )));
    let [a, b] = [a, b].map(|path| path.to_str().unwrap().to_owned());
    let page = sandbox.path("compare.html");
    let both = [
        "lab",
        "report",
        &a,
        &b,
        "--html",
        page.to_str().unwrap(),
        "--format",
        "json",
    ];
    let compared = fine_json(sandbox.run(both));
    assert_eq!(compared[0]["tracks"], 90);
    assert!(
        compared[0]["difference"]["high"].as_f64().unwrap() < 0.0,
        "{compared}"
    );
    assert!(compared[0]["p_value"].as_f64().unwrap() < 0.01);
    assert!(fs::read_to_string(page).unwrap().contains("McNemar"));
    // a data set with its own split has its folds inside training and validation
    let given: String = table
        .lines()
        .enumerate()
        .map(|(at, line)| {
            format!(
                "{line},{}\n",
                if at == 0 {
                    "split"
                } else if at % 10 == 0 {
                    "test"
                } else {
                    "train"
                }
            )
        })
        .collect();
    let given = write(&sandbox, "h.csv", &given);
    let run = sandbox.path("given");
    let report = fine_json(sandbox.run(train(&given, &run, &["--folds", "3", "--format", "json"])));
    assert_eq!(
        report["judged_by"],
        "3-fold cross-validation, groups kept together"
    );
    assert_eq!(
        (&report["figures"]["on"], &report["figures"]["tracks"]),
        (&"test".into(), &9.into())
    );
    let predictions = fs::read_to_string(run.join("predictions.csv")).unwrap();
    assert_eq!(
        predictions
            .lines()
            .skip(1)
            .filter(|line| line.contains(",fold,"))
            .count(),
        81
    );
}

#[test]
fn auto_evaluates_many_and_joins_those_that_help() {
    let sandbox = Sandbox::new();
    let data = write(
        &sandbox,
        "f.csv",
        &features(4, 30, |class| format!("genre {class}")),
    );
    let run = sandbox.path("run");
    let small = [
        "--set",
        "settings.forest.trees=30",
        "--set",
        "settings.boost.rounds=15",
    ];
    let more = [
        ["--recipe", "auto", "--folds", "3", "--format", "json"].as_slice(),
        &small,
    ]
    .concat();
    let report = fine_json(sandbox.run(train(&data, &run, &more)));
    let methods = report["methods"].as_array().unwrap();
    assert_eq!(methods.len(), 6, "five kinds, and all together");
    let accuracy = |name: &str| {
        methods
            .iter()
            .find(|method| method["name"] == name)
            .unwrap()["accuracy"]["value"]
            .as_f64()
            .unwrap()
    };
    let best = methods[..5]
        .iter()
        .map(|one| one["accuracy"]["value"].as_f64().unwrap())
        .fold(0.0, f64::max);
    assert!(
        accuracy("select") >= accuracy("forest").min(accuracy("knn")),
        "{methods:?}"
    );
    assert_eq!(
        methods[5]["chosen"] == true,
        accuracy("select") > best,
        "{methods:?}"
    );
    // two algorithms joined unconditionally; the stored model predicts the same
    let joined = sandbox.path("joined");
    let two = [
        "--algorithm",
        "knn,logistic",
        "--set",
        "algorithms.combine=select",
        "--folds",
        "3",
        "--format",
        "json",
    ];
    let report = fine_json(sandbox.run(train(&data, &joined, &two)));
    assert_eq!(report["methods"][2]["name"], "select");
    let note = report["methods"][2]["note"].as_str().unwrap();
    assert!(
        note.contains("knn 0.") || note.contains("logistic"),
        "{note}"
    );
    let answers = json(sandbox.run([
        "lab",
        "predict",
        joined.to_str().unwrap(),
        &data,
        "--format",
        "json",
    ]));
    assert_eq!(answers.as_array().unwrap().len(), 120);
}

#[test]
fn a_run_writes_into_its_folder_alone() {
    let sandbox = Sandbox::new();
    let music = sandbox.path("music");
    for (genre, start) in [("low", 200.0), ("high", 2000.0)] {
        fs::create_dir_all(music.join(genre)).unwrap();
        for track in 0..6 {
            let file = music.join(genre).join(format!("{track}.wav"));
            fs::write(
                file,
                tone_wav(22_050, 1.0, start + 30.0 * f64::from(track), 0.5),
            )
            .unwrap();
        }
    }
    let below = |folder: &Path| -> Vec<std::path::PathBuf> {
        let mut found: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        found.sort();
        found
    };
    let before = below(sandbox.path("").as_path());
    let run = sandbox.path("run");
    let more = [
        "--features",
        "mfcc",
        "--algorithm",
        "knn",
        "--folds",
        "3",
        "--split",
        "track",
    ];
    let data = music.to_str().unwrap();
    fine(sandbox.run(train(data, &run, &more)));
    let mut expected = before;
    expected.push(run.clone());
    expected.sort();
    assert_eq!(below(sandbox.path("").as_path()), expected);
    assert!(!run.join("work").exists(), "the checkpoint is removed");
}

#[test]
fn unsure_answers_are_unknown() {
    let sandbox = Sandbox::new();
    // A third of the tracks of two genres have another one's label, so that some answers are wrong.
    let table = features(4, 30, |class| format!("genre {class}"));
    let labelled = table.lines().enumerate().map(|(at, line)| match at % 3 {
        0 => line
            .replace(",genre 0,", ",genre 3,")
            .replace(",genre 1,", ",genre 2,"),
        _ => line.to_owned(),
    });
    let table = labelled.collect::<Vec<_>>().join("\n");
    let data = write(&sandbox, "f.csv", &table);
    let run = sandbox.path("run");
    fine(sandbox.run(train(&data, &run, &["--folds", "5"])));
    let ask = |more: &[&str]| {
        sandbox.run(
            [
                [
                    "lab",
                    "predict",
                    run.to_str().unwrap(),
                    &data,
                    "--format",
                    "json",
                ]
                .as_slice(),
                more,
            ]
            .concat(),
        )
    };
    // predictions of tracks outside training: above this probability nine of ten are right
    let cells = fs::read_to_string(run.join("predictions.csv")).unwrap();
    let mut predicted: Vec<(f64, bool)> = cells
        .lines()
        .skip(1)
        .map(|line| {
            let cells: Vec<&str> = line.split(',').collect();
            let p = cells[5..]
                .iter()
                .map(|p| p.parse::<f64>().unwrap())
                .fold(0.0, f64::max);
            (p, cells[1] == cells[4])
        })
        .collect();
    predicted.sort_by(|a, b| b.0.total_cmp(&a.0));
    let right =
        |n: usize| predicted[..n].iter().filter(|(_, right)| *right).count() as f64 / n as f64;
    let most = (1..=predicted.len())
        .rev()
        .find(|&n| right(n) >= 0.9)
        .unwrap();
    assert!(most < predicted.len(), "some are wrong");
    let answers = fine_json(ask(&["--precision", "0.9"]));
    let mut unknown = 0;
    for one in answers.as_array().unwrap() {
        let is_sure = one["probability"].as_f64().unwrap() >= predicted[most - 1].0 - 1e-5;
        assert_eq!(
            one["genre"].is_string(),
            is_sure,
            "{one} {}",
            predicted[most - 1].0
        );
        unknown += usize::from(!is_sure);
    }
    assert!(unknown > 0 && unknown < 120, "{unknown}");
    assert!(
        fine_json(ask(&[]))
            .as_array()
            .unwrap()
            .iter()
            .all(|one| one["genre"].is_string())
    );
    // A submission has a class for every title.
    let refused = ask(&["--precision", "0.9", "--submission", "x.csv"]);
    let message = text(&refused.stderr);
    assert!(
        code(&refused) == 2 && message.contains("cannot be used with"),
        "{message}"
    );
}

#[test]
fn odd_data_give_one_clear_line() {
    let sandbox = Sandbox::new();
    let one = write(&sandbox, "one.csv", &features(1, 12, |_| "rock".to_owned()));
    let none = write(&sandbox, "none.csv", "track,genre,artist\na,rock,x\n");
    let few = write(
        &sandbox,
        "few.csv",
        &features(2, 3, |class| class.to_string()),
    );
    for (data, more, expected) in [
        (
            &one,
            vec![],
            "expected tracks of two classes or more, found only \"rock\": name the column of labels (,label=COLUMN), or put each class into its own folder",
        ),
        (&none, vec![], "expected columns of numbers, found none"),
        (
            &few,
            vec![],
            "three parts need at least 3; use --split track",
        ),
        (
            &few,
            vec!["--split", "track", "--folds", "9"],
            "expected at least 9 groups (artists), one for each fold, found 6",
        ),
        (&few, vec!["--set", "settings.svm.d=3"], "unknown field `d`"),
        (
            &few,
            vec!["--features", "mfccs"],
            "there is no set of features \"mfccs\"",
        ),
    ] {
        let output = sandbox.run(train(data, &sandbox.path("odd"), &more));
        let stderr = text(&output.stderr);
        assert_eq!(code(&output), 2, "{data} {more:?}: {stderr}");
        assert!(
            stderr.contains(expected) && stderr.trim_end().lines().count() == 1,
            "{data} {more:?}: {stderr}"
        );
        let _ = fs::remove_dir_all(sandbox.path("odd"));
    }
    // a class of one track and invalid numbers
    let mut table = features(3, 24, |class| class.to_string());
    table += "odd,alone,nobody,NaN,,inf,0.5\n";
    let data = write(&sandbox, "odd.csv", &table);
    let run = sandbox.path("odd");
    let report = fine_json(sandbox.run(train(&data, &run, &["--format", "json"])));
    let notes = report["data"]["notes"].to_string();
    assert!(
        notes.contains("no number in 3 cells of 1 row: the column's median"),
        "{notes}"
    );
    assert!(notes.contains("class alone has one track"), "{notes}");
    let data = write(
        &sandbox,
        "lone.csv",
        &(table + "odd 2,alone,nobody,1,2,3,0.5\n"),
    );
    let run = train(
        &data,
        &sandbox.path("lone"),
        &["--folds", "3", "--format", "json"],
    );
    let notes = fine_json(sandbox.run(run))["data"]["notes"].to_string();
    assert!(notes.contains("class alone has one group"), "{notes}");
    let missing = sandbox.run(["lab", "report", sandbox.path("nothing").to_str().unwrap()]);
    assert!(
        code(&missing) == 2 && text(&missing.stderr).contains("no such folder"),
        "{}",
        text(&missing.stderr)
    );
}

#[test]
fn reports_hold_hostile_names_and_many_classes() {
    let sandbox = Sandbox::new();
    let hostile = features(200, 6, |class| {
        format!("<script>alert({class})</script> & \"'")
    });
    let hostile = hostile
        .replace(",<script>", ",\"<script>")
        .replace(" & \"',", " & \"\"'\",");
    let data = write(&sandbox, "f.csv", &hostile);
    let run = sandbox.path("run");
    let output = sandbox.run(train(
        &data,
        &run,
        &["--algorithm", "knn", "--split", "track"],
    ));
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    let page = fs::read(run.join("report.html")).unwrap();
    assert!(page.len() < 3_000_000, "{} bytes", page.len());
    let page = text(&page);
    assert!(!page.contains("<script") && page.contains("&lt;script&gt;alert(7)"));
    assert!(page.contains("40 largest of 200 classes") && page.contains("figures may be too good"));
}

#[test]
fn a_plan_writes_nothing() {
    let sandbox = Sandbox::new();
    let data = write(
        &sandbox,
        "f.csv",
        &features(2, 9, |class| class.to_string()),
    );
    let run = sandbox.path("run");
    let stdout = fine(sandbox.run(train(&data, &run, &["--dry-run", "--algorithm", "svm,knn"])));
    assert!(
        stdout.contains("18 tracks")
            && stdout.contains("4 columns")
            && stdout.contains("3 fits (svm, knn)"),
        "{stdout}"
    );
    assert!(stdout.contains("[settings.svm]") && !stdout.contains("forest") && !run.exists());
    // a run on a table of numbers cannot read audio, and names the features that can
    fs::write(sandbox.path("x.wav"), tone_wav(8000, 1.0, 300.0, 0.5)).unwrap();
    fine(sandbox.run(train(&data, &run, &["--algorithm", "majority"])));
    let file = sandbox.path("x.wav");
    let output = sandbox.run([
        "lab",
        "predict",
        run.to_str().unwrap(),
        file.to_str().unwrap(),
    ]);
    let stderr = text(&output.stderr);
    assert!(
        code(&output) == 2 && stderr.contains("one trained with --features fma can"),
        "{stderr}"
    );
    let output = sandbox.run(["lab", "predict", "nope", "x.wav"]);
    let stderr = text(&output.stderr);
    assert!(
        stderr.contains("nope: no such folder; voisin lab train makes one"),
        "{stderr}"
    );
    let output = sandbox.run([
        "lab",
        "train",
        &data,
        run.to_str().unwrap(),
        "--algorithm",
        "svn",
    ]);
    assert!(
        code(&output) == 2 && text(&output.stderr).contains("svn"),
        "{}",
        text(&output.stderr)
    );
    assert!(
        json(sandbox.run(["lab", "data", &data, "--split", "track", "--format", "json"]))["tracks"]
            == 18
    );
}
