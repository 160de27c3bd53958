//! Rules for all verbs (docs/guide.md): seeds, limits, times, formats, exit codes, errors, tables.

// A test may fail by a panic.
#![allow(clippy::unwrap_used)]

use crate::common;

mod tables;

use std::fs;
use std::path::Path;
use std::process::Output;
use std::sync::OnceLock;

use common::{Sandbox, code, fine, fine_json, json, text};

const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/demo/library");

/// The demo's library, which no test changes.
fn demo() -> &'static Sandbox {
    static DEMO_LIBRARY: OnceLock<Sandbox> = OnceLock::new();
    DEMO_LIBRARY.get_or_init(|| {
        let sandbox = Sandbox::new();
        // By one thread, which gives the same ids each time.
        fine(sandbox.run(["add", "--threads", "1", DEMO]));
        sandbox
    })
}

/// Words of a command line, split at blanks.
fn run(line: &str) -> Output {
    demo().run(line.split(' '))
}

/// Standard error of a run that ends with this code.
fn stderr_of(line: &str, expected: i32) -> String {
    let output = run(line);
    let message = text(&output.stderr);
    assert_eq!(
        code(&output),
        expected,
        "{line}: {}{message}",
        text(&output.stdout)
    );
    message
}

/// Verbs and options of missing features are parsed, and the message names the build command.
#[test]
#[cfg(not(any(feature = "postgres", feature = "parquet")))]
fn verbs_without_their_feature_name_the_build_command() {
    let sandbox = Sandbox::new();
    for (line, feature) in [
        ("push --to postgres://me@host/music", "postgres"),
        ("pull", "postgres"),
        (
            "similar id:1 --library postgres://me@host/music",
            "postgres",
        ),
        ("add --from-parquet x.parquet", "parquet"),
        ("embed x.mp3 --format parquet -o out", "parquet"),
    ] {
        let output = sandbox.run(line.split(' '));
        let stderr = text(&output.stderr);
        assert_eq!(code(&output), 2, "{line}: {stderr}");
        assert!(
            stderr.contains(&format!("\"cargo install --path . --features {feature}\"")),
            "{line}: {stderr}"
        );
    }
    let output = sandbox
        .command(["list"])
        .env("VOISIN_LIBRARY", "postgres://me:s3cret@host/music")
        .output();
    let stderr = text(&output.unwrap().stderr);
    assert!(
        stderr.contains("--library names postgres") && !stderr.contains("s3cret"),
        "{stderr}"
    );
}

#[test]
fn mistakes_name_the_option_and_what_was_meant() {
    for (line, words) in [
        ("similar id:1 --limit -1", "--limit"),
        ("similar id:1 --energy 200", "expected 0 to 100"),
        ("lab eval genre --folds 1", "--folds"),
        ("simlar x", "similar"),
        ("similar x --formt json", "--format"),
        ("similar x --format jso", "json"),
        ("path", "<A>"),
        ("add --tracks x.csv", "--vectors"),
        (
            "path id:1 id:1",
            "expected stops that are different tracks, found the same track twice",
        ),
        (
            "list -o l.txt",
            "expected a file that ends in .m3u8, .csv or .json",
        ),
        (
            "similar x --duration 1x",
            "expected a length or a span such as 2m-8m",
        ),
    ] {
        let message = stderr_of(line, 2);
        assert!(message.contains(words), "{line}: {message}");
    }
}

