//! A challenge from end to end: a table of titles and labels beside audio, a test table, a sample submission.

use std::collections::BTreeSet;
use std::fs;

use super::{ask, list, number, refused, run};
use crate::common::{Sandbox, code, fine, miniature, text};

#[test]
fn a_submission_has_a_row_for_a_file_that_does_not_decode() {
    let sandbox = Sandbox::new();
    let from = miniature().join("challenge");
    let here = from.display();
    let settings = "--algorithm knn,logistic --folds 3 --split track --features mfcc";
    let train = format!("lab train table:{here}/train.csv,audio={here}/train @run {settings}");
    fine(run(&sandbox, &train));
    let audio = sandbox.path("test");
    fs::create_dir(&audio).unwrap();
    let files = fs::read_dir(from.join("test")).unwrap();
    let files: BTreeSet<_> = files.map(|entry| entry.unwrap().path()).collect();
    for (at, file) in files.iter().enumerate() {
        let to = audio.join(file.file_name().unwrap());
        if at == 0 {
            fs::write(to, b"no audio").unwrap();
        } else {
            fs::copy(file, to).map(|_| ()).unwrap();
        }
    }
    let predict = format!("lab predict @run table:{here}/test.csv,audio=@test");
    let sample = format!("--submission @mine.csv --like {here}/sample_submission.csv");
    let output = run(&sandbox, &format!("{predict} {sample}"));
    let stderr = text(&output.stderr);
    assert_eq!(code(&output), 1, "{stderr}");
    assert!(
        stderr.contains("the commonest class is predicted"),
        "{stderr}"
    );
    let titles = |path| -> Vec<String> {
        let text = fs::read_to_string(path).unwrap();
        let lines = text.lines().map(|line| line.rsplit_once(',').unwrap().0);
        lines.map(str::to_owned).collect()
    };
    let expected = titles(from.join("sample_submission.csv"));
    assert_eq!(titles(sandbox.path("mine.csv")), expected);

    // An unknown title is refused before anything is written.
    fs::write(sandbox.path("odd.csv"), "titre,id_genre\nnobody knows,1\n").unwrap();
    let odd = format!("{predict} --submission @never.csv --like @odd.csv");
    assert!(refused(&sandbox, &odd).contains("nothing is written"));
    assert!(!sandbox.path("never.csv").exists());

    // Without a challenge: files and folders.
    fs::copy(files.iter().nth(1).unwrap(), sandbox.path("one.mp3")).unwrap();
    let answers = ask(&sandbox, "lab predict @run @one.mp3");
    let shares = answers[0]["probabilities"].as_object().unwrap();
    let sum: f64 = shares.values().map(number).sum();
    assert!((sum - 1.0).abs() < 1e-3, "{answers}");
    let answers = ask(&sandbox, "lab predict @run @test");
    assert_eq!(list(&answers).len(), files.len() - 1);
    let message = refused(&sandbox, "lab predict @test @one.mp3");
    assert!(message.contains("config.toml"), "{message}");
}
