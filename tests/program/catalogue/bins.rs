//! Bins, snapshots and system folders: left out, counted, included where they are named, and never the copy that is
//! kept.

use std::fs;

use crate::catalogue::{sound, titles};
use crate::common::{Sandbox, code, fine, fine_json, noise_wav, text};

/// An album of three, its first song also in a bin and in a snapshot, another song in the bin alone.
fn nas() -> Sandbox {
    let sandbox = Sandbox::new();
    let music = sandbox.path("music");
    for (seed, title) in [(1, "One"), (2, "Two"), (3, "Three")] {
        let frames = [("TPE1", "Artist"), ("TALB", "Album"), ("TIT2", title)];
        sound(
            &music.join(format!("Artist/Album/{title}.wav")),
            seed,
            &frames,
        );
    }
    for folder in ["#recycle/Artist/Album", "@Recently-Snapshot/daily"] {
        fs::create_dir_all(music.join(folder)).unwrap();
        fs::copy(
            music.join("Artist/Album/One.wav"),
            music.join(folder).join("One.wav"),
        )
        .unwrap();
    }
    sound(&music.join("#recycle/Gone.wav"), 9, &[("TIT2", "Gone")]);
    sandbox
}

#[test]
fn bins_are_left_out_counted_and_taken_when_named() {
    let sandbox = nas();
    let music = sandbox.path("music").to_str().unwrap().to_owned();
    let first = sandbox.run(["add", &music]);
    fine(&first);
    let message = text(&first.stderr);
    assert!(
        message.contains("left out: #recycle 2 files, @Recently-Snapshot 1 file ("),
        "{message}"
    );
    assert!(
        message.contains(&format!("voisin add '{music}/#recycle'")),
        "{message}"
    );
    assert!(!message.contains("from before"), "{message}");
    assert_eq!(
        titles(&sandbox, &["--sort", "title"]),
        ["One", "Three", "Two"]
    );
    let summary = fine_json(sandbox.run(["add", &music, "--format", "json"]));
    let bin = serde_json::json!({"folder": format!("{music}/#recycle"), "files": 2, "more": false});
    assert_eq!(
        (
            &summary["left_out"][0],
            summary["left_out"].as_array().unwrap().len()
        ),
        (&bin, 2)
    );
    assert_eq!(summary["unchanged"], 3);
    let status = || fine_json(sandbox.run(["status", "--format", "json"]));
    assert_eq!(status()["left_out"], summary["left_out"]);
    let table = fine(sandbox.run(["status"]));
    assert!(table.contains("left out  3 files below"), "{table}");

    let bin = sandbox.path("music/#recycle").to_str().unwrap().to_owned();
    let named = sandbox.run(["add", &bin]);
    fine(&named);
    assert!(
        !text(&named.stderr).contains("left out"),
        "{}",
        text(&named.stderr)
    );
    assert_eq!(
        titles(&sandbox, &["--sort", "title"]),
        ["Gone", "One", "Three", "Two"]
    );
    let left_out = status()["left_out"].clone();
    assert_eq!(left_out, serde_json::json!([summary["left_out"][1]]));
    // Its files stay in the library, which is reported once.
    let stays =
        format!("2 files of {bin} are in the library from before and stay: voisin remove '{bin}'");
    let message = |output: std::process::Output| text(&output.stderr);
    assert!(message(sandbox.run(["add", &music])).contains(&stays));
    let again = message(sandbox.run(["add", &music]));
    assert!(
        again.contains("left out: #recycle") && !again.contains("from before"),
        "{again}"
    );
    fine(sandbox.run(["add", &music, "--remove-missing"]));
    assert_eq!(titles(&sandbox, &[]).len(), 4);
    fine(sandbox.run(["remove", &bin]));
    assert_eq!(
        titles(&sandbox, &["--sort", "title"]),
        ["One", "Three", "Two"]
    );
}

