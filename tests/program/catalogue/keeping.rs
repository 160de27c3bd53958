//! Maintenance of a library: backup, exclude, watch.

use std::fs;

use crate::catalogue::{shelf, sound};
use crate::common::{Sandbox, code, fine, fine_json, json, text};

#[test]
fn a_backup_is_whole_and_overwrites_nothing() {
    let sandbox = shelf();
    let file = sandbox.path("copy/voisin.db");
    fs::create_dir(sandbox.path("copy")).unwrap();
    let name = file.to_str().unwrap();
    assert!(fine(sandbox.run(["export", name])).contains("4 tracks and 4 files"));
    fine(sandbox.run(["export", name]));
    // Nothing but the copy is left beside it.
    assert_eq!(fs::read_dir(sandbox.path("copy")).unwrap().count(), 1);
    let copied = [
        "list",
        "--library",
        sandbox.path("copy").to_str().unwrap(),
        "--format",
        "json",
    ]
    .map(str::to_owned);
    assert_eq!(
        fine_json(sandbox.run(copied)),
        fine_json(sandbox.run(["list", "--format", "json"]))
    );
}

#[cfg(unix)]
#[test]
fn links_out_of_a_folder_are_followed_on_request() {
    use std::os::unix::fs::symlink;
    let sandbox = shelf();
    let music = sandbox.path("music");
    let name = music.to_str().unwrap();
    fs::create_dir(sandbox.path("private")).unwrap();
    sound(&sandbox.path("private/memo.wav"), 71, &[]);
    sound(&sandbox.path("single.wav"), 72, &[]);
    symlink("..", music.join("up")).unwrap();
    symlink(sandbox.path("single.wav"), music.join("single.wav")).unwrap();
    let add = |more: &[&str]| {
        let output = sandbox.run([&["add", name, "--format", "json"], more].concat());
        (fine_json(&output), text(&output.stderr))
    };
    let (first, message) = add(&[]);
    assert_eq!(
        (&first["added"], &first["unchanged"]),
        (&0.into(), &4.into()),
        "{first}"
    );
    assert!(
        message.contains("2 links") && message.contains("--follow-links"),
        "{message}"
    );
    let (would, _) = add(&["--follow-links", "--dry-run"]);
    assert_eq!(would["added"], 2);
    assert_eq!(add(&["--follow-links"]).0["added"], 2);
    sound(&sandbox.path("private/more.wav"), 73, &[]);
    assert_eq!(
        add(&[]).0["added"],
        0,
        "the option applies to its run alone"
    );
    let later = add(&["--follow-links"]).0;
    assert_eq!(
        (&later["added"], &later["unchanged"]),
        (&1.into(), &6.into())
    );
    fs::remove_file(sandbox.path("single.wav")).unwrap();
    let output = sandbox.run(["add", name, "--format", "json", "--remove-missing"]);
    let again = json(&output);
    let message = text(&output.stderr);
    assert_eq!(
        (&again["removed"], &again["gone"], &again["out_of_reach"]),
        (&0.into(), &0.into(), &1.into())
    );
    assert!(
        message.contains("--force") && message.contains("music/single.wav"),
        "{message}"
    );
    let list = fine(sandbox.run(["list", "--format", "paths"]));
    assert!(
        list.contains("private/memo.wav") && list.contains("music/single.wav"),
        "{list}"
    );
}

