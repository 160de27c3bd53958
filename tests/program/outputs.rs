//! One rule for every output file: each option of `outputs.tsv` is tried on a file with a user's content, on voisin's
//! own output, on a pipe, a device and standard output.

// A test may fail by a panic.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::cli_genre::shelf::Shelf;
use crate::common::{Sandbox, code, fine, noise_wav, text};

/// Command, option, and the kind of output. A unit test compares it with the command line's arguments.
const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/program/outputs.tsv");
const PRECIOUS: &str = "PRECIOUS";
/// The placeholder of the output path.
const TARGET: &str = "{}";

/// A command that tries an option.
struct Recipe {
    arguments: Vec<String>,
    /// The name of the file; for a folder, that of a file in it.
    name: &'static str,
}

fn recipe(command: &str, option: &str, sandbox: &Sandbox) -> Recipe {
    let at = |name: &str| sandbox.path(name).to_str().unwrap().to_owned();
    let table = format!("features:{}", at("features.csv"));
    let (line, name) = match (command, option) {
        ("similar", _) => ("similar id:1 --format json -o {}".to_owned(), "x.json"),
        ("list", _) => ("list --format csv -o {}".to_owned(), "x.csv"),
        ("duplicates" | "failed" | "suspects", _) => {
            (format!("{command} --format paths --output {{}}"), "x.txt")
        }
        ("find", _) => ("find noise --format m3u8 -o {}".to_owned(), "x.m3u8"),
        ("path", _) => ("path id:1 id:30 --format m3u8 -o {}".to_owned(), "x.m3u8"),
        ("playlist", _) => ("playlist --seed id:1 -o {}".to_owned(), "x.m3u8"),
        ("classify", "--output") => ("classify id:1 --format m3u8 -o {}".to_owned(), "x.m3u8"),
        ("classify", "--submission") => (
            format!("classify --with {} {table} --submission {{}}", at("run")),
            "x.csv",
        ),
        ("classify", "--vectors") => {
            let [net, file] = ["net", "music/one.wav"].map(at);
            (
                format!("classify --with {net} {file} --vectors {{}}"),
                "x.npy",
            )
        }
        ("genres", _) => (format!("genres {option} {{}}"), "x.svg"),
        ("labels export", _) => ("labels export {}".to_owned(), "x.csv"),
        ("map", _) => ("map -o {}".to_owned(), "x.html"),
        ("eval genre", "--report") => (
            "eval genre --repeats 1 --no-rivals --report {}".to_owned(),
            "x.html",
        ),
        ("eval retrieval", _) => ("eval retrieval --report {}".to_owned(), "x.html"),
        ("eval classifier", _) => (
            format!("eval classifier {} --html {{}}", at("run")),
            "x.html",
        ),
        ("dataset", _) => (format!("dataset {table} --output {{}}"), "x.csv"),
        ("features", "--output") => (
            format!("features {} --set tempo --output {{}}", at("music/one.wav")),
            "x.csv",
        ),
        ("features", "--picture") => (
            format!("features {} --picture {{}}", at("music/one.wav")),
            "x.svg",
        ),
        ("backup", _) => ("backup {}".to_owned(), "x.db"),
        ("export", _) => ("export {}".to_owned(), "tracks.csv"),
        ("embed", _) => (
            format!("embed {} --hop 2 --output {{}}", at("music/one.wav")),
            "one.npz",
        ),
        ("man", _) => ("man --output {}".to_owned(), "voisin-add.1"),
        ("train classifier", _) => (
            format!("train classifier {table} {{}} --algorithm knn"),
            "report.html",
        ),
        _ => panic!("{command} {option}: is in the table and is tried nowhere"),
    };
    Recipe {
        arguments: line.split(' ').map(str::to_owned).collect(),
        name,
    }
}

impl Recipe {
    fn run(&self, sandbox: &Sandbox, target: &Path, more: &[&str]) -> Output {
        let target = target.to_str().unwrap();
        let arguments = self
            .arguments
            .iter()
            .map(|word| if word == TARGET { target } else { word });
        let mut command = sandbox.command(arguments.chain(more.iter().copied()));
        // Here a file called "-" would be found.
        command.current_dir(sandbox.path("here")).output().unwrap()
    }
}

