//! One rule for every output file: it is replaced, unless it is music, an input of the command, the library or the
//! table of its labels.

#![cfg(unix)]

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Output};

use crate::cli_genre::shelf::Shelf;
use crate::common::{Sandbox, code, fine, noise_wav, text};

const PRECIOUS: &str = "PRECIOUS";
/// The placeholder of the output path.
const TARGET: &str = "{}";

/// A labelled library, an audio file, a table of features, a folder for the outputs.
fn made() -> Sandbox {
    let sandbox = Sandbox::new();
    let mut shelf = Shelf::new(&sandbox);
    shelf.fill(3, 12, 0.6);
    drop(shelf);
    fs::create_dir(sandbox.path("out")).unwrap();
    fs::write(sandbox.path("one.wav"), noise_wav(16_000, 6.0, 1)).unwrap();
    let rows = (0..60).map(|row| format!("{row},genre {},artist {row},{row}\n", row % 3));
    let table = "track,genre,artist,own_1\n".to_owned() + &rows.collect::<String>();
    fs::write(sandbox.path("features.csv"), table).unwrap();
    sandbox
}

/// Runs a command in the folder of the sandbox.
fn run(sandbox: &Sandbox, line: &str, target: &str) -> Output {
    let words = line.split(' ').map(|word| word.replace(TARGET, target));
    let mut command = sandbox.command(words);
    command.current_dir(sandbox.path("")).output().unwrap()
}

#[test]
fn every_kind_of_output_replaces_a_file() {
    let sandbox = made();
    for (line, name) in [
        ("similar id:1 --format json -o {}", "x.json"),
        ("list --format csv -o {}", "x.csv"),
        ("path id:1 id:30 --format m3u8 -o {}", "x.m3u8"),
        ("playlist id:1 -o {}", "y.m3u8"),
        ("map -o {}", "map.html"),
        ("lab eval retrieval --report {}", "report.html"),
        ("lab data table:features.csv --output {}", "set.csv"),
        ("lab features one.wav --set mel --output {}", "mel.csv"),
        ("lab features one.wav --picture {}", "picture.svg"),
    ] {
        let target = sandbox.path("out").join(name);
        fs::write(&target, PRECIOUS).unwrap();
        // Twice, as a script runs.
        for _ in 0..2 {
            let output = run(&sandbox, line, target.to_str().unwrap());
            assert_eq!(code(&output), 0, "{line}: {}", text(&output.stderr));
        }
        let written = fs::read(&target).unwrap();
        assert_ne!(written, PRECIOUS.as_bytes(), "{line}");
        let printed = run(&sandbox, line, "-");
        assert_eq!(code(&printed), 0, "{line}: {}", text(&printed.stderr));
        assert!(printed.stdout == written, "{line}: nothing else is printed");
    }
    for (line, name) in [
        ("export {}/copy.db", "copy.db"),
        ("export {}", "tracks.csv"),
        ("lab features one.wav --set mel --output {}", "columns.csv"),
    ] {
        let folder = sandbox.path("folder");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join(name), PRECIOUS).unwrap();
        for _ in 0..2 {
            let output = run(&sandbox, line, folder.to_str().unwrap());
            assert_eq!(code(&output), 0, "{line}: {}", text(&output.stderr));
        }
        assert_ne!(fs::read(folder.join(name)).unwrap(), PRECIOUS.as_bytes());
        fs::remove_dir_all(folder).unwrap();
    }
}

#[test]
fn no_music_no_input_and_no_table_of_labels_is_replaced() {
    let sandbox = made();
    let at = |name: &str| sandbox.path(name);
    fs::copy(at("one.wav"), at("named.csv")).unwrap();
    symlink("one.wav", at("link.csv")).unwrap();
    fs::write(at("mine.m3u8"), "/music/genre 0/000.mp3\n").unwrap();
    let genres = "path,genre\n/music/genre 0/000.mp3,Zeuhl\n";
    fs::create_dir(at("labels")).unwrap();
    fs::write(at("labels/tracks.csv"), genres).unwrap();
    fine(sandbox.run([Path::new("labels"), &at("labels/tracks.csv")]));
    fs::create_dir(at("folder.csv")).unwrap();
    fs::write(at("library/genre-synonyms.tsv"), "").unwrap();
    for (line, target, reason) in [
        ("list --format csv -o {}", "one.wav", "is music"),
        ("list -o {}", "named.csv", "is music"),
        ("list -o {}", "link.csv", "is music"),
        (
            "lab features one.wav --picture {}",
            "one.wav",
            "expected FILE",
        ),
        ("similar {} -o ./{}", "mine.m3u8", "is an input"),
        ("similar -o{} ./{}", "mine.m3u8", "is an input"),
        ("similar --output={} {}", "mine.m3u8", "is an input"),
        ("lab data table:{} -o {}", "features.csv", "is an input"),
        ("list -o {}", "labels/tracks.csv", "labels come from"),
        ("map -o {}", "labels/tracks.csv", "labels come from"),
        ("export labels", "labels/tracks.csv", "labels come from"),
        ("export {}", "library/voisin.db", "is a file of the library"),
        (
            "list --format paths -o {}",
            "library/genre-synonyms.tsv",
            "is a file of the library",
        ),
        ("list -o {}", "folder.csv", "found a folder"),
        ("list -o {}", "none/x.csv", "there is no folder"),
    ] {
        let before = fs::read(at(target)).ok();
        let output = run(&sandbox, line, target);
        let message = text(&output.stderr);
        assert!(
            code(&output) == 2 && message.contains(reason) && message.lines().count() == 1,
            "{line}: {message}"
        );
        assert!(fs::read(at(target)).ok() == before, "{line}");
    }
}

#[test]
fn a_killed_write_leaves_the_old_file() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path("one.wav"), noise_wav(16_000, 6.0, 1)).unwrap();
    let table = sandbox.path("x.csv");
    fs::write(&table, PRECIOUS).unwrap();
    let mut command = sandbox.command(["lab", "features", "--set", "mfcc"]);
    command.arg(sandbox.path("one.wav")).arg("-o").arg(&table);
    // The system kills a process that writes more than a kilobyte into a file.
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -f 1; exec \"$0\" \"$@\""]);
    limited.arg(command.get_program()).args(command.get_args());
    let variables = command.get_envs();
    limited.envs(variables.filter_map(|(name, value)| Some((name, value?))));
    let killed = limited.output().unwrap();
    let message = text(&killed.stderr);
    assert!(killed.status.signal().is_some(), "{message}");
    assert_eq!(fs::read_to_string(&table).unwrap(), PRECIOUS);
}