#[test]
fn patterns_keep_files_out() {
    let sandbox = Sandbox::new();
    let music = sandbox.path("music");
    for (seed, name) in [
        "keep.wav",
        "Podcasts/one.wav",
        "live/tape.wav",
        "live/best.wav",
        "live/deep/raw.wav",
    ]
    .iter()
    .enumerate()
    {
        sound(&music.join(name), seed as u64 + 1, &[]);
    }
    sound(&sandbox.path("other/x.wav"), 9, &[]);
    fine(sandbox.run(["add", sandbox.path("other").to_str().unwrap()]));
    fs::write(
        music.join("live/.voisinignore"),
        "# rough takes\n*.wav\n!best.wav\n",
    )
    .unwrap();
    let add = |more: &[&str]| {
        sandbox.run(
            [
                &[
                    "add",
                    music.to_str().unwrap(),
                    "--dry-run",
                    "--format",
                    "json",
                ],
                more,
            ]
            .concat(),
        )
    };
    assert_eq!(fine_json(add(&[]))["added"], 3);
    assert_eq!(
        fine_json(add(&["--exclude", "podcasts/"]))["added"],
        3,
        "patterns are case-sensitive, as in git"
    );
    assert_eq!(fine_json(add(&["--exclude", "Podcasts/"]))["added"], 2);
    assert_eq!(
        fine_json(add(&["--exclude", "Podcasts/", "--exclude", "/keep.*"]))["added"],
        1
    );
}

#[cfg(unix)]
#[test]
#[expect(clippy::too_many_lines, reason = "one scene")]
fn watching_survives_bursts_renames_and_missing_folders() {
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    let sandbox = Sandbox::new();
    let music = sandbox.path("music");
    sound(&music.join("a/one.wav"), 1, &[("TIT2", "One")]);
    let log = fs::File::create(sandbox.path("log")).unwrap();
    let mut watch = sandbox
        .command([
            "add",
            "--watch",
            music.to_str().unwrap(),
            "--exclude",
            "skipped/",
        ])
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    let printed = || fs::read_to_string(sandbox.path("log")).unwrap();
    let paths = || {
        let run = sandbox.run(["list", "--sort", "path", "--format", "paths", "--quiet"]);
        text(&run.stdout)
            .lines()
            .map(|path| path.rsplit('/').next().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let wait_for = |expected: &[&str]| {
        let start = Instant::now();
        while paths() != expected {
            assert!(
                start.elapsed() < Duration::from_mins(2),
                "{:?}, expected {expected:?}: {}",
                paths(),
                printed()
            );
            std::thread::sleep(Duration::from_millis(300));
        }
    };
    wait_for(&["one.wav"]);
    // Ten thousand changes, and one of them is music.
    for i in 0..10_000 {
        fs::write(music.join(format!("a/{i}.tmp")), b"").unwrap();
    }
    sound(&music.join("b/two.wav"), 2, &[("TIT2", "Two")]);
    sound(&music.join("skipped/three.wav"), 3, &[]);
    wait_for(&["one.wav", "two.wav"]);
    // Another process may write in between: the lock is held only while there is work.
    let start = Instant::now();
    loop {
        let run = sandbox.run(["add", music.join("b").to_str().unwrap(), "--format", "json"]);
        if code(&run) == 0 {
            assert_eq!(json(&run)["unchanged"], 1);
            break;
        }
        assert!(
            start.elapsed() < Duration::from_mins(1),
            "{}",
            text(&run.stderr)
        );
    }
    fs::rename(music.join("b/two.wav"), music.join("b/zwei.wav")).unwrap();
    wait_for(&["one.wav", "zwei.wav"]);
    // The whole folder disappears, as when a disk is unmounted, and comes back with more.
    fs::rename(&music, sandbox.path("unmounted")).unwrap();
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(paths(), ["one.wav", "zwei.wav"]);
    sound(&sandbox.path("unmounted/b/drei.wav"), 4, &[]);
    fs::rename(sandbox.path("unmounted"), &music).unwrap();
    wait_for(&["one.wav", "drei.wav", "zwei.wav"]);
    assert!(watch.try_wait().unwrap().is_none(), "{}", printed());
    assert!(
        Command::new("kill")
            .args(["-INT", &watch.id().to_string()])
            .status()
            .unwrap()
            .success()
    );
    let start = Instant::now();
    let ended = loop {
        if let Some(status) = watch.try_wait().unwrap() {
            break status;
        }
        assert!(start.elapsed() < Duration::from_mins(1), "{}", printed());
        std::thread::sleep(Duration::from_millis(100));
    };
    assert_eq!(ended.code(), Some(0), "{}", printed());
    assert!(printed().contains("no longer watching"), "{}", printed());
}