#[test]
fn an_excluded_folder_may_begin_with_a_hash() {
    let sandbox = Sandbox::new();
    let music = sandbox.path("music");
    sound(&music.join("one.wav"), 1, &[("TIT2", "One")]);
    sound(&music.join("#demos/two.wav"), 2, &[("TIT2", "Two")]);
    let music = music.to_str().unwrap();
    fine(sandbox.run(["add", music, "--exclude", "#demos/"]));
    assert_eq!(titles(&sandbox, &[]), ["One"]);
    fs::write(sandbox.path("music/.voisinignore"), "#demos/\n").unwrap();
    let hinted = sandbox.run(["add", music]);
    assert_eq!(code(&hinted), 0);
    let message = text(&hinted.stderr);
    assert!(
        message.contains("\"#demos/\" is a comment and leaves nothing out: write \\#demos/"),
        "{message}"
    );
    assert_eq!(titles(&sandbox, &["--sort", "title"]), ["One", "Two"]);
}

#[test]
fn a_copy_in_a_bin_or_of_its_name_is_never_kept() {
    let sandbox = nas();
    let music = sandbox.path("music");
    // The bin first, so that its file is the oldest row.
    for folder in ["music/#recycle", "music"] {
        fine(sandbox.run(["add", sandbox.path(folder).to_str().unwrap()]));
    }
    let shown = fine(sandbox.run(["list", "--format", "paths"]));
    assert!(!shown.contains("#recycle/Artist"), "{shown}");
    let groups = fine_json(sandbox.run(["duplicates", "--format", "json"]));
    assert_eq!(
        groups[0]["keep"]["path"],
        music.join("Artist/Album/One.wav").to_str().unwrap(),
        "{groups}"
    );
    assert_eq!(
        groups[0]["why"],
        "the same audio in each: the next is in a bin or a snapshot"
    );
    let offered = fine(sandbox.run(["duplicates", "--format", "paths"]));
    assert_eq!(
        offered.trim(),
        music
            .join("#recycle/Artist/Album/One.wav")
            .to_str()
            .unwrap()
    );

    // Among exact copies in other places, the one in its album's folder.
    let sandbox = nas();
    let music = sandbox.path("music");
    for (folder, name) in [
        ("A/Downloads", "Two.wav"),
        ("A/Copies", "Two (1).wav"),
        ("A/Mixed", "Two.wav"),
    ] {
        fs::create_dir_all(music.join(folder)).unwrap();
        fs::copy(
            music.join("Artist/Album/Two.wav"),
            music.join(folder).join(name),
        )
        .unwrap();
    }
    fine(sandbox.run(["add", music.to_str().unwrap()]));
    let groups = fine_json(sandbox.run(["duplicates", "--format", "json"]));
    let paths: Vec<&str> = std::iter::once(&groups[0]["keep"])
        .chain(groups[0]["others"].as_array().unwrap())
        .map(|file| {
            file["path"]
                .as_str()
                .unwrap()
                .strip_prefix(music.to_str().unwrap())
                .unwrap()
        })
        .collect();
    let expected = [
        "/Artist/Album/Two.wav",
        "/A/Mixed/Two.wav",
        "/A/Copies/Two (1).wav",
        "/A/Downloads/Two.wav",
    ];
    assert_eq!(paths, expected, "{groups}");
    assert_eq!(
        groups[0]["why"],
        "the same audio in each: the file in its album's folder"
    );
}

#[test]
fn watching_leaves_out_bins_too() {
    let sandbox = Sandbox::new();
    let music = sandbox.path("music");
    fs::create_dir_all(music.join("$RECYCLE.BIN/S-1-5-21")).unwrap();
    fs::write(
        music.join("$RECYCLE.BIN/S-1-5-21/$R0A1B2.wav"),
        noise_wav(16_000, 4.0, 1),
    )
    .unwrap();
    fs::write(music.join("one.wav"), noise_wav(16_000, 4.0, 2)).unwrap();
    let mut command = sandbox.command(["watch", music.to_str().unwrap()]);
    command.stderr(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let start = std::time::Instant::now();
    let paths = || text(&sandbox.run(["list", "--format", "paths"]).stdout);
    while !paths().contains("one.wav") && start.elapsed().as_secs() < 60 {
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    child.kill().unwrap();
    let message = text(&child.wait_with_output().unwrap().stderr);
    assert_eq!(
        paths().trim(),
        music.join("one.wav").to_str().unwrap(),
        "{message}"
    );
}