#[test]
fn limits_are_one_option() {
    for (line, key, all) in [
        ("similar id:1", "neighbours", 42),
        ("list", "tracks", 43),
        ("find metal", "tracks", 43),
    ] {
        let rows = |limit: &str| {
            let answer = fine_json(run(&format!("{line} -l {limit} --format json")));
            answer[key].as_array().unwrap().len()
        };
        assert_eq!((rows("2"), rows("0"), rows("all")), (2, all, all), "{line}");
    }
    let rows = |line: &str| {
        let answer = fine_json(run(&format!("{line} --format json")));
        answer.as_array().unwrap().len()
    };
    for verb in [
        "playlist --genre metal,techno --max-per-artist 0",
        "labels suspects --all",
        "similar --by artist",
    ] {
        assert_eq!(rows(&format!("{verb} -l 2")), 2, "{verb}");
        assert!(rows(&format!("{verb} -l all")) > 10, "{verb}");
    }
    // A bare number is seconds, everywhere.
    assert_eq!(rows("playlist id:1 --length 70"), 5);
    assert_eq!(rows("playlist id:1 --length 1:10"), 5);
}

#[test]
fn lists_of_tracks_have_all_formats() {
    for verb in [
        "similar id:1 -l 3",
        "similar id:24 --from 2 --to 8 -l 3",
        "playlist id:1 -l 3",
        "path id:1 id:24",
        "labels suspects --all -l 3",
        "classify id:1 id:2 id:3",
        "list -l 3",
        "find metal -l 3",
    ] {
        let print = |format: &str| fine(run(&format!("{verb} --format {format}")));
        let n = print("paths")
            .lines()
            .filter(|line| Path::new(line).is_file())
            .count();
        assert!(n >= 3, "{verb}");
        assert_eq!(
            print("m3u8")
                .lines()
                .filter(|line| !line.starts_with('#'))
                .count(),
            n,
            "{verb}"
        );
        assert_eq!(
            csv::Reader::from_reader(print("csv").as_bytes())
                .records()
                .count(),
            n,
            "{verb}"
        );
        assert_eq!(
            fine(run(&format!("{verb} --format paths -0")))
                .matches('\0')
                .count(),
            n,
            "{verb}"
        );
        let relative = fine(run(&format!("{verb} --format paths --relative-to {DEMO}")));
        assert!(
            relative
                .lines()
                .all(|line| Path::new(DEMO).join(line).is_file() && !line.starts_with('/')),
            "{relative}"
        );
        assert!(
            stderr_of(&format!("{verb} --format json -0"), 2).contains("--format paths"),
            "{verb}"
        );
        assert!(
            stderr_of(&format!("{verb} --format csv --relative-to /"), 2).contains("--relative-to"),
            "{verb}"
        );
    }
    let one = fine(run("similar id:24 --unlike id:1 -l 2 --format csv"));
    assert!(
        one.starts_with("rank,id,path,similarity,percentile,artist,title,album,genres,seconds\n"),
        "{one}"
    );
}

#[test]
fn exit_codes_are_those_of_the_table() {
    // A name that is not found: 1.
    for line in [
        "show zzz",
        "show id:999",
        "list zzz",
        "labels set id:999 Ska",
        "list --tag metal zzz",
    ] {
        stderr_of(line, 1);
    }
    for line in [
        "list --genre polka",
        "find",
        "find xyzzy",
        "labels nosuch.csv",
        "list --sort taste",
    ] {
        stderr_of(line, 2);
    }
    for line in [
        "similar zzz",
        "similar id:999",
        "similar --by artist nobody",
        "remove id:999",
        "path id:1 zzz",
    ] {
        stderr_of(line, 1);
    }
    // A check without findings succeeds.
    for line in ["list --failed", "duplicates", "verify"] {
        stderr_of(line, 0);
    }
    for line in [
        "similar",
        "similar id:1 --limit x",
        "frobnicate",
        "genres polka",
    ] {
        stderr_of(line, 2);
    }
}

#[test]
fn names_are_compared_without_case_accents_and_punctuation() {
    let near = |name: &str| fine(demo().run(["similar", "--by", "artist", name, "-l", "3"]));
    assert_eq!(near("OMRI LÁHAV"), near("omri-lahav"));
    assert!(stderr_of("similar --by artist muldjrd", 1).contains("did you mean Muldjord?"));
}

