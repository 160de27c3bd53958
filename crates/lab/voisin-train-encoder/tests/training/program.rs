//! `voisin-train-encoder` as a process: interrupted runs, exported models, folders that are not overwritten.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use voisin_encoder::{DeviceChoice, Encoder, ModelRef};
use voisin_train_encoder::Checkpoint;

use crate::functions::{music, write_wav};

const NARROW: &str = "16,16,16,16,16,16,16,16";

/// A temporary folder with prepared music.
struct Workshop {
    folder: tempfile::TempDir,
}

impl Workshop {
    /// Three albums of two tracks, prepared in three crops each.
    fn new() -> Self {
        let workshop = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        for track in 0..6 {
            let album = workshop.path("music").join(format!("album {}", track / 2));
            fs::create_dir_all(&album).unwrap();
            write_wav(&album.join(format!("{track}.wav")), &music(track, track, 6));
        }
        let prepare = || workshop.run(["prepare", "music", "--crops", "3", "--cache", "cache"]);
        assert!(fine(prepare()).contains("prepared 6 tracks with 18 crops"));
        let again = fine(prepare());
        assert!(
            again.contains("prepared 0 tracks with 0 crops; 6 already prepared"),
            "{again}"
        );
        workshop
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_voisin-train-encoder"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env("VOISIN_MODELS", self.path("models"))
            .env_remove("VOISIN_DEVICE");
        command
    }

    fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Output {
        self.command(arguments).output().unwrap()
    }

    fn checkpoint(&self, run: &str) -> Checkpoint {
        Checkpoint::load(&self.path(run).join("checkpoint.safetensors")).unwrap()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Standard output of a run that must end well.
fn fine(output: Output) -> String {
    assert!(
        output.status.success(),
        "{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

fn training<'a>(run: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let base = [
        "run",
        "cache",
        run,
        "--widths",
        NARROW,
        "--batch",
        "4",
        "--holdout-group",
        "album 2",
        "--validate-every",
        "48",
    ];
    [&base, more].concat()
}

#[test]
fn an_interrupted_run_gives_the_same_model() {
    let workshop = Workshop::new();
    let run = |name: &str, more: &[&str]| {
        workshop.run(training(name, &[&["--windows", "96"], more].concat()))
    };
    let whole = fine(run("whole", &[]));
    assert!(
        whole.contains("finished after 24 steps and 96 windows"),
        "{whole}"
    );
    // Interrupted twice, with other numbers of threads.
    fine(run("parts", &["--stop-after", "5", "--threads", "1"]));
    let part = fine(run("parts", &["--stop-after", "13"]));
    assert!(part.contains("stopped after 13 steps"), "{part}");
    fine(run("parts", &["--threads", "3"]));
    let one = workshop.checkpoint("whole");
    let two = workshop.checkpoint("parts");
    assert!(
        one.network == two.network && one.average == two.average,
        "the same weights"
    );
    assert!(one.head == two.head && one.adam == two.adam);
    assert_eq!((one.run.step, two.run.step), (24, 24));
    for file in ["loss.csv", "loss.svg", "loss.png", "validation.csv"] {
        let path = workshop.path("parts").join(file);
        assert!(fs::metadata(path).unwrap().len() > 0, "{file}");
    }
    let picture = fs::read_to_string(workshop.path("whole/loss.svg")).unwrap();
    assert!(picture.contains("penultimate_mse"));
    let rows = fs::read_to_string(workshop.path("whole/validation.csv")).unwrap();
    assert_eq!(rows.lines().count(), 3, "{rows}");

    // The exported model computes vectors.
    let export = [
        "export",
        "whole/checkpoint.safetensors",
        "--name",
        "mine",
        "--cache",
        "cache",
    ];
    let exported = fine(workshop.run(export));
    assert!(exported.contains("--model mine"), "{exported}");
    let model = ModelRef::Manifest(workshop.path("models/mine.json"));
    let encoder = Encoder::load(&model, &DeviceChoice::Cpu.resolve().unwrap()).unwrap();
    assert_eq!(encoder.manifest().name, "mine");
    let mels = vec![-40.0; encoder.manifest().front_end.cells()];
    assert_eq!(encoder.encode(&mels, 1).unwrap().dim(), (1, 512));
}

#[test]
fn objectives_that_cannot_be_met_are_refused() {
    let workshop = Workshop::new();
    let refused = [
        (
            ["--penultimate", "0", "--tags", "0"].as_slice(),
            "one of them above 0",
        ),
        (&["--style", "1"], "needs prepared grooves"),
        (&["--teacher", "other"], "0 of 6 prepared files"),
    ];
    for (options, reason) in refused {
        let output = workshop.run(training("run", options));
        assert_eq!(output.status.code(), Some(2), "{options:?}");
        let message = text(&output.stderr);
        assert!(message.contains(reason), "{message}");
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_writes_a_checkpoint() {
    let workshop = Workshop::new();
    let endless = ["--windows", "100000000", "--checkpoint-every", "100000"];
    let child = workshop
        .command(training("run", &endless))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The first line of losses is written after ten steps.
    let losses = workshop.path("run/loss.csv");
    let begun = Instant::now();
    while fs::read_to_string(&losses).map_or(0, |text| text.lines().count()) < 2 {
        assert!(begun.elapsed() < Duration::from_mins(2), "no step was made");
        std::thread::sleep(Duration::from_millis(50));
    }
    let killed = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    let output = child.wait_with_output().unwrap();
    let message = text(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{message}");
    assert!(message.contains("repeat the command"), "{message}");
    assert!(workshop.checkpoint("run").run.step >= 10);
}

#[test]
fn folders_with_other_files_are_left_alone() {
    let workshop = Workshop::new();
    fine(workshop.run(training("done", &["--windows", "8"])));
    let others = |folder: &str, file: &str| {
        fs::create_dir(workshop.path(folder)).unwrap();
        fs::write(workshop.path(folder).join(file), "mine").unwrap();
    };
    let is_untouched = |folder: &str, file: &str| {
        let path: &Path = &workshop.path(folder);
        fs::read_to_string(path.join(file)).unwrap() == "mine"
            && path.read_dir().unwrap().count() == 1
    };
    let export = [
        "export",
        "done/checkpoint.safetensors",
        "--name",
        "mine",
        "--output",
        "c",
    ];
    let writers = [
        (
            "a",
            "notes.txt",
            vec!["prepare", "music", "--cache", "a"],
            "use another folder",
        ),
        ("b", "notes.txt", training("b", &[]), "use another folder"),
        ("c", "mine.json", export.to_vec(), "replace it with --force"),
    ];
    for (folder, file, arguments, reason) in writers {
        others(folder, file);
        let output = workshop.run(arguments);
        let message = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{folder}: {message}");
        assert!(message.contains(reason), "{folder}: {message}");
        assert!(is_untouched(folder, file), "{folder}");
    }
}