/// The input of all recipes: a labelled library, a run of the laboratory, an audio file.
fn made() -> Sandbox {
    let sandbox = Sandbox::new();
    let mut shelf = Shelf::new(&sandbox);
    shelf.fill(3, 12, 0.6);
    drop(shelf);
    for folder in ["here", "music"] {
        fs::create_dir(sandbox.path(folder)).unwrap();
    }
    fs::write(sandbox.path("music/one.wav"), noise_wav(16_000, 6.0, 1)).unwrap();
    let mut table = "track,genre,artist,own_1,own_2\n".to_owned();
    for row in 0..60 {
        let class = row % 3;
        let wobble = (row * 7 % 10) as f32 / 40.0;
        table += &format!("{row},genre {class},artist {row},{class}.{row},{wobble}\n");
    }
    fs::write(sandbox.path("features.csv"), table).unwrap();
    let table = format!("features:{}", sandbox.path("features.csv").display());
    let run = sandbox.path("run").to_str().unwrap().to_owned();
    fine(sandbox.run(["train", "classifier", &table, &run, "--algorithm", "knn"]));
    for seed in 0..8 {
        let folder = sandbox.path(["songs/a", "songs/b"][seed as usize % 2]);
        fs::create_dir_all(&folder).unwrap();
        let noise = noise_wav(16_000, 1.0, seed + 1);
        fs::write(folder.join(format!("{seed}.wav")), noise).unwrap();
    }
    let songs = format!("folder:{}", sandbox.path("songs").display());
    let net = sandbox.path("net").to_str().unwrap().to_owned();
    let small = ["--recipe", "cnn-lstm-mfcc", "--set", "epochs=1"];
    let train = ["train", "classifier", &songs, &net, "--split", "track"];
    fine(sandbox.run([&train[..], &small].concat()));
    sandbox
}

fn is_done(output: &Output) -> bool {
    [0, 1].contains(&code(output))
}

fn rows(kinds: &[&str]) -> Vec<(String, String, String)> {
    let table = fs::read_to_string(TABLE).unwrap();
    let rows = table
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| {
            let mut cells = line.split('\t');
            let mut next = || {
                cells
                    .next()
                    .unwrap_or_else(|| panic!("{line}: expected three cells"))
                    .to_owned()
            };
            (next(), next(), next())
        });
    rows.filter(|(.., kind)| kinds.contains(&kind.as_str()))
        .collect()
}

/// A device node like `/dev/null`; `None` where that is not allowed.
fn device(path: &Path) -> Option<()> {
    let made = Command::new("mknod")
        .args(["-m", "666"])
        .arg(path)
        .args(["c", "1", "3"])
        .output();
    let is_made = made.is_ok_and(|made| made.status.success());
    // On file systems mounted without devices, the node exists and cannot be opened.
    let is_usable = is_made && fs::write(path, "x").is_ok();
    if !is_usable {
        eprintln!("no device can be made here: pipes alone are tried");
    }
    is_usable.then_some(())
}

#[cfg(unix)]
#[test]
fn users_files_stay_and_voisins_own_are_replaced() {
    use std::os::unix::fs::FileTypeExt as _;
    let sandbox = made();
    // Recipes with words need a library of real music.
    let real = Sandbox::new();
    fs::create_dir(real.path("here")).unwrap();
    fs::write(real.path("one.wav"), noise_wav(16_000, 6.0, 1)).unwrap();
    fine(real.run(["add", real.path("one.wav").to_str().unwrap()]));
    let mut tried = 0;
    for (command, option, kind) in rows(&["page", "data", "whole"]) {
        let sandbox = if command == "find" { &real } else { &sandbox };
        let recipe = recipe(&command, &option, sandbox);
        let target = sandbox.path(&format!("out-{tried}-{}", recipe.name));
        let what = format!("{command} {option}");
        let refused = |output: &Output| {
            let message = text(&output.stderr);
            let is_refused = code(output) == 2
                && message.contains("is there already")
                && message.contains("--force");
            assert!(
                is_refused,
                "{what}: {} {message}{}",
                code(output),
                text(&output.stdout)
            );
        };

        fs::write(&target, PRECIOUS).unwrap();
        refused(&recipe.run(sandbox, &target, &[]));
        assert_eq!(fs::read_to_string(&target).unwrap(), PRECIOUS, "{what}");
        let forced = recipe.run(sandbox, &target, &["--force"]);
        assert!(is_done(&forced), "{what}: {}", text(&forced.stderr));
        let first = fs::read(&target).unwrap();
        assert!(first != PRECIOUS.as_bytes(), "{what}");

        let again = recipe.run(sandbox, &target, &[]);
        if kind == "page" {
            assert!(is_done(&again), "{what}: {}", text(&again.stderr));
        } else {
            refused(&again);
            assert!(fs::read(&target).unwrap() == first, "{what}");
        }

        let pipe = sandbox.path(&format!("pipe-{tried}-{}", recipe.name));
        assert!(
            Command::new("mkfifo")
                .arg(&pipe)
                .status()
                .unwrap()
                .success()
        );
        let null = sandbox.path(&format!("null-{tried}-{}", recipe.name));
        let device = device(&null);
        if kind == "whole" {
            for path in [&pipe, &null, Path::new("-")]
                .into_iter()
                .take(if device.is_some() { 3 } else { 1 })
            {
                let output = recipe.run(sandbox, path, &["--force"]);
                let message = text(&output.stderr);
                assert!(
                    code(&output) == 2 && message.contains("expected the name of a file"),
                    "{what}: {message}"
                );
            }
        } else {
            let reader = std::thread::spawn({
                let pipe = pipe.clone();
                move || {
                    let mut bytes = Vec::new();
                    fs::File::open(pipe)
                        .unwrap()
                        .read_to_end(&mut bytes)
                        .unwrap();
                    bytes
                }
            });
            let through = recipe.run(sandbox, &pipe, &[]);
            assert!(is_done(&through), "{what}: {}", text(&through.stderr));
            let piped = reader.join().unwrap();
            let printed = recipe.run(sandbox, Path::new("-"), &[]);
            assert!(is_done(&printed), "{what}: {}", text(&printed.stderr));
            // A report may have its duration.
            if what == "eval classifier --html" {
                assert!(!piped.is_empty() && !printed.stdout.is_empty(), "{what}");
            } else {
                assert!(printed.stdout == piped, "{what}: nothing else is printed");
            }
            if device.is_some() {
                assert!(is_done(&recipe.run(sandbox, &null, &[])), "{what}");
            }
        }
        assert!(
            fs::metadata(&pipe).unwrap().file_type().is_fifo(),
            "{what}: the pipe is still a pipe"
        );
        if device.is_some() {
            assert!(
                fs::metadata(&null).unwrap().file_type().is_char_device(),
                "{what}: the device too"
            );
        }
        assert_eq!(
            fs::read_dir(sandbox.path("here")).unwrap().count(),
            0,
            "{what}"
        );
        tried += 1;
    }
    assert!(tried > 20, "{tried}");
}

