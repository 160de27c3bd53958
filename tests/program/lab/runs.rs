//! `lab train` and `lab report` on tables of features.

use std::fmt::Write as _;
use std::fs;

use serde_json::Value;

use super::{ask, list, number, refused, run};
use crate::common::{Sandbox, fine, text, tone_wav};

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
            let name = name(class);
            let artist = track / 3;
            let _ = write!(table, "{class}-{track},{name},artist {class} {artist}");
            for centre in centre {
                let _ = write!(table, ",{:.4}", centre + 1.2 * random());
            }
            let _ = writeln!(table, ",{:.4}", random());
        }
    }
    table
}

/// A sandbox with a table of features.
fn shelf(classes: usize, tracks: usize) -> Sandbox {
    let sandbox = Sandbox::new();
    let table = features(classes, tracks, |class| format!("genre {class}"));
    fs::write(sandbox.path("f.csv"), table).unwrap();
    sandbox
}

const SMALL: &str = "--set settings.forest.trees=50 --set settings.boost.rounds=20";

fn accuracy(method: &Value) -> f64 {
    number(&method["accuracy"]["value"])
}

#[test]
fn algorithms_are_evaluated_and_the_best_one_is_chosen() {
    let sandbox = shelf(4, 30);
    let all = format!("--algorithm majority,knn,logistic,svm,forest,boost {SMALL}");
    let report = ask(&sandbox, &format!("lab train @f.csv @run {all}"));
    let methods = list(&report["methods"]);
    let best = methods.iter().map(accuracy).fold(0.0, f64::max);
    let chosen = methods.iter().filter(|method| method["chosen"] == true);
    let chosen: Vec<f64> = chosen.map(accuracy).collect();
    assert!(
        methods.len() == 6 && chosen == [best] && best > 0.7,
        "{methods:?}"
    );
    assert_eq!(report["figures"]["on"], "test");
    let split = "split by artist: 96 / 12 / 12; 0 artists on two sides";
    assert_eq!(report["split"], split);
    let importance = list(&report["importance"]);
    assert_eq!(
        importance.len(),
        3,
        "mfcc, chroma and noise are shuffled as groups"
    );
    assert_eq!(importance[0]["columns"], "mfcc");
    let page = fs::read_to_string(sandbox.path("run/report.html")).unwrap();
    assert!(page.contains("ROC") && !page.contains("<script"));

    // A second call shows the finished run, and the same settings repeat it.
    let again = run(&sandbox, &format!("lab train @f.csv @run {all}"));
    assert!(text(&again.stderr).contains("this run is finished"));
    ask(&sandbox, &format!("lab train @f.csv @second {all}"));
    for file in ["model.safetensors", "predictions.csv", "config.toml"] {
        let [a, b] = ["run", "second"].map(|run| fs::read(sandbox.path(run).join(file)).unwrap());
        assert!(a == b, "{file}");
    }
    let other = "lab train @f.csv @run --algorithm knn --set settings.knn.k=3";
    assert!(refused(&sandbox, other).contains("use another folder"));
}

#[test]
fn folds_are_repeated_and_runs_are_compared() {
    let sandbox = shelf(3, 30);
    let train = |name: &str| {
        let folds = "--folds 5 --repeats 2";
        ask(
            &sandbox,
            &format!("lab train @f.csv @{name} --algorithm {name} {folds}"),
        )
    };
    let report = train("logistic");
    assert_eq!(report["figures"]["on"], "folds");
    assert_eq!(report["figures"]["tracks"], 90);
    let by = "5-fold cross-validation, repeated 2 times, groups kept together";
    assert_eq!(report["judged_by"], by);
    train("majority");
    let line = "lab report @logistic @majority --html @compare.html";
    let compared = &ask(&sandbox, line)[0];
    assert_eq!(compared["tracks"], 90);
    assert!(number(&compared["difference"]["high"]) < 0.0, "{compared}");
    assert!(sandbox.path("compare.html").exists());
}

#[test]
fn folds_leave_a_given_test_part_alone() {
    let sandbox = shelf(3, 30);
    let table = fs::read_to_string(sandbox.path("f.csv")).unwrap();
    let mut given = String::new();
    for (at, line) in table.lines().enumerate() {
        let part = match at {
            0 => "split",
            _ if at % 10 == 0 => "test",
            _ => "train",
        };
        given += &format!("{line},{part}\n");
    }
    fs::write(sandbox.path("f.csv"), given).unwrap();
    let report = ask(&sandbox, "lab train @f.csv @run --folds 3");
    assert_eq!(report["figures"]["on"], "test");
    assert_eq!(report["figures"]["tracks"], 9);
    let predictions = fs::read_to_string(sandbox.path("run/predictions.csv")).unwrap();
    let rows = predictions.lines().skip(1);
    let in_folds = rows.filter(|line| line.contains(",fold,"));
    assert_eq!(in_folds.count(), 81);
}

