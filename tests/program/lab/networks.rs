//! Networks of `lab train`, as processes on the data of `scripts/make_lab_data.py` and on made sound.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use ndarray::Array2;
use voisin_encoder::Weights;

use super::{ask, list, number, refused, run};
use crate::common::{Sandbox, fine, miniature, tone_wav};

#[test]
fn a_network_is_trained_killed_and_goes_on() {
    let sandbox = Sandbox::new();
    let small = "--recipe baseline-cnn --set network.seconds=3 --set network.training.epochs=3 \
                 --set network.training.batch=8";
    let line = format!("lab train fma:{}/fma", miniature().display());
    let begun = Instant::now();
    let report = ask(&sandbox, &format!("{line} @whole {small}"));
    let took = begun.elapsed();
    assert_eq!(report["figures"]["on"], "test");
    assert_eq!(list(&report["learning"]["loss"][0]).len(), 3);
    let whole = sandbox.path("whole");
    let metrics = fs::read_to_string(whole.join("metrics.csv")).unwrap();
    let losses = metrics.lines().skip(1).map(|line| {
        let loss = line.split(',').nth(2).unwrap();
        loss.parse::<f64>().unwrap()
    });
    let losses: Vec<f64> = losses.collect();
    assert!(losses[2] < losses[0], "the loss falls: {metrics}");
    assert!(!whole.join("work").exists());

    let again = format!("{line} {} {small}", sandbox.path("cut").display());
    let mut killed = 0;
    for moment in [0.4, 0.7] {
        let mut command = sandbox.command(again.split_whitespace());
        let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = quiet.spawn().unwrap();
        std::thread::sleep(took.mul_f64(moment).min(Duration::from_secs(20)));
        killed += u32::from(child.try_wait().unwrap().is_none());
        let _ = child.kill();
        child.wait().unwrap();
    }
    assert!(killed > 0, "nothing was killed");
    ask(&sandbox, &again);
    for file in ["best.safetensors", "predictions.csv", "data.csv"] {
        let [a, b] = ["whole", "cut"].map(|run| fs::read(sandbox.path(run).join(file)).unwrap());
        assert!(a == b, "{file}");
    }

    // The run predicts as in its test part.
    let predictions = fs::read_to_string(whole.join("predictions.csv")).unwrap();
    let row = predictions.lines().find(|line| line.contains(",test,"));
    let cells: Vec<&str> = row.unwrap().split(',').collect();
    let name = format!("{:0>6}", cells[0]);
    let file = miniature().join("fma/fma_small").join(&name[..3]);
    let file = file.join(format!("{name}.mp3"));
    let answers = ask(&sandbox, &format!("lab predict @whole {}", file.display()));
    assert_eq!(answers[0]["genre"], cells[4], "{answers}");
}

/// A folder with ten low tones and ten high ones, a genre each.
fn low_and_high(sandbox: &Sandbox, seconds: f64) {
    for (genre, start) in [("low", 200.0), ("high", 2000.0)] {
        let folder = sandbox.path("music").join(genre);
        fs::create_dir_all(&folder).unwrap();
        for track in 0..10 {
            let hertz = start * (1.0 + 0.1 * f64::from(track));
            let sound = tone_wav(22_050, seconds, hertz, 0.5);
            fs::write(folder.join(format!("{track}.wav")), sound).unwrap();
        }
    }
}

#[test]
fn vectors_are_the_input_of_the_runs_last_layer() {
    let sandbox = Sandbox::new();
    low_and_high(&sandbox, 1.0);
    let small = "--set network.seconds=1 --set network.crop=0 --set network.training.epochs=6 \
                 --set network.training.batch=8";
    let line = format!("lab train folder:@music @run --recipe cnn-gap --split track {small}");
    ask(&sandbox, &line);
    let file = fs::read(sandbox.path("run/best.safetensors")).unwrap();
    let weights = Weights::from_safetensors(&file, "run").unwrap();
    let head = |name: &str| {
        let tensor = weights.tensor(&format!("layers.21.{name}")).unwrap();
        tensor.values.clone()
    };
    let weight = head("weight");
    let bias = head("bias");
    let predict = "lab predict @run folder:@music";
    fine(run(&sandbox, &format!("{predict} --vectors @inner.npy")));
    let inner: Array2<f32> = ndarray_npy::read_npy(sandbox.path("inner.npy")).unwrap();
    assert_eq!(inner.dim(), (20, 128));
    let answers = ask(&sandbox, predict);
    for (row, answer) in inner.outer_iter().zip(list(&answers)) {
        let logits = weight.chunks_exact(128).zip(&bias).map(|(weights, bias)| {
            let products = weights.iter().zip(row).map(|(w, x)| f64::from(w * x));
            f64::from(*bias) + products.sum::<f64>()
        });
        let powers: Vec<f64> = logits.map(f64::exp).collect();
        for (class, power) in ["high", "low"].into_iter().zip(&powers) {
            let p = number(&answer["probabilities"][class]);
            let expected = power / powers.iter().sum::<f64>();
            assert!((p - expected).abs() < 1e-4, "{class}: {p}");
        }
    }
    let message = refused(&sandbox, &format!("{predict} --vectors inner.txt"));
    assert!(message.contains("expected FILE.npy"), "{message}");
}

