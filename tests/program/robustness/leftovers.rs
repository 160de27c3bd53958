//! Files left behind by killed processes, and files that crash the reader.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::*;

fn failures(sandbox: &Sandbox) -> Vec<Value> {
    json(fine(sandbox, &["list", "--failed", "--format", "json"]))
        .as_array()
        .unwrap()
        .clone()
}

/// Ends a process as a crash in a decoder does: at once, with no clean-up.
#[cfg(target_os = "linux")]
fn kill(process: u32) {
    let _ = Command::new("kill")
        .args(["-KILL", &process.to_string()])
        .stderr(Stdio::null())
        .status();
}

/// The journals of runs that read files.
#[cfg(target_os = "linux")]
fn journals(sandbox: &Sandbox) -> Vec<PathBuf> {
    let entries = fs::read_dir(sandbox.path("library"))
        .into_iter()
        .flatten()
        .flatten();
    let is_journal = |path: &PathBuf| {
        path.file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with("voisin.reading-")
    };
    entries
        .map(|entry| entry.path())
        .filter(is_journal)
        .collect()
}

/// Runs voisin, and kills it while it reads `deadly`.
#[cfg(target_os = "linux")]
fn with_a_deadly_file(sandbox: &Sandbox, deadly: &Path, arguments: &[&str]) -> Output {
    let named = deadly.as_os_str().as_encoded_bytes();
    let of_the_dead = journals(sandbox);
    let child = sandbox
        .command(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let process = child.id();
    std::thread::scope(|scope| {
        let ending = scope.spawn(|| child.wait_with_output().unwrap());
        while !ending.is_finished() {
            let is_in_hand = |journal: &PathBuf| {
                let entries = fs::read(journal).unwrap_or_default();
                entries.windows(named.len()).any(|part| part == named)
            };
            if journals(sandbox)
                .iter()
                .filter(|journal| !of_the_dead.contains(journal))
                .any(is_in_hand)
            {
                kill(process);
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        ending.join().unwrap()
    })
}

/// Ten minutes of noise: long enough to be killed meanwhile.
#[cfg(target_os = "linux")]
#[test]
fn a_file_that_ends_the_process_twice_is_set_aside() {
    use std::os::unix::process::ExitStatusExt as _;
    let sandbox = Sandbox::new();
    let music = noises(&sandbox, 3);
    let killer = music.join("01-killer.wav");
    fs::write(&killer, noise_wav(8_000, 600.0, 500)).unwrap();
    let add = ["add", "--threads", "1", &string(&music)];

    // The second time it is read first, alone: no other file is named beside it.
    for runs in 1..=2 {
        let died = with_a_deadly_file(&sandbox, &killer, &add);
        assert_eq!(died.status.signal(), Some(9), "{}", text(&died.stderr));
        assert_eq!(journals(&sandbox).len(), runs);
        let table = text(&fine(&sandbox, &["verify"]).stdout);
        assert!(
            table.contains("1 file being read by a killed run") && table.contains("01-killer.wav"),
            "{table}"
        );
    }

    let again = with_a_deadly_file(&sandbox, &killer, &add);
    assert_eq!(code(&again), 1, "{}", text(&again.stderr));
    assert!(
        text(&again.stderr).contains("reading it ended the process twice"),
        "{}",
        text(&again.stderr)
    );
    assert_eq!(status(&sandbox)["tracks"], 3, "the others are innocent");
    let failed = failures(&sandbox);
    assert_eq!(
        (failed.len(), &failed[0]["path"]),
        (1, &string(&killer).into())
    );

    // Later runs skip it, also after a retry that it ends.
    assert_eq!(code(&with_a_deadly_file(&sandbox, &killer, &add)), 0);
    let retry = ["add", "--retry", "--threads", "1"];
    let died = with_a_deadly_file(&sandbox, &killer, &retry);
    assert_eq!(died.status.signal(), Some(9), "{}", text(&died.stderr));
    assert_eq!(code(&with_a_deadly_file(&sandbox, &killer, &add)), 0);
    assert_eq!(failures(&sandbox).len(), 1);
    // The file is intact again.
    fine(&sandbox, &["add", "--retry"]);
    assert_eq!(
        (
            status(&sandbox)["tracks"].as_u64(),
            failures(&sandbox).len()
        ),
        (Some(4), 0)
    );
    fine(&sandbox, &["verify"]);
}

/// The temporary files in a folder.
fn temporary(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .filter(|path| {
            path.file_name()
                .unwrap()
                .to_string_lossy()
                .starts_with(".voisin-")
        })
        .collect()
}

#[test]
fn the_copy_of_a_killed_write_is_removed() {
    let sandbox = Sandbox::new();
    let music = noises(&sandbox, 3);
    let target = music.join("large.flac");
    let source = "data/demo/library/folk/omri-lahav-an-old-warhorse-goes-to-pasture.flac";
    let sound = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(source)).unwrap();
    // Large enough that the copy takes a while: blocks of padding behind the first, whose header and contents have 42
    // bytes with the mark.
    let padding = [vec![1, 0xff, 0xff, 0xff], vec![0; 0xff_ffff]].concat();
    let bytes = [&sound[..42], &padding.repeat(4), &sound[42..]].concat();
    fs::write(&target, &bytes).unwrap();
    let table = sandbox.path("labels.csv");
    fs::write(&table, format!("path,genre\n{},Noise\n", string(&target))).unwrap();
    fine(&sandbox, &["add", &string(&music)]);

    let deadline = Instant::now() + Duration::from_mins(2);
    let copy = loop {
        assert!(Instant::now() < deadline, "no copy was seen");
        let mut child = sandbox
            .command(["tag", "--overwrite", "--from"])
            .arg(&table)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        while temporary(&music).is_empty() && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_micros(200));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        if let Some(copy) = temporary(&music).pop() {
            break copy;
        }
        // The process finished before the kill: the genre is removed again.
        fs::write(&target, &bytes).unwrap();
    };
    assert_eq!(
        fs::read(&target).unwrap(),
        bytes,
        "the file itself is whole"
    );
    fine(&sandbox, &["add", &string(&music)]);
    assert!(!copy.exists(), "{}", copy.display());
    let left = temporary(&sandbox.path("library"));
    assert!(left.is_empty(), "{left:?}");
}
