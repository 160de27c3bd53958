//! `add` as a process: bad files, files that move or go, runs that are killed.

use std::collections::BTreeMap;
use std::fs;
use std::process::Stdio;

use crate::common::{
    DEMO, Sandbox, code, fine, json, noise_wav, six_tracks, text, tone_wav, write_noises,
};

#[test]
#[expect(clippy::too_many_lines, reason = "one scene")]
fn one_bad_file_never_stops_a_run() {
    let sandbox = Sandbox::new();
    let music = sandbox.path("music");
    fs::create_dir_all(&music).unwrap();
    let good = format!("{DEMO}/library/metal/muldjord-chaos-god.mp3");
    let whole = fs::read(&good).unwrap();
    fs::write(music.join("good.mp3"), &whole).unwrap();
    fs::write(music.join("empty.mp3"), b"").unwrap();
    let random: Vec<u8> = (0..50_000u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    fs::write(music.join("random.mp3"), random).unwrap();
    fs::write(
        music.join("picture.flac"),
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x02\0\0\0",
    )
    .unwrap();
    fs::write(music.join("truncated.mp3"), &whole[..whole.len() / 3]).unwrap();
    fs::write(music.join("silent.wav"), tone_wav(16_000, 600.0, 0.0, 0.0)).unwrap();
    let mut liar = noise_wav(22_050, 8.0, 7);
    liar[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    liar[40..44].copy_from_slice(&(u32::MAX - 36).to_le_bytes());
    fs::write(music.join("four-gigabytes.wav"), liar).unwrap();
    fs::write(music.join("short.wav"), tone_wav(44_100, 0.4, 440.0, 0.5)).unwrap();
    let mut handled = vec!["good.mp3", "truncated.mp3", "four-gigabytes.wav"];
    let mut failing = vec![
        "empty.mp3",
        "random.mp3",
        "picture.flac",
        "silent.wav",
        "short.wav",
    ];
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt as _;
        use std::os::unix::fs::PermissionsExt as _;
        let name = std::ffi::OsStr::from_bytes(b"caf\xe9.mp3");
        let other = format!("{DEMO}/library/ambient/nikola-whallon-ambient-2.mp3");
        fs::copy(other, music.join(name)).unwrap();
        handled.push("caf\u{fffd}.mp3");
        let locked = music.join("locked.mp3");
        fs::write(&locked, &whole[..whole.len() - 1000]).unwrap();
        fs::set_permissions(&locked, fs::Permissions::from_mode(0o000)).unwrap();
        // Root can read the file; then it is simply added.
        let list = if fs::read(&locked).is_err() {
            &mut failing
        } else {
            &mut handled
        };
        list.push("locked.mp3");
    }
    let added = sandbox.run(["add", "--format", "json", music.to_str().unwrap()]);
    assert_eq!(code(&added), 1, "{}", text(&added.stderr));
    let summary = json(&added);
    assert_eq!(summary["added"], handled.len(), "{}", text(&added.stderr));
    assert_eq!(summary["failed"], failing.len());

    let failed = text(&sandbox.run(["list", "--failed"]).stdout);
    assert_eq!(
        failed.lines().count(),
        failing.len(),
        "one line each:\n{failed}"
    );
    for (name, reason) in [
        ("empty.mp3", "empty"),
        ("random.mp3", "not an audio file"),
        ("picture.flac", "not an audio file"),
        ("silent.wav", "silent throughout"),
        ("short.wav", "at least"),
    ] {
        let line = failed
            .lines()
            .find(|line| line.contains(name))
            .unwrap_or_else(|| panic!("{name} in:\n{failed}"));
        assert!(line.contains(reason), "{line}");
    }
    // Known failures are skipped until they change; then the run is fine.
    let again = sandbox.run(["add", "--format", "json", music.to_str().unwrap()]);
    assert_eq!((code(&again), &json(&again)["failed"]), (0, &0.into()));
    assert_eq!(json(&again)["skipped"], failing.len());
    // A retry reads them again, and fails again.
    let retried = sandbox.run(["add", "--retry", "--format", "json"]);
    assert_eq!(
        (code(&retried), &json(&retried)["failed"]),
        (1, &failing.len().into())
    );
    // A repaired file is added.
    fs::write(music.join("empty.mp3"), &whole[..whole.len() / 2]).unwrap();
    assert_eq!(
        json(sandbox.run(["add", "--format", "json", music.to_str().unwrap()]))["added"],
        1
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "one scene")]
fn moved_retagged_copied_and_removed_files() {
    let sandbox = Sandbox::new();
    let music = six_tracks(&sandbox);
    sandbox.run(["add", music.to_str().unwrap()]);
    let before = sandbox.vectors();

    fs::rename(
        music.join("metal/muldjord-chaos-god.mp3"),
        music.join("ambient/renamed.mp3"),
    )
    .unwrap();
    fs::copy(
        music.join("ambient/maxstack-nebula.ogg"),
        music.join("metal/copy.ogg"),
    )
    .unwrap();
    let summary = json(sandbox.run(["add", "--format", "json", music.to_str().unwrap()]));
    assert_eq!(
        (&summary["moved"], &summary["updated"], &summary["added"]),
        (&1.into(), &1.into(), &0.into())
    );
    assert_eq!(
        sandbox.vectors(),
        before,
        "moving and copying change no vector"
    );

    // The copy is an exact duplicate: it is not its own neighbour.
    let found = json(sandbox.run([
        "similar",
        music.join("metal/copy.ogg").to_str().unwrap(),
        "--format",
        "json",
    ]));
    assert!(
        found["neighbours"]
            .as_array()
            .unwrap()
            .iter()
            .all(|n| n["title"] != "Nebula")
    );

    fs::remove_file(music.join("ambient/renamed.mp3")).unwrap();
    let dry = text(&sandbox.run(["remove", "--missing", "--dry-run"]).stdout);
    assert_eq!(
        dry.trim(),
        music.join("ambient").join("renamed.mp3").to_str().unwrap()
    );
    assert_eq!(
        json(sandbox.run(["status", "--format", "json"]))["tracks"],
        6
    );
    assert_eq!(code(&sandbox.run(["remove", "--missing"])), 0);
    assert_eq!(
        json(sandbox.run(["status", "--format", "json"]))["tracks"],
        5
    );
    let left = json(sandbox.run(["similar", "nebula", "--limit", "100", "--format", "json"]));
    assert_eq!(left["neighbours"].as_array().unwrap().len(), 4, "no ghosts");
    assert!(
        !text(&sandbox.run(["similar", "nebula", "--limit", "100"]).stdout).contains("Chaos God")
    );
    let removed = sandbox.run(["remove", music.join("metal").to_str().unwrap()]);
    assert_eq!(code(&removed), 0);
    let message = text(&removed.stderr);
    assert!(
        message.contains("come back with its next \"voisin add\""),
        "{message}"
    );
    assert_eq!(
        json(sandbox.run(["status", "--format", "json"]))["tracks"],
        3
    );
}

#[test]
fn add_names_each_file_it_cannot_add() {
    let sandbox = Sandbox::new();
    let empty = sandbox.path("empty");
    let absent = sandbox.path("absent");
    fs::create_dir_all(&empty).unwrap();
    let output = sandbox.run(["add", empty.to_str().unwrap()]);
    assert!(
        text(&output.stderr).contains("expected audio files (.mp3"),
        "{}",
        text(&output.stderr)
    );
    let output = sandbox.run(["add", absent.to_str().unwrap()]);
    assert_eq!(code(&output), 1);
    assert!(
        text(&output.stderr).contains("absent: there is no such file or folder"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn add_names_the_model_where_it_begins_a_library() {
    let sandbox = Sandbox::new();
    let wav = sandbox.path("noise.wav");
    fs::write(&wav, noise_wav(22_050, 5.0, 1)).unwrap();
    let messages = |options: &[&str]| {
        let added = sandbox.run([options, &["add", "--force", wav.to_str().unwrap()]].concat());
        text(&added.stderr)
    };
    let first = messages(&[]);
    let again = messages(&[]);
    let verbose = messages(&["-v", "--device", "auto"]);
    assert!(
        first.contains("model voisin-equal on ") && !again.contains("model voisin-equal"),
        "{first}{again}"
    );
    assert!(verbose.contains("model voisin-equal on "), "{verbose}");
    // With `--device` the message has the reason why it is not the GPU.
    #[cfg(not(feature = "cuda"))]
    assert!(
        !first.contains("cuda") && verbose.contains("no GPU: this voisin was built without"),
        "{first}{verbose}"
    );
}

/// Twenty kills at twenty moments, then one more run: exactly the vectors of an uninterrupted run.
#[test]
#[cfg(unix)]
fn killed_at_any_moment_nothing_is_lost() {
    let undisturbed = Sandbox::new();
    let music = undisturbed.path("music");
    write_noises(&music, 0..24, 4.0);
    fs::write(music.join("broken.mp3"), b"no music at all").unwrap();
    let start = std::time::Instant::now();
    undisturbed.run(["add", music.to_str().unwrap()]);
    let whole = start.elapsed();
    let expected = undisturbed.vectors();
    assert_eq!(expected.len(), 24);

    let killed = Sandbox::new();
    for i in 0..20u32 {
        let mut child = killed
            .command(["add", "--quiet", music.to_str().unwrap()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // From "before any work" to "nearly done", in an unsorted order.
        std::thread::sleep(
            whole.mul_f64(f64::from(i * 7 % 20) / 20.0 * 0.9) + std::time::Duration::from_millis(1),
        );
        child.kill().unwrap();
        child.wait().unwrap();
    }
    // A file that two of the kills hit was set aside: it is read again.
    killed.run(["add", "--retry", music.to_str().unwrap()]);
    let last = killed.run(["add", "--format", "json", music.to_str().unwrap()]);
    let summary = json(&last);
    assert_eq!(
        summary["added"].as_u64().unwrap() + summary["unchanged"].as_u64().unwrap(),
        24,
        "{summary}"
    );
    assert_eq!(killed.vectors(), expected);
    let near = json(killed.run(["similar", "id:1", "-l", "all", "--format", "json"]));
    assert_eq!(near["neighbours"].as_array().unwrap().len(), 23);
}

#[test]
#[cfg(unix)]
fn ctrl_c_keeps_what_is_done() {
    let sandbox = Sandbox::new();
    let music = sandbox.path("music");
    write_noises(&music, 0..40, 30.0);
    let child = sandbox
        .command([
            "add",
            "--threads",
            "1",
            "--format",
            "json",
            music.to_str().unwrap(),
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Wait until something is stored, then interrupt as a terminal does.
    let deadline = std::time::Instant::now() + std::time::Duration::from_mins(1);
    while std::time::Instant::now() < deadline {
        let status = sandbox.run(["status", "--format", "json"]);
        if serde_json::from_slice::<serde_json::Value>(&status.stdout)
            .is_ok_and(|s| s["tracks"].as_u64() > Some(0))
        {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(code(&output), 130, "{}", text(&output.stderr));
    let kept = json(&output)["added"].as_u64().unwrap();
    assert!((1..40).contains(&kept), "{kept}");
    assert!(text(&output.stderr).contains("finished first"));
    assert_eq!(
        json(sandbox.run(["status", "--format", "json"]))["tracks"],
        kept
    );
}

#[test]
fn threads_and_order_change_no_vector() {
    let one = Sandbox::new();
    let music = six_tracks(&one);
    one.run(["add", "--threads", "1", music.to_str().unwrap()]);
    let many = Sandbox::new();
    many.run([
        "add",
        "--threads",
        "5",
        music.join("ambient").to_str().unwrap(),
    ]);
    many.run([
        "add",
        "--threads",
        "3",
        music.join("metal").to_str().unwrap(),
    ]);
    let a: BTreeMap<_, _> = one.vectors();
    let b: BTreeMap<_, _> = many.vectors();
    assert_eq!(a.len(), 6);
    assert_eq!(
        a, b,
        "the same bits with 1 or 5 threads, at once or in pieces"
    );
}

#[test]
fn missing_files_are_reported_and_removed_on_request() {
    let sandbox = Sandbox::new();
    let music = six_tracks(&sandbox);
    let add = |more: &[&str]| {
        let output =
            sandbox.run([&["add", "--format", "json", music.to_str().unwrap()], more].concat());
        let counts = json(&output);
        let count = |key: &str| counts[key].as_u64().unwrap();
        (count("gone"), count("out_of_reach"), count("removed"))
    };
    let tracks = || json(sandbox.run(["status", "--format", "json"]))["tracks"].clone();
    assert_eq!(add(&[]), (0, 0, 0));
    let nothing = sandbox.run(["remove", "--missing", "--dry-run"]);
    assert_eq!(code(&nothing), 1);
    assert!(
        text(&nothing.stderr).contains("nothing to remove"),
        "{}",
        text(&nothing.stderr)
    );

    fs::remove_file(music.join("metal/muldjord-chaos-god.mp3")).unwrap();
    assert_eq!(add(&[]), (1, 0, 0));
    let stderr = text(&sandbox.run(["add", music.to_str().unwrap()]).stderr);
    assert!(
        stderr.contains("1 file gone since: --remove-missing removes them"),
        "{stderr}"
    );
    let dry = sandbox.run(["remove", "--missing", "--dry-run"]);
    assert!(
        text(&dry.stderr).contains("would remove 1 file and 1 track"),
        "{}",
        text(&dry.stderr)
    );
    assert_eq!(add(&["--remove-missing", "--dry-run"]), (1, 0, 0));
    assert_eq!(tracks(), 6);
    assert_eq!(add(&["--remove-missing"]), (1, 0, 1));
    assert_eq!(tracks(), 5);

    // a folder that is empty, one that is absent, and one in which nothing of the library is left
    let away = sandbox.path("away");
    fs::rename(music.join("ambient"), &away).unwrap();
    fs::create_dir(music.join("ambient")).unwrap();
    assert_eq!(add(&["--remove-missing"]), (0, 3, 0));
    fs::remove_dir(music.join("ambient")).unwrap();
    let ambient = music.join("ambient");
    let absent = sandbox.run(["add", ambient.to_str().unwrap(), "--remove-missing"]);
    assert!(code(&absent) > 0 && text(&absent.stderr).contains("a disk is not mounted"));
    fs::create_dir(&ambient).unwrap();
    fs::write(ambient.join("cover.jpg"), "").unwrap();
    fine(sandbox.run(["add", ambient.to_str().unwrap(), "--remove-missing"]));
    assert_eq!(tracks(), 5);
    let retried = sandbox.run(["add", "--retry", "nosuchpath"]);
    assert_eq!(code(&retried), 1);
    assert!(
        text(&retried.stderr).contains("no failed file below these paths"),
        "{}",
        text(&retried.stderr)
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "one scene")]
fn remove_leaves_files_of_absent_folders_unless_forced() {
    let sandbox = Sandbox::new();
    let music = six_tracks(&sandbox);
    fine(sandbox.run(["add", music.to_str().unwrap()]));
    let ambient = music.join("ambient");
    let away = sandbox.path("away");
    let tracks = || json(sandbox.run(["status", "--format", "json"]))["tracks"].clone();
    let remove =
        |more: &[&str]| sandbox.run([&["remove", "--missing", "--format", "json"], more].concat());
    let counts = |output: &std::process::Output| {
        let counts = json(output);
        (
            counts["files"].clone(),
            counts["out_of_reach"].clone(),
            counts["absent_folders"].clone(),
        )
    };

    // the disk is unmounted: its mount point is missing, empty, or holds an empty folder of the same name
    fs::rename(&ambient, &away).unwrap();
    for shown in [ambient.clone(), ambient.clone(), ambient.join(".hidden")] {
        for options in [&[][..], &["--dry-run"], &[ambient.to_str().unwrap()]] {
            let refused = remove(options);
            let why = text(&refused.stderr);
            assert_eq!(code(&refused), 2, "{why}");
            assert_eq!(
                counts(&refused),
                (
                    0.into(),
                    3.into(),
                    serde_json::json!([ambient.to_str().unwrap()])
                ),
                "{}",
                shown.display()
            );
            let command = format!("voisin remove --missing --force \"{}\"", ambient.display());
            assert!(
                why.contains("3 files cannot be found and stay") && why.contains(&command),
                "{why}"
            );
            assert!(!why.contains("is where it was"), "{why}");
        }
        fs::create_dir_all(&shown).unwrap();
    }
    assert_eq!(tracks(), 6);

    // files missing from an existing folder are removed, and the rest stays
    fs::remove_file(music.join("metal/muldjord-chaos-god.mp3")).unwrap();
    let both = remove(&[]);
    assert_eq!(
        (code(&both), counts(&both).0, counts(&both).1),
        (2, 1.into(), 3.into())
    );
    assert_eq!(tracks(), 5);

    // the disk is back: nothing was lost
    fs::remove_dir_all(&ambient).unwrap();
    fs::rename(&away, &ambient).unwrap();
    assert_eq!(
        json(sandbox.run(["add", music.to_str().unwrap(), "--format", "json"]))["unchanged"],
        5
    );
    assert_eq!(code(&remove(&[])), 1);

    // it is gone for good
    fs::remove_dir_all(&ambient).unwrap();
    let would = remove(&["--force", "--dry-run"]);
    assert_eq!((code(&would), tracks()), (0, 5.into()));
    assert_eq!(json(&would)["would_remove"].as_array().unwrap().len(), 3);
    let forced = remove(&["--force", ambient.to_str().unwrap()]);
    assert_eq!(
        (code(&forced), counts(&forced).0, counts(&forced).1),
        (0, 3.into(), 0.into())
    );
    assert_eq!(tracks(), 2);
    assert_eq!(
        code(&sandbox.run(["remove", "--force", "id:1"])),
        2,
        "only with --missing"
    );
}