#[test]
#[expect(clippy::too_many_lines, reason = "one scene")]
fn seeds_are_named_in_the_same_way_everywhere() {
    let outside = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/data/demo/held-out/sectoid-war-of-freedom.mp3"
    );
    let paths = |line: &str| fine(run(&format!("{line} --format paths")));
    // A file that is not in the library.
    assert_eq!(paths(&format!("similar {outside} -l 3")).lines().count(), 3);
    for (line, words) in [
        ("similar artist:muldjrd", "did you mean Muldjord?"),
        (
            "similar album:nothing",
            "\"voisin similar --by album -l all\" lists",
        ),
    ] {
        assert!(stderr_of(line, 1).contains(words), "{line}");
    }
    assert_eq!(
        paths("similar artist:muldjord -l all").lines().count(),
        43 - 4
    );
    // A folder stands for tracks of the library.
    let strangers = concat!(env!("CARGO_MANIFEST_DIR"), "/data/demo/held-out");
    for line in [
        format!("similar {strangers}"),
        format!("show {strangers}"),
        format!("labels set {strangers} Metal"),
    ] {
        assert!(
            stderr_of(&line, 1).contains("no track of the library lies below it"),
            "{line}"
        );
    }
    // Words without quotes are one seed, and equal seeds count once.
    let seeds = |line: &str| {
        let answer = fine_json(run(&format!("{line} -l 1 --format json")));
        answer["seeds"].as_array().unwrap().len()
    };
    assert_eq!(seeds("similar wings of cruelty"), 1);
    assert_eq!(seeds("similar id:1 id:1 id:2"), 2);
    let typo = stderr_of("similar chaos gd", 1);
    assert!(
        typo.contains("did you mean") && typo.contains("Chaos God"),
        "{typo}"
    );
    for line in ["show", "playlist", "path id:1"] {
        let refused = stderr_of(&format!("{line} {outside}"), 2);
        assert!(refused.contains("not in the library"), "{line}: {refused}");
    }
    // Names in filters are those of seeds.
    assert_eq!(
        paths("similar id:1 --artist MULDJORD -l all")
            .lines()
            .count(),
        4
    );
    assert!(stderr_of("similar id:1 --artist muldjrd", 1).contains("did you mean Muldjord?"));
    // The chosen match is printed, and suggestions for a typo.
    assert!(stderr_of("similar celtica -l 1", 0).contains("nearest to Omri Lahav – Celtica (id:"));
    for (line, code, word) in [
        ("list celtca", 1, "Celtica"),
        ("show celtca", 1, "Celtica"),
        ("find guittar", 2, "guitar"),
    ] {
        let typo = stderr_of(line, code);
        assert!(
            typo.contains("did you mean ") && typo.contains(word),
            "{line}: {typo}"
        );
    }
    // Where nothing is found, nothing is printed.
    assert_eq!(text(&run("list zzz").stdout), "");
    assert_eq!(text(&run("similar id:1 --year 1800").stdout), "");
    let typo = stderr_of("similar celtca", 1);
    assert!(
        typo.contains("did you mean") && typo.contains("Celtica") && typo.contains("id:"),
        "{typo}"
    );
    assert!(stderr_of("similar xyzzy", 1).contains("give a path, id:NUMBER"));
    // An empty standard input is an empty result.
    let empty = demo()
        .command(["similar", "-"])
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    assert_eq!(code(&empty), 1);
    assert!(
        text(&empty.stderr).contains("expected seeds on standard input"),
        "{}",
        text(&empty.stderr)
    );
}