#[cfg(unix)]
#[test]
fn nothing_in_a_folder_is_overwritten_unasked() {
    use std::os::unix::fs::FileTypeExt as _;
    let sandbox = made();
    let mut tried = 0;
    for (command, option, kind) in rows(&["folder", "pages", "run"]) {
        let recipe = recipe(&command, &option, &sandbox);
        let what = format!("{command} {option}");
        let folder = sandbox.path(&format!("folder-{tried}"));
        fs::create_dir(&folder).unwrap();
        // In a run's folder any other file counts as a user's.
        let file: PathBuf = folder.join(if kind == "run" {
            "notes.txt"
        } else {
            recipe.name
        });
        fs::write(&file, PRECIOUS).unwrap();
        let kept = recipe.run(&sandbox, &folder, &[]);
        let message = text(&kept.stderr);
        assert_eq!(fs::read_to_string(&file).unwrap(), PRECIOUS, "{what}");
        match command.as_str() {
            // Existing files are skipped.
            "embed" => assert!(
                code(&kept) == 0 && message.contains("--force"),
                "{what}: {message}"
            ),
            _ => assert!(
                code(&kept) == 2 && message.contains("another") | message.contains("--force"),
                "{what}: {message}"
            ),
        }
        if kind == "run" {
            assert_eq!(
                fs::read_dir(&folder).unwrap().count(),
                1,
                "{what}: nothing is written"
            );
        }
        let pipe = sandbox.path(&format!("pipe-{tried}"));
        assert!(
            Command::new("mkfifo")
                .arg(&pipe)
                .status()
                .unwrap()
                .success()
        );
        let output = recipe.run(&sandbox, &pipe, &[]);
        assert_eq!(code(&output), 2, "{what}: {}", text(&output.stderr));
        assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo(), "{what}");

        let fresh = sandbox.path(&format!("fresh-{tried}"));
        fs::create_dir_all(&fresh).unwrap();
        let first = recipe.run(&sandbox, &fresh, &[]);
        assert!(is_done(&first), "{what}: {}", text(&first.stderr));
        let before = fs::read(fresh.join(recipe.name)).unwrap();
        let again = recipe.run(&sandbox, &fresh, &[]);
        let is_refused = command == "export";
        assert_eq!(
            code(&again),
            if is_refused { 2 } else { 0 },
            "{what}: {}",
            text(&again.stderr)
        );
        if kind != "pages" {
            assert!(
                fs::read(fresh.join(recipe.name)).unwrap() == before,
                "{what}"
            );
        }
        tried += 1;
    }
    assert!(tried > 4, "{tried}");
}

/// The two commands of the documents that write to a table which a user has edited.
#[test]
fn an_edited_table_is_not_overwritten() {
    let sandbox = made();
    let table = format!("features:{}", sandbox.path("features.csv").display());
    let songs = sandbox.path("songs.csv").to_str().unwrap().to_owned();
    let dataset = ["dataset", &table, "--output", &songs];
    fine(sandbox.run(dataset));
    let worked_on = fs::read_to_string(&songs)
        .unwrap()
        .replace("artist 0", "Somebody I know");
    fs::write(&songs, &worked_on).unwrap();
    let again = sandbox.run(dataset);
    assert!(
        code(&again) == 2 && text(&again.stderr).contains("--force"),
        "{}",
        text(&again.stderr)
    );
    assert_eq!(fs::read_to_string(&songs).unwrap(), worked_on);

    let genres = sandbox.path("genres.csv").to_str().unwrap().to_owned();
    let by_hand =
        "path,genre,my notes\n/music/genre 0/000.mp3,Zeuhl,a favourite\n/elsewhere.mp3,Jazz,lent\n";
    fs::write(&genres, by_hand).unwrap();
    fine(sandbox.run(["labels", &genres]));
    let export = sandbox.run(["labels", "export", &genres]);
    assert!(
        code(&export) == 2 && text(&export.stderr).contains("--force"),
        "{}",
        text(&export.stderr)
    );
    assert_eq!(fs::read_to_string(&genres).unwrap(), by_hand);
}
