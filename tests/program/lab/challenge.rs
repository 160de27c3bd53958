//! A challenge from end to end: a table of titles and labels beside audio, a test table, a sample submission.

use std::collections::BTreeSet;
use std::fs;

use crate::common::{Sandbox, code, fine_json, json, text};
use crate::lab::datasets::made;

const FEATURES: &str = "model:musicnn-msd";

#[test]
fn a_challenge_runs_from_table_to_submission() {
    let Some(made) = made() else { return };
    let sandbox = Sandbox::new();
    let from = made.join("challenge");
    let [train, test] = ["train", "test"].map(|part| {
        format!(
            "table:{},audio={}",
            from.join(format!("{part}.csv")).display(),
            from.join(part).display()
        )
    });
    let run = sandbox.path("challenge");
    let run = run.to_str().unwrap();
    let more = [
        "--algorithm",
        "knn,logistic",
        "--folds",
        "3",
        "--split",
        "track",
        "--features",
        FEATURES,
    ];
    let output = sandbox.run(["lab", "train", &train, run].iter().chain(&more));
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    // one file that does not decode: its row is there all the same
    let audio = sandbox.path("test");
    fs::create_dir(&audio).unwrap();
    let files: BTreeSet<_> = fs::read_dir(from.join("test"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    for (at, file) in files.iter().enumerate() {
        let to = audio.join(file.file_name().unwrap());
        if at == 0 {
            fs::write(to, b"no audio").unwrap();
        } else {
            fs::copy(file, to).map(|_| ()).unwrap();
        }
    }
    let test_here = format!(
        "table:{},audio={}",
        from.join("test.csv").display(),
        audio.display()
    );
    let out = sandbox.path("s.csv");
    let sample = from.join("sample_submission.csv");
    let [out, sample] = [&out, &sample].map(|path| path.to_str().unwrap());
    let ask = [
        "lab",
        "predict",
        run,
        &test_here,
        "--submission",
        out,
        "--like",
        sample,
    ];
    let output = sandbox.run(ask);
    assert_eq!(code(&output), 1, "{}", text(&output.stderr));
    assert!(
        text(&output.stderr).contains("the commonest class is predicted"),
        "{}",
        text(&output.stderr)
    );
    let lines = |path: &str| -> Vec<String> {
        fs::read_to_string(path)
            .unwrap()
            .lines()
            .map(|line| line.rsplit_once(',').unwrap().0.to_owned())
            .collect()
    };
    assert_eq!(
        lines(out),
        lines(sample),
        "header, titles and their order are the sample's"
    );
    let answers: BTreeSet<String> = fs::read_to_string(out)
        .unwrap()
        .lines()
        .skip(1)
        .map(|line| line.rsplit_once(',').unwrap().1.to_owned())
        .collect();
    assert!(
        answers
            .iter()
            .all(|answer| ["1", "2", "3", "4"].contains(&answer.as_str())),
        "{answers:?}"
    );
    // a sample with an unknown title is refused before anything is written
    let odd = sandbox.path("odd.csv");
    fs::write(&odd, "titre,id_genre\nnobody knows,1\n").unwrap();
    let never = sandbox.path("never.csv");
    let refused = sandbox.run([
        "lab",
        "predict",
        run,
        &test,
        "--submission",
        never.to_str().unwrap(),
        "--like",
        odd.to_str().unwrap(),
    ]);
    assert!(
        code(&refused) == 2 && text(&refused.stderr).contains("nothing is written"),
        "{}",
        text(&refused.stderr)
    );
    assert!(!never.exists());
    // answers without a challenge: files and folders
    let one = files.iter().nth(1).unwrap().to_str().unwrap();
    let classified = fine_json(sandbox.run(["lab", "predict", run, one, "--format", "json"]));
    let p: f64 = classified[0]["probabilities"]
        .as_object()
        .unwrap()
        .values()
        .map(|p| p.as_f64().unwrap())
        .sum();
    assert!((p - 1.0).abs() < 1e-3, "{classified}");
    let folder = audio.to_str().unwrap();
    let some = sandbox.run(["lab", "predict", run, folder, "--format", "json"]);
    assert_eq!(
        (code(&some), json(&some).as_array().map(Vec::len)),
        (1, Some(7))
    );
    // a folder that is not a run is refused
    let not = sandbox.run(["lab", "predict", folder, one]);
    assert!(
        code(&not) == 2 && text(&not.stderr).contains("config.toml"),
        "{}",
        text(&not.stderr)
    );
}
