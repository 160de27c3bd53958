//! Messages of the command line: mistakes, help, names that would harm a terminal, sources of settings.

use std::fs;
use std::path::Path;

use crate::common::{Sandbox, code, fine, json, noise_wav, six_tracks, six_tracks_added, text};

#[test]
fn words_that_change_tracks_name_one_of_them() {
    let (sandbox, music) = six_tracks_added();
    // Words that match several tracks list them; words that match none get suggestions.
    let several = sandbox.run(["similar", "muldj"]);
    assert_eq!(code(&several), 1);
    assert!(text(&several.stderr).contains("id:") && text(&several.stderr).contains("Armygeddon"));
    // The last of several tracks is not taken for a genre.
    let forgotten = music.join("metal/muldjord-chaos-god.mp3");
    for last in ["id:2", forgotten.to_str().unwrap()] {
        let labelled = sandbox.run(["labels", "set", "id:1", last]);
        assert_eq!(code(&labelled), 2);
        assert!(text(&labelled.stderr).contains("expected a genre after the tracks"));
    }
    // Words never stand for all of an artist's tracks where tracks are changed.
    let set = |track: &str| sandbox.run(["labels", "set", track, "Doom"]);
    let of_artist = set("muldjord");
    let stderr = text(&of_artist.stderr);
    assert_eq!(code(&of_artist), 1, "{stderr}");
    assert!(stderr.contains("name one of them by its id"), "{stderr}");
    assert!(text(&set("chaos god").stdout).contains("Muldjord – Chaos God: labelled Doom"));
    let others = text(&set("artist:muldjord").stdout);
    assert!(others.contains("1 track labelled Doom"), "{others}");
    let way = text(&sandbox.run(["path", "muldjord", "id:1"]).stderr);
    assert!(
        way.contains("by its id:") && !way.contains("artist:"),
        "{way}"
    );
    fine(sandbox.run(["labels", "unset", "artist:muldjord"]));
}

#[test]
fn help_and_completions_are_printed() {
    let sandbox = Sandbox::new();
    let help = text(&sandbox.run(["--help"]).stdout);
    let verbs: Vec<&str> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .filter(|verb| *verb != "help")
        .collect();
    assert!(verbs.len() > 20 && verbs.len() <= 32, "{verbs:?}");
    let short = text(&sandbox.run(["similar", "-h"]).stdout);
    assert!(!short.contains("--genre <GENRE>"), "{short}");
    assert!(text(&sandbox.run(["similar", "--help"]).stdout).contains("--genre <GENRE>"));
    for verb in verbs {
        let page = text(&sandbox.run([verb, "--help"]).stdout);
        assert!(page.contains("Usage: voisin"), "{verb}");
        assert!(page.contains("Example"), "{verb} --help has an example");
    }
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(
            sandbox.run(["completions", shell]).stdout.len() > 1000,
            "{shell}"
        );
    }
}

#[test]
fn an_unavailable_instruction_set_is_an_error() {
    let sandbox = Sandbox::new();
    let foreign = if cfg!(target_arch = "aarch64") {
        "avx2"
    } else {
        "neon"
    };
    for name in ["sse9", foreign] {
        let output = sandbox
            .command(["status"])
            .env("VOISIN_ISA", name)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2));
        let message = text(&output.stderr);
        assert!(
            message.contains(name) && message.contains("portable") && message.contains("unset"),
            "{message}"
        );
        assert_eq!(message.matches("VOISIN_ISA").count(), 1, "{message}");
    }
    for name in ["", "portable", "Portable"] {
        let mut command = sandbox.command(["model", "list"]);
        fine(command.env("VOISIN_ISA", name).output().unwrap());
    }
}

/// A closed output pipe (`| head`) ends the program quietly.
#[test]
fn a_closed_pipe_ends_quietly() {
    let sandbox = Sandbox::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = sandbox
        .command(["model", "list"])
        .stdout(writer)
        .output()
        .unwrap();
    assert_eq!((code(&output), text(&output.stderr).as_str()), (0, ""));
}

#[test]
fn an_unavailable_model_or_device_is_always_refused() {
    let (sandbox, _) = six_tracks_added();
    for (arguments, words) in [
        (&["--model", "nosuch"], "nosuch"),
        (
            &["--model", "musicnn-msd"],
            "vectors of two models never mix",
        ),
        (&["--device", "cuda:77"], "cuda:77"),
    ] {
        let refused = sandbox.run([&["similar", "id:1"], &arguments[..]].concat());
        assert_eq!(
            code(&refused),
            2,
            "{arguments:?}: {}",
            text(&refused.stdout)
        );
        assert!(
            text(&refused.stderr).contains(words),
            "{}",
            text(&refused.stderr)
        );
    }
    fine(sandbox.run([
        "similar",
        "id:1",
        "--model",
        "voisin-equal",
        "--device",
        "cpu",
    ]));
}