/// Files inside and outside the library, with a library and without one; files without audio are reported, and the rest
/// answered.
#[test]
fn a_folder_is_classified_file_by_file() {
    let sandbox = Sandbox::new();
    let inbox = sandbox.path("inbox");
    fs::create_dir_all(inbox.join("new")).unwrap();
    let data = Path::new(DEMO).parent().unwrap();
    fs::copy(
        data.join("held-out/sectoid-war-of-freedom.mp3"),
        inbox.join("new/a.mp3"),
    )
    .unwrap();
    fs::copy(
        data.join("library/metal/muldjord-chaos-god.mp3"),
        inbox.join("b.mp3"),
    )
    .unwrap();
    fs::write(inbox.join("c.mp3"), "no audio").unwrap();
    let list = sandbox.path("list.m3u8");
    fs::write(&list, "inbox/new/a.mp3\ninbox/b.mp3\n").unwrap();
    let at = inbox.to_str().unwrap();
    for output in [
        demo().run(["classify", at, "--format", "json"]),
        sandbox.run(["classify", at, "--format", "json"]),
    ] {
        let answers = json(&output);
        let names: Vec<&str> = answers
            .as_array()
            .unwrap()
            .iter()
            .map(|a| a["path"].as_str().unwrap())
            .collect();
        assert_eq!(
            (code(&output), names.len()),
            (1, 2),
            "{}",
            text(&output.stderr)
        );
        assert!(
            names[0].ends_with("b.mp3") && names[1].ends_with("a.mp3"),
            "{names:?}"
        );
        assert!(
            text(&output.stderr).contains("c.mp3"),
            "{}",
            text(&output.stderr)
        );
    }
    // One line per file of a list, and the number of labels once.
    let of_list = fine(demo().run(["classify", list.to_str().unwrap()]));
    assert!(of_list.lines().count() == 4, "{of_list}");
    assert!(
        of_list.ends_with("\nfrom 43 labelled tracks of 6 genres\n"),
        "{of_list}"
    );
    fs::create_dir_all(sandbox.path("empty")).unwrap();
    let empty = sandbox.run(["classify", sandbox.path("empty").to_str().unwrap()]);
    assert!(
        code(&empty) == 1 && text(&empty.stderr).contains("expected audio files"),
        "{}",
        text(&empty.stderr)
    );
}

#[test]
fn trying_an_add_out_needs_no_library() {
    let sandbox = Sandbox::new();
    let output = sandbox.run(["add", "--dry-run", &format!("{DEMO}/metal")]);
    assert!(
        fine(&output).contains("would analyse 8 files"),
        "{}",
        text(&output.stdout)
    );
    assert!(!sandbox.path("library").exists(), "and makes none");
}

#[test]
fn embedding_overwrites_nothing() {
    let sandbox = Sandbox::new();
    let music = sandbox.path("music");
    for (i, folder) in ["a", "b"].iter().enumerate() {
        fs::create_dir_all(music.join(folder)).unwrap();
        fs::write(
            music.join(folder).join("1.wav"),
            common::noise_wav(16_000, 4.0, i as u64),
        )
        .unwrap();
    }
    let embed = |paths: &[&Path], to: &str| {
        let mut command = sandbox.command(["embed", "--hop", "1"]);
        command
            .args(paths)
            .arg("--output")
            .arg(sandbox.path(to))
            .output()
            .unwrap()
    };
    let a = music.join("a/1.wav");
    let b = music.join("b/1.wav");
    fine(embed(&[&a, &b], "files"));
    let first = sandbox.path("files/a/1.npz");
    let second = sandbox.path("files/b/1.npz");
    assert_ne!(
        fs::read(&first).unwrap(),
        fs::read(second).unwrap(),
        "two files, two answers"
    );
    // Existing files stay, so that the same command goes on after an interruption.
    fs::write(&first, "mine").unwrap();
    let again = embed(&[&a, &b], "files");
    fine(&again);
    assert!(
        text(&again.stderr).contains("2 files there already"),
        "{}",
        text(&again.stderr)
    );
    assert_eq!(fs::read(&first).unwrap(), b"mine");
    // Folders are mirrored.
    fine(embed(&[&music], "mirrored"));
    assert!(sandbox.path("mirrored/a/1.npz").is_file());
}
