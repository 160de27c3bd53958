//! Full disks, folders that cannot be written, files that vanish, clocks that are set back.

use std::process::{Command, Stdio};

use super::*;

/// Needs the right to mount; skipped, with a message, without it.
#[test]
#[cfg(target_os = "linux")]
#[expect(clippy::too_many_lines, reason = "one scene")]
fn a_full_disk_is_reported_and_loses_nothing() {
    let sandbox = Sandbox::new();
    let music = noises(&sandbox, 40);
    let library = sandbox.path("library");
    fs::create_dir_all(&library).unwrap();
    let mount = |options: &str| {
        let mut command = Command::new("mount");
        command
            .args(["-t", "tmpfs", "-o", options, "voisin-test"])
            .arg(&library)
            .stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    if !mount("size=1m") {
        eprintln!("skipped: no right to mount a file system");
        return;
    }
    let outcome = std::panic::catch_unwind(|| {
        let full = sandbox.run(["add", "--threads", "2", &string(&music)]);
        let stderr = text(&full.stderr);
        assert_eq!(code(&full), 2, "{stderr}");
        assert!(
            stderr.contains("no space left to write") && stderr.contains("free some space"),
            "{stderr}"
        );
        // Committed tracks can be searched and are intact, although the disk is still full.
        let kept = status(&sandbox)["tracks"].as_u64().unwrap();
        assert!((2..40).contains(&kept), "{kept}");
        let found = fine(&sandbox, &["similar", "id:1", "--format", "json"]);
        assert_eq!(
            json(&found)["neighbours"].as_array().unwrap().len() as u64,
            (kept - 1).min(10)
        );
        assert_eq!(sandbox.vectors().len() as u64, kept);
        fine(&sandbox, &["verify"]);
        // With free space again, the same command continues.
        assert!(mount("remount,size=32m"));
        let rest = json(fine(
            &sandbox,
            &["add", "--format", "json", &string(&music)],
        ));
        assert_eq!(
            (rest["added"].as_u64(), rest["unchanged"].as_u64()),
            (Some(40 - kept), Some(kept))
        );
        fine(&sandbox, &["verify"]);
        // Without space for SQLite's shared memory it is read all the same.
        let filler = library.join("filler");
        assert!(fs::write(&filler, vec![1; 32 << 20]).is_err());
        for verb in ["list", "status", "verify"] {
            fine(&sandbox, &[verb]);
        }
        let target = string(&library.join("copy.db"));
        let full = sandbox.run(["export", &target]);
        let stderr = text(&full.stderr);
        let expected = format!("no space left to write {target}");
        assert!(stderr.contains(&expected), "{stderr}");
        fs::remove_file(filler).unwrap();
        let left: Vec<_> = fs::read_dir(&library)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert!(
            !left
                .iter()
                .any(|name| name.to_string_lossy().starts_with(".voisin")),
            "{left:?}"
        );
    });
    let _ = Command::new("umount").arg(&library).status();
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

/// Runs as another user, because root may write anywhere; skipped where that is impossible.
#[test]
#[cfg(unix)]
fn a_read_only_folder_is_searched_without_storing_an_index() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    use std::os::unix::process::CommandExt as _;
    let sandbox = Sandbox::new();
    let music = noises(&sandbox, 5);
    fine(&sandbox, &["add", &string(&music)]);
    let library = sandbox.path("library");
    let set =
        |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    set(library.parent().unwrap(), 0o755);
    for entry in fs::read_dir(&library).unwrap() {
        set(&entry.unwrap().path(), 0o444);
    }
    set(&library, 0o555);
    let root = fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0);
    let run = |arguments: &[&str]| {
        let mut command = sandbox.command(arguments);
        if root {
            command.uid(65_534);
        }
        command.output()
    };
    let found = match run(&["similar", "id:1", "--format", "json"]) {
        Ok(found) => found,
        Err(error) => {
            set(&library, 0o755);
            eprintln!("skipped: cannot run as another user: {error}");
            return;
        }
    };
    let added = run(&["add", &string(&music)]).unwrap();
    let checked = run(&["verify"]).unwrap();
    // There is no index, and none can be stored.
    set(&library, 0o755);
    fs::remove_file(library.join("index.bin")).unwrap();
    set(&library, 0o555);
    let without = run(&["similar", "id:1", "--format", "json"]).unwrap();
    set(&library, 0o755);
    assert_eq!(code(&found), 0, "{}", text(&found.stderr));
    assert_eq!(json(&found)["neighbours"].as_array().unwrap().len(), 4);
    assert_eq!(json(&without)["neighbours"], json(&found)["neighbours"]);
    assert_eq!(code(&checked), 0, "{}", text(&checked.stdout));
    assert_eq!(code(&added), 2);
    assert!(
        text(&added.stderr).contains("cannot be written: check the rights"),
        "{}",
        text(&added.stderr)
    );
    assert_eq!(status(&sandbox)["tracks"], 5);
}

#[test]
fn files_that_vanish_while_add_runs_fail_alone() {
    let sandbox = Sandbox::new();
    let music = noises(&sandbox, 3);
    write_noises(&music, 10..60, 20.0);
    let child = sandbox
        .command(["add", "--threads", "1", "--format", "json", &string(&music)])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    super::processes::wait_for_tracks(&sandbox, 1);
    // All are listed by now; these have not been opened.
    for i in 50..60 {
        fs::remove_file(music.join(format!("{i}.wav"))).unwrap();
    }
    let output = child.wait_with_output().unwrap();
    let summary = json(&output);
    assert_eq!(
        (code(&output), &summary["added"], &summary["failed"]),
        (1, &43.into(), &10.into()),
        "{summary}"
    );
    let failed = text(&sandbox.run(["list", "--failed"]).stdout);
    assert_eq!(
        failed
            .lines()
            .filter(|line| line.contains('5') && line.contains("no such file"))
            .count(),
        10,
        "{failed}"
    );
    fine(&sandbox, &["verify"]);
    // Missing files are not retried, and nothing is lost.
    assert!(text(&sandbox.run(["add", "--retry"]).stderr).contains("10 failed files gone since"));
    assert_eq!(text(&sandbox.run(["list", "--failed"]).stdout), "");
    assert_eq!(status(&sandbox)["tracks"], 43);
}