#[test]
fn settings_come_from_options_then_environment() {
    let sandbox = Sandbox::new();
    let music = six_tracks(&sandbox);
    let metal = music.join("metal");
    let mine = sandbox.path("mine");
    let other = sandbox.path("other");
    let add = |arguments: &[&str]| {
        let arguments = [arguments, &["add", metal.to_str().unwrap()]].concat();
        let mut command = sandbox.command(arguments);
        command.env("VOISIN_LIBRARY", &mine);
        fine(command.env("VOISIN_MODEL", "voisin-3").output().unwrap());
    };
    add(&[]);
    add(&[
        "--library",
        other.to_str().unwrap(),
        "--model",
        "musicnn-msd",
    ]);
    let status = |library: &Path| {
        let mut command = sandbox.command(["status", "--format", "json"]);
        let status = json(command.env("VOISIN_LIBRARY", library).output().unwrap());
        (
            status["library"].as_str().unwrap().to_owned(),
            status["model"].as_str().unwrap().to_owned(),
        )
    };
    for (library, model) in [(&mine, "voisin-3"), (&other, "musicnn-msd")] {
        let expected = (library.to_str().unwrap().to_owned(), model.to_owned());
        assert_eq!(status(library), expected);
    }
    let device = |name: &str, arguments: &[&str]| {
        let arguments = [&["status"], arguments].concat();
        let mut command = sandbox.command(arguments);
        command.env("VOISIN_LIBRARY", &mine);
        command.env("VOISIN_DEVICE", name).output().unwrap()
    };
    fine(device("", &[]));
    fine(device("cpu", &[]));
    let refused = device("abacus", &[]);
    assert_eq!(code(&refused), 2);
    assert!(text(&refused.stderr).contains("abacus"));
    assert_eq!(code(&device("cpu", &["--device", "abacus"])), 2);
}

// Windows has no such names.
#[cfg(unix)]
#[test]
#[expect(clippy::too_many_lines, reason = "one scene")]
fn paths_of_tables_are_exact_for_any_file_name() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    let sandbox = Sandbox::new();
    let music = sandbox.path("music");
    fs::create_dir_all(&music).unwrap();
    let names: [&[u8]; 5] = [
        b"line\nbreak\ttab.wav",
        b"not \xff utf-8.wav",
        b"a;=b.wav",
        b"\x1b[2J%41.wav",
        b"100%41.wav",
    ];
    for (seed, name) in (1..).zip(names) {
        fs::write(
            music.join(OsStr::from_bytes(name)),
            noise_wav(22_050, 5.0, seed),
        )
        .unwrap();
    }
    fine(sandbox.run(["add", "--quiet", music.to_str().unwrap()]));
    let cells = |arguments: &[&str]| -> Vec<String> {
        let table = fine(sandbox.run([arguments, &["--format", "csv"]].concat()));
        let mut reader = csv::Reader::from_reader(table.as_bytes());
        let at = reader
            .headers()
            .unwrap()
            .iter()
            .position(|column| column == "path")
            .unwrap();
        let mut cells: Vec<String> = reader
            .records()
            .map(|row| row.unwrap()[at].to_owned())
            .collect();
        let is_plain = |cell: &String| !cell.contains(['\u{fffd}', '\t', '\u{1b}']);
        assert!(cells.iter().all(is_plain), "{table}");
        cells.sort();
        cells
    };
    let listed = cells(&["list"]);
    let root = music.to_str().unwrap();
    assert!(
        listed.contains(&format!("file://{root}/line%0Abreak%09tab.wav")),
        "{listed:?}"
    );
    assert!(
        listed.contains(&format!("{root}/100%41.wav")),
        "plain names stay as they are: {listed:?}"
    );
    assert_eq!(cells(&["playlist", "id:1"]), listed);
    // The cells are read back, as a list to write from and as a table of labels.
    let mut table = "path,genre\n".to_owned();
    for (cell, genre) in listed.iter().zip(["Jazz", "Rock", "Soul", "Ska", "Dub"]) {
        table += &format!("\"{cell}\",{genre}\n");
    }
    let file = sandbox.path("t.csv");
    fs::write(&file, table).unwrap();
    let file = file.to_str().unwrap();
    let written = sandbox.run(["tag", "--overwrite", "--from", file, "--format", "json"]);
    // Into WAV nothing is written, but all files are found.
    let written = text(&written.stdout);
    let refused = "voisin writes no tags to files of its format";
    assert_eq!(written.matches(refused).count(), 5, "{written}");
    fine(sandbox.run(["labels", file]));
    let labels = json(sandbox.run(["labels", "--format", "json"]));
    assert_eq!(
        (&labels["labelled"], &labels["unmatched"]),
        (&5.into(), &0.into()),
        "{labels}"
    );
}