#[test]
fn auto_evaluates_many_and_joins_those_that_help() {
    let sandbox = shelf(4, 30);
    let line = format!("lab train @f.csv @run --recipe auto --folds 3 {SMALL}");
    let report = ask(&sandbox, &line);
    let methods = list(&report["methods"]);
    assert_eq!(methods.len(), 6, "five kinds, and all together");
    assert_eq!(methods[5]["name"], "select");
    let best = methods[..5].iter().map(accuracy).fold(0.0, f64::max);
    let is_better = accuracy(&methods[5]) > best;
    assert_eq!(methods[5]["chosen"], is_better, "{methods:?}");
    let answers = ask(&sandbox, "lab predict @run @f.csv");
    assert_eq!(list(&answers).len(), 120);
}

#[test]
fn a_run_writes_into_its_folder_alone() {
    let sandbox = Sandbox::new();
    for (genre, start) in [("low", 200.0), ("high", 2000.0)] {
        let folder = sandbox.path("music").join(genre);
        fs::create_dir_all(&folder).unwrap();
        for track in 0..6 {
            let sound = tone_wav(22_050, 1.0, start + 30.0 * f64::from(track), 0.5);
            fs::write(folder.join(format!("{track}.wav")), sound).unwrap();
        }
    }
    let below = || {
        let entries = fs::read_dir(sandbox.path("")).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let mut expected = below();
    let settings = "--features mfcc --algorithm knn --folds 3 --split track";
    fine(run(&sandbox, &format!("lab train @music @run {settings}")));
    expected.push("run".into());
    expected.sort();
    assert_eq!(below(), expected);
    assert!(
        !sandbox.path("run/work").exists(),
        "the features are removed"
    );
}

#[test]
fn odd_data_give_one_clear_line() {
    let sandbox = shelf(2, 3);
    let one = features(1, 12, |_| "rock".to_owned());
    fs::write(sandbox.path("one.csv"), one).unwrap();
    for (words, expected) in [
        (
            "@one.csv @x",
            "expected tracks of two classes or more, found only \"rock\": name the column of labels",
        ),
        (
            "@f.csv @x",
            "three parts need at least 3; use --split track",
        ),
        (
            "@f.csv @x --split track --folds 9",
            "expected at least 9 groups (artists), one for each fold, found 6",
        ),
        ("@f.csv @x --set settings.svm.d=3", "unknown field `d`"),
        (
            "@f.csv @x --split track --features mfccs",
            "there is no set of features \"mfccs\"",
        ),
    ] {
        let stderr = refused(&sandbox, &format!("lab train {words}"));
        let last = stderr.trim_end().lines().last().unwrap_or_default();
        assert!(last.contains(expected), "{words}: {stderr}");
        let _ = fs::remove_dir_all(sandbox.path("x"));
    }
    let missing = refused(&sandbox, "lab report @nothing");
    assert!(missing.contains("no such folder"), "{missing}");

    // A class of one track and invalid numbers are trained on.
    let mut table = features(3, 24, |class| class.to_string());
    table += "odd,alone,nobody,NaN,,inf,0.5\n";
    fs::write(sandbox.path("odd.csv"), table).unwrap();
    let report = ask(&sandbox, "lab train @odd.csv @odd");
    let notes = report["data"]["notes"].to_string();
    assert!(
        notes.contains("3 cells are no number, the first line 74"),
        "{notes}"
    );
}

#[test]
fn reports_hold_hostile_names_and_many_classes() {
    let sandbox = Sandbox::new();
    let name = |class| format!("\"<script>alert({class})</script> & \"\"'\"");
    fs::write(sandbox.path("f.csv"), features(200, 6, name)).unwrap();
    let line = "lab train @f.csv @run --algorithm knn --split track";
    fine(run(&sandbox, line));
    let page = fs::read_to_string(sandbox.path("run/report.html")).unwrap();
    assert!(page.len() < 3_000_000, "{} bytes", page.len());
    assert!(!page.contains("<script") && page.contains("&lt;script&gt;alert(7)"));
    assert!(page.contains("40 largest of 200 classes"));
    assert!(page.contains("figures are too good"));
}

#[test]
fn a_plan_writes_nothing() {
    let sandbox = shelf(2, 9);
    let line = "lab train @f.csv @run";
    let plan = fine(run(
        &sandbox,
        &format!("{line} --dry-run --algorithm svm,knn"),
    ));
    for expected in [
        "18 tracks",
        "4 columns",
        "3 fits (svm, knn)",
        "[settings.svm]",
    ] {
        assert!(plan.contains(expected), "{plan}");
    }
    assert!(!plan.contains("forest") && !sandbox.path("run").exists());
    // A run on a table of numbers cannot read audio, and names the features that can.
    let sound = tone_wav(8000, 1.0, 300.0, 0.5);
    fs::write(sandbox.path("x.wav"), sound).unwrap();
    fine(run(&sandbox, &format!("{line} --algorithm majority")));
    let message = refused(&sandbox, "lab predict @run @x.wav");
    assert!(
        message.contains("one trained with --features fma can"),
        "{message}"
    );
    let message = refused(&sandbox, "lab predict nope @x.wav");
    assert!(message.contains("nope: no such folder; voisin lab train makes one"));
}