/// Lines of a CSV file without its header, as cells.
fn cells(path: &Path) -> Vec<Vec<String>> {
    let text = fs::read_to_string(path).unwrap();
    let lines = text.lines().skip(1);
    lines
        .map(|line| line.split(',').map(str::to_owned).collect())
        .collect()
}

#[test]
fn a_search_over_folds_takes_the_best_of_a_grid() {
    let sandbox = Sandbox::new();
    low_and_high(&sandbox, 1.5);
    let small = "--recipe cnn-lstm-mfcc --split track --folds 2 --set network.training.batch=8 \
                 --set network.training.epochs=3";
    let grid = "--try network.copies=0,2 --try network.training.l2=0,0.01";
    let line = format!("lab train folder:@music @run {small} {grid}");
    let report = ask(&sandbox, &line);
    let figures = &report["figures"];
    assert_eq!(figures["on"], "folds");
    assert_eq!(figures["tracks"], 20);
    let by = report["judged_by"].as_str().unwrap();
    assert!(by.contains("chosen among 4 trials"), "{by}");
    let rows = cells(&sandbox.path("run/trials.csv"));
    let settings: Vec<&str> = rows.iter().map(|row| row[1].as_str()).collect();
    let expected = [
        "network.copies=0 network.training.l2=0",
        "network.copies=0 network.training.l2=0.01",
        "network.copies=2 network.training.l2=0",
        "network.copies=2 network.training.l2=0.01",
    ];
    assert_eq!(settings, expected);
    let shares = rows.iter().map(|row| row[2].parse::<f64>().unwrap());
    let most = shares.fold(0.0, f64::max);
    assert!((number(&figures["accuracy"]["value"]) - most).abs() < 1e-4);
}

#[test]
fn a_search_leaves_the_test_part_alone_and_repeats_no_finished_trial() {
    let sandbox = Sandbox::new();
    low_and_high(&sandbox, 1.0);
    let line = "lab train folder:@music @run --split track --features mfcc --algorithm knn";
    let search = format!("{line} --try settings.knn.k=1,3");
    ask(&sandbox, &search);
    let is_tested = |folder: &str| {
        let path = sandbox.path("run").join(folder).join("predictions.csv");
        fs::read_to_string(path).unwrap().contains(",test,")
    };
    assert!(is_tested("") && !is_tested("trials/001") && !is_tested("trials/002"));
    let trial = sandbox.path("run/trials/002/report.json");
    let written = || fs::metadata(&trial).unwrap().modified().unwrap();
    let before = written();
    fs::remove_file(sandbox.path("run/report.json")).unwrap();
    ask(&sandbox, &search);
    assert_eq!(written(), before);
    // Other values are another search.
    for (values, expected) in [
        ("1,5", "this run was begun with other settings"),
        (
            "1,3,5",
            "this search is finished without a trial of settings.knn.k=5",
        ),
    ] {
        let other = format!("{line} --try settings.knn.k={values}");
        let stderr = refused(&sandbox, &other);
        assert!(stderr.contains(expected), "{stderr}");
    }

    // Two of the six combinations, the same ones again.
    let drawn = |name: &str| {
        let grid = "--try settings.knn.k=1,3,5 --try settings.knn.smoothing=0,1";
        let line = line.replace("@run", &format!("@{name}"));
        ask(&sandbox, &format!("{line} --trials 2 {grid}"));
        let rows = cells(&sandbox.path(name).join("trials.csv"));
        rows.into_iter()
            .map(|row| row[1].clone())
            .collect::<Vec<_>>()
    };
    let first = drawn("drawn");
    assert!(first.len() == 2 && first[0] != first[1]);
    assert_eq!(first, drawn("again"));
}

#[test]
fn settings_that_cannot_be_are_refused_in_one_line() {
    let sandbox = Sandbox::new();
    low_and_high(&sandbox, 0.5);
    let line = "lab train folder:@music @run";
    for (more, expected) in [
        (
            "--recipe cnn-lstm-time --set network.crop=200",
            "network.crop: expected 0, or",
        ),
        (
            "--recipe cnn-gap --try network.training.mixup=0.1,2",
            "network.training.mixup: expected 0 to 1",
        ),
        (
            "--recipe auto --folds 2 --try settings.svm.cc=1,2",
            "unknown field `cc`",
        ),
        ("--recipe cnn-gap --features mfcc", "expected no --features"),
        (
            "--recipe features --set network.crop=3",
            "there is no table network",
        ),
    ] {
        let stderr = refused(&sandbox, &format!("{line} {more}"));
        let is_one_line = stderr.trim_end().lines().count() == 1;
        assert!(stderr.contains(expected) && is_one_line, "{more}: {stderr}");
        let _ = fs::remove_dir_all(sandbox.path("run"));
    }
    let plan = |recipe: &str| {
        fine(run(
            &sandbox,
            &format!("{line} --recipe {recipe} --dry-run"),
        ))
    };
    let gap = plan("cnn-gap");
    assert!(gap.contains("a spectrogram of 1 x 128 x 1288 each; 60 epochs of cnn-gap"));
    assert!(gap.contains("schedule = \"cosine\"") && !gap.contains("[settings"));
    // two classes of 65 each, as in Keras
    let lstm = plan("cnn-lstm-mfcc");
    assert!(lstm.contains("lstm 64 last one-bias") && lstm.contains("20914"));
    assert!(!sandbox.path("run").exists());
}
