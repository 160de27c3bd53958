//! What a killed process leaves behind, and who kills processes.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::*;

fn failures(sandbox: &Sandbox) -> Vec<Value> {
    json(fine(sandbox, &["failed", "--format", "json"])).as_array().unwrap().clone()
}

/// Runs voisin with so little memory that one file is too much for it.
#[cfg(target_os = "linux")]
fn in_little_memory(sandbox: &Sandbox, arguments: &[&str]) -> Output {
    let voisin = sandbox.command(arguments);
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "ulimit -v 100000; exec \"$0\" \"$@\""])
        .arg(voisin.get_program())
        .args(voisin.get_args());
    shell.env_clear();
    for (name, value) in voisin.get_envs() {
        shell.env(name, value.unwrap_or_default());
    }
    shell.output().unwrap()
}

/// A file with a tag of 63 MB, which is within the bound for tags: in little memory, the first read of it ends the process.
#[cfg(target_os = "linux")]
#[test]
#[ignore = "how much memory is too little depends on allocator and build; by hand: --ignored"]
fn a_file_that_ends_the_process_is_set_aside_at_the_next_start() {
    use std::io::Write as _;
    use std::os::unix::process::ExitStatusExt as _;
    let sandbox = Sandbox::new();
    let music = noises(&sandbox, 3);
    let killer = music.join("01-killer.wav");
    let size = 63_u32 << 20;
    let in_seven_bits = [21, 14, 7, 0].map(|shift| (size >> shift & 0x7f) as u8);
    let mut file = fs::File::create(&killer).unwrap();
    file.write_all(&noise_wav(16_000, 4.0, 500)).unwrap();
    file.write_all(&[&b"id3 "[..], &(size + 10).to_le_bytes(), b"ID3\x04\0\0", &in_seven_bits].concat())
        .unwrap();
    file.set_len(file.metadata().unwrap().len() + u64::from(size)).unwrap();
    drop(file);
    let add = ["add", "--threads", "1", &string(&music)];

    let died = in_little_memory(&sandbox, &add);
    assert_eq!(died.status.signal(), Some(6), "{}", text(&died.stderr));
    let table = text(&fine(&sandbox, &["verify"]).stdout);
    assert!(
        table.contains("1 file being read by a killed run") && table.contains("01-killer.wav"),
        "{table}"
    );

    let again = in_little_memory(&sandbox, &add);
    assert_eq!(code(&again), 1, "{}", text(&again.stderr));
    assert!(
        text(&again.stderr).contains("reading it ended the process (SIGABRT)"),
        "{}",
        text(&again.stderr)
    );
    assert_eq!(status(&sandbox)["tracks"], 3, "the others are innocent");
    let failed = failures(&sandbox);
    assert_eq!((failed.len(), &failed[0]["path"]), (1, &string(&killer).into()));
    assert!(!text(&fine(&sandbox, &["verify"]).stdout).contains("killed run"));

    // From now on it is skipped, and asked for by name it is looked at from a distance first.
    assert_eq!(code(&in_little_memory(&sandbox, &add)), 0);
    assert_eq!(code(&in_little_memory(&sandbox, &["retry", "--threads", "1"])), 1);
    assert_eq!(code(&in_little_memory(&sandbox, &["add", "--force", "--threads", "1", &string(&killer)])), 1);
    assert_eq!(failures(&sandbox)[0]["attempts"], 3);
    // It was never more than a lack of memory.
    fine(&sandbox, &["retry"]);
    assert_eq!((status(&sandbox)["tracks"].as_u64(), failures(&sandbox).len()), (Some(4), 0));
    fine(&sandbox, &["verify"]);
}

#[test]
fn a_retry_that_is_killed_forgets_no_failure() {
    let sandbox = Sandbox::new();
    let music = sandbox.path("music");
    fs::create_dir_all(&music).unwrap();
    for i in 0..200 {
        fs::write(music.join(format!("{i:03}.mp3")), format!("no music at all, number {i}")).unwrap();
    }
    assert_eq!(code(&sandbox.run(["add", &string(&music)])), 1);
    assert_eq!(failures(&sandbox).len(), 200);
    for milliseconds in [0, 10, 20, 30, 50, 80, 120, 200] {
        let mut child = sandbox
            .command(["retry", "--quiet"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(milliseconds));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(failures(&sandbox).len(), 200, "after {milliseconds} ms");
    }
    let before: Vec<u64> = failures(&sandbox).iter().map(|f| f["attempts"].as_u64().unwrap()).collect();
    assert_eq!(code(&sandbox.run(["retry"])), 1);
    let after: Vec<u64> = failures(&sandbox).iter().map(|f| f["attempts"].as_u64().unwrap()).collect();
    assert!(before.iter().zip(&after).all(|(before, after)| after == &(before + 1)), "attempts are counted");
    // What can be read by now is no failure any more; what is gone is nobody's.
    fs::write(music.join("000.mp3"), noise_wav(16_000, 4.0, 7)).unwrap();
    fs::remove_file(music.join("001.mp3")).unwrap();
    assert_eq!(code(&sandbox.run(["retry"])), 1);
    assert_eq!((status(&sandbox)["tracks"].as_u64(), failures(&sandbox).len()), (Some(1), 198));
}

/// The temporary files in a folder.
fn temporary(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with(".voisin-")).collect()
}

#[test]
fn the_copy_of_a_killed_write_is_named_and_removed() {
    let sandbox = Sandbox::new();
    let music = noises(&sandbox, 3);
    let target = music.join("00.wav");
    // So large that the copy takes a while.
    let mut bytes = fs::read(&target).unwrap();
    let junk = 60 << 20;
    bytes.extend([b"JUNK", &(junk as u32).to_le_bytes()[..]].concat());
    bytes.resize(bytes.len() + junk, 7);
    fs::write(&target, &bytes).unwrap();
    let table = sandbox.path("labels.csv");
    let row = |name: &str| format!("{},Noise\n", string(&music.join(name)));
    fs::write(&table, ["path,genre\n".to_owned(), row("00.wav"), row("01.wav"), row("02.wav")].concat())
        .unwrap();
    fine(&sandbox, &["add", &string(&music)]);

    let deadline = Instant::now() + Duration::from_mins(2);
    let copy = loop {
        assert!(Instant::now() < deadline, "no copy was seen");
        let mut child = sandbox
            .command(["classify", "--write-tags", "--overwrite", "-k", "2", "--label-from"])
            .args([&table, &target])
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
        // It was faster: the genre is taken out again.
        fs::write(&target, &bytes).unwrap();
    };
    let checked = text(&fine(&sandbox, &["verify"]).stdout);
    assert!(checked.contains("1 file of a killed run") && checked.contains(".voisin-"), "{checked}");
    assert_eq!(fs::read(&target).unwrap(), bytes, "the file itself is whole");
    fine(&sandbox, &["add", &string(&music)]);
    assert!(!copy.exists() && temporary(&sandbox.path("library")).is_empty());
    assert!(!text(&fine(&sandbox, &["verify"]).stdout).contains("killed run"));
}
